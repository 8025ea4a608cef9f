//! Parsing is total, and reads back what was written, however it is spelled.

use ingest::parse::{parse_basket, parse_entry};
use model::{BusinessDate, ItemId, Line, Timestamp};
use proptest::prelude::*;

/// One item, and how it is spelled.
#[expect(clippy::struct_excessive_bools, reason = "independent choices of spelling")]
#[derive(Debug, Clone)]
struct Item {
    line: Line,
    id_as_string: bool,
    colon: bool,
    quantity_first: bool,
    extra: bool,
}

impl Item {
    fn json(&self) -> String {
        let id = self.line.item.0;
        let id = if self.id_as_string {
            format!(r#""ItemID":"{id}""#)
        } else {
            format!(r#""ItemID": {id}"#)
        };
        let colon = if self.colon { ":" } else { "" };
        let quantity = format!(r#""numberOfItems{colon}":{}"#, self.line.quantity);
        let (first, second) = if self.quantity_first { (quantity, id) } else { (id, quantity) };
        let extra = if self.extra { r#""note":{"a":[1,{"b":null}]},"# } else { "" };
        format!("{{{extra}{first} , {second}}}")
    }
}

prop_compose! {
    fn item()(
        id in prop_oneof![0..=u64::MAX, 0..100_u64],
        quantity in prop_oneof![0..=u32::MAX, 0..3_u32],
        flags in any::<[bool; 4]>(),
    ) -> Item {
        let [id_as_string, colon, quantity_first, extra] = flags;
        let line = Line { item: ItemId(id), quantity };
        Item { line, id_as_string, colon, quantity_first, extra }
    }
}

fn items_json(items: &[Item]) -> String {
    let items: Vec<String> = items.iter().map(Item::json).collect();
    format!("[{}]", items.join(","))
}

fn counted(items: &[Item]) -> Vec<Line> {
    items.iter().map(|item| item.line).filter(|line| line.quantity > 0).collect()
}

/// Bytes that are nearly right.
fn damaged() -> impl Strategy<Value = Vec<u8>> {
    (prop::collection::vec(item(), 1..5), any::<prop::sample::Index>(), any::<u8>(), 0..4).prop_map(
        |(items, at, byte, how)| {
            let mut bytes = format!(r#"{{"items":{}}}"#, items_json(&items)).into_bytes();
            let at = at.index(bytes.len());
            match how {
                0 => bytes.truncate(at),
                1 => bytes[at] = byte,
                2 => bytes.insert(at, byte),
                _ => drop(bytes.remove(at)),
            }
            bytes
        },
    )
}

proptest! {
    #[test]
    fn any_bytes_are_read_or_refused(bytes in prop::collection::vec(any::<u8>(), 0..200)) {
        let _ = parse_basket(&bytes);
        let _ = parse_entry(&bytes);
    }

    #[test]
    fn nearly_right_bytes_are_read_or_refused(bytes in damaged()) {
        let _ = parse_entry(&bytes);
        // Whatever is still read is JSON to another parser too.
        if parse_basket(&bytes).is_ok() {
            prop_assert!(serde_json::from_slice::<serde_json::Value>(&bytes).is_ok());
        }
    }

    #[test]
    fn a_basket_is_read_as_it_was_written(items in prop::collection::vec(item(), 1..50)) {
        let json = format!(r#"{{"items":{}}}"#, items_json(&items));
        let basket = parse_basket(json.as_bytes()).unwrap();
        prop_assert_eq!(basket.lines, counted(&items));
    }

    #[test]
    fn an_entry_is_read_as_it_was_written(
        items in prop::collection::vec(item(), 1..10),
        store in any::<u32>(),
        customer in any::<u32>(),
        days in -700_000..2_900_000_i32,
        millis in prop::option::of(0..4_000_000_000_000_i64),
        key in prop::option::of(".{0,20}"),
    ) {
        let date = BusinessDate::from_days(days).unwrap();
        let time = millis.map(|millis| Timestamp::from_millis(millis).unwrap());
        let json = format!(
            r#"{{"custID":"{customer}","items":{},"occurredAt":{},"storeID":{store},"key":{},"date":"{date}"}}"#,
            items_json(&items),
            serde_json::to_string(&time.map(|time| time.to_string())).unwrap(),
            serde_json::to_string(&key).unwrap(),
        );
        let entry = parse_entry(json.as_bytes()).unwrap();
        prop_assert_eq!((entry.store.0, entry.customer.0, entry.date), (store, customer, date));
        prop_assert_eq!(entry.key.as_deref(), key.as_deref());
        prop_assert_eq!(entry.basket.occurred_at, time);
        prop_assert_eq!(entry.basket.lines, counted(&items));
    }
}
