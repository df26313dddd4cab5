//! The edges of a process that all four binaries share: signals and panics.

use std::io::Write as _;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::process::ExitCode;

use signal_hook::consts::{SIGHUP, SIGINT, SIGTERM};
use signal_hook::iterator::Signals;

use crate::shutdown::Shutdown;

/// Runs a program's body with signals turned into a [`Shutdown`] and panics into one
/// sentence and exit code 1.
pub fn run(body: impl FnOnce(Shutdown) -> ExitCode) -> ExitCode {
    install_panic_hook();
    let shutdown = match shutdown_on_signals() {
        Ok(shutdown) => shutdown,
        Err(error) => {
            complain(&format!(
                "lifeboat: signals cannot be handled ({error}); nothing was done\n"
            ));
            return ExitCode::FAILURE;
        }
    };
    catch_unwind(AssertUnwindSafe(|| body(shutdown))).unwrap_or(ExitCode::FAILURE)
}

/// Further signals are no news: guardian repeats SIGTERM each second, and whoever cannot
/// wait sends SIGKILL. SIGPIPE stays ignored, as Rust starts programs.
fn shutdown_on_signals() -> std::io::Result<Shutdown> {
    let shutdown = Shutdown::new();
    let flag = shutdown.clone();
    let mut signals = Signals::new([SIGTERM, SIGINT, SIGHUP])?;
    std::thread::Builder::new()
        .name("signals".to_owned())
        .spawn(move || {
            for _ in signals.forever() {
                flag.raise();
            }
        })?;
    Ok(shutdown)
}

/// A panic says where it happened and what to do; its payload may quote anything.
fn install_panic_hook() {
    std::panic::set_hook(Box::new(|panic| {
        let place = panic
            .location()
            .map(|at| format!(" at {}:{}", at.file(), at.line()))
            .unwrap_or_default();
        complain(&format!(
            "lifeboat: internal error{place} (release {}), a fault of Lifeboat. If a backup was \
             running, run the cleanup and look what check lists; then report this line\n",
            env!("CARGO_PKG_VERSION")
        ));
    }));
}

/// There is nowhere left to complain when this fails.
fn complain(sentence: &str) {
    drop(std::io::stderr().write_all(sentence.as_bytes()));
}
