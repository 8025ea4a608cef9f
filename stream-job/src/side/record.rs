//! The records of the topics: JSON objects, one line each.

use std::fmt::Write;

use bytes::Bytes;
use model::{CustomerId, DecodeError, ItemId, Line, Offset, Partition, StoreId};
use serde::{Serialize, Serializer};

use super::{DeadLetter, LatePurchase};

/// Bytes of a dead letter in one record, which has two digits for each. A larger one is cut into parts.
const PART_BYTES: usize = 512 << 10;
const _: () = assert!(2 * PART_BYTES + 1000 < log::MAX_RECORD_BYTES);

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Late {
    partition: u32,
    offset: Offset,
    place: u32,
    #[serde(rename = "storeID")]
    store: StoreId,
    #[serde(rename = "custID")]
    customer: CustomerId,
    date: String,
    occurred_at: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    key_digest: Option<String>,
    items: Vec<Item>,
}

#[derive(Serialize)]
struct Item {
    #[serde(rename = "itemID")]
    item: ItemId,
    quantity: u32,
}

impl Serialize for LatePurchase {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let purchase = &self.purchase;
        let item = |line: &Line| Item { item: line.item, quantity: line.quantity };
        let record = Late {
            partition: self.partition.0,
            offset: self.offset,
            place: self.place,
            store: purchase.store,
            customer: purchase.customer,
            date: purchase.date.to_string(),
            occurred_at: purchase.event_time.to_string(),
            key_digest: purchase.key.map(|key| hex(&key.0)),
            items: purchase.lines.iter().map(item).collect(),
        };
        record.serialize(serializer)
    }
}

#[derive(Serialize)]
struct DeadLetterPart<'a> {
    partition: u32,
    offset: Offset,
    part: usize,
    parts: usize,
    error: &'a str,
    /// Of all parts.
    bytes: usize,
    hex: String,
}

impl LatePurchase {
    /// Its record.
    pub(super) fn record(&self) -> Bytes {
        json(self)
    }
}

impl DeadLetter {
    /// The first bytes of the record, at most so many, as hexadecimal digits.
    pub fn hex(&self, most: usize) -> String {
        hex(&self.record[..most.min(self.record.len())])
    }
}

/// The records of a dead letter: one for each part.
pub(super) fn dead_letter(
    partition: Partition,
    offset: Offset,
    record: &[u8],
    error: Option<DecodeError>,
) -> impl Iterator<Item = Bytes> {
    let error = error.map_or_else(
        || "set aside by a release that could not decode it".to_owned(),
        |error| error.to_string(),
    );
    let parts = record.len().div_ceil(PART_BYTES).max(1);
    (0..parts).map(move |part| {
        let from = part * PART_BYTES;
        let end = record.len().min(from + PART_BYTES);
        json(&DeadLetterPart {
            partition: partition.0,
            offset,
            part,
            parts,
            error: &error,
            bytes: record.len(),
            hex: hex(&record[from..end]),
        })
    })
}

fn json(record: &impl Serialize) -> Bytes {
    serde_json::to_vec(record).expect("numbers and texts under names always serialise").into()
}

fn hex(bytes: &[u8]) -> String {
    let mut digits = String::with_capacity(2 * bytes.len());
    for byte in bytes {
        write!(digits, "{byte:02x}").expect("a string takes everything");
    }
    digits
}
