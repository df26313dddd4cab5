//! `bosh-state.json` on the Ops Manager VM: what names the director's VM. Reads it, moves it
//! aside, and judges whose director it names.

use anyhow::{Result, anyhow, bail, ensure};
use serde::Deserialize;

use crate::operation::vm_file;
use crate::remote::{Command, Remote};
use crate::shutdown::Shutdown;

/// Where Ops Manager keeps it.
pub(in crate::operation) const DIRECTORY: &str = "/var/tempest/workspaces/default/deployments";
const NAME: &str = "bosh-state.json";
/// How copies are called: this and the time.
const COPY: &str = "bosh-state.json.lifeboat-";

/// What such a file says, as far as it counts here.
#[derive(Debug, Clone, Default, PartialEq, Eq, Deserialize)]
pub(in crate::operation) struct State {
    /// What the IaaS calls the director's VM.
    #[serde(default)]
    pub(in crate::operation) current_vm_cid: Option<String>,
}

impl State {
    fn vm(&self) -> Option<&str> {
        self.current_vm_cid.as_deref().filter(|cid| !cid.is_empty())
    }
}

/// What lies on the Ops Manager VM.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(in crate::operation) struct Found {
    /// The file itself.
    pub(in crate::operation) state: Option<State>,
    /// Copies of ours with their names, oldest first.
    pub(in crate::operation) copies: Vec<(String, State)>,
}

/// Whose director `bosh-state.json` names.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(in crate::operation) enum Names {
    /// There is no file.
    Nothing,
    /// The one that was imported: the director of the foundation that was backed up.
    Imported(String),
    /// Another one: the director that this Ops Manager deployed since, or none yet.
    Another(Option<String>),
}

impl Found {
    /// Whose director the file names. `recorded` is the VM that the backup's record names.
    pub(in crate::operation) fn names(&self, recorded: Option<&str>) -> Names {
        let Some(state) = &self.state else {
            return Names::Nothing;
        };
        let Some(vm) = state.vm() else {
            return Names::Another(None);
        };
        let copied = || self.copies.iter().filter_map(|(_, copy)| copy.vm());
        let imported = match recorded {
            Some(recorded) => vm == recorded || copied().any(|copy| copy == vm),
            // Without a record, what was there first counts as imported.
            None => self.copies.is_empty() || copied().any(|copy| copy == vm),
        };
        if imported {
            Names::Imported(vm.to_owned())
        } else {
            Names::Another(Some(vm.to_owned()))
        }
    }
}

/// Looks at the file and its copies.
pub(in crate::operation) fn look(remote: &dyn Remote, shutdown: &Shutdown) -> Result<Found> {
    let Some(text) = read(remote, NAME, shutdown)? else {
        return Ok(Found {
            state: None,
            copies: copies(remote, shutdown)?,
        });
    };
    let state = serde_json::from_slice(&text).map_err(|_may_quote_it| {
        anyhow!("{DIRECTORY}/{NAME} on the Ops Manager VM is not JSON; look at it before anything is applied")
    })?;
    Ok(Found {
        state: Some(state),
        copies: copies(remote, shutdown)?,
    })
}

/// Moves the file aside, in one step: whatever happens, it is there under one of its names.
/// Returns the copy's path.
pub(in crate::operation) fn move_aside(
    remote: &dyn Remote,
    time: &str,
    shutdown: &Shutdown,
) -> Result<String> {
    let (from, to) = (
        format!("{DIRECTORY}/{NAME}"),
        format!("{DIRECTORY}/{COPY}{time}"),
    );
    let script = r#"if [ -e "$2" ]; then exit 45; fi; mv -- "$1" "$2" && sync"#;
    let command = Command::as_root(
        "moving bosh-state.json aside",
        ["sh", "-c", script, "sh", &from, &to],
    );
    let output = remote.run(&command, shutdown)?;
    ensure!(
        output.exit.ok(),
        "{from} on the Ops Manager VM cannot be moved to {to} (status {}): {}",
        output.exit.status,
        output.exit.stderr
    );
    Ok(to)
}

fn copies(remote: &dyn Remote, shutdown: &Shutdown) -> Result<Vec<(String, State)>> {
    let command = Command::as_root(
        "listing copies of bosh-state.json",
        ["ls", "-1", "--", DIRECTORY],
    );
    let output = remote.run(&command, shutdown)?;
    if !output.exit.ok() {
        bail!(
            "{DIRECTORY} on the Ops Manager VM cannot be listed: {}; check that this is an Ops Manager and that the user may use sudo",
            output.exit.stderr
        );
    }
    let listed = String::from_utf8_lossy(&output.stdout).into_owned();
    let mut names: Vec<_> = listed
        .lines()
        .filter(|name| name.starts_with(COPY))
        .collect();
    names.sort_unstable();
    let mut found = Vec::new();
    for name in names {
        let text = read(remote, name, shutdown)?.unwrap_or_default();
        // A copy that cannot be read still shows that there was one.
        found.push((
            name.to_owned(),
            serde_json::from_slice(&text).unwrap_or_default(),
        ));
    }
    Ok(found)
}

fn read(remote: &dyn Remote, name: &str, shutdown: &Shutdown) -> Result<Option<Vec<u8>>> {
    let path = format!("{DIRECTORY}/{name}");
    vm_file::read(remote, "reading bosh-state.json", &path, shutdown)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn state(vm: &str) -> State {
        State {
            current_vm_cid: Some(vm.to_owned()),
        }
    }

    fn found(vm: Option<&str>, copies: &[&str]) -> Found {
        Found {
            state: vm.map(state),
            copies: copies
                .iter()
                .map(|vm| ("c".to_owned(), state(vm)))
                .collect(),
        }
    }

    #[test]
    fn the_imported_file_is_told_from_that_of_a_new_director() {
        let imported = |vm: &str| Names::Imported(vm.to_owned());
        let another = |vm: &str| Names::Another(Some(vm.to_owned()));
        for (there, recorded, expected) in [
            (found(None, &[]), Some("old"), Names::Nothing),
            (found(None, &["old"]), None, Names::Nothing),
            (found(Some("old"), &[]), Some("old"), imported("old")),
            // Somebody removed it by hand and applied changes.
            (found(Some("new"), &[]), Some("old"), another("new")),
            (found(Some("new"), &["old"]), Some("old"), another("new")),
            (found(Some("new"), &["old"]), None, another("new")),
            // Imported a second time.
            (found(Some("old"), &["old"]), None, imported("old")),
            (found(Some("old"), &["old"]), Some("other"), imported("old")),
            // Nothing is known: what is there is what was imported.
            (found(Some("any"), &[]), None, imported("any")),
            (found(Some(""), &[]), Some("old"), Names::Another(None)),
        ] {
            assert_eq!(there.names(recorded), expected, "{there:?} {recorded:?}");
        }
    }
}
