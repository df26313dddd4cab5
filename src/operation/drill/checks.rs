//! What the restored foundation must answer: pages, and commands on its instances. An app behind
//! the router, a row of a database, a blob, a secret that resolves: whoever drills says where his
//! are.
//!
//! No answer is ever shown: it may be a secret.

use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, bail};

use super::super::Context;
use super::super::backup;
use super::super::page::{Asked, contains};
use super::super::settings::{Check, Question, Settings};
use crate::remote::Command;

/// Between two tries.
const PAUSE: Duration = Duration::from_secs(3);
/// How long one page may take.
const PAGE_TIME: Duration = Duration::from_secs(30);
/// How long a command may be silent.
const SILENCE: Duration = Duration::from_secs(300);

/// What checks need to know.
pub(super) struct Asker<'a> {
    pub(super) context: &'a Context,
    pub(super) settings: &'a Settings,
    /// PEM certificates that Ops Manager knows.
    pub(super) authorities: Option<String>,
    pub(super) tas: Option<String>,
}

impl Asker<'_> {
    /// Asks until the answer is right or the time is over. Gives what was found, as a sentence.
    pub(super) fn ask(&self, check: &Check, patience: Duration) -> Result<String> {
        let began = Instant::now();
        loop {
            let error = match self.once(check) {
                Ok(said) => return Ok(said),
                Err(error) => error,
            };
            self.context.shutdown.check()?;
            let left = patience.saturating_sub(began.elapsed());
            if left.is_zero() {
                return Err(error.context(format!(
                    "{}: not right within {}",
                    check.name,
                    crate::clock::spoken(patience)
                )));
            }
            self.context
                .monitor
                .debug(&format!("{}: {error:#}; asking again", check.name));
            self.context.shutdown.sleep(PAUSE.min(left))?;
        }
    }

    fn once(&self, check: &Check) -> Result<String> {
        let answer = match &check.question {
            Question::Url(page) => {
                let authorities = self.authorities.as_deref();
                Asked::new(self.context, page, authorities, PAGE_TIME)?
                    .answer(&self.context.shutdown)?
            }
            Question::Command {
                deployment,
                instance,
                command,
            } => {
                let deployment = deployment
                    .as_ref()
                    .or(self.tas.as_ref())
                    .context("the backup has no TAS; give the check's deployment")?;
                self.command(deployment, instance, command, &check.name)?
            }
        };
        contains(&answer, check.contains.as_deref())?;
        Ok(format!("{}: as expected", check.name))
    }

    fn command(
        &self,
        deployment: &str,
        instance: &str,
        command: &str,
        name: &str,
    ) -> Result<Vec<u8>> {
        let foundation = backup::open_foundation(self.context, self.settings);
        let reached = foundation.reach_instance(deployment, instance, &self.context.shutdown)?;
        let command = Command::as_root(&format!("the check {name}"), ["bash", "-c", command])
            .silent_for(SILENCE);
        let host = reached.hosts.first();
        let result = host.map(|host| host.remote.run(&command, &self.context.shutdown));
        for problem in reached.close() {
            self.context.monitor.warn(&problem);
        }
        let output = result.with_context(|| {
            format!("the Director gives no access to {deployment}/{instance}")
        })??;
        if !output.exit.ok() {
            bail!(
                "the command on {deployment}/{instance} ended with status {}",
                output.exit.status
            );
        }
        Ok(output.stdout)
    }
}
