//! Refuses what would push time forward by mistake.

use std::time::Duration;

use model::{BusinessDate, Timestamp};

/// A business date may be this many days ahead of the clock: time zones are.
const MAX_DAYS_AHEAD: i32 = 1;
/// An event may be this much ahead of the clock: clocks differ.
const MAX_AHEAD: Duration = Duration::from_mins(5);

/// A time that cannot be.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub(crate) enum ClockError {
    /// The business date is too far ahead.
    #[error("date: {date} is more than a day ahead of the clock, which says {now}")]
    Date {
        /// The date sent.
        date: BusinessDate,
        /// What the clock of the server says.
        now: Timestamp,
    },
    /// The event is too far ahead.
    #[error(
        "occurredAt: {occurred_at} is more than 5 minutes ahead of the clock, which says {now}"
    )]
    OccurredAt {
        /// The time sent.
        occurred_at: Timestamp,
        /// What the clock of the server says.
        now: Timestamp,
    },
}

/// The event time of a purchase accepted at `now`.
///
/// # Errors
/// [`ClockError`] if a time is too far ahead of `now`. Times of the past are all allowed.
pub(crate) fn event_time(
    date: BusinessDate,
    occurred_at: Option<Timestamp>,
    now: Timestamp,
) -> Result<Timestamp, ClockError> {
    if date > now.date().plus_days(MAX_DAYS_AHEAD) {
        return Err(ClockError::Date { date, now });
    }
    match occurred_at {
        Some(occurred_at) if occurred_at > now.plus(MAX_AHEAD) => {
            Err(ClockError::OccurredAt { occurred_at, now })
        }
        Some(occurred_at) => Ok(occurred_at),
        None => Ok(now),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_of_the_past_and_a_little_ahead_are_allowed() {
        let now: Timestamp = "2021-06-01T12:00:00Z".parse().unwrap();
        let date = |text: &str| text.parse::<BusinessDate>().unwrap();
        let time = |text: &str| text.parse::<Timestamp>().unwrap();
        assert_eq!(event_time(date("20210602"), None, now), Ok(now));
        assert_eq!(event_time(date("00000101"), None, now), Ok(now));
        let message = event_time(date("20210603"), None, now).unwrap_err().to_string();
        assert_eq!(
            message,
            "date: 20210603 is more than a day ahead of the clock, which says \
             2021-06-01T12:00:00.000Z"
        );
        let today = date("20210601");
        let allowed = time("2021-06-01T12:05:00Z");
        assert_eq!(event_time(today, Some(allowed), now), Ok(allowed));
        let ahead = time("2021-06-01T12:05:00.001Z");
        assert!(event_time(today, Some(ahead), now).is_err());
        let old = time("0001-01-01T00:00:00Z");
        assert_eq!(event_time(today, Some(old), now), Ok(old));
    }
}
