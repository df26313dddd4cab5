use super::super::format::Signed;
use super::super::repair::repair;
use super::super::scrub::scrub;
use super::super::testing::{CHAIN, Scene, foundation};
use super::*;
use crate::store::faulty::Fault;

/// What no backup needs, and only the second store has.
const GARBAGE: &[u8] = b"a page that no root names";

fn garbage(scene: &Scene, backup: &Signed) -> ObjectName {
    let page = foundation().index(&backup.manifest.chain.id, &Digest::of(GARBAGE));
    scene.put(1, &page, GARBAGE);
    page
}

/// Looks at everything; `meanwhile` happens when the whole index was listed.
fn looked(scene: &Scene, meanwhile: impl Fn()) -> Vec<Finding> {
    let mut survey = Survey::new(scene.holdings(), scene.look());
    let (mut found, mut calls) = (Vec::new(), 0);
    let run = survey.run(|| {}, &mut |_, findings| {
        found.extend(findings);
        calls += 1;
        // The instructions, the manifests, the key files, and sixteen shards.
        if calls == 3 + 16 {
            meanwhile();
        }
        Ok(())
    });
    run.unwrap();
    found
}

#[test]
fn what_a_prune_sweeps_while_we_look_is_no_finding() {
    let scene = Scene::new();
    let backup = scene.back_up("one", Vec::new()).unwrap();
    let page = garbage(&scene, &backup);
    let found = looked(&scene, || scene.delete(1, &page));
    assert!(found.is_empty(), "{found:?}");
    // Nor is what comes to the store that lacked it.
    scene.put(1, &page, GARBAGE);
    let found = looked(&scene, || scene.put(0, &page, GARBAGE));
    assert!(found.is_empty(), "{found:?}");
}

#[test]
fn what_one_store_has_to_the_end_is_missing_in_the_other() {
    let scene = Scene::new();
    let backup = scene.back_up("one", Vec::new()).unwrap();
    let page = garbage(&scene, &backup);
    let found = looked(&scene, || {});
    let [one] = &found[..] else {
        panic!("{found:?}");
    };
    assert_eq!((one.place, &one.object), (0, &page));
    assert_eq!(one.what, "is missing, or is being swept");
    assert_eq!(one.chain_end, Some(backup.manifest.chain.end(CHAIN)));
    // A store that had it and is silent may have it still.
    let fails = || scene.stores[1].always(Fault::Fail(Kind::Transient));
    let found = looked(&scene, fails);
    assert_eq!(found.len(), 1, "{found:?}");
}

#[test]
fn what_a_store_lost_is_found_and_mended() {
    let scene = Scene::new();
    let backup = scene.back_up("one", Vec::new()).unwrap();
    let names = scene.memories[0].names();
    let sealed = names.iter().filter(|name| name.contains("/chains/"));
    let sealed = sealed.filter(|name| name.contains("/data/") || name.contains("/index/"));
    let lost: Vec<ObjectName> = sealed
        .map(|name| ObjectName::new(name.as_str()).unwrap())
        .collect();
    // A root, a page and a chunk.
    assert_eq!(lost.len(), 3, "{lost:?}");
    for object in &lost {
        scene.delete(0, object);
    }
    let found = scrub(scene.holdings(), scene.look(), || {}).unwrap();
    assert_eq!(found.bad.len(), 3, "{found:?}");
    assert_eq!(found.stores[0].missing, 3);
    assert_eq!(found.hit.len(), 1);
    assert_eq!(found.hit[0].backup, backup.manifest.id);
    let done = repair(scene.holdings(), scene.look(), || {}).unwrap();
    assert_eq!((done.mended_objects, done.lost), (3, Vec::new()));
    assert!(lost.iter().all(|object| scene.has(0, object)));
}
