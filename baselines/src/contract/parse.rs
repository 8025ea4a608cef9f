//! The body of a purchase.

use std::{borrow::Cow, fmt};

use http_server::parse_number;
use model::{ItemId, Line, MAX_LINES};
use serde::{
    Deserialize, Deserializer,
    de::{self, Visitor},
};

/// What is wrong with a body, and where.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct ParseError(String);

/// `{"items":[{"ItemID":"123","numberOfItems:":1}]}`; fields that are not known are passed over.
#[derive(Deserialize)]
struct Body {
    items: Vec<Item>,
}

#[derive(Deserialize)]
struct Item {
    #[serde(rename = "ItemID", deserialize_with = "item_id")]
    id: ItemId,
    /// Generated clients spell it with a colon.
    #[serde(rename = "numberOfItems", alias = "numberOfItems:")]
    quantity: u32,
}

/// Reads the lines of a purchase; those of quantity 0 count nothing and are left out.
///
/// # Errors
/// [`ParseError`] if it is anything else, or has not 1 to [`MAX_LINES`] lines.
pub fn parse_lines(body: &[u8]) -> Result<Vec<Line>, ParseError> {
    let body: Body = serde_json::from_slice(body).map_err(|error| {
        // It may quote what the client sent.
        ParseError(error.to_string().chars().take(300).collect())
    })?;
    let count = body.items.len();
    if !(1..=MAX_LINES).contains(&count) {
        let problem = format!("items: there are {count}, there must be 1 to {MAX_LINES}");
        return Err(ParseError(problem));
    }
    let lines = body.items.into_iter().map(|Item { id: item, quantity }| Line { item, quantity });
    Ok(lines.filter(|line| line.quantity > 0).collect())
}

/// A number, or a string of its digits.
fn item_id<'de, D: Deserializer<'de>>(json: D) -> Result<ItemId, D::Error> {
    struct Id;

    impl Visitor<'_> for Id {
        type Value = ItemId;

        fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
            f.write_str("ItemID, a whole number of 0 or more or a string of its digits")
        }

        fn visit_u64<E: de::Error>(self, number: u64) -> Result<ItemId, E> {
            Ok(ItemId(number))
        }

        fn visit_str<E: de::Error>(self, digits: &str) -> Result<ItemId, E> {
            let id = parse_number(digits, u64::MAX);
            id.map(ItemId).map_err(|problem| E::custom(Cow::from(format!("ItemID: {problem}"))))
        }
    }

    json.deserialize_any(Id)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn line(item: u64, quantity: u32) -> Line {
        Line { item: ItemId(item), quantity }
    }

    #[test]
    fn both_spellings_and_both_forms_of_an_id_are_read() {
        let body = br#"{"items":[{"ItemID":"123","numberOfItems:":1},
            {"numberOfItems":4294967295,"ItemID":18446744073709551615,"new":[{}]},
            {"ItemID":"007","numberOfItems":0}],"x":1}"#;
        assert_eq!(parse_lines(body).unwrap(), [line(123, 1), line(u64::MAX, u32::MAX)]);
    }

    #[test]
    fn anything_else_is_refused() {
        for (body, part) in [
            ("", "EOF while parsing"),
            ("{}", "missing field `items`"),
            (r#"{"items":[]}"#, "items: there are 0"),
            (r#"{"items":[{"ItemID":5}]}"#, "missing field `numberOfItems`"),
            (r#"{"items":[{"ItemID":-5,"numberOfItems":1}]}"#, "expected ItemID, a whole number"),
            (r#"{"items":[{"ItemID":"x","numberOfItems":1}]}"#, "ItemID: 'x' is not"),
            (r#"{"items":[{"ItemID":5,"numberOfItems":-1}]}"#, "expected u32"),
            (r#"{"items":[{"ItemID":5,"numberOfItems":0.5}]}"#, "expected u32"),
            (r#"{"items":[{"ItemID":5,"numberOfItems":1,"numberOfItems:":1}]}"#, "duplicate field"),
            (r#"{"items":[{"ItemID":5,"numberOfItems":1}]} x"#, "trailing characters"),
        ] {
            let ParseError(message) = parse_lines(body.as_bytes()).unwrap_err();
            assert!(message.contains(part), "{body}: {message}");
        }
        let many = vec![r#"{"ItemID":5,"numberOfItems":1}"#; 1001].join(",");
        assert!(parse_lines(format!(r#"{{"items":[{many}]}}"#).as_bytes()).is_err());
    }
}
