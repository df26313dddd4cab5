//! Rows on their way into an inventory. The head comes first and counts them, so they must all be
//! had before the first is written; a finished kind waits deflated, at about a tenth of its size.

use std::collections::BTreeSet;
use std::io::{self, BufReader, Cursor, Read, Write};

use flate2::Compression;
use flate2::read::DeflateDecoder;
use flate2::write::DeflateEncoder;

use super::{FORMAT, Head, Item};

/// Rows that are sorted at a time.
const RUN: usize = 4_096;

/// The rows of one kind, in any order. Every few thousand are sorted and deflated.
#[derive(Debug, Default)]
pub struct Rows {
    kind: String,
    now: Vec<Row>,
    runs: Vec<Vec<u8>>,
    count: u64,
}

/// Key and line.
type Row = (Box<str>, Box<str>);

impl Rows {
    /// None yet.
    pub fn of(kind: &str) -> Self {
        Self {
            kind: kind.to_owned(),
            ..Self::default()
        }
    }

    /// One more, which must be of this kind.
    ///
    /// # Panics
    /// Never in practice: the deflater writes to memory.
    pub fn push(&mut self, item: &Item) {
        debug_assert_eq!(item.kind, self.kind);
        let line = serde_json::to_string(item).unwrap_or_default();
        self.now.push((item.key.as_str().into(), line.into()));
        self.count += 1;
        if self.now.len() >= RUN {
            self.put_by().expect("memory takes all that is written");
        }
    }

    fn put_by(&mut self) -> io::Result<()> {
        self.now.sort_unstable();
        let mut deflated = DeflateEncoder::new(Vec::new(), Compression::fast());
        for (key, line) in self.now.drain(..) {
            for text in [key, line] {
                let length = u32::try_from(text.len()).map_err(io::Error::other)?;
                deflated.write_all(&length.to_le_bytes())?;
                deflated.write_all(text.as_bytes())?;
            }
        }
        let mut run = deflated.finish()?;
        run.shrink_to_fit();
        self.runs.push(run);
        Ok(())
    }
}

/// A run that is read back.
struct Run<'a> {
    from: BufReader<DeflateDecoder<&'a [u8]>>,
    head: Option<Row>,
}

impl<'a> Run<'a> {
    fn open(run: &'a [u8]) -> io::Result<Self> {
        let from = BufReader::new(DeflateDecoder::new(run));
        let mut run = Self { from, head: None };
        run.step()?;
        Ok(run)
    }

    /// Gives the row at its head and reads the next.
    fn step(&mut self) -> io::Result<Option<Row>> {
        let next = match self.text()? {
            None => None,
            Some(key) => Some((key, self.text()?.unwrap_or_default())),
        };
        Ok(std::mem::replace(&mut self.head, next))
    }

    fn text(&mut self) -> io::Result<Option<Box<str>>> {
        let mut length = [0; 4];
        if self.from.read(&mut length[..1])? == 0 {
            return Ok(None);
        }
        self.from.read_exact(&mut length[1..])?;
        let mut text = vec![0; u32::from_le_bytes(length) as usize];
        self.from.read_exact(&mut text)?;
        let text = String::from_utf8(text).map_err(io::Error::other)?;
        Ok(Some(text.into()))
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
    /// Never in practice: all is in memory.
    pub fn add(&mut self, mut rows: Rows) -> io::Result<()> {
        rows.put_by()?;
        let mut runs = Vec::new();
        for run in &rows.runs {
            runs.push(Run::open(run)?);
        }
        let mut deflated = DeflateEncoder::new(Vec::new(), Compression::fast());
        let mut renamed: BTreeSet<Row> = BTreeSet::new();
        let mut last: Option<(Box<str>, u64)> = None;
        while let Some((key, line)) = least(&mut runs, &mut renamed)? {
            match &mut last {
                Some((before, same)) if *before == key => {
                    *same += 1;
                    renamed.insert(another_name(&key, &line, *same));
                }
                _ => {
                    deflated.write_all(line.as_bytes())?;
                    deflated.write_all(b"\n")?;
                    last = Some((key, 1));
                }
            }
        }
        let mut block = deflated.finish()?;
        block.shrink_to_fit();
        self.kinds.push((rows.kind, rows.count, block));
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

/// The first row of all that are left.
fn least(runs: &mut [Run<'_>], renamed: &mut BTreeSet<Row>) -> io::Result<Option<Row>> {
    let heads = runs.iter().enumerate();
    let run = heads
        .filter_map(|(at, run)| Some((run.head.as_ref()?, at)))
        .min();
    match (run, renamed.first()) {
        (Some((head, at)), other) if other.is_none_or(|other| head <= other) => runs[at].step(),
        _ => Ok(renamed.pop_first()),
    }
}

fn another_name(key: &str, line: &str, same: u64) -> Row {
    let mut item: Item = serde_json::from_str(line).unwrap_or_default();
    item.key = format!("{key}~{same}");
    let line = serde_json::to_string(&item).unwrap_or_default();
    (item.key.into(), line.into())
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
    fn many_rows_come_out_sorted_and_names_that_collide_are_told_apart() {
        let mut rows = Rows::of("app");
        let number = 3 * RUN as u64 + 7;
        for n in 0..number {
            let name = format!("app-{}", n * 7_919 % number);
            rows.push(&Item::new("app", &[&name]).guid(&n.to_string()));
        }
        for name in ["a", "a", "a~2", "a b", "a"] {
            rows.push(&Item::new("app", &[name]));
        }
        let mut spool = Spool::default();
        spool.add(rows).unwrap();
        let inventory = spool.finish(Head::default());
        let mut reader = Reader::open(inventory.text()).unwrap();
        let mut count = 0;
        while reader.next().unwrap().is_some() {
            count += 1;
        }
        assert_eq!(count, number + 5);
    }

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
