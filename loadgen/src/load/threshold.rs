//! Conditions under which a run has failed, such as `p99>200ms`.
//!
//! ```text
//! condition = [requests ":"] figure comparison value
//! requests  = "all" | "post" | "get" | "items" | "stores" | "bulk"
//! figure    = "mean" | "median" | "max" | "p" percentile          value: a duration, 200ms
//!           | "errors" | "refused" | "dropped" | "late"           value: a number, or a share, 0.1%
//!           | "throughput"                                        value: successful requests a second
//! ```

use std::{fmt, str::FromStr};

use serde::{Deserialize, Serialize};

use super::{Kind, Summary};

/// A condition under which a run has failed.
#[derive(Debug, Clone, PartialEq)]
pub struct Threshold {
    text: String,
    scope: Scope,
    figure: Figure,
    comparison: Comparison,
    /// In the unit of the figure: ms, a number, a share, requests a second.
    value: f64,
}

/// What became of a condition.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Judged {
    /// The condition as it was given.
    pub condition: String,
    /// What was measured, with its unit.
    pub measured: String,
    /// Whether it holds, so that the run has failed.
    pub failed: bool,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Scope {
    All,
    Posts,
    Gets,
    One(Kind),
}

#[derive(Debug, Clone, Copy, PartialEq)]
enum Figure {
    Mean,
    Percentile(f64),
    Max,
    Count(Counted),
    Share(Counted),
    Throughput,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Counted {
    Errors,
    Refused,
    Dropped,
    Late,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Comparison {
    Greater,
    GreaterOrEqual,
    Less,
    LessOrEqual,
}

/// Text that is not a condition.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error(
    "{problem}: expected a condition such as 'p99>200ms', 'get:max>=1s', 'errors>0.1%' or 'throughput<1000'"
)]
pub struct InvalidThreshold {
    problem: String,
}

fn invalid(problem: impl fmt::Display) -> InvalidThreshold {
    InvalidThreshold { problem: problem.to_string() }
}

impl FromStr for Threshold {
    type Err = InvalidThreshold;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let compact: String = text.chars().filter(|c| !c.is_whitespace()).collect();
        let at = compact.find(['<', '>']).ok_or_else(|| invalid("there is no < or >"))?;
        let (left, right) = compact.split_at(at);
        let (comparison, value) = Comparison::split(right);
        let (scope, name) = match left.split_once(':') {
            Some((scope, name)) => (Scope::parse(scope)?, name),
            None => (Scope::All, left),
        };
        let (figure, value) = Figure::parse(name, value)?;
        if scope != Scope::All && matches!(figure, Figure::Count(Counted::Dropped | Counted::Late))
        {
            return Err(invalid("arrivals are dropped and late whatever they ask for"));
        }
        Ok(Self { text: text.to_owned(), scope, figure, comparison, value })
    }
}

impl fmt::Display for Threshold {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text)
    }
}

impl Scope {
    fn parse(text: &str) -> Result<Self, InvalidThreshold> {
        Ok(match text {
            "all" => Self::All,
            "post" => Self::Posts,
            "get" => Self::Gets,
            "items" => Self::One(Kind::StoreItems),
            "stores" => Self::One(Kind::ItemStores),
            "bulk" => Self::One(Kind::Bulk),
            _ => return Err(invalid(format!("'{text}' is no type of request"))),
        })
    }

    fn has(self, kind: Kind) -> bool {
        match self {
            Self::All => true,
            Self::Posts => kind.is_post(),
            Self::Gets => !kind.is_post(),
            Self::One(one) => kind == one,
        }
    }
}

impl Figure {
    fn parse(name: &str, value: &str) -> Result<(Self, f64), InvalidThreshold> {
        let counted = match name {
            "errors" => Some(Counted::Errors),
            "refused" => Some(Counted::Refused),
            "dropped" => Some(Counted::Dropped),
            "late" => Some(Counted::Late),
            _ => None,
        };
        if let Some(counted) = counted {
            return match value.strip_suffix('%') {
                Some(percent) => Ok((Self::Share(counted), number(percent)? / 100.0)),
                None => Ok((Self::Count(counted), number(value)?)),
            };
        }
        let figure = match name {
            "throughput" => return Ok((Self::Throughput, number(value)?)),
            "mean" => Self::Mean,
            "median" => Self::Percentile(50.0),
            "max" => Self::Max,
            _ => Self::Percentile(percentile(name)?),
        };
        Ok((figure, milliseconds(value)?))
    }
}

fn percentile(name: &str) -> Result<f64, InvalidThreshold> {
    let unknown = || invalid(format!("'{name}' is no figure"));
    let percentile = name.strip_prefix('p').ok_or_else(unknown)?;
    let percentile: f64 = percentile.parse().map_err(|_| unknown())?;
    if (0.0..=100.0).contains(&percentile) {
        Ok(percentile)
    } else {
        Err(invalid(format!("'{name}' is not between p0 and p100")))
    }
}

fn number(text: &str) -> Result<f64, InvalidThreshold> {
    let number: Option<f64> = text.parse().ok();
    number
        .filter(|number| number.is_finite() && *number >= 0.0)
        .ok_or_else(|| invalid(format!("'{text}' is not a number of zero or more")))
}

fn milliseconds(text: &str) -> Result<f64, InvalidThreshold> {
    let unit = text.find(|c: char| c.is_ascii_alphabetic() || c == 'µ').unwrap_or(text.len());
    let (value, unit) = text.split_at(unit);
    let factor = match unit {
        "us" | "µs" => 0.001,
        "ms" => 1.0,
        "s" => 1000.0,
        "m" | "min" => 60_000.0,
        _ => {
            return Err(invalid(format!("'{text}' is not a duration with a unit: us, ms, s or m")));
        }
    };
    Ok(number(value)? * factor)
}

impl Comparison {
    /// Takes the comparison that `text` starts with.
    fn split(text: &str) -> (Self, &str) {
        let (or_equal, rest) = match text[1..].strip_prefix('=') {
            Some(rest) => (true, rest),
            None => (false, &text[1..]),
        };
        let comparison = match (text.starts_with('>'), or_equal) {
            (true, false) => Self::Greater,
            (true, true) => Self::GreaterOrEqual,
            (false, false) => Self::Less,
            (false, true) => Self::LessOrEqual,
        };
        (comparison, rest)
    }

    fn holds(self, measured: f64, value: f64) -> bool {
        match self {
            Self::Greater => measured > value,
            Self::GreaterOrEqual => measured >= value,
            Self::Less => measured < value,
            Self::LessOrEqual => measured <= value,
        }
    }
}

impl Threshold {
    /// Whether the condition holds for a run. Where nothing was measured that could meet it, it does:
    /// a run without a single answer is not a fast one, and one without a single request not one without errors.
    pub(crate) fn judge(&self, summary: &Summary, totals: &super::Totals) -> Judged {
        let (measured, shown) = match self.figure {
            Figure::Count(counted) => {
                let count = self.of(counted, summary).map(|_| self.count(counted, summary) as f64);
                (count, count.map(|count| count.to_string()))
            }
            Figure::Share(counted) => {
                let of = self.of(counted, summary);
                let share = of.map(|of| self.count(counted, summary) as f64 / of as f64);
                (share, share.map(|share| format!("{:.3} %", share * 100.0)))
            }
            Figure::Throughput => {
                let successes = totals.in_time(|kind| self.scope.has(kind));
                let seconds = summary.measured_seconds.unwrap_or(summary.wall_seconds);
                let rate = successes as f64 / seconds.max(f64::EPSILON);
                (Some(rate), Some(format!("{rate:.1}/s")))
            }
            Figure::Mean | Figure::Percentile(_) | Figure::Max => {
                let measured = self.latency(totals);
                (measured, measured.map(|ms| format!("{ms:.3} ms")))
            }
        };
        let shown = shown.unwrap_or_else(|| self.nothing().to_owned());
        let failed = measured.is_none_or(|measured| self.comparison.holds(measured, self.value));
        Judged { condition: self.text.clone(), measured: shown, failed }
    }

    fn kinds<'a>(&self, summary: &'a Summary) -> impl Iterator<Item = &'a super::KindSummary> {
        let scope = self.scope;
        summary.kinds.iter().filter(move |kind| scope.has(kind.kind))
    }

    /// Of how many something is counted; `None` if there were none.
    fn of(&self, counted: Counted, summary: &Summary) -> Option<u64> {
        let of = match counted {
            Counted::Errors | Counted::Refused => {
                self.kinds(summary).map(super::KindSummary::requests).sum()
            }
            Counted::Dropped | Counted::Late => summary.arrivals.as_ref()?.due,
        };
        Some(of).filter(|&of| of > 0)
    }

    /// What there was none of, in words.
    fn nothing(&self) -> &'static str {
        match self.figure {
            Figure::Count(Counted::Dropped | Counted::Late)
            | Figure::Share(Counted::Dropped | Counted::Late) => "no arrivals",
            Figure::Count(_) | Figure::Share(_) => "no requests",
            Figure::Mean | Figure::Percentile(_) | Figure::Max | Figure::Throughput => "no answers",
        }
    }

    fn count(&self, counted: Counted, summary: &Summary) -> u64 {
        let arrivals = summary.arrivals.as_ref();
        match counted {
            Counted::Errors => self.kinds(summary).map(|kind| kind.failed).sum(),
            Counted::Refused => self.kinds(summary).map(|kind| kind.refused).sum(),
            Counted::Dropped => arrivals.map_or(0, |arrivals| arrivals.dropped),
            Counted::Late => arrivals.map_or(0, |arrivals| arrivals.late),
        }
    }

    /// The response time asked for, in ms.
    fn latency(&self, totals: &super::Totals) -> Option<f64> {
        let histogram = totals.latencies(|kind| self.scope.has(kind));
        if histogram.is_empty() {
            return None;
        }
        let nanoseconds = match self.figure {
            Figure::Mean => histogram.mean(),
            Figure::Max => histogram.max() as f64,
            Figure::Percentile(percentile) => {
                histogram.value_at_quantile(percentile / 100.0) as f64
            }
            Figure::Count(_) | Figure::Share(_) | Figure::Throughput => return None,
        };
        Some(nanoseconds / 1e6)
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::{
        Comparison::{Greater, GreaterOrEqual, Less, LessOrEqual},
        *,
    };
    use crate::load::{Outcome, Totals, summary::tests::summary};

    fn refused(text: &str) -> String {
        text.parse::<Threshold>().unwrap_err().to_string()
    }

    #[test]
    fn conditions_are_read_with_their_units() {
        let read = |text: &str| {
            let threshold: Threshold = text.parse().unwrap();
            (threshold.scope, threshold.figure, threshold.comparison, threshold.value)
        };
        assert_eq!(read("p99>200ms"), (Scope::All, Figure::Percentile(99.0), Greater, 200.0));
        assert_eq!(
            read(" get : p99.9 >= 1.5s "),
            (Scope::Gets, Figure::Percentile(99.9), GreaterOrEqual, 1500.0)
        );
        assert_eq!(read("post:mean<250us"), (Scope::Posts, Figure::Mean, Less, 0.25));
        let stores = Scope::One(Kind::ItemStores);
        assert_eq!(read("stores:max<=2m"), (stores, Figure::Max, LessOrEqual, 120_000.0));
        assert_eq!(read("median>1ms").1, Figure::Percentile(50.0));
        let errors = Figure::Count(Counted::Errors);
        assert_eq!(read("errors>0"), (Scope::All, errors, Greater, 0.0));
        let dropped = Figure::Share(Counted::Dropped);
        assert_eq!(read("dropped>1%"), (Scope::All, dropped, Greater, 0.01));
        assert_eq!(read("throughput<1000").1, Figure::Throughput);
    }

    #[test]
    fn what_is_no_condition_is_refused_with_the_reason() {
        for (text, reason) in [
            ("p99", "there is no < or >"),
            ("p99>200", "is not a duration with a unit"),
            ("p99>1h", "is not a duration with a unit"),
            ("p101>1ms", "is not between p0 and p100"),
            ("q99>1ms", "is no figure"),
            ("put:p99>1ms", "is no type of request"),
            ("errors>x", "is not a number"),
            ("errors>-1", "is not a number"),
            ("get:dropped>1", "arrivals are dropped"),
            (">1ms", "is no figure"),
        ] {
            let refused = refused(text);
            assert!(refused.contains(reason), "{text}: {refused}");
            assert!(refused.contains("expected a condition such as"), "{refused}");
        }
    }

    fn judged(text: &str, totals: &Totals) -> Judged {
        text.parse::<Threshold>().unwrap().judge(&summary(totals), totals)
    }

    #[test]
    fn conditions_hold_for_what_was_measured() {
        let mut totals = Totals::default();
        for ms in 1..=99 {
            totals.record(Kind::StoreItems, Outcome::Success, Duration::from_millis(ms), true);
        }
        totals.record(Kind::Post, Outcome::Success, Duration::from_secs(2), true);
        totals.record(Kind::Post, Outcome::Status(500), Duration::from_secs(9), true);
        totals.record(Kind::Post, Outcome::Refused(503), Duration::from_millis(1), true);
        for (text, failed) in [
            ("p50>49ms", true),
            ("p50>51ms", false),
            ("get:max>=99ms", true),
            ("get:max>100ms", false),
            ("max>1.9s", true),
            ("post:p50<1s", false),
            ("errors>0", true),
            ("errors>1", false),
            ("errors>0.9%", true),
            ("errors>1%", false),
            ("get:errors>0", false),
            ("post:refused>=1", true),
            // 100 successes in 10 s.
            ("throughput<10.1", true),
            ("throughput<9.9", false),
            // There is no such request, and no schedule.
            ("bulk:p99<1s", true),
            ("bulk:errors>0", true),
            ("bulk:refused>50%", true),
            ("dropped>0", true),
        ] {
            assert_eq!(judged(text, &totals).failed, failed, "{text}: {:?}", judged(text, &totals));
        }
        assert_eq!(judged("errors>0", &totals).measured, "1");
        assert_eq!(judged("bulk:p99>1s", &totals).measured, "no answers");
        assert_eq!(judged("bulk:errors>0", &totals).measured, "no requests");
        assert_eq!(judged("late>1%", &totals).measured, "no arrivals");
    }
}
