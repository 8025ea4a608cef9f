//! The name and the help text of every metric, in one place.
//!
//! Dashboards and alerts may use these names and no others (besides the standard `process_*`).
//! Conventions: prefix `topline_`, base units, the unit as suffix, `_total` for counters. The values
//! of every label come from a fixed set: route patterns, status codes, partition numbers, window
//! names and reasons; never a path, an id or a text of a client.

/// A metric: its name, and what it says.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Metric {
    /// The full name, as Prometheus sees it.
    pub name: &'static str,
    /// One sentence.
    pub help: &'static str,
}

macro_rules! metrics {
    ($($constant:ident = $name:literal, $help:literal;)+) => {
        $(
            #[doc = $help]
            pub const $constant: Metric = Metric { name: $name, help: $help };
        )+
        /// All of them.
        pub const ALL: &[Metric] = &[$($constant),+];
    };
}

metrics! {
    HTTP_REQUESTS = "topline_http_requests_total",
        "Requests answered, by service, route and status code.";
    HTTP_REQUEST_DURATION = "topline_http_request_duration_seconds",
        "Time from the head of a request to the head of its answer, by service and route.";
    HTTP_CONNECTIONS = "topline_http_connections",
        "Connections open, by listener.";
    HTTP_CONNECTIONS_ACCEPTED = "topline_http_connections_accepted_total",
        "Connections accepted, by listener.";
    HTTP_CONNECTIONS_EXPIRED = "topline_http_connections_expired_total",
        "Connections closed because a time limit passed, by listener and limit.";
    HTTP_ACCEPT_ERRORS = "topline_http_accept_errors_total",
        "Connections that could not be accepted, by listener.";

    INGEST_PURCHASES = "topline_ingest_purchases_total",
        "Purchases acknowledged.";
    INGEST_LINES = "topline_ingest_lines_total",
        "Lines of purchases acknowledged.";
    INGEST_REJECTED = "topline_ingest_rejected_total",
        "Purchases not taken, by reason.";
    INGEST_BATCH_PURCHASES = "topline_ingest_batch_purchases",
        "Purchases in a batch appended, ticks not counted.";
    INGEST_BATCH_BYTES = "topline_ingest_batch_bytes",
        "Encoded size of a batch appended, ticks not counted.";
    INGEST_QUEUE_PURCHASES = "topline_ingest_queue_purchases",
        "Purchases queued or being appended, by partition.";
    INGEST_APPEND_DURATION = "topline_ingest_append_duration_seconds",
        "Time from handing a batch to the log until it was durable, retries included.";
    INGEST_APPEND_RETRIES = "topline_ingest_append_retries_total",
        "Appends repeated because the log had too much queued.";
    INGEST_ABANDONED = "topline_ingest_abandoned_total",
        "Purchases left out of the log because nobody waited for them any more when their batch began.";
    INGEST_TICKS = "topline_ingest_ticks_total",
        "Empty batches appended to idle partitions so that time moves on.";

    LOG_COMMIT_DURATION = "topline_log_commit_duration_seconds",
        "Time of one commit, fsync included.";
    LOG_COMMIT_BATCHES = "topline_log_commit_batches",
        "Batches made durable by one commit.";
    LOG_END_OFFSET = "topline_log_end_offset",
        "Next offset of a partition.";
    LOG_EARLIEST_OFFSET = "topline_log_earliest_offset",
        "Earliest offset a partition still holds.";
    LOG_AVAILABLE = "topline_log_available",
        "1 if appends to the partition are acknowledged, 0 while it is out of reach, by partition.";
    LOG_HELD_BYTES = "topline_log_held_bytes",
        "Bytes of batches a partition holds.";
    LOG_STORAGE_BYTES = "topline_log_storage_bytes",
        "Size of the files of the log.";

    JOB_APPLIED_OFFSET = "topline_job_applied_offset",
        "Next offset to apply: everything before it is in the view, by partition.";
    JOB_PURCHASES = "topline_job_purchases_total",
        "Purchases applied, duplicates not counted, by partition.";
    JOB_LINES = "topline_job_lines_total",
        "Lines applied, by partition.";
    JOB_LAG_BATCHES = "topline_job_lag_batches",
        "Batches in the log that are not applied yet, by partition.";
    JOB_LAG_SECONDS = "topline_job_lag_seconds",
        "Age of the batch applied last, by its append time, or else of the worker; 0 when nothing is left to apply.";
    JOB_WATERMARK_DELAY = "topline_job_watermark_delay_seconds",
        "How far the watermark is behind the clock of the machine, by partition.";
    JOB_LATE = "topline_job_late_total",
        "Purchases that came too late for a window, by partition and window.";
    JOB_DEAD_LETTERED = "topline_job_dead_lettered_total",
        "Records that could not be decoded and were set aside, by partition.";
    JOB_SIDE_WAITING_BYTES = "topline_job_side_waiting_bytes",
        "Late purchases and dead letters kept until their topic acknowledges them, by partition and output.";
    JOB_SIDE_PUBLISHED = "topline_job_side_published_total",
        "Late purchases and dead letters that their topic has acknowledged, by partition and output.";
    JOB_DUPLICATE_BATCHES = "topline_job_duplicate_batches_total",
        "Batches skipped because all of their sequence numbers had been applied, by partition.";
    JOB_DUPLICATE_PURCHASES = "topline_job_duplicate_purchases_total",
        "Purchases skipped because their sequence number had been applied, by partition.";
    JOB_DUPLICATE_KEYS = "topline_job_duplicate_keys_total",
        "Purchases skipped because their idempotency key had been applied, by partition.";
    JOB_LIVE_PAIRS = "topline_job_live_pairs",
        "All pairs of a store and an item ever seen, by partition.";
    JOB_STATE_BYTES = "topline_job_state_bytes",
        "Memory held by the state of the windows, by partition.";
    JOB_FLUSH_DURATION = "topline_job_flush_duration_seconds",
        "Time to hand on what has changed, by partition.";
    JOB_FLUSH_DIRTY_PAIRS = "topline_job_flush_dirty_pairs",
        "Changed pairs of a store and an item that may have a row in the view, in one flush, by partition.";
    JOB_CHECKPOINT_AGE = "topline_job_checkpoint_age_seconds",
        "Time since the last checkpoint was committed (or loaded), by partition.";
    JOB_CHECKPOINT_DURATION = "topline_job_checkpoint_duration_seconds",
        "Time to write a checkpoint, by partition.";
    JOB_CHECKPOINT_BYTES = "topline_job_checkpoint_bytes",
        "Bytes of the snapshots in the checkpoint file, by partition.";
    JOB_CHECKPOINT_FAILURES = "topline_job_checkpoint_failures_total",
        "Checkpoints that could not be written, by partition.";

    FEED_RECORDS = "topline_feed_records_total",
        "Records of the feed read by a replica.";
    FEED_GAPS = "topline_feed_gaps_total",
        "Deltas of the feed that a replica could not apply because something before them is missing.";
    FEED_DAMAGED = "topline_feed_damaged_total",
        "Records of the feed that a replica refused.";

    VIEW_LISTS = "topline_view_lists",
        "Stores and items that have lists in the view.";
    VIEW_ROWS = "topline_view_rows",
        "Rows of all lists in the view.";
    VIEW_RENDER_HITS = "topline_view_render_hits_total",
        "Answers taken ready-made from the view.";
    VIEW_RENDER_MISSES = "topline_view_render_misses_total",
        "Answers rendered anew because the list had changed.";
    VIEW_LAG_SECONDS = "topline_view_lag_seconds",
        "At most so old are the answers about a partition; 0 if everything in the log is in them. \
         At least as long as it has not been heard how far the log is.";
    VIEW_WAITERS = "topline_view_waiters",
        "Requests waiting for the view to reach a position.";
    VIEW_EVENT_STREAMS = "topline_view_event_streams",
        "Clients that follow a list as server-sent events.";
}
