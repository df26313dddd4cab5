//! A drain that asks for what the base lacks. First all is decided ([`Planned`]), and until then a
//! full drain may still take its place; then it is given to the sink.

use std::collections::BTreeMap;
use std::io::{self, BufRead, BufReader, Write as _};

use super::pages::{Listing, bad, read_line, take};
use super::plan::{Matcher, Plan, Unusable, known};
use super::{Drain, TAR_BUFFER};
use crate::artifact::base::Continued;
use crate::artifact::listing::{Listed, TAG, Tag};
use crate::bbr::commands::Ask;
use crate::bbr::error::Error;
use crate::bbr::workflow::stopped;
use crate::monitor::Level;

/// The most entries without content; four bytes each.
const OTHERS_LIMIT: u64 = 4_000_000;

/// The longest head that is compared with a rendered one.
const HEAD_LIMIT: u32 = 64 * 1024;

/// All that is known before anything is taken.
pub(super) struct Planned {
    pub(super) listing: Listing,
    pub(super) plan: Plan,
}

/// Why there is no plan.
pub(super) enum NoPlan {
    /// A full drain can be tried; why it must.
    Full(String),
    /// No drain can go on.
    Failed(Error),
}

impl From<Error> for NoPlan {
    fn from(error: Error) -> Self {
        Self::Failed(error)
    }
}

impl From<Unusable> for NoPlan {
    fn from(why: Unusable) -> Self {
        Self::Full(match why {
            Unusable::Said(why) => why,
            Unusable::Stream(error) => error.to_string(),
        })
    }
}

/// For each kind of header that is rendered in a way of its own, the line of a file and what it
/// says.
type Samples = BTreeMap<[bool; 7], (u32, Listed)>;

impl Drain<'_> {
    /// Compares the artifact with the base.
    pub(super) fn plan(&self, sink: &mut dyn Continued) -> Result<Planned, NoPlan> {
        let listing = self.ask(Ask::List, &[], |mut from| Ok(Listing::read(&mut from)?))?;
        if listing.files > u32::MAX.into() || listing.others > OTHERS_LIMIT {
            return Err(NoPlan::Full("it has too many entries".to_owned()));
        }
        self.tell(&listing);
        let known = known(&listing.pages, sink.pages());
        let mut matcher = Matcher::new(sink);
        matcher.expect(&known);
        self.tags(&listing, &known, &mut matcher)?;
        let samples = self.lines(&listing, &mut matcher)?;
        let plan = matcher.plan;
        if plan.renders {
            self.heads(&listing, &samples)?;
        }
        Ok(Planned { listing, plan })
    }

    fn tell(&self, listing: &Listing) {
        // What takes no time is no news.
        let level = match listing.millis {
            ..1000 => Level::Debug,
            _ => Level::Info,
        };
        let text = format!(
            "{}: hashed {} files, {:.1} MiB, in {:.1} s with {}, {} side by side",
            self.it.whose(),
            listing.files,
            f64::from(u32::try_from(listing.bytes >> 10).unwrap_or(u32::MAX)) / 1024.0,
            f64::from(listing.millis) / 1000.0,
            listing.tool,
            listing.processes
        );
        self.monitor.say(level, &text);
    }

    /// Compares the tags of unknown pages with the base.
    fn tags(
        &self,
        listing: &Listing,
        known: &[Option<std::ops::Range<usize>>],
        matcher: &mut Matcher<'_>,
    ) -> Result<(), NoPlan> {
        let mut asked: Vec<u32> = Vec::new();
        // Where the base's pages end that may hold what an unknown page lists.
        let mut ends = vec![matcher.base_pages(); known.len() + 1];
        for (at, page) in known.iter().enumerate().rev() {
            ends[at] = page.as_ref().map_or(ends[at + 1], |pages| pages.start);
            if page.is_none() {
                asked.extend(u32::try_from(at));
            }
        }
        asked.reverse();
        let mut walk = |mut from: &mut dyn BufRead| {
            let mut first = 0;
            for (at, page) in listing.pages.iter().enumerate() {
                if let Some(pages) = &known[at] {
                    matcher.whole(pages.clone());
                } else {
                    matcher.until(ends[at]);
                    let mut tag = || -> io::Result<Tag> { take::<TAG>(&mut from) };
                    let at = u32::try_from(at).unwrap_or(u32::MAX);
                    matcher.page(at, page, first, &mut tag)?;
                }
                first += u32::try_from(page.files).unwrap_or(u32::MAX);
            }
            matcher.leave();
            Ok(())
        };
        if asked.is_empty() {
            return Ok(walk(&mut io::empty())?);
        }
        self.ask(Ask::Tags, &asked, |from| walk(from))
    }

    /// Reads the lines that the base does not have.
    fn lines(&self, listing: &Listing, matcher: &mut Matcher<'_>) -> Result<Samples, NoPlan> {
        let mut samples = Samples::new();
        if matcher.unknown.is_empty() {
            return Ok(samples);
        }
        let asked: Vec<u32> = matcher.unknown.iter().map(|line| line.line).collect();
        self.ask(Ask::Lines, &asked, |mut from| {
            for (at, number) in asked.iter().enumerate() {
                let listed = matcher.line(at, &read_line(&mut from)?, &listing.pages)?;
                let sample = samples.entry(kind(&listed));
                sample
                    .and_modify(|known| {
                        if known.1.path.len() < listed.path.len() {
                            *known = (*number, listed.clone());
                        }
                    })
                    .or_insert_with(|| (*number, listed));
            }
            Ok(())
        })?;
        Ok(samples)
    }

    /// Compares rendered headers with tar's, one of each kind.
    fn heads(&self, listing: &Listing, samples: &Samples) -> Result<(), NoPlan> {
        let mut samples: Vec<_> = samples.values().collect();
        samples.sort_by_key(|(number, _)| *number);
        let asked: Vec<u32> = samples.iter().map(|(number, _)| *number).collect();
        self.ask(Ask::Heads, &asked, |mut from| {
            for (_, listed) in &samples {
                let length = u32::from_be_bytes(take(&mut from)?);
                if length > HEAD_LIMIT {
                    return Err(bad("gives a header that is too long").into());
                }
                let mut head = vec![0; length as usize];
                from.read_exact(&mut head)?;
                if head != listed.head(&listing.root) {
                    return Err(Unusable::from("its tar writes headers in another way"));
                }
            }
            Ok(())
        })
    }

    /// Has the program do something, tells it these numbers, and reads all of its output. Where it
    /// ends badly, or says what cannot be, a full drain can be tried; not where the connection
    /// is lost.
    fn ask<T>(
        &self,
        ask: Ask,
        numbers: &[u32],
        read: impl FnOnce(&mut dyn BufRead) -> Result<T, Unusable>,
    ) -> Result<T, NoPlan> {
        let doing = "listing";
        let command = self.it.paths.ask(ask);
        let mut running = self
            .it
            .remote
            .start(&command, self.it.shutdown)
            .map_err(|error| self.it.lost(doing, error))?;
        let told = self.numbers(running.stdin.take(), numbers);
        let result = {
            let counted = self.wire.count(&mut running.stdout);
            let mut from = BufReader::with_capacity(TAR_BUFFER, counted);
            told.map_err(Unusable::Stream)
                .and_then(|()| read(&mut from))
                .and_then(|value| match from.fill_buf()? {
                    [] => Ok(value),
                    _ => Err("the listing holds more than was asked for".into()),
                })
        };
        if self.it.shutdown.is_raised() {
            return Err(stopped(crate::bbr::Phase::Drain).into());
        }
        // Where it broke of itself, how the command ended is the reason.
        let result = match result {
            Err(why @ Unusable::Said(_)) => return Err(why.into()),
            Err(why) if !super::ends(&mut running.stdout) => return Err(why.into()),
            other => other,
        };
        let exit = running
            .finish()
            .map_err(|error| self.it.lost(doing, error))?;
        if !exit.ok() {
            let said = exit.stderr.lines().next().unwrap_or_default();
            let status = exit.status;
            return Err(NoPlan::Full(format!(
                "the listing there failed with status {status}: {said}"
            )));
        }
        Ok(result?)
    }

    /// Tells the program on the instance numbers of lines or pages.
    pub(super) fn numbers(
        &self,
        stdin: Option<Box<dyn io::Write + Send>>,
        numbers: &[u32],
    ) -> io::Result<()> {
        let Some(mut stdin) = stdin else {
            return Err(io::Error::other("the connection takes no input"));
        };
        let bytes: Vec<u8> = numbers
            .iter()
            .flat_map(|number| number.to_be_bytes())
            .collect();
        self.wire.add(bytes.len() as u64);
        stdin.write_all(&bytes)?;
        stdin.flush()
    }
}

/// What makes a header be rendered in a way of its own.
fn kind(listed: &Listed) -> [bool; 7] {
    [
        listed.path.len() > 100,
        listed.uid > 0o7_777_777,
        listed.gid > 0o7_777_777,
        listed.size > 0o77_777_777_777,
        !(0..=0o77_777_777_777).contains(&listed.mtime),
        listed.user.is_empty(),
        listed.group.is_empty(),
    ]
}
