//! Secrets of a real configuration, and runs that succeed and fail with them: none of them is
//! in what a run prints, in a process's arguments or environment, in a file, or in a plain
//! object, in whatever form.

mod search;

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::SystemTime;

use base64::Engine as _;
use base64::engine::general_purpose::{STANDARD_NO_PAD, URL_SAFE_NO_PAD};
use serde_json::{Value, json};

use search::{Needles, Watch, forms, small_files};

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
