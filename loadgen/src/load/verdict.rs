//! Whether the figures are of the server, or of the generator.

use super::{
    ArrivalSummary, KindTotals, Outcome, OwnSummary, Severity, Verdict, recorder::Outcomes,
};

/// Share of a core, or of the cores, from which on there is no more to be had.
const SATURATED: f64 = 0.9;
/// Share of the machine's cores from which on everything on it waits for everything else.
const MACHINE_SATURATED: f64 = 0.95;
/// Share of the 99th percentile that may come from the generator's own delays.
const DELAY_SHARE: f64 = 0.25;
/// Delays below this are the resolution of timers, in ms.
const TIMER_RESOLUTION: f64 = 2.0;
/// Share of the arrivals that may be dropped or late.
const MISSED: f64 = 0.01;
/// Share of the threads' time that may be spent on waiting for the CSV file.
const CSV_WAIT: f64 = 0.01;

/// Everything there is to know about the figures, the worst first.
pub(crate) fn verdicts(
    own: &OwnSummary,
    total: &KindTotals,
    arrivals: Option<&ArrivalSummary>,
    outcomes: &Outcomes,
    wall_seconds: f64,
) -> Vec<Verdict> {
    let bad = [
        without_success(total),
        not_sent(outcomes),
        saturated(own),
        missed(arrivals),
        waited_for_csv(own, wall_seconds),
    ];
    let notes =
        [delayed(own, total), slow_failures(outcomes, total), waited(arrivals), shared(own)];
    let with = |severity| move |text| Verdict { severity, text };
    let bad = bad.into_iter().flatten().map(with(Severity::Bad));
    let mut verdicts: Vec<_> =
        bad.chain(notes.into_iter().flatten().map(with(Severity::Note))).collect();
    if verdicts.is_empty() {
        verdicts.push(Verdict { severity: Severity::Good, text: room(own) });
    }
    verdicts
}

fn without_success(total: &KindTotals) -> Option<String> {
    if total.requests() == 0 {
        return Some("No request ended while requests were measured.".to_owned());
    }
    (total.successful == 0).then(|| {
        format!(
            "No request was successful: {} failed, {} were refused.",
            total.failed, total.refused
        )
    })
}

/// Requests for which the generator had no connection to give.
fn not_sent(outcomes: &Outcomes) -> Option<String> {
    let own = outcomes.iter().filter(|((_, outcome), _)| *outcome == Outcome::OwnLimit);
    let count: u64 = own.map(|(_, happened)| happened.count).sum();
    (count > 0).then(|| {
        format!(
            "{count} requests were never sent, for the generator had no open files or ports left: figures are of the \
             generator, not the server. Fewer --clients need fewer."
        )
    })
}

/// Failures that took longer than nearly all that is in the response times, which leave them out.
fn slow_failures(outcomes: &Outcomes, total: &KindTotals) -> Option<String> {
    let left_out = outcomes.iter().filter(|((_, outcome), _)| !outcome.counts_in_latency());
    let ((_, outcome), slowest) = left_out.max_by_key(|(_, happened)| happened.mean())?;
    let mean = slowest.mean().as_secs_f64() * 1000.0;
    (total.latency.count > 0 && mean > total.latency.p99).then(|| {
        format!(
            "Response times leave failures out, and these took long: what ended as '{outcome}' took {mean:.0} ms on \
             average and {:.0} ms at most, beside a p99 of {:.1} ms.",
            slowest.longest.as_secs_f64() * 1000.0,
            total.latency.p99
        )
    })
}

fn percent(share: f64) -> String {
    format!("{:.0} %", share * 100.0)
}

fn cores(own: &OwnSummary) -> String {
    if own.cores == 1 { "its core".to_owned() } else { format!("its {} cores", own.cores) }
}

fn saturated(own: &OwnSummary) -> Option<String> {
    if own.cpu_share > SATURATED {
        return Some(format!(
            "The generator used {} of {}: figures are of the generator, not the server.",
            percent(own.cpu_share),
            cores(own)
        ));
    }
    (own.busiest_thread > SATURATED).then(|| {
        let waited = own.busiest_waited.unwrap_or(0.0);
        let advice = if own.busiest_thread - waited <= SATURATED {
            " It did not get the cores that it needed: give it a machine of its own."
        } else if own.threads < own.cores {
            " Give it more --threads."
        } else {
            ""
        };
        format!(
            "The busiest thread of the generator had something to do {}: figures are of the generator, not the \
             server alone.{advice}",
            busiest(own)
        )
    })
}

/// How busy the busiest thread was, in words.
pub fn busiest(own: &OwnSummary) -> String {
    let busy = percent(own.busiest_thread);
    match own.busiest_waited {
        Some(waited) if waited >= 0.005 => {
            format!(
                "{busy} of the time, {} of that without a core for it",
                percent(waited / own.busiest_thread)
            )
        }
        _ => format!("{busy} of the time"),
    }
}

fn missed(arrivals: Option<&ArrivalSummary>) -> Option<String> {
    let arrivals = arrivals?;
    let share = |count: u64| count as f64 / (arrivals.due as f64).max(1.0);
    if share(arrivals.dropped) > MISSED {
        return Some(format!(
            "The rate was not reached: {} of {} arrivals were never sent. Nothing is known about how \
             long they would have taken.",
            arrivals.dropped, arrivals.due
        ));
    }
    (arrivals.clock_p99 > TIMER_RESOLUTION && share(arrivals.late) > MISSED).then(|| {
        format!(
            "The generator's own clock was late: 1 % of the arrivals came {:.1} ms after they were due, \
             or later. Response times contain that.",
            arrivals.clock_p99
        )
    })
}

/// Arrivals that waited for a client: either the server was slower than the rate, or the clients were too few.
fn waited(arrivals: Option<&ArrivalSummary>) -> Option<String> {
    let arrivals = arrivals.filter(|arrivals| arrivals.clock_p99 <= TIMER_RESOLUTION)?;
    let share = arrivals.late as f64 / (arrivals.due as f64).max(1.0);
    (share > MISSED).then(|| {
        format!(
            "{} of the arrivals waited for a client to be free (99 of 100 at most {:.0} ms), and response times \
             contain that: the server does not keep up with the rate, or more --clients are needed for it.",
            percent(share),
            arrivals.delay_p99
        )
    })
}

fn waited_for_csv(own: &OwnSummary, wall_seconds: f64) -> Option<String> {
    let share = own.csv_wait_seconds / (wall_seconds * own.threads as f64).max(f64::EPSILON);
    (share > CSV_WAIT).then(|| {
        format!(
            "Writing the CSV file held the generator up for {:.1} s ({} of its time): response times \
             contain that.",
            own.csv_wait_seconds,
            percent(share)
        )
    })
}

/// Timers that were late, where that matters beside the response times.
pub(crate) fn delayed(own: &OwnSummary, total: &KindTotals) -> Option<String> {
    let large = own.timer_p99 > TIMER_RESOLUTION
        && own.timer_p99 > total.latency.p99 * DELAY_SHARE
        && total.latency.count > 0;
    large.then(|| {
        format!(
            "Timers of the generator were late by {:.1} ms in 1 of 100 cases (at most {:.1} ms): that \
             much of the response times may be its own.",
            own.timer_p99, own.timer_max
        )
    })
}

/// A machine that had no time left.
pub(crate) fn shared(own: &OwnSummary) -> Option<String> {
    let machine = own.machine_share.filter(|&share| share > MACHINE_SATURATED)?;
    Some(if own.shared_machine {
        format!(
            "Generator and server share a machine whose cores were busy {} of the time; the generator took \
             {} of them. With a machine of its own, the server would have done more.",
            percent(machine),
            percent(own.cpu_share)
        )
    } else {
        format!(
            "The cores of the generator's machine were busy {} of the time, {} with the generator: \
             something else runs there.",
            percent(machine),
            percent(own.cpu_share)
        )
    })
}

fn room(own: &OwnSummary) -> String {
    format!(
        "The generator was not the limit: it used {} of {}, its busiest thread had something to do {}, and 99 of 100 \
         timers were at most {:.1} ms late.",
        percent(own.cpu_share),
        cores(own),
        busiest(own),
        own.timer_p99
    )
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;
    use crate::load::{Kind, Latency, recorder::Happened};

    fn own() -> OwnSummary {
        OwnSummary {
            cores: 2,
            threads: 2,
            cpu_share: 0.4,
            busiest_thread: 0.5,
            ..OwnSummary::default()
        }
    }

    fn total() -> KindTotals {
        let latency = Latency { count: 10, p99: 8.0, ..Latency::default() };
        KindTotals { successful: 10, refused: 0, failed: 0, latency }
    }

    fn said(own: &OwnSummary) -> (Severity, String) {
        let verdict = verdicts(own, &total(), None, &Outcomes::new(), 10.0).remove(0);
        (verdict.severity, verdict.text)
    }

    #[test]
    fn a_generator_with_room_is_not_suspected() {
        let (severity, text) = said(&own());
        assert_eq!(severity, Severity::Good);
        assert!(text.contains("40 % of its 2 cores"), "{text}");
    }

    #[test]
    fn a_generator_at_its_limit_says_so() {
        let (severity, text) = said(&OwnSummary { cpu_share: 0.97, ..own() });
        assert_eq!(severity, Severity::Bad);
        assert!(text.contains("97 % of its 2 cores: figures are of the generator"), "{text}");
        let (severity, text) = said(&OwnSummary { threads: 1, busiest_thread: 0.96, ..own() });
        assert_eq!(severity, Severity::Bad);
        assert!(text.contains("96 % of the time:") && text.contains("--threads"), "{text}");
        let starved = OwnSummary { busiest_thread: 0.96, busiest_waited: Some(0.48), ..own() };
        let (severity, text) = said(&starved);
        assert_eq!(severity, Severity::Bad);
        assert!(
            text.contains("50 % of that without a core") && text.contains("did not get"),
            "{text}"
        );
    }

    #[test]
    fn delays_of_the_generator_are_held_against_the_response_times() {
        let (severity, text) = said(&OwnSummary { timer_p99: 5.0, timer_max: 9.0, ..own() });
        assert_eq!(severity, Severity::Note);
        assert!(text.contains("5.0 ms in 1 of 100"), "{text}");
        assert_eq!(said(&OwnSummary { timer_p99: 1.1, ..own() }).0, Severity::Good);
        assert_eq!(said(&OwnSummary { csv_wait_seconds: 1.0, ..own() }).0, Severity::Bad);
    }

    #[test]
    fn a_busy_machine_is_named() {
        let busy = OwnSummary { machine_share: Some(0.99), shared_machine: true, ..own() };
        assert!(said(&busy).1.contains("the generator took 40 % of them"));
        let remote = OwnSummary { shared_machine: false, ..busy };
        assert!(said(&remote).1.contains("something else runs there"));
    }

    fn said_with(outcome: Outcome, milliseconds: u64, total: &KindTotals) -> (Severity, String) {
        let time = Duration::from_millis(milliseconds);
        let happened = Happened { count: 2, time: time * 2, longest: time, first: String::new() };
        let outcomes = Outcomes::from([((Kind::StoreItems, outcome), happened)]);
        let verdict = verdicts(&own(), total, None, &outcomes, 10.0).remove(0);
        (verdict.severity, verdict.text)
    }

    #[test]
    fn a_run_without_a_success_says_so_first() {
        let none = KindTotals { successful: 0, failed: 2, latency: Latency::default(), ..total() };
        let (severity, text) = said_with(Outcome::Connect, 1, &none);
        assert_eq!(severity, Severity::Bad);
        assert!(text.contains("No request was successful: 2 failed"), "{text}");
    }

    #[test]
    fn what_the_generator_could_not_send_is_not_held_against_the_server() {
        let (severity, text) = said_with(Outcome::OwnLimit, 1, &total());
        assert_eq!(severity, Severity::Bad);
        assert!(text.contains("2 requests were never sent"), "{text}");
    }

    #[test]
    fn failures_that_take_longer_than_what_is_measured_are_told() {
        let (severity, text) = said_with(Outcome::Reset, 3000, &total());
        assert_eq!(severity, Severity::Note);
        assert!(text.contains("'reset' took 3000 ms"), "{text}");
        assert_eq!(said_with(Outcome::Reset, 7, &total()).0, Severity::Good);
        assert_eq!(said_with(Outcome::TimeOut, 3000, &total()).0, Severity::Good, "it is in them");
    }

    fn arrivals() -> ArrivalSummary {
        ArrivalSummary {
            due: 1000,
            late: 0,
            dropped: 0,
            delay_p99: 0.0,
            delay_max: 0.0,
            clock_p99: 0.0,
            clock_max: 0.0,
        }
    }

    fn said_of(arrivals: &ArrivalSummary) -> (Severity, String) {
        let outcomes = Outcomes::new();
        let verdict = verdicts(&own(), &total(), Some(arrivals), &outcomes, 10.0).remove(0);
        (verdict.severity, verdict.text)
    }

    #[test]
    fn arrivals_never_sent_are_no_success_of_the_server() {
        assert_eq!(said_of(&arrivals()).0, Severity::Good);
        let (severity, text) = said_of(&ArrivalSummary { dropped: 20, ..arrivals() });
        assert_eq!(severity, Severity::Bad);
        assert!(text.contains("20 of 1000"), "{text}");
    }

    #[test]
    fn arrivals_that_waited_for_a_client_are_told() {
        let late = ArrivalSummary { late: 900, delay_p99: 3000.0, ..arrivals() };
        let (severity, text) = said_of(&late);
        assert_eq!(severity, Severity::Note);
        assert!(text.contains("90 %") && text.contains("--clients"), "{text}");
        let (severity, text) = said_of(&ArrivalSummary { clock_p99: 30.0, ..late });
        assert_eq!(severity, Severity::Bad);
        assert!(text.contains("own clock"), "{text}");
    }
}
