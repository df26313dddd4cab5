//! What the deployment manifest says about a job: its release, and whether one of its
//! instances backs up for all.

use super::yaml::{self, Node};

/// A deployment manifest, of version 2 (`instance_groups`) or 1 (`jobs` and `templates`).
#[derive(Debug)]
pub(super) struct DeploymentManifest(Node);

impl DeploymentManifest {
    /// Reads the director's text.
    ///
    /// # Errors
    /// One sentence when it is not YAML.
    pub(super) fn parse(text: &str) -> Result<Self, String> {
        let node = yaml::first_document(text)
            .map_err(|error| format!("the deployment manifest is not YAML ({error})"))?;
        Ok(Self(node.unwrap_or(Node::Null)))
    }

    /// The release of a job in a group; `None` when the manifest does not name it, as with
    /// add-on jobs of a runtime config.
    ///
    /// # Errors
    /// When it is not a text.
    pub(super) fn release(&self, group: &str, job: &str) -> Result<Option<String>, String> {
        match self.job(group, job).and_then(|job| job.get("release")) {
            None | Some(Node::Null) => Ok(None),
            Some(Node::Text(text)) => Ok(Some(text.clone())),
            Some(other) => Err(format!(
                "the deployment manifest gives {} as release of job {job} in group {group}; \
                 expected a text",
                other.kind()
            )),
        }
    }

    /// The property `bbr.backup_one_restore_all` of a job in a group; absent means false.
    ///
    /// # Errors
    /// When it is not a boolean.
    pub(super) fn backup_one_restore_all(&self, group: &str, job: &str) -> Result<bool, String> {
        let owner = match self.0.get("instance_groups") {
            Some(_) => self.job(group, job),
            None => self.0.get("jobs").and_then(|jobs| jobs.named(group)),
        };
        let value = owner
            .and_then(|owner| owner.get("properties"))
            .and_then(|properties| properties.get("bbr"))
            .and_then(|bbr| bbr.get("backup_one_restore_all"));
        match value {
            None | Some(Node::Null) => Ok(false),
            Some(Node::Bool(value)) => Ok(*value),
            Some(other) => Err(format!(
                "the property bbr.backup_one_restore_all of job {job} in group {group} is {}; \
                 write true or false without quotes in the deployment manifest",
                other.kind()
            )),
        }
    }

    fn job(&self, group: &str, job: &str) -> Option<&Node> {
        let (groups, jobs) = match self.0.get("instance_groups") {
            Some(groups) => (groups, "jobs"),
            None => (self.0.get("jobs")?, "templates"),
        };
        groups.named(group)?.get(jobs)?.named(job)
    }
}

/// An instance group of a deployment manifest.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DeployedGroup {
    /// Its name.
    pub name: String,
    /// How many instances it has.
    pub instances: usize,
    /// Whether they keep anything on a persistent disk.
    pub persistent_disk: bool,
}

/// The groups of a deployment, errands left out; what cannot be read is nothing.
pub fn deployed_groups(manifest: &str) -> Vec<DeployedGroup> {
    let Ok(manifest) = DeploymentManifest::parse(manifest) else {
        return Vec::new();
    };
    let groups = manifest.0.get("instance_groups").or(manifest.0.get("jobs"));
    let Some(Node::List(groups)) = groups else {
        return Vec::new();
    };
    let text = |node: Option<&Node>| match node {
        Some(Node::Text(text)) => Some(text.clone()),
        _ => None,
    };
    let disks = [
        "persistent_disk",
        "persistent_disk_type",
        "persistent_disk_pool",
        "persistent_disks",
    ];
    let groups = groups.iter().filter_map(|group| {
        if text(group.get("lifecycle")).as_deref() == Some("errand") {
            return None;
        }
        let mut given = disks.iter().filter_map(|key| group.get(key));
        let disk = given.any(|disk| match disk {
            Node::Null => false,
            Node::Number(size) => size != "0",
            _ => true,
        });
        let instances = match group.get("instances") {
            Some(Node::Number(count)) => count.parse().unwrap_or_default(),
            _ => 0,
        };
        Some(DeployedGroup {
            name: text(group.get("name"))?,
            instances,
            persistent_disk: disk,
        })
    });
    groups.collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    const V2: &str = "
instance_groups:
- name: g
  jobs:
  - {name: j, release: r, properties: {bbr: {backup_one_restore_all: yes}}}
  - {name: k, release: 7}
  - {name: l, release: r, properties: {bbr: {backup_one_restore_all: \"true\"}}}
  - {name: m, release: r, properties: }
  - {name: twice, release: a}
  - {name: twice, release: b}
  properties: {bbr: {backup_one_restore_all: true}}
- {name: h}
";
    const V1: &str = "
jobs:
- name: g
  templates: [{name: j, release: r}]
  properties: {bbr: {backup_one_restore_all: true}}
- {name: h, templates: [{name: j, release: q}]}
";

    #[test]
    fn version_2_is_read_at_the_job() {
        let manifest = DeploymentManifest::parse(V2).unwrap();
        assert_eq!(manifest.release("g", "j"), Ok(Some("r".to_owned())));
        assert_eq!(manifest.backup_one_restore_all("g", "j"), Ok(true));
        assert_eq!(manifest.backup_one_restore_all("g", "m"), Ok(false));
        for (group, job) in [("g", "x"), ("x", "j"), ("h", "j"), ("g", "twice")] {
            assert_eq!(manifest.release(group, job), Ok(None));
            assert_eq!(manifest.backup_one_restore_all(group, job), Ok(false));
        }
    }

    #[test]
    fn version_1_is_read_at_the_group() {
        let manifest = DeploymentManifest::parse(V1).unwrap();
        assert_eq!(manifest.release("h", "j"), Ok(Some("q".to_owned())));
        assert_eq!(manifest.backup_one_restore_all("g", "j"), Ok(true));
        assert_eq!(manifest.backup_one_restore_all("g", "other"), Ok(true));
        assert_eq!(manifest.backup_one_restore_all("h", "j"), Ok(false));
    }

    #[test]
    fn groups_have_counts_and_disks() {
        let of = |text: &str| {
            let found = deployed_groups(text).into_iter();
            let each = found.map(|g| format!("{} {} {}", g.name, g.instances, g.persistent_disk));
            each.collect::<Vec<_>>()
        };
        let two = "{instance_groups: [{name: a, instances: 3, persistent_disk: 10}, \
                   {name: b, instances: 1, persistent_disk: 0}, {name: c, persistent_disk_type: x}, \
                   {name: d, lifecycle: errand, instances: 1}]}";
        assert_eq!(of(two), ["a 3 true", "b 1 false", "c 0 true"]);
        assert_eq!(of("jobs: [{name: a, instances: 2}]"), ["a 2 false"]);
        assert_eq!(of("a: ["), Vec::<String>::new());
    }

    #[test]
    fn wrong_types_are_errors_and_no_crash() {
        let manifest = DeploymentManifest::parse(V2).unwrap();
        assert!(manifest.release("g", "k").unwrap_err().contains("a number"));
        let error = manifest.backup_one_restore_all("g", "l").unwrap_err();
        assert!(error.contains("without quotes"), "{error}");
        assert!(DeploymentManifest::parse("a: [").is_err());
        let empty = DeploymentManifest::parse("").unwrap();
        assert_eq!(empty.release("g", "j"), Ok(None));
    }
}
