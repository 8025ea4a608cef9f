//! JSON of clients to the lines of a purchase. Pure: bytes in, values or one error out.
//!
//! The accepted form, for a body of one purchase:
//!
//! - object: `items` (1 to [`MAX_LINES`] of them), optional `occurredAt` (RFC 3339 or null)
//! - item: `ItemID` (a whole number, or a string of its digits) and its quantity (a whole number),
//!   spelled `numberOfItems` or, as generated clients do, `numberOfItems:`
//! - a line of NDJSON also has `storeID`, `custID` (as `ItemID`), `date` (`yyyyMMdd`), and optional
//!   `key` (a string or null)
//!
//! Known fields may occur once, and the two spellings are one field. Unknown fields are skipped, so
//! that clients can be newer than the server; what is in them must still be JSON, and not nested
//! deeper than 128. Items of quantity 0 count nothing and are left out.

use std::{borrow::Cow, cell::Cell, fmt};

use http_server::parse_number;
use model::{BusinessDate, CustomerId, ItemId, Line, MAX_LINES, StoreId, Timestamp};
use serde::de::{self, DeserializeSeed, Deserializer, MapAccess, SeqAccess, Unexpected, Visitor};

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

/// Which fields are known.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Form {
    Basket,
    Entry,
}

/// Where the parser is; left as it was when an error ends it.
#[derive(Default)]
struct Place {
    item: Cell<Option<usize>>,
    field: Cell<Option<&'static str>>,
}

impl fmt::Display for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match (self.item.get(), self.field.get()) {
            (Some(item), Some(field)) => write!(f, "items[{item}].{field}: "),
            (Some(item), None) => write!(f, "items[{item}]: "),
            (None, Some(field)) => write!(f, "{field}: "),
            (None, None) => Ok(()),
        }
    }
}

impl Place {
    /// Reads the value of `field` into `slot`, which must be empty.
    fn read<'de, A, S>(
        &self,
        map: &mut A,
        field: &'static str,
        slot: &mut Option<S::Value>,
        seed: S,
    ) -> Result<(), A::Error>
    where
        A: MapAccess<'de>,
        S: DeserializeSeed<'de>,
    {
        self.field.set(Some(field));
        if slot.is_some() {
            return Err(de::Error::custom("the field is given twice"));
        }
        *slot = Some(map.next_value_seed(seed)?);
        self.field.set(None);
        Ok(())
    }
}

#[derive(Default)]
struct Fields<'a> {
    lines: Option<Vec<Line>>,
    occurred_at: Option<Timestamp>,
    store: Option<u64>,
    customer: Option<u64>,
    date: Option<BusinessDate>,
    key: Option<Cow<'a, str>>,
}

#[derive(Clone, Copy)]
struct FieldsSeed<'p> {
    form: Form,
    place: &'p Place,
}

seed!(FieldsSeed<'_>: Fields<'de>);

impl<'de> Visitor<'de> for FieldsSeed<'_> {
    type Value = Fields<'de>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("an object with the field items")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Self::Value, A::Error> {
        let mut fields = Fields::default();
        // Optional fields may be null, so whether one was given is not the same as its value.
        let (mut occurred_at, mut key) = (None, None);
        let place = self.place;
        while let Some(name) = map.next_key_seed(FieldName(self.form))? {
            let map = &mut map;
            match name {
                Field::Items => place.read(map, "items", &mut fields.lines, LinesSeed(place))?,
                Field::OccurredAt => {
                    place.read(map, "occurredAt", &mut occurred_at, OccurredAt)?;
                }
                Field::Store => place.read(map, "storeID", &mut fields.store, Id::U32)?,
                Field::Customer => place.read(map, "custID", &mut fields.customer, Id::U32)?,
                Field::Date => place.read(map, "date", &mut fields.date, Date)?,
                Field::Key => place.read(map, "key", &mut key, Key)?,
                Field::Unknown => map.next_value_seed(Skipped)?,
            }
        }
        fields.occurred_at = occurred_at.flatten();
        fields.key = key.flatten();
        Ok(fields)
    }
}

enum Field {
    Items,
    OccurredAt,
    Store,
    Customer,
    Date,
    Key,
    Unknown,
}

struct FieldName(Form);

seed!(FieldName: Field);

impl Visitor<'_> for FieldName {
    type Value = Field;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("the name of a field")
    }

    fn visit_str<E: de::Error>(self, name: &str) -> Result<Field, E> {
        Ok(match (name, self.0) {
            ("items", _) => Field::Items,
            ("occurredAt", _) => Field::OccurredAt,
            ("storeID", Form::Entry) => Field::Store,
            ("custID", Form::Entry) => Field::Customer,
            ("date", Form::Entry) => Field::Date,
            ("key", Form::Entry) => Field::Key,
            _ => Field::Unknown,
        })
    }
}

struct LinesSeed<'p>(&'p Place);

seed!(LinesSeed<'_>: Vec<Line>);

impl<'de> Visitor<'de> for LinesSeed<'_> {
    type Value = Vec<Line>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "a list of 1 to {MAX_LINES} items")
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut items: A) -> Result<Vec<Line>, A::Error> {
        let place = self.0;
        let mut lines = Vec::new();
        let mut count = 0;
        loop {
            let field = place.field.replace(None);
            place.item.set(Some(count));
            let Some(line) = items.next_element_seed(LineSeed(place))? else {
                place.item.set(None);
                place.field.set(field);
                break;
            };
            place.field.set(field);
            count += 1;
            if count > MAX_LINES {
                place.item.set(None);
                return Err(de::Error::custom(format!("there are more than {MAX_LINES} items")));
            }
            if line.quantity > 0 {
                lines.push(line);
            }
        }
        if count == 0 {
            return Err(de::Error::invalid_length(0, &self));
        }
        Ok(lines)
    }
}

struct LineSeed<'p>(&'p Place);

seed!(LineSeed<'_>: Line);

impl<'de> Visitor<'de> for LineSeed<'_> {
    type Value = Line;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("an object with the fields ItemID and numberOfItems")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Line, A::Error> {
        let place = self.0;
        let (mut item, mut quantity) = (None, None);
        while let Some(name) = map.next_key_seed(LineFieldName)? {
            let map = &mut map;
            match name {
                LineField::Item => place.read(map, "ItemID", &mut item, Id::U64)?,
                LineField::Quantity => {
                    place.read(map, "numberOfItems", &mut quantity, Quantity)?;
                }
                LineField::Unknown => map.next_value_seed(Skipped)?,
            }
        }
        let item = item.ok_or_else(|| de::Error::missing_field("ItemID"))?;
        let quantity = quantity.ok_or_else(|| de::Error::missing_field("numberOfItems"))?;
        Ok(Line { item: ItemId(item), quantity })
    }
}

enum LineField {
    Item,
    Quantity,
    Unknown,
}

struct LineFieldName;

seed!(LineFieldName: LineField);

impl Visitor<'_> for LineFieldName {
    type Value = LineField;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("the name of a field")
    }

    fn visit_str<E: de::Error>(self, name: &str) -> Result<LineField, E> {
        Ok(match name {
            "ItemID" => LineField::Item,
            "numberOfItems" | "numberOfItems:" => LineField::Quantity,
            _ => LineField::Unknown,
        })
    }
}

struct Quantity;

seed!(Quantity: u32);

impl Visitor<'_> for Quantity {
    type Value = u32;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "a whole number from 0 to {}", u32::MAX)
    }

    fn visit_u64<E: de::Error>(self, number: u64) -> Result<u32, E> {
        u32::try_from(number).map_err(|_| E::invalid_value(Unexpected::Unsigned(number), &self))
    }
}

/// An id up to the number given: a number, or a string of its digits.
#[derive(Clone, Copy)]
struct Id(u64);

impl Id {
    const U32: Self = Self(u32::MAX as u64);
    const U64: Self = Self(u64::MAX);
}

seed!(Id: u64);

impl Visitor<'_> for Id {
    type Value = u64;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "a whole number from 0 to {}, or a string of its digits", self.0)
    }

    fn visit_u64<E: de::Error>(self, number: u64) -> Result<u64, E> {
        if number > self.0 {
            return Err(E::invalid_value(Unexpected::Unsigned(number), &self));
        }
        Ok(number)
    }

    fn visit_str<E: de::Error>(self, digits: &str) -> Result<u64, E> {
        parse_number(digits, self.0).map_err(E::custom)
    }
}

struct Date;

seed!(Date: BusinessDate);

impl Visitor<'_> for Date {
    type Value = BusinessDate;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a string of eight digits, yyyyMMdd")
    }

    fn visit_str<E: de::Error>(self, text: &str) -> Result<BusinessDate, E> {
        text.parse().map_err(E::custom)
    }
}

struct OccurredAt;

seed!(OccurredAt: Option<Timestamp>);

impl Visitor<'_> for OccurredAt {
    type Value = Option<Timestamp>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a string with a time in RFC 3339, or null")
    }

    fn visit_str<E: de::Error>(self, text: &str) -> Result<Self::Value, E> {
        text.parse().map(Some).map_err(E::custom)
    }

    fn visit_unit<E: de::Error>(self) -> Result<Self::Value, E> {
        Ok(None)
    }
}

struct Key;

seed!(Key: Option<Cow<'de, str>>);

impl<'de> Visitor<'de> for Key {
    type Value = Option<Cow<'de, str>>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a string or null")
    }

    fn visit_borrowed_str<E: de::Error>(self, text: &'de str) -> Result<Self::Value, E> {
        Ok(Some(Cow::Borrowed(text)))
    }

    fn visit_str<E: de::Error>(self, text: &str) -> Result<Self::Value, E> {
        Ok(Some(Cow::Owned(text.to_owned())))
    }

    fn visit_unit<E: de::Error>(self) -> Result<Self::Value, E> {
        Ok(None)
    }
}

/// Any value, checked and forgotten. Unlike `serde::de::IgnoredAny` it counts as nesting.
#[derive(Clone, Copy)]
struct Skipped;

seed!(Skipped: ());

impl<'de> Visitor<'de> for Skipped {
    type Value = ();

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("any value")
    }

    fn visit_bool<E>(self, _: bool) -> Result<(), E> {
        Ok(())
    }

    fn visit_i64<E>(self, _: i64) -> Result<(), E> {
        Ok(())
    }

    fn visit_u64<E>(self, _: u64) -> Result<(), E> {
        Ok(())
    }

    fn visit_f64<E>(self, _: f64) -> Result<(), E> {
        Ok(())
    }

    fn visit_str<E>(self, _: &str) -> Result<(), E> {
        Ok(())
    }

    fn visit_unit<E>(self) -> Result<(), E> {
        Ok(())
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut items: A) -> Result<(), A::Error> {
        while items.next_element_seed(self)?.is_some() {}
        Ok(())
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<(), A::Error> {
        while map.next_key_seed(self)?.is_some() {
            map.next_value_seed(self)?;
        }
        Ok(())
    }
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
            {"numberOfItems":4294967295,"ItemID":18446744073709551615},
            {"ItemID":"007","numberOfItems":2}]}"#;
        let basket = parse_basket(body).unwrap();
        assert_eq!(basket.lines, [line(123, 1), line(u64::MAX, u32::MAX), line(7, 2)]);
        assert_eq!(basket.occurred_at, None);
    }

    #[test]
    fn quantity_0_counts_nothing() {
        let body = br#"{"items":[{"ItemID":"1","numberOfItems":0}]}"#;
        assert_eq!(parse_basket(body).unwrap().lines, []);
    }

    #[test]
    fn unknown_fields_are_skipped() {
        let body = br#"{"till":{"id":[1,-2,3.5,null,true,"x"]},"items":
            [{"ItemID":1,"name":"tea","numberOfItems":3}],"storeID":"not for a body"}"#;
        assert_eq!(parse_basket(body).unwrap().lines, [line(1, 3)]);
    }

    #[test]
    fn an_entry_has_store_customer_date_time_and_key() {
        let text = br#"{"storeID":1,"custID":1000,"date":"20210101",
            "occurredAt":"2021-01-01T09:30:00Z","key":"a\u00e9","items":[{"ItemID":5,"numberOfItems":2}]}"#;
        let entry = parse_entry(text).unwrap();
        assert_eq!((entry.store, entry.customer), (StoreId(1), CustomerId(1000)));
        assert_eq!(entry.date.to_string(), "20210101");
        assert_eq!(entry.key.as_deref(), Some("aé"));
        assert_eq!(entry.basket.lines, [line(5, 2)]);
        let time = entry.basket.occurred_at.unwrap();
        assert_eq!(time.to_string(), "2021-01-01T09:30:00.000Z");
        let nulls = br#"{"storeID":1,"custID":1,"date":"20210101","occurredAt":null,"key":null,
            "items":[{"ItemID":5,"numberOfItems":2}]}"#;
        let entry = parse_entry(nulls).unwrap();
        assert_eq!((entry.key, entry.basket.occurred_at), (None, None));
    }

    /// What the message must begin with.
    #[test]
    fn errors_say_where() {
        let item = |item: &str| format!(r#"{{"items":[{{"ItemID":1,"numberOfItems":1}},{item}]}}"#);
        for (body, expected) in [
            (item(r#"{"ItemID":1,"numberOfItems":-1}"#), "items[1].numberOfItems: invalid type"),
            (item(r#"{"ItemID":1,"numberOfItems":1.5}"#), "items[1].numberOfItems: invalid type"),
            (item(r#"{"ItemID":1,"numberOfItems":1.0}"#), "items[1].numberOfItems: invalid type"),
            (item(r#"{"ItemID":1,"numberOfItems":"1"}"#), "items[1].numberOfItems: invalid type"),
            (
                item(r#"{"ItemID":1,"numberOfItems":4294967296}"#),
                "items[1].numberOfItems: invalid value",
            ),
            (item(r#"{"ItemID":1,"numberOfItems":1e999}"#), "items[1].numberOfItems: number out"),
            (
                item(r#"{"ItemID":1,"numberOfItems":99999999999999999999}"#),
                "items[1].numberOfItems: invalid type",
            ),
            (item(r#"{"ItemID":1,"numberOfItems":[[1]]}"#), "items[1].numberOfItems: invalid"),
            (item(r#"{"ItemID":"","numberOfItems":1}"#), "items[1].ItemID: ''"),
            (item(r#"{"ItemID":"+1","numberOfItems":1}"#), "items[1].ItemID: '+1'"),
            (item(r#"{"ItemID":-1,"numberOfItems":1}"#), "items[1].ItemID: invalid type"),
            (
                item(r#"{"ItemID":"18446744073709551616","numberOfItems":1}"#),
                "items[1].ItemID: 18446744073709551616 is larger",
            ),
            (item(r#"{"ItemID":1}"#), "items[1]: missing field `numberOfItems`"),
            (item(r#"{"numberOfItems":1}"#), "items[1]: missing field `ItemID`"),
            (item(r#"{"ItemID":1,"ItemID":1,"numberOfItems":1}"#), "items[1].ItemID: the field is"),
            (
                item(r#"{"ItemID":1,"numberOfItems":1,"numberOfItems:":1}"#),
                "items[1].numberOfItems: the field is given twice",
            ),
            (item("5"), "items[1]: invalid type: integer `5`, expected an object"),
            (item(""), "items[1]: "),
            (r#"{"items":[]}"#.into(), "items: invalid length 0, expected a list of 1 to 1000"),
            (r#"{"items":{}}"#.into(), "items: invalid type: map"),
            (r#"{"items":null}"#.into(), "items: invalid type: null"),
            (r#"{"items":[],"items":[]}"#.into(), "items: invalid length"),
            (r#"{"occurredAt":"noon","items":[]}"#.into(), "occurredAt: 'noon' is not a time"),
            (r#"{"occurredAt":null,"occurredAt":null}"#.into(), "occurredAt: the field is given"),
            ("{}".into(), "items is missing"),
            ("[]".into(), "invalid type: sequence"),
            ("null".into(), "invalid type: null"),
            (String::new(), "EOF while parsing a value (line 1, column 0)"),
            ("nonsense".into(), "expected ident"),
            (format!("{} x", item("{\"ItemID\":1,\"numberOfItems\":1}")), "trailing characters"),
            (format!("{0}{0}", item("{\"ItemID\":1,\"numberOfItems\":1}")), "trailing characters"),
        ] {
            let error = parse_basket(body.as_bytes()).unwrap_err().to_string();
            assert!(error.starts_with(expected), "{body}: {error}");
        }
    }

    #[test]
    fn errors_of_an_entry_say_where() {
        let entry = |rest: &str| format!(r#"{{"items":[{{"ItemID":1,"numberOfItems":1}}]{rest}}}"#);
        for (line, expected) in [
            (entry(""), "storeID is missing"),
            (entry(r#","storeID":1"#), "custID is missing"),
            (entry(r#","storeID":1,"custID":1"#), "date is missing"),
            (entry(r#","storeID":-1"#), "storeID: invalid type: integer `-1`"),
            (entry(r#","storeID":4294967296"#), "storeID: invalid value"),
            (entry(r#","date":"20210230""#), "date: '20210230' is not a date"),
            (entry(r#","date":20210101"#), "date: invalid type"),
            (entry(r#","key":5"#), "key: invalid type"),
            (entry(r#","key":"a","key":"a""#), "key: the field is given twice"),
        ] {
            let error = parse_entry(line.as_bytes()).unwrap_err().to_string();
            assert!(error.starts_with(expected), "{line}: {error}");
        }
    }

    #[test]
    fn the_number_of_items_is_bounded() {
        let items = |count: usize| {
            let items = vec![r#"{"ItemID":1,"numberOfItems":0}"#; count];
            format!(r#"{{"items":[{}]}}"#, items.join(","))
        };
        assert!(parse_basket(items(MAX_LINES).as_bytes()).is_ok());
        let error = parse_basket(items(MAX_LINES + 1).as_bytes()).unwrap_err().to_string();
        assert!(error.starts_with("items: there are more than 1000 items"), "{error}");
    }

    #[test]
    fn deep_nesting_is_an_error() {
        for (open, close) in [("[", "]"), (r#"{"a":"#, "}")] {
            let deep = format!("{}1{}", open.repeat(100_000), close.repeat(100_000));
            for body in [
                deep.clone(),
                format!(r#"{{"items":{deep}}}"#),
                format!(r#"{{"items":[{deep}]}}"#),
                format!(r#"{{"x":{deep}}}"#),
                format!(r#"{{"items":[{{"x":{deep}}}]}}"#),
            ] {
                assert!(parse_basket(body.as_bytes()).is_err());
            }
        }
    }

    #[test]
    fn other_text_than_utf_8_is_an_error() {
        let error = parse_basket(b"{\"x\":\"\xff\"}").unwrap_err().to_string();
        assert_eq!(error, "the text is not UTF-8 from byte 6 on");
    }

    #[test]
    fn a_long_quote_is_cut() {
        let body = format!(r#"{{"items":"{}"}}"#, "ä".repeat(10_000));
        let error = parse_basket(body.as_bytes()).unwrap_err().to_string();
        assert!(error.len() < 3 * MAX_MESSAGE && error.contains('…'), "{error}");
    }
}
