//! How a run goes, on standard error.

use std::{
    fmt::Write,
    io::IsTerminal,
    time::{Duration, Instant},
};

use indicatif::{HumanCount, ProgressBar, ProgressStyle};
use loadgen::load::{Live, LoadArgs, Stage};

use crate::terminal;

/// How often the progress bar moves.
const TICK: Duration = Duration::from_millis(250);
/// How often a line is written where there is no terminal for a bar.
const LINE_EVERY: Duration = Duration::from_secs(5);

/// Drives `work` and shows how it goes: a bar on a terminal, else a line now and then.
pub(super) async fn watch<T>(live: &Live, args: &LoadArgs, work: impl Future<Output = T>) -> T {
    let mut meter = Meter::new(args);
    let result = terminal::watch(work, TICK, || meter.show(live)).await;
    meter.bar.finish_and_clear();
    result
}

/// Progress on standard error.
struct Meter {
    bar: ProgressBar,
    is_terminal: bool,
    measured: Option<Duration>,
    stage: Option<Stage>,
    /// When the stage began.
    since: Instant,
    last_line: Instant,
    /// Requests a moment ago, for the rate.
    before: (Instant, u64),
    rate: f64,
}

impl Meter {
    fn new(args: &LoadArgs) -> Self {
        let is_terminal = std::io::stderr().is_terminal();
        let bar = if is_terminal { ProgressBar::new(1) } else { ProgressBar::hidden() };
        let style = ProgressStyle::with_template("{prefix} {wide_bar} {msg}");
        bar.set_style(style.expect("the template is well-formed"));
        let now = Instant::now();
        Self {
            bar,
            is_terminal,
            measured: args.measured(),
            stage: None,
            since: now,
            last_line: now,
            before: (now, 0),
            rate: 0.0,
        }
    }

    fn show(&mut self, live: &Live) {
        let now = Instant::now();
        let stage = live.stage();
        if self.stage != Some(stage) {
            self.stage = Some(stage);
            self.since = now;
        }
        let span = now - self.before.0;
        if span >= Duration::from_secs(1) {
            let requests = live.requests();
            self.rate = (requests - self.before.1) as f64 / span.as_secs_f64();
            self.before = (now, requests);
        }
        let (verb, message) = words(stage, self.rate, live);
        if self.is_terminal {
            let (done, all) = self.part(stage, live, now);
            self.bar.set_length(all.max(1));
            self.bar.set_position(done);
            self.bar.set_prefix(verb);
            self.bar.set_message(message);
        } else if now - self.last_line >= LINE_EVERY {
            self.last_line = now;
            terminal::note(format_args!("{verb}: {message}"));
        }
    }

    /// How much of the stage is done, of how much.
    fn part(&self, stage: Stage, live: &Live, now: Instant) -> (u64, u64) {
        match (stage, live.expected(), self.measured) {
            (Stage::Measuring, Some(expected), _) => (live.requests(), expected),
            (Stage::Measuring, None, Some(measured)) => {
                ((now - self.since).as_millis() as u64, measured.as_millis() as u64)
            }
            (Stage::Finishing, ..) => (1, 1),
            _ => (0, 1),
        }
    }
}

/// What is done, and how it goes; `rate`: requests a second.
fn words(stage: Stage, rate: f64, live: &Live) -> (&'static str, String) {
    let verb = match stage {
        Stage::Reading => return ("reading", "the recording".to_owned()),
        Stage::Seeding => {
            return ("seeding", format!("{} purchases", HumanCount(live.seeded())));
        }
        Stage::Verifying => {
            return ("comparing", "the answers with what was acknowledged".to_owned());
        }
        Stage::WarmUp => "warming up",
        Stage::Measuring => "measuring",
        Stage::Finishing => "finishing",
    };
    let rate = HumanCount(rate as u64);
    let mut message = format!("{rate}/s, {} without success", HumanCount(live.unsuccessful()));
    if let Some(p99) = live.p99() {
        let _infallible = write!(message, ", p99 {:.1} ms", p99.as_secs_f64() * 1000.0);
    }
    (verb, message)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_said_is_known() {
        let live = Live::default();
        let warming_up = words(Stage::WarmUp, 1234.0, &live);
        assert_eq!(warming_up, ("warming up", "1,234/s, 0 without success".to_owned()));
        for stage in [Stage::Reading, Stage::Seeding, Stage::Verifying] {
            assert!(!words(stage, 0.0, &live).1.is_empty(), "{stage:?}");
        }
    }
}
