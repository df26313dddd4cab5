//! A tree that a restore takes over; and gives back, where it ends before its scripts.

use super::{Of, Stage};
use crate::bbr::commands::Pace;
use crate::bbr::error::Errors;
use crate::bbr::restore::Size;
use crate::bbr::target::Artifact;
use crate::bbr::workflow::Run;
use crate::monitor::Monitor;
use crate::shutdown::Shutdown;

impl Run {
    /// Puts what [`Run::upload_staged`] completed in the artifact's place. `false`: it cannot be done,
    /// which is said; then it must be uploaded whole. `of` and `size` are noted again where the
    /// tree is given back: by [`Run::finish`] and [`Run::abort`], as long as no restore script was
    /// started.
    ///
    /// # Errors
    /// When the connection is lost; a signal.
    pub fn adopt(
        &self,
        artifact: &Artifact,
        of: Of<'_>,
        size: Size,
        monitor: &dyn Monitor,
        shutdown: &Shutdown,
    ) -> Result<bool, Errors> {
        let stage = Stage::new(self, artifact, of, Pace::Hurry, shutdown);
        let place = artifact.job.instance;
        // Before it is taken: of a command that is cut off nobody knows whether it took it.
        let back = stage.paths.back(&stage.noted(true, size));
        self.state().adopted.entry(place).or_default().push(back);
        let Err(no) = stage.run("taking what was staged", &stage.paths.adopt()) else {
            return Ok(true);
        };
        stage.doubt(no, monitor)?;
        // What is uploaded in its place was never staged.
        if let Some(own) = self.state().adopted.get_mut(&place) {
            own.pop();
        }
        Ok(false)
    }

    /// Gives back what was adopted on one instance. Where that fails it is lost with the artifact
    /// directory, and the next `stage` sends it again.
    pub(in crate::bbr) fn give_back(&self, place: usize, shutdown: &Shutdown) {
        let adopted = self.state().adopted.remove(&place).unwrap_or_default();
        let remote = &self.target().instances[place].remote;
        for command in adopted {
            drop(remote.run(&command, shutdown));
        }
    }
}
