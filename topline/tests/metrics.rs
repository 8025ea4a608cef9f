//! After some traffic, the metrics of every stage have moved.

mod common;

use common::{Server, eventually, line, purchase_path};

#[test]
fn every_stage_shows_in_the_metrics() {
    let data = tempfile::tempdir().unwrap();
    let args = ["--checkpoint-interval", "100ms", "--tick-interval", "50ms"];
    let server = Server::start(data.path(), &args);
    let answer =
        server.post(&purchase_path(7, "20210101"), r#"{"items":[{"ItemID":5,"numberOfItems":1}]}"#);
    let position = answer.header("topline-position").unwrap().to_owned();
    server.sell(&[line(7, "20210102", "2021-01-02T00:00:00Z", &[(1, 1), (2, 2)])]);
    server.post("/purchase/x/customer/1/date/20210101", "");
    for _ in 0..2 {
        assert_eq!(server.get_at("/items/store/7", &position).status, 200);
    }
    server.get("/nowhere");

    let exact = [
        (
            "topline_http_requests_total",
            r#"route="/items/store/{storeID}",service="query",status="200""#,
            2,
        ),
        ("topline_http_requests_total", r#"route="unknown",service="none",status="404""#, 1),
        (
            "topline_http_requests_total",
            r#"route="/v1/purchases",service="ingest",status="200""#,
            1,
        ),
        ("topline_http_request_duration_seconds_count", r#"route="/items/store/{storeID}""#, 2),
        ("topline_ingest_purchases_total", "", 2),
        ("topline_ingest_lines_total", "", 3),
        ("topline_ingest_rejected_total", r#"reason="invalid""#, 1),
        ("topline_job_purchases_total", "", 2),
        ("topline_job_lines_total", "", 3),
        ("topline_ingest_queue_purchases", "", 0),
        ("topline_job_dead_lettered_total", "", 0),
    ];
    for (name, labels, value) in exact {
        eventually(&format!("{name}{{{labels}}} is {value}"), || {
            let labels: Vec<_> = labels.split(',').filter(|label| !label.is_empty()).collect();
            (server.metric(name, &labels) as i64 == value).then_some(())
        });
    }
    for name in [
        "topline_http_connections_accepted_total",
        "topline_ingest_batch_purchases_sum",
        "topline_ingest_batch_bytes_sum",
        "topline_ingest_append_duration_seconds_count",
        "topline_ingest_ticks_total",
        "topline_log_commit_duration_seconds_count",
        "topline_log_commit_batches_sum",
        "topline_log_end_offset",
        "topline_log_held_bytes",
        "topline_log_storage_bytes",
        "topline_job_applied_offset",
        "topline_job_live_pairs",
        "topline_job_flush_duration_seconds_count",
        "topline_job_flush_dirty_pairs_sum",
        "topline_job_watermark_delay_seconds",
        "topline_job_checkpoint_age_seconds",
        "topline_job_checkpoint_duration_seconds_count",
        "topline_job_checkpoint_bytes",
        "topline_view_lists",
        "topline_view_rows",
        "topline_view_render_hits_total",
        "topline_view_render_misses_total",
        "process_resident_memory_bytes",
    ] {
        eventually(&format!("{name} moves"), || (server.metric(name, &[]) > 0.0).then_some(()));
    }
    // What is applied catches up with the end of the log.
    eventually("nothing lags", || {
        let metrics = |name| server.metric(name, &[]);
        (metrics("topline_job_lag_batches") == 0.0 && metrics("topline_job_lag_seconds") == 0.0)
            .then_some(())
    });

    // The size of the state is measured rarely, but at start.
    assert_eq!(server.terminate().status.code(), Some(0));
    let server = Server::start(data.path(), &[]);
    assert!(server.metric("topline_job_state_bytes", &[]) > 0.0);
}
