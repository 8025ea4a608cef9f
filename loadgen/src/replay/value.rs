//! Numbers and times in the forms that occur in recordings.

use jiff::civil::DateTime;
use model::Timestamp;

/// The greatest integer below which a double holds every integer.
const EXACT_IN_DOUBLE: f64 = 9_007_199_254_740_992.0;

/// An integer that is not negative.
pub(super) fn from_integer(value: i64) -> Result<u64, String> {
    u64::try_from(value).map_err(|_| format!("{value} is negative"))
}

/// A double that is a whole number.
pub(super) fn from_double(value: f64) -> Result<u64, String> {
    if value.fract() == 0.0 && (0.0..EXACT_IN_DOUBLE).contains(&value) {
        Ok(value as u64)
    } else {
        Err(format!("{value} is not a whole number of 0 or more"))
    }
}

/// Digits; also with `.0`, as some tools write whole numbers.
pub(super) fn from_text(text: &str) -> Result<u64, String> {
    let text = text.trim();
    let refuse = || format!("'{text}' is not a whole number of 0 or more");
    match text.parse() {
        Ok(number) => Ok(number),
        Err(_) => from_double(text.parse().map_err(|_| refuse())?).map_err(|_| refuse()),
    }
}

/// Narrows an id or a quantity to 32 bits.
pub(super) fn narrow(value: u64) -> Result<u32, String> {
    u32::try_from(value).map_err(|_| format!("{value} is greater than {}", u32::MAX))
}

/// `2017-01-01 07:30:27`, with `T` or with a fraction; also with a zone, then it is heeded.
pub(super) fn time_from_text(text: &str) -> Result<Timestamp, String> {
    let text = text.trim();
    if let Ok(time) = text.parse() {
        return Ok(time);
    }
    let civil: DateTime = text.parse().map_err(|_| {
        format!("'{text}' is not a time: expected a form such as 2017-01-01 07:30:27")
    })?;
    let zoned =
        civil.to_zoned(jiff::tz::TimeZone::UTC).map_err(|_| format!("'{text}' is out of range"))?;
    time_from_millis(zoned.timestamp().as_millisecond())
}

/// Milliseconds since 1970.
pub(super) fn time_from_millis(millis: i64) -> Result<Timestamp, String> {
    Timestamp::from_millis(millis)
        .ok_or_else(|| format!("{millis} ms since 1970 is outside the years 0000 to 9999"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_read_in_all_their_forms() {
        assert_eq!(from_text(" 42 "), Ok(42));
        assert_eq!(from_text("18446744073709551615"), Ok(u64::MAX));
        assert_eq!(from_text("42.0"), Ok(42));
        for text in ["", "-1", "4.5", "x", "nan", "1e300"] {
            assert!(from_text(text).is_err(), "{text}");
        }
        assert!(from_double(-0.5).is_err() && from_double(f64::NAN).is_err());
        assert!(narrow(1 << 32).is_err());
    }

    #[test]
    fn times_without_a_zone_are_utc() {
        for text in [
            "2017-01-01 07:30:27",
            "2017-01-01T07:30:27",
            "2017-01-01T07:30:27Z",
            "2017-01-01T08:30:27+01:00",
            "2017-01-01 07:30:27.000",
        ] {
            assert_eq!(time_from_text(text).unwrap().to_string(), "2017-01-01T07:30:27.000Z");
        }
        for text in ["", "2017-01-32 00:00:00", "07:30:27", "1483255827"] {
            assert!(time_from_text(text).is_err(), "{text}");
        }
    }
}
