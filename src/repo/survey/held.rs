//! A page or chunk that one store lacks and another has is looked for a second time before it is told:
//! a prune deletes store by store, and what is in no store at the end was needed by no backup.
//! docs/design.md, *Scrub and repair*.

use std::time::SystemTime;

use super::super::Error;
use super::super::holdings::Row;
use super::super::id::ChainId;
use super::super::objects::{Area, Shard};
use super::{Handler, SWEPT, Survey};
use crate::artifact::Digest;

/// Most names that are held back, about 50 bytes each: a store that lost a whole chain is told in parts.
const MOST: usize = 200_000;

/// A name that was in some stores and not in others. Stores are bits, by place.
#[derive(Debug, Clone, Copy)]
pub(super) struct One {
    pub(super) name: Digest,
    /// The stores that had it.
    pub(super) had: u64,
    /// Those that a backup of the chain is in and it is not.
    pub(super) lacked: u64,
}

/// What one listing of a shard gave.
#[derive(Debug)]
pub(super) struct Lacking {
    pub(super) chain: ChainId,
    pub(super) area: Area,
    pub(super) shard: Shard,
    /// The end of the chain.
    pub(super) end: Option<SystemTime>,
    pub(super) names: Vec<One>,
}

/// What is to be looked for again.
#[derive(Debug, Default)]
pub(super) struct Held {
    shards: Vec<Lacking>,
    names: usize,
}

impl Held {
    pub(super) fn add(&mut self, lacking: Lacking) {
        if !lacking.names.is_empty() {
            self.names += lacking.names.len();
            self.shards.push(lacking);
        }
    }

    pub(super) fn is_full(&self) -> bool {
        self.names >= MOST
    }
}

impl One {
    /// Where it is still missing. What is nowhere any more was swept, unless a store that had it does
    /// not answer: that one may have it.
    fn still_lacked(self, rows: &[Row], asked: &[bool]) -> Vec<usize> {
        let lacked = (0..asked.len()).filter(|place| self.lacked >> *place & 1 == 1);
        let silent = (0..asked.len()).any(|place| self.had >> place & 1 == 1 && !asked[place]);
        match rows.binary_search_by_key(&self.name, |row| row.name) {
            Ok(at) => lacked
                .filter(|place| rows[at].sizes[*place].is_none())
                .collect(),
            Err(_nowhere) if silent => lacked.collect(),
            Err(_nowhere) => Vec::new(),
        }
    }
}

impl Survey<'_> {
    /// Lists the shards of what is held back once more, and hands over what is missing still.
    pub(super) fn look_again(&mut self, handler: &mut Handler<'_>) -> Result<(), Error> {
        for lacking in std::mem::take(&mut self.held).shards {
            let (chain, area) = (&lacking.chain, lacking.area);
            let rows = self.holdings.rows(chain, area, lacking.shard)?;
            let asked = self.holdings.asked();
            let mut findings = Vec::new();
            for one in lacking.names {
                for place in one.still_lacked(&rows, &asked) {
                    let mut finding = self.finding(chain, area, one.name, place, SWEPT.to_owned());
                    finding.chain_end = lacking.end;
                    findings.push(finding);
                }
            }
            handler(&self.holdings, findings)?;
        }
        Ok(())
    }
}
