//! A root's sums and a page's parts are what they claim, or the object is refused.
#![no_main]

use libfuzzer_sys::fuzz_target;
use lifeboat::artifact::Digest;
use lifeboat::repo::format::{PageKind, PageRecord, Part};
use lifeboat::repo::index::{FilePage, Root};

fuzz_target!(|bytes: &[u8]| {
    if let Ok(root) = Root::parse("root", bytes) {
        let bytes: u64 = root.files.iter().map(|page| page.bytes).sum();
        assert_eq!(bytes, root.head.bytes);
    }
    let lines = bytes.iter().filter(|byte| **byte == b'\n').count() as u64;
    let record = PageRecord {
        page: Digest::of(b""),
        kind: PageKind::Files,
        entries: lines.saturating_sub(1),
        bytes: 12,
        list: String::new(),
    };
    if let Ok(page) = FilePage::parse("page", bytes, &record) {
        for Part(at, offset, length) in page.lines.iter().flat_map(|line| &line.parts) {
            let chunk = &page.chunks[*at as usize];
            assert!(offset + length <= chunk.2);
        }
    }
});
