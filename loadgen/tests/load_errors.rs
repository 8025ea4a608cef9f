//! Everything that can go wrong with a request is counted by its kind, as often as it happened.

mod support;

use std::collections::BTreeMap;

use loadgen::{load::Summary, page};
use support::raw::{Raw, Reaction, run};

fn by_kind(summary: &Summary) -> BTreeMap<&str, u64> {
    let mut kinds = BTreeMap::new();
    for error in &summary.errors {
        *kinds.entry(&*error.outcome).or_default() += error.count;
    }
    kinds
}

const FLAGS: [&str; 6] = [
    "--profile=get-only",
    "--no-seeding",
    "--warm-up=0",
    "--duration=1500ms",
    "--clients=8",
    "--timeout=400ms",
];

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn each_kind_is_counted_as_often_as_it_happened() {
    let script = |number: usize, _: &str| match number % 40 {
        3 => Reaction::Status(503, true),
        7 => Reaction::Status(429, true),
        11 => Reaction::Status(503, false),
        15 => Reaction::Status(500, false),
        19 => Reaction::WrongBody,
        23 => Reaction::Close,
        27 => Reaction::Cut,
        31 => Reaction::Status(404, false),
        35 => Reaction::Silence,
        _ => Reaction::Right,
    };
    let server = Raw::start(script).await;
    let summary = run(&server.url, &FLAGS).await.unwrap();
    let happened = server.reactions();
    let count = |reaction| happened.get(&reaction).copied().unwrap_or(0);
    assert!(count(Reaction::Silence) > 0, "{happened:?}");
    let expected = BTreeMap::from([
        ("refused (503)", count(Reaction::Status(503, true))),
        ("refused (429)", count(Reaction::Status(429, true))),
        ("status 503", count(Reaction::Status(503, false))),
        ("status 500", count(Reaction::Status(500, false))),
        ("wrong body", count(Reaction::WrongBody)),
        ("reset", count(Reaction::Close) + count(Reaction::Cut)),
        ("time-out", count(Reaction::Silence)),
    ]);
    let mut kinds = by_kind(&summary);
    // A 404 has one name for what the server has had a list of, another for the rest: which ids come is chance.
    let names = ["status 404", "not found, perhaps never sold"];
    let not_found: u64 = names.iter().filter_map(|name| kinds.remove(name)).sum();
    assert_eq!(not_found, count(Reaction::Status(404, false)));
    assert_eq!(kinds, expected, "{:?}", summary.errors);
    let total = &summary.total;
    assert_eq!(total.successful, count(Reaction::Right));
    assert_eq!(total.refused, expected["refused (503)"] + expected["refused (429)"]);
    assert_eq!(total.requests(), happened.values().sum::<u64>());
    // Time-outs are in the response times with the time they took; what failed fast is not.
    assert_eq!(total.latency.count, total.successful + expected["time-out"]);
    assert!(total.latency.max >= 399.0, "{}", total.latency.max);
    let said = summary.errors.iter().find(|error| error.outcome == "status 500").unwrap();
    assert_eq!(said.first, "said so");
    let late = summary.errors.iter().find(|error| error.outcome == "time-out").unwrap();
    assert!(late.mean.unwrap() >= 399.0 && late.max >= late.mean, "{late:?}");
}

#[tokio::test]
async fn a_server_that_is_not_there_is_a_failure_to_connect() {
    // A port that was free a moment ago, and that nobody listens on.
    let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let url = format!("http://{}", listener.local_addr().unwrap());
    drop(listener);
    let flags = [&FLAGS[..], &["--fail-if=p99>1h", "--fail-if=p99>60s"]].concat();
    assert!(support::raw::parses(&flags).is_err(), "h is no unit");
    let flags = [&FLAGS[..], &["--fail-if=p99>60s"]].concat();
    let summary = run(&url, &flags).await.unwrap();
    assert_eq!(by_kind(&summary).keys().collect::<Vec<_>>(), [&"connect"]);
    // 8 clients for 1.5 s, each again after a pause of 100 ms.
    assert!((8..=8 * 15).contains(&by_kind(&summary)["connect"]), "{:?}", summary.errors);
    assert_eq!((summary.total.successful, summary.throughput), (0, 0.0));
    // A run without a single answer is not a fast one.
    assert!(summary.thresholds[0].failed);
    let page = page::report_html(&summary);
    let (lead, _) = page.split_once("<div class=\"tiles\">").unwrap();
    assert!(lead.contains("No request was successful") && !page.contains("was not the limit"));
    assert!(page.contains("<b>– ms</b><span>99th percentile"));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn posts_answered_otherwise_than_201_are_no_successes() {
    let server = Raw::start(|number, _| match number % 2 {
        0 => Reaction::Status(200, false),
        _ => Reaction::Right,
    })
    .await;
    let flags = ["--profile=post-only", "--warm-up=0", "--duration=300ms", "--clients=2"];
    let summary = run(&server.url, &flags).await.unwrap();
    let wrong = server.reactions()[&Reaction::Status(200, false)];
    assert_eq!(by_kind(&summary), BTreeMap::from([("status 200", wrong)]));
    assert_eq!(summary.purchases.acknowledged, server.reactions()[&Reaction::Right]);
}
