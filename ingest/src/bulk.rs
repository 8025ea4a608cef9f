//! A bulk body: a purchase a line, each accepted or rejected for itself.

use model::{Purchase, Timestamp};
use serde::Serialize;
use telemetry::IngestMetrics;

use crate::{
    clock, key,
    parse::{Entry, parse_entry},
    status::Refusal,
};

/// How many rejected lines an answer lists; more are only counted.
const MAX_LISTED: usize = 1000;

/// Bytes parsed before other tasks get their turn: about half a millisecond of work.
const SLICE: usize = 64 * 1024;

/// The answer to a bulk POST.
#[derive(Debug, Default, Serialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct BulkReport {
    /// Purchases that are durable now.
    pub(crate) accepted: usize,
    /// Lines that were not taken, in order; at most [`MAX_LISTED`].
    rejected: Vec<RejectedLine>,
    /// Lines that were not taken either, beyond those listed. Left out if there are none.
    #[serde(skip_serializing_if = "is_zero")]
    rejected_not_listed: usize,
}

#[derive(Debug, Serialize)]
struct RejectedLine {
    /// Number of the line, from 1.
    line: usize,
    message: String,
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "serde passes fields by reference")]
fn is_zero(count: &usize) -> bool {
    *count == 0
}

impl BulkReport {
    fn reject(&mut self, line: usize, refusal: &Refusal) {
        if self.rejected.len() < MAX_LISTED {
            self.rejected.push(RejectedLine { line, message: refusal.to_string() });
        } else {
            self.rejected_not_listed += 1;
        }
    }
}

/// Reads the purchases of a bulk body; blank lines are skipped, bad ones reported.
pub(crate) async fn parse_bulk(
    body: &[u8],
    now: Timestamp,
    metrics: &IngestMetrics,
) -> (Vec<Purchase>, BulkReport) {
    let mut purchases = Vec::new();
    let mut report = BulkReport::default();
    let mut yield_at = SLICE;
    let mut start = 0;
    for (index, end) in memchr::memchr_iter(b'\n', body).chain([body.len()]).enumerate() {
        let line = body[start..end].trim_ascii();
        start = end + 1;
        if line.is_empty() {
            continue;
        }
        match purchase_of(line, now) {
            Ok(purchase) => purchases.push(purchase),
            Err(refusal) => {
                refusal.count(metrics, 1);
                report.reject(index + 1, &refusal);
            }
        }
        if start > yield_at {
            yield_at = start + SLICE;
            tokio::task::yield_now().await;
        }
    }
    (purchases, report)
}

fn purchase_of(line: &[u8], now: Timestamp) -> Result<Purchase, Refusal> {
    let Entry { store, customer, date, key, basket } = parse_entry(line)?;
    let event_time = clock::event_time(date, basket.occurred_at, now)?;
    let key = key.map(|text| key::digest(store, &text, "key")).transpose()?;
    Ok(Purchase { store, customer, date, event_time, key, lines: basket.lines })
}
