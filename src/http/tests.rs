use std::io::{Read as _, Write as _};
use std::net::{TcpListener, TcpStream};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread;

use super::testing::{Lines, Reply, Server, answer, ca, client, join, other_ca, settings};
use super::*;
use crate::shutdown::Shutdown;

fn soon() -> Wait {
    Wait::at_most(Duration::from_secs(30))
}

fn get(server: &Server, path: &str) -> Request {
    Request::get(server.url(path))
}

fn post(server: &Server) -> Request {
    Request::post(server.url("/p"), "application/json", "{}")
}

/// A handler that gives the replies one after another, the last one for ever.
fn script(replies: Vec<Reply>) -> impl Fn(&testing::Asked) -> Reply + Send + Sync {
    let next = AtomicUsize::new(0);
    move |_| {
        let at = next.fetch_add(1, Ordering::SeqCst).min(replies.len() - 1);
        replies[at].clone()
    }
}

fn failure(settings: Settings, request: &Request) -> String {
    client(settings)
        .send(request, &soon())
        .unwrap_err()
        .to_string()
}

#[test]
fn the_own_ca_is_trusted_and_connections_are_kept() {
    let server = Server::start(|_| answer(200, "hello"));
    let client = client(settings());
    for _ in 0..3 {
        let response = client.send(&get(&server, "/a?b=c"), &soon()).unwrap();
        assert_eq!((response.status, response.text().as_str()), (200, "hello"));
    }
    assert_eq!(server.lines(), ["GET /a?b=c"; 3]);
    assert_eq!(server.connections(), 1);
}

#[test]
fn either_tls_version_will_do() {
    for version in [&rustls::version::TLS12, &rustls::version::TLS13] {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let server = Server::on(listener, &["127.0.0.1"], &[version], |_| answer(200, ""));
        let response = client(settings()).send(&get(&server, "/"), &soon());
        assert_eq!(response.unwrap().status, 200);
    }
}

#[test]
fn a_server_of_another_ca_is_refused_at_once() {
    let server = Server::start(|_| answer(200, ""));
    let other = Settings {
        ca_cert: Some(other_ca()),
        ..settings()
    };
    assert!(failure(other, &get(&server, "/")).contains("not issued by the given CA"));
    let system = Settings {
        ca_cert: None,
        ..settings()
    };
    assert!(failure(system, &get(&server, "/")).contains("give its CA as ca_cert"));
    assert_eq!((server.asked().len(), server.connections()), (0, 2));
}

#[test]
fn a_certificate_for_another_name_is_refused() {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let server = Server::on(listener, &["director"], rustls::ALL_VERSIONS, |_| {
        answer(200, "")
    });
    assert!(failure(settings(), &get(&server, "/")).contains("is for another name"));
}

#[test]
fn a_ca_that_is_no_pem_is_refused_before_any_request() {
    for text in [
        "",
        "/path/to/ca.pem",
        "-----BEGIN",
        "-----BEGIN CERTIFICATE-----\nZm9v\n",
    ] {
        let settings = Settings {
            ca_cert: Some(text.to_owned()),
            ..settings()
        };
        let error = Client::new(settings, Arc::new(Lines::default())).unwrap_err();
        assert!(
            matches!(&error, Error::Setting(text) if text.contains("CA certificate")),
            "{error}"
        );
    }
    let two = Settings {
        ca_cert: Some(format!("{}{}", other_ca(), ca())),
        ..settings()
    };
    let server = Server::start(|_| answer(200, ""));
    assert_eq!(
        client(two)
            .send(&get(&server, "/"), &soon())
            .unwrap()
            .status,
        200
    );
}

#[test]
fn an_ipv6_address_works() {
    let Ok(listener) = TcpListener::bind("[::1]:0") else {
        return; // a machine without IPv6
    };
    let server = Server::on(listener, &["::1"], rustls::ALL_VERSIONS, |_| {
        answer(200, "")
    });
    assert_eq!(
        client(settings())
            .send(&get(&server, "/"), &soon())
            .unwrap()
            .status,
        200
    );
}

#[test]
fn a_refused_connection_says_so() {
    let port = TcpListener::bind("127.0.0.1:0")
        .unwrap()
        .local_addr()
        .unwrap()
        .port();
    let url = format!("https://user:hunter2@127.0.0.1:{port}/x?token=hunter2");
    let text = failure(settings(), &Request::get(url.parse().unwrap()));
    assert!(
        text.starts_with(&format!("https://127.0.0.1:{port}/x cannot be reached")),
        "{text}"
    );
    assert!(text.contains("refused"), "{text}");
    assert!(!text.contains("hunter2"), "{text}");
}

#[test]
fn a_name_without_an_address_says_so() {
    let text = failure(
        settings(),
        &Request::get("https://nowhere.invalid/".parse().unwrap()),
    );
    assert!(text.contains("no address"), "{text}");
}

#[test]
fn a_server_without_tls_says_so() {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let url = format!("https://{}/", listener.local_addr().unwrap());
    thread::spawn(move || {
        for mut stream in listener.incoming().flatten() {
            drop(stream.read(&mut [0; 1000]));
            drop(stream.write_all(b"HTTP/1.1 400 Bad Request\r\n\r\n"));
        }
    });
    let text = failure(settings(), &Request::get(url.parse().unwrap()));
    assert!(text.contains("does not speak TLS"), "{text}");
}

#[test]
fn a_connection_that_never_stood_is_tried_again_even_for_a_post() {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let server = Server::start(|_| answer(200, "done"));
    let (front, back) = (listener.local_addr().unwrap(), server.address);
    thread::spawn(move || {
        for (number, near) in listener.incoming().flatten().enumerate() {
            if number < 2 {
                continue; // dropped before the handshake
            }
            join(near, TcpStream::connect(back).unwrap());
        }
    });
    let url = format!("https://{front}/p").parse().unwrap();
    let response = client(settings()).send(&Request::post(url, "text/plain", "x"), &soon());
    assert_eq!(response.unwrap().text(), "done");
    assert_eq!(server.lines(), ["POST /p"]);
}

#[test]
fn a_get_is_repeated_after_503_and_a_post_is_not() {
    let replies = || script(vec![answer(503, ""), answer(502, ""), answer(200, "")]);
    let server = Server::start(replies());
    assert_eq!(
        client(settings())
            .send(&get(&server, "/"), &soon())
            .unwrap()
            .status,
        200
    );
    assert_eq!(server.asked().len(), 3);
    let server = Server::start(replies());
    assert_eq!(
        client(settings())
            .send(&post(&server), &soon())
            .unwrap()
            .status,
        503
    );
    assert_eq!(server.asked().len(), 1);
    let server = Server::start(|_| answer(504, "busy"));
    assert_eq!(
        client(settings())
            .send(&get(&server, "/"), &soon())
            .unwrap()
            .status,
        504
    );
    assert_eq!(server.asked().len(), ATTEMPTS);
    let server = Server::start(|_| answer(404, "no"));
    assert_eq!(
        client(settings())
            .send(&get(&server, "/"), &soon())
            .unwrap()
            .text(),
        "no"
    );
    assert_eq!(server.asked().len(), 1);
}

#[test]
fn a_lost_answer_repeats_only_what_is_repeatable() {
    let replies = || script(vec![Reply::HangUp, Reply::HangUp, answer(200, "")]);
    let server = Server::start(replies());
    assert_eq!(
        client(settings())
            .send(&get(&server, "/"), &soon())
            .unwrap()
            .status,
        200
    );
    let server = Server::start(replies());
    let error = client(settings())
        .send(&post(&server), &soon())
        .unwrap_err();
    assert!(
        matches!(error, Error::Lost { .. }) && !error.nothing_was_sent(),
        "{error}"
    );
    assert_eq!(server.asked().len(), 1);
    let server = Server::start(replies());
    let response = client(settings()).send(&post(&server).repeatable(), &soon());
    assert_eq!((response.unwrap().status, server.asked().len()), (200, 3));
}

#[test]
fn a_body_that_breaks_off_is_no_answer() {
    let torn = b"HTTP/1.1 200 OK\r\ncontent-length: 10\r\n\r\nabc".to_vec();
    let server = Server::start(script(vec![Reply::Raw(torn.clone()), answer(200, "whole")]));
    let client = client(settings());
    assert_eq!(
        client.send(&get(&server, "/"), &soon()).unwrap().text(),
        "whole"
    );
    let server = Server::start(move |_| Reply::Raw(torn.clone()));
    let mut stream = client.open(&get(&server, "/"), &soon()).unwrap();
    let mut text = String::new();
    assert!(stream.read_to_string(&mut text).is_err());
    let garbage = Server::start(|_| Reply::Raw(b"SSH-2.0-what\r\n\r\n".to_vec()));
    assert!(client.send(&get(&garbage, "/"), &soon()).is_err());
}

#[test]
fn a_body_is_read_to_its_limit_or_as_it_comes() {
    let server = Server::start(|_| answer(200, vec![7; 100_000]));
    let client = client(Settings {
        body_limit: 99_999,
        ..settings()
    });
    let error = client.send(&get(&server, "/"), &soon()).unwrap_err();
    assert!(
        matches!(error, Error::TooLong { limit: 99_999, .. }),
        "{error}"
    );
    let larger = get(&server, "/").limited_to(100_000);
    assert_eq!(client.send(&larger, &soon()).unwrap().body.len(), 100_000);
    let mut stream = client.open(&get(&server, "/"), &soon()).unwrap();
    let mut body = Vec::new();
    stream.read_to_end(&mut body).unwrap();
    assert_eq!((stream.status(), body.len()), (200, 100_000));
}

#[test]
fn a_silent_server_is_given_up() {
    let short = Settings {
        response_timeout: Duration::from_millis(200),
        ..settings()
    };
    let server = Server::start(|_| Reply::Stall);
    let text = client(short.clone())
        .send(&post(&server), &soon())
        .unwrap_err()
        .to_string();
    assert!(text.contains("nothing came for"), "{text}");
    let begin = b"HTTP/1.1 200 OK\r\ncontent-length: 10\r\n\r\nabc".to_vec();
    let server = Server::start(move |_| Reply::Begin(begin.clone()));
    assert!(client(short).send(&post(&server), &soon()).is_err());
}

#[test]
fn a_signal_or_a_deadline_ends_a_stall_within_a_second() {
    let begin = b"HTTP/1.1 200 OK\r\ncontent-length: 10\r\n\r\nabc".to_vec();
    for reply in [Reply::Stall, Reply::Begin(begin)] {
        let server = Server::start(move |_| reply.clone());
        let client = client(settings());
        let shutdown = Shutdown::new();
        let raiser = shutdown.clone();
        let timer = thread::spawn(move || {
            thread::sleep(Duration::from_millis(150));
            raiser.raise();
        });
        let began = Instant::now();
        let error = client
            .send(&get(&server, "/"), &Wait::unless(&shutdown))
            .unwrap_err();
        assert!(matches!(error, Error::Stopped(_)), "{error}");
        assert!(began.elapsed() < Duration::from_secs(1));
        timer.join().unwrap();
        let deadline = Wait::at_most(Duration::from_millis(150));
        let error = client.send(&get(&server, "/"), &deadline).unwrap_err();
        assert!(matches!(error, Error::Deadline { .. }), "{error}");
    }
}

#[test]
fn secrets_stay_out_of_debug_errors_and_the_log() {
    let server = Server::start(script(vec![answer(200, "hunter2"), Reply::HangUp]));
    let secret = Secret::new("Bearer hunter2");
    let lines = Arc::new(Lines::default());
    let proxied = Proxy::Server {
        url: Secret::new("http://u:hunter2@p"),
        except: "*".into(),
    };
    let client = Client::new(
        Settings {
            proxy: proxied,
            ..settings()
        },
        Arc::clone(&lines) as _,
    );
    let client = client.unwrap();
    let url = format!("https://u:hunter2@{}/p?a=hunter2", server.address)
        .parse()
        .unwrap();
    let request = Request::post(url, "text/plain", "hunter2").with("authorization", &secret);
    let response = client.send(&request, &soon()).unwrap();
    assert_eq!(
        server.asked()[0].header("authorization"),
        Some("Bearer hunter2")
    );
    let error = client.send(&request, &soon()).unwrap_err();
    let plain = Request::get("http://u:hunter2@h/".parse().unwrap());
    let refused = client.send(&plain, &soon()).unwrap_err();
    let newline = Request::get(server.url("/")).with("authorization", &Secret::new("hunter2\n"));
    let unsendable = client.send(&newline, &soon()).unwrap_err();
    let shown = format!(
        "{client:?} {request:?} {response:?} {error} {error:?} {refused} {refused:?} {unsendable} \
         {unsendable:?} {:?}",
        lines.0.lock().unwrap()
    );
    assert!(!shown.contains("hunter2"), "{shown}");
    assert!(shown.contains("POST https://127.0.0.1"), "{shown}");
}
