//! The manual tells all.

use lifeboat::{cli, config};

const README: &str = include_str!(concat!(env!("CARGO_MANIFEST_DIR"), "/README.md"));

#[test]
fn every_key_is_in_the_manual() {
    let mut missing = Vec::new();
    for (section, key) in config::known_keys() {
        let shown = match section {
            "" => format!("`{key}`"),
            section => format!("`{section}.{key}`"),
        };
        if !README.contains(&shown) {
            missing.push(shown);
        }
    }
    assert!(missing.is_empty(), "not in README.md: {missing:?}");
}

#[test]
fn every_command_is_in_the_manual() {
    for command in cli::commands() {
        assert!(
            README.contains(&format!("`lifeboat {command}")),
            "{command}"
        );
    }
}

#[test]
fn every_help_has_an_example_and_the_exit_codes() {
    for command in cli::commands() {
        let run = crate::support::process::cli(&[&command, "--help"], &[]);
        assert!(run.stdout.contains("Example:\n  "), "{command}");
        assert!(run.stdout.contains("4 a human is needed"), "{command}");
    }
}
