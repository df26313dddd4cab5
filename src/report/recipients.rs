//! Who can open which chain, shown.

use serde::Serialize;
use serde_json::{Value, json};

use super::Problem;
use super::text::{Side, Table};

/// What `recipients add` did.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct AddedRecipients {
    /// Newest first.
    pub chains: Vec<ChainAdded>,
    /// Chains that were left out, and why.
    pub problems: Vec<Problem>,
}

/// One chain that the new recipients open now.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct ChainAdded {
    /// Its id.
    pub chain: String,
    /// RFC 3339.
    pub began: String,
    /// `recovery-N.age`.
    pub file: String,
    /// The stores that got the file now; none, when every store had it.
    pub stores: Vec<String>,
}

/// What `recipients list` found.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Chains {
    /// Newest first.
    pub chains: Vec<Chain>,
    /// What could not be read.
    pub problems: Vec<Problem>,
}

/// One chain.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Chain {
    /// Its id.
    pub chain: String,
    /// RFC 3339.
    pub began: String,
    /// `recovery.age` and later additions.
    pub files: usize,
    /// Whether all stores have as many.
    pub same_everywhere: bool,
    /// For whom it was begun; only the worker that began it knows.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub recipients: Option<Vec<String>>,
}

/// What was done, for people.
pub fn added_text(added: &AddedRecipients) -> String {
    let mut text = String::new();
    for done in &added.chains {
        let what = match done.stores.is_empty() {
            true => "was there already".to_owned(),
            false => format!("was written to {}", done.stores.join(", ")),
        };
        text.push_str(&format!(
            "chain {} (began {}): {} {what}\n",
            done.chain, done.began, done.file
        ));
    }
    if added.chains.is_empty() && added.problems.is_empty() {
        text.push_str("there is no backup yet, so no chain to add to\n");
    }
    text + &problems(&added.problems)
}

/// The same for programs.
pub fn added_json(added: &AddedRecipients) -> Value {
    json!({"chains": added.chains, "problems": added.problems})
}

/// The chains, for people.
pub fn chains_text(chains: &Chains) -> String {
    if chains.chains.is_empty() && chains.problems.is_empty() {
        return "no chains\n".to_owned();
    }
    let mut table = Table::new(&[
        ("chain", Side::Left),
        ("began", Side::Left),
        ("recovery files", Side::Right),
        ("begun for", Side::Left),
    ]);
    for chain in &chains.chains {
        let files = match chain.same_everywhere {
            true => chain.files.to_string(),
            false => format!("{} (not in every store)", chain.files),
        };
        let recipients = chain.recipients.as_ref();
        table.row(vec![
            chain.chain.clone(),
            chain.began.clone(),
            files,
            recipients.map_or_else(
                || "(only the worker that began it can tell)".to_owned(),
                |recipients| recipients.join(", "),
            ),
        ]);
    }
    table.render() + &problems(&chains.problems)
}

/// The same for programs.
pub fn chains_json(chains: &Chains) -> Value {
    json!({"chains": chains.chains, "problems": chains.problems})
}

fn problems(problems: &[Problem]) -> String {
    let lines = problems.iter();
    lines
        .map(|problem| format!("{}: {}\n", problem.what, problem.why))
        .collect()
}
