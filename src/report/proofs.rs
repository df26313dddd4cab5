//! What was proven of a backup, and when last: for `list`, `show`, `backup.json` and Concourse's
//! metadata.

use std::time::SystemTime;

use serde_json::{Value, json};

use super::Origin;
use crate::clock;
use crate::repo::proof::{Level, Outcome};

/// Most characters of what a proof or a bucket says that are shown.
const MOST_SHOWN: usize = 400;

/// The last proofs of one backup.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Proofs {
    /// At most one of each level, in their order.
    pub shown: Vec<Shown>,
    /// Why others that lie beside it do not count.
    pub refused: Vec<String>,
}

/// The last proof of one level.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Shown {
    /// What was looked at.
    pub level: Level,
    /// How it went, for this backup.
    pub result: Outcome,
    /// When it ended.
    pub finished: SystemTime,
    /// `part 3/30`, `5 %`; nothing for all of it.
    pub scope: Option<String>,
    /// When a later one of another part passed, which does not make this one good.
    pub passed_since: Option<SystemTime>,
    /// Who vouches for it.
    pub origin: Origin,
    /// The first thing that was wrong, and how many more.
    pub finding: Option<String>,
    /// Things that were wrong.
    pub findings: u64,
}

impl Proofs {
    /// What an operator asks first: what failed, else what the closest look that passed was.
    pub fn summary(&self) -> String {
        let failed = self
            .shown
            .iter()
            .find(|shown| shown.result == Outcome::Failed);
        match failed.or(self.shown.last()) {
            None => "none".to_owned(),
            Some(shown) => {
                let day = clock::calendar(shown.finished).day;
                let part = shown.scope.as_ref();
                let part = part.map(|scope| format!(" ({scope})")).unwrap_or_default();
                let doubt = match shown.origin {
                    Origin::Signed(_) => "",
                    Origin::Unsigned | Origin::NotVerified => ", not verified",
                };
                let result = match shown.result {
                    Outcome::Passed => "passed",
                    Outcome::Failed => "FAILED",
                };
                format!("{} {result} {day}{part}{doubt}", shown.level)
            }
        }
    }

    /// Names and texts: `proof_contents`, `passed at …`.
    pub fn facts(&self) -> Vec<(String, String)> {
        let mut facts: Vec<(String, String)> = self
            .shown
            .iter()
            .map(|shown| (format!("proof_{}", shown.level), shown.told()))
            .collect();
        if facts.is_empty() {
            facts.push((
                "proof".to_owned(),
                "none: it was not verified yet".to_owned(),
            ));
        }
        let refused = self.refused.iter();
        facts.extend(refused.map(|why| ("proof_refused".to_owned(), printable(why))));
        facts
    }

    /// For programs.
    pub fn json(&self) -> Value {
        self.shown.iter().map(Shown::json).collect()
    }
}

impl Shown {
    fn told(&self) -> String {
        let mut text = format!("{} at {}", self.result, clock::rfc3339(self.finished));
        if let Some(scope) = &self.scope {
            text.push_str(&format!(" ({scope})"));
        }
        text.push_str(&match &self.origin {
            Origin::Signed(by) => format!(", signed by {by}"),
            Origin::Unsigned | Origin::NotVerified => ", origin not verified".to_owned(),
        });
        if let Some(since) = self.passed_since {
            let since = clock::rfc3339(since);
            text.push_str(&format!(
                "; another part passed at {since}, which does not make it good"
            ));
        }
        if let Some(finding) = self
            .finding
            .as_ref()
            .filter(|_| self.result == Outcome::Failed)
        {
            text.push_str(&format!(": {}", printable(finding)));
            if self.findings > 1 {
                text.push_str(&format!(" (and {} more)", self.findings - 1));
            }
        }
        text
    }

    fn json(&self) -> Value {
        let mut value = json!({
            "level": self.level,
            "result": self.result,
            "finished": clock::rfc3339(self.finished),
            "origin": super::json::origin(&self.origin),
            "findings": self.findings,
        });
        if let Some(scope) = &self.scope {
            value["scope"] = json!(scope);
        }
        if let Some(since) = self.passed_since {
            value["passed_since"] = json!(clock::rfc3339(since));
        }
        if let Some(finding) = &self.finding {
            value["finding"] = json!(finding);
        }
        value
    }
}

/// A text that came out of a store, without anything that a terminal would obey, and not too long.
pub(super) fn printable(text: &str) -> String {
    let shown = text.chars().take(MOST_SHOWN);
    let mut shown: String = shown
        .map(|c| if c.is_control() { ' ' } else { c })
        .collect();
    if text.chars().nth(MOST_SHOWN).is_some() {
        shown.push('…');
    }
    shown
}
