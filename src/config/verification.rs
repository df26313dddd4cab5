//! What a verification is asked, at any door.

use super::Fault;
use super::leaf::{Count, Text};
use super::model::Model;
use crate::operation::settings::{Level, Verification, is_backup_id};

/// What a verification is asked; without a level this one.
pub(super) fn verification(model: &Model, otherwise: Level) -> Result<Verification, Fault> {
    let level = match &model.verify {
        None => otherwise,
        Some(Text(text)) => Level::parse(text)
            .filter(|level| *level != Level::Drilled)
            .ok_or_else(|| {
                Fault::new(
                    "verify",
                    "is not a level; levels are listed, scrub, contents and restorable",
                )
            })?,
    };
    let one = matches!(level, Level::Contents | Level::Restorable);
    let part = model.verify_part.as_ref().map(|Text(part)| part.clone());
    if part.is_some() && !matches!(level, Level::Scrub | Level::Contents) {
        return Err(Fault::new(
            "verify_part",
            format!("stands beside level {level}, which has no parts; scrub and contents have"),
        ));
    }
    let percent = match &model.verify_percent {
        None => None,
        Some(_) if level != Level::Contents => {
            return Err(Fault::new(
                "verify_percent",
                "is for level contents alone: a sample of files",
            ));
        }
        Some(_) if part.is_some() => {
            return Err(Fault::new(
                "verify_percent",
                "stands beside `verify_part`; give one",
            ));
        }
        Some(Count(percent)) => match u8::try_from(*percent) {
            Ok(percent @ 1..=100) => Some(percent),
            _ => return Err(Fault::new("verify_percent", "must be from 1 to 100")),
        },
    };
    let backup = model.id.as_ref().map(|Text(id)| id.clone());
    let backup = backup.filter(|id| id != "latest");
    if let Some(id) = &backup {
        if !one {
            return Err(Fault::new(
                "id",
                format!("stands beside level {level}, which looks at all backups"),
            ));
        }
        if !is_backup_id(id) {
            return Err(Fault::new(
                "id",
                "is not a backup's id (such as 20261122T010203Z-7f3a09bc) and not `latest`",
            ));
        }
    }
    Ok(Verification {
        level,
        backup,
        part,
        percent,
        report: model.verify_report.is_none_or(|flag| flag.0),
    })
}
