//! Where content is cut. Pure. docs/format.md, *Chunks*.

use std::io::{self, Read};

use fastcdc::v2020::{FastCDC, Normalization};

use crate::artifact::Digest;

/// Smallest chunk of a large file in bytes, and the size below which files are packed.
pub const SMALLEST: usize = 512 << 10;
/// Average chunk in bytes, or little more.
pub const AVERAGE: usize = 3 << 19;
/// How closely sizes keep to the average. A changed row costs the chunk around it, which is as a rule a
/// large one where sizes are spread: with level 1 and 2 MiB ten daily dumps took 1.36 times what restic
/// stored, with level 3 1.2 times; level 0 and 1.5 MiB took 1.24 times (docs/benchmarks.md).
const CLOSELY: Normalization = Normalization::Level3;
/// Largest chunk in bytes.
pub const LARGEST: usize = 8 << 20;
/// Most cuts lie within so many bytes.
const MOSTLY_ENOUGH: usize = 3 << 20;
/// How much is packed on average behind the smallest pack, in bytes.
const PACK: usize = 2 << 20;
/// A pack is closed at this size in bytes, whatever the files say.
const FULL_PACK: usize = 4 << 20;

/// The chain's secret share in the choice of cuts.
#[derive(Clone, Copy)]
pub struct Seed(u64);

impl Seed {
    /// From the first 8 of the seed's 16 bytes.
    pub fn new(bytes: [u8; 16]) -> Self {
        let mut first = [0; 8];
        first.copy_from_slice(&bytes[..8]);
        // The cutting crate reads 0 as "no seed"; one chain in 2^64 gets its neighbour's.
        Self(u64::from_le_bytes(first).max(1))
    }

    /// Whether a pack of this many bytes ends behind a file of this digest and size. Depends
    /// on the files alone, so that a new file changes the pack it falls into and not all
    /// that follow: a byte of content ends the pack with a chance of 1 in [`PACK`].
    pub fn ends_pack(self, pack_bytes: usize, file: &Digest, file_bytes: u64) -> bool {
        pack_bytes >= FULL_PACK
            || (pack_bytes >= SMALLEST
                && self.draw(&file.0) < u64::MAX / PACK as u64 * file_bytes.max(1))
    }

    /// Whether a page ends behind an entry with this head: one in `average` does. Only what
    /// holds the name counts (the first 100 bytes of each block), so that a new time moves
    /// no boundary.
    pub fn ends_page(self, head: &[u8], average: u64) -> bool {
        let mut names = Vec::with_capacity(100);
        for block in head.chunks(512) {
            names.extend_from_slice(&block[..block.len().min(100)]);
        }
        self.draw(&Digest::of(&names).0).is_multiple_of(average)
    }

    fn draw(self, digest: &[u8; 32]) -> u64 {
        let mut first = [0; 8];
        first.copy_from_slice(&digest[..8]);
        // Multiplying by an odd constant spreads the seed's influence over all bits.
        (u64::from_le_bytes(first) ^ self.0).wrapping_mul(0x9e37_79b9_7f4a_7c15)
    }
}

/// Cuts large files, one after the other, in one buffer: one for each file would be zeroed and
/// touched whole even for a file of 1 MiB.
#[derive(Debug)]
pub struct Cutter {
    seed: Seed,
    bytes: Vec<u8>,
}

impl Cutter {
    /// Cuts as this seed says.
    pub fn new(seed: Seed) -> Self {
        let bytes = Vec::new();
        Self { seed, bytes }
    }

    /// Forgets what is left of a file that was not read to its end.
    pub fn begin(&mut self) {
        self.bytes.clear();
    }

    /// The next chunk of a file; `None` at its end.
    ///
    /// # Errors
    /// When it cannot be read.
    pub fn next(&mut self, content: &mut dyn Read) -> io::Result<Option<Vec<u8>>> {
        let mut wanted = MOSTLY_ENOUGH.max(self.bytes.len());
        loop {
            let missing = wanted - self.bytes.len();
            self.bytes.reserve_exact(missing);
            content.take(missing as u64).read_to_end(&mut self.bytes)?;
            let there = self.bytes.len();
            if there == 0 {
                return Ok(None);
            }
            let (_, end) = FastCDC::with_level_and_seed(
                &self.bytes,
                SMALLEST,
                AVERAGE,
                LARGEST,
                CLOSELY,
                self.seed.0,
            )
            .cut(0, there);
            if end == there && there == wanted && wanted < LARGEST {
                // No cut so far, but there may be more.
                wanted = LARGEST;
                continue;
            }
            let chunk = self.bytes[..end].to_vec();
            self.bytes.drain(..end);
            self.bytes.shrink_to(MOSTLY_ENOUGH);
            return Ok(Some(chunk));
        }
    }
}

impl std::fmt::Debug for Seed {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Seed")
    }
}

#[cfg(test)]
mod tests {
    use std::collections::HashSet;

    use fastcdc::v2020::StreamCDC;
    use proptest::prelude::*;

    use super::*;

    fn random(length: usize, mut state: u64) -> Vec<u8> {
        std::iter::repeat_with(|| {
            state ^= state << 13;
            state ^= state >> 7;
            state ^= state << 17;
            state.to_le_bytes()
        })
        .flatten()
        .take(length)
        .collect()
    }

    fn cut(seed: u64, content: &[u8]) -> Vec<Vec<u8>> {
        let mut bytes = [0; 16];
        bytes[..8].copy_from_slice(&seed.to_le_bytes());
        let mut cutter = Cutter::new(Seed::new(bytes));
        // What is left of an earlier file changes nothing.
        cutter.next(&mut &[1; SMALLEST + 1][..]).unwrap();
        cutter.begin();
        let mut content = content;
        std::iter::from_fn(|| cutter.next(&mut content).unwrap()).collect()
    }

    #[test]
    fn an_edit_changes_few_chunks() {
        let content = random(64 << 20, 7);
        let before: HashSet<_> = cut(3, &content).into_iter().collect();
        let mut edited = content;
        edited.splice((30 << 20)..(30 << 20), *b"a few new bytes");
        let after = cut(3, &edited);
        let new = after
            .iter()
            .filter(|chunk| !before.contains(*chunk))
            .count();
        assert!(
            after.len() > 20 && new <= 3,
            "{new} of {} chunks are new",
            after.len()
        );
    }

    #[test]
    fn another_seed_cuts_elsewhere() {
        let content = random(32 << 20, 9);
        let ours: HashSet<_> = cut(1, &content).into_iter().collect();
        let theirs = cut(2, &content);
        assert!(theirs.iter().filter(|chunk| ours.contains(*chunk)).count() <= 1);
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(16))]
        #[test]
        fn chunks_rejoin_to_the_content(length in 0usize..(20 << 20), state in 1u64.., seed: u64) {
            let content = random(length, state);
            let chunks = cut(seed, &content);
            prop_assert!(chunks.iter().all(|chunk| !chunk.is_empty() && chunk.len() <= LARGEST));
            prop_assert_eq!(chunks.concat(), &content[..]);
            let whole = StreamCDC::with_level_and_seed(
                &content[..], SMALLEST, AVERAGE, LARGEST, CLOSELY, seed.max(1),
            );
            let theirs: Vec<_> = whole.map(|chunk| chunk.unwrap().length).collect();
            let ours: Vec<_> = chunks.iter().map(Vec::len).collect();
            prop_assert_eq!(ours, theirs);
        }
    }
}
