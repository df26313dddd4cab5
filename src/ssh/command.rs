//! A command as one line for the login shell: pure text, nothing is run here.
//!
//! An SSH server hands one string to the login shell. [`render`] makes it from words, so that
//! each arrives as it was, whatever its bytes. [`Completion`] lets the line report its own end:
//! libssh2 answers "exit status 0" both for a command that succeeded and for a channel that was
//! closed without any status (a killed sshd child, a server that goes down), so the line ends
//! by printing a random mark with `$?` to standard error. The mark is written by the login
//! shell, after the command, to a descriptor the command cannot close; a command that a signal
//! killed shows there as 128 + number. Without the mark the command did not run to its end.

use crate::remote::Command;

/// The longest line that can be sent: libssh2 sends a request as one packet of 34 kB.
const LONGEST: usize = 32_000;

/// Why a command cannot be sent.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub(super) enum Unsendable {
    #[error("has no words")]
    Empty,
    #[error("holds a NUL byte, which no command line can carry")]
    Nul,
    #[error("sets `{0}`, which is no name of an environment variable")]
    Name(String),
    #[error("is {0} bytes long, more than the {LONGEST} that can be sent")]
    TooLong(usize),
}

/// The shell line of a command.
pub(super) fn render(command: &Command) -> Result<String, Unsendable> {
    let Some(first) = command.words.first() else {
        return Err(Unsendable::Empty);
    };
    if command.bare {
        return Ok(String::from_utf8_lossy(&command.words.join(&b' ')).into_owned());
    }
    let mut line = String::new();
    if command.as_root {
        line.push_str("sudo -n");
    } else if !command.environment.is_empty() {
        line.push_str("env");
    }
    for (name, value) in &command.environment {
        let mut letters = name.bytes();
        let starts = letters
            .next()
            .is_some_and(|byte| byte.is_ascii_alphabetic() || byte == b'_');
        if !starts || !letters.all(|byte| byte.is_ascii_alphanumeric() || byte == b'_') {
            return Err(Unsendable::Name(name.clone()));
        }
        line.push(' ');
        line.push_str(name);
        line.push('=');
        quote(value.as_bytes(), &mut line)?;
    }
    // sudo and env would take such a word for an option or a variable.
    if first.first() == Some(&b'-') || first.contains(&b'=') {
        line.push_str(" sh -c 'exec \"$0\" \"$@\"'");
    }
    if line.is_empty() {
        // In front of all else a bare `if` would be the shell's own word.
        line.push_str("''");
    }
    for (index, word) in command.words.iter().enumerate() {
        if index > 0 || line != "''" {
            line.push(' ');
        }
        quote(word, &mut line)?;
    }
    if line.len() > LONGEST {
        return Err(Unsendable::TooLong(line.len()));
    }
    Ok(line)
}

/// Appends a word so that a POSIX shell reads back the same bytes.
///
/// The request is a Rust string on the way to libssh2, so bytes that are no UTF-8 become
/// octal escapes of `printf`; all else stands in single quotes.
fn quote(word: &[u8], line: &mut String) -> Result<(), Unsendable> {
    if word.contains(&0) {
        return Err(Unsendable::Nul);
    }
    if word.is_empty() {
        line.push_str("''");
    }
    for chunk in word.utf8_chunks() {
        if is_plain(chunk.valid()) {
            line.push_str(chunk.valid());
        } else if !chunk.valid().is_empty() {
            line.push('\'');
            line.push_str(&chunk.valid().replace('\'', r"'\''"));
            line.push('\'');
        }
        if !chunk.invalid().is_empty() {
            line.push_str("\"$(printf '");
            for byte in chunk.invalid() {
                line.push_str(&format!("\\{byte:03o}"));
            }
            line.push_str("')\"");
        }
    }
    Ok(())
}

/// Whether a text needs no quotes. A tilde, an equals sign and the like do.
fn is_plain(text: &str) -> bool {
    text.bytes()
        .all(|byte| byte.is_ascii_alphanumeric() || b"/._-:,@%+".contains(&byte))
}

/// The mark by which a line reports that it ran to its end.
#[derive(Debug, Clone)]
pub(super) struct Completion {
    nonce: String,
}

impl Completion {
    /// A mark that no other output can hold by accident.
    pub(super) fn random() -> Result<Self, getrandom::Error> {
        let mut bytes = [0; 16];
        getrandom::fill(&mut bytes)?;
        Ok(Self {
            nonce: hex::encode(bytes),
        })
    }

    /// The line that runs `line`, reports its status, and ends with it.
    pub(super) fn wrap(&self, line: &str) -> String {
        format!(
            "{line}; lb=$?; printf '\\n%s %s\\n' {} \"$lb\" >&2; exit \"$lb\"",
            self.nonce
        )
    }
}

/// The end of standard error, with the completion mark taken out of it.
#[derive(Debug)]
pub(super) struct Tail {
    mark: Option<Vec<u8>>,
    kept: Vec<u8>,
    /// From here on the mark may still begin.
    searched: usize,
    status: Option<i32>,
}

/// How much of standard error is kept in bytes.
const KEPT: usize = 16 * 1024;
/// More than a mark with its status and line ends can take.
const MARK: usize = 64;

impl Tail {
    /// For a command, or for a stream that has no mark.
    pub(super) fn new(completion: Option<&Completion>) -> Self {
        Self {
            mark: completion.map(|completion| format!("\n{} ", completion.nonce).into_bytes()),
            kept: Vec::new(),
            searched: 0,
            status: None,
        }
    }

    /// Takes what was read.
    pub(super) fn push(&mut self, bytes: &[u8]) {
        self.kept.extend_from_slice(bytes);
        if let Some(mark) = &self.mark
            && self.status.is_none()
        {
            match find(&self.kept, self.searched, mark) {
                Some(at) => {
                    self.searched = at;
                    let text = at + mark.len();
                    if let Some(length) = self.kept[text..].iter().position(|byte| *byte == b'\n') {
                        self.status = std::str::from_utf8(&self.kept[text..text + length])
                            .ok()
                            .and_then(|digits| digits.parse().ok());
                        self.kept.drain(at..=text + length);
                    }
                }
                None => self.searched = self.kept.len().saturating_sub(mark.len()),
            }
        }
        if self.kept.len() > 4 * KEPT {
            let cut = self.kept.len() - KEPT - MARK;
            self.kept.drain(..cut);
            self.searched = self.searched.saturating_sub(cut);
        }
    }

    /// The status, once the mark has been seen.
    pub(super) fn status(&self) -> Option<i32> {
        self.status
    }

    /// What is kept, trimmed, at most 16 KiB.
    pub(super) fn text(&self) -> String {
        let from = self.kept.len().saturating_sub(KEPT);
        String::from_utf8_lossy(&self.kept[from..])
            .trim()
            .to_owned()
    }
}

fn find(text: &[u8], from: usize, wanted: &[u8]) -> Option<usize> {
    text.get(from..)?
        .windows(wanted.len())
        .position(|window| window == wanted)
        .map(|at| at + from)
}

#[cfg(test)]
#[path = "command_tests.rs"]
mod tests;
