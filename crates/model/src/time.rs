//! Instants and business dates. Nothing here reads a clock but [`Timestamp::now`].

use std::{
    fmt,
    str::FromStr,
    time::{Duration, SystemTime, UNIX_EPOCH},
};

use jiff::civil::Date;

/// An instant: milliseconds since 1970-01-01T00:00:00Z, between the years 0000 and 9999.
///
/// Shown in RFC 3339, in UTC, with milliseconds.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub struct Timestamp(i64);

/// Text that is not an instant.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("'{0}' is not a time: expected RFC 3339 such as 2021-01-01T09:30:00Z")]
pub struct TimestampError(String);

impl Timestamp {
    /// 0000-01-01T00:00:00Z.
    pub const MIN: Self = Self(-62_167_219_200_000);
    /// 9999-12-30T00:00:00Z; a day below the end of that year, so that any zone can show it.
    pub const MAX: Self = Self(253_402_128_000_000);

    /// The instant `millis` after 1970, or `None` outside [`Self::MIN`] to [`Self::MAX`].
    pub fn from_millis(millis: i64) -> Option<Self> {
        (Self::MIN.0..=Self::MAX.0).contains(&millis).then_some(Self(millis))
    }

    /// The instant nearest to `millis` that is in range.
    pub fn from_millis_clamped(millis: i64) -> Self {
        Self(millis.clamp(Self::MIN.0, Self::MAX.0))
    }

    /// Milliseconds since 1970, negative before.
    pub fn millis(self) -> i64 {
        self.0
    }

    /// What the machine's clock says.
    pub fn now() -> Self {
        let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        Self::from_millis_clamped(i64::try_from(since.as_millis()).unwrap_or(i64::MAX))
    }

    /// This much later, or the last instant.
    #[must_use]
    pub fn plus(self, span: Duration) -> Self {
        Self::from_millis_clamped(self.0.saturating_add(millis_of(span)))
    }

    /// This much earlier, or the first instant.
    #[must_use]
    pub fn minus(self, span: Duration) -> Self {
        Self::from_millis_clamped(self.0.saturating_sub(millis_of(span)))
    }

    /// The time from `earlier` to here; zero if it is not earlier.
    pub fn since(self, earlier: Self) -> Duration {
        Duration::from_millis(u64::try_from(self.0.saturating_sub(earlier.0)).unwrap_or(0))
    }

    /// The date in UTC.
    pub fn date(self) -> BusinessDate {
        BusinessDate(i32::try_from(self.0.div_euclid(86_400_000)).unwrap_or(i32::MAX))
    }
}

fn millis_of(span: Duration) -> i64 {
    i64::try_from(span.as_millis()).unwrap_or(i64::MAX)
}

impl fmt::Display for Timestamp {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let date = self.date();
        let rest = self.0.rem_euclid(86_400_000);
        let (hour, minute, second, milli) =
            (rest / 3_600_000, rest / 60_000 % 60, rest / 1000 % 60, rest % 1000);
        let (year, month, day) = date.year_month_day();
        write!(f, "{year:04}-{month:02}-{day:02}T{hour:02}:{minute:02}:{second:02}.{milli:03}Z")
    }
}

impl FromStr for Timestamp {
    type Err = TimestampError;

    /// Reads RFC 3339 with any offset; fractions below a millisecond are cut off.
    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let refuse = || TimestampError(text.chars().take(40).collect());
        let instant: jiff::Timestamp = text.parse().map_err(|_| refuse())?;
        Self::from_millis(instant.as_millisecond()).ok_or_else(refuse)
    }
}

/// Reads a duration such as `10s`, `500ms` or `1m 30s`, for the flags of a command.
///
/// # Errors
/// What is wrong with the text; zero and negative durations are refused.
pub fn parse_duration(text: &str) -> Result<Duration, String> {
    text.parse::<jiff::SignedDuration>()
        .ok()
        .and_then(|duration| Duration::try_from(duration).ok())
        .filter(|duration| !duration.is_zero())
        .ok_or_else(|| "expected a duration above zero such as 10s, 500ms or 1m 30s".to_owned())
}

/// A business date, written `yyyyMMdd`, between the years 0000 and 9999.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct BusinessDate(i32);

/// Text or a number that is not a date.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum DateError {
    /// Not eight digits.
    #[error("'{0}' is not a date: expected eight digits, yyyyMMdd, such as 20210101")]
    Form(String),
    /// Eight digits, but the calendar has no such day.
    #[error("'{0}' is not a date: there is no such day in the calendar")]
    Calendar(String),
}

impl BusinessDate {
    const EPOCH: Date = Date::constant(1970, 1, 1);
    const MIN_DAYS: i32 = -719_528;
    const MAX_DAYS: i32 = 2_932_896;

    /// Days since 1970-01-01, negative before.
    pub fn days(self) -> i32 {
        self.0
    }

    /// The date `days` after 1970-01-01, or `None` outside the years 0000 to 9999.
    pub fn from_days(days: i32) -> Option<Self> {
        (Self::MIN_DAYS..=Self::MAX_DAYS).contains(&days).then_some(Self(days))
    }

    /// The date `days` later (earlier if negative), kept in range.
    #[must_use]
    pub fn plus_days(self, days: i32) -> Self {
        Self(self.0.saturating_add(days).clamp(Self::MIN_DAYS, Self::MAX_DAYS))
    }

    /// The first instant of the date in UTC.
    pub fn start(self) -> Timestamp {
        Timestamp::from_millis_clamped(i64::from(self.0) * 86_400_000)
    }

    /// Year, month (1 to 12), day (1 to 31).
    ///
    /// "`chrono`-Compatible Low-Level Date Algorithms", Howard Hinnant, 2013 (`civil_from_days`).
    fn year_month_day(self) -> (i32, i32, i32) {
        let z = self.0 + 719_468;
        let era = z.div_euclid(146_097);
        let day_of_era = z.rem_euclid(146_097);
        let year_of_era =
            (day_of_era - day_of_era / 1460 + day_of_era / 36_524 - day_of_era / 146_096) / 365;
        let day_of_year = day_of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
        let shifted_month = (5 * day_of_year + 2) / 153;
        let day = day_of_year - (153 * shifted_month + 2) / 5 + 1;
        let month = if shifted_month < 10 { shifted_month + 3 } else { shifted_month - 9 };
        (year_of_era + era * 400 + i32::from(month <= 2), month, day)
    }
}

impl fmt::Display for BusinessDate {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (year, month, day) = self.year_month_day();
        write!(f, "{year:04}{month:02}{day:02}")
    }
}

impl FromStr for BusinessDate {
    type Err = DateError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        if text.len() != 8 || !text.bytes().all(|b| b.is_ascii_digit()) {
            return Err(DateError::Form(text.chars().take(20).collect()));
        }
        let number = |range: std::ops::Range<usize>| text[range].parse::<i16>().unwrap_or(0);
        let date = Date::new(number(0..4), number(4..6) as i8, number(6..8) as i8)
            .map_err(|_| DateError::Calendar(text.to_owned()))?;
        let span = date.since(Self::EPOCH).map_err(|_| DateError::Calendar(text.to_owned()))?;
        Ok(Self(span.get_days()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn dates_read_and_show_alike() {
        for (text, days) in [
            ("19700101", 0),
            ("20210101", 18_628),
            ("20240229", 19_782),
            ("00000101", BusinessDate::MIN_DAYS),
            ("99991231", BusinessDate::MAX_DAYS),
        ] {
            let date: BusinessDate = text.parse().unwrap();
            assert_eq!((date.days(), date.to_string().as_str()), (days, text));
        }
    }

    #[test]
    fn every_day_of_ten_thousand_years_agrees_with_the_calendar() {
        let mut civil = Date::new(0, 1, 1).unwrap();
        for days in BusinessDate::MIN_DAYS..=BusinessDate::MAX_DAYS {
            let shown = BusinessDate(days).year_month_day();
            let expected =
                (i32::from(civil.year()), i32::from(civil.month()), i32::from(civil.day()));
            assert_eq!(shown, expected);
            civil = civil.tomorrow().unwrap_or(civil);
        }
    }

    #[test]
    fn what_is_not_a_date_is_refused() {
        for text in
            ["", "2021011", "202101011", "2021-1-1", "20210230", "20211301", "20230229", "+2021010"]
        {
            assert!(text.parse::<BusinessDate>().is_err(), "{text}");
        }
    }

    #[test]
    fn instants_read_with_any_offset_and_show_in_utc() {
        let instant: Timestamp = "2021-01-01T09:30:00+01:00".parse().unwrap();
        assert_eq!(instant.to_string(), "2021-01-01T08:30:00.000Z");
        assert_eq!(instant.date().to_string(), "20210101");
        let before: Timestamp = "1969-12-31T23:59:59.999Z".parse().unwrap();
        assert_eq!((before.millis(), before.date().days()), (-1, -1));
        assert_eq!(before.to_string(), "1969-12-31T23:59:59.999Z");
    }

    #[test]
    fn what_is_not_an_instant_is_refused() {
        for text in ["", "2021-01-01", "2021-01-01T09:30:00", "yesterday", "2021-02-30T00:00:00Z"] {
            assert!(text.parse::<Timestamp>().is_err(), "{text}");
        }
    }

    #[test]
    fn durations_need_a_unit_and_are_not_negative() {
        assert_eq!(parse_duration("10s"), Ok(Duration::from_secs(10)));
        assert_eq!(parse_duration("1m 30s"), Ok(Duration::from_secs(90)));
        for text in ["", "10", "-1s", "0s", "soon"] {
            assert!(parse_duration(text).is_err(), "{text}");
        }
    }
}
