//! The Director's address.

use std::net::Ipv6Addr;

use super::{Error, with_path};
use crate::http::Url;

/// The Director's port unless another is given.
const PORT: u16 = 25555;

/// A checked address: every request of ours goes to this host and port.
#[derive(Debug, Clone)]
pub(super) struct Target {
    name: String,
    base: Url,
}

impl Target {
    /// Accepts a host, `host:port` and URLs; always HTTPS, whatever scheme was written.
    pub(super) fn parse(text: &str) -> Result<Self, Error> {
        let text = text.trim();
        let (scheme, rest) = text.split_once("://").unwrap_or(("https", text));
        let authority = rest.split(['/', '?', '#']).next().unwrap_or_default();
        let refused = |reason| {
            let environment = match text.rsplit_once('@') {
                Some((_, host)) => format!("…@{host}"),
                None => text.to_owned(),
            };
            Err(Error::Environment {
                environment,
                reason,
            })
        };
        if !["https", "http"].contains(&scheme.to_ascii_lowercase().as_str()) {
            return refused("only https is spoken");
        }
        if authority.contains('@') {
            return refused("credentials do not belong there, but in client and client_secret");
        }
        let (host, port) = if authority.parse::<Ipv6Addr>().is_ok() {
            (format!("[{authority}]"), None)
        } else if let Some((address, rest)) = authority
            .strip_prefix('[')
            .and_then(|inner| inner.split_once(']'))
        {
            (
                format!("[{address}]"),
                Some(rest).filter(|rest| !rest.is_empty()),
            )
        } else {
            match authority.find(':') {
                Some(colon) => (authority[..colon].to_owned(), Some(&authority[colon..])),
                None => (authority.to_owned(), None),
            }
        };
        if host.is_empty() || host == "[]" {
            return refused("it has no host");
        }
        let number = port.map(|port| port.strip_prefix(':').unwrap_or("").parse::<u16>());
        let port = match number {
            None => PORT,
            Some(Ok(port)) if port > 0 => port,
            Some(_) => return refused("its port is not a number from 1 to 65535"),
        };
        let Ok(base) = Url::parse(&format!("https://{host}:{port}/")) else {
            return refused("its host is not a name or address");
        };
        let host = base.host_str().unwrap_or_default();
        let name = format!("{host}:{port}");
        Ok(Self { name, base })
    }

    /// `host:port`.
    pub(super) fn name(&self) -> &str {
        &self.name
    }

    /// The URL of an API path, each segment encoded.
    pub(super) fn url(&self, segments: &[&str]) -> Result<Url, Error> {
        // `.` and `..` would be taken out of the path.
        if segments.iter().any(|part| ["", ".", ".."].contains(part)) {
            return Err(Error::Instances(format!(
                "`{}` cannot be asked of a BOSH Director: a name in it is empty or only dots",
                segments.join("/")
            )));
        }
        Ok(with_path(self.base.clone(), segments))
    }

    /// Where a redirect leads: its path on this host and port, nothing else of it.
    pub(super) fn redirected(&self, location: &str) -> Option<Url> {
        let there = self.base.join(location).ok()?;
        let mut url = self.base.clone();
        url.set_path(there.path());
        Some(url)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_accepted_form_leads_to_https_and_a_port() {
        for (text, name) in [
            ("director.example", "director.example:25555"),
            ("10.0.0.6", "10.0.0.6:25555"),
            ("10.0.0.6:443", "10.0.0.6:443"),
            ("https://director.example", "director.example:25555"),
            ("https://director.example:443/", "director.example:443"),
            (
                "HTTPS://director.example:8443/some/path?x#y",
                "director.example:8443",
            ),
            ("http://director.example", "director.example:25555"),
            (" director.example\n", "director.example:25555"),
            ("[fd00::6]:4443", "[fd00::6]:4443"),
            ("https://[fd00::6]", "[fd00::6]:25555"),
            ("fd00::6", "[fd00::6]:25555"),
        ] {
            let target = Target::parse(text).unwrap();
            assert_eq!(target.name(), name, "{text}");
            let url = target.url(&["deployments", "a b/c"]).unwrap();
            assert_eq!(url.scheme(), "https");
            assert_eq!(url.path(), "/deployments/a%20b%2Fc");
        }
    }

    #[test]
    fn what_is_no_address_is_refused() {
        for text in [
            "",
            "https://",
            "https://:25555",
            ":25555",
            "[]:1",
            "host:",
            "host:0",
            "host:70000",
            "host:1:2",
            "[fd00::6",
            "[fd00::6]x",
            "ssh://host",
            "a b",
            "https://user:hunter2@host",
            "user:hunter2@host",
        ] {
            let error = Target::parse(text).unwrap_err().to_string();
            assert!(error.contains("not usable"), "{text}: {error}");
            assert!(!error.contains("hunter2"), "{error}");
        }
    }

    #[test]
    fn a_redirect_never_leaves_the_director() {
        let target = Target::parse("10.0.0.6").unwrap();
        for location in [
            "/tasks/5",
            "https://evil.example:1/tasks/5?x",
            "//evil.example/tasks/5",
        ] {
            let url = target.redirected(location).unwrap();
            assert_eq!(url.as_str(), "https://10.0.0.6:25555/tasks/5");
        }
    }

    #[test]
    fn names_that_would_change_the_path_are_refused() {
        let target = Target::parse("10.0.0.6").unwrap();
        for name in ["", ".", ".."] {
            assert!(target.url(&["deployments", name]).is_err());
        }
    }
}
