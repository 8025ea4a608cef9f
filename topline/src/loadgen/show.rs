//! What a run has measured, on standard output.

use comfy_table::{CellAlignment, Table};
use indicatif::HumanCount;
use loadgen::load::{ArrivalSummary, OwnSummary, Summary, VerificationSummary, busiest};

use crate::terminal::say;

/// A line under the header and no others.
const TABLE_STYLE: &str = "     ──            ";

/// Shows what was measured.
pub(super) fn summary(summary: &Summary) {
    let total = &summary.total;
    say(format_args!(
        "\n{} successful, {} unsuccessful requests in {:.1} s: {:.1} successful requests/s{}",
        HumanCount(total.successful),
        HumanCount(total.unsuccessful()),
        summary.wall_seconds,
        summary.throughput,
        if summary.ended_early { " (ended early)" } else { "" },
    ));
    say(format_args!("\n{}", latency_table(summary)));
    if !summary.errors.is_empty() {
        say(format_args!("\n{}", error_table(summary)));
    }
    say(format_args!("\n{}", own_line(&summary.own)));
    if let Some(arrivals) = &summary.arrivals {
        say(arrivals_line(arrivals));
    }
    for verdict in &summary.verdicts {
        say(&verdict.text);
    }
    if let Some(found) = &summary.verification {
        verification(found);
    }
    for judged in &summary.thresholds {
        let word = if judged.failed { "HELD" } else { "did not hold" };
        say(format_args!("{word}: {} (measured: {})", judged.condition, judged.measured));
    }
}

fn own_line(own: &OwnSummary) -> String {
    format!(
        "generator: {:.1} s of CPU time, {:.0} % of {} cores; its busiest thread had something to do {}",
        own.cpu_seconds,
        own.cpu_share * 100.0,
        own.cores,
        busiest(own)
    )
}

fn arrivals_line(arrivals: &ArrivalSummary) -> String {
    format!(
        "arrivals: {} due, {} of them sent more than 10 ms late, {} never sent; 99 of 100 waited at most {:.1} ms",
        HumanCount(arrivals.due),
        HumanCount(arrivals.late),
        HumanCount(arrivals.dropped),
        arrivals.delay_p99
    )
}

fn verification(found: &VerificationSummary) {
    for difference in &found.shown {
        say(format_args!("different: {difference}"));
    }
    say(format_args!(
        "compared {} answers with what was acknowledged: {} differences",
        HumanCount(found.answers),
        HumanCount(found.differences)
    ));
    for remark in &found.remarks {
        say(remark);
    }
}

/// A time, or that there is none.
fn milliseconds(time: Option<f64>) -> String {
    time.map_or("–".to_owned(), |time| format!("{time:.2}"))
}

fn table(header: &[&str]) -> Table {
    let mut table = Table::new();
    table.load_preset(TABLE_STYLE);
    table.set_header(header);
    for column in table.column_iter_mut().skip(1) {
        column.set_cell_alignment(CellAlignment::Right);
    }
    table
}

fn latency_table(summary: &Summary) -> Table {
    let mut table = table(&[
        "response times in ms",
        "requests",
        "mean",
        "median",
        "p95",
        "p99",
        "p99.9",
        "max",
    ]);
    let kinds = summary.kinds.iter().map(|kind| (kind.kind.label(), &kind.latency));
    let all = (summary.kinds.len() > 1).then_some(("all", &summary.total.latency));
    for (label, latency) in kinds.chain(all) {
        let cells = [label.to_owned(), HumanCount(latency.count).to_string()];
        let times = latency.figures().map(milliseconds);
        table.add_row(cells.into_iter().chain(times));
    }
    table
}

fn error_table(summary: &Summary) -> Table {
    let mut table =
        table(&["without success", "requests", "mean ms", "longest ms", "of type", "first"]);
    for error in &summary.errors {
        let first: String = error.first.chars().take(60).collect();
        let count = HumanCount(error.count).to_string();
        let [mean, longest] = [error.mean, error.max].map(milliseconds);
        table.add_row([&error.outcome, &count, &mean, &longest, error.kind.label(), &first]);
    }
    table
}
