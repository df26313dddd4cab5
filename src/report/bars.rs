//! A monitor for a terminal: lines scroll by, running meters stay below them as bars.

use std::fmt::Write;
use std::sync::{Arc, Condvar, Mutex, PoisonError, Weak};
use std::thread::JoinHandle;
use std::time::Duration;

use indicatif::{MultiProgress, ProgressBar, ProgressState, ProgressStyle};

use super::console::{Look, line};
use super::units;
use crate::clock::{self, Clock};
use crate::monitor::{Level, Meter, Monitor};
use crate::secret::Mask;

/// How often bars move.
const FRAME: Duration = Duration::from_millis(200);

/// Lines and bars on standard error.
pub struct Bars {
    screen: MultiProgress,
    clock: Arc<dyn Clock>,
    mask: Arc<Mask>,
    look: Look,
    running: Arc<Running>,
    painter: Option<JoinHandle<()>>,
}

#[derive(Default)]
struct Running {
    state: Mutex<State>,
    wake: Condvar,
}

#[derive(Default)]
struct State {
    bars: Vec<(Weak<Meter>, ProgressBar)>,
    closed: bool,
}

impl Bars {
    /// Bars on standard error, which must be a terminal.
    pub fn new(clock: Arc<dyn Clock>, mask: Arc<Mask>, look: Look) -> Self {
        let running = Arc::new(Running::default());
        let painting = Arc::clone(&running);
        let painter = std::thread::Builder::new()
            .name("bars".to_owned())
            .spawn(move || painting.paint())
            .ok();
        Self {
            screen: MultiProgress::new(),
            clock,
            mask,
            look,
            running,
            painter,
        }
    }
}

impl Monitor for Bars {
    fn say(&self, level: Level, text: &str) {
        if level == Level::Debug && !self.look.debug {
            return;
        }
        let time = clock::rfc3339(self.clock.now());
        let time = time.get(11..19).unwrap_or_default();
        let line = line(time, level, &self.mask.apply(text), self.look.colour);
        let shown = self.screen.suspend(|| {
            use std::io::Write as _;
            std::io::stderr().write_all(line.as_bytes())
        });
        // A terminal that is gone must not end a backup.
        drop(shown);
    }

    fn meter(&self, label: &str, total: Option<u64>) -> Arc<Meter> {
        let meter = Arc::new(Meter::new(label, total));
        let bar = self.screen.add(ProgressBar::new(total.unwrap_or(0)));
        bar.set_style(style(total.is_some()));
        bar.set_message(self.mask.apply(label));
        self.running.lock().bars.push((Arc::downgrade(&meter), bar));
        meter
    }
}

fn style(known: bool) -> ProgressStyle {
    let template = if known {
        "  {msg:32!} {bar:24} {percent:>3} % {done:>9} of {whole:9} {pace:>11} {eta:>4} left"
    } else {
        "  {msg:32!} {spinner} {done:>9} {pace:>11}"
    };
    ProgressStyle::with_template(template)
        .unwrap_or_else(|_| ProgressStyle::default_bar())
        .with_key("done", |state: &ProgressState, out: &mut dyn Write| {
            put(out, &units::bytes(state.pos()));
        })
        .with_key("whole", |state: &ProgressState, out: &mut dyn Write| {
            put(out, &units::bytes(state.len().unwrap_or_default()));
        })
        .with_key("pace", |state: &ProgressState, out: &mut dyn Write| {
            put(out, &units::rate(state.pos(), state.elapsed()));
        })
}

/// Writing to a text cannot fail.
fn put(out: &mut dyn Write, text: &str) {
    out.write_str(text).unwrap_or_default();
}

impl Running {
    fn lock(&self) -> std::sync::MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn paint(&self) {
        let mut state = self.lock();
        while !state.closed {
            state.bars.retain(|(meter, bar)| {
                let Some(meter) = meter.upgrade().filter(|meter| !meter.is_finished()) else {
                    bar.finish_and_clear();
                    return false;
                };
                if let Some(total) = meter.total()
                    && bar.length() != Some(total)
                {
                    bar.set_length(total);
                    bar.set_style(style(true));
                }
                bar.set_position(meter.done());
                true
            });
            state = self
                .wake
                .wait_timeout(state, FRAME)
                .unwrap_or_else(PoisonError::into_inner)
                .0;
        }
        for (_, bar) in state.bars.drain(..) {
            bar.finish_and_clear();
        }
    }
}

impl Drop for Bars {
    fn drop(&mut self) {
        self.running.lock().closed = true;
        self.running.wake.notify_all();
        if let Some(painter) = self.painter.take() {
            // A painter that panicked has nothing more to show.
            drop(painter.join());
        }
    }
}

impl std::fmt::Debug for Bars {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Bars")
    }
}
