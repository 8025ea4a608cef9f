//! Each profile sends what it says.

mod support;

use std::{collections::HashMap, fmt::Write, fs};

use loadgen::load::Kind;
use support::{Behaviour, Fake, raw::run};
use tempfile::TempDir;

async fn fake() -> Fake {
    let cut = |path: &str, list: support::List| {
        let course = path.starts_with("/items");
        list.map(|list| list.into_iter().take(if course { 10 } else { usize::MAX }).collect())
    };
    Fake::start(Behaviour { tamper: Box::new(cut), ..Behaviour::default() }).await
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_shopping_day_has_one_client_for_each_store_and_three_phases() {
    let fake = fake().await;
    let flags = ["--profile=shopping-day", "--clients=8", "--purchases-per-hour=4", "--verify"];
    let summary = run(&fake.base_url, &flags).await.unwrap();
    assert_eq!(summary.total.successful, 8 * 9 * 4);
    assert_eq!((summary.seeded, summary.purchases.acknowledged), (0, 8 * 9 * 4));
    assert_eq!(summary.verification.unwrap().differences, 0);
    let (mut sent, mut most) = (HashMap::new(), 0);
    for store in fake.stores_in_order() {
        // Two stores open at once, two after 3 hours of any, four after 5.
        let opens_after = match store {
            1 | 2 => 0,
            3 | 4 => 3 * 4,
            _ => 5 * 4,
        };
        assert!(most >= opens_after, "store {store} after {most}");
        let count = sent.entry(store).or_insert(0);
        *count += 1;
        most = most.max(*count);
    }
    assert_eq!(sent.len(), 8);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_shopping_day_ends_at_its_duration_though_stores_wait_to_open() {
    let fake = fake().await;
    let flags = [
        "--profile=shopping-day",
        "--clients=8",
        "--purchases-per-hour=1000000",
        "--duration=300ms",
    ];
    let summary = run(&fake.base_url, &flags).await.unwrap();
    assert!(summary.total.successful > 0 && !summary.ended_early);
    assert!(fake.stores_in_order().iter().all(|&store| store <= 2), "only the east has opened");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_mix_has_its_shares() {
    let fake = fake().await;
    let flags = [
        "--profile=get-heavy",
        "--stores=10",
        "--items=20",
        "--seed-purchases=0",
        "--warm-up=0",
        "--duration=1s",
        "--clients=4",
    ];
    let summary = run(&fake.base_url, &flags).await.unwrap();
    let count = |kind| {
        let found = summary.kinds.iter().find(|summary| summary.kind == kind);
        found.map_or(0.0, |summary| summary.successful as f64)
    };
    let total = summary.total.successful as f64;
    assert!(total > 300.0, "{total}");
    // Five standard deviations of a binomial share.
    let near = |share: f64, expected: f64| {
        (share - expected).abs() < 5.0 * (expected * (1.0 - expected) / total).sqrt()
    };
    assert!(near(count(Kind::Post) / total, 0.05), "{}", count(Kind::Post) / total);
    assert!(near(count(Kind::StoreItems) / total, 0.475));
    assert!(near(count(Kind::ItemStores) / total, 0.475));
    assert_eq!(summary.seeded, 10);
}

/// Thirty baskets over two days, some with two lines.
fn recording(dir: &TempDir) -> String {
    let mut csv =
        "store_id,household_id,basket_id,product_id,quantity,transaction_timestamp\n".to_owned();
    for basket in 0..30 {
        let (day, minute) = (1 + basket / 15, basket % 15);
        for line in 0..=basket % 2 {
            let store = basket % 4;
            writeln!(csv, "{store},9,{basket},{},2,2017-01-0{day} 10:{minute:02}:00", 7 + line)
                .unwrap();
        }
    }
    let path = dir.path().join("recording.csv");
    fs::write(&path, csv).unwrap();
    path.to_str().unwrap().to_owned()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_recording_is_sent_one_by_one_and_in_bulk() {
    let dir = TempDir::new().unwrap();
    let file = recording(&dir);
    for (flags, kind, requests) in [(["--bulk=0"], Kind::Post, 30), (["--bulk=7"], Kind::Bulk, 5)] {
        let fake = fake().await;
        let common = ["--profile=replay", "--clients=3", "--verify", "--recording", &file];
        let summary = run(&fake.base_url, &[&common[..], &flags].concat()).await.unwrap();
        assert_eq!(summary.kinds.len(), 1);
        assert_eq!((summary.kinds[0].kind, summary.kinds[0].successful), (kind, requests));
        assert_eq!(summary.purchases.acknowledged, 30);
        let found = summary.verification.unwrap();
        assert_eq!(found.differences, 0, "{:?}", found.shown);
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_recording_keeps_its_pace() {
    let dir = TempDir::new().unwrap();
    let file = recording(&dir);
    let fake = fake().await;
    // A day and 14 minutes, 86400 times as fast.
    let flags = ["--profile=replay", "--clients=3", "--speed=86400", "--recording", &file];
    let summary = run(&fake.base_url, &flags).await.unwrap();
    let expected = 1.0 + 14.0 / 1440.0;
    assert!(summary.wall_seconds >= expected, "{}", summary.wall_seconds);
    let arrivals = summary.arrivals.unwrap();
    assert_eq!((arrivals.due, arrivals.dropped, summary.total.successful), (30, 0, 30));
}

#[tokio::test]
async fn settings_that_contradict_each_other_are_refused() {
    for flags in [
        &["--profile=shopping-day", "--rate=10"][..],
        &["--profile=shopping-day", "--warm-up=1s"],
        &["--profile=replay"],
        &["--recording=x.csv"],
        &["--profile=get-only", "--no-seeding", "--verify"],
    ] {
        let refused = run("http://127.0.0.1:1", flags).await;
        assert!(matches!(refused, Err(loadgen::load::LoadError::Settings(_))), "{flags:?}");
    }
    assert!(matches!(run("ftp://x", &[]).await, Err(loadgen::load::LoadError::Server(_))));
}
