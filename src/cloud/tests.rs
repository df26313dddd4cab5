use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use super::types::App;
use super::{CloudController, Credentials, Error, Settings};
use crate::clock::SystemClock;
use crate::http::Wait;
use crate::http::testing::{Asked, Reply, Server, answer, settings};
use crate::monitor::Silent;
use crate::secret::{Mask, Secret};
use crate::shutdown::Shutdown;

/// A Cloud Controller and its UAA behind one address; `pages` answers `/v3/…`.
fn server(pages: impl Fn(&Asked) -> Reply + Send + Sync + 'static) -> Server {
    let address = Arc::new(Mutex::new(String::new()));
    let own = Arc::clone(&address);
    let tokens = AtomicUsize::new(0);
    let server = Server::start(move |asked| {
        let url = own.lock().unwrap().clone();
        match asked.path.as_str() {
            "/" => answer(
                200,
                format!(
                    r#"{{"links": {{"uaa": {{"href": "{url}"}}, "login": null,
                        "cloud_controller_v3": {{"href": "{url}/v3", "meta": {{"version": "3.1"}}}}}}}}"#
                ),
            ),
            "/oauth/token" => {
                let number = tokens.fetch_add(1, Ordering::SeqCst);
                answer(
                    200,
                    format!(
                        r#"{{"access_token": "token-{number}", "token_type": "bearer", "expires_in": 600}}"#
                    ),
                )
            }
            _ => pages(asked),
        }
    });
    *address.lock().unwrap() = format!("https://{}", server.address);
    server
}

fn wait() -> Wait {
    Wait::unless(&Shutdown::never())
}

fn open(server: &Server) -> CloudController {
    let settings = Settings {
        url: format!("https://{}", server.address),
        credentials: Credentials::Client {
            id: "auditor".into(),
            secret: Secret::new("auditor-secret"),
        },
        http: settings(),
    };
    let (clock, mask) = (Arc::new(SystemClock), Arc::new(Mask::default()));
    CloudController::open(settings, Arc::new(Silent), clock, mask, &wait()).unwrap()
}

/// One page of apps by their names; `next` is the whole link.
fn page(total: usize, names: &[String], next: Option<String>) -> Reply {
    let rows: Vec<_> = names
        .iter()
        .map(|name| serde_json::json!({"guid": name, "name": name, "state": null}))
        .collect();
    let next = next.map(|href| serde_json::json!({ "href": href }));
    let body = serde_json::json!({
        "pagination": {"total_results": total, "next": next}, "resources": rows});
    answer(200, body.to_string())
}

fn number(path: &str) -> usize {
    let query = path.split("&page=").nth(1).unwrap();
    query.split('&').next().unwrap().parse().unwrap()
}

fn names(server: &Server) -> Result<Vec<String>, Error> {
    let mut found = Vec::new();
    open(server).list("apps", &wait(), &mut |app: App| found.push(app.name))?;
    Ok(found)
}

#[test]
fn what_slips_to_an_earlier_page_is_not_lost() {
    // 2,500 rows; when the second page is asked for, 700 of the first are gone.
    let requests = AtomicUsize::new(0);
    let server = server(move |asked| {
        let deleted = if requests.fetch_add(1, Ordering::SeqCst) == 0 {
            0
        } else {
            700
        };
        let left: Vec<String> = (deleted..2500).map(|app| format!("app-{app}")).collect();
        let number = number(&asked.path);
        let rows: Vec<_> = left
            .iter()
            .skip((number - 1) * 1000)
            .take(1000)
            .cloned()
            .collect();
        let host = asked.header("host").unwrap();
        let next = (number * 1000 < left.len()).then(|| {
            format!(
                "https://{host}/v3/apps?order_by=created_at&page={}&per_page=1000",
                number + 1
            )
        });
        page(left.len(), &rows, next)
    });
    let mut found = names(&server).unwrap();
    // Those that were there and those that are there, each once.
    assert_eq!(found.len(), 2500);
    found.sort();
    found.dedup();
    assert_eq!(found.len(), 2500);
}

#[test]
fn credentials_are_never_sent_to_another_address() {
    for link in [
        "https://elsewhere.example/v3/apps?page=2",
        "/v3/apps?page=2",
    ] {
        let server = server(move |_| page(2000, &["a".into()], Some(link.to_owned())));
        assert!(
            matches!(names(&server), Err(Error::Elsewhere { .. })),
            "{link}"
        );
    }
    let server = server(|asked| {
        let host = asked.header("host").unwrap();
        page(
            2,
            &["a".into()],
            Some(format!("https://{host}/v3/spaces?page=2")),
        )
    });
    assert!(matches!(names(&server), Err(Error::Elsewhere { .. })));
}

#[test]
fn pages_that_never_end_are_given_up() {
    let server = server(|asked| {
        let host = asked.header("host").unwrap();
        page(
            1,
            &["a".into()],
            Some(format!("https://{host}/v3/apps?page=1")),
        )
    });
    let error = names(&server).unwrap_err();
    assert!(error.to_string().contains("repeat themselves"), "{error}");
}

#[test]
fn a_refused_token_is_renewed_and_a_limit_is_waited_for() {
    let refused = AtomicUsize::new(0);
    let server = server(move |asked| {
        let token = asked.header("authorization").unwrap().to_owned();
        match refused.fetch_add(1, Ordering::SeqCst) {
            0 => answer(401, "expired"),
            1 => Reply::Answer(
                429,
                vec![("retry-after", "1".into())],
                b"slow down".to_vec(),
            ),
            2 => answer(503, "no database"),
            _ => page(1, &[token], None),
        }
    });
    let began = std::time::Instant::now();
    assert_eq!(names(&server).unwrap(), ["bearer token-1"]);
    assert!(began.elapsed() >= Duration::from_secs(1));
}

#[test]
fn a_token_that_others_used_up_is_asked_for_again_and_a_third_refusal_is_believed() {
    for (refusals, wanted) in [(2, true), (3, false)] {
        let asked_before = AtomicUsize::new(0);
        let server = server(move |asked| {
            let token = asked.header("authorization").unwrap().to_owned();
            match asked_before.fetch_add(1, Ordering::SeqCst) {
                number if number < refusals => answer(401, "used up"),
                _ => page(1, &[token], None),
            }
        });
        match names(&server) {
            Ok(found) => assert_eq!((found, wanted), (vec!["bearer token-2".to_owned()], true)),
            Err(error) => assert!(!wanted && matches!(error, Error::Denied { .. }), "{error}"),
        }
    }
}

#[test]
fn a_limit_that_outlasts_the_work_is_said() {
    let server = server(|_| Reply::Answer(429, vec![("retry-after", "3600".into())], Vec::new()));
    let controller = open(&server);
    let short = wait().no_longer_than(Duration::from_millis(200));
    let error = controller
        .list("apps", &short, &mut |_: App| {})
        .unwrap_err();
    assert!(matches!(error, Error::Limited { .. }), "{error}");
    assert!(error.to_string().contains("inventory_timeout"), "{error}");
}

#[test]
fn refusals_say_what_was_asked_and_garbage_is_not_repeated() {
    let of = |status: u16, body: &'static str| {
        names(&server(move |_| answer(status, body))).unwrap_err()
    };
    let denied = of(403, "no auditor-secret scope");
    assert!(
        denied.is_refusal() && denied.to_string().contains("list of apps"),
        "{denied}"
    );
    assert!(!denied.to_string().contains("auditor-secret"), "{denied}");
    assert!(of(404, "unknown").is_refusal());
    let garbled = of(200, r#"{"pagination": {"total_results": "hidden-value"}}"#);
    assert!(matches!(garbled, Error::Garbled { .. }), "{garbled}");
    assert!(!garbled.to_string().contains("hidden-value"), "{garbled}");
}
