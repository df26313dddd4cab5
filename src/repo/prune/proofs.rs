//! Proofs of backups that are in no store any more go with them. docs/format.md, *Proofs*.

use std::collections::BTreeSet;

use super::super::Error;
use super::super::id::BackupId;
use super::super::objects::Named;
use super::{Done, Prune, Survey};
use crate::store::{Kind, ObjectName};

/// Takes what lies beside backups that nothing lists, once the backup's grace and its own are over:
/// whoever drops a backup by mistake finds its proofs as long as the backup itself. `really`: deletes.
pub(super) fn forget(
    prune: &Prune,
    survey: &Survey,
    really: bool,
    done: &mut Done,
) -> Result<(), Error> {
    let in_grace = survey.dropped.iter().filter(|one| one.named.is_some());
    let mut stay: BTreeSet<&BackupId> = in_grace.map(|one| &one.id).collect();
    stay.extend(&survey.listed);
    let prefix = prune.foundation.reports();
    let mut gone = BTreeSet::new();
    for (store, listed) in prune.bridge.wait(prune.copies.list_each(&prefix))? {
        let goes: Vec<ObjectName> = listed?
            .into_iter()
            .filter(
                |object| match Named::parse(&prune.foundation, &object.name) {
                    Some(Named::Report(id)) => {
                        !stay.contains(&id) && prune.is_over(object.modified, survey.at)
                    }
                    _ => false,
                },
            )
            .map(|object| ObjectName::new(object.name))
            .collect::<Result<_, _>>()?;
        if let Some(store) = prune.copies.store(&store).filter(|_| really) {
            prune.side_by_side(&goes, |name| {
                match prune.bridge.wait(store.delete(name))? {
                    // Nobody locks proofs, but a bucket may lock whatever it is given.
                    Err(error) if error.kind != Kind::Locked => Err(error.into()),
                    _ => Ok(()),
                }
            })?;
        }
        gone.extend(goes);
    }
    done.proofs = gone.len() as u64;
    Ok(())
}
