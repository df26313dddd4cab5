//! What `sh/listing.pl` prints: pages of a listing, and its totals. An instance may say anything,
//! so all is bounded and checked before it is believed.

use std::io::{self, BufRead, Read};

use crate::artifact::listing::{MOST, Root};
use crate::artifact::name;

/// The most pages, for 25 million files and more.
const PAGES_LIMIT: usize = 100_000;

/// The most bytes of paths that end pages.
const PATHS_LIMIT: usize = 16 << 20;

/// The longest line: a path, its digest, numbers and two names.
const LINE_LIMIT: u64 = 8 * 1024;

/// A page of the listing.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(in crate::bbr) struct Page {
    /// As the index has it.
    pub(in crate::bbr) list: String,
    pub(in crate::bbr) files: u64,
    pub(in crate::bbr) bytes: u64,
    /// The path of its last file.
    pub(in crate::bbr) last: Vec<u8>,
}

/// The listing without its lines.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(in crate::bbr) struct Listing {
    pub(in crate::bbr) pages: Vec<Page>,
    pub(in crate::bbr) files: u64,
    pub(in crate::bbr) bytes: u64,
    /// Blocks that the files, with their heads, take in a tar.
    pub(in crate::bbr) blocks: u64,
    /// Directories, links, devices.
    pub(in crate::bbr) others: u64,
    pub(in crate::bbr) root: Root,
    /// By what was hashed, by how many processes, in how many milliseconds.
    pub(in crate::bbr) tool: String,
    pub(in crate::bbr) processes: u32,
    pub(in crate::bbr) millis: u32,
}

impl Listing {
    /// Reads the output of `list`.
    pub(in crate::bbr) fn read(from: &mut impl BufRead) -> io::Result<Self> {
        let mut pages: Vec<Page> = Vec::new();
        let (mut files, mut bytes, mut paths) = (0_u64, 0_u64, 0);
        loop {
            match take::<1>(from)? {
                [b'P'] => {}
                [b'E'] => break,
                _ => return Err(bad("holds something else than pages")),
            }
            let page = Page {
                list: hex::encode(take::<32>(from)?),
                files: u32::from_be_bytes(take(from)?).into(),
                bytes: u64::from_be_bytes(take(from)?),
                last: short(from)?,
            };
            if !(1..=MOST).contains(&page.files) || !name::is_safe(&page.last) {
                return Err(bad("holds a page that cannot be"));
            }
            if pages.last().is_some_and(|before| before.last >= page.last) {
                return Err(bad("holds pages out of order"));
            }
            files += page.files;
            bytes = bytes
                .checked_add(page.bytes)
                .ok_or_else(|| bad("holds more bytes than there can be"))?;
            paths += page.last.len();
            pages.push(page);
            if pages.len() > PAGES_LIMIT || paths > PATHS_LIMIT {
                return Err(bad("has too many pages"));
            }
        }
        let mut number = || Ok::<_, io::Error>(u64::from_be_bytes(take(from)?));
        if (number()?, number()?) != (files, bytes) {
            return Err(bad("does not add up"));
        }
        let (blocks, others) = (number()?, number()?);
        let listing = Self {
            pages,
            files,
            bytes,
            blocks,
            others,
            processes: u32::from_be_bytes(take(from)?),
            millis: u32::from_be_bytes(take(from)?),
            root: Root {
                user: owner(from)?,
                group: owner(from)?,
            },
            tool: name::shown(&short(from)?),
        };
        // What they take cannot be less than a block, and 64 bits must hold it.
        if blocks < files || blocks > u64::MAX / 1024 {
            return Err(bad("does not add up"));
        }
        Ok(listing)
    }
}

/// Reads one line; it ends in NUL.
pub(super) fn read_line(from: &mut impl BufRead) -> io::Result<Vec<u8>> {
    let mut line = Vec::new();
    from.take(LINE_LIMIT).read_until(0, &mut line)?;
    if line.pop() != Some(0) {
        return Err(bad("ends inside a line, or holds one that is too long"));
    }
    Ok(line)
}

/// Reads a number of perl's `w`: seven bits a byte, the highest first, each but the last marked.
pub(super) fn read_packed(from: &mut impl Read) -> io::Result<u32> {
    let mut number = 0_u32;
    loop {
        let [byte] = take(from)?;
        if number > u32::MAX >> 7 {
            return Err(bad("holds a number that is too large"));
        }
        number = number << 7 | u32::from(byte & 0x7f);
        if byte & 0x80 == 0 {
            return Ok(number);
        }
    }
}

/// Exactly so many bytes.
pub(in crate::bbr) fn take<const N: usize>(from: &mut impl Read) -> io::Result<[u8; N]> {
    let mut bytes = [0; N];
    from.read_exact(&mut bytes)?;
    Ok(bytes)
}

fn short(from: &mut impl Read) -> io::Result<Vec<u8>> {
    let mut bytes = vec![0; u16::from_be_bytes(take(from)?).into()];
    from.read_exact(&mut bytes)?;
    Ok(bytes)
}

fn owner(from: &mut impl Read) -> io::Result<Vec<u8>> {
    let name = short(from)?;
    if name.len() > 31 || name.contains(&0) {
        return Err(bad("names an owner that no header can hold"));
    }
    Ok(name)
}

pub(super) fn bad(what: &str) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, format!("the listing {what}"))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn page(files: u32, bytes: u64, last: &str) -> Vec<u8> {
        let mut page = b"P".to_vec();
        page.extend([7; 32]);
        page.extend(files.to_be_bytes());
        page.extend(bytes.to_be_bytes());
        page.extend(text(last));
        page
    }

    fn text(text: &str) -> Vec<u8> {
        let length = u16::try_from(text.len()).unwrap();
        [&length.to_be_bytes()[..], text.as_bytes()].concat()
    }

    fn end(numbers: [u64; 4], root: &str) -> Vec<u8> {
        let mut end = b"E".to_vec();
        end.extend(numbers.iter().flat_map(|number| number.to_be_bytes()));
        end.extend([0, 0, 0, 2, 0, 0, 1, 0]);
        [end, text(root), text("staff"), text("openssl")].concat()
    }

    fn read(parts: &[Vec<u8>]) -> Result<Listing, String> {
        Listing::read(&mut &parts.concat()[..]).map_err(|error| error.to_string())
    }

    #[test]
    fn a_listing_is_pages_and_what_they_add_up_to() {
        let listing = read(&[
            page(2, 10, "./b"),
            page(1, 5, "./c"),
            end([3, 15, 6, 1], "root"),
        ])
        .unwrap();
        assert_eq!((listing.pages.len(), listing.others), (2, 1));
        assert_eq!((listing.files, listing.bytes, listing.blocks), (3, 15, 6));
        assert_eq!((listing.processes, listing.millis), (2, 256));
        assert_eq!(listing.root.group, b"staff");
        assert_eq!(read(&[end([0; 4], "")]).unwrap().pages, []);
    }

    #[test]
    fn what_cannot_be_is_refused() {
        let good = page(1, 1, "./b");
        for (parts, why) in [
            (vec![good.clone(), good.clone()], "out of order"),
            (vec![good.clone(), page(1, 1, "./a")], "out of order"),
            (vec![page(0, 0, "./a")], "cannot be"),
            (vec![page(4001, 0, "./a")], "cannot be"),
            (vec![page(1, 0, "./../a")], "cannot be"),
            (vec![page(1, u64::MAX, "./a"), good.clone()], "more bytes"),
            (vec![good.clone(), end([2, 1, 9, 0], "")], "add up"),
            (vec![good.clone(), end([1, 1, 0, 0], "")], "add up"),
            (vec![good.clone(), end([1, 1, u64::MAX, 0], "")], "add up"),
            (
                vec![good.clone(), end([1, 1, 9, 0], &"r".repeat(32))],
                "owner",
            ),
            (vec![b"perl: warning".to_vec()], "something else"),
            (vec![good], "fill whole buffer"),
        ] {
            let said = read(&parts).unwrap_err();
            assert!(said.contains(why), "{said}");
        }
    }

    #[test]
    fn packed_numbers_are_read_as_perl_writes_them() {
        let script = "print pack 'w*', 0, 1, 127, 128, 16383, 16384, 4294967295, 4294967296";
        let perl = std::process::Command::new("perl")
            .args(["-e", script])
            .output();
        let bytes = perl.unwrap().stdout;
        let mut from = &bytes[..];
        for number in [0, 1, 127, 128, 16383, 16384, u32::MAX] {
            assert_eq!(read_packed(&mut from).unwrap(), number);
        }
        assert!(read_packed(&mut from).is_err());
    }

    proptest! {
        #[test]
        fn no_output_panics(bytes in proptest::collection::vec(any::<u8>(), 0..300)) {
            drop(Listing::read(&mut &bytes[..]));
            let page = [&page(1, 1, "./a")[..], b"E", &bytes].concat();
            drop(Listing::read(&mut &page[..]));
            drop(read_line(&mut &bytes[..]));
            drop(read_packed(&mut &bytes[..]));
        }
    }
}
