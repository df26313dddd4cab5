//! Secrets of a real configuration, and runs that succeed and fail with them: none of them is
//! in what a run prints, in a process's arguments or environment, in a file, or in a plain
//! object, in whatever form.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::JoinHandle;
use std::time::{Duration, SystemTime};

use base64::Engine as _;
use base64::engine::general_purpose::{STANDARD_NO_PAD, URL_SAFE_NO_PAD};
use serde_json::{Value, json};

use crate::support::process::{self, Ended, resource};
use crate::support::scene::{Scene, merge};

/// Secrets of one test, like no other's: tests that run beside it have theirs lying about.
struct Planted {
    client_secret: String,
    s3_key: String,
    s3_secret: String,
    wrong: String,
    session: String,
}

impl Planted {
    fn new(test: &str) -> Self {
        let unique = format!("{test}{}", std::process::id());
        Self {
            client_secret: format!("plant/client+secret {unique}"),
            s3_key: format!("PLANTED{}", unique.to_uppercase()),
            s3_secret: format!("plant/S3+secret={unique}"),
            wrong: format!("plant&wrong/secret+{unique}"),
            session: format!("plant/session+token={unique}"),
        }
    }
}

/// Texts to look for, each with the name of the secret that it is a form of.
struct Needles(Vec<(String, Vec<u8>)>);

impl Needles {
    fn new(secrets: &[(&str, String)]) -> Self {
        let mut found = BTreeMap::new();
        for (name, secret) in secrets {
            for line in secret
                .lines()
                // OpenSSH begins every key alike; some lines stand for all of a long key.
                .filter(|line| {
                    line.len() > 15
                        && !line.starts_with("-----")
                        && !line.starts_with("b3BlbnNzaC1rZXktdjE")
                })
                .take(4)
            {
                for form in forms(line) {
                    found.insert(form, (*name).to_owned());
                }
            }
        }
        Self(found.into_iter().map(|(form, name)| (name, form)).collect())
    }

    /// Fails when any of them is in these bytes.
    #[track_caller]
    fn absent(&self, bytes: &[u8], place: &str) {
        if let Some(name) = self.find(bytes) {
            panic!(
                "{name} is in {place}:\n{}",
                String::from_utf8_lossy(&bytes[..bytes.len().min(4000)])
            );
        }
    }

    fn find(&self, bytes: &[u8]) -> Option<&str> {
        let text = String::from_utf8_lossy(bytes);
        self.0
            .iter()
            .find(|(_, form)| text.contains(std::str::from_utf8(form).unwrap()))
            .map(|(name, _)| name.as_str())
    }
}

/// A text as it is and in the forms in which it may be written down. Not the code under test:
/// only what is certain, digit by digit.
fn forms(text: &str) -> BTreeSet<Vec<u8>> {
    let percent: String = text
        .bytes()
        .map(|byte| match byte {
            b'0'..=b'9' | b'a'..=b'z' | b'A'..=b'Z' | b'-' | b'.' | b'_' | b'~' => {
                char::from(byte).to_string()
            }
            _ => format!("%{byte:02X}"),
        })
        .collect();
    let mut found = BTreeSet::from([
        text.as_bytes().to_vec(),
        hex::encode(text).into_bytes(),
        hex::encode_upper(text).into_bytes(),
        percent.replace("%20", "+").into_bytes(),
        percent.into_bytes(),
        serde_json::to_string(text)
            .unwrap()
            .trim_matches('"')
            .as_bytes()
            .to_vec(),
    ]);
    for before in ["", "\0", "\0\0"] {
        for engine in [STANDARD_NO_PAD, URL_SAFE_NO_PAD] {
            let digits = engine.encode(format!("{before}{text}"));
            found.insert(digits.as_bytes()[4..digits.len() - 2].to_vec());
        }
    }
    found
}

/// Looks at every process that starts while it runs.
struct Watch {
    stop: Arc<AtomicBool>,
    thread: JoinHandle<(BTreeSet<String>, usize)>,
}

impl Watch {
    fn start(needles: &Arc<Needles>) -> Self {
        let stop = Arc::new(AtomicBool::new(false));
        let (ends, needles) = (Arc::clone(&stop), Arc::clone(needles));
        let known: BTreeSet<PathBuf> = processes().collect();
        let thread = std::thread::spawn(move || {
            let (mut leaks, mut seen) = (BTreeSet::new(), BTreeSet::new());
            while !ends.load(Ordering::Relaxed) {
                for process in processes().filter(|process| !known.contains(process)) {
                    for file in ["cmdline", "environ"] {
                        let Ok(bytes) = fs::read(process.join(file)) else {
                            continue;
                        };
                        if let Some(name) = needles.find(&bytes) {
                            leaks.insert(format!(
                                "{name} in {file}: {}",
                                String::from_utf8_lossy(&bytes)
                            ));
                        }
                    }
                    seen.insert(process);
                }
                std::thread::sleep(Duration::from_millis(3));
            }
            (leaks, seen.len())
        });
        Self { stop, thread }
    }

    /// What was seen.
    #[track_caller]
    fn end(self) -> BTreeSet<String> {
        self.stop.store(true, Ordering::Relaxed);
        let (leaks, seen) = self.thread.join().unwrap();
        assert!(seen > 0, "no process was seen");
        leaks
    }
}

fn processes() -> impl Iterator<Item = PathBuf> {
    fs::read_dir("/proc")
        .unwrap()
        .flatten()
        .map(|entry| entry.path())
        .filter(|path| {
            path.file_name()
                .is_some_and(|name| name.as_encoded_bytes().iter().all(u8::is_ascii_digit))
        })
}

/// Small files below a directory that are newer than a run; what cannot be read is somebody
/// else's.
fn small_files(directory: &Path, besides: &Path, since: SystemTime, found: &mut Vec<PathBuf>) {
    let Ok(entries) = fs::read_dir(directory) else {
        return;
    };
    for path in entries.flatten().map(|entry| entry.path()) {
        let Ok(status) = fs::symlink_metadata(&path) else {
            continue;
        };
        if status.is_dir() && path != besides {
            small_files(&path, besides, since, found);
        } else if status.is_file()
            && status.len() < 1 << 20
            && status.modified().is_ok_and(|time| time >= since)
        {
            found.push(path);
        }
    }
}

struct Plot {
    scene: Scene,
    planted: Planted,
    began: SystemTime,
    needles: Arc<Needles>,
    /// Where the scratch foundation keeps its own keys.
    fixtures: PathBuf,
}

impl Plot {
    fn new(test: &str) -> Self {
        let planted = Planted::new(test);
        let began = fs::metadata(tempfile::tempdir().unwrap().path())
            .and_then(|made| made.modified())
            .unwrap();
        let mut scene = Scene::with_stores(
            &json!({
                "fixture": "S1",
                "director": {"auth": "uaa", "client": "ops", "secret": planted.client_secret},
                "hosts": [{"name": "bosh", "login": "bbr", "jobs": {"bosh": {"scripts": {"backup": {"files": {"f": "F"}}}}}}],
                "jumpbox": true,
                "stores": [{"name": "s3", "users": [
                    {"access_key_id": planted.s3_key, "secret_access_key": planted.s3_secret, "role": "writer"}]}],
            }),
            &["nas"],
        );
        let mut s3 = scene.s3("s3");
        s3["access_key_id"] = planted.s3_key.clone().into();
        s3["secret_access_key"] = planted.s3_secret.clone().into();
        scene.source["stores"].as_array_mut().unwrap().push(s3);
        let ready = &scene.foundation.ready;
        let jumpbox = &ready["jumpbox"];
        let proxy = format!(
            "ssh+socks5://{}@{}",
            jumpbox["username"].as_str().unwrap(),
            jumpbox["address"].as_str().unwrap()
        );
        let key = fs::read_to_string(jumpbox["private_key_file"].as_str().unwrap()).unwrap();
        let fixtures = PathBuf::from(ready["dir"].as_str().unwrap());
        let text = |value: &Value| value.as_str().unwrap().to_owned();
        let secrets = [
            ("bosh.client_secret", planted.client_secret.clone()),
            ("access_key_id", planted.s3_key.clone()),
            ("secret_access_key", planted.s3_secret.clone()),
            ("session_token", planted.session.clone()),
            ("the wrong secret", planted.wrong.clone()),
            ("worker_identity", text(&scene.params["worker_identity"])),
            (
                "director.private_key",
                text(&scene.params["director"]["private_key"]),
            ),
            ("all_proxy_private_key", key.clone()),
            ("recovery_identity", scene.recovery_identity.clone()),
        ];
        let needles = Arc::new(Needles::new(&secrets));
        scene.params["bosh"]["all_proxy"] = proxy.into();
        scene.params["bosh"]["all_proxy_private_key"] = key.into();
        scene.params["bosh"]["all_proxy_host_key"] = jumpbox_host_key(&scene);
        scene.params["debug"] = true.into();
        Self {
            scene,
            planted,
            began,
            needles,
            fixtures,
        }
    }

    /// Runs something and looks everywhere.
    #[track_caller]
    fn quiet(&self, what: &str, run: impl FnOnce() -> Ended) -> Ended {
        let watch = Watch::start(&self.needles);
        let ended = run();
        assert_eq!(watch.end(), BTreeSet::new(), "{what}");
        self.needles
            .absent(ended.stdout.as_bytes(), &format!("{what}: stdout"));
        self.needles
            .absent(ended.stderr.as_bytes(), &format!("{what}: stderr"));
        ended
    }

    /// A command, told its configuration where no other process can look.
    fn command(&self, arguments: &[&str]) -> Ended {
        let mut config = self.scene.source.clone();
        merge(&mut config, &self.scene.params);
        config["recovery_identity"] = self.scene.recovery_identity.clone().into();
        config["confirm_target"] = config["foundation"].clone();
        let arguments = [&["--config", "/dev/stdin"], arguments].concat();
        let command = process::command("lifeboat", arguments);
        process::finish(process::start(command, &config.to_string()))
    }

    /// Every command that was run on an instance, and what is left there and here.
    #[track_caller]
    fn nothing_is_left(&self) {
        let ready = &self.scene.foundation.ready;
        let mut commands = 0;
        for instance in ready["instances"].as_object().unwrap().keys() {
            let answer = self
                .scene
                .foundation
                .ask(json!({"do": "commands", "instance": instance, "match": "(?s).*"}));
            commands += answer["commands"].as_array().unwrap().len();
            self.needles
                .absent(answer.to_string().as_bytes(), "the commands of an instance");
        }
        assert!(commands > 0);
        let mut found = Vec::new();
        for place in [Path::new("/tmp"), self.scene.scratch.path()] {
            small_files(place, &self.fixtures, self.began, &mut found);
        }
        // What was uploaded, as the server keeps it.
        let bucket = ready["stores"]["s3"]["directory"].as_str().unwrap();
        let before = found.len();
        small_files(Path::new(bucket), Path::new(""), self.began, &mut found);
        assert!(found.len() > before + 5, "the bucket holds objects");
        for path in found {
            if let Ok(bytes) = fs::read(&path) {
                self.needles.absent(&bytes, &path.display().to_string());
            }
        }
    }
}

fn jumpbox_host_key(scene: &Scene) -> Value {
    scene.foundation.ready["jumpbox"]["host_public_key"].clone()
}

#[test]
fn the_search_finds_what_is_there() {
    let secret = "guard/of+the tests";
    let needles = Arc::new(Needles::new(&[("it", secret.to_owned())]));
    for form in forms(secret) {
        assert!(needles.find(&[b"x=", &form[..], b"&"].concat()).is_some());
    }
    let basic = STANDARD_NO_PAD.encode(format!("user:{secret}"));
    assert!(needles.find(basic.as_bytes()).is_some());
    assert_eq!(needles.find(b"guard/of+the test"), None);
    for (argument, variable) in [(secret, "-"), ("-", secret)] {
        let watch = Watch::start(&needles);
        let script = ["-c", "sleep 0.5", argument];
        let mut command = std::process::Command::new("sh");
        command.args(script).env("X", variable).status().unwrap();
        assert!(!watch.end().is_empty(), "{argument} {variable}");
    }
}

const BACKUP: &str = "deployment/dep";

#[test]
fn runs_that_succeed_show_no_secret() {
    let plot = Plot::new("succeeds");
    let scene = &plot.scene;
    let backup = json!({"backup": ["director", BACKUP], "with_manifest": true});
    let put = plot.quiet("put", || scene.put(&backup)).ok();
    plot.quiet("put, continuing", || scene.put(&backup)).ok();
    plot.quiet("check", || {
        resource("check", None, None, &json!({"source": scene.source}))
    })
    .ok();
    let mut into = PathBuf::new();
    let got = plot.quiet("in", || {
        let (ended, folder) = scene.get(&put.id(), &json!({"download": true, "debug": true}));
        into = folder;
        ended
    });
    got.ok();
    let told = fs::read(into.join("backup.json")).unwrap();
    plot.needles.absent(&told, "backup.json");
    let page = scene.scratch.path().join("page.html");
    for arguments in [
        &["verify", "--level", "contents"][..],
        &["report", "--to-store", "--html", page.to_str().unwrap()],
        &["alerts", "--json"],
        &["inventory", "take"],
    ] {
        let ended = plot.quiet(&arguments.join(" "), || plot.command(arguments));
        assert!(
            [0, 3].contains(&ended.code),
            "{arguments:?}: {}",
            ended.log()
        );
    }
    plot.quiet("cleanup", || {
        scene.put(&json!({"cleanup": ["director", BACKUP], "force": true}))
    })
    .ok();
    plot.nothing_is_left();
}

#[test]
fn runs_that_fail_show_no_secret() {
    let plot = Plot::new("fails");
    let Planted {
        client_secret,
        s3_key,
        s3_secret,
        wrong,
        session,
    } = &plot.planted;
    let scene = &plot.scene;
    let fails = |what: &str, more: Value| plot.quiet(what, || scene.put(&more)).fails(1);
    let backup = |more: Value| {
        let mut params = json!({"backup": [BACKUP]});
        merge(&mut params, &more);
        params
    };
    plot.quiet("one that is right", || scene.put(&backup(json!({}))))
        .ok();

    fails(
        "refused by UAA",
        backup(json!({"bosh": {"client_secret": wrong}})),
    );
    let echoes = [
        client_secret.clone(),
        STANDARD_NO_PAD.encode(format!("ops:{client_secret}")),
        STANDARD_NO_PAD.encode(client_secret),
        URL_SAFE_NO_PAD.encode(format!("a:{client_secret}")),
        hex::encode(client_secret),
        client_secret
            .replace('/', "%2F")
            .replace('+', "%2B")
            .replace(' ', "%20"),
        client_secret
            .replace('/', "%2F")
            .replace('+', "%2B")
            .replace(' ', "+"),
    ];
    let both = format!(
        "{{\"error\":\"{client_secret}\",\"error_description\":\"Bad: {}\"}}",
        echoes.join(" ")
    );
    let fault = |service: &str, what: Value| {
        let mut request = json!({"do": "fault", "service": service});
        merge(&mut request, &what);
        scene.foundation.ask(request);
    };
    fault(
        "uaa",
        json!({"action": "status", "status": 401, "body": both}),
    );
    fails("echoed by UAA", backup(json!({})));
    scene
        .foundation
        .ask(json!({"do": "clear-faults", "service": "uaa"}));
    fault(
        "director",
        json!({"action": "status", "status": 500, "path": "deployments", "body": both}),
    );
    fails("echoed by the director", backup(json!({})));
    scene
        .foundation
        .ask(json!({"do": "clear-faults", "service": "director"}));

    // Any good key that is not the director's.
    let worker = scene.params["worker_identity"].clone();
    fails(
        "refused by sshd",
        json!({"backup": ["director"], "director": {"private_key": worker}}),
    );
    fails(
        "refused by the jumpbox",
        backup(json!({"bosh": {"all_proxy_private_key": worker}})),
    );

    for (what, key, value) in [
        ("refused by S3", "secret_access_key", wrong),
        ("an unknown session", "session_token", session),
    ] {
        let mut stores = scene.source["stores"].clone();
        stores[1][key] = value.as_str().into();
        plot.quiet(what, || scene.put(&backup(json!({"stores": stores}))));
    }
    let echo =
        format!("<Error><Code>AccessDenied</Code><Message>{s3_secret} {s3_key}</Message></Error>");
    fault(
        "s3",
        json!({"action": "status", "status": 403, "method": "PUT", "body": echo, "code": s3_secret}),
    );
    fails("echoed by S3", backup(json!({})));
    scene
        .foundation
        .ask(json!({"do": "clear-faults", "service": "s3"}));

    let stranger = lifeboat::operation::keygen::generate("stranger").unwrap();
    let id = scene.check().pop().unwrap();
    let other = stranger.recovery_identity.expose();
    let request = json!({"source": scene.source, "version": {"id": id},
        "params": {"download": true, "debug": true, "recovery_identity": other}});
    let into = tempfile::tempdir_in(scene.scratch.path()).unwrap();
    let ended = plot
        .quiet("another recovery identity", || {
            resource("in", Some(into.path()), None, &request)
        })
        .fails(1);
    assert!(!ended.stderr.contains(other));
    plot.nothing_is_left();

    // Last, since it leaves the secrets on the instance.
    let script = format!(
        "env >&2\necho 'it is {client_secret} or {s3_secret}' >&2\ncat >&2 <<'END'\n{both}\nEND\nexit 3"
    );
    scene.foundation.ask(json!({"do": "set-script", "instance": "dep/g/u0", "job": "j", "script": "backup", "value": {"body": script}}));
    let ended = plot
        .quiet("echoed by a script", || scene.put(&backup(json!({}))))
        .fails(1);
    assert!(ended.stderr.contains("[secret]"), "{}", ended.stderr);
}
