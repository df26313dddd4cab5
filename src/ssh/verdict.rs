//! How a command ended, from all that its channel left behind.
//!
//! In this order: the completion mark, which only a line that ran to its end prints; a signal
//! that killed the login shell, which the server names; the server's exit status, which without
//! a mark only says that the login shell did something else (`nologin`, no memory to fork).

use ssh2::Channel;

use super::command::Tail;
use super::link::End;
use crate::remote::Exit;

/// What the orderly end of a command's channel means.
pub(super) fn verdict(channel: &Channel, stderr: &Tail) -> End {
    let exit = |status| {
        End::Exit(Exit {
            status,
            stderr: stderr.text(),
        })
    };
    if let Some(status) = stderr.status() {
        return exit(status);
    }
    let signal = channel.exit_signal().ok();
    if let Some(name) = signal.and_then(|signal| signal.exit_signal) {
        return exit(128 + signal_number(&name));
    }
    match channel.exit_status() {
        Ok(status) if status != 0 => {
            let said = stderr.text();
            let said = said.lines().last().unwrap_or("nothing said").to_owned();
            End::Refused(format!(
                "the login shell ended with exit status {status} without running the command \
                 to its end ({said}); check that the user has a POSIX shell and that the VM \
                 has memory and processes left"
            ))
        }
        _ => End::Lost("the channel was closed without a completion mark".to_owned()),
    }
}

/// Linux's number of a signal that SSH names (RFC 4254, 6.10); 0 for one it does not know.
fn signal_number(name: &str) -> i32 {
    match name {
        "HUP" => 1,
        "INT" => 2,
        "QUIT" => 3,
        "ILL" => 4,
        "TRAP" => 5,
        "ABRT" => 6,
        "BUS" => 7,
        "FPE" => 8,
        "KILL" => 9,
        "USR1" => 10,
        "SEGV" => 11,
        "USR2" => 12,
        "PIPE" => 13,
        "ALRM" => 14,
        "TERM" => 15,
        _ => 0,
    }
}
