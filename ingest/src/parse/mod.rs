//! JSON of clients to the lines of a purchase. Pure: bytes in, values or one error out.
//!
//! The accepted form, for a body of one purchase:
//!
//! - object: `items` (1 to [`model::MAX_LINES`] of them), optional `occurredAt` (RFC 3339 or null)
//! - item: `ItemID` (a whole number, or a string of its digits) and its quantity (a whole number),
//!   spelled `numberOfItems` or, as generated clients do, `numberOfItems:`
//! - a line of NDJSON also has `storeID`, `custID` (as `ItemID`), `date` (`yyyyMMdd`), and optional
//!   `key` (a string or null)
//!
//! Known fields may occur once, and the two spellings are one field. Unknown fields are skipped, so
//! that clients can be newer than the server; what is in them must still be JSON, and not nested
//! deeper than 128. Items of quantity 0 count nothing and are left out.

use std::borrow::Cow;

use model::{BusinessDate, CustomerId, Line, StoreId, Timestamp};
use serde::de::DeserializeSeed;

use self::fields::{Fields, FieldsSeed, Form, Place};

/// Makes a visitor its own seed: it takes whatever type of value comes, and refuses those it has
/// no method for.
macro_rules! seed {
    ($visitor:ty: $value:ty) => {
        impl<'de> DeserializeSeed<'de> for $visitor {
            type Value = $value;

            fn deserialize<D: Deserializer<'de>>(self, json: D) -> Result<$value, D::Error> {
                json.deserialize_any(self)
            }
        }
    };
}

mod fields;
#[cfg(test)]
mod tests;
mod values;

/// What is wrong with the JSON, and where: such as
/// `items[3].numberOfItems: invalid type: integer '-1', expected … (line 1, column 40)`.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct ParseError(String);

/// What a body of one purchase says.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Basket {
    /// Those of quantity above 0.
    pub lines: Vec<Line>,
    /// When it happened, if the client says so.
    pub occurred_at: Option<Timestamp>,
}

/// What a line of NDJSON says.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Entry<'a> {
    /// `storeID`.
    pub store: StoreId,
    /// `custID`.
    pub customer: CustomerId,
    /// `date`.
    pub date: BusinessDate,
    /// `key`, as the client sent it.
    pub key: Option<Cow<'a, str>>,
    /// The rest.
    pub basket: Basket,
}

/// Reads a body of one purchase.
///
/// # Errors
/// [`ParseError`] for anything but the form above.
pub fn parse_basket(body: &[u8]) -> Result<Basket, ParseError> {
    let fields = parse(body, Form::Basket)?;
    Ok(Basket { lines: required(fields.lines, "items")?, occurred_at: fields.occurred_at })
}

/// Reads a line of NDJSON.
///
/// # Errors
/// [`ParseError`] for anything but the form above.
pub fn parse_entry(line: &[u8]) -> Result<Entry<'_>, ParseError> {
    let fields = parse(line, Form::Entry)?;
    // The casts are exact: `Id::U32` has checked the range.
    Ok(Entry {
        store: StoreId(required(fields.store, "storeID")? as u32),
        customer: CustomerId(required(fields.customer, "custID")? as u32),
        date: required(fields.date, "date")?,
        key: fields.key,
        basket: Basket { lines: required(fields.lines, "items")?, occurred_at: fields.occurred_at },
    })
}

fn required<T>(field: Option<T>, name: &str) -> Result<T, ParseError> {
    field.ok_or_else(|| ParseError(format!("{name} is missing")))
}

fn parse(bytes: &[u8], form: Form) -> Result<Fields<'_>, ParseError> {
    let text = std::str::from_utf8(bytes).map_err(|error| {
        ParseError(format!("the text is not UTF-8 from byte {} on", error.valid_up_to()))
    })?;
    let place = Place::default();
    let mut json = serde_json::Deserializer::from_str(text);
    FieldsSeed { form, place: &place }
        .deserialize(&mut json)
        .and_then(|fields| json.end().map(|()| fields))
        .map_err(|error| describe(&error, &place, form))
}

/// The most characters of a message: it may quote what the client sent.
const MAX_MESSAGE: usize = 300;

fn describe(error: &serde_json::Error, place: &Place, form: Form) -> ParseError {
    let (line, column) = (error.line(), error.column());
    let full = error.to_string();
    let text = full.strip_suffix(&format!(" at line {line} column {column}")).unwrap_or(&full);
    let mut short: String = text.chars().take(MAX_MESSAGE).collect();
    if short.len() < text.len() {
        short.push('…');
    }
    ParseError(match form {
        Form::Basket => format!("{place}{short} (line {line}, column {column})"),
        Form::Entry => format!("{place}{short} (column {column})"),
    })
}
