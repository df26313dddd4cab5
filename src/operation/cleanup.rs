//! Mending what an earlier run left: bbr's `backup-cleanup` and `restore-cleanup`, which act only where something is left.

use std::collections::BTreeSet;

use anyhow::{Error, Result};

use super::live::{Plan, close, discover, listed};
use super::parts::{self, Planned};
use super::settings::{Component, Settings};
use super::{Context, backup, discovery, service_instances};
use crate::bbr;
use crate::foundation::{Foundation, Reached};
use crate::report;
use crate::report::failure::Failure;
use crate::shutdown::Stopped;

/// Unlocks and cleans what an earlier run left; with `force` everywhere.
///
/// # Errors
/// A [`Failure`] that names what may still be locked.
pub fn cleanup(
    context: &Context,
    settings: &Settings,
    components: &[Component],
    force: bool,
    direction: bbr::Direction,
) -> Result<report::Cleanup> {
    let settings = &discovery::discovered(context, settings, components)?;
    let foundation = backup::open_foundation(context, settings);
    let mut done = report::Cleanup::default();
    let mut errors = Vec::new();
    let mut may_be_locked = Vec::new();
    let mut left_alone = false;
    let plans = parts::plans(context, settings, &foundation, components)?;
    let mut batches = plans.into_iter().map(Planned::all);
    while let Some(batch) = batches.next() {
        let id = backup::mark(context, settings)?.run;
        let cleaned = service_instances::side_by_side(batch, |plan| {
            let mut one = One {
                context,
                foundation: &foundation,
                plan,
                force,
                direction,
                done: Vec::new(),
                errors: Vec::new(),
                may_be_locked: Vec::new(),
                left_alone: false,
            };
            // What is left after a signal is the next cleanup's.
            match context.shutdown.check() {
                Ok(()) => one.run(&id),
                Err(stopped) => one.errors.push(stopped.into()),
            }
            one
        });
        for one in cleaned {
            let name = one.plan.name.to_string();
            let told = one.done.into_iter();
            done.done.extend(told.map(|text| format!("{name}: {text}")));
            let told = one.errors.into_iter();
            errors.extend(told.map(|error| error.context(name.clone())));
            may_be_locked.extend(one.may_be_locked);
            left_alone |= one.left_alone;
        }
        if context.shutdown.is_raised() {
            errors.extend(batches.next().map(|_| Error::from(Stopped)));
            break;
        }
    }
    if errors.is_empty() {
        return Ok(done);
    }
    Err(Failure {
        causes: errors,
        state: if done.done.is_empty() {
            "nothing was mended".into()
        } else {
            format!("what else was left is mended: {}", done.done.join("; "))
        },
        may_be_locked,
        mend: Some(if left_alone {
            backup::mend(components, direction.other())
        } else {
            format!(
                "look at the first cause, then {}",
                backup::mend(components, direction)
            )
        }),
    }
    .into())
}

struct One<'a> {
    context: &'a Context,
    foundation: &'a Foundation,
    plan: Plan,
    force: bool,
    direction: bbr::Direction,
    done: Vec<String>,
    errors: Vec<Error>,
    may_be_locked: Vec<String>,
    /// What is left is of a run of the other direction.
    left_alone: bool,
}

impl One<'_> {
    fn run(&mut self, id: &str) {
        let context = self.context;
        let reached = match self.foundation.reach(&self.plan.aim, &context.shutdown) {
            Ok(reached) => reached,
            Err(error) => return self.errors.push(error.into()),
        };
        let users = self.left_over_users(&reached);
        match discover(context, self.foundation, &self.plan.aim, &reached) {
            Ok(target) => self.clean(&target, id),
            Err(errors) => self.errors.extend(listed(errors)),
        }
        if self.left_alone {
            // The users may be those of the run that is for the other cleanup to mend.
        } else if !users.is_empty() || self.force {
            // The own user begins like those of earlier runs and goes with them.
            let problems = reached.close_all();
            if problems.is_empty() && !users.is_empty() {
                self.done.push(format!(
                    "removed SSH users {}",
                    users.into_iter().collect::<Vec<_>>().join(", ")
                ));
            }
            self.errors.extend(problems.into_iter().map(Error::msg));
        }
        self.errors.extend(close(&reached));
    }

    fn clean(&mut self, target: &bbr::Target, id: &str) {
        let (monitor, shutdown) = (&*self.context.monitor, &self.context.shutdown);
        let leftovers = bbr::Leftovers {
            force: self.force,
            instances: BTreeSet::new(),
        };
        let (cleaned, errors) =
            bbr::cleanup(target, self.direction, id, &leftovers, monitor, shutdown);
        if !cleaned.ended.is_empty() {
            self.done
                .push(format!("ended {}", cleaned.ended.join(", ")));
        }
        if !cleaned.instances.is_empty() {
            self.done.push(format!(
                "{} unlock scripts ran; cleaned {}",
                cleaned.unlocked,
                cleaned.instances.join(", ")
            ));
        }
        self.left_alone = !cleaned.of_the_other.is_empty();
        self.may_be_locked.extend(cleaned.may_be_locked);
        self.errors.extend(errors.into_iter().flat_map(listed));
    }

    /// Accounts of ours that this run did not make.
    fn left_over_users(&mut self, reached: &Reached) -> BTreeSet<String> {
        let Some(own) = reached.user() else {
            return BTreeSet::new();
        };
        let settings = self.foundation.bbr_settings();
        let mut users = BTreeSet::new();
        for host in &reached.hosts {
            match bbr::left_over_users(&*host.remote, &settings, &self.context.shutdown) {
                Ok(found) => users.extend(found),
                Err(error) => self.errors.push(error.into()),
            }
        }
        users.remove(own);
        users
    }
}
