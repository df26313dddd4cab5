//! Tests of the ways to a server that are not direct.

use std::io::{self, Read as _, Write as _};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::thread;

use super::testing::{Lines, Server, answer, client, join, settings};
use super::*;

fn soon() -> Wait {
    Wait::at_most(Duration::from_secs(30))
}

#[derive(Debug)]
struct To(SocketAddr, Mutex<Vec<String>>);

impl Forwarder for To {
    fn address(&self, host: &str, port: u16) -> io::Result<SocketAddr> {
        self.1.lock().unwrap().push(format!("{host} {port}"));
        if host == "lost" {
            return Err(io::Error::other("the jumpbox hung up"));
        }
        Ok(self.0)
    }
}

#[test]
fn a_forwarder_changes_the_way_but_not_the_name() {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let names = ["director.internal", "10.0.0.6", "fd00::6"];
    let server = Server::on(listener, &names, rustls::ALL_VERSIONS, |_| {
        answer(200, "in")
    });
    let to = Arc::new(To(server.address, Mutex::default()));
    let client = client(Settings {
        proxy: Proxy::Forwarder(Arc::clone(&to) as _),
        ..settings()
    });
    let send = |url: &str| client.send(&Request::get(url.parse().unwrap()), &soon());
    for url in [
        "https://director.internal:25555/",
        "https://10.0.0.6/",
        "https://[fd00::6]:8443/",
    ] {
        assert_eq!(send(url).unwrap().text(), "in", "{url}");
        assert_eq!(send(url).unwrap().text(), "in", "{url}");
    }
    assert_eq!(
        *to.1.lock().unwrap(),
        ["director.internal 25555", "10.0.0.6 443", "fd00::6 8443"]
    );
    let wrong = send("https://uaa.internal/").unwrap_err().to_string();
    assert!(wrong.contains("is for another name"), "{wrong}");
    let lost = send("https://lost/").unwrap_err().to_string();
    assert!(
        lost.contains("the tunnel gave no connection (the jumpbox hung up)"),
        "{lost}"
    );
}

/// One proxy for both: what it was asked for goes to `seen`, the connection to `back`.
fn proxy_server(back: SocketAddr, seen: Arc<Mutex<Vec<String>>>) -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    thread::spawn(move || {
        for mut near in listener.incoming().flatten() {
            let mut buffer = [0; 1000];
            let mut length = near.read(&mut buffer).unwrap();
            if buffer[0] == 5 {
                near.write_all(&[5, 0]).unwrap();
                length = near.read(&mut buffer).unwrap();
                near.write_all(&[5, 0, 0, 1, 0, 0, 0, 0, 0, 0]).unwrap();
            } else {
                near.write_all(b"HTTP/1.1 200 OK\r\n\r\n").unwrap();
            }
            let text = String::from_utf8_lossy(&buffer[..length]).into_owned();
            seen.lock().unwrap().push(text);
            join(near, TcpStream::connect(back).unwrap());
        }
    });
    address
}

#[test]
fn proxies_are_used_with_the_names_unresolved_and_exceptions_kept() {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let names = ["director.internal", "localhost"];
    let server = Server::on(listener, &names, rustls::ALL_VERSIONS, |_| {
        answer(200, "in")
    });
    let seen = Arc::new(Mutex::new(Vec::new()));
    let address = proxy_server(server.address, Arc::clone(&seen));
    for scheme in ["socks5", "http"] {
        let url = Secret::new(format!("{scheme}://{address}"));
        let proxy = Proxy::Server {
            url,
            except: "localhost".to_owned(),
        };
        let client = client(Settings {
            proxy,
            ..settings()
        });
        let send = |url: &str| client.send(&Request::get(url.parse().unwrap()), &soon());
        assert_eq!(
            send("https://director.internal:25555/").unwrap().text(),
            "in"
        );
        let direct = format!("https://localhost:{}/", server.address.port());
        assert_eq!(send(&direct).unwrap().text(), "in");
        assert!(
            send("https://[fd00::6]/")
                .unwrap_err()
                .to_string()
                .contains("NO_PROXY")
        );
        let seen = std::mem::take(&mut *seen.lock().unwrap());
        assert_eq!(seen.len(), 1);
        assert!(seen[0].contains("director.internal"), "{seen:?}");
    }
    for bad in ["ssh+socks5://user:hunter2@h:22", "hunter2", "http://"] {
        let proxy = Proxy::Server {
            url: Secret::new(bad),
            except: String::new(),
        };
        let error = Client::new(
            Settings {
                proxy,
                ..settings()
            },
            Arc::new(Lines::default()),
        );
        assert!(!error.unwrap_err().to_string().contains("hunter2"));
    }
}
