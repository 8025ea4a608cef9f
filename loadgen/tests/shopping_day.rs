//! A shopping day against a server that is overloaded, loses answers and refuses: every purchase is
//! counted once or reported, and the phases are kept.

mod support;

use std::sync::{Arc, atomic::AtomicU64};

use clap::Parser;
use loadgen::{
    Client, Progress, Report, VerifyOptions,
    shopping_day::{self, HOURS, Phase, Plan, ShoppingDayArgs},
    verify,
};
use support::{Behaviour, Fake, Fate};

#[derive(Parser)]
struct Cli {
    #[command(flatten)]
    day: ShoppingDayArgs,
}

fn plan() -> Plan {
    let flags = ["test", "--max-stores=12", "--purchases-per-hour=4", "--max-item-id=30"];
    Plan::new(Cli::parse_from(flags).day, "run")
}

async fn play(fake: &Fake) -> (Report, Arc<Progress>) {
    let client = Client::new(&fake.base_url.parse().unwrap()).unwrap();
    let progress = Arc::new(Progress::default());
    let report =
        shopping_day::play(&client, Arc::new(plan()), Arc::clone(&progress)).await.unwrap();
    (report, progress)
}

#[tokio::test]
async fn stores_open_when_another_has_sent_enough() {
    let fake = Fake::start(Behaviour::default()).await;
    let (report, progress) = play(&fake).await;
    assert_eq!(report.tally.purchases(), plan().purchases());
    assert_eq!(progress.lines(), plan().purchases() * 5);

    let plan = plan();
    let mut most_sent = 0;
    let mut sent = std::collections::HashMap::new();
    for store in fake.stores_in_order() {
        let phase = plan.phase(model::StoreId(store as u32));
        assert!(most_sent >= phase.opens_after() * plan.purchases_per_hour(), "{store} {phase:?}");
        let count = sent.entry(store).or_insert(0);
        *count += 1;
        most_sent = most_sent.max(*count);
    }
    assert!(sent.values().all(|&count| count == HOURS * plan.purchases_per_hour()));
    assert!(plan.stores().any(|store| plan.phase(store) == Phase::West));
}

#[tokio::test]
async fn purchases_are_counted_once_whatever_becomes_of_the_answers() {
    // Less trouble than a client has patience, even if all of it hits one purchase.
    let fate = |post: usize| match post {
        2 | 9 | 40 | 70 => Fate::Overloaded,
        4 | 11 | 42 | 90 => Fate::AnswerLost,
        _ => Fate::Taken,
    };
    let fake = Fake::start(Behaviour { fate: Box::new(fate), ..Behaviour::default() }).await;
    let (report, _) = play(&fake).await;
    assert_eq!(report.tally.purchases(), plan().purchases());
    assert_eq!(report.refusals.total(), 0);
    let client = Client::new(&fake.base_url.parse().unwrap()).unwrap();
    let found = verify(&client, &report.tally, &VerifyOptions::default(), &AtomicU64::new(0))
        .await
        .unwrap();
    assert_eq!((found.differences, found.stores), (0, 12), "{:?}", found.shown);
}

#[tokio::test]
async fn refused_purchases_are_reported_and_not_tallied() {
    let fate = |post: usize| if post < 5 { Fate::Refused } else { Fate::Taken };
    let fake = Fake::start(Behaviour { fate: Box::new(fate), ..Behaviour::default() }).await;
    let (report, progress) = play(&fake).await;
    assert_eq!(report.tally.purchases(), plan().purchases() - 5);
    assert_eq!(progress.refused(), 5);
    let refused: Vec<_> = report.refusals.iter().collect();
    assert_eq!(refused, [("400 Bad Request", 5, "not today")]);
}
