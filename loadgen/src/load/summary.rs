//! What a run was and what it measured, as it is written to the JSON file.

use hdrhistogram::Histogram;
use serde::{Deserialize, Serialize};

use super::{
    Judged, Kind, Outcome, Profile, Totals,
    recorder::{Happened, Interval, KindRecord, nanoseconds},
};
use crate::client::causes;

/// Version of the form of [`Summary`].
pub const FORMAT: u32 = 1;

/// What a run was and what it measured. Times are in milliseconds unless their names say otherwise.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Summary {
    /// [`FORMAT`].
    pub format: u32,
    /// The program and its version.
    pub generator: String,
    /// Name of the run, for comparisons: runs with one name repeat each other. Empty if it has none.
    pub name: String,
    /// What was sent to.
    pub url: String,
    /// When measuring began, RFC 3339.
    pub started: String,
    /// What was sent.
    pub profile: Profile,
    /// Clients, each with a connection.
    pub clients: u32,
    /// Requests due a second, where they followed a schedule; 0 for the times of a recording.
    pub rate: Option<f64>,
    /// All settings that the profile has, by name, but for the token.
    pub settings: Vec<(String, String)>,
    /// Whether the run was ended before its time.
    pub ended_early: bool,
    /// Purchases sent before the warm-up.
    pub seeded: u64,
    /// From the start of measuring to the last answer, and not shorter than was asked for.
    pub wall_seconds: f64,
    /// What throughput is of: from the start of measuring until the time that was asked for was over, or the run was
    /// ended, or else until the last answer. `None` in a summary of a build that took `wallSeconds` for that.
    pub measured_seconds: Option<f64>,
    /// All types of request together.
    pub total: KindTotals,
    /// Requests that ended successfully within the time measured, a second.
    pub throughput: f64,
    /// Figures of each type of request.
    pub kinds: Vec<KindSummary>,
    /// What was no success.
    pub errors: Vec<ErrorKind>,
    /// What became of the schedule of an open loop.
    pub arrivals: Option<ArrivalSummary>,
    /// Purchases, acknowledged and not, those before measuring too.
    pub purchases: PurchaseSummary,
    /// What the generator itself cost.
    pub own: OwnSummary,
    /// What that means for the figures.
    pub verdicts: Vec<Verdict>,
    /// Conditions under which the run has failed.
    pub thresholds: Vec<Judged>,
    /// The comparison of the answers with what was acknowledged, if there was one.
    pub verification: Option<VerificationSummary>,
    /// What was measured over time.
    pub series: Vec<Point>,
}

/// Text that is no [`Summary`].
#[derive(Debug, thiserror::Error)]
pub enum NoSummary {
    /// Not JSON of its form.
    #[error(transparent)]
    Json(#[from] serde_json::Error),
    /// Of another version.
    #[error("its form is version {0}, this program reads version {FORMAT}")]
    Format(u32),
}

impl Summary {
    /// Reads what was written to a JSON file.
    ///
    /// # Errors
    /// [`NoSummary`].
    pub fn parse(text: &str) -> Result<Self, NoSummary> {
        #[derive(Deserialize)]
        struct Version {
            format: u32,
        }
        let Version { format } = serde_json::from_str(text)?;
        if format == FORMAT {
            Ok(serde_json::from_str(text)?)
        } else {
            Err(NoSummary::Format(format))
        }
    }
}

/// Counts and response times of all requests.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct KindTotals {
    /// Answered as the contract has it.
    pub successful: u64,
    /// Refused for overload.
    pub refused: u64,
    /// Everything else.
    pub failed: u64,
    /// Response times of successes and time-outs.
    pub latency: Latency,
}

/// Figures of one type of request.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct KindSummary {
    /// The type.
    pub kind: Kind,
    /// Answered as the contract has it.
    pub successful: u64,
    /// Refused for overload.
    pub refused: u64,
    /// Everything else.
    pub failed: u64,
    /// Response times of successes and time-outs.
    pub latency: Latency,
}

impl KindSummary {
    fn new(kind: Kind, record: &KindRecord) -> Self {
        let KindTotals { successful, refused, failed, latency } = KindTotals {
            successful: record.successful,
            refused: record.refused,
            failed: record.failed,
            latency: Latency::new(&record.latencies),
        };
        Self { kind, successful, refused, failed, latency }
    }

    /// All that ended.
    pub fn requests(&self) -> u64 {
        self.successful + self.refused + self.failed
    }
}

impl KindTotals {
    /// All that ended.
    pub fn requests(&self) -> u64 {
        self.successful + self.refused + self.failed
    }

    /// All that ended without success.
    pub fn unsuccessful(&self) -> u64 {
        self.refused + self.failed
    }
}

/// Response times in ms; all zero if there are none.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Latency {
    /// How many.
    pub count: u64,
    /// Arithmetic mean.
    pub mean: f64,
    /// 50th percentile.
    pub median: f64,
    /// 95th percentile.
    pub p95: f64,
    /// 99th percentile.
    pub p99: f64,
    /// 99.9th percentile.
    pub p999: f64,
    /// The longest.
    pub max: f64,
    /// How many fell between two bounds, in ms, ascending; twenty bounds a decade.
    pub buckets: Vec<Bucket>,
}

/// Response times between two bounds.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct Bucket {
    /// Lower bound in ms.
    pub from: f64,
    /// Upper bound in ms.
    pub to: f64,
    /// How many.
    pub count: u64,
}

/// Bounds of [`Bucket`]s in each decade.
const BUCKETS_PER_DECADE: f64 = 20.0;

pub(crate) fn milliseconds(nanoseconds: u64) -> f64 {
    nanoseconds as f64 / 1e6
}

impl Latency {
    /// Mean, median, p95, p99, p99.9 and maximum, in ms; none of them if there are no response times.
    pub fn figures(&self) -> [Option<f64>; 6] {
        [self.mean, self.median, self.p95, self.p99, self.p999, self.max]
            .map(|figure| (self.count > 0).then_some(figure))
    }

    /// From a histogram of nanoseconds.
    pub(crate) fn new(histogram: &Histogram<u64>) -> Self {
        if histogram.is_empty() {
            return Self::default();
        }
        let quantile = |q| milliseconds(histogram.value_at_quantile(q));
        Self {
            count: histogram.len(),
            mean: histogram.mean() / 1e6,
            median: quantile(0.5),
            p95: quantile(0.95),
            p99: quantile(0.99),
            p999: quantile(0.999),
            max: milliseconds(histogram.max()),
            buckets: buckets(histogram),
        }
    }
}

fn buckets(histogram: &Histogram<u64>) -> Vec<Bucket> {
    let bound = |place: i32| 10_f64.powf(f64::from(place) / BUCKETS_PER_DECADE);
    let mut buckets: Vec<(i32, u64)> = Vec::new();
    for value in histogram.iter_recorded() {
        let at = milliseconds(value.value_iterated_to()).max(1e-6);
        let place = (at.log10() * BUCKETS_PER_DECADE).floor() as i32;
        match buckets.last_mut() {
            Some((last, count)) if *last == place => *count += value.count_at_value(),
            _ => buckets.push((place, value.count_at_value())),
        }
    }
    buckets
        .into_iter()
        .map(|(place, count)| Bucket { from: bound(place), to: bound(place + 1), count })
        .collect()
}

/// Something that was no success.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct ErrorKind {
    /// Type of the requests.
    pub kind: Kind,
    /// How they ended, such as `refused (503)`, `time-out` or `status 500`.
    pub outcome: String,
    /// Whether that is a refusal for overload.
    pub refused: bool,
    /// How many.
    pub count: u64,
    /// How long they took on average, in ms; `None` in a summary of a build that did not take it down.
    pub mean: Option<f64>,
    /// How long the longest took, in ms.
    pub max: Option<f64>,
    /// What was said the first time.
    pub first: String,
}

impl ErrorKind {
    pub(crate) fn new(kind: Kind, outcome: Outcome, happened: Happened) -> Self {
        let ms = |time| Some(milliseconds(nanoseconds(time)));
        Self {
            kind,
            outcome: outcome.to_string(),
            refused: outcome.is_refused(),
            count: happened.count,
            mean: ms(happened.mean()),
            max: ms(happened.longest),
            first: happened.first,
        }
    }
}

/// What became of the schedule of an open loop.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct ArrivalSummary {
    /// Arrivals due.
    pub due: u64,
    /// Of those, sent more than 10 ms late.
    pub late: u64,
    /// Of those, never sent: too many waited, or the run ended first.
    pub dropped: u64,
    /// Time from when a request was due until it was sent, 99th percentile.
    pub delay_p99: f64,
    /// The longest.
    pub delay_max: f64,
    /// The part of that which is the generator's own clock, 99th percentile.
    pub clock_p99: f64,
    /// The longest.
    pub clock_max: f64,
}

/// Purchases, acknowledged and not.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct PurchaseSummary {
    /// Acknowledged.
    pub acknowledged: u64,
    /// Rejected by the bulk call because of themselves.
    pub rejected: u64,
    /// Those that may or may not have been counted: time-outs, lost connections, 5xx.
    pub unclear: u64,
}

/// What the generator itself cost while requests were measured.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct OwnSummary {
    /// Cores it may use.
    pub cores: usize,
    /// Threads that send.
    pub threads: usize,
    /// CPU time of the process, user and kernel, in seconds.
    pub cpu_seconds: f64,
    /// Share of its cores that it used, 0 to 1.
    pub cpu_share: f64,
    /// Share of the time in which the busiest of its threads had something to do, 0 to 1, whether or not it had a core
    /// for it.
    pub busiest_thread: f64,
    /// The part of that in which it waited for a core; `None` in a summary of a build that did not count it.
    pub busiest_waited: Option<f64>,
    /// Share of the machine's cores that anything used; `None` where the system does not say.
    pub machine_share: Option<f64>,
    /// Whether the server is on the same machine.
    pub shared_machine: bool,
    /// By how much timers were late, 99th percentile; up to 1 ms is their resolution.
    pub timer_p99: f64,
    /// The most.
    pub timer_max: f64,
    /// CPU time for each request, in microseconds.
    pub cpu_per_request_us: f64,
    /// How long threads had to wait for the CSV file, in seconds, all together.
    pub csv_wait_seconds: f64,
}

/// How serious a verdict is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Severity {
    /// Nothing speaks against the figures.
    Good,
    /// Something to know when reading them.
    Note,
    /// They are not what they seem.
    Bad,
}

/// Something to know about the figures.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Verdict {
    /// How serious it is.
    pub severity: Severity,
    /// A sentence.
    pub text: String,
}

/// The comparison of the answers with what was acknowledged.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct VerificationSummary {
    /// Answers compared.
    pub answers: u64,
    /// Of those, the ones that had to be a list with something in it; `None` in a summary of a build that did not
    /// count them.
    pub lists: Option<u64>,
    /// Answers that differ.
    pub differences: u64,
    /// The first of them, in words.
    pub shown: Vec<String>,
    /// Whether all that was acknowledged could be compared, and if not, why.
    pub remarks: Vec<String>,
}

impl VerificationSummary {
    /// There is none, because of `error`.
    pub(crate) fn impossible(error: &dyn std::error::Error) -> Self {
        let remark = format!("The answers could not be compared: {}.", causes(error));
        Self {
            answers: 0,
            lists: Some(0),
            differences: 0,
            shown: Vec::new(),
            remarks: vec![remark],
        }
    }

    /// Whether it says nothing for the server: answers differ, or there was nothing to compare.
    pub fn failed(&self) -> bool {
        self.differences > 0 || self.lists == Some(0)
    }
}

/// What was measured in a span of time.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Point {
    /// Seconds since measuring began.
    pub at: f64,
    /// Length in seconds.
    pub seconds: f64,
    /// Requests that ended successfully.
    pub successful: u64,
    /// Those refused for overload.
    pub refused: u64,
    /// Those that failed.
    pub failed: u64,
    /// Median of the response times.
    pub median: f64,
    /// 95th percentile.
    pub p95: f64,
    /// 99th percentile.
    pub p99: f64,
    /// The longest.
    pub max: f64,
    /// Cores that the threads that send have used.
    pub cores: f64,
}

impl Point {
    pub(crate) fn new(at: f64, interval: &Interval) -> Self {
        let seconds = interval.length.as_secs_f64().max(1e-3);
        let all = interval.kinds.latencies(|_| true);
        let sum = |count: fn(&KindRecord) -> u64| {
            interval.kinds.iter().map(|(_, record)| count(record)).sum()
        };
        let quantile = |q| milliseconds(all.value_at_quantile(q));
        Self {
            at,
            seconds,
            successful: sum(|record| record.successful),
            refused: sum(|record| record.refused),
            failed: sum(|record| record.failed),
            median: quantile(0.5),
            p95: quantile(0.95),
            p99: quantile(0.99),
            max: milliseconds(all.max()),
            cores: interval.cpu.as_secs_f64() / seconds,
        }
    }

    /// Neighbours as one: sums of counts, and the worst of the response times.
    pub(crate) fn merged(points: &[Self]) -> Self {
        let sum = |value: fn(&Self) -> u64| points.iter().map(value).sum();
        let worst = |value: fn(&Self) -> f64| points.iter().map(value).fold(0.0, f64::max);
        let seconds: f64 = points.iter().map(|point| point.seconds).sum();
        let core_seconds: f64 = points.iter().map(|point| point.cores * point.seconds).sum();
        Self {
            at: points.first().map_or(0.0, |point| point.at),
            seconds,
            successful: sum(|point| point.successful),
            refused: sum(|point| point.refused),
            failed: sum(|point| point.failed),
            median: worst(|point| point.median),
            p95: worst(|point| point.p95),
            p99: worst(|point| point.p99),
            max: worst(|point| point.max),
            cores: core_seconds / seconds.max(f64::EPSILON),
        }
    }
}

/// Figures of each type and of all together.
pub(crate) fn figures(totals: &Totals) -> (Vec<KindSummary>, KindTotals) {
    let kinds: Vec<_> =
        totals.iter().map(|(kind, record)| KindSummary::new(kind, record)).collect();
    let sum = |count: fn(&KindSummary) -> u64| kinds.iter().map(count).sum();
    let total = KindTotals {
        successful: sum(|kind| kind.successful),
        refused: sum(|kind| kind.refused),
        failed: sum(|kind| kind.failed),
        latency: Latency::new(&totals.latencies(|_| true)),
    };
    (kinds, total)
}

#[cfg(test)]
pub(crate) mod tests {
    use std::time::Duration;

    use random::Random;

    use super::*;

    /// A run of 10 s.
    pub(crate) fn summary(totals: &Totals) -> Summary {
        let (kinds, total) = figures(totals);
        Summary {
            format: FORMAT,
            generator: String::new(),
            name: String::new(),
            url: String::new(),
            started: String::new(),
            profile: Profile::Mixed,
            clients: 1,
            rate: None,
            settings: Vec::new(),
            ended_early: false,
            seeded: 0,
            wall_seconds: 10.0,
            measured_seconds: Some(10.0),
            throughput: total.successful as f64 / 10.0,
            total,
            kinds,
            errors: Vec::new(),
            arrivals: None,
            purchases: PurchaseSummary::default(),
            own: OwnSummary::default(),
            verdicts: Vec::new(),
            thresholds: Vec::new(),
            verification: None,
            series: Vec::new(),
        }
    }

    /// Against the definition: the least value that so many of all do not exceed.
    #[test]
    fn percentiles_are_those_of_the_sorted_times() {
        let mut random = Random::new(9);
        let mut totals = Totals::default();
        let mut times: Vec<f64> = Vec::new();
        for _ in 0..20_000 {
            // From 0.1 ms to 10 s, as many in each decade.
            let ms = 0.1 * 10_f64.powf(random.unit() * 5.0);
            times.push(ms);
            totals.record(Kind::Post, Outcome::Success, Duration::from_secs_f64(ms / 1000.0), true);
        }
        times.sort_by(f64::total_cmp);
        let at = |share: f64| times[(share * times.len() as f64).ceil() as usize - 1];
        let latency = figures(&totals).1.latency;
        let mean = times.iter().sum::<f64>() / times.len() as f64;
        for (got, expected) in [
            (latency.mean, mean),
            (latency.median, at(0.5)),
            (latency.p95, at(0.95)),
            (latency.p99, at(0.99)),
            (latency.p999, at(0.999)),
            (latency.max, at(1.0)),
        ] {
            // Three digits.
            assert!((got - expected).abs() <= expected * 0.002, "{got}, expected {expected}");
        }
        for bucket in &latency.buckets {
            let inside = |ms: &&f64| (bucket.from..bucket.to).contains(*ms);
            let expected = times.iter().filter(inside).count() as f64;
            let off = (bucket.count as f64 - expected).abs();
            assert!(off <= 12.0 + expected * 0.05, "{bucket:?}, expected {expected}");
        }
        assert_eq!(latency.buckets.iter().map(|bucket| bucket.count).sum::<u64>(), latency.count);
    }

    #[test]
    fn neighbours_become_one_point_with_the_worst_of_both() {
        let point = |at, p99, successful| Point {
            at,
            seconds: 1.0,
            successful,
            refused: 1,
            failed: 0,
            median: 1.0,
            p95: 2.0,
            p99,
            max: p99 * 2.0,
            cores: 0.5,
        };
        let merged = Point::merged(&[point(4.0, 9.0, 10), point(5.0, 3.0, 30)]);
        assert_eq!((merged.at, merged.seconds), (4.0, 2.0));
        assert_eq!((merged.successful, merged.refused), (40, 2));
        assert_eq!((merged.p99, merged.max, merged.cores), (9.0, 18.0, 0.5));
    }
}
