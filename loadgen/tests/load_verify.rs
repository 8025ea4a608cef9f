//! After a run, the answers are compared with what was acknowledged: right ones pass, wrong ones are found,
//! and what nobody can know is settled or left out.

mod support;

use std::{
    fmt::Write,
    fs,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
};

use loadgen::load::{LoadError, Summary};
use support::{
    Behaviour, Fake, Fate, List,
    raw::{Raw, Reaction, run},
};

const FLAGS: [&str; 9] = [
    "--profile=mixed",
    "--stores=20",
    "--items=50",
    "--seed-purchases=50",
    "--warm-up=100ms",
    "--duration=500ms",
    "--clients=4",
    "--verify",
    "--ignore-retry-after",
];

async fn verified(behaviour: Behaviour) -> Summary {
    let fake = Fake::start(behaviour).await;
    run(&fake.base_url, &FLAGS).await.unwrap()
}

/// Lists are 10 long in the calls of the existing clients.
fn cut(path: &str, list: List) -> List {
    let course = path.starts_with("/items");
    list.map(|list| list.into_iter().take(if course { 10 } else { usize::MAX }).collect())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn right_answers_pass() {
    let summary = verified(Behaviour { tamper: Box::new(cut), ..Behaviour::default() }).await;
    let found = summary.verification.unwrap();
    assert_eq!((found.differences, found.shown.len()), (0, 0), "{:?}", found.shown);
    assert!(found.answers > 140 && found.remarks.is_empty(), "{found:?}");
    assert_eq!(summary.seeded, 70);
    assert!(summary.purchases.acknowledged > 70);
    assert_eq!(summary.total.unsuccessful(), 0, "{:?}", summary.errors);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn wrong_answers_are_found() {
    let tamper = |path: &str, list: List| {
        let mut list = cut(path, list)?;
        if path == "/items/store/3" && !list.is_empty() {
            list[0].1 += 1;
        }
        Some(list)
    };
    let found = verified(Behaviour { tamper: Box::new(tamper), ..Behaviour::default() }).await;
    let found = found.verification.unwrap();
    assert_eq!(found.differences, 1, "{:?}", found.shown);
    assert!(found.shown[0].contains("/items/store/3"), "{:?}", found.shown);
}

fn loses_answers(post: usize) -> Fate {
    match post {
        post if post < 100 => Fate::Taken,
        post if post % 7 == 0 => Fate::AnswerLost,
        post if post % 11 == 0 => Fate::Overloaded,
        _ => Fate::Taken,
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn unclear_outcomes_are_settled_by_their_keys() {
    let behaviour = Behaviour {
        tamper: Box::new(cut),
        // Those sent again get through at last.
        fate: Box::new(|post| if post > 150 { Fate::Taken } else { loses_answers(post) }),
        ..Behaviour::default()
    };
    let summary = verified(behaviour).await;
    let found = summary.verification.unwrap();
    assert!(summary.purchases.unclear > 5, "{:?}", summary.purchases);
    assert_eq!(found.differences, 0, "{:?}", found.shown);
    assert!(found.remarks[0].contains("sending them again with their keys"), "{:?}", found.remarks);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn unclear_outcomes_are_left_out_where_there_are_no_keys() {
    let behaviour = Behaviour {
        tamper: Box::new(cut),
        fate: Box::new(|post| if post > 110 { Fate::Taken } else { loses_answers(post) }),
        positions: false,
        ..Behaviour::default()
    };
    let summary = verified(behaviour).await;
    let found = summary.verification.unwrap();
    assert!(summary.purchases.unclear > 0, "{:?}", summary.purchases);
    assert_eq!(found.differences, 0, "{:?}", found.shown);
    assert!(found.remarks.iter().any(|remark| remark.contains("left out")), "{:?}", found.remarks);
}

/// What is sent again after others of a much later day is counted, but perhaps not in its day.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn days_that_may_have_closed_are_left_out() {
    let behaviour = Behaviour {
        tamper: Box::new(cut),
        fate: Box::new(|post| if post == 3 { Fate::Overloaded } else { Fate::Taken }),
        closes_days: true,
        ..Behaviour::default()
    };
    let fake = Fake::start(behaviour).await;
    let dir = tempfile::tempdir().unwrap();
    let mut csv =
        "store_id,household_id,basket_id,product_id,quantity,transaction_timestamp\n".to_owned();
    for basket in 0..30 {
        let (day, minute, item) = (1 + basket / 10 * 4, basket % 10, 100 + basket % 7);
        writeln!(csv, "1,9,{basket},{item},2,2017-01-0{day} 10:{minute:02}:00").unwrap();
    }
    let recording = dir.path().join("recording.csv");
    fs::write(&recording, csv).unwrap();
    let flags =
        ["--profile=replay", "--clients=1", "--verify", "--recording", recording.to_str().unwrap()];
    let found = run(&fake.base_url, &flags).await.unwrap().verification.unwrap();
    assert_eq!(found.differences, 0, "{:?}", found.shown);
    assert!(found.lists.unwrap() > 0 && !found.failed());
    // The store's, the item's, and two of the chain, of the first day.
    assert!(
        found.remarks.iter().any(|remark| remark.starts_with("4 answers were left out")),
        "{found:?}"
    );
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_comparison_of_nothing_fails() {
    let behaviour = Behaviour { fate: Box::new(|_| Fate::Refused), ..Behaviour::default() };
    let fake = Fake::start(behaviour).await;
    for profile in ["--profile=post-only", "--profile=shopping-day"] {
        let flags = [profile, "--warm-up=0", "--duration=200ms", "--clients=2", "--verify"];
        let found = run(&fake.base_url, &flags).await.unwrap().verification.unwrap();
        assert!(found.failed() && found.differences == 0, "{found:?}");
        assert!(
            found.remarks.iter().any(|it| it.contains("No list could be compared")),
            "{found:?}"
        );
    }
}

#[tokio::test]
async fn a_server_with_shorter_lists_is_refused_before_the_run() {
    let fake =
        Fake::start(Behaviour { tamper: Box::new(cut), max_k: 50, ..Behaviour::default() }).await;
    let refused = run(&fake.base_url, &FLAGS).await.unwrap_err().to_string();
    assert!(refused.contains("--verify-k") && refused.contains("k is out of range"), "{refused}");
    assert!(fake.stores_in_order().is_empty());
    let found = run(&fake.base_url, &[&FLAGS[..], &["--verify-k=50"]].concat()).await.unwrap();
    assert!(!found.verification.unwrap().failed());
}

#[tokio::test]
async fn a_server_with_purchases_is_refused() {
    let fake = Fake::start(Behaviour { tamper: Box::new(cut), ..Behaviour::default() }).await;
    run(&fake.base_url, &FLAGS).await.unwrap();
    let refused = run(&fake.base_url, &FLAGS).await;
    assert!(matches!(refused, Err(LoadError::NotFresh)), "{refused:?}");
}

/// A server that takes purchases and then has no list any more is as one that has gone.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_comparison_that_cannot_be_made_costs_no_figure() {
    let gone = Arc::new(AtomicBool::new(false));
    let server = {
        let gone = Arc::clone(&gone);
        Raw::start(move |_, head| match (gone.load(Ordering::Relaxed), head) {
            (false, head) if head.starts_with("GET") => Reaction::Status(404, false),
            (false, _) => {
                gone.store(true, Ordering::Relaxed);
                Reaction::Right
            }
            (true, _) => Reaction::Close,
        })
        .await
    };
    let flags = ["--profile=post-only", "--warm-up=0", "--duration=300ms", "--clients=1"];
    let summary = run(&server.url, &[&flags[..], &["--verify"]].concat()).await.unwrap();
    assert!(summary.total.successful > 0 && gone.load(Ordering::Relaxed));
    let found = summary.verification.unwrap();
    assert!(found.failed(), "{found:?}");
    assert!(found.remarks[0].contains("could not be compared"), "{found:?}");
}
