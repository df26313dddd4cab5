//! All that the Cloud Controller tells: lists side by side in three rounds, each of which needs
//! names from the one before.

mod rounds;

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError, RwLock};

use anyhow::Result;
use serde::de::DeserializeOwned;

use super::gather::Gathered;
use super::tables::Tables;
use crate::cloud::{CloudController, Error, Row, Settings};
use crate::http::Wait;
use crate::inventory::{Item, Rows};
use crate::operation::Context;
use crate::parallel;

/// Requests side by side: a Cloud Controller has some twenty threads for everybody.
const TOGETHER: usize = 4;
const SOURCE: &str = "cloud-controller";
/// Every kind, and the lists that it is made of.
const MADE_OF: [(&str, &[&str]); 22] = [
    (
        "app",
        &[
            "organizations",
            "spaces",
            "apps",
            "processes",
            "droplets",
            "packages",
        ],
    ),
    ("buildpack", &["buildpacks"]),
    ("domain", &["organizations", "domains"]),
    ("feature-flag", &["feature_flags"]),
    (
        "isolation-segment",
        &["organizations", "spaces", "isolation_segments"],
    ),
    (
        "network-policy",
        &["organizations", "spaces", "apps", "network_policies"],
    ),
    ("org", &["organizations", "organization_quotas"]),
    ("org-quota", &["organization_quotas"]),
    ("role", &["organizations", "spaces", "users", "roles"]),
    ("route", &["organizations", "spaces", "apps", "routes"]),
    (
        "route-binding",
        &[
            "organizations",
            "spaces",
            "apps",
            "routes",
            "service_instances",
            "service_route_bindings",
        ],
    ),
    ("router-group", &["router_groups"]),
    (
        "security-group",
        &["organizations", "spaces", "security_groups"],
    ),
    (
        "service-binding",
        &[
            "organizations",
            "spaces",
            "apps",
            "service_instances",
            "service_credential_bindings",
        ],
    ),
    (
        "service-broker",
        &["organizations", "spaces", "service_brokers"],
    ),
    (
        "service-instance",
        &[
            "organizations",
            "spaces",
            "service_brokers",
            "service_offerings",
            "service_plans",
            "service_instances",
        ],
    ),
    (
        "service-key",
        &[
            "organizations",
            "spaces",
            "service_instances",
            "service_credential_bindings",
        ],
    ),
    (
        "service-offering",
        &["service_brokers", "service_offerings"],
    ),
    (
        "service-plan",
        &["service_brokers", "service_offerings", "service_plans"],
    ),
    ("space", &["organizations", "spaces", "space_quotas"]),
    ("space-quota", &["organizations", "space_quotas"]),
    ("stack", &["stacks"]),
];
/// Every kind.
pub(super) const KINDS: [&str; 22] = {
    let mut kinds = [""; 22];
    let mut at = 0;
    while at < kinds.len() {
        kinds[at] = MADE_OF[at].0;
        at += 1;
    }
    kinds
};

/// Asks for everything. Gives the URL of UAA, when the API answered.
pub(super) fn rows(
    context: &Context,
    gathered: &mut Gathered,
    settings: Settings,
    wait: &Wait,
) -> Result<Option<String>> {
    let opened = CloudController::open(
        settings,
        Arc::clone(&context.monitor),
        Arc::clone(&context.clock),
        Arc::clone(&context.mask),
        wait,
    );
    context.shutdown.check()?;
    let api = match opened {
        Ok(api) => api,
        Err(error) => {
            gathered.lacks(SOURCE, &KINDS, error.to_string());
            return Ok(None);
        }
    };
    gathered.asked(SOURCE, api.name(), api.version());
    let reading = Reading {
        api: &api,
        wait,
        tables: RwLock::default(),
        rows: KINDS.map(|kind| Mutex::new(Rows::of(kind))),
        failed: Mutex::default(),
        broken: AtomicBool::new(false),
    };
    reading.names();
    reading.things();
    reading.bindings();
    context.shutdown.check()?;
    reading.apps();
    context.monitor.debug(&format!(
        "inventory: {} requests to {}",
        api.requests(),
        api.name()
    ));
    let failed = reading
        .failed
        .into_inner()
        .unwrap_or_else(PoisonError::into_inner);
    for ((kind, lists), rows) in MADE_OF.into_iter().zip(reading.rows) {
        let rows = rows.into_inner().unwrap_or_else(PoisonError::into_inner);
        match lists.iter().find_map(|list| failed.get(list)) {
            Some(why) => gathered.lacks(SOURCE, &[kind], why.clone()),
            None => gathered.keep(SOURCE, kind, rows)?,
        }
    }
    Ok(api.uaa().map(ToString::to_string))
}

type Job<'a> = Box<dyn FnOnce() + Send + 'a>;

struct Reading<'a> {
    api: &'a CloudController,
    wait: &'a Wait,
    tables: RwLock<Tables>,
    /// In the order of [`KINDS`].
    rows: [Mutex<Rows>; 22],
    /// Lists that could not be had, and why.
    failed: Mutex<BTreeMap<&'static str, String>>,
    /// The API itself is not there any more: nothing further is asked.
    broken: AtomicBool,
}

impl Reading<'_> {
    fn list<T: Row + DeserializeOwned>(&self, list: &'static str, mut each: impl FnMut(T)) {
        self.ask(list, || self.api.list(list, self.wait, &mut each));
    }

    /// Notes what fails; a refusal is this list's, anything else ends all.
    fn ask(&self, list: &'static str, work: impl FnOnce() -> Result<(), Error>) {
        if self.broken.load(Ordering::Relaxed) || self.wait.shutdown().is_raised() {
            let mut failed = self.failed.lock().unwrap_or_else(PoisonError::into_inner);
            let why = failed.values().next().cloned().unwrap_or_default();
            failed.entry(list).or_insert(why);
            return;
        }
        if let Err(error) = work() {
            if !error.is_refusal() {
                self.broken.store(true, Ordering::Relaxed);
            }
            let mut failed = self.failed.lock().unwrap_or_else(PoisonError::into_inner);
            failed.insert(list, error.to_string());
        }
    }

    fn push(&self, item: &Item) {
        let at = KINDS.iter().position(|kind| *kind == item.kind);
        let rows = &self.rows[at.expect("only kinds of the table are made")];
        rows.lock()
            .unwrap_or_else(PoisonError::into_inner)
            .push(item);
    }

    fn know(&self, learn: impl FnOnce(&mut Tables)) {
        learn(&mut self.tables.write().unwrap_or_else(PoisonError::into_inner));
    }

    fn known<T>(&self, look: impl FnOnce(&Tables) -> T) -> T {
        look(&self.tables.read().unwrap_or_else(PoisonError::into_inner))
    }

    /// Makes an item when all that it refers to is known: what came or went meanwhile is not.
    fn make(&self, item: impl FnOnce(&Tables) -> Option<Item>) {
        if let Some(item) = self.known(item) {
            self.push(&item);
        }
    }

    fn together(jobs: Vec<Job<'_>>) {
        parallel::all(TOGETHER, jobs, |job| job());
    }
}
