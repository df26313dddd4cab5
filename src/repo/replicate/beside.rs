//! What lies beside the backups: the instructions for a recovery, holds, reports.

use std::collections::BTreeMap;

use bytes::Bytes;

use super::super::Error;
use super::super::format::MANIFEST_LIMIT;
use super::super::holdings::{Holdings, Present};
use super::super::objects::Named;
use super::super::recovery::{RECOVER_PY, RECOVERY_LIMIT, RECOVERY_MD};
use super::super::transfer::{Expect, Transfer};
use super::Replication;
use crate::store::ObjectName;

impl Replication<'_> {
    /// Puts this release's files where there are none, and where stores disagree: which of two is
    /// right cannot be told from the stores.
    pub(super) fn recovery_files(&mut self) -> Result<(), Error> {
        for (name, text) in [("recover.py", RECOVER_PY), ("RECOVERY.md", RECOVERY_MD)] {
            let object = ObjectName::new(name)?;
            let theirs = self.holdings.bytes(&object, RECOVERY_LIMIT)?;
            let mut texts = theirs.iter().flatten();
            let first = texts.next();
            let agree = texts.all(|other| Some(other) == first);
            let asked = self.holdings.asked();
            let to = (0..asked.len())
                .filter(|place| asked[*place])
                .filter(|place| match &theirs[*place] {
                    None => true,
                    Some(bytes) => !agree && bytes != text.as_bytes(),
                })
                .collect();
            self.bring(vec![Transfer {
                object,
                expect: Expect::Bytes(Bytes::from_static(text.as_bytes())),
                limit: RECOVERY_LIMIT,
                size: RECOVERY_LIMIT,
                from: Vec::new(),
                to,
                chain_end: None,
                earlier: false,
            }])?;
        }
        Ok(())
    }

    /// Holds and reports. A hold that was released while a store was away comes back with it:
    /// rather one backup too many than one too few.
    pub(super) fn beside(&mut self) -> Result<(), Error> {
        let whole = |named: &Named, name: &str| {
            let wanted = matches!(named, Named::Hold(_) | Named::Report(_));
            wanted.then(|| name.to_owned())
        };
        for folder in ["holds", "reports"] {
            let names: BTreeMap<String, Present> = self.holdings.names(folder, whole)?;
            let asked = self.holdings.asked();
            let mut transfers = Vec::new();
            for (name, present) in names {
                let among = |there: bool| {
                    let here = |place: &usize| asked[*place] && present[*place] == there;
                    (0..asked.len()).filter(here).collect::<Vec<_>>()
                };
                transfers.push(Transfer {
                    object: ObjectName::new(name)?,
                    expect: Expect::Anything,
                    limit: MANIFEST_LIMIT,
                    size: MANIFEST_LIMIT,
                    from: among(true),
                    to: among(false),
                    chain_end: None,
                    earlier: false,
                });
            }
            self.bring(transfers)?;
        }
        Ok(())
    }

    fn bring(&mut self, transfers: Vec<Transfer>) -> Result<(), Error> {
        let mut results = Vec::new();
        self.holdings
            .transfer(transfers, Holdings::refused, |moved| results.push(moved))?;
        for moved in results {
            self.count(&moved);
            for place in &moved.to {
                if let Some(problem) = moved.problem(*place).filter(|_| !moved.vanished()) {
                    let incomplete = &mut self.done.stores[*place].incomplete;
                    incomplete.get_or_insert(problem);
                }
            }
        }
        Ok(())
    }
}
