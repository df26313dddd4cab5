//! Rows on their way into an inventory. The head comes first and counts them, so they must all be
//! had before the first is written; a finished kind waits deflated, at about a tenth of its size.

use std::io::{self, BufReader, Cursor, Read, Write};

use flate2::Compression;
use flate2::read::DeflateDecoder;
use flate2::write::DeflateEncoder;

use super::{FORMAT, Head, Item};

/// The rows of one kind, in any order.
#[derive(Debug, Default)]
pub struct Rows {
    kind: String,
    /// Key and line.
    rows: Vec<(Box<str>, Box<str>)>,
}

impl Rows {
    /// None yet.
    pub fn of(kind: &str) -> Self {
        Self {
            kind: kind.to_owned(),
            rows: Vec::new(),
        }
    }

    /// One more, which must be of this kind.
    pub fn push(&mut self, item: &Item) {
        debug_assert_eq!(item.kind, self.kind);
        let line = serde_json::to_string(item).unwrap_or_default();
        self.rows.push((item.key.as_str().into(), line.into()));
    }

    /// How many.
    pub fn len(&self) -> usize {
        self.rows.len()
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.rows.is_empty()
    }
}

/// Finished kinds.
#[derive(Debug, Default)]
pub struct Spool {
    /// Kind, count, deflated lines; in any order.
    kinds: Vec<(String, u64, Vec<u8>)>,
}

impl Spool {
    /// Sorts a kind and puts it by. Rows with the same key get `~2`, `~3`, … behind it, in the
    /// order of their lines.
    ///
    /// # Errors
    /// Never in practice: the deflater writes to memory.
    pub fn add(&mut self, mut rows: Rows) -> io::Result<()> {
        rows.rows.sort_unstable();
        let repeated = rows.rows.windows(2).any(|pair| pair[0].0 == pair[1].0);
        if repeated {
            tell_apart(&mut rows.rows);
        }
        let mut deflated = DeflateEncoder::new(Vec::new(), Compression::fast());
        for (_, line) in &rows.rows {
            deflated.write_all(line.as_bytes())?;
            deflated.write_all(b"\n")?;
        }
        let mut block = deflated.finish()?;
        block.shrink_to_fit();
        self.kinds.push((rows.kind, rows.rows.len() as u64, block));
        Ok(())
    }

    /// Closes it under this head, whose format and counts are filled in.
    pub fn finish(mut self, mut head: Head) -> Inventory {
        self.kinds.sort_by(|a, b| a.0.cmp(&b.0));
        head.format = FORMAT;
        head.counts = self
            .kinds
            .iter()
            .filter(|(_, count, _)| *count > 0)
            .map(|(kind, count, _)| (kind.clone(), *count))
            .collect();
        let blocks = self.kinds.into_iter().map(|(.., block)| block).collect();
        Inventory { head, blocks }
    }
}

fn tell_apart(rows: &mut [(Box<str>, Box<str>)]) {
    let mut same = 1;
    let mut last: Box<str> = "".into();
    for (key, line) in rows.iter_mut() {
        if *key == last {
            same += 1;
            if let Ok(mut item) = serde_json::from_str::<Item>(line) {
                item.key = format!("{key}~{same}");
                *key = item.key.as_str().into();
                *line = serde_json::to_string(&item).unwrap_or_default().into();
            }
        } else {
            (same, last) = (1, key.clone());
        }
    }
    rows.sort_unstable();
}

/// A whole inventory in memory, deflated.
#[derive(Debug)]
pub struct Inventory {
    /// Its first line.
    pub head: Head,
    blocks: Vec<Vec<u8>>,
}

impl Inventory {
    /// Its text: the head, then the lines sorted by kind and key.
    pub fn text(&self) -> impl io::BufRead + Send + '_ {
        let mut head = serde_json::to_string(&self.head).unwrap_or_default();
        head.push('\n');
        let blocks = Blocks {
            left: self.blocks.iter(),
            now: None,
        };
        BufReader::new(Cursor::new(head.into_bytes()).chain(blocks))
    }

    /// Bytes that it takes in memory.
    pub fn held_bytes(&self) -> usize {
        self.blocks.iter().map(Vec::len).sum()
    }
}

struct Blocks<'a> {
    left: std::slice::Iter<'a, Vec<u8>>,
    now: Option<DeflateDecoder<&'a [u8]>>,
}

impl Read for Blocks<'_> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        loop {
            if let Some(block) = &mut self.now {
                let read = block.read(buffer)?;
                if read > 0 || buffer.is_empty() {
                    return Ok(read);
                }
            }
            match self.left.next() {
                Some(block) => self.now = Some(DeflateDecoder::new(block.as_slice())),
                None => return Ok(0),
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::inventory::Reader;

    #[test]
    fn rows_come_out_sorted_counted_and_told_apart() {
        let mut spool = Spool::default();
        let mut spaces = Rows::of("space");
        spaces.push(&Item::new("space", &["o", "b"]));
        let mut apps = Rows::of("app");
        for (name, guid) in [("z", "1"), ("a", "3"), ("a", "2"), ("a", "4"), ("b", "5")] {
            apps.push(&Item::new("app", &["o", "s", name]).guid(guid));
        }
        spool.add(spaces).unwrap();
        spool.add(apps).unwrap();
        spool.add(Rows::of("route")).unwrap();
        let inventory = spool.finish(Head::default());
        let mut reader = Reader::open(inventory.text()).unwrap();
        assert_eq!(
            reader.head().counts,
            [("app".to_owned(), 5), ("space".to_owned(), 1)].into()
        );
        let mut keys = Vec::new();
        while let Some(item) = reader.next().unwrap() {
            keys.push((item.key, item.guid.unwrap_or_default()));
        }
        let keys: Vec<_> = keys.iter().map(|(a, b)| (a.as_str(), b.as_str())).collect();
        assert_eq!(
            keys,
            [
                ("o/s/a", "2"),
                ("o/s/a~2", "3"),
                ("o/s/a~3", "4"),
                ("o/s/b", "5"),
                ("o/s/z", "1"),
                ("o/b", "")
            ]
        );
    }
}
