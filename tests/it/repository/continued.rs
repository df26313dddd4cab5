//! What a run takes over from its base: the result is what a full write gives, and costs what
//! changed.

use std::collections::{BTreeMap, HashMap};

use lifeboat::artifact::Digest;
use lifeboat::artifact::base::Continued;
use lifeboat::artifact::listing::{Pages, stored_line};
use lifeboat::store::ObjectName;
use proptest::prelude::*;

use super::*;

/// A tree of files, by their paths.
type Tree = BTreeMap<String, File>;

#[derive(Debug, Clone, PartialEq)]
struct File {
    content: Vec<u8>,
    mode: u32,
}

fn file(content: impl Into<Vec<u8>>) -> File {
    File {
        content: content.into(),
        mode: 0o640,
    }
}

fn tree(files: usize) -> Tree {
    (0..files)
        .map(|n| {
            let path = format!("./d{:03}/{n:06}", n / 100);
            (path, file(format!("file {n}").repeat(n % 30)))
        })
        .collect()
}

/// An entry as tar sends it.
fn entry(name: &str, kind: tar::EntryType, size: usize, mode: u32) -> Vec<u8> {
    let mut header = tar::Header::new_gnu();
    header.set_entry_type(kind);
    header.set_size(size as u64);
    header.set_mode(mode);
    header.set_mtime(1_700_000_000);
    header.as_mut_bytes()[..name.len()].copy_from_slice(name.as_bytes());
    header.set_cksum();
    header.as_bytes().to_vec()
}

/// The whole tree as a tar: a directory stands before its first file.
fn tar_of(tree: &Tree) -> Vec<u8> {
    let mut tar = Vec::new();
    let mut last = "";
    for (path, file) in tree {
        let folder = &path[..=path.rfind('/').unwrap()];
        if folder != last {
            last = folder;
            tar.extend(entry(folder, tar::EntryType::Directory, 0, 0o750));
        }
        let size = file.content.len();
        tar.extend(entry(path, tar::EntryType::Regular, size, file.mode));
        tar.extend(&file.content);
        tar.resize(tar.len().next_multiple_of(512), 0);
    }
    tar.resize((tar.len() + 1024).next_multiple_of(10_240), 0);
    tar
}

/// What a drain sent in place of the whole.
#[derive(Debug, Default, PartialEq)]
struct Sent {
    pages: usize,
    opened: usize,
    files: usize,
    taken: usize,
}

/// What the drain does, without an instance: pages are known by their digests, files of other
/// pages by path and digest.
fn incremental(tree: &Tree, writer: &mut dyn Continued) -> Sent {
    let mut sent = Sent::default();
    let lists: HashMap<String, usize> = (0..)
        .zip(writer.pages())
        .map(|(at, page)| (page.list.clone(), at))
        .collect();
    let (mut pages, mut page, mut cut) = (Vec::new(), Vec::new(), Pages::default());
    for (path, file) in tree {
        let head = entry(path, tar::EntryType::Regular, file.content.len(), file.mode);
        let digest = Digest::of(&file.content);
        let (name, line) = stored_line(&head, &digest);
        page.push((path, head, digest, &file.content));
        if let Some(list) = cut.add(&name, &line) {
            pages.push((std::mem::take(&mut page), list));
        }
    }
    if let Some(list) = cut.finish() {
        pages.push((page, list));
    }
    let known: Vec<usize> = pages
        .iter()
        .filter_map(|(_, list)| lists.get(list).copied())
        .collect();
    let unknown: Vec<usize> = (0..writer.pages().len())
        .filter(|at| !known.contains(at))
        .collect();
    writer.expect(&unknown);
    let mut have = HashMap::new();
    for at in unknown {
        sent.opened += 1;
        for (place, file) in writer.open(at).unwrap().iter().enumerate() {
            let (path, _) = stored_line(&file.head, &file.digest);
            have.insert((path, file.digest), (at, place));
        }
    }
    let (mut folder, mut before) = (String::new(), 0);
    for (files, list) in pages {
        for (path, ..) in &files {
            let own = &path[..=path.rfind('/').unwrap()];
            if own != folder {
                folder = own.to_owned();
                let head = entry(own, tar::EntryType::Directory, 0, 0o750);
                writer.other_at(&head, before).unwrap();
            }
            before += 1;
        }
        if let Some(at) = lists.get(&list) {
            sent.pages += 1;
            writer.take_page(*at).unwrap();
            continue;
        }
        for (path, head, digest, content) in files {
            match have.get(&(path.as_bytes().to_vec(), digest)) {
                Some((page, file)) => {
                    sent.taken += 1;
                    writer.take_file(&head, *page, *file).unwrap();
                }
                None => {
                    sent.files += 1;
                    let size = content.len() as u64;
                    let got = writer.file(&head, size, &mut &content[..]).unwrap();
                    assert_eq!(got, digest);
                }
            }
        }
    }
    let length = tar_of(tree).len();
    let entries: usize = tree
        .values()
        .map(|file| 512 + file.content.len().next_multiple_of(512))
        .sum();
    let mut folders: Vec<_> = tree
        .keys()
        .map(|path| &path[..path.rfind('/').unwrap()])
        .collect();
    folders.dedup();
    writer
        .end((length - entries - folders.len() * 512) as u64)
        .unwrap();
    sent
}

impl World {
    fn continue_with(&self, tree: &Tree) -> (Signed, Sent) {
        let mut sent = Sent::default();
        let signed = self.back_up_with(Some(&self.worker), |writer| {
            sent = incremental(tree, writer);
        });
        assert!(self.read_back(&signed) == tar_of(tree));
        (signed, sent)
    }

    fn objects(&self, kind: &str) -> Vec<ObjectName> {
        let listed = self
            .runtime
            .block_on(self.stores[0].list("prod-east/chains/", None))
            .unwrap();
        let part = format!("/{kind}/");
        let names = listed.into_iter().map(|one| one.name);
        names
            .filter(|name| name.contains(&part))
            .map(|name| ObjectName::new(name).unwrap())
            .collect()
    }
}

#[test]
fn an_unchanged_artifact_costs_a_root_and_its_others() {
    let world = World::new();
    let tree = tree(5000);
    let (first, sent) = world.continue_with(&tree);
    assert_eq!((sent.pages, sent.files), (0, 5000));
    let before = world.objects("index").len();
    let (second, sent) = world.continue_with(&tree);
    assert_eq!(second.manifest.base, Some(first.manifest.id));
    assert_eq!((sent.files, sent.taken, sent.opened), (0, 0, 0));
    assert!(sent.pages > 2);
    assert_eq!(second.manifest.new_bytes, 0);
    assert_eq!(world.objects("index").len(), before + 2);
    assert_eq!(second.manifest.new_objects, 2);
}

#[test]
fn a_change_costs_its_pages_and_not_the_others() {
    let world = World::new();
    let mut tree = tree(8000);
    let before = tar_of(&tree);
    let (first, _) = world.continue_with(&tree);
    tree.insert("./d040/004000".into(), file("new content"));
    tree.get_mut("./d041/004101").unwrap().mode = 0o600;
    let (second, sent) = world.continue_with(&tree);
    assert_eq!(sent.files, 1);
    assert!(
        (1..=2).contains(&sent.opened) && sent.pages >= 4,
        "{sent:?}"
    );
    assert_eq!(second.manifest.new_bytes, 11);
    // What was changed back is not sent, and the first backup is as it was.
    tree.get_mut("./d041/004101").unwrap().mode = 0o640;
    let (_, sent) = world.continue_with(&tree);
    assert_eq!(sent.files, 0);
    assert!(world.read_back(&first) == before);
}

/// Sixteen megabytes that cannot be compressed.
fn noise(seed: u32) -> Vec<u8> {
    let mut state = seed;
    let next = move || {
        state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
        state.to_be_bytes()
    };
    std::iter::repeat_with(next)
        .take(4_000_000)
        .flatten()
        .collect()
}

#[test]
fn a_full_drain_on_a_continued_chain_stores_only_what_changed() {
    let world = World::new();
    let mut tree = tree(4000);
    tree.insert("./d010/dump".into(), file(noise(1)));
    tree.insert("./d030/dump".into(), file(noise(2)));
    world.continue_with(&tree);
    let mut dump = noise(2);
    dump.extend(b"a row");
    tree.insert("./d030/dump".into(), file(dump));
    let second = world.back_up(&tar_of(&tree), Some(&world.worker));
    assert!(world.read_back(&second) == tar_of(&tree));
    let new = second.manifest.new_bytes;
    // One tail of a dump, a chunk of 8 MiB at most, and a pack of small files, of 4 MiB at most: where a chain's
    // chunks end is drawn. A dump has 16 MB.
    assert!(new < 13_000_000, "{new} bytes are new");
    // A run that takes files over behind it finds its pages as if they had been taken over.
    let (third, sent) = world.continue_with(&tree);
    assert_eq!(
        (sent.files, sent.opened, third.manifest.new_bytes),
        (0, 0, 0)
    );
}

/// A drain that gives up continuing has opened some pages by then, and not the dumps'.
#[test]
fn a_full_drain_after_all_stores_only_what_changed() {
    let world = World::new();
    let mut tree = tree(4000);
    tree.insert("./d030/dump".into(), file(noise(2)));
    world.continue_with(&tree);
    let tar = tar_of(&tree);
    let second = world.back_up_with(Some(&world.worker), |writer| {
        writer.open(0).unwrap();
        writer.whole();
        full(&tar, writer);
    });
    assert!(world.read_back(&second) == tar);
    assert_eq!(second.manifest.new_bytes, 0);
}

#[test]
fn a_damaged_page_of_the_base_is_said_and_its_content_stored_again() {
    let world = World::new();
    let tree = tree(3000);
    world.continue_with(&tree);
    let run = world.begin(Some(&world.worker));
    // After the base was chosen: nobody had reason to doubt it.
    for name in world.objects("index") {
        for store in &world.stores {
            world.runtime.block_on(store.delete(&name)).unwrap();
        }
    }
    let mut writer = run.artifact(artifact("g-0-j.tar")).unwrap();
    let error = writer.open(0).unwrap_err();
    assert!(error.to_string().contains("index/"), "{error}");
    let tar = tar_of(&tree);
    full(&tar, &mut writer);
    assert!(writer.base_problem().unwrap().contains("index/"));
    let (record, new_bytes) = writer.finish().unwrap();
    assert!(new_bytes > 0);
    let (signed, _) = run.commit(summary(vec![record]), &SystemClock).unwrap();
    assert!(world.read_back(&signed) == tar);
}

#[test]
fn content_is_taken_over_from_the_same_artifact_only() {
    let world = World::new();
    world.continue_with(&tree(300));
    let run = world.begin(Some(&world.worker));
    let pages = |name: ArtifactName| run.artifact(name).unwrap().pages().len();
    assert_eq!(pages(artifact("g-0-j.tar")), 1);
    assert_eq!(pages(artifact("g-1-j.tar")), 0);
    let other_job = lifeboat::repo::format::BbrName::Instance {
        instance: "g".into(),
        index: "0".into(),
        job: "k".into(),
    };
    let named = ArtifactName {
        bbr: Some(other_job),
        ..artifact("g-0-j.tar")
    };
    assert_eq!(pages(named), 0);
    let form = ArtifactName {
        form: Form::File,
        ..artifact("g-0-j.tar")
    };
    assert_eq!(pages(form), 0);
}

#[derive(Debug, Clone)]
enum Edit {
    Write(usize, Vec<u8>),
    Grow(usize),
    Mode(usize),
    Remove(usize, usize),
    Rename(usize),
}

fn edit() -> impl Strategy<Value = Edit> {
    let place = 0..2000_usize;
    prop_oneof![
        (
            place.clone(),
            proptest::collection::vec(any::<u8>(), 0..2000)
        )
            .prop_map(|(at, content)| Edit::Write(at, content)),
        place.clone().prop_map(Edit::Grow),
        place.clone().prop_map(Edit::Mode),
        (place.clone(), 1..400_usize).prop_map(|(at, many)| Edit::Remove(at, many)),
        place.prop_map(Edit::Rename),
    ]
}

fn apply(tree: &mut Tree, edit: Edit) {
    let path = |at: usize| tree.keys().nth(at % tree.len().max(1)).cloned();
    match edit {
        Edit::Write(at, content) => {
            tree.insert(format!("./d{:03}/{at:06}", at / 100), file(content));
        }
        Edit::Grow(at) => {
            if let Some(path) = path(at) {
                tree.get_mut(&path)
                    .unwrap()
                    .content
                    .resize(600_000 + at, b'x');
            }
        }
        Edit::Mode(at) => {
            if let Some(path) = path(at) {
                tree.get_mut(&path).unwrap().mode ^= 0o111;
            }
        }
        Edit::Remove(at, many) => {
            let gone: Vec<_> = tree.keys().skip(at).take(many).cloned().collect();
            tree.retain(|path, _| !gone.contains(path));
        }
        Edit::Rename(at) => {
            if let Some(file) = path(at).and_then(|path| tree.remove(&path)) {
                tree.insert(format!("./d{:03}/moved{at}", at % 30), file);
            }
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(
        std::env::var("PROPTEST_CASES").ok().and_then(|n| n.parse().ok()).unwrap_or(6)
    ))]
    #[test]
    fn any_history_comes_back_as_if_it_had_been_written_whole(
        runs in proptest::collection::vec(
            (proptest::collection::vec(edit(), 0..12), proptest::bool::weighted(0.2)), 1..5),
    ) {
        let world = World::new();
        let mut tree = tree(2000);
        let mut all = vec![(world.continue_with(&tree).0, tar_of(&tree))];
        for (edits, whole) in runs {
            for edit in edits {
                apply(&mut tree, edit);
            }
            let signed = match whole {
                true => world.back_up(&tar_of(&tree), Some(&world.worker)),
                false => world.continue_with(&tree).0,
            };
            prop_assert!(signed.manifest.base.is_some());
            all.push((signed, tar_of(&tree)));
        }
        // Every backup of the chain, not only the newest.
        for (signed, tar) in all {
            prop_assert!(world.read_back(&signed) == tar);
        }
    }
}
