//! Header blocks of regular files as GNU tar writes them with `--format=gnu`, and what they say.
//!
//! After `create.c` of GNU tar 1.34: `start_header`, `write_gnu_long_link`, `to_chars`.

use super::Listed;

/// Bytes of a tar block.
const SIZE: usize = 512;
/// Bytes of a name that a header holds; a longer one stands in front of it.
const NAME: usize = 100;
/// Bytes of a user's or a group's name, with its NUL.
const OWNER: usize = 32;
/// Of GNU's own format: magic and version in one.
const MAGIC: &[u8] = b"ustar  \0";
/// What the entry that holds a long name is called.
const LONG: &[u8] = b"././@LongLink";

/// What user 0 and group 0 are called on an instance: tar gives long names to them.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Root {
    /// At most 31 bytes; empty when it has no name.
    pub user: Vec<u8>,
    /// Likewise.
    pub group: Vec<u8>,
}

impl Listed {
    /// Bytes of [`Listed::head`].
    pub fn head_length(&self) -> usize {
        match self.path.len() {
            ..=NAME => SIZE,
            long => 2 * SIZE + (long + 1).next_multiple_of(SIZE),
        }
    }

    /// The header blocks that GNU tar writes for this file.
    pub fn head(&self, root: &Root) -> Vec<u8> {
        let mut head = Vec::with_capacity(SIZE);
        if self.path.len() > NAME {
            let long = Block {
                name: LONG,
                mode: 0o644,
                size: self.path.len() as u64 + 1,
                kind: b'L',
                user: &root.user,
                group: &root.group,
                ..Block::default()
            };
            head.extend_from_slice(&long.render());
            head.extend_from_slice(&self.path);
            // At least one: the NUL that ends it.
            head.resize((head.len() + 1).next_multiple_of(SIZE), 0);
        }
        let block = Block {
            name: &self.path,
            mode: self.mode,
            uid: self.uid,
            gid: self.gid,
            size: self.size,
            mtime: self.mtime,
            kind: b'0',
            user: &self.user,
            group: &self.group,
        };
        head.extend_from_slice(&block.render());
        head
    }

    /// What such header blocks say; `None` when they are anything else than GNU tar's of one
    /// regular file.
    pub fn of_head(head: &[u8]) -> Option<Self> {
        let at = head.len().checked_sub(SIZE)?;
        let block: &[u8; SIZE] = head[at..].try_into().ok()?;
        if &block[257..265] != MAGIC || block[156] != b'0' {
            return None;
        }
        let path = match &head[..at] {
            [] => text(&block[..NAME]),
            long => long_name(long)?,
        };
        Some(Self {
            path: path.to_vec(),
            mode: u32::try_from(number(&block[100..108])?).ok()?,
            uid: number(&block[108..116])?.try_into().ok()?,
            gid: number(&block[116..124])?.try_into().ok()?,
            size: number(&block[124..136])?.try_into().ok()?,
            mtime: number(&block[136..148])?,
            user: text(&block[265..297]).to_vec(),
            group: text(&block[297..329]).to_vec(),
        })
    }
}

/// The name in front of a header.
fn long_name(blocks: &[u8]) -> Option<&[u8]> {
    let (block, data) = blocks.split_at_checked(SIZE)?;
    if text(&block[..NAME]) != LONG || block[156] != b'L' || &block[257..265] != MAGIC {
        return None;
    }
    let size = usize::try_from(number(&block[124..136])?).ok()?;
    if size.checked_next_multiple_of(SIZE)? != data.len() {
        return None;
    }
    let (end, name) = data[..size].split_last()?;
    (*end == 0 && !name.contains(&0)).then_some(name)
}

/// The fields of one header block.
#[derive(Default)]
struct Block<'a> {
    name: &'a [u8],
    mode: u32,
    uid: u64,
    gid: u64,
    size: u64,
    mtime: i64,
    kind: u8,
    user: &'a [u8],
    group: &'a [u8],
}

impl Block<'_> {
    fn render(&self) -> [u8; SIZE] {
        let mut block = [0; SIZE];
        put(&mut block[..NAME], self.name, NAME);
        put_number(&mut block[100..108], self.mode.into());
        put_number(&mut block[108..116], self.uid.into());
        put_number(&mut block[116..124], self.gid.into());
        put_number(&mut block[124..136], self.size.into());
        put_number(&mut block[136..148], self.mtime.into());
        block[156] = self.kind;
        put(&mut block[257..265], MAGIC, MAGIC.len());
        put(&mut block[265..297], self.user, OWNER - 1);
        put(&mut block[297..329], self.group, OWNER - 1);
        // The sum counts its own field as blanks; tar leaves the last of them.
        block[148..156].fill(b' ');
        let sum: u32 = block.iter().map(|byte| u32::from(*byte)).sum();
        put_number(&mut block[148..155], sum.into());
        block
    }
}

fn put(field: &mut [u8], text: &[u8], most: usize) {
    let length = text.len().min(most);
    field[..length].copy_from_slice(&text[..length]);
}

/// Octal digits and a NUL, or, where they do not suffice, base 256: a bit that says so, and then a
/// number in two's complement.
fn put_number(field: &mut [u8], number: i128) {
    let digits = field.len() - 1;
    if number >= 0 && number >> (3 * digits) == 0 {
        let text = format!("{number:0digits$o}");
        field[..digits].copy_from_slice(text.as_bytes());
        field[digits] = 0;
        return;
    }
    let bytes = number.to_be_bytes();
    let (first, rest) = field.split_at_mut(1);
    first[0] = if number < 0 { 0xff } else { 0x80 };
    let from = bytes.len() - rest.len();
    rest.copy_from_slice(&bytes[from..]);
}

/// The inverse; `None` for what is no such number or does not fit.
fn number(field: &[u8]) -> Option<i64> {
    if field[0] & 0x80 == 0 {
        let text = std::str::from_utf8(text(field)).ok()?;
        let octal = !text.is_empty() && text.bytes().all(|digit| (b'0'..=b'7').contains(&digit));
        return octal.then(|| i64::from_str_radix(text, 8).ok())?;
    }
    let start: i128 = match field[0] {
        0x80 => 0,
        0xff => -1,
        _ => return None,
    };
    let value = field[1..]
        .iter()
        .fold(start, |value, byte| value << 8 | i128::from(*byte));
    i64::try_from(value).ok()
}

fn text(field: &[u8]) -> &[u8] {
    field.split(|byte| *byte == 0).next().unwrap_or(field)
}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::io::Read as _;
    use std::os::unix::ffi::OsStrExt as _;
    use std::path::Path;
    use std::process::{Command, Stdio};

    use proptest::prelude::*;

    use super::*;
    use crate::artifact::tar::TarReader;

    /// What GNU tar writes in front of the content of one file.
    fn tar(dir: &Path, path: &[u8], options: &[String]) -> Vec<u8> {
        let mut child = Command::new("tar")
            .args([
                "--create",
                "--format=gnu",
                "--no-unquote",
                "--file=-",
                "--directory",
            ])
            .arg(dir)
            .args(options)
            .arg("--")
            .arg(std::ffi::OsStr::from_bytes(path))
            .env("LC_ALL", "C")
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let mut stdout = child.stdout.take().unwrap();
        let entry = TarReader::new(stdout.by_ref())
            .next_entry()
            .unwrap()
            .unwrap();
        // A content of many gigabytes is nobody's to wait for.
        drop((stdout, child.kill(), child.wait()));
        entry.head
    }

    fn root() -> Root {
        Root {
            user: b"root".to_vec(),
            group: b"root".to_vec(),
        }
    }

    /// Makes the file, has it archived as `listed` says, and compares.
    fn compare(listed: &Listed) {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join(std::ffi::OsStr::from_bytes(&listed.path));
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::File::create(&path)
            .unwrap()
            .set_len(listed.size)
            .unwrap();
        let owner = |name: &[u8], number| format!("{}:{number}", String::from_utf8_lossy(name));
        let options = [
            format!("--mode={:o}", listed.mode),
            format!("--owner={}", owner(&listed.user, listed.uid)),
            format!("--group={}", owner(&listed.group, listed.gid)),
            format!("--mtime=@{}", listed.mtime),
        ];
        let real = tar(dir.path(), &listed.path, &options);
        let rendered = listed.head(&root());
        assert_eq!(shown(&rendered), shown(&real), "{listed:?}");
        assert_eq!(Listed::of_head(&real).as_ref(), Some(listed));
        assert_eq!(listed.head_length(), real.len());
    }

    /// Blocks that a person can compare.
    fn shown(head: &[u8]) -> Vec<String> {
        let blocks = head.chunks(16);
        blocks
            .map(|bytes| bytes.escape_ascii().to_string())
            .collect()
    }

    fn plain(path: &[u8]) -> Listed {
        Listed {
            path: path.to_vec(),
            mode: 0o644,
            uid: 0,
            gid: 0,
            user: b"root".to_vec(),
            group: b"root".to_vec(),
            mtime: 1_700_000_000,
            size: 0,
        }
    }

    #[test]
    fn names_at_the_limits_are_as_tar_writes_them() {
        for length in [3, 99, 100, 101, 102, 255, 510, 511, 512, 513, 1024, 1700] {
            let mut path = b"./".to_vec();
            while path.len() < length {
                path.push(if path.len().is_multiple_of(200) {
                    b'/'
                } else {
                    b'n'
                });
            }
            if path.ends_with(b"/") {
                path.push(b'n');
            }
            compare(&plain(&path));
        }
        for path in [
            &b"./new\nline"[..],
            b"./\xff\xfe",
            b"./quote'\"\\",
            b"./x ",
            b"./-n",
        ] {
            compare(&plain(path));
        }
    }

    #[test]
    fn numbers_at_the_limits_are_as_tar_writes_them() {
        let with = |change: &dyn Fn(&mut Listed)| {
            let mut listed = plain(b"./f");
            change(&mut listed);
            compare(&listed);
        };
        for id in [0, 0o7_777_777, 0o10_000_000, u64::from(u32::MAX) - 1] {
            with(&|listed| (listed.uid, listed.gid) = (id, id));
        }
        for mtime in [-1, -5_000_000_000, 0, 0o77_777_777_777, 0o100_000_000_000] {
            with(&|listed| listed.mtime = mtime);
        }
        for size in [1, 511, 512, 0o77_777_777_777, 0o100_000_000_000] {
            with(&|listed| listed.size = size);
        }
        for mode in [0, 0o7777, 0o4755, 0o1000] {
            with(&|listed| listed.mode = mode);
        }
        // Numbers that have no name anywhere.
        with(&|listed| {
            (listed.user, listed.group) = (Vec::new(), Vec::new());
            (listed.uid, listed.gid) = (1_234_567, 1_234_568);
        });
        with(&|listed| (listed.user, listed.group) = (vec![b'u'; 31], vec![b'g'; 31]));
    }

    #[test]
    fn other_heads_are_not_understood() {
        let dir = tempfile::tempdir().unwrap();
        fs::write(dir.path().join("f"), "f").unwrap();
        std::os::unix::fs::symlink("f", dir.path().join("s")).unwrap();
        let good = tar(dir.path(), b"./f", &[]);
        assert!(Listed::of_head(&good).is_some());
        let pax = tar(dir.path(), b"./f", &["--format=posix".to_owned()]);
        let ustar = tar(dir.path(), b"./f", &["--format=ustar".to_owned()]);
        let twice = [&good[..], &good].concat();
        let link = tar(dir.path(), b"./s", &[]);
        for head in [&pax[..], &ustar, &twice, &link, &good[..511], &[]] {
            assert_eq!(Listed::of_head(head), None);
        }
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(24))]
        #[test]
        fn heads_are_as_tar_writes_them(
            segments in proptest::collection::vec(
                proptest::collection::vec(1..=255_u8, 1..120), 1..6),
            mode in 0_u32..=0o7777,
            (uid, gid) in (0..u64::from(u32::MAX) - 1, 0..u64::from(u32::MAX) - 1),
            mtime in -100_000_000_000..200_000_000_000_i64,
            size in 0..1_u64 << 36,
            user in "[a-z_][a-z0-9_-]{0,30}", group in "[a-z_]{0,31}",
        ) {
            let mut path = b".".to_vec();
            for mut segment in segments {
                segment.retain(|byte| *byte != b'/');
                if !segment.is_empty() && segment.iter().any(|byte| *byte != b'.') {
                    path.push(b'/');
                    path.extend(segment);
                }
            }
            path.extend(b"/f");
            let group = group.into_bytes();
            compare(&Listed { path, mode, uid, gid, user: user.into_bytes(), group, mtime, size });
        }
    }
}
