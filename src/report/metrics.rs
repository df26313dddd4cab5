//! The report as OpenMetrics text, for Prometheus. `docs/reports.md` lists every metric.

use std::fmt::Write as _;

use super::overview::{Downtime, Overview, Phases};

/// A metric: name without the unit, unit, help.
struct Metric {
    name: &'static str,
    unit: &'static str,
    help: &'static str,
}

/// Samples of one metric: labels and value.
type Samples<'a> = Vec<(Vec<(&'a str, &'a str)>, f64)>;

const fn metric(name: &'static str, unit: &'static str, help: &'static str) -> Metric {
    Metric { name, unit, help }
}

/// The whole exposition, with its `# EOF`.
pub fn text(overview: &Overview) -> String {
    let mut out = Exposition {
        text: String::new(),
        foundation: &overview.foundation,
    };
    whole(overview, &mut out);
    components(overview, &mut out);
    proofs(overview, &mut out);
    downtime(overview, &mut out);
    stores(overview, &mut out);
    rest(overview, &mut out);
    out.text.push_str("# EOF\n");
    out.text
}

fn whole(overview: &Overview, out: &mut Exposition<'_>) {
    let generated = crate::clock::parse_rfc3339(&overview.generated)
        .and_then(|time| time.duration_since(std::time::SystemTime::UNIX_EPOCH).ok());
    out.put(
        &metric(
            "lifeboat_report_timestamp",
            "seconds",
            "When the report was made, in seconds since 1970: ages in it count from then.",
        ),
        vec![(vec![], generated.unwrap_or_default().as_secs_f64())],
    );
    out.put(
        &metric("lifeboat_alerts", "", "Thresholds that are crossed."),
        vec![(vec![], number(overview.alerts.len() as u64))],
    );
    out.put(
        &metric("lifeboat_backups", "", "Committed backups, of any age."),
        vec![(vec![], number(overview.window.listed))],
    );
    out.put(
        &metric(
            "lifeboat_backups_unreadable",
            "",
            "Committed backups whose manifests cannot be read or believed.",
        ),
        vec![(vec![], number(overview.unreadable.len() as u64))],
    );
}

fn components(overview: &Overview, out: &mut Exposition<'_>) {
    let each = |value: fn(&super::overview::Component) -> Option<u64>| -> Samples<'_> {
        let components = overview.components.iter();
        components
            .filter_map(|one| Some((vec![("component", one.name.as_str())], number(value(one)?))))
            .collect()
    };
    out.put(
        &metric(
            "lifeboat_backup_age",
            "seconds",
            "How old the content of the newest complete backup of a component is: what would be lost now.",
        ),
        each(|one| one.age_s),
    );
    out.put(
        &metric("lifeboat_backup_age_limit", "seconds", "How old it may be."),
        each(|one| one.limit_s),
    );
    out.put(
        &metric(
            "lifeboat_backup_copies",
            "",
            "Stores that have the newest complete backup of a component.",
        ),
        each(|one| one.backup.as_ref().map(|_| one.copies)),
    );
    out.put(
        &metric(
            "lifeboat_backup_size",
            "bytes",
            "Plain bytes of a component in its newest complete backup.",
        ),
        each(|one| one.backup.as_ref().map(|_| one.bytes)),
    );
    let newest = overview.backups.first();
    let of_newest = |value: fn(&super::overview::Backup) -> u64| -> Samples<'_> {
        newest
            .map(|one| (vec![], number(value(one))))
            .into_iter()
            .collect()
    };
    for (name, help, value) in [
        (
            "lifeboat_backup_drained",
            "Bytes that the newest backup took from the instances.",
            (|one| one.drained_bytes) as fn(&super::overview::Backup) -> u64,
        ),
        (
            "lifeboat_backup_changed",
            "Plain bytes that no backup before the newest one had.",
            |one| one.changed_bytes,
        ),
        (
            "lifeboat_backup_stored",
            "Sealed bytes that the newest backup added to each store.",
            |one| one.stored_bytes,
        ),
    ] {
        out.put(&metric(name, "bytes", help), of_newest(value));
    }
}

fn proofs(overview: &Overview, out: &mut Exposition<'_>) {
    let mut ages = Vec::new();
    let mut passed_ages = Vec::new();
    let mut results = Vec::new();
    let mut failed = Vec::new();
    for level in &overview.proofs {
        let labels = || vec![("level", level.level.as_str())];
        if let Some(last) = &level.last {
            ages.push((labels(), number(last.age_s)));
            results.push((labels(), number(last.passed.into())));
            failed.push((labels(), number(level.failed.is_some().into())));
        }
        if let Some(passed) = &level.passed {
            passed_ages.push((labels(), number(passed.age_s)));
        }
    }
    out.put(
        &metric(
            "lifeboat_proof_age",
            "seconds",
            "How long ago the newest proof of a level ended, whatever its result.",
        ),
        ages,
    );
    out.put(
        &metric(
            "lifeboat_proof_passed_age",
            "seconds",
            "How long ago the newest proof of a level that was passed ended.",
        ),
        passed_ages,
    );
    out.put(
        &metric(
            "lifeboat_proof_passed",
            "",
            "Whether the newest proof of a level was passed: 1, or 0.",
        ),
        results,
    );
    out.put(
        &metric(
            "lifeboat_proof_failed",
            "",
            "Whether a proof of a level failed and no later one made it good: 1, or 0.",
        ),
        failed,
    );
    let whole = overview.measured().and_then(|drill| drill.rto_ms);
    out.put(
        &metric(
            "lifeboat_drill_rto",
            "seconds",
            "How long the newest drill that passed took to have the foundation back.",
        ),
        whole.map(|ms| (vec![], seconds(ms))).into_iter().collect(),
    );
    let newest = overview.drills.iter().take(1);
    // How soon a step fails says nothing of how long it takes.
    let steps = newest.flat_map(|drill| drill.steps.iter().filter(|step| step.ok));
    out.put(
        &metric(
            "lifeboat_drill_step",
            "seconds",
            "How long each step of the newest drill took that went well.",
        ),
        steps
            .map(|step| (vec![("step", step.name.as_str())], seconds(step.ms)))
            .collect(),
    );
}

fn downtime(overview: &Overview, out: &mut Exposition<'_>) {
    let each = |of: fn(&Downtime) -> Option<&Phases>| -> Samples<'_> {
        let mut samples = Vec::new();
        for one in &overview.downtime {
            let Some(phases) = of(one) else { continue };
            for (phase, ms) in [
                ("lock", phases.lock_ms),
                ("backup", phases.backup_ms),
                ("unlock", phases.unlock_ms),
                ("drain", phases.drain_ms),
            ] {
                let labels = vec![("component", one.component.as_str()), ("phase", phase)];
                samples.push((labels, seconds(ms)));
            }
        }
        samples
    };
    out.put(
        &metric(
            "lifeboat_phase",
            "seconds",
            "How long each phase of a component took in its newest backup; the API is away during lock, backup and unlock.",
        ),
        each(|one| Some(&one.newest)),
    );
    out.put(
        &metric(
            "lifeboat_phase_usual",
            "seconds",
            "The median of the same over up to thirty backups before it.",
        ),
        each(|one| one.usual.as_ref()),
    );
    let seen = overview.downtime.iter().flat_map(|one| {
        one.seen.iter().map(|seen| {
            let labels = vec![
                ("component", one.component.as_str()),
                ("probe", seen.probe.as_str()),
            ];
            (labels, seconds(seen.down_ms))
        })
    });
    out.put(
        &metric(
            "lifeboat_downtime_seen",
            "seconds",
            "How long a page was down in the newest backup of a component, as its probe saw it.",
        ),
        seen.collect(),
    );
    let grown = overview.downtime.iter();
    out.put(
        &metric(
            "lifeboat_downtime_growth",
            "",
            "The newest downtime of a component divided by its usual one.",
        ),
        grown
            .filter_map(|one| Some((vec![("component", one.component.as_str())], one.growth?)))
            .collect(),
    );
}

fn stores(overview: &Overview, out: &mut Exposition<'_>) {
    let each = |value: fn(&super::overview::Store) -> Option<u64>| -> Samples<'_> {
        let stores = overview.stores.iter();
        stores
            .filter_map(|one| Some((vec![("store", one.name.as_str())], number(value(one)?))))
            .collect()
    };
    out.put(
        &metric(
            "lifeboat_store_up",
            "",
            "Whether a store answered: 1, or 0.",
        ),
        each(|one| Some(one.answered.into())),
    );
    out.put(
        &metric(
            "lifeboat_store_backups",
            "",
            "Committed backups in a store that answered.",
        ),
        each(|one| one.answered.then_some(one.backups)),
    );
    out.put(
        &metric(
            "lifeboat_store_missing_backups",
            "",
            "Committed backups in other stores and not in this one.",
        ),
        each(|one| one.answered.then_some(one.missing)),
    );
    out.put(
        &metric(
            "lifeboat_store_bad_objects",
            "",
            "Objects that the newest verification found missing or damaged in a store.",
        ),
        each(|one| one.checked.as_ref().map(|seen| seen.missing + seen.damaged)),
    );
}

fn rest(overview: &Overview, out: &mut Exposition<'_>) {
    let change = overview.change.iter();
    out.put(
        &metric(
            "lifeboat_change_per_day",
            "bytes",
            "Plain bytes that change in a day.",
        ),
        change
            .map(|one| (vec![], number(one.bytes_a_day)))
            .collect(),
    );
    let all = overview.certificates.iter();
    out.put(
        &metric(
            "lifeboat_certificate_first_end",
            "seconds",
            "Seconds until the first certificate of the foundation ends; negative when it has.",
        ),
        all.map(|one| (vec![], signed(one.first_end_in_s)))
            .collect(),
    );
    let classes = overview.coverage.classes.iter();
    out.put(
        &metric(
            "lifeboat_coverage",
            "",
            "Deployments of each class of coverage.",
        ),
        classes
            .map(|(class, many)| (vec![("class", class.as_str())], number(*many)))
            .collect(),
    );
    out.put(
        &metric("lifeboat_holds", "", "Backups that are held."),
        vec![(vec![], number(overview.holds.len() as u64))],
    );
}

struct Exposition<'a> {
    text: String,
    foundation: &'a str,
}

impl Exposition<'_> {
    /// Nothing without a sample: a value that is not known is absent.
    fn put(&mut self, metric: &Metric, samples: Samples<'_>) {
        if samples.is_empty() {
            return;
        }
        let name = match metric.unit {
            "" => metric.name.to_owned(),
            unit => format!("{}_{unit}", metric.name),
        };
        let mut line = |text: std::fmt::Arguments<'_>| {
            // Writing to a text does not fail.
            let _written = self.text.write_fmt(text);
        };
        line(format_args!("# TYPE {name} gauge\n"));
        if !metric.unit.is_empty() {
            line(format_args!("# UNIT {name} {}\n", metric.unit));
        }
        line(format_args!("# HELP {name} {}\n", escaped(metric.help)));
        for (labels, value) in samples {
            let mut shown = format!("foundation=\"{}\"", escaped(self.foundation));
            for (label, text) in labels {
                let _written = write!(shown, ",{label}=\"{}\"", escaped(text));
            }
            line(format_args!("{name}{{{shown}}} {value}\n"));
        }
    }
}

fn escaped(text: &str) -> String {
    let mut escaped = String::new();
    for c in text.chars() {
        match c {
            '\\' => escaped.push_str("\\\\"),
            '"' => escaped.push_str("\\\""),
            '\n' => escaped.push_str("\\n"),
            // No format gives them a meaning, and terminals do.
            c if c.is_control() => escaped.push(' '),
            c => escaped.push(c),
        }
    }
    escaped
}

#[allow(
    clippy::cast_precision_loss,
    reason = "a sample is a 64-bit float: exact up to 8 PiB"
)]
fn number(value: u64) -> f64 {
    value as f64
}

#[allow(clippy::cast_precision_loss, reason = "seconds of a lifetime")]
fn signed(value: i64) -> f64 {
    value as f64
}

fn seconds(ms: u64) -> f64 {
    number(ms) / 1000.0
}
