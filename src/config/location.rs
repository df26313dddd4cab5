//! Where copies are: two data centers other than the foundation's are what its makers ask for.

use std::collections::BTreeSet;

use super::Fault;
use super::leaf::Text;
use super::model::Model;

/// How many places other than the foundation's should have a copy; from the vendor's page on
/// disaster recovery.
const ELSEWHERE: usize = 2;

/// What to say of the places of the stores that are written to; nothing where none is named.
///
/// # Errors
/// When only some places are named: a place that is not known counts for nothing.
pub(super) fn warnings(model: &Model, min_copies: usize) -> Result<Vec<String>, Fault> {
    let stores = model.stores.as_deref().unwrap_or_default();
    let Some(Text(home)) = &model.location else {
        return match stores.iter().position(|store| store.location.is_some()) {
            None => Ok(Vec::new()),
            Some(at) => Err(Fault::missing(
                "location",
                &format!("; stores[{at}].location means nothing without the foundation's own"),
            )),
        };
    };
    let (mut near, mut elsewhere) = (Vec::new(), BTreeSet::new());
    for (at, store) in stores.iter().enumerate() {
        let Some(Text(place)) = &store.location else {
            return Err(Fault::missing(
                format!("stores[{at}].location"),
                "; with `location`, every store says where it is",
            ));
        };
        if place.eq_ignore_ascii_case(home) {
            near.push(store.name.as_ref().map_or("", |Text(name)| name));
        } else {
            elsewhere.insert(place.to_ascii_lowercase());
        }
    }
    let mut warnings = Vec::new();
    if elsewhere.len() < ELSEWHERE {
        warnings.push(format!(
            "the stores are in {} other than the foundation's ({home}); two are asked for, since a copy \
             in the foundation's own is lost with it",
            match elsewhere.len() {
                0 => "no place".to_owned(),
                _ => "one place".to_owned(),
            }
        ));
    }
    if !near.is_empty() && near.len() >= min_copies {
        warnings.push(format!(
            "min_copies ({min_copies}) can be met by {} alone, where the foundation itself is ({home}): \
             such a backup is lost with it; raise min_copies",
            near.join(", ")
        ));
    }
    Ok(warnings)
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;

    fn of(home: &Value, places: &[Value], min_copies: usize) -> Result<Vec<String>, String> {
        let stores: Vec<_> = places
            .iter()
            .enumerate()
            .map(|(at, place)| json!({"name": format!("s{at}"), "path": "/s", "location": place}))
            .collect();
        let model = serde_json::from_value(json!({"location": home, "stores": stores})).unwrap();
        warnings(&model, min_copies).map_err(|fault| format!("{fault:?}"))
    }

    #[test]
    fn two_other_places_are_enough_and_the_foundations_own_counts_for_nothing() {
        let (a, b, c) = (&json!("dc1"), &json!("dc2"), &json!("dc3"));
        let none = &Value::Null;
        let of = |home: &Value, places: &[&Value], min_copies| {
            let places: Vec<Value> = places.iter().copied().cloned().collect();
            of(home, &places, min_copies)
        };
        assert!(of(none, &[none, none], 1).unwrap().is_empty());
        assert!(of(a, &[b, c], 1).unwrap().is_empty());
        assert!(of(a, &[a, b, c], 2).unwrap().is_empty());
        let said = of(a, &[&json!("DC1"), b], 1).unwrap();
        assert!(said[0].contains("one place other than"), "{said:?}");
        assert!(said[1].contains("s0 alone"), "{said:?}");
        assert_eq!(of(a, &[a], 1).unwrap().len(), 2);
        assert_eq!(of(a, &[b, b], 2).unwrap().len(), 1);
        assert!(
            of(a, &[b, none], 1)
                .unwrap_err()
                .contains("stores[1].location")
        );
        assert!(of(none, &[none, b], 1).unwrap_err().contains("location"));
    }
}
