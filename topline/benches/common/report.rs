//! Numbers, and the tables they are shown in.

use std::{fs, time::Duration};

use model::Timestamp;

/// Prints what is measured, and on what.
pub(crate) fn title(title: &str) {
    let cpus = fs::read_to_string("/proc/cpuinfo").unwrap_or_default();
    let model = cpus
        .lines()
        .find_map(|line| line.strip_prefix("model name")?.split_once(": "))
        .map_or("unknown CPU", |(_, model)| model);
    let cores = std::thread::available_parallelism().map_or(1, std::num::NonZero::get);
    let kernel = fs::read_to_string("/proc/sys/kernel/osrelease").unwrap_or_default();
    let (now, kernel) = (Timestamp::now(), kernel.trim());
    println!("\n## {title}\n\n{cores} × {model}, Linux {kernel}, {now}\n");
}

/// A Markdown table; rows show as they come.
pub(crate) struct Table(usize);

impl Table {
    /// Numbers stand to the right; the first column is a name.
    pub(crate) fn new(columns: &[&str]) -> Self {
        println!("| {} |\n|---{}|", columns.join(" | "), "|---:".repeat(columns.len() - 1));
        Self(columns.len())
    }

    pub(crate) fn row(&self, cells: &[String]) {
        assert_eq!(cells.len(), self.0, "a cell for each column");
        println!("| {} |", cells.join(" | "));
    }
}

/// A whole number with its thousands apart.
pub(crate) fn count(number: f64) -> String {
    let digits = format!("{number:.0}");
    let mut text = String::new();
    for (at, digit) in digits.char_indices() {
        if at > 0 && (digits.len() - at).is_multiple_of(3) {
            text.push(',');
        }
        text.push(digit);
    }
    text
}

/// Milliseconds, with two places.
pub(crate) fn millis(time: Duration) -> String {
    format!("{:.2} ms", time.as_secs_f64() * 1e3)
}

/// Megabytes of 1,000,000 bytes.
pub(crate) fn megabytes(bytes: u64) -> String {
    format!("{} MB", count(bytes as f64 / 1e6))
}

/// The value in the middle.
pub(crate) fn median(values: impl IntoIterator<Item = f64>) -> f64 {
    let mut values: Vec<_> = values.into_iter().collect();
    values.sort_by(f64::total_cmp);
    values[values.len() / 2]
}

/// Times taken, all of them kept, in microseconds.
#[derive(Debug, Clone, Default)]
pub(crate) struct Latencies {
    micros: Vec<u32>,
    sorted: bool,
}

impl Latencies {
    pub(crate) fn record(&mut self, time: Duration) {
        self.micros.push(u32::try_from(time.as_micros()).unwrap_or(u32::MAX));
        self.sorted = false;
    }

    pub(crate) fn merge(&mut self, other: &Self) {
        self.micros.extend_from_slice(&other.micros);
        self.sorted = false;
    }

    pub(crate) fn len(&self) -> usize {
        self.micros.len()
    }

    /// The time that `share` of all took at most; 1 gives the longest.
    ///
    /// # Panics
    /// If nothing was recorded.
    pub(crate) fn quantile(&mut self, share: f64) -> Duration {
        assert!(!self.micros.is_empty(), "nothing was measured: give it more time");
        if !self.sorted {
            self.micros.sort_unstable();
            self.sorted = true;
        }
        let rank = (share * self.micros.len() as f64).ceil() as usize;
        Duration::from_micros(self.micros[rank.clamp(1, self.micros.len()) - 1].into())
    }
}
