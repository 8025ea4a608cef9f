//! Values in paths: a bad one is a 400 that names it, not an unknown path.

use std::{convert::Infallible, str::FromStr};

use model::{BusinessDate, CustomerId, ItemId, StoreId};

use crate::HttpError;

/// Something a segment of a path can hold.
pub trait SegmentValue: Sized {
    /// Reads it.
    ///
    /// # Errors
    /// What is wrong with the text, without the name of the parameter.
    fn parse(text: &str) -> Result<Self, String>;
}

/// A segment of a path, for `warp::path!` and [`warp::path::param`]: matches any text, and keeps
/// what is wrong with it until the handler asks. The macro wants a plain name, so give it an alias.
#[derive(Debug, Clone)]
pub struct Segment<T>(Result<T, String>);

impl<T: SegmentValue> FromStr for Segment<T> {
    type Err = Infallible;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        Ok(Self(T::parse(text)))
    }
}

impl<T> Segment<T> {
    /// The value.
    ///
    /// # Errors
    /// 400, naming the parameter and what is wrong with it.
    pub fn get(self, name: &str) -> Result<T, HttpError> {
        self.0.map_err(|problem| HttpError::bad_request(format!("{name}: {problem}")))
    }
}

/// Reads a whole number written in digits alone, without a sign.
///
/// # Errors
/// What is wrong with the text.
pub fn parse_number(text: &str, max: u64) -> Result<u64, String> {
    let shown = || text.chars().take(40).collect::<String>();
    if text.is_empty() || !text.bytes().all(|b| b.is_ascii_digit()) {
        return Err(format!("'{}' is not a whole number of 0 or more", shown()));
    }
    text.parse()
        .ok()
        .filter(|&number| number <= max)
        .ok_or_else(|| format!("{} is larger than {max}", shown()))
}

impl SegmentValue for StoreId {
    fn parse(text: &str) -> Result<Self, String> {
        parse_number(text, u64::from(u32::MAX)).map(|number| Self(number as u32))
    }
}

impl SegmentValue for CustomerId {
    fn parse(text: &str) -> Result<Self, String> {
        parse_number(text, u64::from(u32::MAX)).map(|number| Self(number as u32))
    }
}

impl SegmentValue for ItemId {
    fn parse(text: &str) -> Result<Self, String> {
        parse_number(text, u64::MAX).map(Self)
    }
}

impl SegmentValue for BusinessDate {
    fn parse(text: &str) -> Result<Self, String> {
        text.parse().map_err(|error: model::DateError| error.to_string())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ids_are_digits_and_fit() {
        assert_eq!(StoreId::parse("0"), Ok(StoreId(0)));
        assert_eq!(StoreId::parse("4294967295"), Ok(StoreId(u32::MAX)));
        assert_eq!(ItemId::parse("18446744073709551615"), Ok(ItemId(u64::MAX)));
        for text in ["", "+5", "-1", "1.5", "1e3", "4294967296", "99999999999999999999999", "٣"] {
            assert!(StoreId::parse(text).is_err(), "{text}");
        }
    }

    #[test]
    fn the_error_names_the_parameter() {
        let segment: Segment<StoreId> = "x".parse().unwrap();
        let error = segment.get("storeID").unwrap_err();
        assert_eq!(error.message(), "storeID: 'x' is not a whole number of 0 or more");
    }
}
