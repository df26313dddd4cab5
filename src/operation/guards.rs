//! What must hold before a backup, and what may not change while it is taken. Each guard says its
//! result in the log, by its name; a guard that stops the run says what to do.
//!
//! Nothing can hold Ops Manager or the Director still, so the guards are a fence and not a lock:
//! what is read before the first lock is read again after each unlock, and a difference is kept
//! with the backup.

mod fence;
mod storage;

use std::sync::Arc;
use std::time::{Duration, Instant};

use anyhow::{Result, bail};
use serde::{Deserialize, Serialize};

pub(super) use storage::Skipped;

use super::Context;
use super::discovery::Asked;
use super::settings::{Component, Settings};
use crate::bosh::{self, TaskLine};
use crate::foundation::Foundation;
use crate::http::Wait;
use crate::monitor::Level;
use crate::opsman;

/// The pause between two looks at something that is to end.
const LOOK: Duration = Duration::from_secs(5);
/// Groups of which one must run in TAS; the older name too.
const BACKUP_RESTORE: [&str; 2] = ["backup_restore", "backup_prepare"];

/// What a guard found.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Outcome {
    pub(super) guard: String,
    /// `ok`, `warning`, `failed`.
    pub(super) result: String,
    pub(super) text: String,
}

/// The guards of one run.
pub(super) struct Guards<'a> {
    context: &'a Context,
    settings: &'a Settings,
    pub(super) asked: Option<Asked>,
    pub(super) api: Option<Arc<bosh::Director>>,
    scope: Scope,
    mark: Mark,
    pub(super) outcomes: Vec<Outcome>,
    /// What changed since the beginning.
    pub(super) changed: Vec<String>,
    /// Component and what a restorer must know of it.
    notes: Vec<(String, String)>,
}

/// Whose tasks matter.
#[derive(Debug, Default)]
struct Scope {
    /// The director itself is backed up: every task does.
    everything: bool,
    deployments: Vec<String>,
}

/// The newest of what can change.
#[derive(Debug, Default)]
struct Mark {
    installation: Option<u64>,
    task: u64,
}

impl<'a> Guards<'a> {
    /// For these components; `deployments` are those that they mean.
    pub(super) fn new(
        context: &'a Context,
        settings: &'a Settings,
        asked: Option<Asked>,
        foundation: &Foundation,
        components: &[Component],
        deployments: Vec<String>,
    ) -> Result<Self> {
        let api = match &settings.foundation.bosh {
            Some(_) => Some(foundation.director()?),
            None => None,
        };
        Ok(Self {
            context,
            settings,
            asked,
            api,
            scope: Scope {
                everything: components.contains(&Component::Director),
                deployments,
            },
            mark: Mark::default(),
            outcomes: Vec::new(),
            changed: Vec::new(),
            notes: Vec::new(),
        })
    }

    fn wait(&self) -> Wait {
        Wait::unless(&self.context.shutdown)
    }

    fn tell(&mut self, guard: &str, result: &str, text: &str) {
        let level = match result {
            "ok" => Level::Info,
            "warning" => Level::Warn,
            _ => Level::Error,
        };
        let line = format!("guard {guard}: {result}: {text}");
        self.context.monitor.say(level, &line);
        self.outcomes.push(Outcome {
            guard: guard.to_owned(),
            result: result.to_owned(),
            text: text.to_owned(),
        });
    }

    /// Says why the run stops here.
    fn stop<T>(&mut self, guard: &str, text: &str) -> Result<T> {
        self.tell(guard, "failed", text);
        bail!("guard {guard}: {text}")
    }

    /// Keeps a sentence with a component of the backup.
    pub(super) fn note(&mut self, component: &str, text: impl Into<String>) {
        let note = (component.to_owned(), text.into());
        if !self.notes.contains(&note) {
            self.notes.push(note);
        }
    }

    /// What a restorer must know of a component.
    pub(super) fn notes(&self, component: &str) -> Vec<String> {
        let of = self.notes.iter().filter(|(name, _)| name == component);
        of.map(|(_, text)| text.clone()).collect()
    }

    /// All guards that come before the first lock.
    ///
    /// # Errors
    /// When one stops the run.
    pub(super) fn before(&mut self, components: &[Component]) -> Result<()> {
        self.passphrase(components)?;
        self.apply_changes()?;
        self.director_idle()?;
        if components.contains(&Component::Tas) {
            self.backup_restore_vm()?;
        }
        self.pending_changes()?;
        self.storage(components)?;
        self.set_mark()
    }

    /// Without the passphrase an export is worth nothing, and nothing in a backup replaces it.
    fn passphrase(&mut self, components: &[Component]) -> Result<()> {
        const NAME: &str = "decryption-passphrase";
        if !components.contains(&Component::OpsManager) {
            return Ok(());
        }
        let wait = self.wait();
        let Some(asked) = &mut self.asked else {
            return Ok(());
        };
        let Some(passphrase) = asked.client.passphrase().cloned() else {
            self.tell(
                NAME,
                "warning",
                "ops_manager.decryption_passphrase is not given, so nobody proved that it is still known: \
                 without it this export cannot be imported, ever; give it, or make sure that those who restore have it",
            );
            self.note(
                "ops-manager",
                "the decryption passphrase was not proved at this backup; without it the installation cannot be imported",
            );
            return Ok(());
        };
        let sent = asked
            .client
            .unlock(&passphrase, &wait)
            // An unlocked one starts nothing, an older one may for a moment.
            .and_then(|()| asked.client.started(&wait).map(drop));
        match sent {
            Ok(()) => {
                self.tell(
                    NAME,
                    "ok",
                    "Ops Manager accepts the one in the configuration",
                );
                Ok(())
            }
            Err(error @ opsman::Error::WrongPassphrase { .. }) => self.stop(
                NAME,
                &format!("{error}; with it nobody could import this export"),
            ),
            Err(error) => Err(error.into()),
        }
    }

    fn apply_changes(&mut self) -> Result<()> {
        const NAME: &str = "apply-changes";
        let began = Instant::now();
        let limit = self.settings.foundation.limits.idle_timeout;
        let wait = self.wait();
        let mut waited = false;
        loop {
            let Some(asked) = &mut self.asked else {
                return Ok(());
            };
            let Some(run) = asked.client.running_installation(&wait)? else {
                let text = match waited {
                    true => "none runs any more",
                    false => "none runs",
                };
                self.tell(NAME, "ok", text);
                return Ok(());
            };
            let since = run.started_at.as_deref().unwrap_or("an unknown time");
            let what = format!(
                "Apply Changes {} (begun by {} at {since}, {})",
                run.id, run.user_name, run.status
            );
            if began.elapsed() >= limit {
                return self.stop(
                    NAME,
                    &format!(
                        "{what} has not ended within {} s (limits.idle_timeout); a backup now would hold a state between two: wait for its end, then back up",
                        limit.as_secs()
                    ),
                );
            }
            if !waited {
                waited = true;
                self.context
                    .monitor
                    .info(&format!("guard {NAME}: {what} runs; waiting for its end"));
            }
            wait.pause(LOOK.min(limit))?;
        }
    }

    fn director_idle(&mut self) -> Result<()> {
        const NAME: &str = "director-idle";
        let Some(api) = self.api.clone() else {
            return Ok(());
        };
        let began = Instant::now();
        let limit = self.settings.foundation.limits.idle_timeout;
        let wait = self.wait();
        let mut waited = false;
        loop {
            let busy = self.busy(&api, &wait)?;
            if busy.is_empty() {
                let text = match self.scope.everything {
                    true => "no task runs or waits, nothing is locked",
                    false => "no task on what is backed up runs or waits, nothing of it is locked",
                };
                self.tell(NAME, "ok", text);
                return Ok(());
            }
            let what = busy.join("; ");
            if began.elapsed() >= limit {
                return self.stop(
                    NAME,
                    &format!(
                        "the Director is still at work after {} s (limits.idle_timeout): {what}; what it changes would be half in the backup: wait for its end (`bosh tasks`), then back up",
                        limit.as_secs()
                    ),
                );
            }
            if !waited {
                waited = true;
                self.context.monitor.info(&format!(
                    "guard {NAME}: the Director is at work: {what}; waiting"
                ));
            }
            wait.pause(LOOK.min(limit))?;
        }
    }

    /// What the Director does that a backup would see half of.
    fn busy(&self, api: &bosh::Director, wait: &Wait) -> Result<Vec<String>> {
        let mut busy: Vec<String> = api
            .tasks_under_way(wait)?
            .iter()
            .filter(|task| self.scope.concerns(task))
            .map(shown)
            .collect();
        for lock in api.locks(wait)? {
            let concerned = self.scope.everything
                || lock
                    .resource
                    .iter()
                    .any(|name| self.scope.deployments.contains(name));
            if concerned {
                busy.push(format!(
                    "a lock on {} {} by task {}",
                    lock.kind,
                    lock.resource.join("/"),
                    lock.task_id
                ));
            }
        }
        Ok(busy)
    }

    /// Only on that VM are TAS's scripts for database, blobstore and UAA.
    fn backup_restore_vm(&mut self) -> Result<()> {
        const NAME: &str = "backup-restore-vm";
        if self.asked.is_none() {
            return Ok(());
        }
        let (Some(api), Some(tas)) = (
            self.api.clone(),
            self.settings.foundation.tas_deployment.clone(),
        ) else {
            return Ok(());
        };
        let instances = api.instances(&tas, &self.wait())?;
        let ours = |group: &str| {
            let group = group.replace('-', "_");
            BACKUP_RESTORE.iter().any(|name| group.contains(name))
        };
        let found: Vec<_> = instances.iter().filter(|one| ours(&one.group)).collect();
        if let Some(running) = found.iter().find(|one| one.answers() && one.runs()) {
            let text = format!("{} of {tas} runs", running.name());
            self.tell(NAME, "ok", &text);
            return Ok(());
        }
        let text = match found.first() {
            Some(one) => format!(
                "{} of {tas} does not run ({}); bring it up (`bosh -d {tas} instances --ps`), then back up",
                one.name(),
                match one.job_state.is_empty() {
                    true => "it has no VM",
                    false => one.job_state.as_str(),
                }
            ),
            None => format!(
                "{tas} has no backup-restore VM: without it TAS gives neither its databases nor its blobstore; set the Backup Restore Node to 1 in the tile's Resource Config and Apply Changes"
            ),
        };
        self.stop(NAME, &text)
    }

    fn pending_changes(&mut self) -> Result<()> {
        const NAME: &str = "pending-changes";
        let wait = self.wait();
        let Some(asked) = &mut self.asked else {
            return Ok(());
        };
        let pending = match asked.client.pending_changes(&wait) {
            Err(error) if error.is_not_there() => return Ok(()),
            pending => pending?,
        };
        if pending.is_empty() {
            self.tell(NAME, "ok", "none");
            return Ok(());
        }
        let each: Vec<_> = pending
            .iter()
            .map(|change| format!("{} {}", change.action, change.guid))
            .collect();
        let text = format!(
            "Ops Manager's settings are ahead of what is deployed ({}): a restore will apply them",
            each.join(", ")
        );
        self.tell(NAME, "warning", &text);
        self.note(
            "ops-manager",
            "the installation holds pending changes that were not applied yet",
        );
        Ok(())
    }
}

impl Scope {
    /// Whether a task changes something that is backed up. What is not known to be harmless
    /// counts.
    fn concerns(&self, task: &TaskLine) -> bool {
        const HARMLESS: [&str; 6] = [
            "retrieve ",
            "ssh:",
            "fetch logs",
            "bundle logs",
            "scan cloud",
            "snapshot ",
        ];
        let harmless = HARMLESS.iter().any(|begin| task.description.starts_with(begin))
            // The Director tidies up by itself, every few minutes.
            || task.user == "scheduler";
        let ours = self.everything || self.deployments.contains(&task.deployment);
        ours && !harmless
    }
}

fn shown(task: &TaskLine) -> String {
    let on = match task.deployment.is_empty() {
        true => String::new(),
        false => format!(" on {}", task.deployment),
    };
    format!(
        "task {} ({}{on}) is {}",
        task.id, task.description, task.state
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_tasks_that_change_what_is_backed_up_count() {
        let task = |description: &str, deployment: &str| TaskLine {
            description: description.into(),
            deployment: deployment.into(),
            ..TaskLine::default()
        };
        let some = Scope {
            everything: false,
            deployments: vec!["cf".into()],
        };
        let all = Scope {
            everything: true,
            deployments: Vec::new(),
        };
        assert!(some.concerns(&task("create deployment", "cf")));
        assert!(!some.concerns(&task("create deployment", "redis")));
        assert!(all.concerns(&task("create deployment", "redis")));
        assert!(all.concerns(&task("create release", "")));
        assert!(all.concerns(&task("something new", "")));
        assert!(all.concerns(&task("", "")));
        for harmless in ["retrieve vm-stats", "ssh: setup:{}", "scan cloud"] {
            assert!(!all.concerns(&task(harmless, "cf")), "{harmless}");
        }
    }
}
