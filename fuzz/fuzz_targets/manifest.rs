//! What parses as a manifest writes itself as something that parses to the same.
#![no_main]

use libfuzzer_sys::fuzz_target;
use lifeboat::repo::format::Signed;
use lifeboat::repo::id::{BackupId, Foundation};

fuzz_target!(|bytes: &[u8]| {
    let foundation = Foundation::parse("f").expect("a valid name");
    let id = BackupId::parse("20261122T010203Z-7f3a09bc").expect("a valid id");
    if let Ok(signed) = Signed::parse(&foundation, &id, bytes) {
        let again = Signed::new(signed.manifest.clone());
        let again = match signed.signature {
            Some(signature) => again.with_signature(signature),
            None => again,
        };
        let parsed = Signed::parse(&foundation, &id, &again.to_bytes()).expect("our own manifest parses");
        assert_eq!(parsed.manifest, signed.manifest);
    }
});
