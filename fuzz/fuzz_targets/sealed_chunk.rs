//! What is sealed opens to itself; anything else opens to at most the limit, or not at all.
#![no_main]

use libfuzzer_sys::fuzz_target;
use lifeboat::repo::seal::Opener;

fuzz_target!(|bytes: &[u8]| {
    let opener = Opener::parse("AGE-SECRET-KEY-1GFPYYSJZGFPYYSJZGFPYYSJZGFPYYSJZGFPYYSJZGFPYYSJZGFPQ4EGAEX")
        .unwrap_or_else(|_| Opener::generate());
    if let Ok(plain) = opener.open(bytes, 1000) {
        assert!(plain.len() <= 1000);
    }
    let sealed = opener.sealer().seal(bytes).expect("sealing works");
    assert_eq!(opener.open(&sealed, bytes.len() as u64).expect("opens"), bytes);
});
