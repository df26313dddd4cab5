//! A plain file of a backup for whoever reads and does not take what is written: through a pipe.

use std::io::{BufRead, BufReader, ErrorKind, Write as _};

use anyhow::{Context as _, Result, anyhow};

use crate::repo::index::Root;
use crate::repo::reader::Reader;

/// Work with the text of a plain file, as it is read.
///
/// # Errors
/// Those of the work; and when the file cannot be read whole. A work that stops reading has the last word.
pub(super) fn piped<T>(
    reader: &Reader,
    root: &Root,
    work: impl FnOnce(Box<dyn BufRead + '_>) -> Result<T>,
) -> Result<T> {
    let (from, mut to) = std::io::pipe().context("no pipe")?;
    std::thread::scope(|scope| {
        let writing = scope.spawn(move || {
            let written = reader.write_file(root, &mut to, &mut |_| Ok(()));
            written.and_then(|()| Ok(to.flush()?))
        });
        let done = work(Box::new(BufReader::new(from)));
        let written = writing
            .join()
            .map_err(|_panicked| anyhow!("reading it ended abnormally"))?;
        match written {
            Ok(()) => done,
            Err(error) if is_broken_pipe(&error) => done,
            Err(error) => Err(error),
        }
    })
}

fn is_broken_pipe(error: &anyhow::Error) -> bool {
    let mut causes = error
        .chain()
        .filter_map(|cause| cause.downcast_ref::<std::io::Error>());
    causes.any(|error| error.kind() == ErrorKind::BrokenPipe)
}
