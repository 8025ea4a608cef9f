//! Names and help texts keep the conventions of Prometheus, and nothing is registered outside
//! the list of names.

use std::{collections::BTreeSet, time::Duration};

use telemetry::{Metrics, names};

/// Makes every metric show, also those that have no labels yet.
fn all_families(metrics: &Metrics) -> Vec<(String, String, String)> {
    metrics.http.route("ingest", "/purchase").observe(201, Duration::from_millis(1));
    metrics.http.listener("public").accepted.inc();
    metrics.ingest.rejected("invalid").inc();
    metrics.ingest.queue(0).set(1);
    metrics.log.partition(0).end_offset.set(1);
    metrics.job.partition(0).checkpoint_age.reset();
    metrics.job.late(0, "day").inc();
    metrics.view.lag_seconds(0).set(1.0);
    metrics.job.side_output(0, "late").published.inc();
    let families = metrics.registry.gather();
    families
        .iter()
        .map(|f| {
            let kind = format!("{:?}", f.get_field_type()).to_lowercase();
            (f.name().to_owned(), f.help().to_owned(), kind)
        })
        .filter(|(name, ..)| !name.starts_with("process_"))
        .collect()
}

#[test]
fn the_list_of_names_is_what_is_registered() {
    let metrics = Metrics::new().unwrap();
    let registered: BTreeSet<String> =
        all_families(&metrics).into_iter().map(|(name, ..)| name).collect();
    let listed: BTreeSet<String> = names::ALL.iter().map(|m| m.name.to_owned()).collect();
    assert_eq!(listed.len(), names::ALL.len(), "a name is listed twice");
    assert_eq!(registered, listed);
}

#[test]
fn names_and_help_keep_the_conventions() {
    let metrics = Metrics::new().unwrap();
    for (name, help, kind) in all_families(&metrics) {
        assert!(name.starts_with("topline_"), "{name}");
        assert!(name.bytes().all(|b| b.is_ascii_lowercase() || b == b'_'), "{name}");
        assert!(help.ends_with('.') && help.len() > 10, "{name}: {help}");
        assert_eq!(kind.contains("counter"), name.ends_with("_total"), "{name} is a {kind}");
        for unit in ["milliseconds", "_ms", "_kb", "_mb", "_us"] {
            assert!(!name.contains(unit), "{name}: base units only");
        }
        for unit in ["seconds", "bytes"] {
            let last = name.trim_end_matches("_total");
            assert!(!last.contains(unit) || last.ends_with(unit), "{name}: the unit comes last");
        }
    }
}

#[test]
fn the_text_names_route_and_status() {
    let metrics = Metrics::new().unwrap();
    let route = metrics.http.route("ingest", "/purchase");
    route.observe(201, Duration::from_millis(3));
    route.observe(201, Duration::from_millis(3));
    route.observe(299, Duration::from_millis(3));
    let text = telemetry::render(&metrics.registry).unwrap();
    for line in [
        r#"topline_http_requests_total{route="/purchase",service="ingest",status="201"} 2"#,
        r#"topline_http_requests_total{route="/purchase",service="ingest",status="other"} 1"#,
        r#"topline_http_request_duration_seconds_count{route="/purchase",service="ingest"} 3"#,
    ] {
        assert!(text.contains(line), "{line} is missing in\n{text}");
    }
    assert!(text.contains("process_resident_memory_bytes"));
}

#[test]
fn an_age_is_shown_only_once_it_has_a_start() {
    let metrics = Metrics::new().unwrap();
    let partition = metrics.job.partition(3);
    let shown = r#"topline_job_checkpoint_age_seconds{partition="3"}"#;
    assert!(!telemetry::render(&metrics.registry).unwrap().contains(shown));
    partition.checkpoint_age.reset();
    assert!(telemetry::render(&metrics.registry).unwrap().contains(shown));
}
