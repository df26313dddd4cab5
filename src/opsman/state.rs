//! The states of an Ops Manager, and the way from one to the next.

use std::time::{Duration, Instant};

use serde::Deserialize;
use serde_json::json;

use super::types::or_default;
use super::{Error, FIRST_PAUSE, OpsManager};
use crate::http::{self, Method, Request, Wait};
use crate::secret::Secret;

/// How far an Ops Manager is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Availability {
    /// A fresh VM: an import is possible, nothing else is.
    NotSetUp,
    /// It boots, imports or unlocks.
    Starting,
    /// It waits for the passphrase.
    Locked,
    /// Authentication runs.
    Complete,
}

/// `/api/v0/info`.
#[derive(Debug, Clone, Default, Deserialize)]
pub struct Info {
    /// Its version, `3.0.40-build.1234`.
    #[serde(default, deserialize_with = "or_default")]
    pub version: String,
    /// Whether it waits for the passphrase; older versions do not say.
    #[serde(default)]
    pub locked: Option<bool>,
    /// Whether it is set up; older versions do not say.
    #[serde(default)]
    pub setup_complete: Option<bool>,
}

#[derive(Deserialize)]
struct InfoAnswer {
    info: Info,
}

impl OpsManager {
    /// How far it is, without waiting.
    ///
    /// # Errors
    /// [`Error::UnknownState`], or the transport's.
    pub fn availability(&mut self, wait: &Wait) -> Result<Availability, Error> {
        let request = Request::get(self.url("/login/ensure_availability"))
            .answered_within(Duration::from_secs(60));
        let response = self.client.send(&request, wait)?;
        let location = response.header("location").unwrap_or_default().to_owned();
        // With or without a host in front, and whatever follows the path.
        let path = location.split(['?', '#']).next().unwrap_or_default();
        match response.status {
            302 | 303 if path.ends_with("/setup") => Ok(Availability::NotSetUp),
            302 | 303 if path.ends_with("/auth/cloudfoundry") => Ok(Availability::Complete),
            302 | 303 if path.ends_with("/unlock") => Ok(Availability::Locked),
            200 if response.text().contains("Waiting for authentication") => {
                Ok(Availability::Starting)
            }
            502..=504 => Ok(Availability::Starting),
            status => Err(Error::UnknownState {
                ops_manager: self.name.clone(),
                status,
                location: match location.is_empty() {
                    true => String::new(),
                    false => format!(" to {location}"),
                },
            }),
        }
    }

    /// Its version and what it says of itself without credentials.
    ///
    /// # Errors
    /// Those of any call.
    pub fn info(&mut self, wait: &Wait) -> Result<Info, Error> {
        let what = "its version (/api/v0/info)";
        let request =
            Request::get(self.url("/api/v0/info")).answered_within(Duration::from_secs(60));
        let response = self.client.send(&request, wait)?;
        let response = self.judged(response, what)?;
        let answer: InfoAnswer = self.json(&response.body, what)?;
        Ok(answer.info)
    }

    /// Makes sure that it can be worked with: waits while it starts, unlocks it where that is
    /// needed and the passphrase is known.
    ///
    /// # Errors
    /// [`Error::Locked`], [`Error::WrongPassphrase`], [`Error::NotSetUp`], [`Error::NotUp`], and
    /// the transport's.
    pub fn ready(&mut self, wait: &Wait) -> Result<Info, Error> {
        let mut availability = self.availability(wait)?;
        if availability == Availability::Starting && !self.says_locked(wait) {
            availability = self.started(wait)?;
        }
        let locked = availability == Availability::Locked || self.says_locked(wait);
        if locked {
            self.unlock_if_known(wait)?;
        } else if availability == Availability::NotSetUp {
            return Err(Error::NotSetUp {
                ops_manager: self.name.clone(),
            });
        }
        self.info(wait)
    }

    fn says_locked(&mut self, wait: &Wait) -> bool {
        self.info(wait).is_ok_and(|info| info.locked == Some(true))
    }

    pub(super) fn unlock_if_known(&mut self, wait: &Wait) -> Result<(), Error> {
        let Some(passphrase) = self.passphrase.clone() else {
            return Err(Error::Locked {
                ops_manager: self.name.clone(),
            });
        };
        self.monitor.info(&format!(
            "the Ops Manager at {} is locked; unlocking it",
            self.name
        ));
        self.unlock(&passphrase, wait)?;
        match self.started(wait)? {
            Availability::Complete => Ok(()),
            Availability::NotSetUp => Err(Error::NotSetUp {
                ops_manager: self.name.clone(),
            }),
            _ => Err(Error::Locked {
                ops_manager: self.name.clone(),
            }),
        }
    }

    /// Sends a passphrase. It is checked by Ops Manager whether it was locked or not, so this
    /// also tells whether a passphrase is the right one; harmless on an unlocked one. Returns
    /// before the unlocking has ended.
    ///
    /// # Errors
    /// [`Error::WrongPassphrase`], and those of any call.
    pub fn unlock(&mut self, passphrase: &Secret, wait: &Wait) -> Result<(), Error> {
        self.mask.add(passphrase.expose());
        let body = Secret::new(json!({ "passphrase": passphrase.expose() }).to_string());
        let request = Request::new(Method::Put, self.url("/api/v0/unlock"))
            .json(body.expose())
            .repeatable();
        let response = self.client.send(&request, wait)?;
        if response.status == 403 {
            return Err(Error::WrongPassphrase {
                ops_manager: self.name.clone(),
            });
        }
        self.judged(response, "the unlocking").map(drop)
    }

    /// Waits until it starts no more. Refused connections are part of a start.
    ///
    /// # Errors
    /// [`Error::NotUp`] after the limit for a start.
    pub fn started(&mut self, wait: &Wait) -> Result<Availability, Error> {
        let began = Instant::now();
        let mut pause = FIRST_PAUSE.min(self.poll);
        let mut said = false;
        loop {
            let last = match self.availability(wait) {
                Ok(Availability::Starting) => {
                    "it waits for its authentication system to start".to_owned()
                }
                // Known for a moment after the passphrase was accepted.
                Ok(Availability::Locked) if began.elapsed() < self.poll * 3 => {
                    "it is locked".to_owned()
                }
                Ok(other) => return Ok(other),
                Err(Error::Http(
                    error @ (http::Error::Unreachable { .. } | http::Error::Lost { .. }),
                )) => error.to_string(),
                Err(error) => return Err(error),
            };
            if began.elapsed() >= self.start_timeout {
                return Err(Error::NotUp {
                    ops_manager: self.name.clone(),
                    seconds: began.elapsed().as_secs(),
                    last,
                });
            }
            if !said {
                said = true;
                self.monitor.info(&format!(
                    "the Ops Manager at {} is starting; waiting for it",
                    self.name
                ));
            }
            wait.pause(pause)?;
            pause = (pause * 3 / 2).min(self.poll);
            if wait.is_over() {
                return Err(Error::NotUp {
                    ops_manager: self.name.clone(),
                    seconds: began.elapsed().as_secs(),
                    last,
                });
            }
        }
    }
}
