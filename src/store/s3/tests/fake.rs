//! A server that answers as it is told.

use std::io::{BufRead, BufReader, Read, Write};
use std::net::{TcpListener, TcpStream};
use std::sync::{Arc, Mutex};
use std::thread;

use super::super::*;

/// What the fake does with a request.
pub(super) enum Reply {
    /// Status, headers, body.
    Answer(u16, &'static str, String),
    /// Reads it, and never answers.
    Silence,
    /// Does not even read its body.
    Deaf,
    /// Answers with less than it announced.
    Torn,
}

/// A request as it came: the line, the headers in small letters, the body.
#[derive(Clone)]
pub(super) struct Request {
    pub(super) line: String,
    pub(super) head: String,
    pub(super) body: Vec<u8>,
}

pub(super) struct Fake {
    pub(super) port: u16,
    requests: Arc<Mutex<Vec<Request>>>,
}

impl Fake {
    pub(super) fn start(answer: impl Fn(&Request, usize) -> Reply + Send + Sync + 'static) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let port = listener.local_addr().unwrap().port();
        let requests = Arc::new(Mutex::new(Vec::new()));
        let (seen, answer) = (Arc::clone(&requests), Arc::new(answer));
        thread::spawn(move || {
            for connection in listener.incoming().flatten() {
                let (seen, answer) = (Arc::clone(&seen), Arc::clone(&answer));
                // A client that goes away ends it with an error.
                thread::spawn(move || drop(serve(connection, &seen, &*answer)));
            }
        });
        Self { port, requests }
    }

    pub(super) fn always(status: u16, headers: &'static str, body: &'static str) -> Self {
        Self::start(move |_, _| Reply::Answer(status, headers, body.to_owned()))
    }

    pub(super) fn requests(&self) -> Vec<Request> {
        self.requests.lock().unwrap().clone()
    }

    pub(super) fn settings(&self) -> S3Settings {
        let mut settings = S3Settings::new("dc2", "bucket");
        settings.endpoint = Some(format!("http://127.0.0.1:{}", self.port));
        settings.use_path_style = true;
        settings.credentials = S3Credentials::Static {
            access_key_id: "AKIA".to_owned(),
            secret_access_key: Secret::new("planted-secret"),
            session_token: Some(Secret::new("planted-token")),
        };
        settings.timeouts = S3Timeouts {
            connect: Duration::from_millis(500),
            request: Duration::from_secs(2),
            stall: Duration::from_secs(1),
        };
        settings
    }

    pub(super) async fn store(&self) -> S3 {
        S3::new(self.settings()).await.unwrap()
    }
}

fn serve(
    connection: TcpStream,
    seen: &Mutex<Vec<Request>>,
    answer: &dyn Fn(&Request, usize) -> Reply,
) -> std::io::Result<()> {
    let mut writer = connection.try_clone()?;
    let mut reader = BufReader::new(connection);
    loop {
        let mut line = String::new();
        match reader.read_line(&mut line) {
            Ok(0) => return Ok(()),
            Ok(_) => {}
            // A TLS greeting.
            Err(_) => return writer.write_all(b"HTTP/1.0 400 Bad Request\r\n\r\n"),
        }
        let mut head = String::new();
        while !head.ends_with("\r\n\r\n") && reader.read_line(&mut head)? > 2 {}
        let head = head.to_ascii_lowercase();
        let length = head
            .split_once("content-length: ")
            .and_then(|(_, rest)| rest.split_once('\r'))
            .map_or(0, |(length, _)| length.parse().unwrap());
        let mut request = Request {
            line,
            head,
            body: Vec::new(),
        };
        let number = seen.lock().unwrap().len();
        let reply = answer(&request, number);
        if !matches!(reply, Reply::Deaf) {
            request.body = vec![0; length];
            reader.read_exact(&mut request.body)?;
        }
        let is_head = request.line.starts_with("HEAD");
        seen.lock().unwrap().push(request);
        match reply {
            Reply::Answer(status, headers, body) => {
                let length = body.len();
                write!(
                    writer,
                    "HTTP/1.1 {status} X\r\n{headers}content-length: {length}\r\n\r\n"
                )?;
                if !is_head {
                    writer.write_all(body.as_bytes())?;
                }
            }
            Reply::Torn => {
                write!(writer, "HTTP/1.1 200 OK\r\ncontent-length: 10\r\n\r\n12345")?;
                return Ok(());
            }
            Reply::Silence | Reply::Deaf => loop {
                thread::park();
            },
        }
    }
}
