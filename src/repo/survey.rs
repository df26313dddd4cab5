//! Looks at every object in every store, as far as that can be done without keys: what scrub
//! reports and repair mends. docs/design.md, *Scrub and repair*.
//!
//! Known without keys are: a sealed object's digest (its name), key files (manifests state their
//! digests), manifests (their signatures), roots (manifests name them). Of pages and chunks it is
//! not known who needs them: one that another store has is missing where a backup of its chain is.

mod facts;
mod held;
mod small;
#[cfg(test)]
mod tests;

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use serde::Serialize;

use super::Error;
use super::bridge::digest;
use super::catalogue::Catalogue;
use super::format::SEAL_OVERHEAD;
use super::holdings::{Holdings, Present, Row};
use super::id::{BackupId, ChainId};
use super::objects::{Area, Shard};
use super::transfer::{Expect, LOAD};
use crate::artifact::Digest;
use crate::monitor::Monitor;
use crate::store::{self, Kind, ObjectName};
use facts::{Facts, OfChain};
use held::{Held, Lacking, One};

/// An object younger than this may still be on its way to the other stores: a run waits five
/// minutes for a store that fails.
const SETTLED: Duration = Duration::from_secs(3600);

/// What is said of an object that is not there.
const MISSING: &str = "is missing";

/// What is said of one that another store has, when nothing but its chain's index tells whether a backup
/// needs it: a prune that goes on, or that was stopped, leaves the same to be seen.
const SWEPT: &str = "is missing, or is being swept";

/// What an object has at most as a rule, in bytes: largest chunk and its seal.
const ORDINARY: u64 = (8 << 20) + SEAL_OVERHEAD;

/// A part of what is read, so that a week of nights covers all of it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Part {
    number: u32,
    of: u32,
}

impl Part {
    /// All of it.
    pub const WHOLE: Self = Self { number: 1, of: 1 };

    /// Whether it is all of it.
    pub fn is_whole(self) -> bool {
        self == Self::WHOLE
    }

    /// Reads `3/7`.
    ///
    /// # Errors
    /// A sentence with the form.
    pub fn parse(text: &str) -> Result<Self, String> {
        let parsed = text.split_once('/').and_then(|(number, of)| {
            Some(Self {
                number: number.parse().ok()?,
                of: of.parse().ok()?,
            })
        });
        parsed
            .filter(|part| (1..=part.of).contains(&part.number) && part.of <= 1000)
            .ok_or_else(|| format!("`{}` is no part; write 3/7", text.escape_debug()))
    }

    /// Whether an object of this digest belongs to it: by the digest alone, so it is the same
    /// part each week.
    pub(super) fn contains(self, name: &Digest) -> bool {
        let [a, b, c, d, ..] = name.0;
        u32::from_be_bytes([a, b, c, d]) % self.of == self.number - 1
    }
}

impl std::fmt::Display for Part {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}/{}", self.number, self.of)
    }
}

/// How closely to look.
#[derive(Debug, Clone, Copy)]
pub struct Scope {
    /// Whether sealed objects are read (or only listed), and which part of them.
    pub read: Option<Part>,
}

/// What is asked of a look.
#[derive(Debug)]
pub struct Look<'a> {
    /// Which manifests are believed.
    pub catalogue: Catalogue,
    /// Sees how far it is.
    pub monitor: &'a dyn Monitor,
    /// How closely.
    pub scope: Scope,
    /// The time.
    pub now: SystemTime,
}

/// What is wrong with an object in one store.
#[derive(Debug, Clone)]
pub(super) struct Finding {
    pub(super) place: usize,
    pub(super) object: ObjectName,
    pub(super) what: String,
    pub(super) expect: Expect,
    /// No more bytes than these can be good.
    pub(super) limit: u64,
    /// About how many it has.
    pub(super) size: u64,
    /// The end of its chain.
    pub(super) chain_end: Option<SystemTime>,
    /// Whose it is, and its name when it is sealed.
    pub(super) chain: Option<ChainId>,
    pub(super) sealed: Option<(Area, Digest)>,
}

impl Finding {
    /// Whether a sweep explains it.
    pub(super) fn may_be_swept(&self) -> bool {
        self.what == SWEPT
    }
}

/// What was looked at in one store.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
pub struct Looked {
    /// Its name.
    pub store: String,
    /// Objects read, and of those only listed their number.
    pub objects: u64,
    /// Bytes read.
    pub bytes: u64,
    /// Objects that should be there and are not.
    pub missing: u64,
    /// Objects that are not what they should be.
    pub damaged: u64,
    /// Why it was left out from some point on.
    pub left_out: Option<String>,
}

/// One look at everything.
#[derive(Debug)]
pub(super) struct Survey<'a> {
    pub(super) holdings: Holdings,
    pub(super) catalogue: Arc<Catalogue>,
    monitor: &'a dyn Monitor,
    scope: Scope,
    now: SystemTime,
    pub(super) looked: Vec<Looked>,
    pub(super) facts: Facts,
    held: Held,
}

/// What takes findings as they come, a shard's at a time.
pub(super) type Handler<'h> = dyn FnMut(&Holdings, Vec<Finding>) -> Result<(), Error> + 'h;

impl<'a> Survey<'a> {
    pub(super) fn new(holdings: Holdings, look: Look<'a>) -> Self {
        let looked = holdings.copies.names().map(|store| Looked {
            store: store.to_owned(),
            ..Looked::default()
        });
        Self {
            looked: looked.collect(),
            holdings,
            catalogue: Arc::new(look.catalogue),
            monitor: look.monitor,
            scope: look.scope,
            now: look.now,
            facts: Facts::default(),
            held: Held::default(),
        }
    }

    /// Looks at all of it. `begin` is called once it is known which stores answer.
    pub(super) fn run(
        &mut self,
        begin: impl FnOnce(),
        handler: &mut Handler<'_>,
    ) -> Result<(), Error> {
        let backups = self.holdings.manifests()?;
        // One whose grace is over decides nothing, and written anew it would begin another grace.
        let mut dropped = self.holdings.dropped()?;
        dropped.retain(|_, kept| self.holdings.in_grace(kept, self.now));
        let dropped = dropped.into_iter().map(|(id, kept)| (id, kept.present));
        let dropped: BTreeMap<BackupId, Present> = dropped.collect();
        self.holdings.check_any()?;
        begin();
        let mut counts = vec![(0, 0); self.looked.len()];
        let mut handler = |holdings: &Holdings, findings: Vec<Finding>| {
            for finding in &findings {
                let (missing, damaged) = &mut counts[finding.place];
                match finding.what.as_str() {
                    MISSING | SWEPT => *missing += 1,
                    _ => *damaged += 1,
                }
            }
            handler(holdings, findings)
        };
        let findings = self.recovery_files()?;
        handler(&self.holdings, findings)?;
        let findings = self.manifests(&backups, &dropped)?;
        handler(&self.holdings, findings)?;
        let mut chains = self.holdings.chains()?;
        chains.extend(self.facts.chains.keys().cloned());
        for chain in chains {
            let facts = self.facts.chains.remove(&chain).unwrap_or_default();
            let end = facts
                .record
                .as_ref()
                .map(|(record, _)| self.holdings.end(record));
            let mut handler = |holdings: &Holdings, mut findings: Vec<Finding>| {
                for finding in &mut findings {
                    // What is looked for again may be of an earlier chain, and knows its own.
                    finding.chain_end = finding.chain_end.or(end);
                }
                handler(holdings, findings)
            };
            let findings = self.key_files(&chain, &facts)?;
            handler(&self.holdings, findings)?;
            self.chain(&chain, &facts, end, &mut handler)?;
            self.facts.chains.insert(chain, facts);
        }
        self.look_again(&mut handler)?;
        for (place, looked) in self.looked.iter_mut().enumerate() {
            looked.left_out = self.holdings.closed(place);
            (looked.missing, looked.damaged) = counts[place];
        }
        Ok(())
    }

    fn chain(
        &mut self,
        chain: &ChainId,
        facts: &OfChain,
        end: Option<SystemTime>,
        handler: &mut Handler<'_>,
    ) -> Result<(), Error> {
        let meter = self.monitor.meter(&format!("chain {chain}"), None);
        for area in Area::BOTH {
            for shard in Shard::all() {
                let rows = self.holdings.rows(chain, area, shard)?;
                let (mut findings, names) = self.missing(chain, facts, area, shard, &rows);
                let reading = self.reading(&rows);
                let before: u64 = self.looked.iter().map(|looked| looked.bytes).sum();
                findings.extend(self.read(chain, area, &rows, reading)?);
                let after: u64 = self.looked.iter().map(|looked| looked.bytes).sum();
                meter.add(after - before);
                handler(&self.holdings, findings)?;
                self.held.add(Lacking {
                    chain: chain.clone(),
                    area,
                    shard,
                    end,
                    names,
                });
                if self.held.is_full() {
                    self.look_again(handler)?;
                }
            }
        }
        meter.finish();
        Ok(())
    }

    /// What a store that has a backup of the chain lacks: what its manifests name, and apart from that what
    /// another store has.
    fn missing(
        &self,
        chain: &ChainId,
        facts: &OfChain,
        area: Area,
        shard: Shard,
        rows: &[Row],
    ) -> (Vec<Finding>, Vec<One>) {
        let asked = self.holdings.asked();
        let (mut findings, mut names) = (Vec::new(), Vec::new());
        let mut lacks = |place: usize, name: Digest| {
            if asked[place] {
                findings.push(self.finding(chain, area, name, place, MISSING.to_owned()));
            }
        };
        for row in rows {
            let settled = self
                .now
                .duration_since(row.since)
                .is_ok_and(|age| age > SETTLED);
            let named = facts.named(area, &row.name);
            let mut lacked = 0_u64;
            for place in row.lacking(&asked) {
                let missed = settled && facts.stores >> place & 1 == 1;
                if named >> place & 1 == 1 || (missed && named != 0) {
                    lacks(place, row.name);
                } else if missed {
                    lacked |= 1 << place;
                }
            }
            if lacked != 0 {
                names.push(One {
                    name: row.name,
                    had: row.places().fold(0_u64, |had, place| had | 1 << place),
                    lacked,
                });
            }
        }
        if area == Area::Index {
            let gone = facts.roots.iter().filter(|(name, _)| {
                Shard::of(name) == shard
                    && rows.binary_search_by_key(*name, |row| row.name).is_err()
            });
            for (name, stores) in gone {
                (0..asked.len())
                    .filter(|place| stores >> place & 1 == 1)
                    .for_each(|place| lacks(place, *name));
            }
        }
        (findings, names)
    }

    /// Which rows are read: those of the part, and whatever has different sizes.
    fn reading(&self, rows: &[Row]) -> Vec<(usize, usize)> {
        let wanted = |row: &Row| match self.scope.read {
            Some(part) => part.contains(&row.name) || !row.is_even(),
            None => !row.is_even(),
        };
        let rows = rows.iter().enumerate().filter(|(_, row)| wanted(row));
        rows.flat_map(|(at, row)| row.places().map(move |place| (at, place)))
            .collect()
    }

    fn read(
        &mut self,
        chain: &ChainId,
        area: Area,
        rows: &[Row],
        reading: Vec<(usize, usize)>,
    ) -> Result<Vec<Finding>, Error> {
        if self.scope.read.is_none() {
            for place in rows.iter().flat_map(Row::places) {
                self.looked[place].objects += 1;
            }
        }
        let mut results = Vec::new();
        let holdings = &self.holdings;
        holdings.bridge.side_by_side(
            reading,
            LOAD,
            |(at, place)| rows[*at].sizes[*place].unwrap_or(0),
            |(at, place)| {
                let name = rows[at].name;
                let object = holdings.object(chain, area, &name);
                let store = holdings.store(place);
                holdings.asked()[place].then_some(async move {
                    let read = match store.get(&object, area.limit()).await {
                        Ok(bytes) => {
                            let length = bytes.len() as u64;
                            Ok((length, digest(bytes).await == name))
                        }
                        Err(error) => Err(error),
                    };
                    (place, name, read)
                })
            },
            |(place, name, read)| {
                if let Err(error) = &read
                    && matches!(error.kind, Kind::Transient | Kind::Denied)
                {
                    holdings.leave_out(place, &error.message);
                }
                results.push((place, name, read));
            },
        )?;
        let mut findings = Vec::new();
        for (place, name, read) in results {
            let what = match read {
                Ok((length, good)) => {
                    let looked = &mut self.looked[place];
                    looked.objects += u64::from(self.scope.read.is_some());
                    looked.bytes += length;
                    (!good).then(|| "was damaged: it has another digest than its name".to_owned())
                }
                Err(error) => what_of(&error),
            };
            findings.extend(what.map(|what| self.finding(chain, area, name, place, what)));
        }
        Ok(findings)
    }

    fn finding(
        &self,
        chain: &ChainId,
        area: Area,
        name: Digest,
        place: usize,
        what: String,
    ) -> Finding {
        Finding {
            place,
            object: self.holdings.object(chain, area, &name),
            what,
            expect: Expect::Digest(name),
            limit: area.limit(),
            size: area.limit().min(ORDINARY),
            chain_end: None,
            chain: Some(chain.clone()),
            sealed: Some((area, name)),
        }
    }
}

/// What a failed read says of an object; nothing when it says something of the store, or when the
/// object was taken away meanwhile.
fn what_of(error: &store::Error) -> Option<String> {
    match error.kind {
        Kind::NotFound | Kind::Transient | Kind::Denied | Kind::Stopped => None,
        _ => Some(error.message.clone()),
    }
}

/// A backup that damage may reach.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize)]
pub struct Hit {
    /// Which.
    pub backup: BackupId,
    /// Whether it is known to need what is lost; else it shares a chain with it.
    pub certain: bool,
}
