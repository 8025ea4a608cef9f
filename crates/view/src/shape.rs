//! What the slots of a row mean to the view.

use model::BusinessDate;
use window::{Config, Layout, Settings, WindowKind};

use crate::cell::Part;

/// The layout of the rows, with the parts of the settings that a reader needs.
#[derive(Debug)]
pub(crate) struct Shape {
    pub(crate) layout: Layout,
    /// What the rows depend on.
    pub(crate) settings: Settings,
    /// Number of slots of a row.
    pub(crate) slots: usize,
    /// The greatest `k`.
    pub(crate) max_k: usize,
    lateness_days: i32,
    retention_days: i32,
    /// Bit per slot: whether it counts an open day.
    day_slots: u16,
}

impl Shape {
    pub(crate) fn new(config: &Config) -> Self {
        let layout = Layout::new(config);
        let lateness_days = config.lateness_days as i32;
        let day_slots = (0..lateness_days)
            .filter_map(BusinessDate::from_days)
            .filter_map(|date| layout.day_slot(date))
            .fold(0, |mask, slot| mask | 1 << slot);
        Self {
            slots: layout.slots(),
            max_k: config.k as usize,
            lateness_days,
            retention_days: config.day_retention_days as i32,
            day_slots,
            layout,
            settings: Settings::of(config),
        }
    }

    /// Whether `slot` counts an open day.
    pub(crate) fn is_day(&self, slot: usize) -> bool {
        self.day_slots & (1 << slot) != 0
    }

    /// The slot that holds `date` in a part computed at `newest`; `None` if it is not open there.
    pub(crate) fn open_slot(
        &self,
        date: BusinessDate,
        newest: Option<BusinessDate>,
    ) -> Option<usize> {
        newest.filter(|&newest| self.layout.is_open(date, newest))?;
        self.layout.day_slot(date)
    }

    /// The date that `slot`, which counts an open day, means in `part`; `None` if none is open in it there.
    pub(crate) fn date_in(&self, slot: usize, part: Option<&Part>) -> Option<BusinessDate> {
        let mut open = self.layout.open_dates(part?.newest_date?);
        open.find(|&date| self.layout.day_slot(date) == Some(slot))
    }

    /// Whether `date` is closed when the newest date seen is `newest`.
    pub(crate) fn is_closed(&self, date: BusinessDate, newest: Option<BusinessDate>) -> bool {
        newest.is_some_and(|newest| newest.days() - date.days() >= self.lateness_days)
    }

    /// First and last date kept when the newest date seen anywhere is `newest`.
    pub(crate) fn dates_kept(&self, newest: BusinessDate) -> (BusinessDate, BusinessDate) {
        (newest.plus_days(1 - self.retention_days), newest)
    }

    /// Whether any window of `kind` is kept.
    pub(crate) fn keeps(&self, kind: WindowKind) -> bool {
        self.layout.keeps(kind)
    }
}
