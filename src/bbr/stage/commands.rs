//! The commands that stage on an instance; their scripts are in `sh/`, like those of
//! [`crate::bbr::commands`], and need `flock` and `gzip` beyond what those need.

use crate::bbr::Settings;
use crate::bbr::commands::{DrainPaths, Pace, bare, shell};
use crate::remote::Command;

/// What an instance needs beyond the tools of a restore to be staged.
pub(super) const STAGE_TOOLS: [&str; 5] = ["perl", "gzip", "flock", "mv", "find"];

/// The status by which our scripts say that what is there is not ours, or not ours any more.
pub(super) const FOREIGN: i32 = 18;

/// The status by which they say that another run does not end.
pub(super) const BUSY: i32 = 19;

/// The status by which they say that a rename would be a copy.
pub(super) const ELSEWHERE: i32 = 20;

/// Where one artifact is staged, by which run.
#[derive(Debug, Clone)]
pub(super) struct StagePaths {
    store: String,
    stage: String,
    of: String,
    run: String,
    artifact: String,
    pub(super) pace: Pace,
}

impl StagePaths {
    pub(super) fn new(settings: &Settings, directory: &str, run: &str, pace: Pace) -> Self {
        let paths = &settings.paths;
        Self {
            store: paths.store.clone(),
            stage: paths.stage(),
            of: format!("{}/of/{directory}", paths.stage()),
            run: run.to_owned(),
            artifact: format!("{}/{directory}", paths.artifacts()),
            pace,
        }
    }

    pub(super) fn tree(&self) -> String {
        format!("{}/tree", self.of)
    }

    fn work(&self) -> String {
        format!("{}/work-{}", self.of, self.run)
    }

    /// For the listing of the tree.
    pub(super) fn listed(&self) -> DrainPaths {
        DrainPaths::staged(self.tree(), self.work(), self.pace)
    }

    /// Whether it also measures a tree that is not whole.
    pub(super) fn look(&self, measure: bool) -> Command {
        let measure = if measure { "measure" } else { "" };
        let args = [&self.stage, &self.of, &self.store, measure];
        let text = include_str!("../sh/stage-look.sh");
        shell("look at what is staged", text, args)
    }

    pub(super) fn open(&self, mark: &str, anew: bool) -> Command {
        let anew = if anew { "anew" } else { "" };
        let args = [&self.store, &self.stage, &self.of, &self.run, mark, anew];
        let text = concat!(
            include_str!("../sh/stage-end.sh"),
            include_str!("../sh/stage-open.sh")
        );
        shell("take over what is staged", text, args)
    }

    fn guarded<const N: usize>(&self, label: &str, words: [&str; N]) -> Command {
        let args = [self.of.as_str(), &self.run, self.pace.word()];
        let text = include_str!("../sh/stage-guard.sh");
        shell(label, text, [&args[..], &words].concat())
    }

    /// Takes what `sh/prepare.pl` explains, compressed by gzip.
    pub(super) fn prepare(&self) -> Command {
        let perl = bare(include_str!("../sh/prepare.pl"));
        let (tree, work) = (self.tree(), self.work());
        let text = r#"gzip -dc | perl -e "$1" "$2" "$3""#;
        let words = ["sh", "-c", text, "lifeboat", &perl, &tree, &work];
        self.guarded("make room for what is sent", words)
    }

    /// Unpacks a tar of files.
    pub(super) fn files(&self) -> Command {
        let tree = self.tree();
        let words = ["tar", "--extract", "--file=-", "--directory", &tree];
        self.guarded("unpack what is new", words)
    }

    /// Unpacks a tar of directories and links, compressed by gzip, of which a directory comes behind what
    /// is in it. The names are safe; the links may lead where they like, as in any upload, and would
    /// else be made last of all, after the times of their directories were set.
    pub(super) fn others(&self) -> Command {
        let tree = self.tree();
        let text = r#"gzip -dc | tar --extract --absolute-names --file=- --directory "$1""#;
        let words = ["sh", "-c", text, "lifeboat", &tree];
        self.guarded("unpack directories and links", words)
    }

    pub(super) fn note(&self, note: &str) -> Command {
        let text = r#"printf '%s\n' "$2" >"$1/note.new" && mv "$1/note.new" "$1/note""#;
        let words = ["sh", "-c", text, "lifeboat", &self.of, note];
        self.guarded("note what is staged", words)
    }

    /// The listing is done with.
    pub(super) fn tidy(&self) -> Command {
        let work = self.work();
        self.guarded("remove the listing", ["rm", "-rf", &work])
    }

    pub(super) fn adopt(&self) -> Command {
        let text = bare(include_str!("../sh/stage-adopt.sh"));
        let words = ["sh", "-c", &text, "lifeboat", &self.of, &self.artifact];
        self.guarded("take what was staged for the artifact", words)
    }

    /// Gives back what [`Self::adopt`] took.
    pub(super) fn back(&self, note: &str) -> Command {
        let args = [&self.stage, &self.of, &self.artifact, note];
        let text = include_str!("../sh/stage-back.sh");
        shell("give back what was staged", text, args)
    }
}

pub(super) fn remove(settings: &Settings) -> Command {
    let args = [settings.paths.stage()];
    let text = concat!(
        include_str!("../sh/stage-end.sh"),
        include_str!("../sh/stage-remove.sh")
    );
    shell("remove what is staged", text, args)
}
