//! What is written down agrees with itself: a line a request, histograms, the summary, the pages.

mod support;

use std::{collections::BTreeMap, fs};

use hdrhistogram::{
    Histogram,
    serialization::{
        Deserializer,
        interval_log::{IntervalLogIterator, LogEntry},
    },
};
use loadgen::{load::Summary, page};
use support::raw::{Raw, Reaction, outputs, run, run_with};
use tempfile::TempDir;

const FLAGS: [&str; 6] = [
    "--profile=mixed",
    "--no-seeding",
    "--warm-up=200ms",
    "--duration=1500ms",
    "--clients=6",
    "--ignore-retry-after",
];

async fn server() -> Raw {
    Raw::start(|number, _| match number % 10 {
        4 => Reaction::Status(503, true),
        _ => Reaction::Right,
    })
    .await
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_csv_file_has_a_line_for_each_request() {
    let dir = TempDir::new().unwrap();
    let server = server().await;
    let summary =
        run_with(&server.url, &FLAGS, outputs(&dir), std::future::pending()).await.unwrap();
    let text = fs::read_to_string(dir.path().join("requests.csv")).unwrap();
    let mut lines = text.lines();
    assert_eq!(lines.next(), Some("start time,request type,latency ms,response code"));
    let mut seen: BTreeMap<(String, u16), u64> = BTreeMap::new();
    let mut slowest = 0.0_f64;
    for line in lines {
        let cells: Vec<_> = line.split(',').collect();
        let [start, kind, latency, status] = cells[..] else { panic!("{line}") };
        assert!(start.parse::<u64>().unwrap() > 1_700_000_000_000);
        let status: u16 = status.parse().unwrap();
        if status < 300 {
            slowest = slowest.max(latency.parse().unwrap());
        }
        *seen.entry((kind.to_owned(), status)).or_default() += 1;
    }
    let mut expected: BTreeMap<(String, u16), u64> = BTreeMap::new();
    for kind in &summary.kinds {
        let status = if kind.kind.is_post() { 201 } else { 200 };
        expected.insert((kind.kind.label().to_owned(), status), kind.successful);
        expected.insert((kind.kind.label().to_owned(), 503), kind.refused);
    }
    assert_eq!(seen, expected);
    // The histogram keeps three digits.
    assert!((slowest - summary.total.latency.max).abs() <= slowest * 0.002, "{slowest}");
    assert!(summary.total.refused > 0);
    // A client keeps its connection, whatever it is answered.
    assert_eq!(server.connections(), 6);
    // Those of the warm-up are not measured.
    assert!(summary.total.requests() < server.reactions().values().sum::<u64>());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_histogram_log_adds_up_to_the_summary() {
    let dir = TempDir::new().unwrap();
    let server = server().await;
    let summary =
        run_with(&server.url, &FLAGS, outputs(&dir), std::future::pending()).await.unwrap();
    let log = fs::read(dir.path().join("latencies.hlog")).unwrap();
    let mut sums: BTreeMap<String, Histogram<u64>> = BTreeMap::new();
    for entry in IntervalLogIterator::new(&log) {
        let LogEntry::Interval(interval) = entry.unwrap() else { continue };
        let bytes = support::raw::base64(interval.encoded_histogram());
        let histogram: Histogram<u64> = Deserializer::new().deserialize(&mut &bytes[..]).unwrap();
        let tag = interval.tag().unwrap().as_str().to_owned();
        let sum = sums.entry(tag).or_insert_with(|| Histogram::new_from(&histogram));
        sum.add(&histogram).unwrap();
    }
    assert_eq!(sums.len(), 3);
    for kind in &summary.kinds {
        let sum = &sums[kind.kind.tag()];
        assert_eq!(sum.len(), kind.latency.count);
        let p99 = sum.value_at_quantile(0.99) as f64 / 1e6;
        assert!((p99 - kind.latency.p99).abs() < 1e-9, "{p99}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_summary_is_read_back_and_its_parts_add_up() {
    let server = server().await;
    let summary = run(&server.url, &FLAGS).await.unwrap();
    let json = serde_json::to_string(&summary).unwrap();
    let read = Summary::parse(&json).unwrap();
    assert_eq!((&read.kinds[0].kind, &read.errors), (&summary.kinds[0].kind, &summary.errors));
    // Numbers may lose their last bit in JSON; no figure that is shown does.
    assert_eq!(page::report_html(&read), page::report_html(&summary));
    assert!(Summary::parse(&json.replace("\"format\":1", "\"format\":2")).is_err());
    let total = &summary.total;
    let in_series: u64 = summary.series.iter().map(|point| point.successful + point.refused).sum();
    assert_eq!(in_series, total.successful + total.refused);
    let in_buckets: u64 = total.latency.buckets.iter().map(|bucket| bucket.count).sum();
    assert_eq!(in_buckets, total.latency.count);
    assert!(summary.wall_seconds >= 1.5, "{}", summary.wall_seconds);
    // Of the 6 clients, each may have had one more under way when the time was over.
    assert_eq!(summary.measured_seconds, Some(1.5));
    let in_time = summary.throughput * 1.5;
    assert!((total.successful as f64 - 6.0..=total.successful as f64 + 1e-6).contains(&in_time));
    let latency = &total.latency;
    let ascending = [latency.median, latency.p95, latency.p99, latency.p999, latency.max];
    assert!(ascending.is_sorted() && latency.mean <= latency.max, "{latency:?}");
    assert!(summary.own.cpu_seconds > 0.0 && summary.own.shared_machine);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_pages_need_nothing_else_and_say_what_was_measured() {
    let server = server().await;
    let mut first = run(&server.url, &FLAGS).await.unwrap();
    first.name = "<first>".to_owned();
    let second = Summary { name: "second".to_owned(), clients: 12, ..first.clone() };
    let report = page::report_html(&first);
    let comparison = page::compare_html(&[first.clone(), second.clone(), second.clone()]);
    for html in [&report, &comparison] {
        for outside in ["src=", "href=", "@import", "url(", "<script", "NaN", "inf", "<first>"] {
            assert!(!html.contains(outside), "{outside}");
        }
        assert!(html.contains("&lt;first&gt;") && html.contains("<svg"));
    }
    assert!(report.contains("refused (503)") && report.contains("GET stores by item"));
    let plots = page::compare_plots(&[first.clone(), second.clone()]);
    assert_eq!(plots.each_ref().map(|it| it.name), ["throughput.svg", "mean.svg", "p99.svg"]);
    for plot in &plots {
        assert!(plot.svg.starts_with("<svg xmlns=\"http://www.w3.org/2000/svg\""), "{}", plot.svg);
        assert!(plot.svg.contains(">&lt;first&gt;</text>") && plot.svg.contains(">second</text>"));
        assert_eq!(plot.svg.matches("<circle").count(), 2, "{}", plot.svg);
    }
    let markdown = page::compare_markdown(&[first, second.clone(), second]);
    let rows: Vec<_> = markdown.lines().take(4).collect();
    assert!(rows[0].starts_with("| run | clients | runs | requests/s |"), "{markdown}");
    assert!(rows[2].starts_with("| <first> | 6 | 1 |"), "{markdown}");
    assert!(rows[3].starts_with("| second | 12 | 2 |"), "{markdown}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_run_that_is_ended_early_still_has_its_summary() {
    let server = server().await;
    let flags =
        ["--profile=get-only", "--no-seeding", "--warm-up=0", "--duration=1h", "--clients=2"];
    let stop = tokio::time::sleep(std::time::Duration::from_millis(700));
    let summary =
        run_with(&server.url, &flags, loadgen::load::Outputs::default(), stop).await.unwrap();
    assert!(summary.ended_early);
    assert!(summary.total.successful > 0 && summary.wall_seconds < 60.0);
    assert!(page::report_html(&summary).contains("ended early"));
}
