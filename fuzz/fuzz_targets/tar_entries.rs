//! A stream that is accepted is rebuilt byte for byte from heads, contents, padding and zeros.
#![no_main]

use std::io::Read;

use libfuzzer_sys::fuzz_target;
use lifeboat::artifact::tar::{TarReader, padding};

fuzz_target!(|bytes: &[u8]| {
    let mut reader = TarReader::new(bytes);
    let mut rebuilt = Vec::new();
    loop {
        match reader.next_entry() {
            Ok(Ok(entry)) => {
                rebuilt.extend_from_slice(&entry.head);
                if reader.content().read_to_end(&mut rebuilt).is_err() {
                    return;
                }
                rebuilt.resize(rebuilt.len() + padding(entry.size) as usize, 0);
            }
            Ok(Err(zeros)) => {
                rebuilt.resize(rebuilt.len() + zeros as usize, 0);
                assert_eq!(rebuilt, bytes);
                return;
            }
            Err(_) => return,
        }
    }
});
