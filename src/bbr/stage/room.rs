//! Room on an instance where something lies staged: what of it a restore has use for, and what only
//! stands in its way.

use super::sync::mib;
use super::{NoSync, Of, Stage};
use crate::bbr::commands::Pace;
use crate::bbr::error::Errors;
use crate::bbr::restore::Saved;
use crate::bbr::target::Artifact;
use crate::bbr::workflow::Run;
use crate::shutdown::Shutdown;

/// What a restore knows of what may lie staged for it.
#[derive(Debug, Clone, Copy)]
pub struct Ahead<'a> {
    /// Of which backup its artifacts are; `None`: what is staged cannot be compared with them.
    pub of: Option<Of<'a>>,
    /// The command that removes what is staged, for people.
    pub remove: &'a str,
}

/// What lies staged for artifacts of one instance.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(in crate::bbr) struct Lies {
    /// Bytes that need no room again.
    pub(in crate::bbr) bytes: u64,
    /// Whether something takes room and is of no use.
    pub(in crate::bbr) useless: bool,
}

impl Run {
    /// What lies staged for these artifacts of one instance, which are of a backup. Of no artifact counts
    /// more than it needs: which of them is made first is not known.
    pub(in crate::bbr) fn lies_staged(
        &self,
        artifacts: &[&Artifact],
        saved: &Saved,
        of: Option<Of<'_>>,
        shutdown: &Shutdown,
    ) -> Lies {
        let mut lies = Lies::default();
        for artifact in artifacts {
            let backup = of.unwrap_or(Of::NONE);
            let stage = Stage::new(self, artifact, backup, Pace::Hurry, shutdown);
            let Ok(look) = stage.look(of.is_some()) else {
                continue;
            };
            if !look.ours || !look.tree {
                continue;
            }
            if of.is_none() || stage.unfit(&look).is_some() {
                lies.useless = true;
                continue;
            }
            let size = saved.artifacts.get(&artifact.place.kind);
            let needed = size.map_or(0, |size| size.bytes);
            lies.bytes = lies.bytes.saturating_add(look.bytes().min(needed));
        }
        lies
    }

    /// Looks whether an artifact of so many bytes can be uploaded whole beside what is staged, which is not
    /// used and stays. `remove` is the command that removes it.
    ///
    /// # Errors
    /// When there is no room for it; when the connection is lost; a signal.
    pub fn check_whole(
        &self,
        artifact: &Artifact,
        bytes: u64,
        remove: &str,
        shutdown: &Shutdown,
    ) -> Result<(), Errors> {
        let stage = Stage::new(self, artifact, Of::NONE, Pace::Hurry, shutdown);
        let free = match stage.look(false).map_err(NoSync::from) {
            Ok(look) => look.free,
            // An instance that cannot say it may have room all the same.
            Err(NoSync::Unusable(_)) => None,
            Err(NoSync::Failed(error)) => return Err(error.into()),
        };
        match free {
            Some(free) if free < bytes => {
                let why = format!(
                    "what is staged is not used, and beside it {} MiB are free for all of it, {}: remove what is \
                     staged with `{remove}`, or make room there",
                    free >> 20,
                    mib(bytes)
                );
                Err(stage.it.said(&why).into())
            }
            _ => Ok(()),
        }
    }
}
