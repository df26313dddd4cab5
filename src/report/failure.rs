//! The end of a run that failed: every cause once, and last the sentence that an operator
//! needs at three in the morning.

use std::fmt;

use crate::secret::Mask;

/// A cause longer than this, in characters, is shortened in the last sentence.
const LONGEST_CAUSE: usize = 900;

/// A use case that failed, and in what state it left things.
#[derive(Debug)]
pub struct Failure {
    /// The first cause first; at least one.
    pub causes: Vec<anyhow::Error>,
    /// What state things are in: "every instance is unlocked; nothing was committed".
    pub state: String,
    /// Instances whose jobs may still be locked, `group/id`.
    pub may_be_locked: Vec<String>,
    /// The one command that mends it.
    pub mend: Option<String>,
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if let Some(first) = self.causes.first() {
            f.write_str(&shortened(&chain(first)))?;
        }
        if !self.state.is_empty() {
            write!(f, ". State: {}", self.state)?;
        }
        if !self.may_be_locked.is_empty() {
            write!(
                f,
                ". Jobs may still be locked on {}",
                self.may_be_locked.join(", ")
            )?;
        }
        if let Some(mend) = &self.mend {
            write!(f, ". To mend it: {mend}")?;
        }
        Ok(())
    }
}

/// Its causes are part of its text, so it has no source.
impl std::error::Error for Failure {}

/// An error and its sources on one line; a part that its predecessor has said already is
/// left out.
pub fn chain(error: &anyhow::Error) -> String {
    let mut text = String::new();
    for part in error.chain() {
        let part = one_line(&part.to_string());
        if part.is_empty() || text.ends_with(&part) {
            continue;
        }
        if !text.is_empty() {
            text.push_str(": ");
        }
        text.push_str(&part);
    }
    text
}

/// A cause as the last sentence holds it: scripts may complain at length, and what is at
/// stake must still be seen. The whole of it stands above.
fn shortened(text: &str) -> String {
    let count = text.chars().count();
    if count <= LONGEST_CAUSE {
        return text.to_owned();
    }
    let part = |from: usize, to: usize| text.chars().skip(from).take(to - from);
    part(0, LONGEST_CAUSE / 3)
        .chain(" … ".chars())
        .chain(part(count - LONGEST_CAUSE * 2 / 3, count))
        .collect()
}

/// Other people's texts may have several lines or control characters.
fn one_line(text: &str) -> String {
    let mut line = String::new();
    for word in text.split_whitespace() {
        if !line.is_empty() {
            line.push(' ');
        }
        line.extend(word.chars().filter(|c| !c.is_control()));
    }
    line
}

/// The lines that end a failed run: all causes numbered when there are several, then the
/// sentence.
pub fn lines(error: &anyhow::Error, mask: &Mask) -> Vec<String> {
    let mut lines = Vec::new();
    let causes = error
        .downcast_ref::<Failure>()
        .map_or(&[][..], |failure| &failure.causes);
    if let [only] = causes {
        let whole = chain(only);
        if shortened(&whole) != whole {
            lines.push(whole);
        }
    }
    if causes.len() > 1 {
        lines.push(format!(
            "{} things failed, the first cause first:",
            causes.len()
        ));
        for (at, cause) in causes.iter().enumerate() {
            lines.push(format!("{}. {}", at + 1, chain(cause)));
        }
    }
    lines.push(format!("failed: {}", chain(error)));
    lines.iter().map(|line| mask.apply(line)).collect()
}

/// Whether a human is needed: jobs may still be locked.
pub fn may_be_locked(error: &anyhow::Error) -> bool {
    error
        .downcast_ref::<Failure>()
        .is_some_and(|failure| !failure.may_be_locked.is_empty())
}

#[cfg(test)]
mod tests {
    use super::*;
    use anyhow::{Context as _, anyhow};

    #[test]
    fn the_last_line_says_what_where_and_how_to_mend_it() {
        let failure = Failure {
            causes: vec![
                anyhow!("exit status 3: disk\nfull").context("router/0: pre-backup-lock"),
                anyhow!("db/1: unreachable"),
            ],
            state: "nothing was committed".to_owned(),
            may_be_locked: vec!["db/1".to_owned()],
            mend: Some("lifeboat cleanup".to_owned()),
        };
        let lines = lines(&failure.into(), &Mask::default());
        assert_eq!(
            lines,
            [
                "2 things failed, the first cause first:",
                "1. router/0: pre-backup-lock: exit status 3: disk full",
                "2. db/1: unreachable",
                "failed: router/0: pre-backup-lock: exit status 3: disk full. State: nothing was \
                 committed. Jobs may still be locked on db/1. To mend it: lifeboat cleanup",
            ]
        );
    }

    #[test]
    fn a_long_cause_is_whole_above_and_short_in_the_last_line() {
        let cause = format!(
            "backup of job j on g/0: begin {}end",
            "ä complaint ".repeat(2000)
        );
        let failure = Failure {
            causes: vec![anyhow!(cause.clone())],
            state: "every instance is unlocked".to_owned(),
            may_be_locked: Vec::new(),
            mend: None,
        };
        let lines = lines(&failure.into(), &Mask::default());
        assert_eq!(lines[0], cause);
        let last = &lines[1];
        assert!(
            last.starts_with("failed: backup of job j on g/0: begin ä"),
            "{last}"
        );
        assert!(
            last.ends_with(" end. State: every instance is unlocked"),
            "{last}"
        );
        assert!(
            last.contains(" … ") && last.chars().count() < 1000,
            "{last}"
        );
    }

    #[test]
    fn a_chain_says_nothing_twice_and_no_secret() {
        let mask = Mask::default();
        mask.add("hunter2-hunter2");
        let error = Err::<(), _>(anyhow!("no route via hunter2-hunter2"))
            .context("no route via hunter2-hunter2")
            .context("dc2")
            .unwrap_err();
        assert_eq!(lines(&error, &mask), ["failed: dc2: no route via [secret]"]);
    }
}
