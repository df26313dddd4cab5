//! Which hosts have which scripts, and what their metadata says.

use std::collections::{BTreeMap, BTreeSet};
use std::io::Read as _;

use super::commands;
use super::error::{Error, Errors, Phase, Trouble};
use super::instance::{Host, Instance};
use super::job::Job;
use super::manifest::DeploymentManifest;
use super::metadata::Metadata;
use super::schedule::Board;
use super::script::{Script, is_ignored_job};
use super::target::Target;
use super::{Direction, Settings};
use crate::monitor::Monitor;
use crate::remote::{self, Command, Output, Remote};
use crate::shutdown::Shutdown;

/// What the hosts belong to.
#[derive(Debug, Clone, Copy)]
pub enum Kind<'a> {
    /// The director itself: no Windows, no releases, no shared artifacts.
    Director,
    /// A deployment with its manifest, as the director gave it.
    Deployment {
        /// Its text.
        manifest: &'a str,
    },
}

/// Visits every host, finds its scripts and runs its metadata scripts, and nothing else: it
/// changes nothing on any host. Windows hosts are left out with a warning; hosts without
/// scripts are kept. The result does not depend on the order of the hosts.
///
/// # Errors
/// All that went wrong on any host; a manifest that cannot be read; a signal.
pub fn discover(
    name: &str,
    hosts: Vec<Host>,
    kind: Kind<'_>,
    settings: &Settings,
    monitor: &dyn Monitor,
    shutdown: &Shutdown,
) -> Result<Target, Errors> {
    let manifest = match kind {
        Kind::Director => None,
        Kind::Deployment { manifest } => Some(
            DeploymentManifest::parse(manifest)
                .map_err(|message| Error::said(Phase::Discovery, message))?,
        ),
    };
    let visit = Visit {
        settings,
        manifest: manifest.as_ref(),
        monitor,
        shutdown,
    };
    let board = Board::free((0..hosts.len()).collect(), 1);
    let results = board.run(settings.limits.parallel, shutdown, |host| {
        visit.host(&hosts[host])
    });
    let mut instances = Vec::new();
    let mut errors = Vec::new();
    for result in results {
        match result {
            Some(Ok(instance)) => instances.extend(instance),
            Some(Err(error)) => errors.push(error),
            None => errors.push(stopped()),
        }
    }
    Errors::check(errors)?;
    let number = |instance: &Instance| instance.index.parse::<u64>().unwrap_or(u64::MAX);
    instances.sort_by(|a, b| {
        (&a.group, number(a), &a.index, &a.id).cmp(&(&b.group, number(b), &b.index, &b.id))
    });
    let target = Target {
        name: name.to_owned(),
        instances,
        settings: settings.clone(),
    };
    tell(&target, monitor);
    Ok(target)
}

fn stopped() -> Error {
    Error {
        phase: Phase::Discovery,
        trouble: Trouble::Stopped(crate::shutdown::Stopped),
    }
}

struct Visit<'a> {
    settings: &'a Settings,
    manifest: Option<&'a DeploymentManifest>,
    monitor: &'a dyn Monitor,
    shutdown: &'a Shutdown,
}

impl Visit<'_> {
    fn host(&self, host: &Host) -> Result<Option<Instance>, Error> {
        let name = host.name();
        let Some(index) = host.index.clone() else {
            return Err(Error::said(
                Phase::Discovery,
                format!(
                    "the director gives no index for instance {name}, and artifacts are named by it; \
                     look at `bosh instances --details`"
                ),
            ));
        };
        if self.manifest.is_some() && self.is_windows(host)? {
            self.monitor.warn(&format!(
                "{name} runs Windows, for which there are no BBR scripts; it is left out"
            ));
            return Ok(None);
        }
        let mut jobs = Vec::new();
        let mut disabled = Vec::new();
        for (job, scripts) in self.scripts(host)? {
            if is_ignored_job(&job) {
                self.monitor.info(&format!(
                    "{name}: the scripts of job {job} are ignored, as bbr ignores them"
                ));
                continue;
            }
            let found: Vec<_> = scripts.iter().map(ToString::to_string).collect();
            self.monitor
                .info(&format!("{name}/{job}: {}", found.join(", ")));
            let metadata = match scripts.contains(&Script::Metadata) {
                true => self.metadata(host, &job)?,
                false => Metadata::default(),
            };
            if metadata.skip {
                disabled.push(job);
            } else {
                jobs.push(self.job(host, job, scripts, metadata)?);
            }
        }
        if !disabled.is_empty() {
            self.monitor.debug(&format!(
                "{name}: left out by skip_bbr_scripts: {}",
                disabled.join(", ")
            ));
        }
        Ok(Some(Instance {
            group: host.group.clone(),
            id: host.id.clone(),
            index,
            bootstrap: host.bootstrap,
            remote: host.remote.clone(),
            jobs,
        }))
    }

    fn run(&self, host: &Host, doing: &str, command: &Command) -> Result<Output, Error> {
        host.remote
            .run(command, self.shutdown)
            .map_err(|error| Error::remote(Phase::Discovery, doing, error))
    }

    fn is_windows(&self, host: &Host) -> Result<bool, Error> {
        is_windows(&*host.remote, self.settings, self.shutdown)
            .map_err(|error| Error::remote(Phase::Discovery, "the Windows test", error))
    }

    fn scripts(&self, host: &Host) -> Result<BTreeMap<String, BTreeSet<Script>>, Error> {
        let doing = "the search for BBR scripts";
        let output = self.run(host, doing, &commands::find(self.settings))?;
        let whole = output.stdout.strip_suffix(b"end\0");
        let (true, Some(paths)) = (output.exit.ok(), whole) else {
            return Err(Error {
                phase: Phase::Discovery,
                trouble: Trouble::Command {
                    instance: host.name(),
                    doing: doing.to_owned(),
                    status: output.exit.status,
                    stderr: output.exit.stderr,
                },
            });
        };
        let mut jobs: BTreeMap<String, BTreeSet<Script>> = BTreeMap::new();
        for path in paths
            .split(|byte| *byte == 0)
            .filter(|path| !path.is_empty())
        {
            let Ok(path) = std::str::from_utf8(path) else {
                self.monitor.warn(&format!(
                    "{}: a job's directory has a name that is not UTF-8; it is left out",
                    host.name()
                ));
                continue;
            };
            if let Some((job, script)) = Script::parse(path) {
                jobs.entry(job.to_owned()).or_default().insert(script);
            }
        }
        Ok(jobs)
    }

    fn metadata(&self, host: &Host, job: &str) -> Result<Metadata, Error> {
        let doing = format!("metadata of job {job}");
        let output = self.run(host, &doing, &commands::metadata(self.settings, job))?;
        if !output.exit.ok() {
            return Err(Error {
                phase: Phase::Discovery,
                trouble: Trouble::Script {
                    script: Script::Metadata,
                    job: job.to_owned(),
                    instance: host.name(),
                    status: output.exit.status,
                    stderr: output.exit.stderr,
                },
            });
        }
        Metadata::parse(&output.stdout).map_err(|message| Error {
            phase: Phase::Discovery,
            trouble: Trouble::Metadata {
                job: job.to_owned(),
                instance: host.name(),
                message,
            },
        })
    }

    fn job(
        &self,
        host: &Host,
        name: String,
        scripts: BTreeSet<Script>,
        mut metadata: Metadata,
    ) -> Result<Job, Error> {
        let said = |message| Error::said(Phase::Discovery, message);
        let mut release = String::new();
        let mut backup_one_restore_all = false;
        if let Some(manifest) = self.manifest {
            match manifest.release(&host.group, &name).map_err(said)? {
                Some(found) => release = found,
                None => self.monitor.warn(&format!(
                    "job {name} of group {} is not in the deployment manifest (an add-on?): its \
                     release is unknown, so no job can ask to be locked before it",
                    host.group
                )),
            }
            backup_one_restore_all = manifest
                .backup_one_restore_all(&host.group, &name)
                .map_err(said)?;
        } else {
            let lists = [&mut metadata.backup_before, &mut metadata.restore_before];
            for constraint in lists.into_iter().flatten() {
                constraint.release.clear();
            }
        }
        Ok(Job {
            name,
            release,
            scripts,
            metadata,
            backup_one_restore_all,
        })
    }
}

/// Whether there is nothing of ours to be done on a host: by its SSH server's greeting, else by
/// bbr's own test.
pub(super) fn is_windows(
    remote: &dyn Remote,
    settings: &Settings,
    shutdown: &Shutdown,
) -> Result<bool, remote::Error> {
    if remote.is_windows() {
        return Ok(true);
    }
    let mut running = remote.start(&commands::windows_test(settings), shutdown)?;
    drop(running.stdin.take());
    let mut said = Vec::new();
    // Windows' shell does not end as ours does: what it said counts, however it ended.
    drop((&mut running.stdout).take(4096).read_to_end(&mut said));
    if String::from_utf8_lossy(&said).contains("Windows_NT") {
        drop(running.finish());
        return Ok(true);
    }
    running.finish().map(|_| false)
}

/// What the contract wants in the log, in the order of the target.
fn tell(target: &Target, monitor: &dyn Monitor) {
    for instance in &target.instances {
        let name = instance.name();
        for job in &instance.jobs {
            for direction in [Direction::Backup, Direction::Restore] {
                let before: Vec<_> = job
                    .locked_before(direction)
                    .iter()
                    .map(|constraint| match constraint.release.as_str() {
                        "" => constraint.job.clone(),
                        release => format!("{release}/{}", constraint.job),
                    })
                    .collect();
                if !before.is_empty() {
                    monitor.info(&format!(
                        "{name}: at {direction}, {} is locked before {}",
                        job.name,
                        before.join(", ")
                    ));
                }
            }
            if job.metadata.backup_name.is_some() {
                monitor.warn(&format!(
                    "{name}: metadata of job {} has backup_name, which is discontinued; the \
                     default artifact name is used",
                    job.name
                ));
            }
        }
    }
}
