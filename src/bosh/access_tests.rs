//! SSH access against a Director that keeps track of users.

use std::collections::BTreeSet;
use std::sync::Mutex;
use std::time::Instant;

use serde_json::{Value, json};

use super::tests::{director, serve, soon};
use super::*;
use crate::http::testing::{Asked, Reply, Server, answer, redirect};
use crate::shutdown::Shutdown;

const KEY: &str =
    "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIE5DlO1BhJ5lfvp0tG5ZwRkcJPYWFzvjSQmCJF1MkEBn";

/// What happens to a group's setup beside the user's creation.
type Setup = dyn Fn(&str) -> (&'static str, Value) + Send + Sync;

#[derive(Default)]
struct State {
    users: BTreeSet<(String, String)>,
    tasks: Vec<(&'static str, Value)>,
    bodies: Vec<Value>,
    cleanups_fail: bool,
    /// Instances (by id) that do not answer a clean-up.
    silent: Vec<String>,
    poll_refused: bool,
}

impl State {
    fn is_silent(&self, ids: &Value) -> bool {
        let asked = ids.as_array().unwrap();
        let silent = |id: &String| asked.is_empty() || asked.contains(&json!(id));
        self.silent.iter().any(silent)
    }
}

struct Fake {
    server: Server,
    state: Arc<Mutex<State>>,
}

impl Fake {
    fn new(setup: impl Fn(&str) -> (&'static str, Value) + Send + Sync + 'static) -> Self {
        let state = Arc::new(Mutex::new(State::default()));
        let setup: Box<Setup> = Box::new(setup);
        let inside = Arc::clone(&state);
        let server = serve(move |asked| reply(&mut inside.lock().unwrap(), &setup, asked));
        Self { server, state }
    }

    fn access(&self) -> SshAccess {
        let user = user_name([0xab, 0, 1, 2]);
        SshAccess::new(Arc::new(director(&self.server)), "dep", user, KEY)
    }

    fn users(&self) -> Vec<String> {
        let state = self.state.lock().unwrap();
        state.users.iter().map(|(group, _)| group.clone()).collect()
    }

    fn bodies(&self, command: &str) -> Vec<Value> {
        let state = self.state.lock().unwrap();
        let bodies = state.bodies.iter();
        bodies
            .filter(|body| body["command"] == command)
            .cloned()
            .collect()
    }
}

fn reply(state: &mut State, setup: &Setup, asked: &Asked) -> Reply {
    let path = asked.path.clone();
    if path == "/deployments/dep/ssh" {
        let body: Value = serde_json::from_str(&asked.body).unwrap();
        state.bodies.push(body.clone());
        let group = body["target"]["job"].as_str().unwrap().to_owned();
        if group == "unknown" {
            return answer(404, "no such group");
        }
        if group == "lost" && body["command"] == "setup" {
            let user = body["params"]["user"].as_str().unwrap();
            state.users.insert((group, user.to_owned()));
            return Reply::HangUp;
        }
        if body["command"] == "setup" {
            let user = body["params"]["user"].as_str().unwrap();
            state.users.insert((group.clone(), user.to_owned()));
            state.tasks.push(setup(&group));
        } else if state.cleanups_fail || state.is_silent(&body["target"]["ids"]) {
            state.tasks.push(("error", Value::Null));
        } else {
            let pattern = body["params"]["user_regex"].as_str().unwrap();
            let start = pattern.strip_prefix('^').unwrap();
            state
                .users
                .retain(|(of, user)| *of != group || !user.starts_with(start));
            state.tasks.push(("done", json!([])));
        }
        return redirect(format!("/tasks/{}", state.tasks.len() - 1));
    }
    if state.poll_refused {
        return answer(401, "who are you?");
    }
    let words: Vec<&str> = path.split(['/', '?']).collect();
    let number: usize = words[2].parse().unwrap();
    let (task_state, result) = &state.tasks[number];
    match words[3..] {
        [] => answer(200, json!({"id": number, "state": task_state}).to_string()),
        ["output", "type=result"] => answer(200, result.to_string()),
        _ => answer(204, ""),
    }
}

fn found(id: &str, ip: &str) -> Value {
    json!({"command": "setup", "status": "success", "ip": ip, "host_public_key": format!("{KEY} x"),
           "id": id, "index": 0, "job": "ignored"})
}

fn vm(group: &str, id: &str, index: Option<u64>) -> Vm {
    Vm {
        group: group.to_owned(),
        id: id.to_owned(),
        index,
        bootstrap: Some(index == Some(0)),
        ips: vec!["10.0.0.5".to_owned()],
    }
}

/// Each group's one host is called as the group, with an `i` in front.
fn one_each(group: &str) -> (&'static str, Value) {
    (
        "done",
        json!([found(&format!("i{group}"), "127.0.0.1:2222")]),
    )
}

fn groups(names: &[&str]) -> Vec<Vm> {
    names
        .iter()
        .map(|name| vm(name, &format!("i{name}"), Some(0)))
        .collect()
}

#[test]
fn user_names_have_bbrs_form_and_our_mark() {
    let user = user_name([0xde, 0xad, 0, 0xf]);
    assert_eq!(user.as_str(), "bosh_1feb0a7dead000f");
    assert_eq!(user.as_str().len(), 20);
}

#[test]
fn all_groups_are_opened_whole_and_cleaned_whole() {
    let fake = Fake::new(one_each);
    let access = fake.access();
    let vms = [groups(&["b", "a", "c"]), vec![vm("a", "off", Some(1))]].concat();
    let opened = access.open(&vms, 2, &soon()).unwrap();
    let names: Vec<String> = opened.hosts.iter().map(Host::name).collect();
    assert_eq!(names, ["a/ia", "b/ib", "c/ic"]);
    assert_eq!(opened.missing, ["a/off"]);
    let host = &opened.hosts[0];
    assert_eq!((host.index, host.bootstrap), (0, true));
    assert_eq!(
        (host.address.to_string().as_str(), host.host_key.as_str()),
        ("127.0.0.1:2222", KEY)
    );
    let setup = &fake.bodies("setup")[0];
    assert_eq!(setup["deployment_name"], "dep");
    assert_eq!(
        (&setup["target"]["ids"], &setup["target"]["indexes"]),
        (&json!([]), &json!([]))
    );
    assert_eq!(
        setup["params"],
        json!({"user": access.user().as_str(), "public_key": format!("{KEY}\n")})
    );
    assert_eq!(fake.users(), ["a", "b", "c"]);
    access.cleanup(2, &soon()).unwrap();
    assert_eq!((fake.users().len(), access.left().len()), (0, 0));
    let cleanup = &fake.bodies("cleanup")[0];
    assert_eq!(
        cleanup["params"],
        json!({"user_regex": "^bosh_1feb0a7ab000102"})
    );
    assert_eq!(cleanup["target"]["ids"], json!([]));
    access.cleanup(2, &soon()).unwrap();
    assert_eq!(fake.bodies("cleanup").len(), 3);
}

#[test]
fn a_group_that_failed_half_way_is_cleaned_too() {
    let fake = Fake::new(|group| match group {
        "g2" => ("error", Value::Null),
        _ => one_each(group),
    });
    let access = fake.access();
    let failures = access
        .open(&groups(&["g1", "g2", "g3"]), 1, &soon())
        .unwrap_err();
    assert!(
        failures.to_string().contains("SSH access to `g2` of `dep`"),
        "{failures}"
    );
    assert_eq!(fake.users(), ["g1", "g2"], "g3 is not begun");
    access.cleanup(1, &soon()).unwrap();
    assert!(fake.users().is_empty());
}

#[test]
fn a_setup_whose_answer_is_lost_is_not_repeated_but_cleaned() {
    let fake = Fake::new(one_each);
    let access = fake.access();
    access.open(&groups(&["lost"]), 1, &soon()).unwrap_err();
    assert_eq!(fake.bodies("setup").len(), 1);
    assert_eq!(fake.users(), ["lost"]);
    access.cleanup(1, &soon()).unwrap();
    assert!(fake.users().is_empty());
}

#[test]
fn a_task_that_cannot_be_looked_at_is_cleaned_all_the_same() {
    let fake = Fake::new(one_each);
    let access = fake.access();
    fake.state.lock().unwrap().poll_refused = true;
    access.open(&groups(&["g"]), 1, &soon()).unwrap_err();
    assert_eq!(access.left(), [SshTarget::group("g")]);
    fake.state.lock().unwrap().poll_refused = false;
    access.cleanup(1, &soon()).unwrap();
    assert!(fake.users().is_empty());
}

#[test]
fn a_refused_group_needs_no_cleaning() {
    let fake = Fake::new(one_each);
    let access = fake.access();
    let failures = access.open(&groups(&["unknown"]), 1, &soon()).unwrap_err();
    assert!(
        matches!(failures.0[..], [Error::UnknownDeployment { .. }]),
        "{failures}"
    );
    access.cleanup(1, &soon()).unwrap();
    assert!(access.left().is_empty() && fake.bodies("cleanup").is_empty());
}

#[test]
fn every_failed_clean_up_is_told_and_tried_again() {
    let fake = Fake::new(one_each);
    let access = fake.access();
    access.open(&groups(&["a", "b", "c"]), 3, &soon()).unwrap();
    fake.state.lock().unwrap().cleanups_fail = true;
    let failures = access.cleanup(3, &soon()).unwrap_err();
    assert_eq!((failures.0.len(), access.left().len()), (3, 3));
    assert!(failures.stopped().is_none());
    fake.state.lock().unwrap().cleanups_fail = false;
    access.cleanup(3, &soon()).unwrap();
    assert!(fake.users().is_empty());
}

#[test]
fn one_silent_agent_does_not_keep_the_others_users() {
    let fake = Fake::new(|_| {
        let hosts = ["u0", "u1", "u2"].map(|id| found(id, "10.0.0.5"));
        ("done", json!(hosts))
    });
    let access = fake.access();
    let vms: Vec<Vm> = (0..3).map(|n| vm("g", &format!("u{n}"), Some(n))).collect();
    access.open(&vms, 2, &soon()).unwrap();
    fake.state.lock().unwrap().silent = vec!["u1".to_owned()];
    let failures = access.cleanup(2, &soon()).unwrap_err();
    assert!(
        failures
            .to_string()
            .contains("removing the SSH users from `g/u1`"),
        "{failures}"
    );
    assert_eq!(failures.0.len(), 1);
    assert_eq!(access.left(), [SshTarget::instance("g", "u1")]);
    let failures = cleanup_leftovers(&director(&fake.server), "dep", &vms, 2, &soon());
    assert_eq!(failures.unwrap_err().0.len(), 1);
    fake.state.lock().unwrap().silent.clear();
    access.cleanup(2, &soon()).unwrap();
    assert!(access.left().is_empty());
}

#[test]
fn clean_up_works_after_a_signal() {
    let fake = Fake::new(|group| match group {
        "g2" => ("processing", Value::Null),
        _ => one_each(group),
    });
    let access = fake.access();
    let shutdown = Shutdown::new();
    let raiser = shutdown.clone();
    let timer = std::thread::spawn(move || {
        std::thread::sleep(Duration::from_millis(150));
        raiser.raise();
    });
    let began = Instant::now();
    let wait = Wait::unless(&shutdown);
    let failures = access.open(&groups(&["g1", "g2"]), 2, &wait).unwrap_err();
    assert!(failures.stopped().is_some(), "{failures}");
    assert!(began.elapsed() < Duration::from_millis(1150));
    timer.join().unwrap();
    assert!(access.cleanup(2, &wait).unwrap_err().stopped().is_some());
    access
        .cleanup(2, &Wait::at_most(Duration::from_secs(5)))
        .unwrap();
    assert!(fake.users().is_empty());
}

#[test]
fn leftovers_of_other_runs_go_and_users_of_others_stay() {
    let fake = Fake::new(one_each);
    for user in [
        "bosh_1feb0a700000000",
        "bosh_1feb0a7ffffffff",
        "bosh_0123456789abcde",
    ] {
        let mut state = fake.state.lock().unwrap();
        state.users.insert(("g".to_owned(), user.to_owned()));
    }
    let director = director(&fake.server);
    cleanup_leftovers(&director, "dep", &groups(&["g", "h"]), 2, &soon()).unwrap();
    assert_eq!(fake.users(), ["g"]);
    assert_eq!(fake.bodies("cleanup").len(), 2);
}

#[test]
fn one_instance_is_cleaned_by_its_id() {
    let fake = Fake::new(one_each);
    let target = SshTarget::instance("g", "u0");
    director(&fake.server)
        .ssh_cleanup("dep", &target, "^bosh_x", &soon())
        .unwrap();
    let target = fake.bodies("cleanup")[0]["target"].clone();
    assert_eq!(
        target,
        json!({"job": "g", "ids": ["u0"], "indexes": ["u0"]})
    );
}

#[test]
fn a_vm_is_named_by_its_group_with_or_without_index_or_id() {
    let one = vm("diego-cell", "u1", Some(1));
    for name in ["diego-cell", "diego-cell/1", "diego-cell/u1"] {
        assert!(one.is(name), "{name}");
    }
    for name in ["diego", "diego-cell/0", "diego-cell/u", "u1"] {
        assert!(!one.is(name), "{name}");
    }
}

#[test]
fn one_instance_is_opened_and_cleaned_alone() {
    let fake = Fake::new(|_| ("done", json!([found("u1", "10.0.0.6")])));
    let access = fake.access();
    let opened = access.open_instance(&vm("g", "u1", Some(1)), &soon());
    let names: Vec<_> = opened.unwrap().hosts.iter().map(Host::name).collect();
    assert_eq!(names, ["g/u1"]);
    // Another of the group does not answer: nobody asked it anything.
    fake.state.lock().unwrap().silent = vec!["u0".to_owned()];
    access.cleanup(1, &soon()).unwrap();
    assert!(fake.users().is_empty());
    for command in ["setup", "cleanup"] {
        let [body] = &fake.bodies(command)[..] else {
            panic!("one {command} is expected");
        };
        assert_eq!(body["target"]["ids"], json!(["u1"]), "{body}");
    }
}

#[test]
fn what_does_not_fit_together_fails_and_is_cleaned() {
    let with = |field: &str, value: Value| {
        let mut host = found("u0", "10.0.0.5");
        host[field] = value;
        json!([host])
    };
    let cases = [
        (
            vm("g", "u0", None),
            json!([found("u0", "10.0.0.5")]),
            "has no index",
        ),
        (
            vm("g", "u1", Some(0)),
            json!([found("u0", "10.0.0.5")]),
            "is not in the Director's list",
        ),
        (
            vm("g", "", Some(0)),
            with("id", Value::Null),
            "is not in the Director's list",
        ),
        (
            vm("g", "u0", Some(0)),
            with("status", json!("failure")),
            "answered `failure`",
        ),
        (
            vm("g", "u0", Some(0)),
            with("host_public_key", json!("ssh-rsa")),
            "has a host key",
        ),
        (
            vm("g", "u0", Some(0)),
            with("ip", json!("a:b:c")),
            "has an address",
        ),
        (
            vm("g", "u0", Some(0)),
            with("ip", Value::Null),
            "has an address",
        ),
        (
            vm("g", "u0", Some(0)),
            json!([]),
            "no instance of group `g`",
        ),
        (vm("g", "u0", Some(0)), json!({}), "unreadable"),
    ];
    for (vm, result, told) in cases {
        let fake = Fake::new(move |_| ("done", result.clone()));
        let access = fake.access();
        let failures = access.open(&[vm], 4, &soon()).unwrap_err().to_string();
        assert!(failures.contains(told), "{failures}");
        access.cleanup(4, &soon()).unwrap();
        assert!(fake.users().is_empty(), "{told}");
    }
}

#[test]
fn slashes_in_group_names_are_bbrs() {
    let fake = Fake::new(one_each);
    let error = fake
        .access()
        .open(&groups(&["g", "a/b/c"]), 1, &soon())
        .unwrap_err();
    assert!(error.to_string().contains("`a/b/c`"), "{error}");
    assert!(fake.bodies("setup").is_empty());
    let one = Fake::new(|_| ("done", json!([found("ia/b", "10.0.0.5")])));
    one.access().open(&groups(&["a/b"]), 1, &soon()).unwrap();
    assert_eq!(
        one.bodies("setup")[0]["target"],
        json!({"job": "a", "ids": ["b"], "indexes": ["b"]})
    );
}

#[test]
fn the_bootstrap_instance_is_found_by_id_else_by_address() {
    for (says, ips, expected) in [
        (Some(true), "elsewhere", true),
        (Some(false), "127.0.0.1:2222", false),
        (None, "127.0.0.1:2222", true),
        (None, "elsewhere", false),
    ] {
        let mut own = vm("g", "ig", Some(1));
        own.bootstrap = says;
        let mut other = vm("g", "other", Some(0));
        other.ips = vec![ips.to_owned()];
        let opened = Fake::new(one_each)
            .access()
            .open(&[own, other], 1, &soon())
            .unwrap();
        assert_eq!(opened.hosts[0].bootstrap, expected);
    }
}

#[test]
fn very_old_directors_give_an_index_instead_of_an_id() {
    let host = |text: &str| serde_json::from_str::<SshHost>(text).unwrap().id();
    assert_eq!(host(r#"{"id":"u0","index":3}"#), "u0");
    assert_eq!(host(r#"{"id":null,"index":3}"#), "3");
    assert_eq!(host(r#"{"index":"3"}"#), "3");
    assert_eq!(host("{}"), "");
}
