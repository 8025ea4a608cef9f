//! A server that stalls for a while: an open loop measures the stall for all who would have come in it, a
//! closed loop only for those who were there.

mod support;

use std::time::Duration;

use loadgen::load::{Severity, Summary};
use support::raw::{Raw, Reaction, run};

const STALL: Duration = Duration::from_millis(800);

/// The server is held up once, a while after the start.
async fn measure(flags: &[&str]) -> Summary {
    let stalls = |number, _: &str| {
        if number == 200 { Reaction::Stall(STALL) } else { Reaction::RightWhenFree }
    };
    let server = Raw::start(stalls).await;
    let common =
        ["--profile=get-only", "--no-seeding", "--warm-up=0", "--duration=2s", "--clients=4"];
    run(&server.url, &[&common, flags].concat()).await.unwrap()
}

fn slower_than(summary: &Summary, milliseconds: f64) -> u64 {
    let buckets = summary.total.latency.buckets.iter();
    buckets.filter(|bucket| bucket.from >= milliseconds).map(|bucket| bucket.count).sum()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_stall_shows_in_an_open_loop_for_all_who_were_due() {
    let summary = measure(&["--rate=500", "--fail-if=p99>300ms,max<100ms"]).await;
    let arrivals = summary.arrivals.as_ref().unwrap();
    assert_eq!((arrivals.due, arrivals.dropped), (1000, 0));
    assert_eq!(summary.total.successful, 1000);
    // 500 a second for the 0.7 s in which there were more than 0.1 s of the stall left.
    let slow = slower_than(&summary, 100.0);
    assert!((340..=1000).contains(&slow), "{slow}");
    assert!(arrivals.late >= slow - 4, "{arrivals:?}");
    assert!(summary.total.latency.max >= 790.0);
    let failed: Vec<_> = summary.thresholds.iter().map(|judged| judged.failed).collect();
    assert_eq!(failed, [true, false], "{:?}", summary.thresholds);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_stall_shows_in_a_closed_loop_only_for_those_who_were_there() {
    let summary = measure(&[]).await;
    assert!(summary.arrivals.is_none());
    let slow = slower_than(&summary, 500.0);
    assert_eq!(slow, 4, "one for each client");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn arrivals_that_find_no_room_are_counted_as_dropped() {
    let summary = measure(&["--rate=500", "--backlog=10"]).await;
    let arrivals = summary.arrivals.as_ref().unwrap();
    assert!(arrivals.dropped > 100, "{arrivals:?}");
    assert_eq!(arrivals.dropped + summary.total.requests(), arrivals.due);
    assert_eq!(summary.verdicts[0].severity, Severity::Bad);
    assert!(summary.verdicts.iter().any(|it| it.text.contains("never sent")));
}
