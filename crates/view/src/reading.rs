//! One reading of the view: what is known before the list itself is looked at.

use std::{ops::Range, time::Duration};

use model::{BusinessDate, Partition, Timestamp};
use window::{Progress, WindowKind};

use crate::{
    as_of::AsOf,
    cell::Cell,
    query::{Span, Window},
    render::Source,
};

/// The state of the partitions concerned, taken *before* the list is read: the list may then be
/// newer than what is said of it, never older.
#[derive(Debug)]
pub(crate) struct Reading {
    pub(crate) kind: WindowKind,
    pub(crate) span: Span,
    pub(crate) partitions: Range<u32>,
    pub(crate) as_of: AsOf,
    pub(crate) clock: Option<Timestamp>,
    pub(crate) is_final: bool,
}

impl Reading {
    pub(crate) fn new(kind: WindowKind, span: Span, partitions: Range<u32>) -> Self {
        let next = Vec::with_capacity(partitions.len());
        Self {
            kind,
            span,
            partitions,
            as_of: AsOf { next, watermark: None, lag: Duration::ZERO },
            clock: None,
            is_final: matches!(span, Span::Day(_)),
        }
    }

    /// The business date asked for.
    pub(crate) fn date(&self) -> Option<BusinessDate> {
        match self.span {
            Span::Day(date) => Some(date),
            Span::Slot(_) => None,
        }
    }

    /// Takes in the next of the partitions.
    pub(crate) fn add(&mut self, partition: Partition, progress: &Progress, lag: Duration) {
        self.as_of.next.push((partition, progress.next));
        self.as_of.watermark = match (self.as_of.watermark, progress.watermark) {
            (Some(least), Some(watermark)) => Some(least.min(watermark)),
            (least, watermark) => least.or(watermark),
        };
        self.as_of.lag = self.as_of.lag.max(lag);
        self.clock = self.clock.max(progress.clock);
    }

    /// Takes in that the list holds for what the cell has been computed at.
    pub(crate) fn see(&mut self, cell: &Cell) {
        for part in &cell.parts {
            let place = part.partition.0.wrapping_sub(self.partitions.start) as usize;
            if let Some((_, next)) = self.as_of.next.get_mut(place) {
                *next = part.stamp.max(*next);
            }
        }
        self.clock = self.clock.max(cell.clock());
    }

    /// What an answer is made from, given the version of the list.
    pub(crate) fn source(&self, version: u64) -> Source {
        Source { window: self.window(), version }
    }

    /// The window that the list read is about.
    fn window(&self) -> Window {
        let date = self.date();
        let bounds = match date {
            Some(date) => Some((date.start(), date.plus_days(1).start())),
            None => self.clock.and_then(|clock| self.kind.bounds(clock)),
        };
        Window { kind: self.kind, date, bounds, is_final: self.is_final }
    }
}
