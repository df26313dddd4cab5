//! `lifeboat stage`.

use std::io::Write;

use anyhow::{Result, bail};
use clap::Args;
use serde_json::{Map, Value};

use super::{Ended, print, print_json};
use crate::config::{Action, Configuration, Door};
use crate::operation::settings::is_backup_id;
use crate::operation::{self, Context};
use crate::report::stage;

/// What stands behind `stage`.
#[derive(Debug, Args)]
pub(super) struct Asked {
    /// director, tas, service-instances or deployment/NAME, without any those of `stage` in the
    /// configuration; and at the end the backup: its id, or `latest`, which is the default.
    #[arg(value_name = "COMPONENT... ID")]
    asked: Vec<String>,
    /// The foundation's name once more: what is staged takes room on its disks.
    #[arg(long, value_name = "NAME")]
    confirm_target: Option<String>,
    /// Removes what is staged.
    #[arg(long)]
    remove: bool,
    /// A JSON document in place of the table.
    #[arg(long)]
    json: bool,
}

impl Asked {
    /// How the configuration is read for it.
    pub(super) fn door(&self) -> Door {
        Door::Stage {
            remove: self.remove,
        }
    }

    /// What it says, in the configuration's own keys.
    pub(super) fn keys(&self, keys: &mut Map<String, Value>) {
        let (components, id) = asked(&self.asked);
        if !components.is_empty() {
            keys.insert("stage".to_owned(), components.into());
        }
        for (key, value) in [("id", id), ("confirm_target", self.confirm_target.as_ref())] {
            if let Some(value) = value {
                keys.insert(key.to_owned(), value.as_str().into());
            }
        }
    }
}

/// The components, and the backup that may stand behind them: no component has such a name.
fn asked(words: &[String]) -> (&[String], Option<&String>) {
    match words.split_last() {
        Some((last, components)) if last == "latest" || is_backup_id(last) => {
            (components, Some(last))
        }
        _ => (words, None),
    }
}

/// Stages, or removes what is staged, and says what was done.
pub(super) fn run(
    context: &Context,
    configuration: &Configuration,
    asked: &Asked,
    stdout: &mut dyn Write,
) -> Result<Ended> {
    let Action::Stage(staging) = &configuration.action else {
        bail!("there is nothing to stage");
    };
    let staged = operation::stage(context, &configuration.settings, staging)?;
    if asked.json {
        return print_json(stdout, &stage::json(&staged));
    }
    print(stdout, &stage::text(&staged))
}

#[cfg(test)]
mod tests {
    use super::asked;

    #[test]
    fn a_backup_stands_behind_the_components() {
        let words =
            |text: &str| -> Vec<String> { text.split_whitespace().map(str::to_owned).collect() };
        for (text, components, id) in [
            ("", 0, None),
            ("tas director", 2, None),
            ("tas latest", 1, Some("latest")),
            (
                "20261122T010203Z-7f3a09bc",
                0,
                Some("20261122T010203Z-7f3a09bc"),
            ),
            ("latest tas", 2, None),
        ] {
            let words = words(text);
            let found = asked(&words);
            assert_eq!(
                (found.0.len(), found.1.map(String::as_str)),
                (components, id),
                "{text}"
            );
        }
    }
}
