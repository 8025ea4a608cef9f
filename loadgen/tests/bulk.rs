//! Recorded purchases through the bulk call: rejected lines are kept out of the tally, requests whose
//! answer is lost are sent again, and the server ends with what the tally has.

mod support;

use std::sync::{Arc, atomic::AtomicU64};

use loadgen::{Basket, Client, Failure, Progress, Report, VerifyOptions, bulk, verify};
use model::{BusinessDate, CustomerId, ItemId, Line, StoreId};
use support::{Behaviour, Fake, Fate};

fn baskets() -> Arc<[Basket]> {
    let first: BusinessDate = "20170101".parse().unwrap();
    let basket = |n: u32| Basket {
        store: StoreId(n % 5),
        customer: CustomerId(n),
        date: first.plus_days(n as i32 / 40),
        occurred_at: Some(first.plus_days(n as i32 / 40).start()),
        key: n.to_string(),
        lines: (0..=n % 3)
            .map(|i| Line { item: ItemId(u64::from(n * i % 11)), quantity: i })
            .collect(),
    };
    (0..300).map(basket).collect()
}

async fn send(fake: &Fake) -> (Result<Report, Failure>, Progress) {
    let client = Client::new(&fake.base_url.parse().unwrap()).unwrap();
    let progress = Progress::default();
    let options = bulk::Options { purchases_per_request: 7, ..bulk::Options::default() };
    let report = bulk::send(&client, baskets(), &options, &progress).await;
    (report, progress)
}

#[tokio::test]
async fn what_is_accepted_is_tallied_once() {
    // Less trouble than a client has patience, even if all of it hits one request.
    let fate = |post: usize| match post {
        1 | 6 | 12 | 30 => Fate::AnswerLost,
        3 | 8 | 13 | 31 => Fate::Overloaded,
        _ => Fate::Taken,
    };
    let rejects = |purchase: &serde_json::Value| purchase["custID"].as_u64().unwrap() % 10 == 3;
    let behaviour =
        Behaviour { fate: Box::new(fate), rejects: Box::new(rejects), ..Behaviour::default() };
    let fake = Fake::start(behaviour).await;
    let (report, progress) = send(&fake).await;
    let report = report.unwrap();
    assert_eq!((report.tally.purchases(), progress.refused()), (270, 30));
    assert_eq!(report.refusals.iter().collect::<Vec<_>>(), [("rejected", 30, "not this one")]);
    let client = Client::new(&fake.base_url.parse().unwrap()).unwrap();
    let found = verify(&client, &report.tally, &VerifyOptions::default(), &AtomicU64::new(0))
        .await
        .unwrap();
    assert_eq!((found.differences, found.days), (0, 8), "{:?}", found.shown);
}

#[tokio::test]
async fn a_server_that_stays_overloaded_ends_the_run() {
    let fate = |post: usize| if post < 10 { Fate::Taken } else { Fate::Overloaded };
    let fake = Fake::start(Behaviour { fate: Box::new(fate), ..Behaviour::default() }).await;
    let (report, progress) = send(&fake).await;
    let failure = report.unwrap_err().to_string();
    assert!(failure.contains("POST /v1/purchases") && failure.contains("too busy"), "{failure}");
    assert!(progress.purchases() <= 70, "{progress:?}");
}
