use std::io::Write as _;

use flate2::Compression;
use flate2::read::GzDecoder;
use flate2::write::GzEncoder;

use super::*;

const CUSTOM: &[u8] = include_bytes!("../../../tests/fixtures/dumps/postgres-15-custom.dump");
const IN_TAR: &[u8] = include_bytes!("../../../tests/fixtures/dumps/postgres-15-tar.dump");
const PLAIN: &[u8] = include_bytes!("../../../tests/fixtures/dumps/postgres-15-plain.sql.gz");
const CLUSTER: &[u8] = include_bytes!("../../../tests/fixtures/dumps/postgres-15-all.sql.gz");

const MARIADB: &[u8] = include_bytes!("../../../tests/fixtures/dumps/mariadb-10.11.sql");
const MARIADB_EMPTY: &[u8] =
    include_bytes!("../../../tests/fixtures/dumps/mariadb-10.11-empty.sql");
const REDIS: &[u8] = include_bytes!("../../../tests/fixtures/dumps/redis-7.0.rdb");
const REDIS_NO_SUM: &[u8] =
    include_bytes!("../../../tests/fixtures/dumps/redis-7.0-without-sum.rdb");

/// As mysqldump's own manual shows one.
const MYSQL: &str = "-- MySQL dump 10.13  Distrib 8.0.36, for Linux (x86_64)
--
-- Host: localhost    Database: ccdb
-- ------------------------------------------------------
/*!40101 SET @OLD_CHARACTER_SET_CLIENT=@@CHARACTER_SET_CLIENT */;
DROP TABLE IF EXISTS `apps`;
CREATE TABLE `apps` (
  `id` int NOT NULL
) ENGINE=InnoDB;
INSERT INTO `apps` VALUES (1),(2);
-- Dump completed on 2026-11-22  1:02:03
";

fn inflated(bytes: &[u8]) -> Vec<u8> {
    let mut plain = Vec::new();
    GzDecoder::new(bytes).read_to_end(&mut plain).unwrap();
    plain
}

fn gzipped(bytes: &[u8]) -> Vec<u8> {
    let mut gzip = GzEncoder::new(Vec::new(), Compression::fast());
    gzip.write_all(bytes).unwrap();
    gzip.finish().unwrap()
}

fn tarred(files: &[(&str, &[u8])]) -> Vec<u8> {
    let mut tar = ::tar::Builder::new(Vec::new());
    for (name, content) in files {
        let mut header = ::tar::Header::new_gnu();
        header.set_size(content.len() as u64);
        header.set_mode(0o644);
        tar.append_data(&mut header, name, *content).unwrap();
    }
    tar.into_inner().unwrap()
}

/// RDB 11 with one key, as redis-server 7 writes it; the sum at its end is zero: not summed.
fn redis() -> Vec<u8> {
    let mut bytes =
        b"REDIS0011\xfa\x09redis-ver\x057.2.4\xfe\x00\xfb\x01\x00\x00\x01k\x01v\xff".to_vec();
    bytes.extend([0; 8]);
    bytes
}

/// A stream that comes in small pieces.
struct Slowly<'a>(&'a [u8]);

impl Read for Slowly<'_> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let most = buffer.len().min(7);
        self.0.read(&mut buffer[..most])
    }
}

#[track_caller]
fn seen(bytes: &[u8]) -> Seen {
    assert!(is_known(&bytes[..bytes.len().min(HEAD)]));
    let whole = follow(&mut io::Cursor::new(bytes)).unwrap().unwrap();
    assert_eq!(
        follow(&mut Slowly(bytes)),
        Ok(Some(whole.clone())),
        "in pieces"
    );
    whole
}

#[test]
fn whole_dumps_are_told_for_what_they_are() {
    for (bytes, what) in [
        (CUSTOM.to_vec(), "a pg_dump archive with data of 4 entries"),
        (inflated(PLAIN), "a pg_dump text with 3 tables"),
        (inflated(CLUSTER), "a pg_dumpall text with 3 tables"),
        (PLAIN.to_vec(), "gzip of a pg_dump text with 3 tables"),
        (MYSQL.into(), "a mysqldump text with 1 tables"),
        (MARIADB.into(), "a mysqldump text with 2 tables"),
        (redis(), "a Redis dump (version 11)"),
        (REDIS.into(), "a Redis dump (version 10)"),
        (REDIS_NO_SUM.into(), "a Redis dump (version 10)"),
        (
            gzipped(&tarred(&[("a/x", b"x"), ("a/uaa.dump", CUSTOM)])),
            "gzip of a tar of 2 files (a/uaa.dump: a pg_dump archive with data of 4 entries)",
        ),
        (gzipped(b"anything"), "gzip"),
    ] {
        let seen = seen(&bytes);
        assert_eq!(seen.what, what);
        assert_eq!(seen.dumps, u64::from(what.contains("dump")), "{what}");
        assert_eq!(seen.empty, [""; 0]);
    }
    let archive = seen(IN_TAR).what;
    assert!(
        archive.contains("toc.dat: a pg_dump archive (its table of contents"),
        "{archive}"
    );
}

/// At every length: it is known to be cut short, and nothing panics.
#[test]
fn a_dump_that_was_cut_short_anywhere_is_told() {
    let uncut = inflated(PLAIN);
    for (name, bytes, step) in [
        ("custom", CUSTOM.to_vec(), 1),
        ("redis", redis(), 1),
        ("redis of a server", REDIS.into(), 1),
        ("gzip", PLAIN.to_vec(), 7),
        ("plain", uncut, 101),
        ("mysql", MYSQL.into(), 1),
        ("mariadb", MARIADB.into(), 7),
        ("tar in gzip", gzipped(&tarred(&[("uaa.dump", CUSTOM)])), 31),
        ("tar", tarred(&[("uaa.dump", CUSTOM)]), 97),
    ] {
        // The last line's words end a little before the file does.
        let end = bytes.len()
            - if ["plain", "mysql", "mariadb"].contains(&name) {
                130
            } else {
                1
            };
        let end = if name == "tar" { end - 1024 } else { end };
        for length in (HEAD.min(bytes.len() / 2)..end).step_by(step) {
            let problem = follow(&mut io::Cursor::new(&bytes[..length]));
            match problem {
                Err(problem) => {
                    let problem = problem.to_string();
                    // A byte of the data may be the mark of the end; then the sum tells.
                    let summed = name == "redis of a server" && problem.contains("is not whole");
                    assert!(
                        summed || problem.contains("cut short"),
                        "{name} {length}: {problem}"
                    );
                }
                Ok(seen) => panic!("{name} cut at {length} of {}: {seen:?}", bytes.len()),
            }
        }
    }
}

#[test]
fn a_dump_of_an_empty_database_is_said_to_be_empty() {
    let empty = MYSQL.replace("CREATE TABLE", "-- no table");
    assert_eq!(seen(empty.as_bytes()).empty, [""]);
    assert_eq!(seen(MARIADB_EMPTY).empty, [""]);
    let packed = gzipped(&tarred(&[
        ("db/cc.sql", empty.as_bytes()),
        ("db/uaa.sql", MYSQL.as_bytes()),
    ]));
    let packed = seen(&packed);
    assert_eq!(
        (packed.empty, packed.dumps),
        (vec!["db/cc.sql".to_owned()], 2)
    );
}

#[test]
fn what_is_wrong_inside_is_told_with_its_name() {
    let half = &CUSTOM[..CUSTOM.len() / 2];
    let problem = follow(&mut gzipped(&tarred(&[("x/uaa.dump", half)])).as_slice())
        .unwrap_err()
        .to_string();
    assert!(
        problem.starts_with("holds `x/uaa.dump`, which is cut short: the pg_dump archive"),
        "{problem}"
    );
    let mut wrong = redis();
    *wrong.last_mut().unwrap() = 1;
    let problem = follow(&mut wrong.as_slice()).unwrap_err().to_string();
    assert!(problem.contains("checksum"), "{problem}");
    let mut flipped = REDIS.to_vec();
    flipped[60] ^= 4;
    let problem = follow(&mut flipped.as_slice()).unwrap_err().to_string();
    assert!(problem.contains("checksum"), "{problem}");
    let mut newer = CUSTOM.to_vec();
    newer[6] = 99;
    let problem = follow(&mut newer.as_slice()).unwrap_err().to_string();
    assert!(problem.contains("format 1.99"), "{problem}");
}

#[test]
fn anything_else_is_left_alone() {
    for bytes in [
        &b""[..],
        b"x",
        b"-- a comment\nselect 1;\n",
        b"PGDM",
        &[0x1f, 0x8b],
    ] {
        assert!(!is_known(bytes), "{bytes:?}");
        assert_eq!(follow(&mut io::Cursor::new(bytes)), Ok(None));
    }
}
