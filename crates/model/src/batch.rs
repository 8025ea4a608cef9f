//! The batch codec: the only wire form of purchases in the stream.
//!
//! Grammar, numbers as in [`crate::varint`] (`u` unsigned, `i` signed), version 1:
//!
//! - batch: version byte `01` · producer (8 bytes, little endian) · first sequence `u` ·
//!   append time `i` (milliseconds) · count `u` · purchase × count
//! - purchase: store `u` · customer `u` · date `i`, days less those of the purchase before (the
//!   first: of the append date) · event time `i`, milliseconds less the append time · head `u` ·
//!   key (16 bytes, if the head says so) · line × lines
//! - head: lines × 2, plus 1 if there is a key
//! - line: item `u` · quantity `u`
//!
//! Every value has exactly one form, so that equal batches are equal bytes. A batch of no purchases
//! is a *tick*: it says only that time has passed.

use crate::{
    BusinessDate, CustomerId, IdempotencyKey, ItemId, Line, MAX_LINES, ProducerId, Purchase,
    Sequence, StoreId, Timestamp,
    varint::{self, VarintError},
};

const VERSION: u8 = 1;

/// The most purchases a batch may hold.
pub const MAX_BATCH_PURCHASES: usize = 4096;

/// The largest record a stream takes, in bytes: a batch, or a part of what a worker hands on. Somewhat less than
/// the 2 MiB that a Fluvio server takes.
pub const MAX_RECORD_BYTES: usize = 2_000_000;

/// The fewest bytes a purchase can take; bounds what a count can make a reader allocate.
const MIN_PURCHASE_BYTES: usize = 5;
/// The fewest bytes a line can take.
const MIN_LINE_BYTES: usize = 2;

/// The unit of append: purchases of one partition, in order.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Batch {
    /// Who appended it.
    pub producer: ProducerId,
    /// Number of the first purchase; the others follow one by one.
    pub first_sequence: Sequence,
    /// When it was appended, by the producer's clock.
    pub append_time: Timestamp,
    /// At most [`MAX_BATCH_PURCHASES`]; none in a tick.
    pub purchases: Vec<Purchase>,
}

/// Bytes that are not a batch.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum DecodeError {
    /// Written by another version of the codec.
    #[error("unknown batch version {0}, this build reads version {VERSION}")]
    Version(u8),
    /// A number is broken.
    #[error(transparent)]
    Varint(#[from] VarintError),
    /// A count is larger than allowed, or than the bytes left can hold.
    #[error("a count is larger than the limit or than the bytes that follow")]
    Count,
    /// A time or a date is out of range.
    #[error("a time is out of range")]
    Time,
    /// Bytes are left after the last purchase.
    #[error("{0} bytes are left after the last purchase")]
    Trailing(usize),
}

impl Batch {
    /// Whether this is a tick.
    pub fn is_tick(&self) -> bool {
        self.purchases.is_empty()
    }

    /// The bytes of the batch.
    ///
    /// # Panics
    /// If it holds more than [`MAX_BATCH_PURCHASES`], or a purchase more than [`MAX_LINES`].
    pub fn encode(&self) -> Vec<u8> {
        assert!(self.purchases.len() <= MAX_BATCH_PURCHASES, "too many purchases for a batch");
        let lines: usize = self.purchases.iter().map(|p| p.lines.len()).sum();
        let mut out = Vec::with_capacity(32 + 24 * self.purchases.len() + 5 * lines);
        out.push(VERSION);
        out.extend_from_slice(&self.producer.0.to_le_bytes());
        varint::put(&mut out, self.first_sequence.0);
        varint::put_signed(&mut out, self.append_time.millis());
        varint::put(&mut out, self.purchases.len() as u64);
        let mut date = self.append_time.date();
        for purchase in &self.purchases {
            put_purchase(&mut out, purchase, date, self.append_time);
            date = purchase.date;
        }
        out
    }

    /// Reads what [`Batch::encode`] wrote.
    ///
    /// Total and strict: any bytes give a batch or an error, and never an allocation larger than a
    /// small multiple of their length.
    ///
    /// # Errors
    /// [`DecodeError`] says what is wrong with the bytes.
    pub fn decode(bytes: &[u8]) -> Result<Self, DecodeError> {
        let rest = &mut &*bytes;
        let [version] = varint::take_array(rest)?;
        if version != VERSION {
            return Err(DecodeError::Version(version));
        }
        let producer = ProducerId(u64::from_le_bytes(varint::take_array(rest)?));
        let first_sequence = Sequence(varint::take(rest)?);
        let append_time =
            Timestamp::from_millis(varint::take_signed(rest)?).ok_or(DecodeError::Time)?;
        let count = take_count(rest, MAX_BATCH_PURCHASES, MIN_PURCHASE_BYTES)?;
        let mut purchases = Vec::with_capacity(count);
        let mut date = append_time.date();
        for _ in 0..count {
            let purchase = take_purchase(rest, date, append_time)?;
            date = purchase.date;
            purchases.push(purchase);
        }
        if !rest.is_empty() {
            return Err(DecodeError::Trailing(rest.len()));
        }
        first_sequence.0.checked_add(count as u64).ok_or(DecodeError::Count)?;
        Ok(Self { producer, first_sequence, append_time, purchases })
    }
}

fn put_purchase(out: &mut Vec<u8>, purchase: &Purchase, date: BusinessDate, append: Timestamp) {
    assert!(purchase.lines.len() <= MAX_LINES, "too many lines in a purchase");
    varint::put(out, u64::from(purchase.store.0));
    varint::put(out, u64::from(purchase.customer.0));
    varint::put_signed(out, i64::from(purchase.date.days()) - i64::from(date.days()));
    varint::put_signed(out, purchase.event_time.millis() - append.millis());
    varint::put(out, (purchase.lines.len() as u64) << 1 | u64::from(purchase.key.is_some()));
    if let Some(key) = purchase.key {
        out.extend_from_slice(&key.0);
    }
    for line in &purchase.lines {
        varint::put(out, line.item.0);
        varint::put(out, u64::from(line.quantity));
    }
}

fn take_purchase(
    rest: &mut &[u8],
    date: BusinessDate,
    append: Timestamp,
) -> Result<Purchase, DecodeError> {
    let store = StoreId(varint::take_u32(rest)?);
    let customer = CustomerId(varint::take_u32(rest)?);
    let days = varint::take_signed(rest)?.checked_add(i64::from(date.days()));
    let date = days
        .and_then(|days| i32::try_from(days).ok())
        .and_then(BusinessDate::from_days)
        .ok_or(DecodeError::Time)?;
    let event_time = varint::take_signed(rest)?
        .checked_add(append.millis())
        .and_then(Timestamp::from_millis)
        .ok_or(DecodeError::Time)?;
    let head = varint::take(rest)?;
    let key = if head & 1 == 1 { Some(IdempotencyKey(varint::take_array(rest)?)) } else { None };
    let count = checked_count(head >> 1, MAX_LINES, MIN_LINE_BYTES, rest)?;
    let mut lines = Vec::with_capacity(count);
    for _ in 0..count {
        let item = ItemId(varint::take(rest)?);
        lines.push(Line { item, quantity: varint::take_u32(rest)? });
    }
    Ok(Purchase { store, customer, date, event_time, key, lines })
}

fn take_count(rest: &mut &[u8], max: usize, each: usize) -> Result<usize, DecodeError> {
    checked_count(varint::take(rest)?, max, each, rest)
}

fn checked_count(count: u64, max: usize, each: usize, rest: &[u8]) -> Result<usize, DecodeError> {
    usize::try_from(count)
        .ok()
        .filter(|&count| count <= max && count <= rest.len() / each)
        .ok_or(DecodeError::Count)
}
