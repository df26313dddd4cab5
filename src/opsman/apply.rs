//! Apply Changes: what ran, what waits, beginning a run and following it.

use std::collections::BTreeMap;

use serde::Deserialize;
use serde_json::{Value, json};

use super::types::or_default;
use super::{Error, FIRST_PAUSE, Installation, OpsManager, PendingChange, RunState};
use crate::http::{Method, Request, Wait};

/// What a run deploys. The director is deployed in any case.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Deploy {
    /// Everything.
    All,
    /// The director alone.
    DirectorOnly,
    /// The director and these products, by GUID.
    Products(Vec<String>),
}

/// A run to begin.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ApplyChanges {
    /// What it deploys.
    pub deploy: Deploy,
    /// Whether verifiers' warnings count for nothing.
    pub ignore_warnings: bool,
    /// Product GUID, errand, whether it runs after the deployment. The others run as staged.
    pub errands: BTreeMap<String, BTreeMap<String, bool>>,
}

impl ApplyChanges {
    /// A run that heeds warnings and leaves errands as they are staged.
    pub fn new(deploy: Deploy) -> Self {
        Self {
            deploy,
            ignore_warnings: false,
            errands: BTreeMap::new(),
        }
    }

    fn body(&self) -> Value {
        let errands: BTreeMap<_, _> = self
            .errands
            .iter()
            .map(|(guid, errands)| (guid, json!({ "run_post_deploy": errands })))
            .collect();
        json!({
            "deploy_products": match &self.deploy {
                Deploy::All => json!("all"),
                Deploy::DirectorOnly => json!("none"),
                Deploy::Products(guids) => json!(guids),
            },
            "ignore_warnings": self.ignore_warnings,
            "errands": errands,
        })
    }
}

/// A run's log, of which each look gives all there is: gives each whole line once.
#[derive(Debug, Default)]
pub struct LogLines {
    seen: usize,
}

impl LogLines {
    /// The lines that are new.
    pub fn new_lines<'l>(&mut self, log: &'l str) -> impl Iterator<Item = &'l str> {
        // A log that got shorter is another log.
        let rest = log.get(self.seen..).unwrap_or_else(|| {
            self.seen = 0;
            log
        });
        let whole = rest.rfind('\n').map_or(0, |end| end + 1);
        self.seen += whole;
        rest[..whole].lines()
    }
}

impl OpsManager {
    /// The runs of Apply Changes, newest first.
    ///
    /// # Errors
    /// Those of any call.
    pub fn installations(&mut self, wait: &Wait) -> Result<Vec<Installation>, Error> {
        #[derive(Deserialize)]
        struct Installations {
            #[serde(default, deserialize_with = "or_default")]
            installations: Vec<Installation>,
        }
        let answer: Installations = self.get(
            "/api/v0/installations",
            "the list of Apply Changes runs",
            wait,
        )?;
        let mut installations = answer.installations;
        installations.sort_by_key(|installation| std::cmp::Reverse(installation.id));
        Ok(installations)
    }

    /// One run.
    ///
    /// # Errors
    /// Those of any call.
    pub fn installation(&mut self, id: u64, wait: &Wait) -> Result<Installation, Error> {
        let what = format!("Apply Changes {id}");
        let mut found: Installation =
            self.get(&format!("/api/v0/installations/{id}"), &what, wait)?;
        found.id = id;
        Ok(found)
    }

    /// A run's log, from its beginning.
    ///
    /// # Errors
    /// Those of any call.
    pub fn installation_log(&mut self, id: u64, wait: &Wait) -> Result<String, Error> {
        #[derive(Deserialize)]
        struct Log {
            #[serde(default, deserialize_with = "or_default")]
            logs: String,
        }
        let what = format!("the log of Apply Changes {id}");
        let answer: Log = self.get(&format!("/api/v0/installations/{id}/logs"), &what, wait)?;
        Ok(answer.logs)
    }

    /// The newest run that cannot be said to have ended.
    ///
    /// # Errors
    /// Those of any call.
    pub fn running_installation(&mut self, wait: &Wait) -> Result<Option<Installation>, Error> {
        let runs = self.installations(wait)?;
        Ok(runs.into_iter().find(Installation::may_run))
    }

    /// What Apply Changes would do, product by product; without those it would leave alone.
    ///
    /// # Errors
    /// Those of any call.
    pub fn pending_changes(&mut self, wait: &Wait) -> Result<Vec<PendingChange>, Error> {
        #[derive(Deserialize)]
        struct Pending {
            #[serde(default, deserialize_with = "or_default")]
            product_changes: Vec<PendingChange>,
        }
        let answer: Pending = self.get(
            "/api/v0/staged/pending_changes",
            "its pending changes",
            wait,
        )?;
        let mut changes = answer.product_changes;
        changes.retain(|change| change.action != "unchanged");
        Ok(changes)
    }

    /// Takes back everything staged. Whether there was anything; `None` where this version
    /// cannot.
    ///
    /// # Errors
    /// Those of any call.
    pub fn revert_staged(&mut self, wait: &Wait) -> Result<Option<bool>, Error> {
        let request = Request::new(Method::Delete, self.url("/api/v0/staged"));
        match self.call(request, "the reverting of its pending changes", wait) {
            Ok(_) => Ok(Some(true)),
            Err(Error::Status { status: 304, .. }) => Ok(Some(false)),
            Err(Error::NotThere { .. }) => Ok(None),
            Err(error) => Err(error),
        }
    }

    /// Begins a run. Not repeated when its answer is lost.
    ///
    /// # Errors
    /// [`Error::Refused`] with what Ops Manager objects to, and those of any call.
    pub fn begin_apply(&mut self, changes: &ApplyChanges, wait: &Wait) -> Result<u64, Error> {
        let what = "Apply Changes";
        let body = changes.body();
        let path = "/api/v0/installations";
        let response = self.put_json(Method::Post, path, &body, what, wait)?;
        self.install_id(&response.body, what)
    }

    pub(super) fn install_id(&self, body: &[u8], what: &str) -> Result<u64, Error> {
        #[derive(Deserialize)]
        struct Begun {
            install: Id,
        }
        #[derive(Deserialize)]
        struct Id {
            id: u64,
        }
        let begun: Begun = self.json(body, what)?;
        Ok(begun.install.id)
    }

    /// Waits for the end of a run, giving its log line by line. What breaks off while the
    /// director is made anew is no failure of the run: it is asked again for as long as a start
    /// may take.
    ///
    /// # Errors
    /// [`Error::Failed`] when it ended badly, and those of any call.
    pub fn follow(
        &mut self,
        id: u64,
        line: &mut dyn FnMut(&str),
        wait: &Wait,
    ) -> Result<Installation, Error> {
        let mut log = LogLines::default();
        let mut pause = FIRST_PAUSE.min(self.poll);
        let mut silent_since: Option<std::time::Instant> = None;
        loop {
            match self.look_at(id, &mut log, line, wait) {
                Ok(run) => {
                    silent_since = None;
                    match run.state() {
                        RunState::Succeeded => return Ok(run),
                        RunState::Running => {}
                        RunState::Failed | RunState::Unknown(_) => {
                            return Err(Error::Failed {
                                ops_manager: self.name.clone(),
                                id,
                                status: run.status,
                            });
                        }
                    }
                }
                Err(error) if error.may_pass() => {
                    let since = *silent_since.get_or_insert_with(std::time::Instant::now);
                    if since.elapsed() >= self.start_timeout {
                        return Err(error);
                    }
                    self.monitor
                        .debug(&format!("following Apply Changes {id}: {error}"));
                }
                Err(error) => return Err(error),
            }
            wait.pause(pause)?;
            pause = (pause * 3 / 2).min(self.poll);
        }
    }

    fn look_at(
        &mut self,
        id: u64,
        log: &mut LogLines,
        line: &mut dyn FnMut(&str),
        wait: &Wait,
    ) -> Result<Installation, Error> {
        // The state first: the log is then at least as new.
        let run = self.installation(id, wait)?;
        let mut text = self.installation_log(id, wait)?;
        if run.state() != RunState::Running && !text.ends_with('\n') {
            text.push('\n');
        }
        let masked = |text: &str| self.mask.apply(text);
        log.new_lines(&text).for_each(|text| line(&masked(text)));
        Ok(run)
    }

    /// What the checks before a deployment say of the director (`None`) or a product.
    ///
    /// # Errors
    /// Those of any call.
    pub fn pre_deploy_check(&mut self, product: Option<&str>, wait: &Wait) -> Result<Value, Error> {
        let path = format!("/api/v0/staged/{}/pre_deploy_check", place(product));
        self.get(&path, "the checks before a deployment", wait)
    }

    /// Switches off one of those checks, by its type.
    ///
    /// # Errors
    /// Those of any call.
    pub fn disable_verifier(
        &mut self,
        product: Option<&str>,
        verifier: &str,
        wait: &Wait,
    ) -> Result<(), Error> {
        let place = place(product);
        let path = format!("/api/v0/staged/{place}/verifiers/install_time/{verifier}");
        let what = format!("switching off the check {verifier}");
        self.put_json(
            Method::Put,
            &path,
            &json!({ "enabled": false }),
            &what,
            wait,
        )
        .map(drop)
    }
}

fn place(product: Option<&str>) -> String {
    product.map_or_else(|| "director".to_owned(), |guid| format!("products/{guid}"))
}

impl Error {
    /// Whether the same question may be answered later, say when a server is up again.
    fn may_pass(&self) -> bool {
        use crate::http::Error as Http;
        match self {
            Self::Http(Http::Unreachable { .. } | Http::Lost { .. }) => true,
            Self::Status { status, .. } => *status >= 500,
            Self::NoToken { reason, .. } => reason.starts_with("status 5"),
            _ => false,
        }
    }
}

#[cfg(test)]
mod unit {
    use super::*;

    #[test]
    fn each_line_of_a_log_is_given_once_and_whole() {
        let mut log = LogLines::default();
        let mut lines =
            |text: &str| -> Vec<String> { log.new_lines(text).map(str::to_owned).collect() };
        assert_eq!(lines(""), Vec::<String>::new());
        assert_eq!(lines("a\nb"), ["a"]);
        assert_eq!(lines("a\nbc\nd\n"), ["bc", "d"]);
        assert_eq!(lines("a\nbc\nd\n"), Vec::<String>::new());
        assert_eq!(lines("x\n"), ["x"]);
    }
}
