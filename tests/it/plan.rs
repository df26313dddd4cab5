//! The restore of a foundation: the plan and its steps, from one simulated foundation into a
//! second, empty one.

mod guards;
mod kills;
mod live;
mod pages;
mod standby;
mod whole;

use std::path::{Path, PathBuf};
use std::process::Command;

use serde_json::{Value, json};

use crate::opsman::guid;
use crate::support::foundation::Foundation;
use crate::support::process::{self, Ended};
use crate::support::scene::{Scene, merge};

/// The steps of a foundation, in order, without those of single deployments.
const STEPS: [&str; 11] = [
    "ops-manager",
    "bosh-state",
    "apply-director",
    "director",
    "references",
    "stemcells",
    "scale-down",
    "apply-tas",
    "tas",
    "scale-up",
    "recreate-instances",
];

/// A foundation with a backup of all of it.
struct Origin {
    scene: Scene,
    id: String,
    /// The service instances that carry scripts.
    saved: Vec<String>,
}

impl Origin {
    fn new() -> Self {
        let scene = crate::opsman::foundation(&json!({"tas": {"mysql": 3, "services": 1}}));
        let deployments = scene.foundation.ready["director"]["deployments"].clone();
        let saved = deployments
            .as_array()
            .unwrap()
            .iter()
            .filter_map(|name| name.as_str())
            .filter(|name| name.starts_with("service-instance_0"))
            .map(str::to_owned)
            .collect();
        let whole = json!({"backup": ["ops-manager", "director", "tas", "service-instances"]});
        let id = scene.put(&whole).ok().id();
        Self { scene, id, saved }
    }

    /// `ops_manager` of this foundation's own Ops Manager, with its VM.
    fn itself(&self) -> Value {
        ops_manager(&self.scene, &self.scene.foundation)
    }
}

/// How an operator reaches an Ops Manager that has this scene's installation, or will have it.
pub fn ops_manager(scene: &Scene, foundation: &Foundation) -> Value {
    let mut config = scene.params["ops_manager"].clone();
    let there = &foundation.ready["opsman"];
    let vm = &there["ssh"];
    let (_, port) = vm["address"].as_str().unwrap().rsplit_once(':').unwrap();
    let key = std::fs::read_to_string(vm["private_key_file"].as_str().unwrap()).unwrap();
    merge(
        &mut config,
        &json!({
            "url": there["url"],
            "ca_cert": foundation.ready["ca_cert"],
            "ssh_username": vm["username"],
            "ssh_port": port.parse::<u16>().unwrap(),
            "ssh_private_key": key,
            "ssh_host_key": vm["host_public_key"],
        }),
    );
    config
}

/// A second foundation, on which nobody has set up anything, and its operator's configuration.
struct Target<'a> {
    origin: &'a Origin,
    foundation: Foundation,
    config: Value,
    mirror: PathBuf,
}

impl<'a> Target<'a> {
    fn new(origin: &'a Origin, more: &Value) -> Self {
        let mut spec = json!({"opsman": {"state": "fresh"}, "postgres": {"rows": 0}});
        merge(&mut spec, more);
        let foundation = Foundation::start(&spec);
        let mirror = tempfile::tempdir_in(origin.scene.scratch.path())
            .unwrap()
            .keep();
        stemcell(&mirror, "bosh-test-ubuntu-jammy-go_agent", "1.500");
        let config = json!({
            "ops_manager": ops_manager(&origin.scene, &foundation),
            "stemcells": mirror,
            "confirm_target": origin.scene.source["foundation"],
            "worker_identity": null,
        });
        Self {
            origin,
            foundation,
            config,
            mirror,
        }
    }

    fn command(&self, step: &str, more: &Value) -> Command {
        let mut config = self.config.clone();
        merge(&mut config, more);
        let arguments = ["restore", step, &self.origin.id];
        self.origin.scene.lifeboat(&arguments, &config)
    }

    /// A step of the restore with these changes of the configuration.
    fn step_with(&self, step: &str, more: &Value) -> Ended {
        process::finish(process::start(self.command(step, more), ""))
    }

    fn step(&self, step: &str) -> Ended {
        self.step_with(step, &json!({}))
    }

    /// The step must succeed, having had something to do.
    #[track_caller]
    fn does(&self, step: &str) -> Ended {
        let ended = self.step(step).ok();
        assert!(
            !ended.stdout.contains("done already"),
            "{step}: {}",
            ended.stdout
        );
        ended
    }

    /// The step must succeed without anything to do.
    #[track_caller]
    fn did(&self, step: &str) -> Ended {
        let ended = self.step(step).ok();
        let begin = format!("restore {step}: done already\n");
        assert!(ended.stdout.starts_with(&begin), "{}", ended.stdout);
        ended
    }

    /// The step must refuse, with these words in its last line.
    #[track_caller]
    fn refuses(&self, step: &str, more: &Value, words: &[&str]) -> String {
        let ended = self.step_with(step, more).fails(1);
        let line = ended.last_line();
        for word in words {
            assert!(line.contains(word), "{step}: {word} is not in {line}");
        }
        line
    }

    /// Runs the steps before this one.
    fn until(&self, step: &str) {
        for before in STEPS.into_iter().take_while(|before| *before != step) {
            self.does(before);
        }
    }

    fn state(&self) -> Value {
        self.foundation.ask(json!({"do": "opsman-state"}))
    }

    /// Nothing was done that Ops Manager forbids, and nothing to another foundation.
    fn assert_careful(&self) {
        let state = self.state();
        assert_eq!(state["violations"], json!([]), "{state}");
        assert_eq!(state["disasters"], json!([]), "{state}");
    }
}

/// A stemcell's tarball in a mirror.
pub fn stemcell(mirror: &Path, name: &str, version: &str) {
    let manifest = format!(
        "---\nname: {name}\nversion: \"{version}\"\nsha1: da39a3ee5e6b4b0d3255bfef95601890afd80709\n\
         operating_system: ubuntu-jammy\napi_version: 3\nbosh_protocol: \"1\"\n\
         stemcell_formats:\n- light\ncloud_properties:\n  root_device_name: /dev/sda1\n"
    );
    let mut builder = tar::Builder::new(Vec::new());
    for (path, content) in [("stemcell.MF", manifest.as_str()), ("image", "an image")] {
        let mut header = tar::Header::new_ustar();
        header.set_size(content.len() as u64);
        header.set_mode(0o644);
        builder
            .append_data(&mut header, path, content.as_bytes())
            .unwrap();
    }
    let plain = builder.into_inner().unwrap();
    let file = std::fs::File::create(mirror.join(format!("{name}-{version}.tgz"))).unwrap();
    let mut packed = flate2::write::GzEncoder::new(file, flate2::Compression::fast());
    std::io::Write::write_all(&mut packed, &plain).unwrap();
    packed.finish().unwrap();
}

/// TAS' deployment.
fn tas(origin: &Origin) -> String {
    guid(&origin.scene, "cf")
}
