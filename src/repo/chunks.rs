//! Chunks on their way back, a bounded number fetched and opened ahead.

use std::collections::{HashMap, VecDeque};
use std::sync::Arc;

use super::Error;
use super::bridge::Task;
use super::fetcher::{Fetcher, open_object};
use super::format::{CHUNK_LIMIT, ChunkRecord, FileLine, Part};
use super::id::ChainId;
use super::index::FilePage;
use super::seal::Opener;
use crate::artifact::Digest;
use crate::shutdown::Stopped;

/// Chunks fetched and opened ahead: of at most 16 MiB each, of 2 MiB as a rule.
const AHEAD: usize = 4;

type Opening = Task<Result<Vec<u8>, Error>>;

/// The chunks of one page, fetched ahead in the order in which they are needed.
pub(super) struct Chunks<'a> {
    fetcher: &'a Fetcher,
    chain: &'a ChainId,
    opener: &'a Opener,
    page: &'a FilePage,
    order: Vec<u32>,
    next: usize,
    ahead: HashMap<u32, Opening>,
    held: VecDeque<(u32, Arc<Vec<u8>>)>,
}

impl<'a> Chunks<'a> {
    /// Those of these lines of the page.
    pub(super) fn of(
        fetcher: &'a Fetcher,
        chain: &'a ChainId,
        opener: &'a Opener,
        page: &'a FilePage,
        wanted: impl Iterator<Item = &'a FileLine>,
    ) -> Self {
        Self {
            fetcher,
            chain,
            opener,
            page,
            // The order of first use, which is the order of the table as our writer makes it,
            // but a reader must not rely on that.
            order: wanted
                .flat_map(|line| line.parts.iter().map(|part| part.0))
                .collect(),
            next: 0,
            ahead: HashMap::new(),
            held: VecDeque::new(),
        }
    }

    /// The chunk of a part, compared with what its page says of it.
    pub(super) fn part(&mut self, part: Part) -> Result<Arc<Vec<u8>>, Error> {
        if let Some((_, plain)) = self.held.iter().find(|(at, _)| *at == part.0) {
            return Ok(Arc::clone(plain));
        }
        self.fetch_ahead();
        let opening = match self.ahead.remove(&part.0) {
            Some(opening) => opening,
            None => self.start(part.0),
        };
        let ChunkRecord(name, digest, length) = self.chunk(part.0);
        let plain = self
            .fetcher
            .bridge
            .wait(opening)
            .map_err(|stopped: Stopped| Error::from(stopped))?
            .map_err(|error| Error::Other(format!("reading ahead failed: {error}")))??;
        if plain.len() as u64 != u64::from(length) || Digest::of(&plain) != digest {
            let object = self.fetcher.foundation.data(self.chain, &name);
            return Err(Error::damaged(
                object.as_str(),
                "opens to other bytes than its page states",
            ));
        }
        let plain = Arc::new(plain);
        // Two: small files of one pack may stand on both sides of a large file.
        if self.held.len() == 2 {
            self.held.pop_front();
        }
        self.held.push_back((part.0, Arc::clone(&plain)));
        self.fetch_ahead();
        Ok(plain)
    }

    fn chunk(&self, at: u32) -> ChunkRecord {
        self.page.chunks[usize::try_from(at).expect("checked when the page was parsed")]
    }

    fn fetch_ahead(&mut self) {
        while self.ahead.len() < AHEAD && self.next < self.order.len() {
            let at = self.order[self.next];
            self.next += 1;
            if !self.ahead.contains_key(&at) && !self.held.iter().any(|(held, _)| *held == at) {
                let opening = self.start(at);
                self.ahead.insert(at, opening);
            }
        }
    }

    fn start(&self, at: u32) -> Opening {
        let ChunkRecord(name, _, _) = self.chunk(at);
        let fetcher = self.fetcher;
        fetcher.bridge.spawn(open_object(
            Arc::clone(&fetcher.copies),
            fetcher.foundation.data(self.chain, &name),
            name,
            self.opener.clone(),
            CHUNK_LIMIT,
        ))
    }
}

impl Drop for Chunks<'_> {
    fn drop(&mut self) {
        for opening in self.ahead.values() {
            opening.abort();
        }
    }
}
