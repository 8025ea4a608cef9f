//! After a run, the answers are compared with what was acknowledged: right ones pass, wrong ones are found,
//! and what nobody can know is settled or left out.

mod support;

use loadgen::load::{LoadError, Summary};
use support::{Behaviour, Fake, Fate, List, raw::run};

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

#[tokio::test]
async fn a_server_with_purchases_is_refused() {
    let fake = Fake::start(Behaviour { tamper: Box::new(cut), ..Behaviour::default() }).await;
    run(&fake.base_url, &FLAGS).await.unwrap();
    let refused = run(&fake.base_url, &FLAGS).await;
    assert!(matches!(refused, Err(LoadError::NotFresh)), "{refused:?}");
}
