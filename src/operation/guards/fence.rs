//! What is read before the first lock and again after each unlock.

use std::time::Duration;

use anyhow::Result;

use super::Guards;

/// How many of the newest director tasks are looked through after an unlock.
const TASKS: usize = 500;

impl Guards<'_> {
    /// Remembers where things stand.
    pub(super) fn set_mark(&mut self) -> Result<()> {
        let wait = self.wait();
        if let Some(asked) = &mut self.asked {
            let runs = asked.client.installations(&wait)?;
            self.mark.installation = runs.first().map(|run| run.id);
        }
        if let Some(api) = &self.api {
            let newest = api.newest_tasks(1, &wait)?;
            self.mark.task = newest.first().map_or(0, |task| task.id);
        }
        Ok(())
    }

    /// Reads again what may have changed; after the unlock of a component. What cannot be read
    /// is said, and stops nothing: the backup is there.
    pub(in crate::operation) fn after_unlock(&mut self, component: &str) {
        if self.context.shutdown.is_raised() {
            return;
        }
        match self.differences() {
            Ok(changes) if changes.is_empty() => {
                self.tell(
                    "fence",
                    "ok",
                    &format!("nothing changed up to the unlock of {component}"),
                );
            }
            Ok(changes) => {
                for change in changes {
                    self.tell(
                        "fence",
                        "warning",
                        &format!(
                            "the foundation changed during the backup, before the unlock of {component}: {change}; the backup is kept and marked: its parts may not fit together, take another one"
                        ),
                    );
                    self.note(
                        component,
                        format!("the foundation changed during this backup: {change}"),
                    );
                    self.changed.push(format!("{component}: {change}"));
                }
            }
            Err(error) => {
                let text = format!(
                    "it cannot be told whether the foundation changed before the unlock of {component}: {error:#}"
                );
                self.tell("fence", "warning", &text);
                self.note(
                    component,
                    "it could not be told whether the foundation changed during this backup",
                );
            }
        }
    }

    fn differences(&mut self) -> Result<Vec<String>> {
        let wait = self.wait().no_longer_than(Duration::from_secs(120));
        let mut changes = Vec::new();
        if let Some(asked) = &mut self.asked {
            let runs = asked.client.installations(&wait)?;
            let before = self.mark.installation;
            let new = runs.iter().filter(|run| Some(run.id) > before);
            changes.extend(new.map(|run| format!("Apply Changes {} began", run.id)));
            self.mark.installation = runs.first().map(|run| run.id).max(before);
        }
        if let Some(api) = &self.api {
            let tasks = api.newest_tasks(TASKS, &wait)?;
            let before = self.mark.task;
            let new = tasks
                .iter()
                .filter(|task| task.id > before && self.scope.concerns(task));
            changes.extend(
                new.map(|task| format!("director task {} began ({})", task.id, task.description)),
            );
            self.mark.task = tasks.first().map_or(before, |task| task.id.max(before));
        }
        Ok(changes)
    }
}
