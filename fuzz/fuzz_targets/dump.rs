//! Whatever begins as a dump is followed to its end or refused, and in pieces it is what it is at once.
#![no_main]

use std::io::Read;

use libfuzzer_sys::fuzz_target;
use lifeboat::artifact::dump::{HEAD, follow, is_known};

/// A stream that comes in pieces of seven bytes.
struct Slowly<'a>(&'a [u8]);

impl Read for Slowly<'_> {
    fn read(&mut self, buffer: &mut [u8]) -> std::io::Result<usize> {
        let most = buffer.len().min(7);
        self.0.read(&mut buffer[..most])
    }
}

fuzz_target!(|bytes: &[u8]| {
    let mut whole = bytes;
    let found = follow(&mut whole);
    assert_eq!(found.is_ok(), follow(&mut Slowly(bytes)).is_ok());
    if !is_known(&bytes[..bytes.len().min(HEAD)]) {
        assert_eq!(found, Ok(None));
    }
});
