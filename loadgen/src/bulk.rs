//! Sends recorded purchases through the bulk call, as fast as they are taken.
//!
//! Several requests are in flight at once, so the server may take a later one first. Business days
//! close by business dates, so a purchase that arrives after others of a much later date would miss
//! its day. [`Options::days_apart`] bounds how far apart the dates in flight may be.

use std::{collections::BTreeMap, panic::resume_unwind, sync::Arc, time::Instant};

use bytes::Bytes;
use model::{BusinessDate, Position};
use tokio::task::JoinSet;

use crate::{Basket, BulkAnswer, Client, Failure, Progress, Report};

/// How purchases are put into requests.
#[derive(Debug, Clone)]
pub struct Options {
    /// The most purchases in a request; 0 counts as 1. More than 1,000 is more than the server lists
    /// if it rejects all of them.
    pub purchases_per_request: usize,
    /// A request takes no more purchases once its body is this long, in bytes.
    pub body_bytes: usize,
    /// The most requests in flight; 0 counts as 1.
    pub in_flight: usize,
    /// The most days that the dates of purchases in flight lie apart. One less than the server's
    /// allowed lateness is safe: then no purchase finds its day closed.
    pub days_apart: i32,
}

impl Default for Options {
    fn default() -> Self {
        Self { purchases_per_request: 128, body_bytes: 512 * 1024, in_flight: 8, days_apart: 1 }
    }
}

/// Sends `baskets`, which must be in the order of their dates. `progress` counts along.
///
/// # Errors
/// The first failure that leaves open what the server has counted; what it rejects for good is in the
/// report.
pub async fn send(
    client: &Client,
    baskets: Arc<[Basket]>,
    options: &Options,
    progress: &Progress,
) -> Result<Report, Failure> {
    let started = Instant::now();
    let mut sender = Sender {
        client,
        baskets,
        progress,
        in_flight: JoinSet::new(),
        first_dates: BTreeMap::new(),
        report: Report::default(),
    };
    let mut start = 0;
    while start < sender.baskets.len() {
        let request = next_request(&sender.baskets, start, options);
        start = request.end;
        while !sender.has_room_for(&request, options) {
            sender.finish_one().await?;
        }
        sender.start(request);
    }
    while !sender.in_flight.is_empty() {
        sender.finish_one().await?;
    }
    sender.report.elapsed = started.elapsed();
    Ok(sender.report)
}

/// Some consecutive purchases and their lines of the body.
struct Request {
    start: usize,
    end: usize,
    dates: (BusinessDate, BusinessDate),
    body: Vec<u8>,
}

/// The request that starts with purchase `start`, which must be there.
fn next_request(baskets: &[Basket], start: usize, options: &Options) -> Request {
    let mut body = Vec::new();
    let most = options.purchases_per_request.max(1);
    let mut end = start;
    for basket in baskets[start..].iter().take(most) {
        basket.write_ndjson(&mut body);
        end += 1;
        if body.len() >= options.body_bytes {
            break;
        }
    }
    Request { start, end, dates: (baskets[start].date, baskets[end - 1].date), body }
}

type Answer = Result<(BulkAnswer, Position), Failure>;

struct Sender<'a> {
    client: &'a Client,
    baskets: Arc<[Basket]>,
    progress: &'a Progress,
    in_flight: JoinSet<(Request, Answer)>,
    /// The first date of each request in flight, by where it starts.
    first_dates: BTreeMap<usize, BusinessDate>,
    report: Report,
}

impl Sender<'_> {
    fn has_room_for(&self, request: &Request, options: &Options) -> bool {
        // Dates ascend, so the request that started first has the oldest.
        let oldest = self.first_dates.values().next().copied();
        self.in_flight.len() < options.in_flight.max(1) && near(oldest, request.dates.1, options)
    }

    fn start(&mut self, mut request: Request) {
        self.first_dates.insert(request.start, request.dates.0);
        let client = self.client.clone();
        self.in_flight.spawn(async move {
            let body = Bytes::from(std::mem::take(&mut request.body));
            let answer = client.post_bulk(body).await;
            (request, answer)
        });
    }

    async fn finish_one(&mut self) -> Result<(), Failure> {
        let Some(finished) = self.in_flight.join_next().await else { return Ok(()) };
        let (request, answer) = finished.unwrap_or_else(|panic| resume_unwind(panic.into_panic()));
        self.first_dates.remove(&request.start);
        let sent = &self.baskets[request.start..request.end];
        match answer {
            Ok((answer, position)) => {
                count(sent, &answer, &position, &mut self.report, self.progress)
            }
            Err(Failure::Refused { status, message }) => {
                for _ in sent {
                    self.report.refusals.add(status.to_string(), &message);
                }
                self.progress.add(0, 0, sent.len() as u64);
                Ok(())
            }
            Err(failure) => Err(failure),
        }
    }
}

/// Whether purchases up to `newest` may be in flight along with those from `oldest` on.
fn near(oldest: Option<BusinessDate>, newest: BusinessDate, options: &Options) -> bool {
    oldest.is_none_or(|oldest| newest.days() - oldest.days() <= options.days_apart)
}

/// Counts what one answer acknowledges and rejects; together that must be what was sent.
fn count(
    sent: &[Basket],
    answer: &BulkAnswer,
    position: &Position,
    report: &mut Report,
    progress: &Progress,
) -> Result<(), Failure> {
    let rejected: BTreeMap<usize, &str> =
        answer.rejected.iter().map(|line| (line.line, line.message.as_str())).collect();
    let outside = rejected.keys().any(|line| !(1..=sent.len()).contains(line));
    if outside || answer.accepted != (sent.len() - rejected.len().min(sent.len())) as u64 {
        return Err(Failure::Malformed {
            call: "POST /v1/purchases".to_owned(),
            problem: format!(
                "{} purchases were sent, {} accepted, and lines {:?} rejected",
                sent.len(),
                answer.accepted,
                rejected.keys().collect::<Vec<_>>()
            ),
        });
    }
    let mut lines = 0;
    for (basket, number) in sent.iter().zip(1..) {
        if let Some(message) = rejected.get(&number) {
            report.refusals.add("rejected".to_owned(), message);
        } else {
            report.tally.acknowledged(basket, position);
            lines += basket.lines.len() as u64;
        }
    }
    progress.add(answer.accepted, lines, rejected.len() as u64);
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn requests_are_bounded_by_purchases_and_by_bytes() {
        let basket = Basket {
            store: model::StoreId(1),
            customer: model::CustomerId(1),
            date: "20210101".parse().unwrap(),
            occurred_at: None,
            key: "1".to_owned(),
            lines: Vec::new(),
        };
        let baskets = vec![basket; 10];
        let end = |start, purchases_per_request, body_bytes| {
            let options = Options { purchases_per_request, body_bytes, ..Options::default() };
            next_request(&baskets, start, &options).end
        };
        assert_eq!([end(0, 4, 10_000), end(8, 4, 10_000)], [4, 10]);
        assert_eq!([end(0, 4, 1), end(0, 0, 10_000)], [1, 1]);
    }

    #[test]
    fn dates_in_flight_stay_near_each_other() {
        let options = Options::default();
        let first: BusinessDate = "20210131".parse().unwrap();
        assert!(near(None, first, &options));
        assert!(near(Some(first), first.plus_days(1), &options));
        assert!(!near(Some(first), first.plus_days(2), &options));
    }
}
