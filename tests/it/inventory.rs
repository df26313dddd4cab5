//! Inventories: taken of a Cloud Controller that pages, limits and breaks; kept with a backup; compared; planned from.

mod backup;
mod scale;
mod trouble;

use std::path::{Path, PathBuf};

use serde_json::{Value, json};

use crate::support::foundation::Foundation;
use crate::support::process::{self, Ended};

/// Stands in the simulated API wherever a careless reader would pick it up.
pub const PLANTED: &str = "planted-capi-secret";

/// A Cloud Controller alone, and who may ask it.
struct Cloud {
    foundation: Foundation,
    config: Value,
    scratch: tempfile::TempDir,
}

impl Cloud {
    fn new(capi: &Value) -> Self {
        let foundation = Foundation::start(&json!({ "capi": capi }));
        let ready = &foundation.ready;
        let config = json!({
            "foundation": "prod-east",
            "cloud_controller": {
                "api": ready["capi"]["url"], "ca_cert": ready["ca_cert"],
                "client": ready["capi"]["client"], "client_secret": ready["capi"]["client_secret"],
            },
        });
        Self {
            foundation,
            config,
            scratch: tempfile::tempdir().unwrap(),
        }
    }

    fn command(&self, arguments: &[&str], more: &Value) -> std::process::Command {
        let mut config = self.config.clone();
        crate::support::scene::merge(&mut config, more);
        let mut command = process::command("lifeboat", [&["inventory"], arguments].concat());
        command.env("LIFEBOAT_CONFIG", config.to_string());
        command
    }

    fn run(&self, arguments: &[&str]) -> Ended {
        process::finish(process::start(self.command(arguments, &json!({})), ""))
    }

    /// Takes one into a new file.
    fn take(&self, name: &str) -> PathBuf {
        let path = self.scratch.path().join(name);
        self.run(&["take", "--out", path.to_str().unwrap()]).ok();
        path
    }

    fn ask(&self, request: Value) -> Value {
        self.foundation.ask(request)
    }
}

/// The head and the things of an inventory.
pub fn read(path: &Path) -> (Value, Vec<Value>) {
    let text = std::fs::read_to_string(path).unwrap();
    assert!(!text.contains(PLANTED), "a secret is in the inventory");
    let mut lines = text.lines().map(|line| serde_json::from_str(line).unwrap());
    (lines.next().unwrap(), lines.collect())
}

fn named<'a>(things: &'a [Value], kind: &str, key: &str) -> &'a Value {
    let mut found = things.iter();
    found
        .find(|thing| thing["kind"] == kind && thing["key"] == key)
        .unwrap_or_else(|| panic!("there is no {kind} {key}"))
}

#[test]
fn an_inventory_tells_all_by_names_and_no_secret() {
    let cloud = Cloud::new(&json!({}));
    let (head, things) = read(&cloud.take("a.jsonl"));
    assert_eq!(head["foundation"], "prod-east");
    assert_eq!(head["without"], json!([]));
    assert_eq!(head["counts"]["app"], 12);
    assert_eq!(head["counts"]["uaa-user"], 8);
    let app = named(&things, "app", "org-2/space-2/app-2");
    assert_eq!(
        app["fields"]["buildpacks"],
        "https://git.example.com/own-buildpack"
    );
    assert_eq!(app["fields"]["processes"]["web"]["instances"], 3);
    assert!(
        app["fields"]["droplet"]
            .as_str()
            .unwrap()
            .ends_with("100000005")
    );
    let route = named(
        &things,
        "route",
        "org-1/space-1/app-1.apps.test.example.com",
    );
    assert_eq!(route["fields"]["destinations"], json!(["app-1 port 8080"]));
    let instance = named(&things, "service-instance", "org-0/space-0/service-0");
    assert_eq!(instance["fields"]["plan"], "plan-0");
    let group = named(&things, "security-group", "db");
    assert_eq!(group["fields"]["running_spaces"][0], "org-0/space-3");
    assert_eq!(group["fields"]["rules"], json!(["tcp 10.0.2.0/24 443"]));
    named(&things, "role", "org-1/space-1/space_developer/uaa/user-7");
    named(
        &things,
        "network-policy",
        "org-0/space-0/app-0/org-1%2Fspace-1%2Fapp-1/tcp 8080",
    );
    assert_eq!(
        named(&things, "service-broker", "broker-0")["fields"]["host"],
        "broker-0.example.com"
    );
    assert_eq!(
        named(&things, "org-quota", "large")["fields"]["limits"]["apps"]["total_memory_in_mb"],
        20480
    );
    let segment = named(&things, "isolation-segment", "separate");
    assert_eq!(segment["fields"]["orgs"], json!(["org-0"]));
    let plan = named(&things, "service-plan", "broker-1/offering-1/plan-1");
    assert_eq!(plan["fields"]["orgs"], json!(["org-0", "org-1"]));
    assert!(
        cloud.ask(json!({"do": "capi"}))["most_at_once"]
            .as_u64()
            .unwrap()
            <= 4
    );
    let shown = cloud
        .run(&[
            "show",
            cloud.scratch.path().join("a.jsonl").to_str().unwrap(),
        ])
        .ok();
    assert!(shown.stdout.contains("\n    app: 12\n"), "{}", shown.stdout);
    let lines = cloud.run(&["show", "now", "--lines"]).ok();
    assert!(!lines.stdout.contains(PLANTED) && lines.stdout.lines().count() == 126);
}

/// What is done to the foundation, and the line that says so.
fn lies() -> Vec<(Value, &'static str)> {
    let change = |kind: &str, name: &str, row: Value| json!({"do": "capi-change", "kind": kind, "name": name, "row": row});
    let delete = |kind: &str, name: &str| json!({"do": "capi-delete", "kind": kind, "name": name});
    vec![
        (delete("apps", "app-1"), "  app app-1: missing in B"),
        (
            change("apps", "app-2", json!({"state": "STOPPED"})),
            "    state: STOPPED instead of STARTED",
        ),
        (
            change(
                "apps",
                "app-2",
                json!({"lifecycle": {"data": {"stack": "cflinuxfs3"}}}),
            ),
            "    stack: cflinuxfs3 instead of cflinuxfs4",
        ),
        (
            delete("routes", "app-3.apps.test.example.com"),
            "  route app-3.apps.test.example.com: missing in B",
        ),
        (
            change(
                "organization_quotas",
                "large",
                json!({"apps": {"total_memory_in_mb": 1}}),
            ),
            "    limits.apps.total_memory_in_mb: 1 instead of 20480",
        ),
        (
            change("organizations", "org-1", json!({"suspended": true})),
            "    suspended: true, was not set",
        ),
        (
            json!({"do": "capi-add", "kind": "organizations", "row": {"name": "new", "relationships": {}}}),
            "  org new: only in B",
        ),
        (
            delete("service_instances", "service-2"),
            "  service instance service-2: missing in B",
        ),
        (delete("spaces", "space-5"), "  space space-5: missing in B"),
        (
            change(
                "security_groups",
                "dns",
                json!({"globally_enabled": {"running": false}}),
            ),
            "    running_default: false instead of true",
        ),
        (
            change("feature_flags", "route_creation", json!({"enabled": false})),
            "    enabled: false instead of true",
        ),
        (
            change("buildpacks", "go_buildpack", json!({"position": 9})),
            "    position: 9 instead of 3",
        ),
        (
            delete("users", "user-3"),
            "  UAA user uaa / user-3: missing in B",
        ),
        (
            delete("domains", "own.example.com"),
            "  domain own.example.com: missing in B",
        ),
        (
            change(
                "uaa_clients",
                "doppler",
                json!({"authorities": ["uaa.admin"]}),
            ),
            "    authorities: without uaa.none; also uaa.admin",
        ),
    ]
}

#[test]
fn every_lie_is_told_in_peoples_words_and_found_by_its_exit_code() {
    for (lie, words) in lies() {
        let cloud = Cloud::new(&json!({}));
        let before = cloud.take("before.jsonl");
        let before = before.to_str().unwrap();
        let same = cloud.run(&["diff", before, "now"]).ok();
        assert!(
            same.stdout.contains("no difference: 125 things"),
            "{}",
            same.stdout
        );
        cloud.ask(lie);
        let found = cloud.run(&["diff", before, "now"]).fails(3);
        assert!(
            found.stdout.lines().any(|line| line == words),
            "{words}\n{}",
            found.stdout
        );
    }
}

#[test]
fn a_diff_tolerates_what_it_is_told_and_tells_programs_too() {
    let cloud = Cloud::new(&json!({}));
    let before = cloud.take("before.jsonl");
    let before = before.to_str().unwrap();
    cloud.ask(
        json!({"do": "capi-change", "kind": "apps", "name": "app-2", "row": {"state": "STOPPED"}}),
    );
    cloud.ask(
        json!({"do": "capi-change", "kind": "service_instances", "name": "service-0",
        "row": {"last_operation": {"state": "in progress"}}}),
    );
    let json = cloud
        .run(&["diff", before, "now", "--json"])
        .fails(3)
        .stdout;
    let found: Value = serde_json::from_str(&json).unwrap();
    assert_eq!(found["found"].as_array().unwrap().len(), 1, "{json}");
    assert_eq!(found["found"][0]["change"], "changed");
    assert_eq!(found["found"][0]["fields"][0]["after"], "STOPPED");
    assert_eq!(found["counts"]["app"]["changed"], 1);
    cloud
        .run(&["diff", before, "now", "--ignore", "app.state"])
        .ok();
    let wrong = cloud
        .run(&["diff", before, "now", "--ignore", ".x"])
        .fails(1);
    assert!(
        wrong.last_line().contains("--ignore .x is not KIND"),
        "{}",
        wrong.last_line()
    );
    // Two foundations: names count, GUIDs do not.
    let other = Cloud::new(&json!({"seed": "other"}));
    let path = other.scratch.path().join("west.jsonl");
    let west = json!({"foundation": "prod-west"});
    let out = ["take", "--out", path.to_str().unwrap()];
    process::finish(process::start(other.command(&out, &west), "")).ok();
    other.run(&["diff", path.to_str().unwrap(), "now"]).ok();
    let made_anew = other
        .run(&["diff", before, "now", "--ignore", "app.state"])
        .fails(3);
    assert!(
        made_anew.stdout.contains("another one of the same name"),
        "{}",
        made_anew.stdout
    );
}

#[test]
fn a_plan_makes_an_org_anew() {
    let cloud = Cloud::new(&json!({}));
    let file = cloud.take("a.jsonl");
    let file = file.to_str().unwrap();
    let plan = cloud.run(&["plan", file, "--org", "org-1"]).ok().stdout;
    let at = |words: &str| {
        plan.lines()
            .position(|line| line == words)
            .unwrap_or_else(|| panic!("{words}\n{plan}"))
    };
    let order = [
        "cf create-shared-domain apps.test.example.com",
        "cf create-org org-1 -q large",
        "cf set-org-role user-1 org-1 OrgManager",
        "cf create-space space-4 -o org-1 -q space-quota-1",
        "cf push app-10 -s cflinuxfs4 -i 2 -m 256M -k 1024M --no-route",
        "# route app-10.apps.test.example.com to app-10 port 8080: cf map-route",
    ];
    assert!(order.map(at).is_sorted(), "{plan}");
    assert!(plan.contains("cf bind-service app-1 service-1") && !plan.contains("org-0 -q"));
    let all = cloud.run(&["plan", file, "--json"]).ok().json();
    assert_eq!(all["orgs"].as_array().unwrap().len(), 3);
    assert!(
        cloud
            .run(&["plan", file, "--org", "nobody"])
            .fails(1)
            .last_line()
            .contains("knows no org")
    );
}
