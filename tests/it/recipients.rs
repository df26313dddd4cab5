//! Keys that change: added recipients open old chains, changed recipients and a lost worker
//! identity begin new ones.

use std::collections::BTreeMap;
use std::fs;
use std::path::PathBuf;

use lifeboat::artifact::Digest;
use lifeboat::operation::keygen;
use serde_json::{Value, json};

use crate::support::depot::{Depot, age_opens, chain_file, filter};
use crate::support::process::{Ended, cli};
use crate::support::scene;

const FILES: &[(&str, &[u8])] = &[("a", b"one"), ("b", b"two")];

/// An identity and its recipient.
pub(crate) fn key() -> (String, String) {
    let keys = keygen::generate("somebody").unwrap();
    let identity = keys.recovery_identity.expose().to_owned();
    (identity, keys.recovery_recipient)
}

fn recipients(depot: &Depot, identity: &str, arguments: &[&str]) -> Ended {
    let mut configuration = depot.source.clone();
    configuration["recovery_identity"] = json!(identity);
    let document = configuration.to_string();
    let mut all = vec!["recipients"];
    all.extend(arguments);
    cli(&all, &[("LIFEBOAT_CONFIG", &document)])
}

fn add(depot: &Depot, identity: &str, recipient: &str) -> Ended {
    recipients(depot, identity, &["add", recipient, "--json"])
}

/// What lies in a store.
fn kept(depot: &Depot, store: &str) -> BTreeMap<PathBuf, Vec<u8>> {
    scene::files(&depot.path(store))
}

fn chain(depot: &Depot, id: &str) -> String {
    depot.manifest(id)["chain"]["id"].as_str().unwrap().into()
}

#[track_caller]
fn reads(depot: &Depot, source: &Value, id: &str) {
    let (ended, into) = depot.get_from(source, id);
    ended.ok();
    assert_eq!(fs::read(into.join("director/a")).unwrap(), b"one");
}

/// Two chains, the second begun because a recipient was added in the configuration.
fn two_chains() -> (Depot, String, String) {
    let mut depot = Depot::new();
    let old = depot.put("director", FILES).ok().id();
    let (_, second) = key();
    depot.source["recipients"] = json!([depot.recipient, second]);
    let ended = depot.put("director", FILES).ok();
    let new = ended.id();
    assert_ne!(chain(&depot, &old), chain(&depot, &new));
    let because = &depot.manifest(&new)["full_because"];
    assert_eq!(because, "the recipients have changed");
    (depot, old, new)
}

#[test]
fn an_added_recipient_opens_every_chain_and_nothing_else_changes() {
    let (mut depot, old, new) = two_chains();
    let (identity, recipient) = key();
    let before = [kept(&depot, "one"), kept(&depot, "two")];
    let added = add(&depot, &depot.recovery_identity, &recipient)
        .ok()
        .json();
    assert_eq!(added["chains"].as_array().unwrap().len(), 2, "{added}");
    for (store, before) in ["one", "two"].into_iter().zip(&before) {
        let mut after = kept(&depot, store);
        for id in [&old, &new] {
            let file = chain_file(&chain(&depot, id), "recovery-2.age");
            let bytes = after.remove(&file).expect("recovery-2.age is there");
            assert!(bytes.len() < 4096, "{}", bytes.len());
        }
        assert_eq!(after, *before, "nothing else is written or replaced");
    }
    // Stock age opens it to the text whose digest the manifest states, and recover.py takes it.
    for id in [&old, &new] {
        let person = depot.write("new-person", identity.as_bytes());
        let sealed = chain_file(&chain(&depot, id), "recovery-2.age");
        let opened = age_opens(&person, &depot.path("two").join(sealed)).unwrap();
        let stated = &depot.manifest(id)["chain"]["keys"];
        assert_eq!(*stated, Digest::of(&opened).to_string());
        let keys = depot.write("keys.txt", &opened);
        let to = depot.path(&format!("recovered-{id}"));
        let done = depot.recover(id, "director", &keys, &to);
        assert!(done.status.success(), "{done:?}");
    }
    depot.recovery_identity = identity;
    reads(&depot, &depot.source, &old);
    reads(&depot, &depot.source, &new);
}

#[test]
fn what_was_done_is_not_done_again_and_what_was_cut_short_is_completed() {
    let (depot, old, new) = two_chains();
    let (_, recipient) = key();
    add(&depot, &depot.recovery_identity, &recipient).ok();
    let whole = [kept(&depot, "one"), kept(&depot, "two")];
    let now = || [kept(&depot, "one"), kept(&depot, "two")];
    let again = add(&depot, &depot.recovery_identity, &recipient)
        .ok()
        .json();
    assert_eq!(again["chains"][0]["stores"], json!([]), "{again}");
    assert_eq!(now(), whole);
    // As after a kill: one chain in one store only, the other in none.
    let [file_old, file_new] =
        [&old, &new].map(|id| chain_file(&chain(&depot, id), "recovery-2.age"));
    fs::remove_file(depot.path("two").join(&file_old)).unwrap();
    depot.in_both(|store| fs::remove_file(store.join(&file_new)).unwrap());
    add(&depot, &depot.recovery_identity, &recipient).ok();
    let mut completed = now();
    for (now, whole) in completed.iter_mut().zip(&whole) {
        assert_eq!(now.get(&file_old), whole.get(&file_old));
        let sealed_anew = now.insert(file_new.clone(), whole[&file_new].clone());
        assert!(sealed_anew.is_some());
    }
    assert_eq!(completed, whole);
    // Somebody else gets a file of his own, beside one that a stranger put there.
    let file_3 = chain_file(&chain(&depot, &old), "recovery-3.age");
    fs::write(depot.path("two").join(&file_3), b"garbage").unwrap();
    let (identity, recipient) = key();
    let third = add(&depot, &depot.recovery_identity, &recipient)
        .ok()
        .json();
    let of_old = |value: &Value| value["chain"] == chain(&depot, &old);
    let chains = third["chains"].as_array().unwrap();
    let done = chains.iter().find(|value| of_old(value)).unwrap();
    assert_eq!(done["file"], "recovery-4.age");
    let mut depot = depot;
    depot.recovery_identity = identity;
    reads(&depot, &depot.source, &old);
}

#[test]
fn a_number_whose_file_is_lost_hides_no_later_one() {
    let (mut depot, old, _) = two_chains();
    // An addition that one store got before the other failed; then another person's, in both.
    let file_2 = chain_file(&chain(&depot, &old), "recovery-2.age");
    fs::write(depot.path("one").join(&file_2), b"another's").unwrap();
    let (identity, recipient) = key();
    add(&depot, &depot.recovery_identity, &recipient).ok();
    let two = depot.path("two");
    let file_3 = chain_file(&chain(&depot, &old), "recovery-3.age");
    assert!(two.join(file_3).exists() && !two.join(file_2).exists());
    // The first store is lost.
    let source = depot.source_of("two");
    depot.recovery_identity = identity;
    reads(&depot, &source, &old);
}

#[test]
fn a_forged_file_that_claims_to_be_ours_counts_for_nothing() {
    let (mut depot, old, _) = two_chains();
    let (identity, recipient) = key();
    add(&depot, &depot.recovery_identity, &recipient).ok();
    // The header says for whom it is, but the content is another's: it opens for neither.
    let file = chain_file(&chain(&depot, &old), "recovery-2.age");
    let ours = fs::read_to_string(depot.path("one").join(&file)).unwrap();
    let at = ours.len() / 2;
    let damaged: String = ours
        .char_indices()
        .map(|(i, c)| if i >= at && c == 'A' { 'B' } else { c })
        .collect();
    assert_ne!(damaged, ours);
    depot.in_both(|store| fs::write(store.join(&file), &damaged).unwrap());
    let again = add(&depot, &depot.recovery_identity, &recipient)
        .ok()
        .json();
    let files: Vec<_> = again["chains"]
        .as_array()
        .unwrap()
        .iter()
        .map(|c| c["file"].clone())
        .collect();
    assert!(files.contains(&json!("recovery-3.age")), "{again}");
    depot.recovery_identity = identity;
    reads(&depot, &depot.source, &old);
}

#[test]
fn a_chain_that_the_key_does_not_open_is_named_and_the_others_are_done() {
    let mut depot = Depot::new();
    let old = depot.put("director", FILES).ok().id();
    let (other, recipient) = key();
    depot.source["recipients"] = json!([recipient]);
    let new = depot.put("director", FILES).ok().id();
    let (_, third) = key();
    let ended = add(&depot, &other, &third).fails(3);
    let told = ended.json();
    assert_eq!(told["chains"].as_array().unwrap().len(), 1);
    assert_eq!(told["chains"][0]["chain"], chain(&depot, &new));
    let problem = told["problems"][0].to_string();
    assert!(
        problem.contains(&chain(&depot, &old)) && problem.contains("does not open it"),
        "{problem}"
    );
    let file = chain_file(&chain(&depot, &old), "recovery-2.age");
    assert!(!depot.path("one").join(file).exists());
    // What is listed: one file of one chain, two of the other; for whom, the worker knows.
    depot.source["worker_identity"] = json!(depot.worker_identity);
    let listed = recipients(&depot, &other, &["list", "--json"]).ok().json();
    let find = |id: &str| {
        let chains = listed["chains"].as_array().unwrap();
        let is_it = |found: &&Value| found["chain"] == chain(&depot, id);
        chains.iter().find(is_it).unwrap()
    };
    assert_eq!(find(&new)["files"], 2);
    assert_eq!(find(&new)["recipients"], json!([recipient]));
    assert_eq!(find(&old)["files"], 1);
    let shown = recipients(&depot, &other, &["list"]).ok().stdout;
    assert!(
        shown.contains(&recipient) && shown.contains("recovery files"),
        "{shown}"
    );
}

#[test]
fn nothing_is_added_while_a_store_does_not_answer_or_a_key_is_wrong() {
    let (mut depot, _, _) = two_chains();
    let (identity, recipient) = key();
    let before = kept(&depot, "one");
    fs::rename(depot.path("two"), depot.path("away")).unwrap();
    let ended = add(&depot, &depot.recovery_identity, &recipient).fails(1);
    let last = ended.last_line();
    assert!(
        last.contains("two") && last.contains("every store must answer"),
        "{last}"
    );
    assert_eq!(kept(&depot, "one"), before);
    fs::rename(depot.path("away"), depot.path("two")).unwrap();
    for (wrong, words) in [
        (identity.as_str(), "is a private key"),
        ("age1nonsense", "is not an age recipient"),
    ] {
        let ended = add(&depot, &depot.recovery_identity, wrong).fails(1);
        let last = ended.last_line();
        assert!(last.contains(words) && !last.contains(&identity), "{last}");
    }
    depot.source["recovery_identity"] = Value::Null;
    let document = depot.source.to_string();
    let ended = cli(
        &["recipients", "add", &recipient],
        &[("LIFEBOAT_CONFIG", &document)],
    );
    assert!(
        ended
            .fails(1)
            .last_line()
            .contains("recovery_identity is missing")
    );
}

#[test]
fn a_removed_recipient_reads_no_new_chain() {
    let mut depot = Depot::new();
    let old = depot.put("director", FILES).ok().id();
    let (identity, recipient) = key();
    depot.source["recipients"] = json!([recipient]);
    let new = depot.put("director", FILES).ok().id();
    // The removed one still opens what was sealed to it: nothing can take that back.
    reads(&depot, &depot.source, &old);
    depot.refused(&new, "the recovery identity does not open chain");
    depot.recovery_identity = identity;
    reads(&depot, &depot.source, &new);
    depot.refused(&old, "the recovery identity does not open chain");
}

#[test]
fn a_lost_worker_identity_costs_one_full_backup() {
    let mut depot = Depot::new();
    let first = depot.put("director", FILES).ok().id();
    let second = depot.put("director", FILES).ok().id();
    assert_eq!(depot.manifest(&second)["base"], first.as_str());
    let new = keygen::generate("new-worker").unwrap();
    depot.worker_identity = new.worker_identity.expose().to_owned();
    let old_public = depot.worker_public.clone();
    depot.source["trusted_workers"] = json!([old_public, new.worker_public]);
    let third = depot.put("director", FILES).ok().id();
    let manifest = depot.manifest(&third);
    assert_eq!(manifest["base"], Value::Null);
    let because = manifest["full_because"].as_str().unwrap();
    assert!(because.contains("signed by this worker"), "{because}");
    let fourth = depot.put("director", FILES).ok().id();
    assert_eq!(depot.manifest(&fourth)["base"], third.as_str());
    assert_eq!(
        depot.manifest(&fourth)["new_objects"]
            .as_u64()
            .map(|n| n < 5),
        Some(true)
    );
    for id in [&first, &second, &third, &fourth] {
        reads(&depot, &depot.source, id);
    }
    // Who trusts the new worker alone reads its backups and refuses the others.
    let mut only_new = depot.source.clone();
    only_new["trusted_workers"] = json!([new.worker_public]);
    reads(&depot, &only_new, &fourth);
    depot.refused_from(&only_new, &first, "none of trusted_workers signed it");
}

#[test]
fn later_additions_of_any_age_program_are_read() {
    let (mut depot, old, _) = two_chains();
    let (identity, recipient) = key();
    let keys = fs::read(depot.opened_keys(&chain(&depot, &old))).unwrap();
    let by_hand = filter("age", &["-a", "-r", &recipient], &keys);
    let file = chain_file(&chain(&depot, &old), "recovery-2.age");
    depot.in_both(|store| fs::write(store.join(&file), &by_hand).unwrap());
    // The next addition takes the place behind it.
    let (_, third) = key();
    add(&depot, &depot.recovery_identity, &third).ok();
    let next = chain_file(&chain(&depot, &old), "recovery-3.age");
    assert!(depot.path("one").join(next).exists());
    depot.recovery_identity = identity;
    reads(&depot, &depot.source, &old);
}
