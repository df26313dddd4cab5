//! A small TLS server for tests: HTTP/1.1 with keep-alive, answers by a closure.

use std::io::{self, BufRead, BufReader, Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, OnceLock};
use std::thread;
use std::time::Duration;

use rcgen::{BasicConstraints, CertificateParams, IsCa, Issuer, KeyPair};
use rustls::pki_types::PrivateKeyDer;
use rustls::{ServerConfig, ServerConnection, StreamOwned, SupportedProtocolVersion};

use crate::http::{Client, Proxy, Settings};
use crate::monitor::{Level, Monitor};

/// A request as it arrived.
#[derive(Debug, Clone)]
pub(crate) struct Asked {
    pub(crate) method: String,
    pub(crate) path: String,
    pub(crate) headers: Vec<(String, String)>,
    pub(crate) body: String,
}

impl Asked {
    pub(crate) fn header(&self, name: &str) -> Option<&str> {
        let found = self.headers.iter().find(|(other, _)| other == name);
        found.map(|(_, value)| value.as_str())
    }

    /// `GET /path`.
    pub(crate) fn line(&self) -> String {
        format!("{} {}", self.method, self.path)
    }
}

/// What the server does.
#[derive(Debug, Clone)]
pub(crate) enum Reply {
    Answer(u16, Vec<(&'static str, String)>, Vec<u8>),
    /// Closes the connection without an answer.
    HangUp,
    /// Says nothing until the server goes.
    Stall,
    /// These bytes, then nothing until the server goes.
    Begin(Vec<u8>),
    /// These bytes, then the end.
    Raw(Vec<u8>),
}

pub(crate) fn answer(status: u16, body: impl Into<Vec<u8>>) -> Reply {
    Reply::Answer(status, Vec::new(), body.into())
}

pub(crate) fn redirect(location: impl Into<String>) -> Reply {
    Reply::Answer(302, vec![("location", location.into())], Vec::new())
}

type Handler = dyn Fn(&Asked) -> Reply + Send + Sync;

struct State {
    handler: Box<Handler>,
    asked: Mutex<Vec<Asked>>,
    connections: AtomicUsize,
    closed: AtomicBool,
}

pub(crate) struct Server {
    pub(crate) address: SocketAddr,
    state: Arc<State>,
}

impl Server {
    /// On 127.0.0.1, with a certificate for it and `localhost`.
    pub(crate) fn start(handler: impl Fn(&Asked) -> Reply + Send + Sync + 'static) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        Self::on(
            listener,
            &["127.0.0.1", "localhost"],
            rustls::ALL_VERSIONS,
            handler,
        )
    }

    pub(crate) fn on(
        listener: TcpListener,
        names: &[&str],
        versions: &[&'static SupportedProtocolVersion],
        handler: impl Fn(&Asked) -> Reply + Send + Sync + 'static,
    ) -> Self {
        let (key, certificate) = issued(names);
        let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
        let config = ServerConfig::builder_with_provider(provider)
            .with_protocol_versions(versions)
            .unwrap()
            .with_no_client_auth()
            .with_single_cert(vec![certificate], key)
            .unwrap();
        let config = Arc::new(config);
        let address = listener.local_addr().unwrap();
        let state = Arc::new(State {
            handler: Box::new(handler),
            asked: Mutex::default(),
            connections: AtomicUsize::new(0),
            closed: AtomicBool::new(false),
        });
        let serving = Arc::clone(&state);
        thread::spawn(move || {
            for stream in listener.incoming() {
                if serving.closed.load(Ordering::SeqCst) {
                    return;
                }
                serving.connections.fetch_add(1, Ordering::SeqCst);
                let (state, config) = (Arc::clone(&serving), Arc::clone(&config));
                thread::spawn(move || {
                    if let Ok(stream) = stream {
                        serve(stream, config, &state);
                    }
                });
            }
        });
        Self { address, state }
    }

    pub(crate) fn url(&self, path: &str) -> crate::http::Url {
        format!("https://{}{path}", self.address).parse().unwrap()
    }

    pub(crate) fn asked(&self) -> Vec<Asked> {
        self.state.asked.lock().unwrap().clone()
    }

    pub(crate) fn lines(&self) -> Vec<String> {
        self.asked().iter().map(Asked::line).collect()
    }

    pub(crate) fn connections(&self) -> usize {
        self.state.connections.load(Ordering::SeqCst)
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        self.state.closed.store(true, Ordering::SeqCst);
        drop(TcpStream::connect(self.address));
    }
}

fn serve(stream: TcpStream, config: Arc<ServerConfig>, state: &State) -> Option<()> {
    let connection = ServerConnection::new(config).unwrap();
    let mut reader = BufReader::new(StreamOwned::new(connection, stream));
    loop {
        let mut line = String::new();
        reader
            .read_line(&mut line)
            .ok()
            .filter(|length| *length > 0)?;
        let mut words = line.split_whitespace().map(str::to_owned);
        let (method, path) = (words.next()?, words.next()?);
        let mut headers = Vec::new();
        loop {
            let mut line = String::new();
            reader.read_line(&mut line).ok()?;
            let Some((name, value)) = line.trim().split_once(": ") else {
                break;
            };
            headers.push((name.to_lowercase(), value.to_owned()));
        }
        let mut asked = Asked {
            method,
            path,
            headers,
            body: String::new(),
        };
        let length: usize = asked
            .header("content-length")
            .map_or(0, |n| n.parse().unwrap());
        // Longer ones are not waited for: what the server says then, it says in the middle.
        let length = if length > 1 << 30 { 0 } else { length };
        let mut body = vec![0; length];
        reader.read_exact(&mut body).ok()?;
        asked.body = String::from_utf8_lossy(&body).into_owned();
        state.asked.lock().unwrap().push(asked.clone());
        let mut out = Vec::new();
        let after = (state.handler)(&asked);
        match &after {
            Reply::Answer(status, headers, body) => {
                write!(
                    out,
                    "HTTP/1.1 {status} X\r\ncontent-length: {}\r\n",
                    body.len()
                )
                .ok()?;
                for (name, value) in headers {
                    write!(out, "{name}: {value}\r\n").ok()?;
                }
                out.extend_from_slice(b"\r\n");
                out.extend_from_slice(body);
            }
            Reply::Begin(bytes) | Reply::Raw(bytes) => out.extend_from_slice(bytes),
            Reply::HangUp | Reply::Stall => {}
        }
        reader.get_mut().write_all(&out).ok()?;
        reader.get_mut().flush().ok()?;
        match after {
            Reply::Answer(..) => {}
            Reply::HangUp | Reply::Raw(_) => return None,
            Reply::Stall | Reply::Begin(_) => {
                while !state.closed.load(Ordering::SeqCst) {
                    thread::sleep(Duration::from_millis(20));
                }
                return None;
            }
        }
    }
}

fn authority() -> &'static (Issuer<'static, KeyPair>, String) {
    static AUTHORITY: OnceLock<(Issuer<'static, KeyPair>, String)> = OnceLock::new();
    AUTHORITY.get_or_init(|| make_authority("test CA"))
}

fn make_authority(name: &str) -> (Issuer<'static, KeyPair>, String) {
    let key = KeyPair::generate().unwrap();
    let mut params = CertificateParams::new(Vec::new()).unwrap();
    params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    params
        .distinguished_name
        .push(rcgen::DnType::CommonName, name);
    let pem = params.self_signed(&key).unwrap().pem();
    (Issuer::new(params, key), pem)
}

fn issued(
    names: &[&str],
) -> (
    PrivateKeyDer<'static>,
    rustls::pki_types::CertificateDer<'static>,
) {
    let names: Vec<String> = names.iter().map(|name| (*name).to_owned()).collect();
    let key = KeyPair::generate().unwrap();
    let params = CertificateParams::new(names).unwrap();
    let certificate = params.signed_by(&key, &authority().0).unwrap();
    let key = PrivateKeyDer::Pkcs8(key.serialize_der().into());
    (key, certificate.der().clone())
}

/// The PEM of the CA that issued every test server's certificate.
pub(crate) fn ca() -> String {
    authority().1.clone()
}

/// The PEM of a CA that issued none.
pub(crate) fn other_ca() -> String {
    make_authority("another CA").1
}

pub(crate) fn settings() -> Settings {
    Settings {
        ca_cert: Some(ca()),
        proxy: Proxy::Direct,
        connect_timeout: Duration::from_secs(10),
        response_timeout: Duration::from_secs(10),
        ..Settings::default()
    }
}

pub(crate) fn client(settings: Settings) -> Client {
    Client::new(settings, Arc::new(Lines::default())).unwrap()
}

/// Keeps what it is told.
#[derive(Debug, Default)]
pub(crate) struct Lines(pub(crate) Mutex<Vec<String>>);

impl Monitor for Lines {
    fn say(&self, _: Level, text: &str) {
        self.0.lock().unwrap().push(text.to_owned());
    }
}

/// Joins two connections.
pub(crate) fn join(near: TcpStream, far: TcpStream) {
    let (mut near_in, mut far_out) = (near.try_clone().unwrap(), far.try_clone().unwrap());
    thread::spawn(move || io::copy(&mut near_in, &mut far_out));
    thread::spawn(move || io::copy(&mut &far, &mut &near));
}
