//! What manifests say that can be looked at without keys.

use std::collections::BTreeMap;

use super::super::catalogue::Believed;
use super::super::format::ChainRecord;
use super::super::id::{BackupId, ChainId};
use super::super::objects::Area;
use super::{Finding, Hit};
use crate::artifact::Digest;

/// Of all chains. Stores are bits, by place.
#[derive(Debug, Default)]
pub(in super::super) struct Facts {
    pub(super) chains: BTreeMap<ChainId, OfChain>,
    pub(in super::super) backups: u64,
    /// The greatest id of them.
    pub(in super::super) newest: Option<BackupId>,
}

/// Of one chain.
#[derive(Debug, Default)]
pub(super) struct OfChain {
    pub(super) record: Option<(ChainRecord, String)>,
    /// Which stores have a manifest of it.
    pub(super) stores: u64,
    /// The roots that manifests name, and which stores have such a manifest.
    pub(super) roots: BTreeMap<Digest, u64>,
    pub(super) backups: Vec<(BackupId, Vec<Digest>)>,
}

impl Facts {
    /// A believed manifest and which stores have it.
    pub(super) fn add(&mut self, believed: &Believed, stores: u64) {
        let manifest = &believed.signed.manifest;
        let of = self.chains.entry(manifest.chain.id.clone()).or_default();
        if of.record.is_none() {
            of.record = Some((manifest.chain.clone(), manifest.recovery_age.clone()));
        }
        of.stores |= stores;
        let components = manifest.components.iter();
        let artifacts = components.flat_map(|component| &component.artifacts);
        let roots: Vec<Digest> = artifacts.map(|artifact| artifact.root).collect();
        for root in &roots {
            *of.roots.entry(*root).or_default() |= stores;
        }
        of.backups.push((manifest.id.clone(), roots));
        self.backups += 1;
        self.newest = self.newest.take().max(Some(manifest.id.clone()));
    }

    /// The backups that damage reaches or may reach.
    pub(in super::super) fn hit(&self, lost: &[Finding]) -> Vec<Hit> {
        let mut hits = BTreeMap::new();
        for finding in lost {
            let Some(of) = finding
                .chain
                .as_ref()
                .and_then(|chain| self.chains.get(chain))
            else {
                continue;
            };
            let root = finding
                .sealed
                .map(|(_, name)| name)
                .filter(|name| of.roots.contains_key(name));
            // worker.age is needed to go on, and recovery.age stands in each manifest.
            if finding.sealed.is_none() {
                continue;
            }
            for (backup, roots) in &of.backups {
                match root {
                    Some(root) if roots.contains(&root) => drop(hits.insert(backup.clone(), true)),
                    Some(_) => {}
                    None => drop(hits.entry(backup.clone()).or_insert(false)),
                }
            }
        }
        let hits = hits.into_iter();
        hits.map(|(backup, certain)| Hit { backup, certain })
            .collect()
    }
}

impl OfChain {
    /// Which stores have a manifest that names this object.
    pub(super) fn named(&self, area: Area, name: &Digest) -> u64 {
        match area {
            Area::Index => self.roots.get(name).copied().unwrap_or(0),
            Area::Data => 0,
        }
    }
}
