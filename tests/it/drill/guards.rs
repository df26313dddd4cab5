//! What keeps a drill from touching anything but its scratch foundation.

use std::io::{BufRead, BufReader};
use std::process::{Child, Command, Stdio};

use serde_json::json;

use super::{API, Origin, Scratch, within};
use crate::support::process;

/// Ports of one network that lead to ports of another, as a worker's wrong route does.
struct Bridge(Vec<Child>);

impl Bridge {
    /// `from` in the network of `here` leads to `to` in that of `there`.
    fn add(&mut self, here: &super::Foundation, from: u16, there: &super::Foundation, to: u16) {
        let pid = |foundation: &super::Foundation| {
            let directory = foundation.ready["dir"].as_str().unwrap();
            std::fs::read_to_string(format!("{directory}/pid")).unwrap()
        };
        let script = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/foundation/forward.py");
        let mut child = Command::new("python3")
            .args([
                script,
                pid(here).trim(),
                &from.to_string(),
                pid(there).trim(),
                &to.to_string(),
            ])
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let mut line = String::new();
        BufReader::new(child.stdout.take().unwrap())
            .read_line(&mut line)
            .unwrap();
        assert_eq!(line, "ready\n");
        self.0.push(child);
    }
}

impl Drop for Bridge {
    fn drop(&mut self) {
        for child in &mut self.0 {
            drop(child.kill());
            drop(child.wait());
        }
    }
}

fn port(address: &serde_json::Value) -> u16 {
    let (_, port) = address.as_str().unwrap().rsplit_once(':').unwrap();
    port.parse().unwrap()
}

#[test]
fn a_drill_touches_no_foundation_that_lives() {
    let origin = Origin::new();
    let before = origin.state();
    let scratch = Scratch::new(&origin, &json!({}));
    // The operator gives the address of the original, in the original's network.
    let mut config = scratch.config.clone();
    config["ops_manager"] = crate::plan::ops_manager(&origin.scene, &origin.scene.foundation);
    for arguments in [["drill"], ["drill-cleanup"]] {
        let command = within(
            &origin.scene.foundation,
            origin.scene.lifeboat(&arguments, &config),
        );
        let ended = process::finish(process::start(command, "")).fails(1);
        let line = ended.last_line();
        assert!(line.contains("carries no note of a drill"), "{line}");
        assert!(line.contains("Nothing was touched"), "{line}");
    }
    // Names that do not fit together.
    for (more, word) in [
        (
            json!({"confirm_target": null}),
            "confirm_target: is missing",
        ),
        (
            json!({"confirm_target": "prod-east"}),
            "is not the name that `drill.scratch` has",
        ),
        (
            json!({"drill": {"scratch": "prod-east"}, "confirm_target": "prod-east"}),
            "drill.scratch: is what `foundation` says",
        ),
        (json!({"drill": null}), "drill: is missing"),
        (
            json!({"in_place": true}),
            "in_place: does not go with a drill",
        ),
        (
            json!({"director": {"host": "127.0.0.1"}}),
            "director: does not go with a drill",
        ),
    ] {
        let ended = scratch.run(&[], &more).fails(1);
        assert!(ended.last_line().contains(word), "{}", ended.last_line());
    }
    // What a plan says is missing.
    let without = json!({"stemcells": null, "ops_manager": {"decryption_passphrase": null}});
    scratch.refuses(
        &[],
        &without,
        &["the drill was not begun", "decryption_passphrase"],
    );
    assert_eq!(
        scratch.foundation.ask(json!({"do": "opsman-state"}))["state"],
        "fresh"
    );
    assert_eq!(origin.state(), before);
}

#[test]
fn a_worker_or_a_network_that_reaches_the_original_is_found_out() {
    let origin = Origin::new();
    let before = origin.state();
    let scratch = Scratch::new(&origin, &json!({}));
    let (live, here) = (&origin.scene.foundation, &scratch.foundation);
    let ops = port(&live.ready["opsman"]["url"]);
    {
        // The original's Ops Manager is within the scratch foundation's reach.
        let mut bridge = Bridge(Vec::new());
        bridge.add(here, ops, live, ops);
        scratch.refuses(
            &[],
            &json!({}),
            &["isolation: STOP", "answers the scratch foundation's own VM"],
        );
    }
    {
        // So is its director, before there is another one. The import harms nobody.
        let mut bridge = Bridge(Vec::new());
        bridge.add(here, API, live, API);
        let words = [
            "isolation: STOP",
            "no director was deployed here yet",
            "Nothing was applied",
        ];
        scratch.refuses(&[], &json!({}), &words);
    }
    let state = here.ask(json!({"do": "opsman-state"}));
    assert_eq!(state["installations"], json!([]), "{state}");
    // The worker sits in the original's network, and reaches the scratch foundation's Ops Manager
    // too: at the director's address it meets the original's.
    let ssh = here.ready["opsman"]["ssh"]["address"].clone();
    let mut bridge = Bridge(Vec::new());
    bridge.add(
        live,
        port(&here.ready["opsman"]["url"]),
        here,
        port(&here.ready["opsman"]["url"]),
    );
    bridge.add(live, port(&ssh), here, port(&ssh));
    let wrong = || {
        let config = scratch.config.clone();
        let command = within(live, origin.scene.lifeboat(&["drill"], &config));
        process::finish(process::start(command, ""))
            .fails(1)
            .last_line()
    };
    let line = wrong();
    assert!(line.contains("answers this worker"), "{line}");
    // The drill goes on in its own network until the director is deployed …
    let hold = json!({"do": "command-fault", "instance": "opsman", "kind": "status", "status": 9,
        "pattern": ".*ssh-keyscan.*", "stderr": "held"});
    here.ask(hold);
    drop(scratch.run(&[], &json!({})).fails(1));
    here.ask(json!({"do": "clear-command-faults", "instance": "opsman"}));
    assert_eq!(scratch.note()["steps"]["apply-director"]["done"], true);
    // … and then is asked for from the original's network, where its Ops Manager is silent just now:
    // address and credentials lead to the original's director.
    live.ask(json!({"do": "opsman-refuse", "seconds": 60}));
    let line = wrong();
    assert!(line.contains("isolation: STOP"), "{line}");
    assert!(line.contains("does not meet the director"), "{line}");
    let config = scratch.config.clone();
    let command = within(live, origin.scene.lifeboat(&["drill-cleanup"], &config));
    let line = process::finish(process::start(command, ""))
        .fails(1)
        .last_line();
    assert!(line.contains("isolation: STOP"), "{line}");
    drop(bridge);
    assert_eq!(origin.state(), before);
    // From the right place it ends well, and the original was not touched.
    scratch.passes(&[]);
    assert_eq!(origin.state(), before);
}

#[test]
fn a_director_that_refers_to_the_original_is_not_taken_down() {
    let origin = Origin::new();
    let scratch = Scratch::new(&origin, &json!({}));
    // The mirror lacks nothing, but cloud check fails.
    let plan = json!({"do": "task-plan", "match": "scan cloud.*", "outcome": "error", "message": "the CPI is away"});
    scratch.foundation.ask(json!({"do": "opsman-state"}));
    let control = &scratch.foundation;
    // A director that is not there yet takes no plans: a first run ends when it is.
    let fault = json!({"do": "command-fault", "instance": "opsman", "kind": "status", "status": 9,
        "pattern": ".*references.*", "times": 1});
    control.ask(fault);
    drop(scratch.run(&[], &json!({})));
    control.ask(json!({"do": "clear-command-faults", "instance": "opsman"}));
    assert_eq!(
        scratch.note()["steps"]["director"]["done"],
        true,
        "{}",
        scratch.note()
    );
    control.ask(plan);
    let ended = scratch.run(&[], &json!({})).fails(1);
    assert!(
        ended.stdout.contains("FAILED  references"),
        "{}",
        ended.stdout
    );
    scratch.refuses(
        &["drill-cleanup"],
        &json!({}),
        &[
            "still refers to VMs and disks of the original",
            "Nothing was deleted",
        ],
    );
    control.ask(json!({"do": "clear-task-plans"}));
    scratch.passes(&[]);
}
