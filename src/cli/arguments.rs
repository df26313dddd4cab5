//! What may stand on the command line, and what it means in the configuration's own keys.

use std::path::PathBuf;

use clap::{Parser, Subcommand};
use serde_json::{Map, Value};

use super::{inventory, recipients, restore, stage, verify};
use crate::config::Door;
use crate::operation::settings::End;

macro_rules! help {
    ($example:literal) => {
        concat!(
            "Example:\n",
            $example,
            "\n\nExit codes: 0 done; 1 failed; 2 bad arguments; 3 finished, problems found;\n",
            "4 a human is needed (jobs may still be locked: run the command in the last line)."
        )
    };
}

pub(super) use help;

/// Encrypted streaming backups of Tanzu Operations Manager foundations.
///
/// The configuration has the same keys as the Concourse resource (source and params in one
/// map) and comes from --config FILE, or from the environment: LIFEBOAT_CONFIG is such a
/// document, LIFEBOAT_KEY (say LIFEBOAT_WORKER_IDENTITY, LIFEBOAT_BOSH_CLIENT_SECRET) gives
/// one key. README.md explains every key.
#[derive(Debug, Parser)]
#[command(
    name = "lifeboat",
    version,
    arg_required_else_help = false,
    after_help = help!("  lifeboat --config prod.yml backup director tas\n  lifeboat --config prod.yml list")
)]
pub(super) struct Arguments {
    /// Reads the configuration from FILE (YAML or JSON) in place of LIFEBOAT_CONFIG.
    #[arg(long, value_name = "FILE", global = true)]
    pub(super) config: Option<PathBuf>,

    /// Shows requests, remote commands and other details.
    #[arg(long, global = true)]
    pub(super) debug: bool,

    #[command(subcommand)]
    pub(super) command: Command,
}

#[derive(Debug, Subcommand)]
pub(super) enum Command {
    /// Makes a worker identity and a recovery key, and prints the recovery sheet.
    ///
    /// Nothing is ever overwritten. Without --out-dir the keys are printed.
    #[command(after_help = help!("  lifeboat keygen --out-dir keys\n  # keys/worker_identity   -> the pipeline's secrets\n  # keys/recovery_identity -> a safe, with recovery-sheet.txt; not the pipeline"))]
    Keygen {
        /// Writes the keys into this directory, readable by you alone.
        #[arg(long, value_name = "DIR")]
        out_dir: Option<PathBuf>,
    },
    /// Backs up components, or stores a directory as one.
    #[command(after_help = help!("  lifeboat --config prod.yml backup director tas\n  lifeboat --config prod.yml backup --from bbr-artifact deployment/redis"))]
    Backup {
        /// director, tas or deployment/NAME; without any those of `backup` in the configuration.
        #[arg(value_name = "COMPONENT")]
        components: Vec<String>,
        /// Stores this directory (bbr's or any other) in place of a live backup.
        #[arg(long, value_name = "DIR")]
        from: Option<String>,
    },
    /// Finds out whether components could be backed up now. Locks nothing.
    #[command(after_help = help!("  lifeboat --config prod.yml pre-backup-check director tas"))]
    PreBackupCheck {
        /// As for backup.
        #[arg(value_name = "COMPONENT")]
        components: Vec<String>,
        /// Prints JSON.
        #[arg(long)]
        json: bool,
    },
    /// Unlocks and cleans what a failed or aborted run left behind. Safe to repeat.
    #[command(after_help = help!("  lifeboat --config prod.yml cleanup director tas"))]
    Cleanup {
        /// As for backup; without any those of `cleanup`, else of `backup` in the configuration.
        #[arg(value_name = "COMPONENT")]
        components: Vec<String>,
        /// Also where nothing seems to be left, as bbr's cleanup does.
        #[arg(long)]
        force: bool,
    },
    /// Lists the newest 50 backups, oldest first.
    #[command(after_help = help!("  lifeboat --config prod.yml list --json | jq -r '.backups[-1].id'"))]
    List {
        /// All backups. A few kilobytes are read for each.
        #[arg(long, conflicts_with = "limit")]
        all: bool,
        /// How many.
        #[arg(long, value_name = "N", default_value = "50", value_parser = backups)]
        limit: usize,
        /// Prints JSON.
        #[arg(long)]
        json: bool,
    },
    /// Shows one backup.
    #[command(after_help = help!("  lifeboat --config prod.yml show latest"))]
    Show {
        /// 20261122T010203Z-7f3a09bc, or `latest`.
        #[arg(value_name = "ID")]
        id: String,
        /// Prints JSON.
        #[arg(long)]
        json: bool,
    },
    /// Fetches, decrypts and verifies a backup into a directory, in bbr's own layout.
    ///
    /// Needs `recovery_identity` in the configuration.
    #[command(after_help = help!("  LIFEBOAT_RECOVERY_IDENTITY=\"$(cat recovery_identity)\" \\\n    lifeboat --config prod.yml fetch latest restored --component tas\n  bbr deployment -d cf-1a2b restore --artifact-path restored/tas"))]
    Fetch {
        /// 20261122T010203Z-7f3a09bc, or `latest`.
        #[arg(value_name = "ID")]
        id: String,
        /// An empty directory, or one to be made.
        #[arg(value_name = "DIR")]
        into: PathBuf,
        /// Only this component; may be repeated.
        #[arg(long = "component", value_name = "COMPONENT")]
        components: Vec<String>,
        /// Only artifacts whose file names match, with * and ?; may be repeated.
        #[arg(long = "artifact", value_name = "GLOB")]
        artifacts: Vec<String>,
    },
    /// Shows who can open which backups, and lets more people open old ones.
    ///
    /// New backups are sealed to `recipients` of the configuration; a change there begins a new
    /// chain. `recipients add` opens the chains before it to a new key.
    #[command(after_help = help!("  lifeboat --config prod.yml recipients list\n  lifeboat --config prod.yml recipients add age1…"))]
    Recipients {
        #[command(subcommand)]
        asked: recipients::Asked,
    },
    /// What there is on a foundation: takes it, compares it, plans from it.
    ///
    /// A backup that knows whom to ask holds an inventory: orgs, spaces, apps, routes, services,
    /// quotas, roles, users' names, what the Director has; never a secret.
    #[command(after_help = help!("  lifeboat --config prod.yml inventory diff latest now\n  lifeboat --config prod.yml inventory plan latest --org sales"))]
    Inventory {
        #[command(subcommand)]
        asked: inventory::Asked,
    },
    /// Verifies what is stored, as closely as asked, and stores the result beside the backup.
    ///
    /// Levels listed and scrub look at every store and all backups, without an identity. Levels
    /// contents and restorable look into one backup (the newest without ID), and need
    /// `recovery_identity` in the configuration.
    #[command(after_help = help!("  lifeboat --config prod.yml verify --level scrub --part today/7\n  lifeboat --config prod.yml verify --level contents --part today/30\n  lifeboat --config prod.yml verify --level restorable latest"))]
    Verify {
        #[command(flatten)]
        asked: verify::Asked,
        /// Prints JSON.
        #[arg(long)]
        json: bool,
    },
    /// Restores what is missing or damaged in a store, from another or from an earlier version.
    ///
    /// Needs no identity. Without --read it finds what is missing or has another size elsewhere.
    #[command(after_help = help!("  lifeboat --config prod.yml repair --read"))]
    Repair {
        /// Reads every object, and so finds damage too.
        #[arg(long)]
        read: bool,
        /// Reads one part of all sealed objects, such as 3/7.
        #[arg(long, value_name = "N/M", requires = "read")]
        part: Option<String>,
        /// Prints JSON.
        #[arg(long)]
        json: bool,
    },
    /// Brings every store to the full set: a new one, or one that was away.
    ///
    /// Copies sealed objects from store to store; needs no identity. What is there is only listed.
    #[command(after_help = help!("  lifeboat --config prod.yml replicate"))]
    Replicate {
        /// Prints JSON.
        #[arg(long)]
        json: bool,
    },
    /// Restores a foundation, step by step; or prints the plan.
    ///
    /// Every step is safe to run again. Each that changes something needs --confirm-target (or
    /// `confirm_target`): the name that `foundation` has. In order: ops-manager, bosh-state,
    /// apply-director, director, references, stemcells, scale-down, apply-tas, tas, scale-up,
    /// recreate-instances, service-instances, deployment/NAME. `plan` prints what is to be done.
    #[command(after_help = help!("  lifeboat --config prod.yml restore plan latest\n  lifeboat --config prod.yml restore tas latest --confirm-target prod-east\n  lifeboat --config prod.yml restore director --from restored/director --confirm-target prod-east"))]
    Restore {
        /// A step, or `plan`.
        #[arg(value_name = "STEP", value_parser = restore::asked)]
        step: restore::Asked,
        /// 20261122T010203Z-7f3a09bc, or `latest`; without it `id` or `id_file` of the
        /// configuration.
        #[arg(value_name = "ID")]
        id: Option<String>,
        /// The foundation's name once more: a restore overwrites what it holds.
        #[arg(long, value_name = "NAME")]
        confirm_target: Option<String>,
        /// Restores from this directory in bbr's artifact layout, in place of the stores.
        #[arg(long, value_name = "DIR", conflicts_with = "id")]
        from: Option<String>,
        /// Prints JSON (plan).
        #[arg(long)]
        json: bool,
    },
    /// Unlocks and cleans what a failed or killed restore left behind. Safe to repeat.
    #[command(after_help = help!("  lifeboat --config prod.yml restore-cleanup tas"))]
    RestoreCleanup {
        /// director, tas, deployment/NAME; without any those of `cleanup`, else of `backup` in
        /// the configuration.
        #[arg(value_name = "COMPONENT")]
        components: Vec<String>,
        /// Also where nothing seems to be left, as bbr's restore-cleanup does.
        #[arg(long)]
        force: bool,
    },
    /// Rehearses a restore in a scratch foundation: restores, verifies, measures, and takes it down.
    ///
    /// Needs an Ops Manager that nobody has set up, in a network and an IaaS account of its own; see
    /// docs/drill.md. Works on no other. A drill that failed or was aborted goes on when it is run
    /// again. Exit code 3: every step worked, but what was restored is not as it should be.
    #[command(after_help = help!("  lifeboat --config drill.yml drill --confirm-target scratch-1"))]
    Drill {
        /// 20261122T010203Z-7f3a09bc, or `latest` (the default).
        #[arg(value_name = "ID")]
        id: Option<String>,
        /// The scratch foundation's name once more, as `drill.scratch` has it.
        #[arg(long, value_name = "SCRATCH")]
        confirm_target: Option<String>,
        /// Leaves the restored foundation as it is.
        #[arg(long)]
        keep: bool,
        /// Prints JSON.
        #[arg(long)]
        json: bool,
    },
    /// Deletes everything that a drill left in the scratch foundation. Safe to repeat.
    ///
    /// Works on no Ops Manager but one that a drill was begun on, and deletes nothing while its director
    /// could still refer to the original's VMs.
    #[command(after_help = help!("  lifeboat --config drill.yml drill-cleanup --confirm-target scratch-1"))]
    DrillCleanup {
        /// The scratch foundation's name once more, as `drill.scratch` has it.
        #[arg(long, value_name = "SCRATCH")]
        confirm_target: Option<String>,
    },
    /// Keeps the data of a backup on the instances of a standby, ahead of a restore.
    ///
    /// A restore then sends only what changed since. Each run sends what differs from the one before,
    /// and a run that was cut off is gone on with. Locks nothing; runs at low priority; never fills a
    /// disk. Needs `recovery_identity`, and --confirm-target as a restore does.
    #[command(after_help = help!("  lifeboat --config standby.yml stage tas deployment/redis latest --confirm-target prod-east\n  lifeboat --config standby.yml stage tas --remove --confirm-target prod-east"))]
    Stage(stage::Asked),
    /// Drops backups that the retention does not keep, and sweeps what was dropped before the grace.
    ///
    /// Needs `retention` in the configuration, and the right to delete in every store. Says for each
    /// backup why it stays or goes.
    #[command(after_help = help!("  lifeboat --config prod.yml prune --dry-run"))]
    Prune {
        /// Says what would be dropped and freed, now and later, and changes nothing.
        #[arg(long)]
        dry_run: bool,
        /// Prints JSON.
        #[arg(long)]
        json: bool,
    },
    /// Reports on all backups: what would be lost now, proofs, downtime, copies, what is not covered.
    ///
    /// Prints tables, and writes the same as one page (no network, no script), as JSON and as
    /// OpenMetrics text. FILE may be `-` for standard output. That something is wrong does not fail
    /// it: `lifeboat alerts` is for that.
    #[command(after_help = help!("  lifeboat --config prod.yml report --html report.html --metrics metrics.txt"))]
    Report {
        /// Writes the page.
        #[arg(long, value_name = "FILE")]
        html: Option<PathBuf>,
        /// Writes JSON; docs/reports.md explains its fields.
        #[arg(long, value_name = "FILE")]
        json: Option<PathBuf>,
        /// Writes OpenMetrics text; docs/reports.md lists the metrics.
        #[arg(long, value_name = "FILE")]
        metrics: Option<PathBuf>,
        /// Also puts report.html, report.json and metrics.txt into every store, over those of before.
        #[arg(long)]
        to_store: bool,
    },
    /// Says for each crossed threshold what is, and what to do. Exits 3 then, and 0 when all is well.
    ///
    /// The thresholds are `alerts` of the configuration.
    #[command(after_help = help!("  lifeboat --config prod.yml alerts || notify-operators"))]
    Alerts {
        /// Prints JSON.
        #[arg(long)]
        json: bool,
    },
    /// Keeps prune from dropping a backup, whatever the retention says.
    #[command(after_help = help!("  lifeboat --config prod.yml hold 20261122T010203Z-7f3a09bc --why 'audit 2026'"))]
    Hold {
        /// 20261122T010203Z-7f3a09bc, or `latest`.
        #[arg(value_name = "ID")]
        id: String,
        /// Why, for whoever prunes; printed each time.
        #[arg(long, value_name = "TEXT")]
        why: String,
    },
    /// Takes a hold back: the retention counts for this backup again.
    #[command(after_help = help!("  lifeboat --config prod.yml release 20261122T010203Z-7f3a09bc"))]
    Release {
        /// 20261122T010203Z-7f3a09bc, or `latest`.
        #[arg(value_name = "ID")]
        id: String,
    },
    /// Prints the release and the format it writes.
    #[command(after_help = help!("  lifeboat version"))]
    Version,
}

fn backups(text: &str) -> Result<usize, String> {
    let number = text.parse().ok().filter(|number| *number > 0);
    number.ok_or_else(|| "give a number from 1, or --all in its place".to_owned())
}

/// How the configuration is read for a command; `None` without one.
pub(super) fn door(command: &Command) -> Option<Door> {
    match command {
        Command::Keygen { .. } | Command::Version => None,
        Command::Backup { .. } => Some(Door::Backup),
        Command::PreBackupCheck { .. } => Some(Door::Precheck),
        Command::Cleanup { .. } => Some(Door::Cleanup),
        Command::List { .. }
        | Command::Recipients { .. }
        | Command::Replicate { .. }
        | Command::Repair { .. }
        | Command::Report { .. }
        | Command::Alerts { .. }
        | Command::Show { .. }
        | Command::Hold { .. }
        | Command::Release { .. } => Some(Door::Read),
        Command::Verify { .. } => Some(Door::Verify),
        Command::Prune { .. } => Some(Door::Prune),
        Command::Inventory { .. } => Some(Door::Inventory),
        Command::Fetch { .. } => Some(Door::Fetch),
        Command::Restore { step, .. } => Some(step.door()),
        Command::DrillCleanup { .. } => Some(Door::Drill(End::OnlyTearDown)),
        Command::Drill { keep: true, .. } => Some(Door::Drill(End::Keep)),
        Command::Drill { .. } => Some(Door::Drill(End::TearDown)),
        Command::RestoreCleanup { .. } => Some(Door::RestoreCleanup),
        Command::Stage(asked) => Some(asked.door()),
    }
}

/// What the arguments say, in the configuration's own keys.
pub(super) fn asked(command: &Command) -> Map<String, Value> {
    let mut keys = Map::new();
    let mut list = |key: &str, items: &[String]| {
        if !items.is_empty() {
            keys.insert(key.to_owned(), items.into());
        }
    };
    match command {
        Command::Backup { components, from } => {
            list("backup", components);
            if let Some(from) = from {
                keys.insert("from".to_owned(), from.as_str().into());
            }
        }
        Command::PreBackupCheck { components, .. } => list("backup", components),
        Command::Cleanup { components, force } | Command::RestoreCleanup { components, force } => {
            list("cleanup", components);
            if *force {
                keys.insert("force".to_owned(), true.into());
            }
        }
        Command::Fetch {
            components,
            artifacts,
            ..
        } => {
            list("components", components);
            list("artifacts", artifacts);
        }
        Command::Restore {
            id,
            confirm_target,
            from,
            ..
        } => {
            let given = [
                ("id", id),
                ("confirm_target", confirm_target),
                ("from", from),
            ];
            for (key, value) in given {
                if let Some(value) = value {
                    keys.insert(key.to_owned(), value.as_str().into());
                }
            }
        }
        Command::Drill {
            id, confirm_target, ..
        } => {
            for (key, value) in [("id", id), ("confirm_target", confirm_target)] {
                if let Some(value) = value {
                    keys.insert(key.to_owned(), value.as_str().into());
                }
            }
        }
        Command::Stage(asked) => asked.keys(&mut keys),
        Command::DrillCleanup { confirm_target } => {
            if let Some(name) = confirm_target {
                keys.insert("confirm_target".to_owned(), name.as_str().into());
            }
        }
        Command::Verify { asked, .. } => keys.extend(asked.keys()),
        Command::Keygen { .. }
        | Command::List { .. }
        | Command::Prune { .. }
        | Command::Hold { .. }
        | Command::Release { .. }
        | Command::Recipients { .. }
        | Command::Inventory { .. }
        | Command::Replicate { .. }
        | Command::Repair { .. }
        | Command::Report { .. }
        | Command::Alerts { .. }
        | Command::Show { .. }
        | Command::Version => {}
    }
    keys
}
