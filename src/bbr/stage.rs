//! Keeps the unpacked tree of an artifact on an instance ahead of time, so that a restore moves only what
//! changed since.
//!
//! The tree lies in a directory of our own beside bbr's artifact directory, marked as ours, for root
//! alone. It is made what an artifact is by the same listing that an incremental drain compares: the
//! instance says pages, then tags; what the artifact does not have goes, what the tree lacks is sent,
//! and what was sent is hashed and compared. A run that is cut off leaves a tree that the next run
//! lists anew. A restore does the same to the tree and then renames it; whatever it doubts, it uploads.
//! docs/design.md, *Stage*.

mod adopt;
mod commands;
mod compare;
mod note;
mod room;
mod sync;

use self::commands::{BUSY, ELSEWHERE, FOREIGN, STAGE_TOOLS, StagePaths, remove};
use self::note::{Look, Note, parse};
pub use self::room::Ahead;
pub use self::sync::Synced;
use self::sync::{NoSync, Sync};
use super::check::inspect_all;
use super::commands::{DRAIN_TOOLS, Pace, TOOLS};
use super::error::{Error, Errors, Phase, Trouble};
use super::restore::{Saved, Size};
use super::script::Script;
use super::target::Artifact;
use super::transfer::Transfer;
use super::workflow::{Run, stopped};
use crate::artifact::base::Wanted;
use crate::clock;
use crate::monitor::{Meter, Monitor};
use crate::shutdown::Shutdown;

/// Of which backup an artifact is.
#[derive(Debug, Clone, Copy)]
pub struct Of<'a> {
    /// The component's name in the backup.
    pub component: &'a str,
    /// The backup's id.
    pub backup: &'a str,
}

impl Of<'_> {
    const NONE: Self = Self {
        component: "",
        backup: "",
    };
}

/// What became of the request to remove what is staged, by instance.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Unstaged {
    /// `group/id`.
    pub instance: String,
    /// Whether there was something.
    pub removed: bool,
}

impl Run {
    /// Looks whether this target can be staged; changes nothing and asks no more of it than a restore
    /// would. That something else is at work there does not count: staging disturbs nothing.
    ///
    /// # Errors
    /// All reasons why not.
    pub fn check_stage(&self, saved: &Saved, shutdown: &Shutdown) -> Result<(), Errors> {
        let target = self.target();
        let mut errors: Vec<Error> = self
            .restore_problems(saved, &self.artifacts())
            .into_iter()
            .map(|text| Error::said(Phase::Stage, text))
            .collect();
        let inspections = inspect_all(target, Phase::Stage, shutdown, |instance| {
            match instance.has(Script::Restore) {
                true => [&TOOLS[..], &DRAIN_TOOLS, &STAGE_TOOLS].concat(),
                false => Vec::new(),
            }
        });
        for (instance, inspection) in target.instances.iter().zip(inspections) {
            match inspection {
                Err(error) => errors.push(error),
                Ok(found) if found.missing.is_empty() => {}
                Ok(found) => errors.push(Error::said(
                    Phase::Stage,
                    format!(
                        "{} lacks {}, which staging needs there; without it a restore uploads everything",
                        instance.name(),
                        found.missing.join(", ")
                    ),
                )),
            }
        }
        Errors::check(errors)
    }

    /// Makes what is staged for an artifact what it is in the backup, at low priority. The meter
    /// counts bytes that are sent.
    ///
    /// # Errors
    /// When it cannot be read, or the instance cannot take or keep it; a signal. What was sent stays for
    /// the next run.
    pub fn stage(
        &self,
        artifact: &Artifact,
        of: Of<'_>,
        wanted: &mut dyn Wanted,
        meter: &Meter,
        monitor: &dyn Monitor,
        shutdown: &Shutdown,
    ) -> Result<Synced, Errors> {
        let stage = Stage::new(self, artifact, of, Pace::Gentle, shutdown);
        let look = stage.look(false)?;
        let refused = |why: &str| stage.it.said(&format!("cannot be staged: {why}"));
        if look.foreign {
            return Err(refused(&stage.foreign()).into());
        }
        stage.open(&look).map_err(|no| no.into_error(&refused))?;
        let synced = stage.sync(wanted, meter, monitor);
        Ok(synced.map_err(|no| no.into_error(&refused))?)
    }

    /// Whether something lies staged for an artifact. Where that cannot be told, nothing does, and
    /// it is said.
    ///
    /// # Errors
    /// When the connection is lost; a signal.
    pub fn is_staged(
        &self,
        artifact: &Artifact,
        monitor: &dyn Monitor,
        shutdown: &Shutdown,
    ) -> Result<bool, Errors> {
        let stage = Stage::new(self, artifact, Of::NONE, Pace::Hurry, shutdown);
        match stage.look(false) {
            Ok(look) => Ok(look.foreign || look.tree),
            Err(error) => stage.doubt(NoSync::from(error), monitor).map(|()| false),
        }
    }

    /// Makes what is staged for an artifact what it is in the backup, in a hurry; the
    /// upload is done when [`Run::adopt`] has put it in its place. `None`: it cannot be used, which is said;
    /// then it must be uploaded whole.
    ///
    /// # Errors
    /// When the backup cannot be read, or the connection is lost; a signal. What is staged stays.
    pub fn upload_staged(
        &self,
        artifact: &Artifact,
        of: Of<'_>,
        wanted: &mut dyn Wanted,
        meter: &Meter,
        monitor: &dyn Monitor,
        shutdown: &Shutdown,
    ) -> Result<Option<Synced>, Errors> {
        let stage = Stage::new(self, artifact, of, Pace::Hurry, shutdown);
        let look = match stage.look(false) {
            Ok(look) => look,
            Err(error) => return stage.doubt(NoSync::from(error), monitor).map(|()| None),
        };
        let synced = match stage.unfit(&look) {
            Some(why) => Err(NoSync::Unusable(why)),
            None => stage
                .open(&look)
                .and_then(|()| stage.sync(wanted, meter, monitor)),
        };
        match synced {
            Ok(synced) => Ok(Some(synced)),
            Err(no) => stage.doubt(no, monitor).map(|()| None),
        }
    }

    /// Removes all that is staged on the target's instances.
    ///
    /// # Errors
    /// Of every instance where it failed, or where what is there is not ours; a signal.
    pub fn unstage(&self, shutdown: &Shutdown) -> Result<Vec<Unstaged>, Errors> {
        let settings = &self.target().settings;
        let places = self.places(|instance| instance.has(Script::Restore));
        let done = std::sync::Mutex::new(Vec::new());
        let doing = "removing what is staged";
        let command = remove(settings);
        let errors = self.on_each(&places, shutdown, |place| {
            let output = self.ask(Phase::Stage, place, doing, &command, shutdown)?;
            let instance = self.target().instances[place].name();
            match output.exit.status {
                0 => {}
                FOREIGN => {
                    let stage = settings.paths.stage();
                    let text = format!("{instance}: {stage} {NOT_OURS}");
                    return Err(Error::said(Phase::Stage, text));
                }
                _ => return Err(self.failed(Phase::Stage, place, doing, output)),
            }
            let removed = output.stdout.starts_with(b"removed");
            let mut done = done
                .lock()
                .unwrap_or_else(std::sync::PoisonError::into_inner);
            done.push(Unstaged { instance, removed });
            Ok(())
        });
        Errors::check(errors)?;
        let mut done = done
            .into_inner()
            .unwrap_or_else(std::sync::PoisonError::into_inner);
        done.sort_by(|a, b| a.instance.cmp(&b.instance));
        Ok(done)
    }
}

const NOT_OURS: &str = "is not ours (it has no mark of `lifeboat stage`, or others may write to it); look what it is and move it away";

/// One artifact's staged tree.
struct Stage<'a> {
    it: Transfer<'a>,
    paths: StagePaths,
    directory: String,
    mark: String,
    note: Note,
}

impl<'a> Stage<'a> {
    fn new(
        run: &'a Run,
        artifact: &'a Artifact,
        of: Of<'_>,
        pace: Pace,
        shutdown: &'a Shutdown,
    ) -> Self {
        let settings = &run.target().settings;
        let phase = match pace {
            Pace::Gentle => Phase::Stage,
            Pace::Hurry => Phase::Upload,
        };
        let mark = run.own_mark();
        let paths = StagePaths::new(settings, &artifact.place.directory, &mark.run, pace);
        let mut it = Transfer::new(run, artifact, phase, shutdown);
        it.paths = paths.listed();
        let text = serde_json::json!({
            "for": "stage",
            "foundation": mark.foundation,
            "started": clock::rfc3339(mark.started),
        });
        Self {
            it,
            paths,
            directory: settings.paths.stage(),
            // As the scripts look for it.
            mark: text.to_string(),
            note: Note {
                foundation: mark.foundation.clone(),
                component: of.component.to_owned(),
                artifact: artifact.place.file_name.clone(),
                backup: of.backup.to_owned(),
                ..Note::default()
            },
        }
    }

    fn foreign(&self) -> String {
        format!("{} {NOT_OURS}", self.directory)
    }

    /// Why a restore has no use for what lies there.
    fn unfit(&self, look: &Look) -> Option<String> {
        if look.foreign {
            return Some(self.foreign());
        }
        if !look.same {
            return Some("it is on another file system".to_owned());
        }
        if !look.note.is_of(&self.note) {
            return Some("it is of another artifact, or of none".to_owned());
        }
        None
    }

    fn look(&self, measure: bool) -> Result<Look, Error> {
        let command = self.paths.look(measure);
        let output = self.it.run("looking at what is staged", &command)?;
        parse(&output.stdout).ok_or_else(|| self.it.said("what is staged cannot be read"))
    }

    fn open(&self, look: &Look) -> Result<(), NoSync> {
        let anew = look.tree && !look.note.is_of(&self.note);
        self.run(
            "taking over what is staged",
            &self.paths.open(&self.mark, anew),
        )
    }

    /// Runs a command to its end; its status may say something of its own.
    fn run(&self, doing: &str, command: &crate::remote::Command) -> Result<(), NoSync> {
        match self.it.remote.run(command, self.it.shutdown) {
            Ok(output) => self.ended(doing, output.exit),
            Err(error) => Err(self.it.lost(doing, error).into()),
        }
    }

    fn ended(&self, doing: &str, exit: crate::remote::Exit) -> Result<(), NoSync> {
        Err(NoSync::Unusable(match exit.status {
            0 => return Ok(()),
            FOREIGN => "another run took it over, or it is not ours".to_owned(),
            BUSY => "another run is at work on it and does not end".to_owned(),
            ELSEWHERE => "it is on another file system".to_owned(),
            _ => return Err(self.it.failed(doing, exit).into()),
        }))
    }

    /// The note of an artifact of this size.
    fn noted(&self, whole: bool, size: Size) -> String {
        let note = Note {
            whole,
            files: size.files,
            bytes: size.bytes,
            ..self.note.clone()
        };
        note.text()
    }

    fn sync(
        &self,
        wanted: &mut dyn Wanted,
        meter: &Meter,
        monitor: &dyn Monitor,
    ) -> Result<Synced, NoSync> {
        let size = Size {
            files: wanted.pages().iter().map(|page| page.files).sum(),
            bytes: wanted.pages().iter().map(|page| page.bytes).sum(),
        };
        let note = |whole: bool| {
            let command = self.paths.note(&self.noted(whole, size));
            self.run("noting what is staged", &command)
        };
        note(false)?;
        let synced = Sync::new(self, meter, monitor).all(wanted)?;
        note(true)?;
        self.run("tidying up what is staged", &self.paths.tidy())?;
        Ok(synced)
    }

    /// Says why what is staged is not used; an error where nothing else could go on either.
    fn doubt(&self, no: NoSync, monitor: &dyn Monitor) -> Result<(), Errors> {
        if self.it.shutdown.is_raised() {
            return Err(stopped(Phase::Upload).into());
        }
        match no {
            NoSync::Failed(error) => Err(error.into()),
            NoSync::Unusable(why) => {
                monitor.warn(&format!(
                    "{}: what is staged is not used: {why}; all of it is uploaded",
                    self.it.whose()
                ));
                Ok(())
            }
        }
    }
}

impl NoSync {
    fn into_error(self, refused: &dyn Fn(&str) -> Error) -> Error {
        match self {
            Self::Unusable(why) => refused(&why),
            Self::Failed(error) => error,
        }
    }
}

impl From<Error> for NoSync {
    /// What a command of ours said is a doubt; what became of the connection or of the stores is not.
    fn from(error: Error) -> Self {
        match error.trouble {
            Trouble::Command { .. } | Trouble::Said(_) => Self::Unusable(error.trouble.to_string()),
            _ => Self::Failed(error),
        }
    }
}
