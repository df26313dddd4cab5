use proptest::prelude::*;
use serde_json::json;

use super::*;
use crate::inventory::{Inventory, Rows, Source, Spool};

fn inventory(foundation: &str, kinds: &[&str], items: &[Item]) -> Inventory {
    let mut spool = Spool::default();
    let all: BTreeSet<&str> = kinds.iter().copied().collect();
    for kind in all {
        let mut rows = Rows::of(kind);
        for item in items.iter().filter(|item| item.kind == kind) {
            rows.push(item);
        }
        spool.add(rows).unwrap();
    }
    spool.finish(Head {
        foundation: foundation.to_owned(),
        sources: vec![Source {
            kinds: kinds.iter().map(|kind| (*kind).to_owned()).collect(),
            ..Source::default()
        }],
        ..Head::default()
    })
}

fn app(name: &str, instances: u64) -> Item {
    Item::new("app", &["o", "s", name])
        .within(Some("o"), Some("s"))
        .with("processes", json!({"web": {"instances": instances}}))
}

#[test]
fn what_is_missing_added_and_changed_is_told() {
    let before = [app("a", 1), app("b", 1), app("c", 2).guid("1")];
    let after = [app("b", 1), app("c", 3).guid("2"), app("d", 1)];
    let (before, after) = (
        inventory("f", &["app"], &before),
        inventory("f", &["app"], &after),
    );
    let found = diff(before.text(), after.text(), Tolerances::between).unwrap();
    let told: Vec<_> = found
        .found
        .iter()
        .map(|one| (one.name.as_str(), &one.change))
        .collect();
    let [
        ("a", Change::Missing),
        ("c", Change::Changed(fields)),
        ("d", Change::Added),
    ] = told.as_slice()
    else {
        panic!("{told:?}");
    };
    let fields: Vec<_> = fields.iter().map(|field| field.field.as_str()).collect();
    assert_eq!(fields, ["guid", "processes.web.instances"]);
    let counts = Counts {
        missing: 1,
        added: 1,
        changed: 1,
        equal: 1,
    };
    assert_eq!((found.total(), found.is_equal()), (counts, false));
}

#[test]
fn tolerances_cover_kinds_fields_and_all_below_them() {
    let before = inventory("f", &["app"], &[app("a", 1), app("b", 1)]);
    let after = inventory("f", &["app"], &[app("a", 2), app("b", 1).guid("x")]);
    let differing = |ignored: &[&str]| {
        let found = diff(before.text(), after.text(), |a, b| {
            let mut tolerances = Tolerances::between(a, b);
            for one in ignored {
                tolerances.ignore(one).unwrap();
            }
            tolerances
        });
        found.unwrap().total().differing()
    };
    assert_eq!(differing(&[]), 2);
    assert_eq!(differing(&["app.processes"]), 1);
    assert_eq!(differing(&["app.proc", "app.processes.web.instances"]), 1);
    assert_eq!(differing(&["app.guid", "app.processes"]), 0);
    assert_eq!(differing(&["app"]), 0);
    let mut tolerances = Tolerances::none();
    for wrong in ["", ".x", "app."] {
        assert!(tolerances.ignore(wrong).is_err(), "{wrong}");
    }
}

#[test]
fn two_foundations_do_not_share_guids() {
    let before = inventory(
        "east",
        &["app"],
        &[app("a", 1).guid("1").with("droplet", "x")],
    );
    let after = inventory(
        "west",
        &["app"],
        &[app("a", 1).guid("2").with("droplet", "y")],
    );
    assert!(
        diff(before.text(), after.text(), Tolerances::between)
            .unwrap()
            .is_equal()
    );
}

#[test]
fn what_one_of_them_does_not_know_is_not_called_missing() {
    let before = inventory(
        "f",
        &["app", "credhub-name"],
        &[app("a", 1), Item::new("credhub-name", &["/x"])],
    );
    let after = inventory("f", &["app"], &[app("a", 1)]);
    let found = diff(before.text(), after.text(), Tolerances::between).unwrap();
    assert_eq!(found.total().differing(), 0);
    assert!(found.not_compared[0].unknown && !found.is_equal());
    let turned = diff(after.text(), before.text(), Tolerances::between).unwrap();
    assert!(!turned.not_compared[0].unknown && turned.is_equal());
}

proptest! {
    #[test]
    fn a_diff_is_what_two_maps_say(
        before in prop::collection::btree_map("[a-c/%]{1,3}", 0_u64..3, 0..12),
        after in prop::collection::btree_map("[a-c/%]{1,3}", 0_u64..3, 0..12),
    ) {
        let items = |of: &BTreeMap<String, u64>| {
            of.iter().map(|(name, count)| app(name, *count)).collect::<Vec<_>>()
        };
        let a = inventory("f", &["app"], &items(&before));
        let b = inventory("f", &["app"], &items(&after));
        let found = diff(a.text(), b.text(), Tolerances::between).unwrap();
        let mut told = BTreeMap::new();
        for one in &found.found {
            told.insert(one.name.clone(), match one.change {
                Change::Changed(_) => 0,
                Change::Missing => 1,
                Change::Added => 2,
            });
        }
        let mut expected = BTreeMap::new();
        for name in before.keys().chain(after.keys()) {
            match (before.get(name), after.get(name)) {
                (Some(_), None) => drop(expected.insert(name.clone(), 1)),
                (None, Some(_)) => drop(expected.insert(name.clone(), 2)),
                (a, b) if a != b => drop(expected.insert(name.clone(), 0)),
                _ => {}
            }
        }
        prop_assert_eq!(told, expected);
        prop_assert_eq!(usize::try_from(found.total().equal).unwrap() + found.found.len(),
            before.keys().chain(after.keys()).collect::<BTreeSet<_>>().len());
    }
}
