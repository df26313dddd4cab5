//! Roots and pages. docs/format.md, *Index*.

use serde::{Deserialize, Serialize};

use crate::artifact::{Digest, Form};
use crate::repo::bbr_name::{BbrName, bbr_name};
use crate::repo::id::ComponentName;
use crate::repo::json::{number, present, present_number};

/// The first line of a root.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct RootHead {
    /// 1.
    pub format: u64,
    /// The component it belongs to.
    pub component: ComponentName,
    /// The artifact it is of.
    pub artifact: String,
    /// What a reader makes of it.
    pub form: Form,
    /// Entries with content.
    #[serde(deserialize_with = "number")]
    pub files: u64,
    /// Entries without.
    #[serde(deserialize_with = "number")]
    pub others: u64,
    /// Bytes of content.
    #[serde(deserialize_with = "number")]
    pub bytes: u64,
    /// Zero bytes at the end of the tar.
    #[serde(deserialize_with = "number")]
    pub zeros: u64,
    /// What bbr calls it.
    #[serde(
        default,
        skip_serializing_if = "Option::is_none",
        deserialize_with = "bbr_name"
    )]
    pub bbr: Option<BbrName>,
}

/// One of a root's lists of pages.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum PageKind {
    /// Entries with content.
    Files,
    /// Entries without.
    Others,
}

/// A root's line about one page.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct PageRecord {
    /// Its object name.
    pub page: Digest,
    /// Which list it belongs to.
    pub kind: PageKind,
    /// Its number of lines after the table of chunks.
    #[serde(deserialize_with = "number")]
    pub entries: u64,
    /// Of a page of files: how many of those lines begin a file, when not all do.
    #[serde(
        default,
        skip_serializing_if = "Option::is_none",
        deserialize_with = "present_number"
    )]
    pub files: Option<u64>,
    /// Bytes of content in it.
    #[serde(deserialize_with = "number")]
    pub bytes: u64,
    /// By which the writer recognises an unchanged page.
    #[serde(default)]
    pub list: String,
}

/// One line of a page's table of chunks.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct ChunkRecord(
    /// The object's name.
    pub Digest,
    /// SHA-256 of the plain bytes.
    pub Digest,
    /// Number of plain bytes.
    pub u32,
);

/// The first line of a page.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ChunkTable {
    /// The chunks that the page's parts count from.
    pub chunks: Vec<ChunkRecord>,
}

/// A piece of content: index into the table, offset, length.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Part(
    /// Index into the page's table of chunks.
    pub u32,
    /// Offset in plain bytes.
    pub u32,
    /// Length in bytes.
    pub u32,
);

/// A line of a page of files.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct FileLine {
    /// Base64 of the header blocks; absent on a line that continues.
    #[serde(
        default,
        skip_serializing_if = "Option::is_none",
        deserialize_with = "present"
    )]
    pub head: Option<String>,
    /// SHA-256 of the whole content.
    #[serde(
        default,
        skip_serializing_if = "Option::is_none",
        deserialize_with = "present"
    )]
    pub sha256: Option<Digest>,
    /// Bytes of the whole content.
    #[serde(
        default,
        skip_serializing_if = "Option::is_none",
        deserialize_with = "present_number"
    )]
    pub size: Option<u64>,
    /// The content, or this line's share of it.
    pub parts: Vec<Part>,
    /// Whether the next line goes on.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub more: bool,
}

/// A line of a page of others.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct OtherLine {
    /// Base64 of the header blocks.
    pub head: String,
    /// How many files precede it.
    #[serde(deserialize_with = "number")]
    pub at: u64,
}
