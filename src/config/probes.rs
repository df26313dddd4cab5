//! `probes`: pages that users need, watched while components are locked.

use super::Fault;
use super::drill::{is_name, page};
use super::leaf::Text;
use super::model::Model;
use crate::operation::settings::Probe;

/// More than these would be a load of their own.
const MOST: usize = 10;

/// `None` where the configuration says nothing of them.
pub(super) fn of(model: &Model) -> Result<Option<Vec<Probe>>, Fault> {
    let Some(models) = &model.probes else {
        return Ok(None);
    };
    let mut found: Vec<Probe> = Vec::new();
    for (at, model) in models.iter().enumerate() {
        let place = |key: &str| format!("probes[{at}].{key}");
        if at >= MOST {
            return Err(Fault::new("probes", format!("are at most {MOST}")));
        }
        let (Some(Text(name)), Some(Text(url))) = (&model.name, &model.url) else {
            let key = if model.name.is_none() { "name" } else { "url" };
            return Err(Fault::missing(place(key), ""));
        };
        if !is_name(name) {
            return Err(Fault::new(
                place("name"),
                "must be 1 to 40 of a-z, 0-9 and `-`",
            ));
        }
        if found.iter().any(|other| other.name == *name) {
            return Err(Fault::new(place("name"), "is there twice"));
        }
        found.push(Probe {
            name: name.clone(),
            page: page(url, model.status, model.ca_cert.as_ref(), &place)?,
            contains: model.contains.as_ref().map(|Text(text)| text.clone()),
            found: false,
        });
    }
    Ok(Some(found))
}
