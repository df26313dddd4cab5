//! Hosts, URLs and proxies.

use std::net::Ipv6Addr;

/// A host and maybe its port.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct HostPort {
    /// IPv6 without brackets.
    pub(super) host: String,
    pub(super) port: Option<u16>,
}

/// Reads `host`, `host:port`, `[v6]`, `[v6]:port`, `v6`.
pub(super) fn host_port(text: &str) -> Result<HostPort, &'static str> {
    const BAD_PORT: &str = "has a port that is not a number from 1 to 65535";
    let port = |text: &str| match text.parse::<u16>() {
        Ok(port) if port > 0 => Ok(Some(port)),
        _ => Err(BAD_PORT),
    };
    let (host, port) = if let Some(rest) = text.strip_prefix('[') {
        let (host, after) = rest
            .split_once(']')
            .ok_or("has a bracket that is not closed")?;
        if host.parse::<Ipv6Addr>().is_err() {
            return Err("has brackets around something that is not an IPv6 address");
        }
        match after.strip_prefix(':') {
            Some(digits) => (host, port(digits)?),
            None if after.is_empty() => (host, None),
            None => return Err("has something behind the closing bracket that is not a port"),
        }
    } else if text.parse::<Ipv6Addr>().is_ok() {
        (text, None)
    } else {
        match text.split_once(':') {
            Some((host, digits)) => (host, port(digits)?),
            None => (text, None),
        }
    };
    if host.is_empty() {
        return Err("has no host");
    }
    let good = host.parse::<Ipv6Addr>().is_ok()
        || (host.len() <= 253
            && !host.starts_with(['-', '.'])
            && host
                .bytes()
                .all(|b| b.is_ascii_alphanumeric() || b"-._".contains(&b)));
    if !good {
        return Err("has characters that no host name has");
    }
    Ok(HostPort {
        host: host.to_owned(),
        port,
    })
}

/// The Director: `host`, `host:port` or `https://host:port`; a path does not count.
pub(super) fn director(text: &str) -> Result<HostPort, &'static str> {
    let rest = match text.split_once("://") {
        Some(("https", rest)) => rest,
        Some(("http", _)) => return Err("begins with http://; a Director speaks https only"),
        Some(_) => return Err("is not a Director's address; use https://HOST:25555 or HOST"),
        None => text,
    };
    let authority = rest.split(['/', '?', '#']).next().unwrap_or_default();
    if authority.contains('@') {
        return Err("holds a user name; use `client` and `client_secret`");
    }
    host_port(authority)
}

/// Ops Manager: `host`, `host:port` or `https://host/…`; a path does not count.
pub(super) fn ops_manager(text: &str) -> Result<HostPort, &'static str> {
    let rest = match text.split_once("://") {
        Some(("https", rest)) => rest,
        Some(("http", _)) => return Err("begins with http://; an Ops Manager speaks https only"),
        Some(_) => return Err("is not an Ops Manager's address; use https://HOST"),
        None => text,
    };
    let authority = rest.split(['/', '?', '#']).next().unwrap_or_default();
    if authority.contains('@') {
        return Err("holds a user name; use `username` and `password`");
    }
    host_port(authority)
}

/// The API of something on a foundation: `host`, `host:port` or `https://host/…`; a path does not
/// count.
pub(super) fn api(text: &str) -> Result<HostPort, &'static str> {
    let rest = match text.split_once("://") {
        Some(("https", rest)) => rest,
        Some(("http", _)) => return Err("begins with http://; secrets go over https only"),
        Some(_) => return Err("is not an API's address; use https://HOST"),
        None => text,
    };
    let authority = rest.split(['/', '?', '#']).next().unwrap_or_default();
    if authority.contains('@') {
        return Err("holds a user name; use the keys for it");
    }
    host_port(authority)
}

/// An S3 endpoint with its scheme.
pub(super) fn endpoint(text: &str, disable_ssl: bool) -> Result<String, &'static str> {
    let (scheme, rest) = match text.split_once("://") {
        Some((scheme @ ("http" | "https"), rest)) => (scheme, rest),
        Some(_) => return Err("is not a URL of http:// or https://"),
        None if disable_ssl => ("http", text),
        None => ("https", text),
    };
    let rest = rest.trim_end_matches('/');
    if rest.contains('@') {
        return Err("holds a user name; use `access_key_id` and `secret_access_key`");
    }
    let (authority, path) = match rest.split_once('/') {
        Some((authority, path)) => (authority, path),
        None => (rest, ""),
    };
    if path.contains(['?', '#']) || authority.contains(['?', '#']) {
        return Err("has a query behind the address");
    }
    host_port(authority)?;
    Ok(format!("{scheme}://{rest}"))
}

/// A proxy's URL.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum ProxyUrl {
    /// `socks5://host:port`.
    Socks5 { host: String, port: u16 },
    /// `ssh+socks5://user@host:port?private-key=/path`.
    Jumpbox {
        username: Option<String>,
        host: String,
        port: u16,
        key_file: Option<String>,
    },
}

/// Reads the two forms that BOSH's tools know.
pub(super) fn proxy(text: &str) -> Result<ProxyUrl, &'static str> {
    const FORMS: &str = "is not a proxy; use socks5://HOST:PORT or ssh+socks5://USER@HOST:PORT";
    let (scheme, rest) = text.split_once("://").ok_or(FORMS)?;
    let (rest, query) = match rest.split_once('?') {
        Some((rest, query)) => (rest, Some(query)),
        None => (rest, None),
    };
    let rest = rest.trim_end_matches('/');
    let (user, authority) = match rest.rsplit_once('@') {
        Some((user, authority)) => (Some(user), authority),
        None => (None, rest),
    };
    if user.is_some_and(|user| user.contains(':')) {
        return Err("holds a password; proxies are used without one");
    }
    let HostPort { host, port } = host_port(authority)?;
    let port = port.ok_or("has no port")?;
    match scheme {
        "socks5" if user.is_some() => Err("holds a user name; SOCKS5 proxies are used without one"),
        "socks5" if query.is_some() => Err("has a query behind the address"),
        "socks5" => Ok(ProxyUrl::Socks5 { host, port }),
        "ssh+socks5" => {
            let key_file = match query.map(|query| query.strip_prefix("private-key=")) {
                None => None,
                Some(Some(path)) if !path.is_empty() && !path.contains('&') => {
                    Some(path.to_owned())
                }
                Some(_) => return Err("has a query other than private-key=/path"),
            };
            Ok(ProxyUrl::Jumpbox {
                username: user.filter(|user| !user.is_empty()).map(str::to_owned),
                host,
                port,
                key_file,
            })
        }
        _ => Err(FORMS),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn shown(text: &str) -> Result<String, &'static str> {
        host_port(text).map(|at| format!("{} {:?}", at.host, at.port))
    }

    #[test]
    fn hosts_are_read_in_every_form() {
        assert_eq!(shown("10.0.0.6").unwrap(), "10.0.0.6 None");
        assert_eq!(
            shown("bosh.example.com:25555").unwrap(),
            "bosh.example.com Some(25555)"
        );
        assert_eq!(shown("[fd00::6]:22").unwrap(), "fd00::6 Some(22)");
        assert_eq!(shown("fd00::6").unwrap(), "fd00::6 None");
        for text in [
            "",
            ":22",
            "a b",
            "host:0",
            "host:99999",
            "[fd00::6",
            "[host]:1",
            "-x",
            "a/b",
        ] {
            assert!(host_port(text).is_err(), "{text}");
        }
    }

    #[test]
    fn proxies_are_read_as_bosh_reads_them() {
        let ProxyUrl::Jumpbox {
            username,
            host,
            port,
            key_file,
        } = proxy("ssh+socks5://ubuntu@jump.example.com:22?private-key=/tmp/key").unwrap()
        else {
            panic!("not a jumpbox");
        };
        assert_eq!(
            (
                username.as_deref(),
                host.as_str(),
                port,
                key_file.as_deref()
            ),
            (Some("ubuntu"), "jump.example.com", 22, Some("/tmp/key"))
        );
        for text in [
            "socks5://h",
            "socks5://u:p@h:1",
            "http://h:1",
            "h:1",
            "socks5://u@h:1",
            "ssh+socks5://h:1?x=y",
        ] {
            assert!(proxy(text).is_err(), "{text}");
        }
    }

    #[test]
    fn an_endpoint_gets_its_scheme() {
        assert_eq!(endpoint("minio:9000", false).unwrap(), "https://minio:9000");
        assert_eq!(endpoint("minio:9000", true).unwrap(), "http://minio:9000");
        assert_eq!(endpoint("http://a/", false).unwrap(), "http://a");
        for text in ["ftp://a", "https://u:p@a", "https://", "https://a?x", "a b"] {
            assert!(endpoint(text, false).is_err(), "{text}");
        }
    }
}
