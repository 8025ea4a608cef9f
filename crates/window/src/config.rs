//! What is aggregated: the kinds of windows and their sizes, and the layout of a row of counts.

use std::{fmt, str::FromStr, time::Duration};

use model::{BusinessDate, Timestamp};

/// Width of a pane, the smallest slice of the sliding windows; all of them share the panes.
pub const PANE: Duration = Duration::from_secs(10);

/// A kind of window.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum WindowKind {
    /// Since the beginning; never closes.
    All,
    /// One business date; closes by business dates.
    Day,
    /// The last 24 hours of event time.
    Hours24,
    /// The last hour of event time.
    Hour1,
    /// The last 5 minutes of event time.
    Minutes5,
    /// The last minute of event time.
    Minute1,
}

impl WindowKind {
    /// All kinds, longest first.
    pub const ALL: [Self; 6] =
        [Self::All, Self::Day, Self::Hours24, Self::Hour1, Self::Minutes5, Self::Minute1];

    /// How the kind is written: `all`, `day`, `24h`, `1h`, `5m`, `1m`.
    pub fn name(self) -> &'static str {
        match self {
            Self::All => "all",
            Self::Day => "day",
            Self::Hours24 => "24h",
            Self::Hour1 => "1h",
            Self::Minutes5 => "5m",
            Self::Minute1 => "1m",
        }
    }

    /// Length of a sliding window; `None` for the other kinds.
    pub fn length(self) -> Option<Duration> {
        let seconds = match self {
            Self::All | Self::Day => return None,
            Self::Hours24 => 86_400,
            Self::Hour1 => 3600,
            Self::Minutes5 => 300,
            Self::Minute1 => 60,
        };
        Some(Duration::from_secs(seconds))
    }

    /// The sliding window of this kind when event time stands at `clock`: first instant, and first
    /// instant after it. `None` for the other kinds.
    ///
    /// It ends with the pane that holds `clock`, so that the newest purchase is always inside.
    pub fn bounds(self, clock: Timestamp) -> Option<(Timestamp, Timestamp)> {
        let length = self.length()?;
        let pane = PANE.as_millis() as i64;
        let end = Timestamp::from_millis_clamped((clock.millis().div_euclid(pane) + 1) * pane);
        Some((end.minus(length), end))
    }
}

impl fmt::Display for WindowKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

/// A name that is not one of a window kind.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("'{0}' is not a window: expected one of all, day, 24h, 1h, 5m, 1m")]
pub struct UnknownWindow(String);

impl FromStr for WindowKind {
    type Err = UnknownWindow;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        Self::ALL
            .into_iter()
            .find(|kind| kind.name() == text)
            .ok_or_else(|| UnknownWindow(text.chars().take(20).collect()))
    }
}

/// Settings of the aggregation. Kinds, `k` and lateness are fixed for the life of a state.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Config {
    /// The kinds kept, each once. Never empty.
    pub kinds: Vec<WindowKind>,
    /// Length of the top lists, 1 to [`Config::MAX_K`].
    pub k: u32,
    /// The watermark trails the greatest event time seen by this much.
    pub disorder: Duration,
    /// A business day closes when a date this many days later has been seen, 1 to
    /// [`Config::MAX_LATENESS_DAYS`]; so many days are open at once.
    pub lateness_days: u32,
    /// A closed day is dropped when a date this many days later has been seen; from the lateness to
    /// [`Config::MAX_RETENTION_DAYS`].
    pub day_retention_days: u32,
    /// An idempotency key is forgotten when the append time is this much later.
    pub key_retention: Duration,
    /// The most idempotency keys remembered in a partition; the oldest go first.
    pub max_keys: usize,
}

impl Default for Config {
    fn default() -> Self {
        Self {
            kinds: WindowKind::ALL.to_vec(),
            k: 100,
            disorder: Duration::from_secs(5),
            lateness_days: 2,
            day_retention_days: 90,
            key_retention: Duration::from_hours(24),
            max_keys: 4_000_000,
        }
    }
}

/// Settings that cannot be used.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ConfigError {
    /// No kinds, or one twice.
    #[error("the windows kept must be at least one, each named once")]
    Kinds,
    /// `k` out of range.
    #[error("the length of the top lists is {0}, it must be between 1 and {max}", max = Config::MAX_K)]
    K(u32),
    /// `lateness_days` out of range.
    #[error("the allowed lateness is {0} days, it must be between 1 and {max}", max = Config::MAX_LATENESS_DAYS)]
    Lateness(u32),
    /// `day_retention_days` out of range.
    #[error("days are kept for {0} days, it must be between the allowed lateness and {max}", max = Config::MAX_RETENTION_DAYS)]
    Retention(u32),
}

impl Config {
    /// The greatest `k`.
    pub const MAX_K: u32 = 1000;
    /// The greatest `lateness_days`.
    pub const MAX_LATENESS_DAYS: u32 = 7;
    /// The greatest `day_retention_days`: a hundred years.
    pub const MAX_RETENTION_DAYS: u32 = 36_500;

    /// Checks the ranges.
    ///
    /// # Errors
    /// The first setting out of range.
    pub fn validate(&self) -> Result<(), ConfigError> {
        let mut kinds = self.kinds.clone();
        kinds.sort_unstable();
        kinds.dedup();
        if kinds.is_empty() || kinds.len() != self.kinds.len() {
            return Err(ConfigError::Kinds);
        }
        if !(1..=Self::MAX_K).contains(&self.k) {
            return Err(ConfigError::K(self.k));
        }
        if !(1..=Self::MAX_LATENESS_DAYS).contains(&self.lateness_days) {
            return Err(ConfigError::Lateness(self.lateness_days));
        }
        if !(self.lateness_days..=Self::MAX_RETENTION_DAYS).contains(&self.day_retention_days) {
            return Err(ConfigError::Retention(self.day_retention_days));
        }
        Ok(())
    }
}

/// Where the counts of each window stand in a row.
///
/// A row has one *slot* for each kind kept, but as many for `day` as days can be open at once: the
/// count of an open date stands in the slot of its number modulo that many.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Layout {
    kinds: Vec<WindowKind>,
    lateness_days: u32,
}

impl Layout {
    /// The layout that goes with `config`.
    pub fn new(config: &Config) -> Self {
        let kinds =
            WindowKind::ALL.into_iter().filter(|kind| config.kinds.contains(kind)).collect();
        Self { kinds, lateness_days: config.lateness_days }
    }

    /// Number of slots, 1 to 12.
    pub fn slots(&self) -> usize {
        let days = if self.keeps(WindowKind::Day) { self.lateness_days as usize - 1 } else { 0 };
        self.kinds.len() + days
    }

    /// Whether windows of `kind` are kept.
    pub fn keeps(&self, kind: WindowKind) -> bool {
        self.kinds.contains(&kind)
    }

    /// The kinds kept, longest first.
    pub fn kinds(&self) -> &[WindowKind] {
        &self.kinds
    }

    /// The slot of a kind other than `day`; `None` if it is not kept.
    pub fn slot(&self, kind: WindowKind) -> Option<usize> {
        let place = self.kinds.iter().position(|&k| k == kind)?;
        let after_day = self.kinds[..place].contains(&WindowKind::Day);
        (kind != WindowKind::Day)
            .then_some(place + if after_day { self.lateness_days as usize - 1 } else { 0 })
    }

    /// The slot of `date` while it is open; `None` if days are not kept.
    pub fn day_slot(&self, date: BusinessDate) -> Option<usize> {
        let first = self.kinds.iter().position(|&k| k == WindowKind::Day)?;
        Some(first + date.days().rem_euclid(self.lateness_days as i32) as usize)
    }

    /// Whether `date` is open when the newest date seen is `newest`.
    pub fn is_open(&self, date: BusinessDate, newest: BusinessDate) -> bool {
        (0..self.lateness_days as i32).contains(&(newest.days() - date.days()))
    }

    /// The dates open when the newest date seen is `newest`, oldest first.
    pub fn open_dates(&self, newest: BusinessDate) -> impl Iterator<Item = BusinessDate> + use<> {
        let days = newest.days();
        (0..self.lateness_days as i32)
            .rev()
            .filter_map(move |back| BusinessDate::from_days(days - back))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn days_are_kept_for_the_lateness_at_least_and_a_hundred_years_at_most() {
        for (days, valid) in
            [(1, false), (2, true), (36_500, true), (36_501, false), (u32::MAX, false)]
        {
            let config = Config { day_retention_days: days, ..Config::default() };
            let expected = if valid { Ok(()) } else { Err(ConfigError::Retention(days)) };
            assert_eq!(config.validate(), expected);
        }
    }

    #[test]
    fn no_date_is_open_twice_where_the_calendar_begins() {
        let layout = Layout::new(&Config { lateness_days: 3, ..Config::default() });
        let first = BusinessDate::from_days(0).expect("in range").plus_days(i32::MIN);
        assert_eq!(layout.open_dates(first).collect::<Vec<_>>(), [first]);
        let second = first.plus_days(1);
        assert_eq!(layout.open_dates(second).collect::<Vec<_>>(), [first, second]);
    }
}
