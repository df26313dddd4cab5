//! Who can open which chain: `recipients add`, `recipients list`.

use std::collections::{BTreeMap, BTreeSet};
use std::ops::ControlFlow;
use std::sync::Arc;

use anyhow::{Result, anyhow};

use super::Context;
use super::fetch::identity_of;
use super::settings::Settings;
use super::stores::{Stores, worker};
use crate::repo;
use crate::repo::catalogue::Listing;
use crate::repo::format::Manifest;
use crate::repo::id::ChainId;
use crate::repo::objects::{Each, Objects};
use crate::repo::recipients::{Adding, begun_for, recovery_files};
use crate::repo::seal::Recipients;
use crate::report;
use crate::report::recipients::{AddedRecipients, Chain, ChainAdded, Chains};
use crate::store;

/// Lets these recipients open every chain that a listed backup belongs to and that the recovery
/// identity opens. Costs a manifest and a few small files for each chain; what is done already is
/// not done again.
///
/// # Errors
/// When a store does not answer or does not take a file: what is done stays done.
pub fn add(
    context: &Context,
    settings: &Settings,
    recipients: &[String],
) -> Result<AddedRecipients> {
    let recipients =
        Recipients::parse(recipients).map_err(|problem| anyhow!("recipients{problem}"))?;
    let identity = identity_of(settings)?;
    let stores = Stores::open(context, settings)?;
    let found = Found::of(&stores)?;
    let adding = Adding::new(
        Arc::clone(&stores.copies),
        stores.bridge.clone(),
        stores.foundation.clone(),
        &recipients,
        &identity,
        settings.repository.new_chain_every,
        context.clock.now(),
    );
    let mut done = AddedRecipients {
        problems: found.problems,
        ..AddedRecipients::default()
    };
    for manifest in found.manifests {
        let chain = manifest.chain.id.to_string();
        match adding.to_chain_of(&manifest) {
            Ok(added) => {
                context.monitor.info(&format!("chain {chain}: {}", added.file));
                done.chains.push(ChainAdded {
                    chain,
                    began: manifest.chain.started,
                    file: added.file,
                    stores: added.stores,
                });
            }
            Err(repo::Error::Key(_)) => done.problems.push(report::Problem {
                what: format!("chain {chain}"),
                why: format!(
                    "this recovery identity does not open it (it began at {}); run the command again with one that does",
                    manifest.chain.started
                ),
            }),
            Err(repo::Error::Stopped(stopped)) => return Err(stopped.into()),
            Err(error) => {
                let text = "not every chain is done; what is done stays done, so run the same command again when this is mended";
                return Err(anyhow::Error::from(error).context(text));
            }
        }
    }
    Ok(done)
}

/// The chains, how many files open each, and, for those of the own worker identity, for whom
/// they were begun.
///
/// # Errors
/// When a store does not answer.
pub fn list(context: &Context, settings: &Settings) -> Result<Chains> {
    let stores = Stores::open(context, settings)?;
    let worker = worker(settings)?;
    let found = Found::of(&stores)?;
    let objects = found.objects;
    let mut chains = Vec::new();
    for manifest in found.manifests {
        let listed = all(objects.key_files(&manifest.chain.id)?)?;
        let files: BTreeSet<usize> = listed
            .iter()
            .map(|(_, files)| recovery_files(files))
            .collect();
        let recipients = worker
            .as_ref()
            .and_then(|worker| begun_for(&stores.fetcher(), worker, &manifest.chain).transpose())
            .transpose()?;
        chains.push(Chain {
            chain: manifest.chain.id.to_string(),
            began: manifest.chain.started,
            files: files.last().copied().unwrap_or_default(),
            same_everywhere: files.len() == 1,
            recipients,
        });
    }
    Ok(Chains {
        chains,
        problems: found.problems,
    })
}

/// The chains that backups belong to.
struct Found {
    objects: Objects,
    /// One of each chain, newest chain first.
    manifests: Vec<Manifest>,
    /// Chains of which no backup can be believed.
    problems: Vec<report::Problem>,
}

impl Found {
    fn of(stores: &Stores) -> Result<Self> {
        let objects = Objects::new(
            Arc::clone(&stores.copies),
            stores.bridge.clone(),
            stores.foundation.clone(),
        );
        let mut wanted: BTreeSet<ChainId> = BTreeSet::new();
        for (_, chains) in all(objects.chains()?)? {
            wanted.extend(chains);
        }
        let catalogue = stores.catalogue();
        let listing: Listing = catalogue.list(None)?;
        if let Some(error) = listing.silent.first() {
            return Err(silent(error));
        }
        let ids: Vec<_> = listing
            .backups
            .iter()
            .rev()
            .map(|listed| &listed.id)
            .collect();
        let mut by_chain: BTreeMap<ChainId, Manifest> = BTreeMap::new();
        let mut unreadable = Vec::new();
        catalogue.manifests(spread(ids.len()).map(|at| ids[at]), |id, read| {
            match read {
                Ok(believed) => {
                    let manifest = believed.signed.manifest;
                    wanted.remove(&manifest.chain.id);
                    by_chain
                        .entry(manifest.chain.id.clone())
                        .or_insert(manifest);
                }
                Err(error) => unreadable.push((id, error)),
            }
            if wanted.is_empty() {
                ControlFlow::Break(())
            } else {
                ControlFlow::Continue(())
            }
        })?;
        // A chain without any backup (of a run that failed) is nothing that anybody misses.
        let problems = unreadable
            .into_iter()
            .filter(|_| !wanted.is_empty())
            .map(|(id, error)| report::Problem {
                what: format!("backup {id}"),
                why: format!("{error}; its chain may be left out"),
            });
        let mut manifests: Vec<_> = by_chain.into_values().collect();
        manifests.sort_by(|one, other| other.chain.started.cmp(&one.chain.started));
        Ok(Self {
            objects,
            problems: problems.collect(),
            manifests,
        })
    }
}

/// Indexes below `count`, each once: first every n-th, then those halfway between them, and so on.
/// Backups of one chain mostly lie side by side, so all chains are seen long before all backups.
fn spread(count: usize) -> impl Iterator<Item = usize> {
    let widest = count.next_power_of_two();
    let strides = std::iter::successors(Some(widest), |stride| Some(stride / 2));
    let strides = strides.take_while(|stride| *stride > 0);
    std::iter::once(0)
        .filter(move |_| count > 0)
        .chain(strides.flat_map(move |stride| (stride..count).step_by(stride * 2)))
}

/// Every store's answer, or why there is one less.
fn all<T>(answers: Each<T>) -> Result<Vec<(String, T)>> {
    let answers = answers.into_iter();
    answers
        .map(|(store, answer)| match answer {
            Ok(answer) => Ok((store, answer)),
            Err(error) => Err(silent(&error)),
        })
        .collect()
}

fn silent(error: &store::Error) -> anyhow::Error {
    anyhow!(
        "{error}; every store must answer here: run the command again when it does, or take it out of `stores`"
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_backup_is_looked_at_once_and_far_ones_early() {
        for count in [0, 1, 2, 3, 7, 8, 9, 365] {
            let mut seen: Vec<_> = spread(count).collect();
            seen.sort_unstable();
            assert_eq!(seen, (0..count).collect::<Vec<_>>());
        }
        // Thirteen chains of thirty nights.
        let early: BTreeSet<usize> = spread(390).take(32).map(|at| at / 30).collect();
        assert_eq!(early.len(), 13);
    }
}
