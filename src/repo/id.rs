//! Names of foundations, chains, backups, components and objects: right by construction.

use std::fmt;
use std::time::{Duration, SystemTime};

use serde::{Deserialize, Serialize};

use crate::artifact::Digest;
use crate::clock;
use crate::store::{ObjectName, is_segment};

macro_rules! text_id {
    ($name:ident) => {
        impl $name {
            /// The text.
            pub fn as_str(&self) -> &str {
                &self.0
            }
        }
        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(&self.0)
            }
        }
        impl fmt::Debug for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(&self.0)
            }
        }
        impl TryFrom<String> for $name {
            type Error = String;
            fn try_from(text: String) -> Result<Self, String> {
                Self::parse(&text)
            }
        }
        impl From<$name> for String {
            fn from(id: $name) -> Self {
                id.0
            }
        }
    };
}

/// `[a-z0-9][a-z0-9.-]{0,62}`.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct Foundation(String);
text_id!(Foundation);

impl Foundation {
    /// Checks a name.
    ///
    /// # Errors
    /// A sentence that says what a name may look like.
    pub fn parse(text: &str) -> Result<Self, String> {
        let allowed = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit();
        let bytes = text.as_bytes();
        let good = bytes.first().copied().is_some_and(allowed)
            && bytes.len() <= 63
            && bytes
                .iter()
                .all(|byte| allowed(*byte) || b".-".contains(byte));
        if good {
            Ok(Self(text.to_owned()))
        } else {
            Err(format!(
                "`{}` is not a foundation's name: use 1 to 63 of a-z, 0-9, `.` and `-`, beginning with a letter or digit",
                text.escape_debug()
            ))
        }
    }

    /// The name of a manifest.
    pub fn manifest(&self, id: &BackupId) -> ObjectName {
        self.object(&format!("backups/{id}.json"))
    }

    /// The name of a dropped manifest.
    pub fn dropped(&self, id: &BackupId) -> ObjectName {
        self.object(&format!("dropped/{id}.json"))
    }

    /// The name of a hold.
    pub fn hold(&self, id: &BackupId) -> ObjectName {
        self.object(&format!("holds/{id}"))
    }

    /// A file beside a backup: a proof.
    pub fn report(&self, id: &BackupId, file: &str) -> ObjectName {
        self.object(&format!("reports/{id}/{file}"))
    }

    /// The prefix of all proofs, with its slash.
    pub fn reports(&self) -> String {
        format!("{self}/reports/")
    }

    /// The prefix of all manifests, with its slash.
    pub fn manifests(&self) -> String {
        format!("{self}/backups/")
    }

    /// The prefix of all dropped manifests, with its slash.
    pub fn dropped_prefix(&self) -> String {
        format!("{self}/dropped/")
    }

    /// A file of a chain: `recovery.age`, `worker.age`.
    pub fn chain_file(&self, chain: &ChainId, file: &str) -> ObjectName {
        self.object(&format!("chains/{chain}/{file}"))
    }

    /// A root or a page.
    pub fn index(&self, chain: &ChainId, name: &Digest) -> ObjectName {
        self.sealed(chain, "index", name)
    }

    /// A chunk.
    pub fn data(&self, chain: &ChainId, name: &Digest) -> ObjectName {
        self.sealed(chain, "data", name)
    }

    fn sealed(&self, chain: &ChainId, kind: &str, name: &Digest) -> ObjectName {
        let name = name.to_string();
        self.object(&format!("chains/{chain}/{kind}/{}/{name}", &name[..2]))
    }

    fn object(&self, rest: &str) -> ObjectName {
        ObjectName::new(format!("{self}/{rest}")).expect("made of checked parts")
    }
}

/// 16 lower-case hex digits.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct ChainId(String);
text_id!(ChainId);

impl ChainId {
    /// From 8 random bytes.
    pub fn new(random: [u8; 8]) -> Self {
        Self(hex::encode(random))
    }

    /// Checks an id.
    ///
    /// # Errors
    /// When it is anything but 16 lower-case hex digits.
    pub fn parse(text: &str) -> Result<Self, String> {
        if is_hex(text, 16) {
            Ok(Self(text.to_owned()))
        } else {
            Err(format!("`{}` is not a chain's id", text.escape_debug()))
        }
    }
}

/// `YYYYMMDDTHHMMSSZ-` and 8 lower-case hex digits; ordered by time.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct BackupId(String);
text_id!(BackupId);

impl BackupId {
    /// An id of now, greater than the newest id there is, whatever the clock says. Only behind
    /// an id at the end of all dates, which nobody's clock made, no later one can be written:
    /// then it is that of now.
    pub fn new(now: SystemTime, newest: Option<&Self>, random: [u8; 4]) -> Self {
        let mut time = now;
        if let Some(newest) = newest {
            let after = newest.time() + Duration::from_secs(1);
            let writable = clock::compact(after) > clock::compact(newest.time());
            if clock::compact(time) <= clock::compact(newest.time()) && writable {
                time = after;
            }
        }
        Self(format!("{}-{}", clock::compact(time), hex::encode(random)))
    }

    /// Checks an id.
    ///
    /// # Errors
    /// A sentence with the form of an id.
    pub fn parse(text: &str) -> Result<Self, String> {
        let good = text.split_once('-').is_some_and(|(time, random)| {
            clock::parse_compact(time).is_some() && is_hex(random, 8)
        });
        if good {
            Ok(Self(text.to_owned()))
        } else {
            Err(format!(
                "`{}` is not a backup's id (such as 20261122T010203Z-7f3a09bc)",
                text.escape_debug()
            ))
        }
    }

    /// The time of the commit.
    pub fn time(&self) -> SystemTime {
        self.0
            .split_once('-')
            .and_then(|(time, _)| clock::parse_compact(time))
            .unwrap_or(SystemTime::UNIX_EPOCH)
    }
}

/// `ops-manager`, `director`, `tas`, `service-instances`, `service-instances/NAME` (what belongs to
/// one of them), `deployment/NAME`.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct ComponentName(String);
text_id!(ComponentName);

impl ComponentName {
    /// Checks a name.
    ///
    /// # Errors
    /// A sentence that lists the names there are.
    pub fn parse(text: &str) -> Result<Self, String> {
        let good = ["ops-manager", "director", "tas", "service-instances"].contains(&text)
            || ["deployment/", "service-instances/"]
                .iter()
                .any(|kind| text.strip_prefix(kind).is_some_and(is_segment));
        if good {
            Ok(Self(text.to_owned()))
        } else {
            Err(format!(
                "`{}` is not a component; components are ops-manager, director, tas, service-instances and deployment/NAME",
                text.escape_debug()
            ))
        }
    }
}

fn is_hex(text: &str, digits: usize) -> bool {
    text.len() == digits
        && text
            .bytes()
            .all(|b| b.is_ascii_digit() || (b'a'..=b'f').contains(&b))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_id_is_greater_than_the_newest_whatever_the_clock_says() {
        let now = clock::parse_compact("20261122T010203Z").unwrap();
        let newest = BackupId::parse("20311122T010203Z-ffffffff").unwrap();
        let id = BackupId::new(now, Some(&newest), [0; 4]);
        assert_eq!(id.as_str(), "20311122T010204Z-00000000");
        assert!(id > newest);
        assert_eq!(
            BackupId::new(now, None, [1; 4]).as_str(),
            "20261122T010203Z-01010101"
        );
    }

    #[test]
    fn a_forged_id_at_the_end_of_all_dates_moves_no_backup_to_1970() {
        let now = clock::parse_compact("20261122T010203Z").unwrap();
        for forged in ["99991230T220000Z-ffffffff", "99991230T215959Z-ffffffff"] {
            let Ok(forged) = BackupId::parse(forged) else {
                continue;
            };
            let id = BackupId::new(now, Some(&forged), [0; 4]);
            assert!(id.as_str() >= "20261122T010203Z", "{id}");
        }
    }

    #[test]
    fn names_that_leave_their_place_are_refused() {
        for text in ["", "..", "A", "a/b", "-a", "a_b", &"a".repeat(64)] {
            assert!(Foundation::parse(text).is_err(), "{text}");
        }
        for text in [
            "deployment/../x",
            "deployment/",
            "tas/x",
            "deployment/a/b",
            "service-instances/",
            "service-instances/../x",
            "service-instances/a/b",
            "",
        ] {
            assert!(ComponentName::parse(text).is_err(), "{text}");
        }
        for text in [
            "20261122T010203Z-7f3a09bX",
            "20261322T010203Z-7f3a09bc",
            "../x",
        ] {
            assert!(BackupId::parse(text).is_err(), "{text}");
        }
        assert!(ComponentName::parse("deployment/p-mysql_1.x").is_ok());
        assert!(ComponentName::parse("service-instances/service-instance_1").is_ok());
    }
}
