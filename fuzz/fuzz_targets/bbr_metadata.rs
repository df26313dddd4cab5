//! Whatever a metadata script prints is understood or refused, and constraints are never empty.
#![no_main]

use libfuzzer_sys::fuzz_target;
use lifeboat::bbr::Metadata;

fuzz_target!(|bytes: &[u8]| {
    drop(Metadata::parse(bytes));
});
