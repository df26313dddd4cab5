//! Redis' RDB files: the magic, and at the end a mark and the CRC-64 of all before it.

use std::io::Read;

use super::{Seen, unread};

pub(super) const MAGIC: &[u8] = b"REDIS0";
/// Mark of the end, and behind it the checksum.
const END: u8 = 0xff;
const SUM: usize = 8;
/// From this version on there is a checksum.
const WITH_SUM: u32 = 5;
const BUFFER: usize = 64 << 10;
/// Jones' polynomial, reflected.
const POLYNOMIAL: u64 = 0x95ac_9329_ac4b_c9b5;

pub(super) fn follow(reader: &mut dyn Read) -> Result<Seen, String> {
    let table = table();
    let mut buffer = vec![0; BUFFER];
    // What may be the mark and the checksum.
    let mut held: Vec<u8> = Vec::new();
    let (mut sum, mut last, mut version) = (0_u64, 0_u8, None);
    loop {
        let read = match reader.read(&mut buffer) {
            Ok(0) => break,
            Ok(read) => read,
            Err(error) if error.kind() == std::io::ErrorKind::Interrupted => continue,
            Err(error) => return Err(unread(&error)),
        };
        held.extend_from_slice(&buffer[..read]);
        if version.is_none() && held.len() >= 9 {
            version = std::str::from_utf8(&held[5..9])
                .ok()
                .and_then(|text| text.parse::<u32>().ok());
            if version.is_none() {
                return Err("begins as a Redis dump and states no version".to_owned());
            }
        }
        let over = held.len().saturating_sub(SUM);
        for byte in held.drain(..over) {
            sum = table[usize::from(byte ^ sum.to_le_bytes()[0])] ^ (sum >> 8);
            last = byte;
        }
    }
    let cut = || "is cut short: it begins as a Redis dump and has no end".to_owned();
    let Some(version) = version else {
        return Err(cut());
    };
    if version < WITH_SUM {
        if held.last() != Some(&END) {
            return Err(cut());
        }
    } else {
        if held.len() < SUM || last != END {
            return Err(cut());
        }
        let stated = held
            .iter()
            .rev()
            .fold(0_u64, |sum, byte| sum << 8 | u64::from(*byte));
        // Redis writes zeros where it was told not to sum.
        if stated != 0 && stated != sum {
            return Err(
                "is not whole: the checksum at the end of the Redis dump is another".to_owned(),
            );
        }
    }
    Ok(Seen::dump(
        format!("a Redis dump (version {version})"),
        false,
    ))
}

fn table() -> [u64; 256] {
    let mut table = [0; 256];
    for (byte, entry) in (0_u64..).zip(&mut table) {
        *entry = (0..8).fold(byte, |sum, _| match sum & 1 {
            1 => POLYNOMIAL ^ (sum >> 1),
            _ => sum >> 1,
        });
    }
    table
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_sum_is_that_of_redis() {
        // The check value that Redis' own test states for these digits.
        let table = table();
        let sum = b"123456789".iter().fold(0_u64, |sum, byte| {
            table[usize::from(byte ^ sum.to_le_bytes()[0])] ^ (sum >> 8)
        });
        assert_eq!(sum, 0xe9c6_d914_c4b8_d9ca);
    }
}
