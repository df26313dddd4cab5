//! The commands sent to an instance. Each is a short POSIX shell script in `sh/`, checked by
//! shellcheck, which needs only what a BOSH stemcell has: coreutils, findutils, awk, tar,
//! util-linux, procps. An incremental drain has a program in perl, which a stemcell has too; where it
//! does not run, the drain is a full one.

use super::Settings;
use super::script::Script;
use crate::remote::Command;

/// The status by which our scripts say that something is there already.
pub(super) const EXISTS: i32 = 17;

/// What every instance needs that runs scripts.
pub(super) const TOOLS: [&str; 10] = [
    "setsid", "env", "grep", "mkdir", "ps", "awk", "tail", "tr", "sed", "stat",
];

/// What an instance needs beyond it to be drained, or to be restored and compared.
pub(super) const DRAIN_TOOLS: [&str; 8] = [
    "tar",
    "find",
    "sort",
    "split",
    "xargs",
    "sha256sum",
    "nproc",
    "nice",
];

pub(super) fn shell<W: AsRef<[u8]>>(
    label: &str,
    text: &str,
    args: impl IntoIterator<Item = W>,
) -> Command {
    let mut command = Command::as_root(label, ["sh", "-c", &bare(text), "lifeboat"]);
    command
        .words
        .extend(args.into_iter().map(|arg| arg.as_ref().to_vec()));
    command
}

/// What is sent shows in process lists and sudo's log: no comments, no blank lines.
pub(super) fn bare(text: &str) -> String {
    text.lines()
        .map(str::trim)
        .filter(|line| !line.is_empty() && !line.starts_with('#'))
        .map(|line| format!("{line}\n"))
        .collect()
}

fn tenths(time: std::time::Duration) -> String {
    (time.as_millis() / 100).to_string()
}

/// Tells Windows from the rest; no `sudo` there.
pub(super) fn windows_test(settings: &Settings) -> Command {
    Command::as_root("Windows test", ["echo", "%OS%"])
        .as_login_user()
        .silent_for(settings.limits.silence)
}

pub(super) fn find(settings: &Settings) -> Command {
    let mut args = vec![settings.paths.jobs.clone()];
    args.extend(
        Script::ALL
            .into_iter()
            .map(|script| script.name().to_owned()),
    );
    shell("search for scripts", include_str!("sh/find.sh"), args)
        .silent_for(settings.limits.silence)
}

pub(super) fn metadata(settings: &Settings, job: &str) -> Command {
    Command::as_root(
        &format!("metadata of job {job}"),
        [settings.paths.script(job, Script::Metadata)],
    )
    .with("BBR_VERSION", &settings.tool_version)
    .silent_for(settings.limits.silence)
}

pub(super) fn inspect(settings: &Settings, tools: &[&str]) -> Command {
    let paths = &settings.paths;
    let (artifacts, state) = (paths.artifacts(), paths.state());
    let args = [artifacts.as_str(), state.as_str(), paths.store.as_str()]
        .into_iter()
        .chain(tools.iter().copied());
    shell("look for leftovers", include_str!("sh/inspect.sh"), args)
        .silent_for(settings.limits.silence)
}

pub(super) fn mark(settings: &Settings, marker: &str) -> Command {
    let args = [&settings.paths.store, &settings.paths.state(), marker];
    shell("write the marker", include_str!("sh/mark.sh"), args).silent_for(settings.limits.silence)
}

pub(super) fn directories(settings: &Settings, names: &[String]) -> Command {
    let args = [settings.paths.artifacts(), settings.paths.state()]
        .into_iter()
        .chain(names.iter().cloned());
    shell(
        "make the artifact directories",
        include_str!("sh/directories.sh"),
        args,
    )
    .silent_for(settings.limits.silence)
}

pub(super) fn unmark(settings: &Settings, run: &str) -> Command {
    let args = [settings.paths.state(), owner_has(run)];
    shell("take the marker away", include_str!("sh/unmark.sh"), args)
        .silent_for(settings.limits.silence)
}

/// What the owner's text of a run holds, and that of no other.
fn owner_has(run: &str) -> String {
    format!("\"run\":{}", serde_json::Value::from(run))
}

/// Whose directories are removed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Whose<'a> {
    /// Those of this run, and none other.
    Run(&'a str),
    /// Anybody's.
    Anybody,
}

/// Whether the marker stays.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Marker {
    /// The instance may still be locked.
    Keep,
    /// It is clean.
    Remove,
}

pub(super) fn remove(settings: &Settings, whose: Whose<'_>, marker: Marker) -> Command {
    let keep = match marker {
        Marker::Keep => "keep",
        Marker::Remove => "",
    };
    let run = match whose {
        Whose::Run(run) => owner_has(run),
        Whose::Anybody => String::new(),
    };
    let (artifacts, state) = (settings.paths.artifacts(), settings.paths.state());
    // Removing a million files is silent work.
    shell(
        "remove what the run left",
        include_str!("sh/remove.sh"),
        [artifacts.as_str(), &state, keep, &run],
    )
}

/// A script to start: under which name, and where it lies.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Start {
    pub(super) script: Script,
    pub(super) name: String,
    path: String,
}

impl Start {
    /// A name occurs once in a run, so that a script is started at most once in it.
    pub(super) fn new(settings: &Settings, run: &str, job: &str, script: Script) -> Self {
        Self {
            script,
            name: format!("{script}--{job}--{run}"),
            path: settings.paths.script(job, script),
        }
    }

    /// Whether it is not started any more once its instance was told to stop.
    fn heeds(&self) -> bool {
        !matches!(
            self.script,
            Script::PostBackupUnlock | Script::PostRestoreUnlock
        )
    }

    /// The line by which [`armed`] is asked for it; `None` when a shell would not read back the same
    /// words from it.
    pub(super) fn line(&self, environment: &[(String, String)]) -> Option<String> {
        let heed = if self.heeds() { "heed" } else { "-" };
        let mut words = vec!["start".to_owned(), heed.to_owned(), self.name.clone()];
        words.extend(
            environment
                .iter()
                .map(|(name, value)| format!("{name}={value}")),
        );
        words.push(self.path.clone());
        words
            .iter()
            .all(|word| is_plain(word))
            .then(|| words.join(" ") + "\n")
    }
}

/// Whether a shell reads a text as one word that is the text.
pub(super) fn is_plain(text: &str) -> bool {
    !text.is_empty()
        && text
            .bytes()
            .all(|byte| byte.is_ascii_alphanumeric() || b"/._-:,@%+=".contains(&byte))
}

/// Runs one script.
pub(super) fn start(settings: &Settings, label: &str, start: &Start) -> Command {
    let state = settings.paths.state();
    let heed = if start.heeds() { "heed" } else { "" };
    let args = [state.as_str(), heed, "one", &start.name, &start.path];
    shell(label, START, args)
}

const START: &str = concat!(include_str!("sh/leader.sh"), include_str!("sh/start.sh"));

/// What starts scripts when it is told to; see [`super::armed`].
pub(super) fn armed(settings: &Settings) -> Command {
    let text = concat!(include_str!("sh/leader.sh"), include_str!("sh/armed.sh"));
    let label = "wait for scripts to start";
    let words = [
        "bash",
        "-c",
        &bare(text),
        "lifeboat",
        &settings.paths.state(),
    ];
    Command::as_root(label, words)
}

/// Starts several unlock scripts of one instance at once.
pub(super) fn start_all(settings: &Settings, starts: &[Start]) -> Command {
    let state = settings.paths.state();
    let pairs = starts
        .iter()
        .flat_map(|start| [start.name.as_str(), start.path.as_str()]);
    let args = [state.as_str(), "", "many"].into_iter().chain(pairs);
    shell("start what remains to be unlocked", START, args)
}

/// Which scripts of ours [`stop`] ends.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Stop {
    /// Lock, backup and restore scripts, at once.
    Work,
    /// Unlock scripts, after they had time to end by themselves.
    Unlock,
}

pub(super) fn stop(settings: &Settings, which: Stop) -> Command {
    let (pattern, patience) = match which {
        Stop::Work => (
            r"pre-backup-lock\|backup\|pre-restore-lock\|restore",
            "0".to_owned(),
        ),
        Stop::Unlock => (
            r"post-backup-unlock\|post-restore-unlock",
            tenths(settings.limits.unlock_wait),
        ),
    };
    let (state, grace) = (settings.paths.state(), tenths(settings.limits.grace));
    shell(
        "end scripts that still run",
        include_str!("sh/stop.sh"),
        [state.as_str(), pattern, &patience, &grace],
    )
}

/// Whether hashing gives way to what else runs on the instance.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Pace {
    /// A drain: the foundation runs meanwhile.
    Gentle,
    /// A restore: all wait for it.
    Hurry,
}

impl Pace {
    /// As our scripts are told.
    pub(super) fn word(self) -> &'static str {
        match self {
            Self::Gentle => "",
            Self::Hurry => "hurry",
        }
    }
}

/// What an incremental drain asks of an instance; see `sh/listing.pl`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Ask {
    List,
    Tags,
    Lines,
    Heads,
    Take,
    Others,
}

impl Ask {
    /// The program's word for it, and ours.
    fn words(self) -> (&'static str, &'static str) {
        match self {
            Self::List => ("list", "list and hash the artifact"),
            Self::Tags => ("tags", "tell what the base may have"),
            Self::Lines => ("lines", "tell what changed"),
            Self::Heads => ("heads", "tell how tar writes headers"),
            Self::Take => ("take", "tar what changed"),
            Self::Others => ("others", "tar directories and links"),
        }
    }
}

/// The directory of one artifact, and the one beside it for its listing.
#[derive(Debug, Clone)]
pub(super) struct DrainPaths {
    pub(super) source: String,
    work: String,
    pace: Pace,
}

impl DrainPaths {
    pub(super) fn new(settings: &Settings, directory: &str) -> Self {
        Self {
            source: format!("{}/{directory}", settings.paths.artifacts()),
            work: format!("{}/drain/{directory}", settings.paths.state()),
            pace: Pace::Gentle,
        }
    }

    /// For the listing of a staged tree.
    pub(super) fn staged(source: String, work: String, pace: Pace) -> Self {
        Self { source, work, pace }
    }

    pub(super) fn list(&self) -> Command {
        let args = [&self.source, &self.work];
        shell("list the artifact", include_str!("sh/list.sh"), args)
    }

    pub(super) fn sums(&self, pace: Pace) -> Command {
        let args = [self.source.as_str(), &self.work, pace.word()];
        shell("hash the artifact", include_str!("sh/sums.sh"), args)
    }

    pub(super) fn ask(&self, ask: Ask) -> Command {
        let text = bare(include_str!("sh/listing.pl"));
        let (word, label) = ask.words();
        let pace = self.pace.word();
        let words = ["perl", "-e", &text, word, &self.source, &self.work, pace];
        Command::as_root(label, words)
    }

    /// Unpacks a tar that comes on standard input.
    pub(super) fn unpack(&self) -> Command {
        Command::as_root(
            "unpack the artifact",
            ["tar", "--extract", "--file=-", "--directory", &self.source],
        )
    }

    fn tar(&self, label: &str) -> Command {
        Command::as_root(
            label,
            [
                "tar",
                "--create",
                "--format=gnu",
                // Else a backslash in a name that is given as a word begins an escape.
                "--no-unquote",
                "--hard-dereference",
                "--no-recursion",
                "--file=-",
                "--null",
                "--directory",
                &self.source,
            ],
        )
    }

    pub(super) fn all(&self) -> Command {
        let mut command = self.tar("tar the artifact");
        command
            .words
            .push(format!("--files-from={}/list", self.work).into());
        command
    }

    pub(super) fn file_again(&self, name: &[u8]) -> Command {
        let mut command = self.tar("tar one file again");
        command.words.extend([b"--".to_vec(), name.to_vec()]);
        command
    }

    pub(super) fn sum_again(&self, name: &[u8]) -> Command {
        let text = r#"cd "$1" && sha256sum -z -- "$2""#;
        shell("hash one file again", text, [self.source.as_bytes(), name])
    }

    pub(super) fn remove(&self) -> Command {
        Command::as_root(
            "remove the drained artifact",
            [
                "setsid",
                "--wait",
                "rm",
                "-rf",
                "--",
                &self.source,
                &self.work,
            ],
        )
    }
}

#[cfg(test)]
mod tests {
    use std::os::unix::ffi::OsStrExt as _;

    use super::*;

    #[test]
    fn what_is_sent_has_no_comments_and_no_blank_lines() {
        let command = find(&Settings::default());
        let text = String::from_utf8(command.words[2].clone()).unwrap();
        assert!(text.starts_with("jobs=$1; shift\n"), "{text}");
        assert!(text.lines().all(|line| !line.starts_with('#')));
        assert_eq!(command.words[4], b"/var/vcap/jobs");
    }

    #[test]
    fn only_words_that_a_shell_reads_back_are_put_on_a_line() {
        let line = |job: &str, value: &str| {
            let start = Start::new(&Settings::default(), "r", job, Script::Backup);
            start.line(&[("V".to_owned(), value.to_owned())])
        };
        assert_eq!(
            line("j", "/a/").unwrap(),
            "start heed backup--j--r V=/a/ /var/vcap/jobs/j/bin/bbr/backup\n"
        );
        for odd in ["a b", "a\nb", "a*", "a\\", "$a", "'"] {
            assert_eq!(line(odd, ""), None, "{odd}");
            assert_eq!(line("j", odd), None, "{odd}");
        }
    }

    #[test]
    fn what_is_sent_to_perl_is_perl() {
        let paths = DrainPaths::new(&Settings::default(), "j");
        let command = paths.ask(Ask::List);
        let text = std::ffi::OsStr::from_bytes(&command.words[2]);
        let perl = std::process::Command::new("perl")
            .arg("-cwe")
            .arg(text)
            .output();
        let said = String::from_utf8(perl.unwrap().stderr).unwrap();
        assert_eq!(said, "-e syntax OK\n");
        assert!(
            command.words[2].len() < 12_000,
            "it is sent some times a drain"
        );
    }
}
