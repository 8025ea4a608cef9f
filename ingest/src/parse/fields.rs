//! The objects of the form, and which of their fields are known.

use std::{borrow::Cow, cell::Cell, fmt};

use model::{BusinessDate, ItemId, Line, MAX_LINES, Timestamp};
use serde::de::{self, DeserializeSeed, Deserializer, MapAccess, SeqAccess, Visitor};

use super::values::{Date, Id, Key, OccurredAt, Quantity, Skipped};

/// Which fields are known.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Form {
    Basket,
    Entry,
}

/// Where the parser is; left as it was when an error ends it.
#[derive(Default)]
pub(super) struct Place {
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
pub(super) struct Fields<'a> {
    pub(super) lines: Option<Vec<Line>>,
    pub(super) occurred_at: Option<Timestamp>,
    pub(super) store: Option<u64>,
    pub(super) customer: Option<u64>,
    pub(super) date: Option<BusinessDate>,
    pub(super) key: Option<Cow<'a, str>>,
}

#[derive(Clone, Copy)]
pub(super) struct FieldsSeed<'p> {
    pub(super) form: Form,
    pub(super) place: &'p Place,
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
