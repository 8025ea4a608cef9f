//! What a purchase costs from its bytes to those of the batch, in lines a second; beside it, the
//! same bytes only read as JSON by `serde_json`, into nothing.

use divan::{Bencher, black_box, counter::ItemsCount};
use ingest::parse::{parse_basket, parse_entry};
use model::{Batch, ProducerId, Purchase, Sequence, Timestamp};
use serde::de::IgnoredAny;

const PURCHASES: u32 = 512;
const LINES: u32 = 5;

fn main() {
    divan::main();
}

fn items(purchase: u32) -> String {
    let items: Vec<String> = (0..LINES)
        .map(|line| {
            let item = (purchase * 7919 + line * 104_729) % 100_000;
            format!(r#"{{"ItemID":"{item}","numberOfItems:":{}}}"#, 1 + line)
        })
        .collect();
    format!("[{}]", items.join(","))
}

fn bodies() -> Vec<String> {
    (0..PURCHASES).map(|p| format!(r#"{{"items":{}}}"#, items(p))).collect()
}

fn entries() -> Vec<String> {
    let entry = |p: u32| {
        format!(
            r#"{{"storeID":{},"custID":{p},"date":"20210101","occurredAt":"2021-01-01T09:30:00Z","items":{}}}"#,
            p % 32,
            items(p)
        )
    };
    (0..PURCHASES).map(entry).collect()
}

fn purchase(entry: &str, now: Timestamp) -> Purchase {
    let entry = parse_entry(entry.as_bytes()).expect("it is well formed");
    Purchase {
        store: entry.store,
        customer: entry.customer,
        date: entry.date,
        event_time: entry.basket.occurred_at.unwrap_or(now),
        key: None,
        lines: entry.basket.lines,
    }
}

fn batch(purchases: Vec<Purchase>, append_time: Timestamp) -> Batch {
    Batch { producer: ProducerId(1), first_sequence: Sequence(0), append_time, purchases }
}

fn lines() -> ItemsCount {
    ItemsCount::new(PURCHASES * LINES)
}

#[divan::bench]
fn json_read_into_nothing(bencher: Bencher<'_, '_>) {
    let bodies = bodies();
    bencher.counter(lines()).bench_local(|| {
        for body in &bodies {
            black_box(serde_json::from_slice::<IgnoredAny>(body.as_bytes()).is_ok());
        }
    });
}

#[divan::bench]
fn parse_bodies(bencher: Bencher<'_, '_>) {
    let bodies = bodies();
    bencher.counter(lines()).bench_local(|| {
        for body in &bodies {
            black_box(parse_basket(body.as_bytes()).is_ok());
        }
    });
}

#[divan::bench]
fn parse_entries(bencher: Bencher<'_, '_>) {
    let entries = entries();
    bencher.counter(lines()).bench_local(|| {
        for entry in &entries {
            black_box(parse_entry(entry.as_bytes()).is_ok());
        }
    });
}

#[divan::bench]
fn encode_a_batch(bencher: Bencher<'_, '_>) {
    let now = Timestamp::now();
    let batch = batch(entries().iter().map(|entry| purchase(entry, now)).collect(), now);
    bencher.counter(lines()).bench_local(|| batch.encode());
}

#[divan::bench]
fn parse_batch_and_encode(bencher: Bencher<'_, '_>) {
    let entries = entries();
    let now = Timestamp::now();
    bencher.counter(lines()).bench_local(|| {
        batch(entries.iter().map(|entry| purchase(entry, now)).collect(), now).encode()
    });
}
