//! The batch codec: golden bytes, round trip, and totality on arbitrary bytes.

use model::{
    Batch, BusinessDate, CustomerId, DecodeError, IdempotencyKey, ItemId, Line, ProducerId,
    Purchase, Sequence, StoreId, Timestamp,
};
use proptest::prelude::*;

fn golden() -> (Batch, Vec<u8>) {
    let batch = Batch {
        producer: ProducerId(0x0102_0304_0506_0708),
        first_sequence: Sequence(300),
        append_time: "2021-01-01T09:30:00Z".parse().unwrap(),
        purchases: vec![
            Purchase {
                store: StoreId(7),
                customer: CustomerId(7001),
                date: "20210101".parse().unwrap(),
                event_time: "2021-01-01T09:29:59.990Z".parse().unwrap(),
                key: None,
                lines: vec![
                    Line { item: ItemId(5), quantity: 1 },
                    Line { item: ItemId(99_999), quantity: 128 },
                ],
            },
            Purchase {
                store: StoreId(7),
                customer: CustomerId(0),
                date: "20201231".parse().unwrap(),
                event_time: "2021-01-01T09:30:00Z".parse().unwrap(),
                key: Some(IdempotencyKey(*b"0123456789abcdef")),
                lines: vec![],
            },
        ],
    };
    let bytes = [
        &[1, 8, 7, 6, 5, 4, 3, 2, 1][..],
        &[0xac, 0x02],
        &[0x80, 0xa7, 0xc2, 0xd4, 0xd7, 0x5d],
        &[2],
        &[7, 0xd9, 0x36, 0, 19, 4, 5, 1, 0x9f, 0x8d, 0x06, 0x80, 0x01],
        &[7, 0, 1, 0, 1],
        b"0123456789abcdef",
    ]
    .concat();
    (batch, bytes)
}

#[test]
fn golden_bytes() {
    let (batch, bytes) = golden();
    assert_eq!(batch.encode(), bytes);
    assert_eq!(Batch::decode(&bytes), Ok(batch));
}

#[test]
fn a_tick_is_small() {
    let (mut batch, _) = golden();
    batch.purchases.clear();
    assert!(batch.is_tick());
    assert_eq!(batch.encode().len(), 18);
}

#[test]
fn every_prefix_and_every_suffix_is_refused() {
    let (_, bytes) = golden();
    for end in 0..bytes.len() {
        assert!(Batch::decode(&bytes[..end]).is_err(), "prefix of {end} bytes");
    }
    let longer = [bytes.as_slice(), &[0]].concat();
    assert_eq!(Batch::decode(&longer), Err(DecodeError::Trailing(1)));
}

#[test]
fn another_version_is_named() {
    let (_, mut bytes) = golden();
    bytes[0] = 2;
    assert_eq!(Batch::decode(&bytes), Err(DecodeError::Version(2)));
}

#[test]
fn a_count_cannot_make_a_reader_allocate() {
    let (mut batch, _) = golden();
    batch.purchases.clear();
    let mut bytes = batch.encode();
    *bytes.last_mut().unwrap() = 0x7f;
    assert_eq!(Batch::decode(&bytes), Err(DecodeError::Count));
}

fn any_purchase() -> impl Strategy<Value = Purchase> {
    let line = (any::<u64>(), any::<u32>())
        .prop_map(|(item, quantity)| Line { item: ItemId(item), quantity });
    (
        any::<u32>(),
        any::<u32>(),
        -719_528_i32..=2_932_896,
        Timestamp::MIN.millis()..=Timestamp::MAX.millis(),
        any::<Option<[u8; 16]>>(),
        prop::collection::vec(line, 0..20),
    )
        .prop_map(|(store, customer, days, millis, key, lines)| Purchase {
            store: StoreId(store),
            customer: CustomerId(customer),
            date: BusinessDate::from_days(days).unwrap(),
            event_time: Timestamp::from_millis(millis).unwrap(),
            key: key.map(IdempotencyKey),
            lines,
        })
}

fn any_batch() -> impl Strategy<Value = Batch> {
    (
        any::<u64>(),
        0..=u64::MAX / 2,
        Timestamp::MIN.millis()..=Timestamp::MAX.millis(),
        prop::collection::vec(any_purchase(), 0..20),
    )
        .prop_map(|(producer, sequence, millis, purchases)| Batch {
            producer: ProducerId(producer),
            first_sequence: Sequence(sequence),
            append_time: Timestamp::from_millis(millis).unwrap(),
            purchases,
        })
}

proptest! {
    #[test]
    fn round_trip(batch in any_batch()) {
        prop_assert_eq!(Batch::decode(&batch.encode()), Ok(batch));
    }

    #[test]
    fn any_bytes_give_a_value_with_this_one_form_or_an_error(
        bytes in prop::collection::vec(any::<u8>(), 0..200),
    ) {
        if let Ok(batch) = Batch::decode(&bytes) {
            prop_assert_eq!(batch.encode(), bytes);
        }
    }

    #[test]
    fn damaged_batches_never_panic(batch in any_batch(), at in any::<prop::sample::Index>(), bit in 0..8_u8) {
        let mut bytes = batch.encode();
        let at = at.index(bytes.len());
        bytes[at] ^= 1_u8 << bit;
        if let Ok(read) = Batch::decode(&bytes) {
            prop_assert_ne!(&read, &batch);
            prop_assert_eq!(read.encode(), bytes);
        }
    }
}
