//! What one thread has measured.

use std::{
    collections::BTreeMap,
    time::{Duration, Instant},
};

use hdrhistogram::Histogram;

use super::{
    CsvBuffer, Kind, Outcome,
    generator::{self, ThreadUse},
};

/// An arrival sent later than this after it was due is late.
pub(crate) const LATE: Duration = Duration::from_millis(10);

/// A histogram of nanoseconds, up to an hour, to three digits.
pub(crate) fn histogram() -> Histogram<u64> {
    Histogram::new_with_bounds(100, 3_600_000_000_000, 3).expect("the bounds are sound")
}

pub(crate) fn nanoseconds(duration: Duration) -> u64 {
    u64::try_from(duration.as_nanos()).unwrap_or(u64::MAX)
}

/// A request that has ended.
#[derive(Debug, Clone)]
pub(crate) struct Sample {
    pub(crate) kind: Kind,
    /// When it was to be sent: response times count from here.
    pub(crate) due: Instant,
    /// When it was sent.
    pub(crate) sent: Instant,
    pub(crate) ended: Instant,
    pub(crate) outcome: Outcome,
    /// Of the answer; 0 if there was none.
    pub(crate) status: u16,
    /// What went wrong, in words.
    pub(crate) message: String,
}

/// Requests of one type.
#[derive(Debug, Clone)]
pub(crate) struct KindRecord {
    pub(crate) successful: u64,
    /// Of those, the ones that ended before the window did.
    pub(crate) in_time: u64,
    pub(crate) refused: u64,
    pub(crate) failed: u64,
    /// Nanoseconds; of the outcomes that count.
    pub(crate) latencies: Histogram<u64>,
}

impl KindRecord {
    fn new() -> Self {
        Self { successful: 0, in_time: 0, refused: 0, failed: 0, latencies: histogram() }
    }

    fn record(&mut self, outcome: Outcome, latency: Duration, in_time: bool) {
        if outcome.is_success() {
            self.successful += 1;
            self.in_time += u64::from(in_time);
        } else if outcome.is_refused() {
            self.refused += 1;
        } else {
            self.failed += 1;
        }
        if outcome.counts_in_latency() {
            self.latencies.saturating_record(nanoseconds(latency));
        }
    }

    fn add(&mut self, other: &Self) {
        self.successful += other.successful;
        self.in_time += other.in_time;
        self.refused += other.refused;
        self.failed += other.failed;
        self.latencies.add(&other.latencies).expect("both have the same bounds");
    }
}

/// Requests by type.
#[derive(Debug, Clone, Default)]
pub(crate) struct ByKind(BTreeMap<Kind, KindRecord>);

impl ByKind {
    /// `in_time`: whether it ended before the window did.
    pub(crate) fn record(
        &mut self,
        kind: Kind,
        outcome: Outcome,
        latency: Duration,
        in_time: bool,
    ) {
        self.0.entry(kind).or_insert_with(KindRecord::new).record(outcome, latency, in_time);
    }

    pub(crate) fn add(&mut self, other: &Self) {
        for (kind, record) in &other.0 {
            self.0.entry(*kind).or_insert_with(KindRecord::new).add(record);
        }
    }

    pub(crate) fn iter(&self) -> impl Iterator<Item = (Kind, &KindRecord)> {
        self.0.iter().map(|(kind, record)| (*kind, record))
    }

    /// Successes of the types that `scope` has that ended before the window did.
    pub(crate) fn in_time(&self, scope: impl Fn(Kind) -> bool) -> u64 {
        self.iter().filter(|(kind, _)| scope(*kind)).map(|(_, record)| record.in_time).sum()
    }

    /// Response times of the types that `scope` has, together.
    pub(crate) fn latencies(&self, scope: impl Fn(Kind) -> bool) -> Histogram<u64> {
        let mut all = histogram();
        for (_, record) in self.iter().filter(|(kind, _)| scope(*kind)) {
            all.add(&record.latencies).expect("both have the same bounds");
        }
        all
    }
}

/// What one thread has measured in one interval.
#[derive(Debug, Clone, Default)]
pub(crate) struct Interval {
    /// Number of the interval, from 0.
    pub(crate) index: u64,
    pub(crate) kinds: ByKind,
    /// CPU time of the thread.
    pub(crate) cpu: Duration,
    /// How long it was: shorter than the others if the thread ended in it.
    pub(crate) length: Duration,
}

impl Interval {
    /// Adds what another thread has measured at the same time.
    pub(crate) fn add(&mut self, other: &Self) {
        self.kinds.add(&other.kinds);
        self.cpu += other.cpu;
        self.length = self.length.max(other.length);
    }

    /// Adds the interval that follows.
    pub(crate) fn extend(&mut self, next: &Self) {
        let length = self.length + next.length;
        self.add(next);
        self.length = length;
    }
}

/// How often something happened, how long it took, and how it was described the first time.
#[derive(Debug, Clone, Default)]
pub(crate) struct Happened {
    pub(crate) count: u64,
    /// All of them together.
    pub(crate) time: Duration,
    pub(crate) longest: Duration,
    pub(crate) first: String,
}

impl Happened {
    pub(crate) fn mean(&self) -> Duration {
        self.time.div_f64((self.count as f64).max(1.0))
    }

    /// Adds what happened elsewhere.
    pub(crate) fn add(&mut self, other: Self) {
        if self.count == 0 {
            self.first = other.first;
        }
        self.count += other.count;
        self.time += other.time;
        self.longest = self.longest.max(other.longest);
    }
}

/// What happened that was no success.
pub(crate) type Outcomes = BTreeMap<(Kind, Outcome), Happened>;

/// What one thread has measured besides its intervals.
#[derive(Debug)]
pub(crate) struct Rest {
    /// All that was no success.
    pub(crate) outcomes: Outcomes,
    /// Nanoseconds from when arrivals were due until they were sent.
    pub(crate) send_delays: Histogram<u64>,
    /// Nanoseconds by which a timer of the thread was late.
    pub(crate) loop_delays: Histogram<u64>,
    pub(crate) late: u64,
    /// Arrivals not sent when the run ended.
    pub(crate) unsent: u64,
    /// What the thread had of the cores in the window, without the time in which it waited for what was under way
    /// at its end.
    pub(crate) used: ThreadUse,
    /// How long that was.
    pub(crate) elapsed: Duration,
    /// When the last answer to a measured request came.
    pub(crate) last: Option<Instant>,
    /// How long the thread had to wait for the CSV file.
    pub(crate) csv_wait: Duration,
}

impl Rest {
    /// Share of the time in which the thread had something to do, whether or not it had a core for it.
    pub(crate) fn busy(&self) -> f64 {
        (self.used.cpu + self.used.waited).as_secs_f64() / self.elapsed.as_secs_f64().max(1e-3)
    }

    /// Share of the time in which it had something to do, and no core.
    pub(crate) fn waiting(&self) -> f64 {
        self.used.waited.as_secs_f64() / self.elapsed.as_secs_f64().max(1e-3)
    }
}

/// The time in which requests are measured.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Window {
    pub(crate) begin: Instant,
    /// `None`: until the requests end.
    pub(crate) end: Option<Instant>,
    pub(crate) interval: Duration,
}

impl Window {
    fn index(&self, at: Instant) -> u64 {
        let elapsed = at.saturating_duration_since(self.begin).as_nanos();
        u64::try_from(elapsed / self.interval.as_nanos().max(1)).unwrap_or(u64::MAX)
    }

    pub(crate) fn is_over(&self, now: Instant) -> bool {
        self.end.is_some_and(|end| now >= end)
    }
}

/// Measures the requests of one thread.
pub(crate) struct Recorder {
    window: Window,
    current: Interval,
    /// CPU time of the thread when the current interval began.
    cpu: Duration,
    /// What the thread had used when the window began, or when the first request of it ended after a warm-up.
    first: ThreadUse,
    /// Whether requests of the warm-up were the last to end.
    warming_up: bool,
    /// Whether the window has ended, at its time or with the run.
    closed: bool,
    intervals: Box<dyn Fn(Option<Interval>)>,
    csv: Option<CsvBuffer>,
    rest: Rest,
}

impl Recorder {
    /// Intervals go to `intervals`, in order and without gaps, and `None` after the last.
    pub(crate) fn new(
        window: Window,
        intervals: Box<dyn Fn(Option<Interval>)>,
        csv: Option<CsvBuffer>,
    ) -> Self {
        let rest = Rest {
            outcomes: Outcomes::new(),
            send_delays: histogram(),
            loop_delays: histogram(),
            late: 0,
            unsent: 0,
            used: ThreadUse::default(),
            elapsed: Duration::ZERO,
            last: None,
            csv_wait: Duration::ZERO,
        };
        Self {
            window,
            current: Interval::default(),
            cpu: generator::thread_cpu(),
            first: ThreadUse::now(),
            warming_up: false,
            closed: false,
            intervals,
            csv,
            rest,
        }
    }

    /// Takes a request down, if it was due while requests are measured.
    pub(crate) fn record(&mut self, sample: Sample) {
        if sample.due < self.window.begin {
            return;
        }
        self.roll(sample.ended);
        let latency = sample.ended - sample.due;
        let delay = sample.sent - sample.due;
        let in_time = !self.closed && !self.window.is_over(sample.ended);
        self.current.kinds.record(sample.kind, sample.outcome, latency, in_time);
        self.rest.send_delays.saturating_record(nanoseconds(delay));
        self.rest.late += u64::from(delay > LATE);
        self.rest.last = self.rest.last.max(Some(sample.ended));
        if let Some(csv) = &mut self.csv {
            csv.line(sample.due, sample.kind, latency, sample.status);
        }
        if !sample.outcome.is_success() {
            let happened = self.rest.outcomes.entry((sample.kind, sample.outcome)).or_default();
            let (time, first) = (latency, sample.message);
            happened.add(Happened { count: 1, time, longest: time, first });
        }
    }

    /// Notes an arrival that was never sent.
    pub(crate) fn unsent(&mut self, due: Instant) {
        self.rest.unsent += u64::from(due >= self.window.begin);
    }

    /// Notes by how much a timer was late.
    pub(crate) fn timer(&mut self, due: Instant, now: Instant) {
        if due >= self.window.begin && !self.window.is_over(due) {
            self.rest.loop_delays.saturating_record(nanoseconds(now - due));
        }
        self.roll(now);
    }

    /// Hands over the intervals that have ended by `now`.
    fn roll(&mut self, now: Instant) {
        if now < self.window.begin {
            self.cpu = generator::thread_cpu();
            self.warming_up = true;
            return;
        }
        if std::mem::take(&mut self.warming_up) {
            self.first = ThreadUse::now();
        }
        while self.window.index(now) > self.current.index {
            self.hand_over(self.window.interval);
        }
    }

    fn hand_over(&mut self, length: Duration) {
        let cpu = generator::thread_cpu();
        let next = Interval { index: self.current.index + 1, ..Interval::default() };
        let mut ended = std::mem::replace(&mut self.current, next);
        ended.length = length;
        ended.cpu = cpu.saturating_sub(self.cpu);
        self.cpu = cpu;
        (self.intervals)(Some(ended));
        // So that somebody who looks at the file sees what there is.
        if let Some(csv) = &mut self.csv {
            csv.hand_over();
        }
    }

    /// Ends the window at `now`, unless it has ended: what comes after it is only waited for.
    pub(crate) fn close(&mut self, now: Instant) {
        if !self.closed {
            self.closed = true;
            self.rest.used = ThreadUse::now().since(self.first);
            self.rest.elapsed = now.saturating_duration_since(self.window.begin);
        }
    }

    /// Hands over what is left. `stopped`: whether the run was ended before its time.
    pub(crate) fn finish(mut self, stopped: bool) -> Rest {
        let now = Instant::now();
        self.roll(now);
        self.close(now);
        // A thread may have nothing more to send a while before the window ends, and that time is measured too.
        let end = self.window.end.filter(|_| !stopped).map_or(now, |end| end.max(now));
        let before = self.window.interval.as_nanos() * u128::from(self.current.index);
        let before = Duration::from_nanos(u64::try_from(before).unwrap_or(u64::MAX));
        let length = end.saturating_duration_since(self.window.begin).saturating_sub(before);
        self.hand_over(length.min(self.window.interval));
        (self.intervals)(None);
        if let Some(csv) = self.csv {
            self.rest.csv_wait = csv.finish();
        }
        self.rest
    }
}

#[cfg(test)]
mod tests {
    use std::{cell::RefCell, rc::Rc};

    use super::*;

    /// A recorder whose window begins now, and the lengths of the intervals that it hands over.
    fn recorder(length: Duration) -> (Recorder, Rc<RefCell<Vec<Duration>>>) {
        let begin = Instant::now();
        let window =
            Window { begin, end: Some(begin + length), interval: Duration::from_secs(1000) };
        let lengths: Rc<RefCell<Vec<_>>> = Rc::default();
        let kept = Rc::clone(&lengths);
        let intervals = move |interval: Option<Interval>| {
            kept.borrow_mut().extend(interval.map(|interval| interval.length));
        };
        (Recorder::new(window, Box::new(intervals), None), lengths)
    }

    fn use_cpu(time: Duration) {
        let until = generator::thread_cpu() + time;
        while generator::thread_cpu() < until {}
    }

    #[test]
    fn what_comes_after_the_window_does_not_make_a_thread_less_busy() {
        let length = Duration::from_millis(5);
        let (mut recorder, _) = recorder(length);
        use_cpu(length);
        recorder.close(recorder.window.begin + length);
        let busy = recorder.rest.busy();
        assert!(busy >= 1.0, "{busy}");
        use_cpu(length);
        recorder.close(Instant::now());
        let rest = recorder.finish(false);
        assert_eq!(rest.elapsed, length);
        assert!((rest.busy() - busy).abs() < f64::EPSILON);
    }

    #[test]
    fn the_last_interval_lasts_until_the_window_ends_or_the_run() {
        let length = Duration::from_secs(100);
        let (ended, lengths) = recorder(length);
        ended.finish(false);
        assert_eq!(*lengths.borrow(), [length]);
        let (stopped, lengths) = recorder(length);
        stopped.finish(true);
        assert!(lengths.borrow()[0] < length);
    }
}
