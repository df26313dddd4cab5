//! What a Director holds and what it is told to mend, against small scripted Directors.

use super::tests::{SECRET, director, serve, soon};
use super::*;
use crate::http::testing::{Asked, Reply, Server, answer, redirect};

/// A Director whose task 7 is done at once with this result.
fn working(result: &'static str, rest: impl Fn(&Asked) -> Reply + Send + Sync + 'static) -> Server {
    serve(move |asked| match asked.path.as_str() {
        "/tasks/7" => answer(200, r#"{"id":7,"state":"done","result":null}"#),
        "/tasks/7/output?type=result" => answer(200, result),
        _ => rest(asked),
    })
}

#[test]
fn tasks_and_locks_are_listed() {
    let server = serve(|asked| match asked.path.as_str() {
        "/tasks?state=processing,cancelling,queued&verbose=2" => answer(
            200,
            r#"[{"id":9,"state":"processing","description":"create deployment","deployment":"cf","user":"u","new":1},{"id":8,"state":"queued","description":null,"deployment":null}]"#,
        ),
        "/tasks?verbose=2&limit=1" => answer(200, r#"[{"id":9,"state":"done"}]"#),
        "/locks" => answer(
            200,
            r#"[{"type":"deployment","resource":["cf"],"timeout":"1.0","task_id":"9"},{"type":"compile","resource":["a","b"],"task_id":null}]"#,
        ),
        _ => answer(404, ""),
    });
    let director = director(&server);
    let tasks = director.tasks_under_way(&soon()).unwrap();
    assert_eq!((tasks[0].id, tasks[0].deployment.as_str()), (9, "cf"));
    assert_eq!(tasks[0].description, "create deployment");
    assert_eq!(
        (tasks[1].state.as_str(), tasks[1].deployment.as_str()),
        ("queued", "")
    );
    assert_eq!(director.newest_tasks(1, &soon()).unwrap()[0].id, 9);
    let locks = director.locks(&soon()).unwrap();
    assert_eq!(
        (locks[0].kind.as_str(), locks[0].task_id.as_str()),
        ("deployment", "9")
    );
    assert_eq!(locks[1].resource, ["a", "b"]);
}

#[test]
fn an_instance_says_whether_its_agent_answers_and_all_runs() {
    let lines = r#"{"job_name":"g","id":"a","index":0,"vm_cid":"vm-1","job_state":"running","state":"started","disk_cids":["d-1"],"processes":[{"name":"p","state":"running"}]}
{"job_name":"g","id":"b","vm_cid":"vm-2","job_state":"unresponsive agent","processes":[]}
{"job_name":"g","id":"c","vm_cid":null,"job_state":null,"processes":null}
{"job_name":"g","id":"d","vm_cid":"vm-4","job_state":"running","processes":[{"name":"p","state":"failing"}]}
"#;
    let server = working(lines, |asked| match asked.path.as_str() {
        "/deployments/cf/instances?format=full" => redirect("/tasks/7"),
        _ => answer(404, ""),
    });
    let found = director(&server).instances("cf", &soon()).unwrap();
    let said: Vec<_> = found
        .iter()
        .map(|one| (one.name(), one.answers(), one.runs()))
        .collect();
    let expected = [
        ("g/a", true, true),
        ("g/b", false, false),
        ("g/c", false, false),
        ("g/d", true, false),
    ];
    assert_eq!(
        said,
        expected.map(|(name, answers, runs)| (name.to_owned(), answers, runs))
    );
    assert_eq!(found[0].disk_cids, ["d-1"]);
}

#[test]
fn stemcells_releases_configs_disks_and_errands_are_listed() {
    let server = serve(|asked| match asked.path.as_str() {
        "/stemcells" => answer(
            200,
            r#"[{"name":"bosh-x-ubuntu-jammy-go_agent","operating_system":"ubuntu-jammy","version":"1.5","cid":"s","deployments":[{"name":"cf"}]}]"#,
        ),
        "/releases" => answer(
            200,
            r#"[{"name":"capi","release_versions":[{"version":"1.1"},{"version":"1.2"}]}]"#,
        ),
        "/configs?latest=true" => answer(
            200,
            r#"[{"id":"1","type":"cloud","name":"default","content":"azs: []"}]"#,
        ),
        "/disks" => answer(
            200,
            r#"[{"disk_cid":"d","deployment_name":"cf","instance_name":"g/a","orphaned_at":"2026-11-22 01:02:03 UTC"}]"#,
        ),
        "/deployments/cf/errands" => answer(200, r#"[{"name":"smoke-tests"}]"#),
        _ => answer(404, ""),
    });
    let director = director(&server);
    let stemcell = &director.stemcells(&soon()).unwrap()[0];
    assert_eq!(stemcell.operating_system, "ubuntu-jammy");
    assert_eq!(stemcell.deployments[0].name, "cf");
    let releases = director.releases(&soon()).unwrap();
    assert_eq!(releases[1].version, "1.2");
    let config = &director.configs(&soon()).unwrap()[0];
    assert_eq!(format!("{config:?}"), "Config(cloud default)");
    assert_eq!(config.content, "azs: []");
    assert_eq!(director.orphaned_disks(&soon()).unwrap()[0].disk_cid, "d");
    assert_eq!(director.errands("cf", &soon()).unwrap(), ["smoke-tests"]);
}

#[test]
fn configs_that_cannot_be_read_are_not_shown() {
    let server = serve(|_| answer(200, r#"[{"content": "password: other-secret" "#));
    let text = director(&server).configs(&soon()).unwrap_err().to_string();
    assert!(!text.contains("other-secret"), "{text}");
}

#[test]
fn a_scan_gives_problems_and_a_resolution_names_them() {
    let server = working("", |asked| match asked.line().as_str() {
        "POST /deployments/cf/scans" | "PUT /deployments/cf/problems" => redirect("/tasks/7"),
        "GET /deployments/cf/problems" => answer(
            200,
            r#"[{"id":4,"type":"missing_vm","data":{},"description":"VM for 'g/a (0)' missing.","instance_group":"g",
                 "resolutions":[{"name":"ignore","plan":"Skip for now"},{"name":"delete_vm_reference","plan":"Delete VM reference"}]},
                {"id":5,"type":"strange","description":null,"resolutions":null}]"#,
        ),
        _ => answer(404, ""),
    });
    let director = director(&server);
    let problems = director.scan("cf", &soon()).unwrap();
    assert_eq!(problems[0].kind, ProblemKind::MissingVm);
    assert!(problems[0].offers("delete_vm_reference") && !problems[0].offers("reboot_vm"));
    assert_eq!(problems[1].kind.to_string(), "strange");
    let resolutions = [(4, "delete_vm_reference")].into();
    director.resolve("cf", &resolutions, &soon()).unwrap();
    let asked = server.asked();
    let put = asked.iter().find(|asked| asked.method == "PUT").unwrap();
    assert_eq!(put.body, r#"{"resolutions":{"4":"delete_vm_reference"}}"#);
    assert_eq!(put.header("content-type"), Some("application/json"));
}

#[test]
fn the_resurrection_is_paused_and_resumed() {
    let server = serve(|_| answer(200, ""));
    let director = director(&server);
    director.pause_resurrection(true, &soon()).unwrap();
    director.pause_resurrection(false, &soon()).unwrap();
    let asked = server.asked();
    assert_eq!(asked[1].line(), "PUT /resurrection");
    assert_eq!(asked[1].body, r#"{"resurrection_paused":true}"#);
    assert_eq!(asked[2].body, r#"{"resurrection_paused":false}"#);
}

#[test]
fn a_config_is_stored() {
    let server = serve(|_| answer(201, "{}"));
    let content = r#"{"a":1}"#;
    let director = director(&server);
    director.put_config("k", "n", content, &soon()).unwrap();
    let asked = &server.asked()[1];
    assert_eq!(asked.line(), "POST /configs");
    let body: serde_json::Value = serde_json::from_str(&asked.body).unwrap();
    assert_eq!(
        body,
        serde_json::json!({"type": "k", "name": "n", "content": content})
    );
}

#[test]
fn an_errand_that_ends_with_another_status_than_0_failed() {
    for (result, failed) in [
        ("{\"exit_code\":0,\"stdout\":\"fine\"}\n", None),
        (
            "{\"exit_code\":0}\n{\"exit_code\":3,\"stdout\":\"x\",\"stderr\":\"no broker\"}\n",
            Some("status 3: no broker"),
        ),
        (
            "{\"exit_code\":1,\"stdout\":\"only here\"}\n",
            Some("only here"),
        ),
    ] {
        let server = working(result, |asked| match asked.line().as_str() {
            "POST /deployments/b/errands/recreate-all/runs" => redirect("/tasks/7"),
            _ => answer(404, ""),
        });
        let outcome = director(&server).run_errand("b", "recreate-all", &soon());
        match failed {
            None => outcome.unwrap(),
            Some(said) => {
                let text = outcome.unwrap_err().to_string();
                assert!(text.contains(said) && !text.contains(SECRET), "{text}");
            }
        }
    }
}

#[test]
fn a_stemcell_is_streamed_and_a_deployment_recreated() {
    let server = working("", |asked| match asked.line().as_str() {
        "GET /stemcells" => answer(200, "[]"),
        "POST /stemcells?fix=true" | "POST /deployments?recreate=true&fix=true" => {
            redirect("/tasks/7")
        }
        _ => answer(404, ""),
    });
    let director = director(&server);
    let mut tarball: &[u8] = b"tarball";
    director
        .upload_stemcell("s/1.5", &mut tarball, 7, &soon())
        .unwrap();
    director.recreate("cf", "name: cf\n", &soon()).unwrap();
    let asked = server.asked();
    let posts: Vec<_> = asked
        .iter()
        .filter(|asked| asked.method == "POST")
        .collect();
    assert_eq!(posts[0].body, "tarball");
    assert_eq!(posts[0].header("content-length"), Some("7"));
    assert!(posts[0].header("authorization").is_some());
    assert_eq!(posts[1].body, "name: cf\n");
    assert_eq!(posts[1].header("content-type"), Some("text/yaml"));
    let error = director
        .upload_stemcell("s/1.5", &mut &b"short"[..], 7, &soon())
        .unwrap_err();
    assert!(error.to_string().contains("early"), "{error}");
}
