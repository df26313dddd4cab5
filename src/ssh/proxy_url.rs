//! `BOSH_ALL_PROXY` as text: the two forms that bosh and bbr know.

use std::path::PathBuf;

use super::dial::Address;
use super::route::RouteError;

/// A proxy's URL, taken apart.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ProxyUrl {
    /// `socks5://host:port`
    Socks5(Address),
    /// `ssh+socks5://user@host:port?private-key=/path`
    Jumpbox {
        /// Where its SSH server listens.
        address: Address,
        /// `jumpbox`, unless said otherwise.
        user: String,
        /// The file with the private key; without it the key must come by other means.
        private_key: Option<PathBuf>,
    },
}

impl ProxyUrl {
    /// Takes a URL apart.
    ///
    /// # Errors
    /// One sentence that says what is wrong with it.
    pub fn parse(url: &str) -> Result<Self, RouteError> {
        // A user name may be followed by a password: the URL is never repeated in an error.
        let wrong = |what: &str| RouteError::Url(what.to_owned());
        let Some((scheme, rest)) = url.trim().split_once("://") else {
            return Err(wrong("it has no scheme"));
        };
        let (rest, query) = match rest.split_once('?') {
            Some((rest, query)) => (rest, Some(query)),
            None => (rest, None),
        };
        let rest = rest.strip_suffix('/').unwrap_or(rest);
        let (user, address) = match rest.rsplit_once('@') {
            Some((user, address)) => (Some(decode(user).ok_or_else(|| wrong("bad %"))?), address),
            None => (None, rest),
        };
        let address = Address::parse(address, None)
            .map_err(|_repeats| wrong("it needs a host and a port"))?;
        match scheme {
            "socks5" | "socks5h" if user.is_some() => Err(wrong(
                "a user name is not supported for SOCKS5; use ssh+socks5:// or none",
            )),
            "socks5" | "socks5h" if query.is_some() => {
                Err(wrong("options are not supported for SOCKS5"))
            }
            "socks5" | "socks5h" => Ok(Self::Socks5(address)),
            "ssh+socks5" => {
                let user = user.unwrap_or_else(|| "jumpbox".to_owned());
                if user.contains(':') {
                    return Err(wrong(
                        "a jumpbox is entered with a key, not with a password",
                    ));
                }
                if user.is_empty() {
                    return Err(wrong("the user name before the @ is empty"));
                }
                let mut private_key = None;
                for option in query
                    .unwrap_or_default()
                    .split('&')
                    .filter(|it| !it.is_empty())
                {
                    match option.split_once('=') {
                        Some(("private-key", path)) if !path.is_empty() => {
                            let path = decode(path).ok_or_else(|| wrong("bad %"))?;
                            private_key = Some(PathBuf::from(path));
                        }
                        _ => return Err(wrong("its only option is private-key=/path")),
                    }
                }
                Ok(Self::Jumpbox {
                    address,
                    user,
                    private_key,
                })
            }
            _ => Err(wrong("its scheme is neither socks5 nor ssh+socks5")),
        }
    }
}

/// Undoes percent-encoding.
fn decode(text: &str) -> Option<String> {
    let mut bytes = Vec::with_capacity(text.len());
    let mut rest = text.as_bytes();
    while let Some((first, more)) = rest.split_first() {
        rest = more;
        if *first == b'%' {
            let (digits, more) = rest.split_at_checked(2)?;
            bytes.extend(hex::decode(digits).ok()?);
            rest = more;
        } else {
            bytes.push(*first);
        }
    }
    String::from_utf8(bytes).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn both_forms_are_read() {
        assert_eq!(
            ProxyUrl::parse("socks5://proxy.example.com:1080").unwrap(),
            ProxyUrl::Socks5(Address::new("proxy.example.com", 1080))
        );
        assert_eq!(
            ProxyUrl::parse("ssh+socks5://ubuntu@10.0.0.9:22?private-key=/keys/my%20key").unwrap(),
            ProxyUrl::Jumpbox {
                address: Address::new("10.0.0.9", 22),
                user: "ubuntu".to_owned(),
                private_key: Some(PathBuf::from("/keys/my key")),
            }
        );
        assert_eq!(
            ProxyUrl::parse("ssh+socks5://[fd00::9]:22").unwrap(),
            ProxyUrl::Jumpbox {
                address: Address::new("fd00::9", 22),
                user: "jumpbox".to_owned(),
                private_key: None,
            }
        );
    }

    #[test]
    fn a_bad_url_is_explained_and_not_repeated() {
        for (url, said) in [
            ("proxy:1080", "no scheme"),
            ("http://proxy:3128", "neither socks5"),
            ("socks5://proxy", "host and a port"),
            (
                "ssh+socks5://jumpbox@host?private-key=/x",
                "host and a port",
            ),
            ("socks5://me:geheim@proxy:1080", "not supported"),
            ("ssh+socks5://me:geheim@proxy:22", "not with a password"),
            ("ssh+socks5://@proxy:22", "empty"),
            ("ssh+socks5://host:22?private-keys=/x", "only option"),
            ("ssh+socks5://host:22?private-key=%zz", "bad %"),
        ] {
            let error = ProxyUrl::parse(url).unwrap_err().to_string();
            assert!(error.contains(said), "{url}: {error}");
            assert!(!error.contains("geheim"), "{error}");
        }
    }
}
