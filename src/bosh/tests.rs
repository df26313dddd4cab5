//! The client against small scripted Directors; SSH access has its own file.

use std::collections::VecDeque;
use std::net::TcpListener;
use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Instant;

use super::*;
use crate::http::testing::{Asked, Lines, Reply, Server, answer, redirect, settings};
use crate::shutdown::Shutdown;

pub(super) const SECRET: &str = "hunter2-hunter2";
const VM: &str =
    r#"{"job_name":"g","id":"u0","index":0,"bootstrap":true,"ips":["10.0.0.5"],"vitals":{}}"#;

pub(super) fn soon() -> Wait {
    Wait::at_most(Duration::from_secs(30))
}

/// A Director with basic authentication; the handler gets everything but `/info`.
pub(super) fn serve(handler: impl Fn(&Asked) -> Reply + Send + Sync + 'static) -> Server {
    Server::start(move |asked| match asked.path.as_str() {
        "/info" => answer(
            200,
            r#"{"name":"d","uuid":"x","user_authentication":{"type":"basic"}}"#,
        ),
        _ => handler(asked),
    })
}

pub(super) fn director(server: &Server) -> Director {
    let environment = format!("https://{}", server.address);
    let secret = Secret::new(SECRET);
    let mut settings = Settings::new(environment, "admin", secret, settings());
    settings.poll_interval = Duration::from_millis(5);
    Director::new(settings, Arc::new(Lines::default())).unwrap()
}

fn task(state: &str) -> Reply {
    answer(
        200,
        format!(r#"{{"id":7,"state":"{state}","result":null}}"#),
    )
}

/// The VMs as task 7, which goes through the states; its outputs as given.
fn serve_task(states: &[&str], result: &str, events: Reply) -> Server {
    let states: VecDeque<String> = states.iter().map(|state| (*state).to_owned()).collect();
    let states = Mutex::new(states);
    let result = result.to_owned();
    serve(move |asked| match asked.path.as_str() {
        "/deployments/dep/vms?format=full" => redirect("https://evil.example:1/tasks/7?x=y"),
        "/tasks/7" => {
            let mut states = states.lock().unwrap();
            let state = states.pop_front().unwrap();
            if states.is_empty() {
                states.push_back(state.clone());
            }
            task(&state)
        }
        "/tasks/7/output?type=result" => answer(200, result.clone()),
        "/tasks/7/output?type=event" => events.clone(),
        _ => answer(404, ""),
    })
}

#[test]
fn every_request_but_info_carries_the_credentials() {
    let server = serve_task(&["done"], &format!("{VM}\n\n"), answer(204, ""));
    let director = director(&server);
    let vms = director.vms("dep", &soon()).unwrap();
    assert_eq!((vms[0].group.as_str(), vms[0].id.as_str()), ("g", "u0"));
    assert_eq!((vms[0].index, vms[0].bootstrap), (Some(0), Some(true)));
    assert_eq!(director.info(&soon()).unwrap().uuid, "x");
    let lines = [
        "GET /info",
        "GET /deployments/dep/vms?format=full",
        "GET /tasks/7",
        "GET /tasks/7/output?type=result",
    ];
    assert_eq!(server.lines(), lines);
    for asked in server.asked() {
        let expected = (asked.path != "/info").then_some("Basic YWRtaW46aHVudGVyMi1odW50ZXIy");
        assert_eq!(asked.header("authorization"), expected, "{}", asked.path);
    }
    assert_eq!(server.connections(), 1);
}

#[test]
fn a_vm_may_lack_nearly_everything() {
    let lines = r#"{"job_name":"g","id":null,"index":null,"ips":null,"bootstrap":null,"new":1}
{"job_name":"g"}"#;
    let server = serve_task(&["done"], lines, answer(204, ""));
    let vms = director(&server).vms("dep", &soon()).unwrap();
    let bare = Vm {
        group: "g".to_owned(),
        ..Vm::default()
    };
    assert_eq!(vms, [bare.clone(), bare]);
    let empty = serve_task(&["done"], "", answer(204, ""));
    assert_eq!(director(&empty).vms("dep", &soon()).unwrap(), []);
}

#[test]
fn a_task_is_awaited_through_its_states() {
    let states = ["queued", "queued", "processing", "cancelling", "done"];
    let server = serve_task(&states, VM, answer(416, ""));
    assert_eq!(director(&server).vms("dep", &soon()).unwrap().len(), 1);
    let polls = server
        .lines()
        .iter()
        .filter(|line| *line == "GET /tasks/7")
        .count();
    assert_eq!(polls, states.len());
}

#[test]
fn a_failed_task_tells_its_number_state_and_reason() {
    let event = r#"{"time":1,"stage":"x"}
{"time":2,"error":{"code":450002,"message":"Timed out sending to the agent"}}
"#;
    for (events, reason) in [
        (answer(206, event), "Timed out sending to the agent"),
        (answer(204, ""), "from the result"),
        (answer(416, ""), "from the result"),
        (answer(500, ""), "from the result"),
        (answer(200, "garbage\n{}"), "from the result"),
    ] {
        for state in ["error", "cancelled", "timeout", "what"] {
            let server = serve_task(&["queued", state], "from the result", events.clone());
            let error = director(&server).vms("dep", &soon()).unwrap_err();
            let told = error.to_string();
            assert!(matches!(error, Error::Task { id: 7, .. }), "{told}");
            assert!(!error.nothing_was_done());
            assert!(told.contains(state) && told.contains(reason), "{told}");
        }
    }
}

#[test]
fn a_task_that_never_ends_is_given_up() {
    let server = serve_task(&["processing"], "", answer(204, ""));
    let mut director = director(&server);
    director.task_timeout = Duration::from_millis(50);
    let error = director.vms("dep", &soon()).unwrap_err();
    assert!(matches!(error, Error::TaskTimeout { id: 7, .. }), "{error}");
    assert!(error.to_string().contains("bosh cancel-task 7"), "{error}");
}

#[test]
fn a_signal_ends_the_wait_for_a_task_or_an_answer() {
    let server = serve(|asked| match asked.path.as_str() {
        "/deployments" => Reply::Stall,
        "/tasks/7" => task("processing"),
        _ => redirect("/tasks/7"),
    });
    let director = director(&server);
    for stalled in [false, true] {
        let shutdown = Shutdown::new();
        std::thread::scope(|scope| {
            let wait = Wait::unless(&shutdown);
            let call = scope.spawn({
                let director = &director;
                move || match stalled {
                    true => director.deployments(&wait).map(|_| ()),
                    false => director.vms("dep", &wait).map(|_| ()),
                }
            });
            std::thread::sleep(Duration::from_millis(100));
            let raised = Instant::now();
            shutdown.raise();
            let error = call.join().unwrap().unwrap_err();
            assert!(matches!(error, Error::Stopped(_)), "{error}");
            assert!(raised.elapsed() < Duration::from_secs(1));
        });
    }
}

#[test]
fn deployments_and_manifests_are_read() {
    let server = serve(|asked| match asked.path.as_str() {
        "/deployments" => answer(
            200,
            r#"[{"name":"cf","releases":[{"name":"capi","version":"1.2"}],"stemcells":null,"teams":[]},{"name":"redis"}]"#,
        ),
        "/deployments/cf" => answer(200, r#"{"manifest":"name: cf\n"}"#),
        "/deployments/empty%20one" => answer(200, r#"{"manifest":null}"#),
        _ => answer(200, format!(r#"{{"manifest":"password: {SECRET}"#)),
    });
    let director = director(&server);
    let deployments = director.deployments(&soon()).unwrap();
    assert_eq!(deployments[0].releases[0].version, "1.2");
    assert_eq!(deployments[1].name, "redis");
    assert_eq!(director.manifest("cf", &soon()).unwrap(), "name: cf\n");
    assert_eq!(director.manifest("empty one", &soon()).unwrap(), "");
    let torn = director.manifest("torn", &soon()).unwrap_err().to_string();
    assert!(
        torn.contains("not JSON") && !torn.contains("password"),
        "{torn}"
    );
}

#[test]
fn an_unhealthy_director_is_named_and_nothing_else_is_asked() {
    for reply in [
        answer(500, "out of order"),
        answer(200, "<html>"),
        answer(200, "{}"),
    ] {
        let server = Server::start(move |_| reply.clone());
        let error = director(&server).vms("dep", &soon()).unwrap_err();
        assert!(matches!(error, Error::Down { .. }), "{error}");
        assert!(
            error.to_string().contains("unreachable or unhealthy"),
            "{error}"
        );
        assert_eq!(server.lines(), ["GET /info"]);
    }
}

#[test]
fn an_unknown_deployment_is_told_verbatim_and_not_asked_again() {
    let body = r#"{"code":70000,"description":"Deployment 'dep' doesn't exist"}"#;
    let server = serve(move |_| answer(404, body));
    let director = director(&server);
    for error in [
        director.vms("dep", &soon()).unwrap_err(),
        director.manifest("dep", &soon()).unwrap_err(),
    ] {
        assert!(
            matches!(&error, Error::UnknownDeployment { deployment, .. } if deployment == "dep")
        );
        assert!(error.to_string().contains(body), "{error}");
    }
    assert_eq!(server.asked().len(), 3);
}

#[test]
fn a_503_is_asked_again_and_a_500_is_told() {
    let count = AtomicUsize::new(0);
    let server = serve(move |asked| match count.fetch_add(1, Ordering::SeqCst) {
        0 | 1 => answer(503, ""),
        _ if asked.path == "/deployments" => answer(200, "[]"),
        _ => answer(500, "x".repeat(1000)),
    });
    let director = director(&server);
    assert_eq!(director.deployments(&soon()).unwrap(), []);
    let error = director.vms("dep", &soon()).unwrap_err().to_string();
    assert!(error.contains("status 500") && error.len() < 600, "{error}");
}

#[test]
fn garbage_is_an_error_and_never_nothing() {
    for body in ["", "garbage", "{}", "[{\"name\":5}]", "<html>502</html>"] {
        let server = serve(move |_| answer(200, body));
        let director = director(&server);
        let wait = soon();
        assert!(
            matches!(director.deployments(&wait), Err(Error::Garbled { .. })),
            "{body}"
        );
        assert!(
            matches!(director.vms("dep", &wait), Err(Error::Garbled { .. })),
            "{body}"
        );
    }
    let server = serve_task(&["done"], &format!("{VM}\nnot a line"), answer(204, ""));
    assert!(matches!(
        director(&server).vms("dep", &soon()),
        Err(Error::Garbled { .. })
    ));
}

#[test]
fn redirects_end_somewhere() {
    let endless = serve(|_| redirect("/tasks/1"));
    let error = director(&endless).vms("dep", &soon()).unwrap_err();
    assert!(matches!(error, Error::Garbled { .. }), "{error}");
    assert_eq!(endless.asked().len(), 12);
    let nowhere = serve(|_| answer(302, ""));
    assert!(matches!(
        director(&nowhere).vms("dep", &soon()),
        Err(Error::Garbled { .. })
    ));
}

#[test]
fn wrong_basic_credentials_are_tried_once() {
    let server = serve(|asked| {
        answer(
            401,
            format!("no {:?} {SECRET}", asked.header("authorization")),
        )
    });
    let error = director(&server).deployments(&soon()).unwrap_err();
    assert!(
        matches!(error, Error::Denied { status: 401, .. }),
        "{error}"
    );
    assert!(error.nothing_was_done());
    assert!(!format!("{error} {error:?}").contains(SECRET), "{error:?}");
    assert_eq!(server.asked().len(), 2);
}

/// A Director with UAA; tokens are `token-secret-N` and live that many seconds. The first
/// `stale` tokens are refused by the Director.
fn serve_uaa(life: Option<u64>, stale: usize, status: u16) -> Server {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let uaa = format!("https://{}/zone", listener.local_addr().unwrap());
    let given = AtomicUsize::new(0);
    let versions = rustls::ALL_VERSIONS;
    Server::on(
        listener,
        &["127.0.0.1"],
        versions,
        move |asked| match asked.path.as_str() {
            "/info" => answer(
                200,
                format!(
                    r#"{{"user_authentication":{{"type":"uaa","options":{{"url":"{uaa}"}}}}}}"#
                ),
            ),
            "/zone/oauth/token" if status == 200 => {
                let number = given.fetch_add(1, Ordering::SeqCst) + 1;
                let life = life.map_or(String::new(), |life| format!(r#","expires_in":{life}"#));
                answer(
                    200,
                    format!(
                        r#"{{"token_type":"bearer","access_token":"token-secret-{number}"{life}}}"#
                    ),
                )
            }
            "/zone/oauth/token" => answer(
                status,
                format!(r#"{{"error":"{SECRET}","access_token":1}}"#),
            ),
            _ => {
                let token = asked.header("authorization").unwrap_or_default();
                let number = token.strip_prefix("bearer token-secret-");
                match number.map(|number| number.parse::<usize>().unwrap()) {
                    Some(number) if number > stale => answer(200, "[]"),
                    _ => answer(401, format!("refused {token}")),
                }
            }
        },
    )
}

fn tokens(server: &Server) -> usize {
    let lines = server.lines();
    lines
        .iter()
        .filter(|line| *line == "POST /zone/oauth/token")
        .count()
}

#[test]
fn a_token_is_asked_for_once_and_shared() {
    for life in [Some(3600), None, Some(u64::MAX)] {
        let server = serve_uaa(life, 0, 200);
        let director = director(&server);
        std::thread::scope(|scope| {
            for _ in 0..4 {
                scope.spawn(|| director.deployments(&soon()).unwrap());
            }
        });
        assert_eq!(tokens(&server), 1);
        let asked = server.asked();
        let token = asked.iter().find(|asked| asked.method == "POST").unwrap();
        assert_eq!(token.body, "grant_type=client_credentials");
        assert_eq!(
            token.header("authorization"),
            Some("Basic YWRtaW46aHVudGVyMi1odW50ZXIy")
        );
        assert_eq!(token.header("accept"), Some("application/json"));
        assert_eq!(
            token.header("content-type"),
            Some("application/x-www-form-urlencoded")
        );
    }
}

#[test]
fn a_token_is_renewed_before_it_expires() {
    let server = serve_uaa(Some(1), 0, 200);
    let director = director(&server);
    director.deployments(&soon()).unwrap();
    std::thread::sleep(Duration::from_millis(920)); // past nine tenths of its life
    director.deployments(&soon()).unwrap();
    assert_eq!(tokens(&server), 2);
}

#[test]
fn a_refused_token_is_renewed_once_and_the_request_repeated_once() {
    let server = serve_uaa(Some(3600), 1, 200);
    director(&server).deployments(&soon()).unwrap();
    assert_eq!(tokens(&server), 2);
    let server = serve_uaa(Some(3600), 9, 200);
    let error = director(&server).deployments(&soon()).unwrap_err();
    assert!(matches!(error, Error::Denied { .. }), "{error}");
    assert!(
        !format!("{error} {error:?}").contains("token-secret"),
        "{error}"
    );
    assert_eq!(tokens(&server), 2);
}

#[test]
fn uaa_must_give_a_token() {
    for status in [401, 201] {
        let server = serve_uaa(None, 0, status);
        let error = director(&server).deployments(&soon()).unwrap_err();
        assert!(matches!(error, Error::Uaa { .. }), "{error}");
        assert!(!format!("{error} {error:?}").contains(SECRET), "{error}");
        assert!(server.lines().iter().all(|line| line != "GET /deployments"));
    }
    for url in ["", "https://", "ftp://x"] {
        let info =
            format!(r#"{{"user_authentication":{{"type":"uaa","options":{{"url":"{url}"}}}}}}"#);
        let server = Server::start(move |_| answer(200, info.clone()));
        let error = director(&server)
            .deployments(&soon())
            .unwrap_err()
            .to_string();
        assert!(error.contains("no valid URL of its UAA"), "{error}");
        assert_eq!(server.lines(), ["GET /info"]);
    }
}

#[test]
fn debug_shows_no_secret() {
    let server = serve_uaa(Some(3600), 0, 200);
    let director = director(&server);
    director.deployments(&soon()).unwrap();
    let settings = Settings::new("d", "admin", Secret::new(SECRET), settings());
    let shown = format!("{director:?} {settings:?} {:?}", director.auth);
    assert!(
        !shown.contains(SECRET) && !shown.contains("token-secret"),
        "{shown}"
    );
}
