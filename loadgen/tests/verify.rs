//! The comparison finds every kind of wrong answer, in every list, and nothing in right ones.

mod support;

use std::sync::{Arc, atomic::AtomicU64};

use loadgen::{Basket, Client, Progress, Tally, Verification, VerifyOptions, bulk, verify};
use model::{BusinessDate, CustomerId, ItemId, Line, StoreId};
use support::{Behaviour, Fake, List};

/// Lists with ties, longer than 10; an item sold nowhere; two days.
fn baskets() -> Arc<[Basket]> {
    let first: BusinessDate = "20210101".parse().unwrap();
    let basket = |n: u32| Basket {
        store: StoreId(n % 13),
        customer: CustomerId(0),
        date: first.plus_days(i32::from(n >= 100)),
        occurred_at: None,
        key: n.to_string(),
        lines: [(n % 17, 2), (n % 5, 1), (99, 0)]
            .map(|(item, quantity)| Line { item: ItemId(u64::from(item)), quantity })
            .to_vec(),
    };
    (0..200).map(basket).collect()
}

/// Sends, then compares with a server that tampers with the list at `path`.
async fn compare(path: &'static str, tamper: fn(List) -> List) -> Verification {
    let wrong = move |asked: &str, list| if asked == path { tamper(list) } else { list };
    let fake = Fake::start(Behaviour { tamper: Box::new(wrong), ..Behaviour::default() }).await;
    let client = Client::new(&fake.base_url.parse().unwrap()).unwrap();
    let options = bulk::Options::default();
    let report = bulk::send(&client, baskets(), &options, &Progress::default()).await.unwrap();
    let answered = AtomicU64::new(0);
    let found = verify(&client, &report.tally, &VerifyOptions::default(), &answered).await.unwrap();
    assert_eq!(answered.into_inner(), found.answers);
    found
}

const LISTS: [&str; 6] = [
    "/items/store/4",
    "/items/top10/3",
    "/v1/stores/4/top-items",
    "/v1/items/3/top-stores",
    "/v1/top-items",
    "/v1/top-stores",
];

async fn found_in_all_lists(tamper: fn(List) -> List) {
    for path in LISTS {
        let found = compare(path, tamper).await;
        // The `/v1` lists are also asked for on each of the two days.
        let expected = if path.starts_with("/v1") { 1..=3 } else { 1..=1 };
        assert!(expected.contains(&found.differences), "{path}: {found:?}");
        assert_eq!(found.shown.len() as u64, found.differences);
        assert!(found.shown.iter().all(|shown| shown.contains(path)), "{:?}", found.shown);
    }
}

#[tokio::test]
async fn right_answers_have_no_differences() {
    let found = compare("", |list| list).await;
    assert_eq!((found.stores, found.items, found.days), (13, 18, 2));
    assert_eq!((found.differences, found.shown), (0, Vec::new()));
}

#[tokio::test]
async fn a_count_off_by_one_is_found() {
    found_in_all_lists(|list| {
        list.map(|mut list| {
            if let Some(last) = list.last_mut() {
                last.1 += 1;
            }
            list
        })
    })
    .await;
}

#[tokio::test]
async fn a_tie_in_the_wrong_order_is_found() {
    found_in_all_lists(|list| {
        list.map(|mut list| {
            let tie = (1..list.len()).find(|&i| list[i - 1].1 == list[i].1);
            list.swap(tie.map_or(0, |i| i - 1), tie.unwrap_or(0));
            list
        })
    })
    .await;
}

#[tokio::test]
async fn a_missing_entry_is_found() {
    found_in_all_lists(|list| {
        list.map(|mut list| {
            list.pop();
            list
        })
    })
    .await;
}

#[tokio::test]
async fn an_extra_entry_is_found() {
    found_in_all_lists(|list| {
        list.map(|mut list| {
            list.push((1_000, 1));
            list
        })
    })
    .await;
}

#[tokio::test]
async fn a_list_that_is_not_found_is_found() {
    for path in &LISTS[..4] {
        let found = compare(path, |_| None).await;
        assert!(found.differences >= 1 && found.shown[0].contains("404"), "{found:?}");
    }
}

#[tokio::test]
async fn an_answer_about_an_id_never_seen_is_found() {
    for path in ["/items/store/13", "/items/top10/17", "/v1/stores/13/top-items"] {
        let found = compare(path, |_| Some(Vec::new())).await;
        assert_eq!(found.differences, 1, "{path}: {found:?}");
    }
}

#[tokio::test]
async fn an_item_sold_nowhere_has_no_entries() {
    assert_eq!(compare("/items/top10/99", |_| None).await.differences, 0);
    assert_eq!(compare("/items/top10/99", |_| Some(vec![(1, 1)])).await.differences, 1);
}

#[tokio::test]
async fn the_server_is_asked_to_wait_for_the_last_purchase() {
    let fake = Fake::start(Behaviour::default()).await;
    let client = Client::new(&fake.base_url.parse().unwrap()).unwrap();
    let options = bulk::Options { purchases_per_request: 30, ..bulk::Options::default() };
    let report = bulk::send(&client, baskets(), &options, &Progress::default()).await.unwrap();
    verify(&client, &report.tally, &VerifyOptions::default(), &AtomicU64::new(0)).await.unwrap();
    assert_eq!(fake.waited_for(), ["0:200"]);
}

#[tokio::test]
async fn only_the_first_differences_are_described() {
    let fake = Fake::start(Behaviour::default()).await;
    let mut tally = Tally::default();
    for basket in baskets().iter() {
        tally.acknowledged(basket, &model::Position::default());
    }
    let client = Client::new(&fake.base_url.parse().unwrap()).unwrap();
    let options = VerifyOptions::default();
    let found = verify(&client, &tally, &options, &AtomicU64::new(0)).await.unwrap();
    assert!(found.differences > 20, "{}", found.differences);
    assert_eq!(found.shown.len(), 20);
}
