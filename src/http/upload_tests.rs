use std::io;

use super::testing::{Reply, Server, answer, client, settings};
use super::*;

fn soon() -> Wait {
    Wait::at_most(Duration::from_secs(30))
}

/// Gives `left` bytes and then fails.
struct Failing(usize);

impl io::Read for Failing {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        if self.0 == 0 {
            return Err(io::Error::other("the store is gone"));
        }
        let length = self.0.min(buffer.len());
        self.0 -= length;
        Ok(length)
    }
}

#[test]
fn a_body_is_read_while_it_is_sent_and_its_length_is_told_beforehand() {
    let server = Server::start(|_| answer(200, "thanks"));
    let client = client(settings());
    let text = "x".repeat(3_000_000);
    let request = Request::post(server.url("/up"), "text/plain", "");
    let response = client
        .upload(&request, &mut text.as_bytes(), 3_000_000, &soon())
        .unwrap();
    assert_eq!(response.text(), "thanks");
    let asked = &server.asked()[0];
    assert_eq!(asked.header("content-length"), Some("3000000"));
    assert_eq!(asked.header("transfer-encoding"), None);
    assert_eq!(asked.body, text);
}

#[test]
fn a_reader_that_fails_or_ends_early_is_named_and_the_server_never_sees_a_whole_body() {
    let server = Server::start(|_| answer(200, "thanks"));
    let client = client(settings());
    let request = Request::post(server.url("/up"), "text/plain", "");
    let error = client
        .upload(&request, &mut Failing(500_000), 1_000_000, &soon())
        .unwrap_err();
    let said = error.to_string();
    assert!(
        said.contains("was not sent all") && said.contains("the store is gone"),
        "{said}"
    );
    let error = client
        .upload(&request, &mut "short".as_bytes(), 1_000_000, &soon())
        .unwrap_err();
    assert!(
        error.to_string().contains("999995 bytes too early"),
        "{error}"
    );
    assert!(server.asked().is_empty());
}

#[test]
fn an_upload_that_is_refused_before_its_end_does_not_hang() {
    let server =
        Server::start(|_| Reply::Begin(b"HTTP/1.1 403 X\r\ncontent-length: 0\r\n\r\n".to_vec()));
    let client = client(settings());
    let request = Request::post(server.url("/up"), "text/plain", "");
    let mut endless = io::repeat(7);
    let answer = client.upload(&request, &mut endless, 1 << 40, &soon());
    assert_eq!(answer.unwrap().status, 403);
}

#[test]
fn an_upload_that_stalls_is_given_up() {
    let server = Server::start(|_| Reply::Stall);
    let client = client(Settings {
        response_timeout: Duration::from_millis(300),
        ..settings()
    });
    let request = Request::post(server.url("/up"), "text/plain", "");
    let mut endless = io::repeat(7);
    let error = client.upload(&request, &mut endless, 1 << 40, &soon());
    assert!(error.unwrap_err().to_string().contains("nothing came for"));
}

#[test]
fn a_foreign_certificate_is_taken_only_where_that_is_asked() {
    let server = Server::start(|_| answer(200, "ok"));
    let careless = Settings {
        ca_cert: None,
        skip_validation: true,
        ..settings()
    };
    let request = Request::get(server.url("/"));
    assert_eq!(
        client(careless).send(&request, &soon()).unwrap().status,
        200
    );
    let careful = Settings {
        ca_cert: None,
        ..settings()
    };
    assert!(client(careful).send(&request, &soon()).is_err());
}
