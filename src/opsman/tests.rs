//! The client against a small server that plays an Ops Manager.

use std::io::Read as _;
use std::sync::atomic::{AtomicUsize, Ordering};

use super::*;
use crate::http::testing::{self, Asked, Lines, Reply, Server, answer, redirect};
use serde_json::json;

fn soon() -> Wait {
    Wait::at_most(Duration::from_secs(30))
}

fn user() -> Credentials {
    Credentials::Password {
        username: "ops".into(),
        password: Secret::new("p&ss=w%rd é"),
    }
}

fn client(server: &Server, credentials: Credentials) -> OpsManager {
    build(server, credentials, None)
}

fn build(server: &Server, credentials: Credentials, passphrase: Option<&str>) -> OpsManager {
    let mut settings = Settings::new(
        "127.0.0.1",
        server.address.port(),
        credentials,
        testing::settings(),
    );
    settings.poll = Duration::from_millis(5);
    settings.start_timeout = Duration::from_millis(500);
    settings.decryption_passphrase = passphrase.map(Secret::new);
    OpsManager::new(
        settings,
        Arc::new(Lines::default()),
        Arc::new(Mask::default()),
    )
    .unwrap()
}

fn json_of(value: &Value) -> Reply {
    answer(200, value.to_string())
}

/// A set-up Ops Manager; `other` answers what is neither about tokens nor about its state.
fn set_up(other: impl Fn(&Asked) -> Reply + Send + Sync + 'static) -> Server {
    let tokens = AtomicUsize::new(0);
    Server::start(move |asked| match asked.path.as_str() {
        "/login/ensure_availability" => redirect("/auth/cloudfoundry"),
        "/api/v0/info" => json_of(&json!({"info": {"version": "3.0.40-build.1"}})),
        "/uaa/oauth/token" => {
            let number = tokens.fetch_add(1, Ordering::SeqCst) + 1;
            json_of(
                &json!({"access_token": format!("token-{number}"), "token_type": "bearer", "expires_in": 3600}),
            )
        }
        _ => other(asked),
    })
}

#[test]
fn both_grants_send_what_uaa_wants() {
    let server = set_up(|_| json_of(&json!([])));
    client(&server, user()).deployed_products(&soon()).unwrap();
    let by_client = Credentials::Client {
        id: "ci".into(),
        secret: Secret::new("s:cret"),
    };
    client(&server, by_client)
        .deployed_products(&soon())
        .unwrap();
    let asked = server.asked();
    assert_eq!(asked[0].line(), "POST /uaa/oauth/token");
    assert_eq!(
        asked[0].body,
        "grant_type=password&username=ops&password=p%26ss%3Dw%25rd+%C3%A9&client_id=opsman&token_format=jwt"
    );
    assert_eq!(asked[0].header("authorization"), Some("Basic b3BzbWFuOg=="));
    assert_eq!(asked[1].header("authorization"), Some("Bearer token-1"));
    assert_eq!(
        asked[2].body,
        "grant_type=client_credentials&token_format=jwt"
    );
    assert_eq!(asked[2].header("authorization"), Some("Basic Y2k6czpjcmV0"));
}

#[test]
fn a_token_is_kept_and_renewed_when_it_is_refused() {
    let calls = AtomicUsize::new(0);
    let server = set_up(move |asked| {
        let third = calls.fetch_add(1, Ordering::SeqCst) == 2;
        match third && asked.header("authorization") == Some("Bearer token-1") {
            true => answer(401, "expired"),
            false => json_of(&json!([])),
        }
    });
    let mut ops_manager = client(&server, user());
    for _ in 0..4 {
        ops_manager.deployed_products(&soon()).unwrap();
    }
    let tokens = server
        .lines()
        .iter()
        .filter(|l| l.contains("token"))
        .count();
    assert_eq!(tokens, 2);
    assert_eq!(server.lines().len(), 4 + 1 + 2);
}

#[test]
fn a_refused_token_is_one_sentence_without_the_password() {
    let server = Server::start(|asked| match asked.path.as_str() {
        "/uaa/oauth/token" => answer(401, format!("no: {}", asked.body)),
        _ => answer(404, ""),
    });
    let error = client(&server, user())
        .deployed_products(&soon())
        .unwrap_err();
    let said = error.to_string();
    assert!(
        said.contains("gives user ops no token: status 401"),
        "{said}"
    );
    assert!(!said.contains("ss%3Dw"), "{said}");
}

#[test]
fn every_state_is_told_from_the_others() {
    for (reply, expected) in [
        (redirect("/setup"), Ok(Availability::NotSetUp)),
        (
            redirect("https://o.example/setup?a=b"),
            Ok(Availability::NotSetUp),
        ),
        (redirect("/auth/cloudfoundry"), Ok(Availability::Complete)),
        (redirect("/unlock"), Ok(Availability::Locked)),
        (
            answer(200, "Waiting for authentication system to start..."),
            Ok(Availability::Starting),
        ),
        (redirect("/elsewhere"), Err("answered 302 to /elsewhere")),
        (answer(200, "hello"), Err("answered 200;")),
        (answer(500, "x"), Err("answered 500;")),
    ] {
        let server = Server::start(move |_| reply.clone());
        let found = client(&server, user()).availability(&soon());
        match (found, expected) {
            (Ok(found), Ok(expected)) => assert_eq!(found, expected),
            (Err(error), Err(text)) => assert!(error.to_string().contains(text), "{error}"),
            (found, expected) => panic!("{found:?} {expected:?}"),
        }
    }
}

/// Locked until the right passphrase came; starts for two more looks.
fn locked() -> Server {
    let looks = AtomicUsize::new(0);
    let unlocked = AtomicUsize::new(0);
    Server::start(move |asked| {
        let open = unlocked.load(Ordering::SeqCst) == 1;
        match asked.path.as_str() {
            "/api/v0/unlock" if asked.body == r#"{"passphrase":"a\"b\\c"}"# => {
                unlocked.store(1, Ordering::SeqCst);
                answer(200, "")
            }
            "/api/v0/unlock" => answer(403, ""),
            "/api/v0/info" => json_of(&json!({"info": {"version": "3", "locked": !open}})),
            "/login/ensure_availability" if !open => redirect("/auth/cloudfoundry"),
            "/login/ensure_availability" => match looks.fetch_add(1, Ordering::SeqCst) {
                0 | 1 => answer(200, "Waiting for authentication system to start..."),
                _ => redirect("/auth/cloudfoundry"),
            },
            "/uaa/oauth/token" if open => {
                json_of(&json!({"access_token": "t", "token_type": "bearer"}))
            }
            "/uaa/oauth/token" => answer(502, "bad gateway"),
            _ => json_of(&json!([])),
        }
    })
}

#[test]
fn a_locked_ops_manager_is_unlocked_where_the_passphrase_is_known() {
    let server = locked();
    let mut known = build(&server, user(), Some("a\"b\\c"));
    assert_eq!(known.ready(&soon()).unwrap().locked, Some(false));
    let server = locked();
    let error = build(&server, user(), None).ready(&soon()).unwrap_err();
    assert!(
        error
            .to_string()
            .contains("is locked: needs the decryption passphrase"),
        "{error}"
    );
    let mut wrong = build(&server, user(), Some("wrong"));
    let error = wrong.ready(&soon()).unwrap_err();
    assert!(matches!(error, Error::WrongPassphrase { .. }), "{error}");
    assert!(!error.to_string().contains("wrong\""));
}

#[test]
fn one_that_was_rebooted_in_the_middle_is_unlocked_at_the_next_token() {
    let server = locked();
    let mut known = build(&server, user(), Some("a\"b\\c"));
    assert!(known.deployed_products(&soon()).unwrap().is_empty());
    let server = locked();
    let error = build(&server, user(), None).deployed_products(&soon());
    assert!(matches!(
        error.unwrap_err(),
        Error::NoToken { .. } | Error::Locked { .. }
    ));
}

#[test]
fn an_export_that_breaks_off_is_an_error_and_refusals_are_told_apart() {
    let server =
        set_up(|_| Reply::Raw(b"HTTP/1.1 200 X\r\ncontent-length: 9\r\n\r\nPK12".to_vec()));
    let mut ops_manager = client(&server, user());
    let mut text = Vec::new();
    let wait = soon();
    let mut export = ops_manager.export(&wait).unwrap();
    assert_eq!(export.length(), Some(9));
    assert!(export.read_to_end(&mut text).is_err());
    for (status, expected) in [
        (400, "is not set up"),
        (403, "opsman.full_control"),
        (422, "in its present state (422): apply changes runs"),
        (500, "status 500"),
    ] {
        let server = set_up(move |_| answer(status, "apply changes runs"));
        let error = client(&server, user()).export(&soon()).unwrap_err();
        assert!(error.to_string().contains(expected), "{error}");
    }
}

#[test]
fn an_import_goes_only_into_a_fresh_one_and_says_its_length() {
    let imported = AtomicUsize::new(0);
    let server = Server::start(move |asked| match asked.path.as_str() {
        "/login/ensure_availability" => match imported.load(Ordering::SeqCst) {
            0 => redirect("/setup"),
            1 => {
                imported.store(2, Ordering::SeqCst);
                Reply::HangUp
            }
            _ => redirect("/auth/cloudfoundry"),
        },
        _ => {
            imported.store(1, Ordering::SeqCst);
            answer(200, "")
        }
    });
    let mut ops_manager = client(&server, user());
    let passphrase = Secret::new("pass phrase");
    ops_manager
        .import(&mut "zipzip".as_bytes(), 6, &passphrase, &soon())
        .unwrap();
    let asked = server.asked();
    let form = asked.iter().find(|asked| asked.method == "POST").unwrap();
    assert_eq!(form.header("authorization"), None);
    assert_eq!(
        form.header("content-length")
            .unwrap()
            .parse::<usize>()
            .unwrap(),
        form.body.len()
    );
    for part in [
        "name=\"passphrase\"\r\n\r\npass phrase\r\n",
        "name=\"installation[file]\"; filename=\"installation.zip\"",
        "\r\n\r\nzipzip\r\n--lifeboat-",
    ] {
        assert!(form.body.contains(part), "{}", form.body);
    }
    let before = server.lines().len();
    let error = ops_manager.import(&mut "zipzip".as_bytes(), 6, &passphrase, &soon());
    assert!(matches!(error.unwrap_err(), Error::AlreadySetUp { .. }));
    assert_eq!(server.lines().len(), before + 1);
}

#[test]
fn a_run_is_followed_through_the_time_when_nobody_answers() {
    let looks = AtomicUsize::new(0);
    let server = set_up(move |asked| {
        let look = looks.fetch_add(1, Ordering::SeqCst);
        match (asked.line().as_str(), look) {
            ("POST /api/v0/installations", _) => json_of(&json!({"install": {"id": 7}})),
            (_, 3..=4) => answer(502, "bad gateway"),
            ("GET /api/v0/installations/7", 0..=8) => json_of(&json!({"status": "running"})),
            ("GET /api/v0/installations/7", _) => {
                json_of(&json!({"status": "succeeded", "finished_at": "x"}))
            }
            (_, 0..=8) => json_of(&json!({"logs": "one\ntw"})),
            _ => json_of(&json!({"logs": "one\ntwo\nlast"})),
        }
    });
    let mut ops_manager = client(&server, user());
    let changes = ApplyChanges::new(Deploy::Products(vec!["cf-1".into()]));
    let id = ops_manager.begin_apply(&changes, &soon()).unwrap();
    let mut lines = Vec::new();
    let run = ops_manager
        .follow(id, &mut |line| lines.push(line.to_owned()), &soon())
        .unwrap();
    assert_eq!((run.id, run.state()), (7, RunState::Succeeded));
    assert_eq!(lines, ["one", "two", "last"]);
    let asked = server.asked();
    let begun = asked
        .iter()
        .find(|asked| asked.line().starts_with("POST /api"))
        .unwrap();
    assert_eq!(
        serde_json::from_str::<Value>(&begun.body).unwrap(),
        json!({"deploy_products": ["cf-1"], "ignore_warnings": false, "errands": {}})
    );
}

#[test]
fn a_run_that_cannot_be_said_to_have_ended_counts_as_running() {
    let of = |value: Value| serde_json::from_value::<Installation>(value).unwrap();
    for (value, expected) in [
        (json!({"status": "succeeded", "finished_at": "t"}), false),
        (json!({"status": "failed", "finished_at": "t"}), false),
        (json!({"status": "running"}), true),
        (json!({"status": "succeeded", "finished_at": null}), true),
        (json!({"status": "cancelling", "finished_at": "t"}), true),
        (json!({}), true),
    ] {
        assert_eq!(of(value.clone()).may_run(), expected, "{value}");
    }
}

#[test]
fn the_director_is_found_with_all_cas_and_every_shape_of_its_credentials() {
    let key = "-----BEGIN RSA PRIVATE KEY-----\\nabc\\n-----END RSA PRIVATE KEY-----";
    let server = set_up(move |asked| match asked.path.rsplit('/').next().unwrap() {
        "certificate_authorities" => json_of(&json!({"certificate_authorities": [
            {"guid": "a", "cert_pem": "-----BEGIN CERTIFICATE-----\nA\n-----END CERTIFICATE-----\n", "active": true},
            {"guid": "b", "cert_pem": "-----BEGIN CERTIFICATE-----\\nB\\n-----END CERTIFICATE-----"},
        ]})),
        "bbr_ssh_credentials" => json_of(&json!({"credential": {"type": "rsa_pkey_credentials",
            "value": {"private_key_pem": key}}})),
        "uaa_bbr_client_credentials" => {
            json_of(&json!({"credential": {"type": "simple_credentials",
            "value": {"identity": "bbr_client", "password": "x=y"}}}))
        }
        "bosh_commandline_credentials" => json_of(&json!({"credential":
            "BOSH_CLIENT=ops_manager BOSH_CLIENT_SECRET=s=t BOSH_ENVIRONMENT=10.0.0.5 bosh "})),
        _ => answer(404, "nothing"),
    });
    let mut ops_manager = client(&server, user());
    let wait = soon();
    assert_eq!(
        ops_manager.trusted_certificates(&wait).unwrap(),
        "-----BEGIN CERTIFICATE-----\nA\n-----END CERTIFICATE-----\n\
         -----BEGIN CERTIFICATE-----\nB\n-----END CERTIFICATE-----\n"
    );
    assert!(
        ops_manager
            .bbr_ssh_key(&wait)
            .unwrap()
            .expose()
            .contains("\nabc\n")
    );
    let (name, secret) = ops_manager.bbr_client(&wait).unwrap();
    assert_eq!((name.as_str(), secret.expose()), ("bbr_client", "x=y"));
    let line = ops_manager.bosh_command_line(&wait).unwrap();
    assert_eq!(
        (line.client_secret.expose(), line.environment.as_str()),
        ("s=t", "10.0.0.5")
    );
    let error = ops_manager.director_credentials(&wait).unwrap_err();
    assert!(
        error.is_not_there() && error.to_string().contains("no director is deployed"),
        "{error}"
    );
}

#[test]
fn scaling_changes_the_number_alone_and_gives_the_old_one() {
    let server =
        set_up(|_| json_of(&json!({"instances": 3, "instance_type": {"id": "large"}, "x": [1]})));
    let mut ops_manager = client(&server, user());
    let before = ops_manager.stage_instances("cf-1", "mysql-1", &json!(1), &soon());
    assert_eq!(before.unwrap(), json!(3));
    let asked = server.asked();
    let put = asked.last().unwrap();
    assert_eq!(
        put.line(),
        "PUT /api/v0/staged/products/cf-1/jobs/mysql-1/resource_config"
    );
    assert_eq!(
        serde_json::from_str::<Value>(&put.body).unwrap(),
        json!({"instances": 1, "instance_type": {"id": "large"}, "x": [1]})
    );
    let before = ops_manager.stage_instances("cf-1", "mysql-1", &json!(3), &soon());
    assert_eq!(before.unwrap(), json!(3));
    assert_eq!(server.asked().last().unwrap().method, "GET");
}

#[test]
fn an_answer_that_is_no_json_is_not_quoted() {
    let server = set_up(|_| answer(200, "{\"credential\": hunter2"));
    let error = client(&server, user())
        .director_credential("x", &soon())
        .unwrap_err();
    assert!(
        error.to_string().contains("something unreadable (line 1"),
        "{error}"
    );
    assert!(!error.to_string().contains("hunter2"));
}
