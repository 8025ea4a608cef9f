//! What the commands say to people, on standard output and standard error.
//!
//! A reader may have gone before the end, as in `… | head -1`. That is no reason to lose what a command measures,
//! writes to files, and says by its exit code: what nobody reads any more is dropped.

use std::{
    fmt,
    io::{self, Write},
    pin::pin,
    time::Duration,
};

use tokio::time::{MissedTickBehavior, interval};

/// A line on standard output. If it cannot be written, other than because nobody reads it any more, standard error
/// says so.
pub(crate) fn say(line: impl fmt::Display) {
    if let Err(error) = writeln!(io::stdout(), "{line}").or_else(unless_unread) {
        note(format_args!("topline: cannot write to standard output: {error}"));
    }
}

/// A line on standard error. Where that cannot be written, there is nobody to tell.
pub(crate) fn note(line: impl fmt::Display) {
    let _nobody_reads_it = writeln!(io::stderr(), "{line}");
}

/// Drives `work` to its end, and has `show` show how it goes at an interval.
pub(crate) async fn watch<T>(
    work: impl Future<Output = T>,
    every: Duration,
    mut show: impl FnMut(),
) -> T {
    let mut work = pin!(work);
    let mut tick = interval(every);
    tick.set_missed_tick_behavior(MissedTickBehavior::Delay);
    loop {
        tokio::select! {
            result = &mut work => return result,
            _ = tick.tick() => show(),
        }
    }
}

/// `text` on standard output, where it is what the command was called for.
///
/// # Errors
/// If it cannot be written, other than because nobody reads it any more.
pub(crate) fn print(text: &str) -> io::Result<()> {
    let mut output = io::stdout().lock();
    output.write_all(text.as_bytes()).and_then(|()| output.flush()).or_else(unless_unread)
}

fn unless_unread(error: io::Error) -> io::Result<()> {
    if error.kind() == io::ErrorKind::BrokenPipe { Ok(()) } else { Err(error) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_a_reader_that_has_gone_is_no_error() {
        assert!(unless_unread(io::ErrorKind::BrokenPipe.into()).is_ok());
        assert!(unless_unread(io::ErrorKind::StorageFull.into()).is_err());
    }
}
