//! Lists that come in pages, while others add and delete.
//!
//! Rows are asked for in the order of their creation: what is added meanwhile comes at the end.
//! What is deleted moves every later row towards the front, so a row may slip from a page that
//! is still to come into one that was read. The server's total tells: when it shrank, as many
//! places before this page are read again. Rows that came before are given once.

use std::collections::HashSet;
use std::hash::{DefaultHasher, Hash as _, Hasher as _};

use serde::Deserialize;
use serde::de::DeserializeOwned;

use super::types::Link;
use super::{Error, Session};
use crate::http::{Url, Wait};

/// What every list has in its rows.
pub trait Row {
    /// What tells a row from every other of its list.
    fn id(&self) -> &str;
}

#[derive(Deserialize)]
struct Page<T> {
    pagination: Pagination,
    resources: Vec<T>,
}

#[derive(Deserialize)]
struct Pagination {
    total_results: usize,
    next: Option<Link>,
}

/// Rows by a hash of their ids; two rows in 2^64 of one list would count as one.
#[derive(Default)]
pub(super) struct Seen(HashSet<u64>);

impl Seen {
    /// Whether it was not seen before.
    pub(super) fn is_new(&mut self, id: &str) -> bool {
        let mut hasher = DefaultHasher::new();
        id.hash(&mut hasher);
        self.0.insert(hasher.finish())
    }
}

/// See [`CloudController::list`](super::CloudController::list).
pub(super) fn list<T: Row + DeserializeOwned>(
    session: &Session,
    kind: &str,
    per_page: usize,
    wait: &Wait,
    each: &mut dyn FnMut(T),
) -> Result<(), Error> {
    let what = format!("the list of {}", kind.replace('_', " "));
    // Flags are always there and know no time.
    let order = match kind {
        "feature_flags" => "name",
        _ => "created_at",
    };
    let at = |page: usize| {
        session.url(&format!(
            "v3/{kind}?order_by={order}&page={page}&per_page={per_page}"
        ))
    };
    let mut seen = Seen::default();
    let (mut page, mut url) = (1, at(1));
    let mut total = None;
    loop {
        let read: Page<T> = session.json_at(url, &what, wait)?;
        let now = read.pagination.total_results;
        let shrank = total.map_or(0, |before: usize| before.saturating_sub(now));
        let again = shrank.div_ceil(per_page).min(page - 1);
        total = Some(now);
        take(read.resources, &mut seen, each);
        let mut next = read.pagination.next;
        for earlier in page - again..page {
            let read: Page<T> = session.json_at(at(earlier), &what, wait)?;
            // It may have shrunk once more: the next page sees that, for the total stays.
            take(read.resources, &mut seen, each);
        }
        let Some(link) = next.take() else {
            return Ok(());
        };
        page += 1;
        if page > now / per_page + 1_000 {
            return Err(Error::Endless {
                name: session.name().to_owned(),
                what,
            });
        }
        url = followed(session, &link, kind).ok_or_else(|| Error::Elsewhere {
            name: session.name().to_owned(),
            what: what.clone(),
        })?;
    }
}

/// The server's own link, when it leads to the same list of the same API.
fn followed(session: &Session, link: &Link, kind: &str) -> Option<Url> {
    let url = session.own(&link.href)?;
    (url.path() == session.url(&format!("v3/{kind}")).path()).then_some(url)
}

fn take<T: Row>(rows: Vec<T>, seen: &mut Seen, each: &mut dyn FnMut(T)) {
    for row in rows {
        if seen.is_new(row.id()) {
            each(row);
        }
    }
}
