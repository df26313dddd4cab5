//! Directories that a task was to make, and cleanups of what is not there.

use std::fs;

use serde_json::json;

use super::table::Table;
use crate::support::process::resource;

#[test]
fn a_directory_to_store_that_is_none() {
    let mut table = Table::new(&json!({"fixture": "S1"}));
    let inputs = table.scene.scratch.path().join("inputs");
    fs::create_dir_all(inputs.join("empty")).unwrap();
    fs::write(inputs.join("file"), "x").unwrap();
    std::os::unix::fs::symlink("/etc", inputs.join("outside")).unwrap();
    for (from, sentence) in [
        (
            "missing",
            "params.from: is not a directory; the put's inputs are: empty, file, outside",
        ),
        (
            "empty",
            "from: … it is empty: nothing is stored, so that nobody takes it for a backup",
        ),
        (
            "file",
            "params.from: is not a directory; the put's inputs are: empty, file, outside",
        ),
        (
            "../inputs",
            "params.from: must lie within the put's inputs: NAME or NAME/PATH, without a leading slash and `..`",
        ),
        (
            "/etc",
            "params.from: must lie within the put's inputs: NAME or NAME/PATH, without a leading slash and `..`",
        ),
        (
            "outside",
            "params.from: leads out of the put's inputs through a symbolic link; give the directory itself",
        ),
    ] {
        let request = table
            .scene
            .put_request(&json!({"from": from, "backup": ["deployment/dep"]}));
        let ended = resource("out", Some(&inputs), Some(from), &request);
        table.refused(from, &ended, sentence);
        table.clean(from);
    }
    table.end(6);
}

#[test]
fn a_cleanup_of_what_is_not_there() {
    let mut table = Table::new(&json!({"fixture": "S1"}));
    let ended = table.scene.put(&json!({"cleanup": ["deployment/cf-9"]}));
    table.refused("an unknown deployment", &ended, "deployment/cf-9: the BOSH Director at … does not know deployment `cf-9`: {\"code\": 70000, \"description\": \"Deployment 'cf-9' doesn't exist\"}; compare with `bosh deployments`. State: nothing was mended. To mend it: look at the first cause, then lifeboat cleanup deployment/cf-9");
    let ended = table.scene.put(
        &json!({"cleanup": ["deployment/dep"], "bosh": {"client_secret": "wrong-secret-0815"}}),
    );
    table.refused("a wrong secret", &ended, "deployment/dep: the BOSH Director at … refused the VMs of `dep` with status 401: Not authorized: '/deployments/dep/vms'; check the client, its secret and its authorities. State: nothing was mended. To mend it: look at the first cause, then lifeboat cleanup deployment/dep");
    table.clean("cleanups");
    table.end(2);
}
