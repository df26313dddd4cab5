//! `lifeboat stage`.

use std::io::Write;

use anyhow::{Result, bail};

use super::{Ended, print};
use crate::config::{Action, Configuration};
use crate::operation::settings::is_backup_id;
use crate::operation::{self, Context};
use crate::report::stage;

/// The components, and the backup that may stand behind them: no component has such a name.
pub(super) fn asked(words: &[String]) -> (&[String], Option<&String>) {
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
    stdout: &mut dyn Write,
) -> Result<Ended> {
    let Action::Stage(staging) = &configuration.action else {
        bail!("there is nothing to stage");
    };
    let staged = operation::stage(context, &configuration.settings, staging)?;
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
