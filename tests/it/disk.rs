//! Runs that must not write to the worker's disk and must stay small: the small version of
//! `benches/memory`, in which every file system is mounted read-only.

use std::path::Path;
use std::process::Command;

use crate::support::foundation::path_with_tools;
use crate::support::process::program;

#[test]
fn a_run_writes_to_no_disk_and_stays_below_256_mib() {
    let bench = Path::new(env!("CARGO_MANIFEST_DIR")).join("benches/memory");
    let output = Command::new(bench)
        .args(["--artifact", "256M", "--files", "5000", "--budget", "256M"])
        .args([
            "--only",
            "^put large$|^put many$|^check$|trace",
            "--programs",
        ])
        .arg(program("out").parent().unwrap())
        .env("PATH", path_with_tools())
        .output()
        .unwrap();
    assert!(
        output.status.success(),
        "{}{}",
        String::from_utf8_lossy(&output.stdout),
        String::from_utf8_lossy(&output.stderr)
    );
}
