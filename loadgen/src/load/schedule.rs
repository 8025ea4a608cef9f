//! When requests are due in an open loop: known before the first is sent, whatever the server does.

use std::{sync::Arc, time::Duration};

use random::Random;

use crate::Basket;

/// How arrivals follow each other.
#[derive(
    Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum, serde::Serialize, serde::Deserialize,
)]
#[serde(rename_all = "kebab-case")]
pub enum Arrivals {
    /// At equal distances.
    Constant,
    /// At exponentially distributed distances: the arrivals of many independent people.
    Poisson,
}

/// Times of arrivals since the start, ascending.
#[derive(Debug, Clone)]
pub(crate) enum Schedule {
    Constant { rate: f64, next: u64 },
    Poisson { rate: f64, random: Random, at: f64 },
    Recorded { baskets: Arc<[Basket]>, per_request: usize, speed: f64, next: usize },
}

impl Schedule {
    /// `rate` arrivals a second, without end.
    pub(crate) fn new(arrivals: Arrivals, rate: f64, seed: u64) -> Self {
        match arrivals {
            Arrivals::Constant => Self::Constant { rate, next: 0 },
            Arrivals::Poisson => {
                // Not the stream of any request: those count from 0.
                Self::Poisson { rate, random: Random::stream(seed, u64::MAX), at: 0.0 }
            }
        }
    }

    /// The times of a recording at `speed` times its own pace, one arrival for each `per_request`
    /// purchases, at the time of the first of them.
    pub(crate) fn recorded(baskets: Arc<[Basket]>, per_request: usize, speed: f64) -> Self {
        Self::Recorded { baskets, per_request, speed, next: 0 }
    }
}

impl Iterator for Schedule {
    type Item = Duration;

    fn next(&mut self) -> Option<Duration> {
        match self {
            Self::Constant { rate, next } => {
                // From the number, not by adding up: errors would add up too.
                let at = *next as f64 / *rate;
                *next += 1;
                Duration::try_from_secs_f64(at).ok()
            }
            Self::Poisson { rate, random, at } => {
                *at += -(1.0 - random.unit()).ln() / *rate;
                Duration::try_from_secs_f64(*at).ok()
            }
            Self::Recorded { baskets, per_request, speed, next } => {
                let first = baskets.first()?.occurred_at?;
                let here = baskets.get(*next)?.occurred_at?;
                *next += *per_request;
                Duration::try_from_secs_f64(here.since(first).as_secs_f64() / *speed).ok()
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use model::{CustomerId, StoreId};

    use super::*;

    #[test]
    fn constant_arrivals_do_not_drift() {
        let rate = 333.0;
        let at = Schedule::new(Arrivals::Constant, rate, 1).nth(333 * 3600).unwrap();
        assert_eq!(at, Duration::from_hours(1));
        let times: Vec<_> = Schedule::new(Arrivals::Constant, 4.0, 1).take(5).collect();
        assert_eq!(times, [0, 250, 500, 750, 1000].map(Duration::from_millis));
    }

    #[test]
    fn poisson_arrivals_have_the_rate_and_the_spread_of_the_law() {
        let (rate, count) = (1000.0, 100_000);
        let times: Vec<f64> = Schedule::new(Arrivals::Poisson, rate, 5)
            .take(count)
            .map(|at| at.as_secs_f64())
            .collect();
        assert!(times.is_sorted());
        let last = times[count - 1];
        assert!((last - 100.0).abs() < 2.0, "{last}");
        // The number in each second is Poisson distributed: its variance is its mean.
        let mut seconds = vec![0.0_f64; 90];
        for at in times {
            if let Some(second) = seconds.get_mut(at as usize) {
                *second += 1.0;
            }
        }
        let mean = seconds.iter().sum::<f64>() / 90.0;
        let variance = seconds.iter().map(|n| (n - mean).powi(2)).sum::<f64>() / 89.0;
        assert!((0.6..1.5).contains(&(variance / mean)), "{}", variance / mean);
        // A share of 1 - 1/e of the distances is below the mean distance.
        let again: Vec<_> = Schedule::new(Arrivals::Poisson, rate, 5).take(count).collect();
        let mean = Duration::from_secs_f64(1.0 / rate);
        let short = again.windows(2).filter(|pair| pair[1] < pair[0] + mean).count();
        let share = short as f64 / count as f64;
        assert!((share - 0.632).abs() < 0.01, "{share}");
    }

    #[test]
    fn recorded_arrivals_keep_their_distances() {
        let basket = |second: i64| Basket {
            store: StoreId(1),
            customer: CustomerId(1),
            date: "20170101".parse().unwrap(),
            occurred_at: model::Timestamp::from_millis(1_483_228_800_000 + second * 1000),
            key: String::new(),
            lines: Vec::new(),
        };
        let baskets: Arc<[Basket]> = [0, 10, 10, 60, 600].map(basket).into();
        let times = |per_request, speed| -> Vec<f64> {
            Schedule::recorded(Arc::clone(&baskets), per_request, speed)
                .map(|at| at.as_secs_f64())
                .collect()
        };
        assert_eq!(times(1, 10.0), [0.0, 1.0, 1.0, 6.0, 60.0]);
        assert_eq!(times(2, 1.0), [0.0, 10.0, 600.0]);
    }
}
