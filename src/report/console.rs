//! A monitor for a Concourse log: one line per event with its UTC time, meters at a calm
//! pace. Lines of several threads never mix, and known secrets are blanked.

use std::io::Write;
use std::sync::{Arc, Condvar, Mutex, PoisonError, Weak};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use super::units;
use crate::clock::{self, Clock};
use crate::monitor::{Level, Meter, Monitor};
use crate::secret::Mask;

/// A running drain says how far it is this often: a night's log stays readable.
pub const PACE: Duration = Duration::from_secs(30);

/// How a console looks.
#[derive(Debug, Clone, Copy)]
pub struct Look {
    /// ANSI colours, which Concourse shows too.
    pub colour: bool,
    /// Whether debug lines are shown.
    pub debug: bool,
    /// Time between two lines of one meter.
    pub pace: Duration,
}

/// Lines for a log.
pub struct Console {
    shared: Arc<Shared>,
    ticker: Option<JoinHandle<()>>,
}

struct Shared {
    out: Mutex<Box<dyn Write + Send>>,
    clock: Arc<dyn Clock>,
    mask: Arc<Mask>,
    look: Look,
    meters: Mutex<Meters>,
    wake: Condvar,
}

#[derive(Default)]
struct Meters {
    running: Vec<Running>,
    closed: bool,
}

struct Running {
    meter: Weak<Meter>,
    began: Instant,
    said: Instant,
}

impl Console {
    /// A console that writes to `out`, which should take a line at a time.
    pub fn new(
        out: Box<dyn Write + Send>,
        clock: Arc<dyn Clock>,
        mask: Arc<Mask>,
        look: Look,
    ) -> Self {
        let shared = Arc::new(Shared {
            out: Mutex::new(out),
            clock,
            mask,
            look,
            meters: Mutex::default(),
            wake: Condvar::new(),
        });
        let ticking = Arc::clone(&shared);
        // Without a thread the log lacks progress and nothing else.
        let ticker = std::thread::Builder::new()
            .name("meters".to_owned())
            .spawn(move || ticking.tick())
            .ok();
        Self { shared, ticker }
    }
}

impl Monitor for Console {
    fn say(&self, level: Level, text: &str) {
        self.shared.say(level, text);
    }

    fn meter(&self, label: &str, total: Option<u64>) -> Arc<Meter> {
        let meter = Arc::new(Meter::new(label, total));
        let now = Instant::now();
        self.shared.meters().running.push(Running {
            meter: Arc::downgrade(&meter),
            began: now,
            said: now,
        });
        meter
    }
}

impl Drop for Console {
    fn drop(&mut self) {
        self.shared.meters().closed = true;
        self.shared.wake.notify_all();
        if let Some(ticker) = self.ticker.take() {
            // A ticker that panicked has nothing more to say.
            drop(ticker.join());
        }
    }
}

impl std::fmt::Debug for Console {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Console")
    }
}

impl Shared {
    fn meters(&self) -> std::sync::MutexGuard<'_, Meters> {
        self.meters.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn say(&self, level: Level, text: &str) {
        if level == Level::Debug && !self.look.debug {
            return;
        }
        let time = clock::rfc3339(self.clock.now());
        let time = time.get(11..19).unwrap_or_default();
        let line = line(time, level, &self.mask.apply(text), self.look.colour);
        let mut out = self.out.lock().unwrap_or_else(PoisonError::into_inner);
        // A log that nobody reads must not end a backup.
        drop(out.write_all(line.as_bytes()).and_then(|()| out.flush()));
    }

    fn tick(&self) {
        let mut meters = self.meters();
        while !meters.closed {
            let mut due = Vec::new();
            let now = Instant::now();
            meters.running.retain_mut(|running| {
                let Some(meter) = running.meter.upgrade().filter(|meter| !meter.is_finished())
                else {
                    return false;
                };
                if now.duration_since(running.said) >= self.look.pace {
                    running.said = now;
                    due.push(progress(&meter, now.duration_since(running.began)));
                }
                true
            });
            drop(meters);
            for text in due {
                self.say(Level::Info, &text);
            }
            let nap = self.look.pace.min(Duration::from_secs(1));
            meters = self.meters();
            if !meters.closed {
                meters = self
                    .wake
                    .wait_timeout(meters, nap)
                    .unwrap_or_else(PoisonError::into_inner)
                    .0;
            }
        }
    }
}

/// `  drain tas/db/0/mysql: 1.2 GiB of 4.0 GiB, 30 %, 85 MiB/s, 34 s left`.
fn progress(meter: &Meter, elapsed: Duration) -> String {
    let done = meter.done();
    let rate = units::rate(done, elapsed);
    let label = meter.label();
    let Some(total) = meter.total() else {
        return format!("  {label}: {}, {rate}", units::bytes(done));
    };
    let left = units::time_left(done, total, elapsed)
        .map(|left| format!(", {} left", clock::spoken(left)))
        .unwrap_or_default();
    format!(
        "  {label}: {} of {}, {} %, {rate}{left}",
        units::bytes(done),
        units::bytes(total),
        units::percent(done, total),
    )
}

/// `01:02:03 info  text` and a newline; every further line of the text is indented.
pub(super) fn line(time: &str, level: Level, text: &str, colour: bool) -> String {
    let (name, ansi) = match level {
        Level::Debug => ("debug", "\u{1b}[2m"),
        Level::Info => ("info ", ""),
        Level::Warn => ("warn ", "\u{1b}[33m"),
        Level::Error => ("error", "\u{1b}[1;31m"),
    };
    let (on, off) = match (colour, ansi) {
        (false, _) | (_, "") => ("", ""),
        (true, ansi) => (ansi, "\u{1b}[0m"),
    };
    let mut rows = text.trim_end().split('\n').map(printable);
    let first = rows.next().unwrap_or_default();
    let mut line = format!("{time} {on}{name} {first}{off}\n");
    for row in rows {
        if !row.is_empty() {
            line.push_str(&format!("               {on}{row}{off}"));
        }
        line.push('\n');
    }
    line
}

/// Scripts and servers may say anything; nothing of it moves the reader's cursor.
fn printable(text: &str) -> String {
    text.chars()
        .map(|c| match c {
            '\t' => ' ',
            c if c.is_control() => '\u{fffd}',
            c => c,
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::clock::SystemClock;

    #[derive(Clone, Default)]
    struct Paper(Arc<Mutex<Vec<u8>>>);

    impl Write for Paper {
        fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
            self.0.lock().unwrap().extend_from_slice(bytes);
            Ok(bytes.len())
        }
        fn flush(&mut self) -> std::io::Result<()> {
            Ok(())
        }
    }

    impl Paper {
        fn text(&self) -> String {
            String::from_utf8(self.0.lock().unwrap().clone()).unwrap()
        }
    }

    fn console(paper: &Paper, pace: Duration) -> Console {
        let mask = Arc::new(Mask::default());
        mask.add("hunter2-hunter2");
        let look = Look {
            colour: false,
            debug: false,
            pace,
        };
        Console::new(Box::new(paper.clone()), Arc::new(SystemClock), mask, look)
    }

    #[test]
    fn secrets_and_control_characters_do_not_reach_the_log() {
        let paper = Paper::default();
        console(&paper, PACE).say(Level::Warn, "got hunter2-hunter2\r\u{1b}[2J");
        let text = paper.text();
        assert!(
            text.ends_with("warn  got [secret]\u{fffd}\u{fffd}[2J\n"),
            "{text:?}"
        );
        assert!(!paper.text().contains("debug"));
    }

    #[test]
    fn lines_of_several_threads_never_mix() {
        let paper = Paper::default();
        let console = console(&paper, PACE);
        std::thread::scope(|scope| {
            for name in ["aaaa", "bbbb", "cccc"] {
                let console = &console;
                scope.spawn(move || (0..200).for_each(|_| console.say(Level::Info, name)));
            }
        });
        let text = paper.text();
        assert_eq!(text.lines().count(), 600);
        for line in text.lines() {
            assert!(["aaaa", "bbbb", "cccc"].contains(&&line[15..]), "{line}");
        }
    }

    #[test]
    fn a_running_meter_speaks_until_it_is_finished() {
        let paper = Paper::default();
        let console = console(&paper, Duration::from_millis(5));
        let meter = console.meter("drain db/0", Some(4096));
        meter.add(1024);
        while !paper
            .text()
            .contains("drain db/0: 1.0 KiB of 4.0 KiB, 25 %")
        {
            std::thread::yield_now();
        }
        meter.finish();
        drop(console);
        let after = paper.text();
        assert!(after.contains(" left\n"), "{after}");
    }

    #[test]
    fn further_lines_are_indented_and_colours_end() {
        assert_eq!(
            line("01:02:03", Level::Error, "a\nb", true),
            "01:02:03 \u{1b}[1;31merror a\u{1b}[0m\n               \u{1b}[1;31mb\u{1b}[0m\n"
        );
        assert_eq!(
            line("01:02:03", Level::Info, "a", true),
            "01:02:03 info  a\n"
        );
    }
}
