//! How current an answer is.

use std::{fmt, time::Duration};

use model::{Offset, Partition, Position, Timestamp};

/// What an answer was computed at.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AsOf {
    /// Of each partition the answer draws on, ascending: every batch before the offset is in the answer.
    pub next: Vec<(Partition, Offset)>,
    /// No event older than this is expected: the least watermark of those partitions. Partitions
    /// that have not seen a purchase do not hold it back; `None` if none has.
    pub watermark: Option<Timestamp>,
    /// At most so old is the answer: 0 if everything in the log is in it, else the time since the
    /// append of the last batch that is. An upper bound, for the next batch came later. Of a log that is elsewhere,
    /// at least the time since it was last heard of how far it is.
    pub lag: Duration,
}

impl AsOf {
    /// The offsets as a position.
    pub fn position(&self) -> Position {
        self.next.iter().copied().collect()
    }

    /// The position in its text form, such as `0:118,3:97`.
    pub fn position_text(&self) -> impl fmt::Display + '_ {
        PositionText(&self.next)
    }
}

struct PositionText<'a>(&'a [(Partition, Offset)]);

impl fmt::Display for PositionText<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (i, (partition, next)) in self.0.iter().enumerate() {
            let comma = if i == 0 { "" } else { "," };
            write!(f, "{comma}{partition}:{next}")?;
        }
        Ok(())
    }
}
