//! The seven scripts of the BBR contract: names, paths, environment.

use std::fmt;

/// One of the scripts that a job may bring in its `bin/bbr` directory.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Script {
    /// Prints the job's metadata; run in every discovery.
    Metadata,
    /// Locks the job before the backup.
    PreBackupLock,
    /// Writes the artifact.
    Backup,
    /// Undoes the lock.
    PostBackupUnlock,
    /// Locks the job before the restore.
    PreRestoreLock,
    /// Reads the artifact.
    Restore,
    /// Undoes the lock.
    PostRestoreUnlock,
}

impl Script {
    /// All of them.
    pub const ALL: [Self; 7] = [
        Self::Metadata,
        Self::PreBackupLock,
        Self::Backup,
        Self::PostBackupUnlock,
        Self::PreRestoreLock,
        Self::Restore,
        Self::PostRestoreUnlock,
    ];

    /// Its file name.
    pub fn name(self) -> &'static str {
        match self {
            Self::Metadata => "metadata",
            Self::PreBackupLock => "pre-backup-lock",
            Self::Backup => "backup",
            Self::PostBackupUnlock => "post-backup-unlock",
            Self::PreRestoreLock => "pre-restore-lock",
            Self::Restore => "restore",
            Self::PostRestoreUnlock => "post-restore-unlock",
        }
    }

    /// Reads a path below the jobs directory: `JOB/bin/bbr/NAME`, nothing deeper, no other
    /// name.
    pub fn parse(path: &str) -> Option<(&str, Self)> {
        let mut parts = path.split('/');
        let (job, bin, bbr, name) = (parts.next()?, parts.next()?, parts.next()?, parts.next()?);
        if parts.next().is_some() || job.is_empty() || bin != "bin" || bbr != "bbr" {
            return None;
        }
        let script = Self::ALL.into_iter().find(|script| script.name() == name)?;
        Some((job, script))
    }
}

impl fmt::Display for Script {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

/// Which way the data goes; it decides which lock list of the metadata counts.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Direction {
    /// From the instances.
    Backup,
    /// To the instances.
    Restore,
}

impl Direction {
    /// The script that locks.
    pub fn lock(self) -> Script {
        match self {
            Self::Backup => Script::PreBackupLock,
            Self::Restore => Script::PreRestoreLock,
        }
    }

    /// The script that moves the data.
    pub fn work(self) -> Script {
        match self {
            Self::Backup => Script::Backup,
            Self::Restore => Script::Restore,
        }
    }

    /// The script that unlocks.
    pub fn unlock(self) -> Script {
        match self {
            Self::Backup => Script::PostBackupUnlock,
            Self::Restore => Script::PostRestoreUnlock,
        }
    }

    /// The other one.
    #[must_use]
    pub fn other(self) -> Self {
        match self {
            Self::Backup => Self::Restore,
            Self::Restore => Self::Backup,
        }
    }

    /// The command that mends what a killed run of this direction left.
    pub fn cleanup(self) -> &'static str {
        match self {
            Self::Backup => "cleanup",
            Self::Restore => "restore-cleanup",
        }
    }

    /// The variables of the unlock script: only that of a backup learns how it went.
    pub fn unlock_environment(self, successful: bool) -> Vec<(String, String)> {
        match self {
            Self::Backup => vec![(
                "BBR_AFTER_BACKUP_SCRIPTS_SUCCESSFUL".to_owned(),
                successful.to_string(),
            )],
            Self::Restore => Vec::new(),
        }
    }
}

impl fmt::Display for Direction {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Backup => "backup",
            Self::Restore => "restore",
        })
    }
}

/// Jobs whose scripts bbr ignores, and so we: the databases of old releases that must not be
/// backed up this way (facts: weakness 46).
pub(super) fn is_ignored_job(job: &str) -> bool {
    matches!(job, "mysql-backup" | "mysql-restore")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_the_seven_names_right_below_bin_bbr_are_scripts() {
        for script in Script::ALL {
            let path = format!("redis/bin/bbr/{script}");
            assert_eq!(Script::parse(&path), Some(("redis", script)));
        }
        for path in [
            "redis/bin/bbr/foo",
            "redis/bin/bbr/sub/backup",
            "redis/bin/sub/bbr/backup",
            "redis/bin/backup",
            "/bin/bbr/backup",
            "redis/bin/bbr/",
        ] {
            assert_eq!(Script::parse(path), None, "{path}");
        }
    }
}
