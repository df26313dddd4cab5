//! Addresses and host keys, as an SSH setup tells them.

use std::fmt;
use std::net::Ipv6Addr;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;

/// A host and port to connect to.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Address {
    /// A name or address; IPv6 without brackets.
    pub host: String,
    /// The port.
    pub port: u16,
}

impl Address {
    /// Reads `host`, `host:port`, an IPv6 address, or `[address]:port`; port 22 unless given.
    pub fn parse(text: &str) -> Option<Self> {
        let text = text.trim();
        if text.parse::<Ipv6Addr>().is_ok() {
            return Some(Self::new(text, 22));
        }
        if let Some(inner) = text.strip_prefix('[') {
            let (host, rest) = inner.split_once(']')?;
            host.parse::<Ipv6Addr>().ok()?;
            return match rest {
                "" => Some(Self::new(host, 22)),
                _ => Some(Self::new(host, port(rest.strip_prefix(':')?)?)),
            };
        }
        let (host, port) = match text.split_once(':') {
            Some((host, number)) => (host, port(number)?),
            None => (text, 22),
        };
        let plain = |c: char| !c.is_whitespace() && !c.is_control() && !"/@".contains(c);
        let usable = !host.is_empty() && !host.starts_with('-') && host.chars().all(plain);
        usable.then(|| Self::new(host, port))
    }

    fn new(host: &str, port: u16) -> Self {
        Self {
            host: host.to_owned(),
            port,
        }
    }
}

impl fmt::Display for Address {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.host.contains(':') {
            write!(f, "[{}]:{}", self.host, self.port)
        } else {
            write!(f, "{}:{}", self.host, self.port)
        }
    }
}

fn port(text: &str) -> Option<u16> {
    text.parse().ok().filter(|port| *port > 0)
}

/// An `authorized_keys` line without its comment: `TYPE BASE64`. None when the line is not one
/// key whose content is of the type it claims.
pub(super) fn host_key(line: &str) -> Option<String> {
    let line = line.trim();
    if line.contains(['\n', '\r', '\0']) {
        return None;
    }
    let mut words = line.split_ascii_whitespace();
    let (kind, encoded) = (words.next()?, words.next()?);
    let blob = STANDARD.decode(encoded).ok()?;
    let (length, rest) = blob.split_first_chunk::<4>()?;
    let length = usize::try_from(u32::from_be_bytes(*length)).ok()?;
    let stated = rest.get(..length)?;
    (stated == kind.as_bytes() && rest.len() > length).then(|| format!("{kind} {encoded}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_of_every_form_are_read() {
        for (text, shown) in [
            ("10.0.0.5", "10.0.0.5:22"),
            ("127.0.0.1:2222", "127.0.0.1:2222"),
            ("vm.internal", "vm.internal:22"),
            ("fd00::5", "[fd00::5]:22"),
            ("[fd00::5]", "[fd00::5]:22"),
            ("[fd00::5]:2222", "[fd00::5]:2222"),
        ] {
            assert_eq!(Address::parse(text).unwrap().to_string(), shown);
        }
        for text in [
            "",
            ":22",
            "host:",
            "host:0",
            "host:99999",
            "a:b:c",
            "[fd00::5]22",
            "[x]:22",
            "-oX",
            "a b",
            "u@h",
        ] {
            assert!(Address::parse(text).is_none(), "{text}");
        }
    }

    #[test]
    fn a_host_key_must_be_what_it_says() {
        let key = "AAAAC3NzaC1lZDI1NTE5AAAAIE5DlO1BhJ5lfvp0tG5ZwRkcJPYWFzvjSQmCJF1MkEBn";
        let line = format!("ssh-ed25519 {key}");
        assert_eq!(host_key(&format!("{line} root@host\n")), Some(line.clone()));
        assert_eq!(host_key(&line), Some(line));
        for bad in [
            String::new(),
            key.to_owned(),
            format!("ssh-rsa {key}"),
            "ssh-ed25519 AAAA".to_owned(),
            "ssh-ed25519 !!!!".to_owned(),
            format!("ssh-ed25519 {key}\nssh-ed25519 {key}"),
        ] {
            assert_eq!(host_key(&bad), None, "{bad}");
        }
    }
}
