//! One answer that comes late, or not at all, does not make the others slower than they were.

mod support;

use std::time::Duration;

use support::raw::{Raw, Reaction, run};

const FLAGS: [&str; 4] = ["--profile=get-only", "--no-seeding", "--warm-up=0", "--timeout=1s"];

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn throughput_is_of_the_time_that_was_asked_for() {
    let begun = std::time::Instant::now();
    // Silent to one request that is under way when the time is over.
    let silent = std::sync::OnceLock::new();
    let server = Raw::start(move |number, _| {
        let late = begun.elapsed() > Duration::from_millis(600);
        if late && *silent.get_or_init(|| number) == number {
            Reaction::Silence
        } else {
            Reaction::Right
        }
    })
    .await;
    let flags = [&FLAGS[..], &["--duration=1s", "--clients=4", "--fail-if=throughput<1"]].concat();
    let summary = run(&server.url, &flags).await.unwrap();
    assert_eq!(server.reactions()[&Reaction::Silence], 1);
    assert!(summary.wall_seconds > 1.4, "{}", summary.wall_seconds);
    let successful = summary.total.successful as f64;
    assert!((successful - 4.0..=successful).contains(&summary.throughput), "{summary:?}");
    assert_eq!(summary.thresholds[0].measured, format!("{:.1}/s", summary.throughput));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_last_point_of_the_series_is_as_long_as_the_others() {
    let server = Raw::start(|_, _| Reaction::Right).await;
    let flags = [&FLAGS[..], &["--duration=2s", "--clients=2", "--rate=2"]].concat();
    let summary = run(&server.url, &flags).await.unwrap();
    assert_eq!(summary.total.successful, 4);
    for point in &summary.series {
        assert_eq!(point.successful, 2, "{:?}", summary.series);
        assert!(point.seconds >= 1.0, "{:?}", summary.series);
    }
}
