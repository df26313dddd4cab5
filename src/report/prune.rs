//! What a prune kept, dropped and swept, or would.

use std::fmt::Write as _;
use std::time::Duration;

use serde_json::{Value, json};

use super::units::{bytes, count};
use crate::repo::prune::{ChainSwept, Done, Looked, Plan, Tally};

/// A prune, or its rehearsal.
#[derive(Debug, Clone)]
pub struct Pruned {
    /// Whose backups.
    pub foundation: String,
    /// Whether nothing was changed.
    pub dry_run: bool,
    /// How long what is dropped stays.
    pub grace: Duration,
    /// How long a chain grows.
    pub new_chain_every: Duration,
    /// What was decided.
    pub plan: Plan,
    /// What was done, or would be.
    pub done: Done,
}

impl Pruned {
    /// Whether a chain could not be read, or something is in the way of a real prune.
    pub fn has_problems(&self) -> bool {
        let damaged = |chain: &ChainSwept| matches!(chain.looked, Looked::Damaged(_));
        !self.plan.blockers.is_empty() || self.done.chains.iter().any(damaged)
    }

    fn sum(&self, of: impl Fn(&ChainSwept) -> Tally) -> Tally {
        let mut sum = Tally::default();
        self.done
            .chains
            .iter()
            .for_each(|chain| sum.join(of(chain)));
        sum
    }

    fn locked(&self) -> u64 {
        self.done.locked
            + self
                .done
                .chains
                .iter()
                .map(|chain| chain.locked)
                .sum::<u64>()
    }

    fn waste(&self) -> u64 {
        self.done.chains.iter().map(|chain| chain.waste).sum()
    }
}

/// For people.
pub fn text(pruned: &Pruned) -> String {
    let mut text = String::new();
    let would = if pruned.dry_run { "would be " } else { "" };
    let days = pruned.grace.as_secs() / 86_400;
    push(
        &mut text,
        &format!(
            "prune of {}{}",
            pruned.foundation,
            match pruned.dry_run {
                true => " (dry run: nothing is changed)",
                false => "",
            }
        ),
    );
    if pruned.plan.origin_unknown {
        push(
            &mut text,
            "origin not verified: no signer is known, so every backup counts (list the workers' public keys in trusted_workers)",
        );
    }
    for blocker in &pruned.plan.blockers {
        push(&mut text, &format!("nothing would be deleted: {blocker}"));
    }
    for decision in &pruned.plan.decisions {
        let held = pruned.done.held.contains(&decision.id);
        let verb = if decision.keep || held {
            "keep"
        } else {
            "drop"
        };
        let mut reasons: Vec<String> = decision.reasons.iter().map(ToString::to_string).collect();
        if held {
            reasons = vec!["held meanwhile".to_owned()];
        } else if pruned.done.gone.contains(&decision.id) {
            reasons = vec!["another prune has dropped it meanwhile".to_owned()];
        }
        push(
            &mut text,
            &format!("{verb} {}  {}", decision.id, reasons.join(" | ")),
        );
    }
    let drops = if pruned.dry_run {
        pruned.plan.drops().count()
    } else {
        pruned.done.dropped.len()
    };
    let gone = pruned.done.gone.len();
    let kept = pruned.plan.decisions.len() - drops - gone;
    let by_another = match gone {
        0 => String::new(),
        gone => format!(", {gone} dropped by another prune"),
    };
    push(
        &mut text,
        &format!("{kept} backups stay, {drops} {would}dropped{by_another}"),
    );
    let (freed, later) = (
        pruned.sum(|chain| chain.freed),
        pruned.sum(|chain| chain.later),
    );
    push(&mut text, &format!("{would}freed now: {}", shown(freed)));
    push(
        &mut text,
        &format!(
            "freed when the grace ({days} days) is over, unless a backup that runs now needs it: {}",
            shown(later)
        ),
    );
    if pruned.done.proofs > 0 {
        let proofs = count(pruned.done.proofs);
        let line = format!("proofs of backups that are gone, {would}deleted: {proofs}");
        push(&mut text, &line);
    }
    if pruned.locked() > 0 {
        push(
            &mut text,
            &format!(
                "{} objects are under Object Lock and go another day",
                count(pruned.locked())
            ),
        );
    }
    push(&mut text, &cost(pruned));
    for chain in &pruned.done.chains {
        push(&mut text, &of_chain(chain));
    }
    text
}

fn push(text: &mut String, line: &str) {
    // Writing to a text does not fail.
    let _written = writeln!(text, "{line}");
}

fn shown(tally: Tally) -> String {
    format!("{} in {} objects", bytes(tally.bytes), count(tally.objects))
}

/// Why it is as much as it is.
fn cost(pruned: &Pruned) -> String {
    let needed = pruned.sum(|chain| chain.needed);
    let living = pruned.done.chains.iter().filter(|chain| chain.backups > 0);
    format!(
        "what stays: {} over all stores, of which {} is waste (packed with files that are needed); it is about (full \
         backup x {} chains) + (a day's change x backups that stay): a chain begins every {} days, and each monthly or \
         yearly backup that is kept beyond that keeps a chain of its own, so a full copy",
        shown(needed),
        bytes(pruned.waste()),
        living.count(),
        pruned.new_chain_every.as_secs() / 86_400,
    )
}

fn of_chain(chain: &ChainSwept) -> String {
    let how = match &chain.looked {
        Looked::Unnamed => "no backup names it".to_owned(),
        Looked::Inside => format!(
            "{} backups, needs {}, waste {}",
            chain.backups,
            bytes(chain.needed.bytes),
            bytes(chain.waste)
        ),
        Looked::NoKey(why) => format!("{} backups, not looked into: {why}", chain.backups),
        Looked::Damaged(why) => format!("{} backups, left as it is: {why}", chain.backups),
    };
    format!(
        "chain {}: {how}; freed {}, later {}",
        chain.id,
        bytes(chain.freed.bytes),
        bytes(chain.later.bytes)
    )
}

/// For programs. Bytes are sealed ones, over all stores.
pub fn json(pruned: &Pruned) -> Value {
    let backups = pruned.plan.decisions.iter().map(|decision| {
        let reasons: Vec<String> = decision.reasons.iter().map(ToString::to_string).collect();
        json!({"id": decision.id, "keep": decision.keep, "reasons": reasons})
    });
    json!({
        "foundation": pruned.foundation,
        "dry_run": pruned.dry_run,
        "origin_verified": !pruned.plan.origin_unknown,
        "backups": backups.collect::<Vec<_>>(),
        "blockers": pruned.plan.blockers,
        "dropped": pruned.done.dropped,
        "dropped_by_another": pruned.done.gone,
        "held": pruned.done.held,
        "freed": tally(pruned.sum(|chain| chain.freed)),
        "later": tally(pruned.sum(|chain| chain.later)),
        "needed": tally(pruned.sum(|chain| chain.needed)),
        "waste_bytes": pruned.waste(),
        "locked": pruned.locked(),
        "forgotten": pruned.done.forgotten,
        "proofs": pruned.done.proofs,
        "chains": pruned.done.chains.iter().map(chain).collect::<Vec<_>>(),
    })
}

fn tally(tally: Tally) -> Value {
    json!({"objects": tally.objects, "bytes": tally.bytes})
}

fn chain(chain: &ChainSwept) -> Value {
    let (looked, why) = match &chain.looked {
        Looked::Unnamed => ("unnamed", None),
        Looked::Inside => ("inside", None),
        Looked::NoKey(why) => ("no_key", Some(why)),
        Looked::Damaged(why) => ("damaged", Some(why)),
    };
    let mut value = json!({
        "id": chain.id,
        "looked": looked,
        "backups": chain.backups,
        "freed": tally(chain.freed),
        "later": tally(chain.later),
        "needed": tally(chain.needed),
        "waste_bytes": chain.waste,
        "locked": chain.locked,
    });
    if let Some(why) = why {
        value["why"] = json!(why);
    }
    value
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::repo::id::BackupId;
    use crate::repo::retention::{Decision, Reason};

    #[test]
    fn a_backup_that_another_prune_dropped_does_not_stay() {
        let ids = ["20261121T010203Z-7f3a09bc", "20261122T010203Z-7f3a09bc"]
            .map(|id| BackupId::parse(id).unwrap());
        let decisions = ids.iter().zip([false, true]).map(|(id, keep)| Decision {
            id: id.clone(),
            keep,
            reasons: vec![Reason {
                component: "tas".to_owned(),
                why: "keep_last".to_owned(),
            }],
        });
        let pruned = Pruned {
            foundation: "east".to_owned(),
            dry_run: false,
            grace: Duration::from_secs(7 * 86_400),
            new_chain_every: Duration::from_secs(30 * 86_400),
            plan: Plan {
                decisions: decisions.collect(),
                blockers: Vec::new(),
                origin_unknown: false,
            },
            done: Done {
                gone: vec![ids[0].clone()],
                ..Done::default()
            },
        };
        let text = text(&pruned);
        for line in [
            format!("drop {}  another prune has dropped it meanwhile\n", ids[0]),
            "\n1 backups stay, 0 dropped, 1 dropped by another prune\n".to_owned(),
        ] {
            assert!(text.contains(&line), "`{line}`: {text}");
        }
        let value = json(&pruned);
        assert_eq!(value["dropped_by_another"], json!([ids[0]]));
        assert_eq!(value["dropped"], json!([]));
    }
}
