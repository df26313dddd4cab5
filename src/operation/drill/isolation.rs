//! Proof that what is worked on is the scratch foundation, and that it cannot reach the original.
//!
//! The director's address and, once it is restored, its UUID are the original's, so neither tells
//! them apart. The chain is: the Ops Manager VM is scratch (its note); what that VM sees at the
//! director's address is scratch, because nothing answered there before this drill deployed a
//! director; and the worker must see the same SSH host key there as that VM does. A worker that is
//! led to the original's director sees another one.

use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context as _, Result, bail, ensure};

use super::super::Context;
use super::super::discovery::{self, Rights};
use super::super::settings::{Component, Settings};
use super::marker::Marker;
use crate::foundation::{Aim, Foundation};
use crate::http::{self, Cause, Client, Request, Url, Wait};
use crate::remote::{Command, Remote};

/// How long something that should not answer is waited for.
const KNOCK: Duration = Duration::from_secs(5);
/// Kinds of host keys, the preferred first.
const KINDS: [&str; 3] = ["ssh-ed25519", "ecdsa-sha2-nistp256", "ssh-rsa"];

/// Refuses when the original's Ops Manager answers, the worker or the scratch foundation's own VM.
/// Says what was looked at.
pub(super) fn original_is_silent(
    context: &Context,
    settings: &Settings,
    original: &str,
    inside: &dyn Remote,
) -> Result<String> {
    if original.is_empty() {
        return Ok("the backup does not say where the original's Ops Manager is".to_owned());
    }
    let target = discovery::client(context, settings)?.name().to_owned();
    if original == target {
        return Ok(format!(
            "the scratch foundation's Ops Manager has the original's address {original}; its VM carries the drill's note"
        ));
    }
    let (host, port) = place(original, 443);
    let stop = "Nothing was done: separate the networks, and use a worker that reaches the scratch foundation alone";
    ensure!(
        !answers(context, inside, &host, port)?,
        "isolation: STOP, the original's Ops Manager at {original} answers the scratch foundation's own VM: its VMs, once restored, would reach the original and what it talks to. {stop}"
    );
    ensure!(
        !answers_worker(context, settings, original)?,
        "isolation: STOP, the original's Ops Manager at {original} answers this worker, which would reach the original's director at the scratch director's address. {stop}"
    );
    Ok(format!(
        "the original's Ops Manager at {original} answers neither this worker nor the scratch foundation"
    ))
}

/// Refuses when anything answers where the director will be, before there can be one.
pub(super) fn director_is_silent(
    context: &Context,
    settings: &Settings,
    inside: &dyn Remote,
) -> Result<()> {
    for (what, host, port) in places(context, settings)? {
        ensure!(
            !answers(context, inside, &host, port)?,
            "isolation: STOP, {what} at {host}:{port} answers the scratch foundation's own VM, though no director was deployed here yet: it is the original's. Nothing was applied; separate the networks"
        );
    }
    Ok(())
}

/// Proves that the director which the worker reaches is the one that the scratch foundation's own
/// VM reaches, and that this is the one which the drill deployed. Gives its host key.
pub(super) fn director_is_scratch(
    context: &Context,
    settings: &Settings,
    inside: &dyn Remote,
    marker: &Marker,
) -> Result<String> {
    let mut foundation = discovery::find(context, settings, &[Component::Director], Rights::All)?
        .settings
        .foundation;
    let director = foundation
        .director
        .as_mut()
        .context("Ops Manager names no director")?;
    let (host, port) = (director.host.clone(), director.port);
    let Some(key) = host_key(context, inside, &host, port)? else {
        bail!(
            "isolation: STOP, the scratch foundation's own VM finds no SSH server at the director's address {host}:{port}; whoever answers this worker there is not its director. Nothing was done; look at the director's VM, then run the drill again"
        );
    };
    if let Some(known) = &marker.director_host_key {
        ensure!(
            *known == key,
            "isolation: STOP, the director at {host}:{port} is not the one that this drill deployed: its SSH host key is another. Nothing was done; separate the networks, or, where the director's VM was made anew on purpose, tear the drill down and begin again"
        );
    }
    director.host_key = Some(key.clone());
    let reach = Foundation::new(
        foundation,
        "",
        Arc::clone(&context.monitor),
        Arc::clone(&context.mask),
    );
    match reach.reach(&Aim::Director, &context.shutdown) {
        Ok(reached) => {
            for problem in reached.close() {
                context.monitor.warn(&problem);
            }
            Ok(key)
        }
        Err(error) => {
            context.shutdown.check()?;
            bail!(
                "isolation: STOP, at the director's address {host}:{port} this worker does not meet the director that the scratch foundation's own VM meets ({error}): it may be led to the original's. Nothing was done; use a worker that reaches the scratch foundation alone"
            )
        }
    }
}

/// The settings with the director's host key pinned: no step speaks SSH to another one.
pub(super) fn pinned(settings: &Settings, key: &str) -> Settings {
    let mut settings = settings.clone();
    settings.foundation.given.director_host_key = Some(key.to_owned());
    settings
}

/// Where the director's SSH and API are, as Ops Manager tells.
fn places(context: &Context, settings: &Settings) -> Result<Vec<(&'static str, String, u16)>> {
    let found = discovery::find(context, settings, &[Component::Director], Rights::All)?;
    let foundation = found.settings.foundation;
    let mut places = Vec::new();
    if let Some(director) = foundation.director {
        places.push(("an SSH server", director.host, director.port));
    }
    if let Some(api) = foundation.bosh {
        places.push(("a Director", api.host, api.port));
    }
    ensure!(
        !places.is_empty(),
        "Ops Manager names no address of the director; nothing was applied"
    );
    Ok(places)
}

fn place(text: &str, usual: u16) -> (String, u16) {
    let parsed = text
        .rsplit_once(':')
        .and_then(|(host, port)| Some((host.to_owned(), port.parse().ok()?)));
    let (host, port) = parsed.unwrap_or_else(|| (text.to_owned(), usual));
    let bare = host.trim_start_matches('[').trim_end_matches(']');
    (bare.to_owned(), port)
}

/// Whether anything takes a connection there, seen from a VM.
fn answers(context: &Context, inside: &dyn Remote, host: &str, port: u16) -> Result<bool> {
    let script = r#"timeout "$3" bash -c 'exec 3<>"/dev/tcp/$1/$2"' bash "$1" "$2""#;
    let seconds = KNOCK.as_secs().to_string();
    let port = port.to_string();
    let command = Command::as_root(
        "looking whether the original answers",
        ["bash", "-c", script, "bash", host, &port, &seconds],
    )
    .as_login_user();
    let output = inside
        .run(&command, &context.shutdown)
        .context("the Ops Manager VM")?;
    match output.exit.status {
        0 => Ok(true),
        // Refused or unknown; timed out.
        1 | 124 => Ok(false),
        status => bail!(
            "the Ops Manager VM cannot tell whether {host}:{port} answers (status {status}): {}; nothing was done",
            output.exit.stderr
        ),
    }
}

/// Whether an HTTPS server answers the worker there, whoever it is.
fn answers_worker(context: &Context, settings: &Settings, place: &str) -> Result<bool> {
    let given = settings.foundation.ops_manager.as_ref();
    let proxy = given.and_then(|given| given.https_proxy.as_ref());
    let client = Client::new(
        http::Settings {
            // Nothing is sent to whoever answers but the question for a page.
            skip_validation: true,
            connect_timeout: KNOCK,
            response_timeout: KNOCK,
            proxy: proxy.map_or(http::Proxy::Direct, |proxy| http::Proxy::Server {
                url: proxy.url.clone(),
                except: proxy.no_proxy.clone(),
            }),
            ..http::Settings::default()
        },
        Arc::clone(&context.monitor),
    )?;
    let url = Url::parse(&format!("https://{place}/"))
        .with_context(|| format!("the backup's record has no usable address {place}"))?;
    let wait = Wait::unless(&context.shutdown).no_longer_than(KNOCK * 2);
    match client.send(&Request::new(http::Method::Get, url), &wait) {
        Ok(_) => Ok(true),
        Err(http::Error::Stopped(stopped)) => Err(stopped.into()),
        Err(http::Error::Deadline { .. }) => Ok(false),
        Err(http::Error::Unreachable { cause, .. }) => Ok(!matches!(
            cause,
            Cause::Refused
                | Cause::UnknownName
                | Cause::NoRoute
                | Cause::ConnectTimeout
                | Cause::Proxy(_)
                | Cause::Forward(_)
        )),
        // It took a connection.
        Err(_) => Ok(true),
    }
}

/// The best host key that a VM is shown there; `None` where no SSH server answers.
fn host_key(
    context: &Context,
    inside: &dyn Remote,
    host: &str,
    port: u16,
) -> Result<Option<String>> {
    let seconds = KNOCK.as_secs().to_string();
    let port = port.to_string();
    let command = Command::as_root(
        "looking at the director's host key",
        [
            "ssh-keyscan",
            "-T",
            &seconds,
            "-p",
            &port,
            "-t",
            "ed25519,ecdsa,rsa",
            host,
        ],
    )
    .as_login_user();
    let output = inside
        .run(&command, &context.shutdown)
        .context("the Ops Manager VM")?;
    ensure!(
        output.exit.status != 127,
        "the Ops Manager VM has no ssh-keyscan, which tells the scratch foundation's director from the original's; nothing was done"
    );
    Ok(best(&String::from_utf8_lossy(&output.stdout)))
}

/// Of what `ssh-keyscan` prints.
fn best(scanned: &str) -> Option<String> {
    let keys: Vec<_> = scanned
        .lines()
        .filter(|line| !line.starts_with('#'))
        .filter_map(|line| {
            let mut words = line.split_whitespace().skip(1);
            Some((words.next()?, words.next()?))
        })
        .collect();
    KINDS.iter().find_map(|kind| {
        let (kind, key) = keys.iter().find(|(found, _)| found == kind)?;
        Some(format!("{kind} {key}"))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_best_host_key_is_taken_from_what_was_scanned() {
        let scanned = "# 10.0.0.5:22 SSH-2.0-OpenSSH\n10.0.0.5 ssh-rsa AAAAB3\n[10.0.0.5]:2222 ssh-ed25519 AAAAC3\n";
        assert_eq!(best(scanned).as_deref(), Some("ssh-ed25519 AAAAC3"));
        assert_eq!(
            best("h ssh-rsa AAAAB3\n").as_deref(),
            Some("ssh-rsa AAAAB3")
        );
        assert_eq!(best("# nothing\n\n"), None);
    }

    #[test]
    fn an_address_has_its_port_or_the_usual_one() {
        for (text, host, port) in [
            ("opsman.example.com", "opsman.example.com", 443),
            ("10.0.0.2:8443", "10.0.0.2", 8443),
            ("[fd00::2]", "fd00::2", 443),
            ("[fd00::2]:8443", "fd00::2", 8443),
        ] {
            assert_eq!(place(text, 443), (host.to_owned(), port), "{text}");
        }
    }
}
