//! The report of one run, for people who were not there.

use std::fmt::Write;

use super::{
    html::{self, Cell, count, escape, ms, ms_or_nothing, page, percent, rate, short, table},
    svg::{Axis, Mark, Plot, Scale, Series},
};
use crate::load::{Latency, Point, Profile, Severity, Summary, busiest};

/// Points of a plot; more are put together.
const PLOTTED: usize = 300;

const SECONDS: Axis = Axis { label: "seconds since measuring began", scale: Scale::Linear };

/// The report of a run as a page that needs nothing else.
pub fn report_html(summary: &Summary) -> String {
    let mut body = String::new();
    body.push_str(&introduction(summary));
    // Where there was no success, that comes first: there are no figures.
    let (tiles, verdicts) = (tiles(summary), verdicts(summary));
    let head = if summary.total.successful == 0 { [verdicts, tiles] } else { [tiles, verdicts] };
    body.extend(head);
    body.push_str(&tables(summary));
    body.push_str(&plots(summary));
    body.push_str(&generator(summary));
    body.push_str(&reading(summary));
    page(&format!("Load test: {}", title(summary)), &body)
}

fn title(summary: &Summary) -> &str {
    if summary.name.is_empty() { summary.profile.name() } else { &summary.name }
}

fn introduction(summary: &Summary) -> String {
    let loop_kind = match (summary.rate, summary.profile) {
        (Some(rate), _) if rate > 0.0 => format!(
            "{} requests a second by a schedule (open loop), over at most {} connections",
            html::rate(rate),
            count(u64::from(summary.clients))
        ),
        (Some(_), _) => format!(
            "requests at the times of a recording, over at most {} connections",
            count(u64::from(summary.clients))
        ),
        (None, _) => format!(
            "{} clients, each of which sends its next request when it has its answer (closed loop)",
            count(u64::from(summary.clients))
        ),
    };
    let early = if summary.ended_early { " The run was ended early." } else { "" };
    format!(
        "<h1>Load test: {}</h1>\n<p class=\"lead\">{} against <b>{}</b>: {loop_kind}. Measured for \
         {:.1} s from {}.{early}</p>\n",
        escape(title(summary)),
        escape(profile(summary.profile)),
        escape(&summary.url),
        summary.wall_seconds,
        escape(&summary.started.replace('T', " ").replace('Z', " UTC")),
    )
}

/// What a profile sends, in words.
pub(super) fn profile(profile: Profile) -> &'static str {
    match profile {
        Profile::ShoppingDay => "A shopping day (one client a store, three phases, purchases only)",
        Profile::GetHeavy => "Queries with a few purchases (get-heavy)",
        Profile::Mixed => "Queries and purchases (mixed)",
        Profile::PostOnly => "Purchases only (post-only)",
        Profile::GetOnly => "Queries only (get-only)",
        Profile::Replay => "Recorded purchases (replay)",
    }
}

fn tiles(summary: &Summary) -> String {
    let total = &summary.total;
    let [_, median, _, p99, ..] = total.latency.figures();
    let time = |ms| format!("{} ms", ms_or_nothing(ms));
    let tiles = [
        (rate(summary.throughput), "successful requests a second"),
        (count(total.successful), "successful requests"),
        (count(total.unsuccessful()), "unsuccessful requests"),
        (time(median), "median response time"),
        (time(p99), "99th percentile"),
        (format!("{:.1} s", summary.wall_seconds), "wall time"),
    ];
    let mut html = String::from("<div class=\"tiles\">\n");
    for (value, label) in tiles {
        let _infallible =
            writeln!(html, "<div class=\"tile\"><b>{value}</b><span>{label}</span></div>");
    }
    html.push_str("</div>\n");
    html
}

/// A statement with its weight.
pub(super) fn say(severity: Severity, text: &str) -> String {
    let (class, mark) = match severity {
        Severity::Good => ("good", "✓"),
        Severity::Note => ("note", "!"),
        Severity::Bad => ("bad", "✗"),
    };
    format!("<p class=\"say {class}\"><b>{mark}</b>{}</p>\n", escape(text))
}

fn verdicts(summary: &Summary) -> String {
    let mut html = String::from("<h2>What to make of it</h2>\n");
    for verdict in &summary.verdicts {
        html.push_str(&say(verdict.severity, &verdict.text));
    }
    for judged in &summary.thresholds {
        let (severity, word) =
            if judged.failed { (Severity::Bad, "HELD") } else { (Severity::Good, "did not hold") };
        let text = format!("{word}: {} (measured: {})", judged.condition, judged.measured);
        html.push_str(&say(severity, &text));
    }
    if let Some(found) = &summary.verification {
        let severity = match (found.failed(), found.remarks.is_empty()) {
            (true, _) => Severity::Bad,
            (false, true) => Severity::Good,
            (false, false) => Severity::Note,
        };
        let mut text = format!(
            "{} answers of the server were compared with an independent count of what it had \
             acknowledged: {} differ.",
            count(found.answers),
            count(found.differences)
        );
        for remark in found.remarks.iter().chain(&found.shown) {
            text.push(' ');
            text.push_str(remark);
        }
        html.push_str(&say(severity, &text));
    }
    html
}

fn tables(summary: &Summary) -> String {
    let mut html = String::from("<h2>Response times in ms</h2>\n");
    let header = short([
        "request",
        "successful",
        "refused",
        "failed",
        "mean",
        "median",
        "p95",
        "p99",
        "p99.9",
        "max",
    ]);
    let row = |label: &str, counts: [u64; 3], latency: &Latency| {
        let label = std::iter::once(label.to_owned());
        short(label.chain(counts.map(count)).chain(latency.figures().map(ms_or_nothing)))
    };
    let mut rows: Vec<_> = summary
        .kinds
        .iter()
        .map(|kind| {
            let counts = [kind.successful, kind.refused, kind.failed];
            row(kind.kind.label(), counts, &kind.latency)
        })
        .collect();
    if rows.len() > 1 {
        let total = &summary.total;
        rows.push(row("all", [total.successful, total.refused, total.failed], &total.latency));
    }
    html.push_str(&table(&header, &rows));
    html.push_str(&errors(summary));
    html.push_str(&arrivals(summary));
    html
}

fn errors(summary: &Summary) -> String {
    if summary.errors.is_empty() {
        return String::new();
    }
    let text = |text: &str| Cell::Text(text.to_owned());
    let mut header = short(["without success", "requests", "mean ms", "longest ms"]);
    header.extend(["of type", "what was said first"].map(text));
    let rows: Vec<_> = summary
        .errors
        .iter()
        .map(|error| {
            let times = [error.mean, error.max].map(ms_or_nothing);
            let names = [error.outcome.clone(), count(error.count)];
            let mut cells = short(names.into_iter().chain(times));
            cells.extend([text(error.kind.label()), text(&error.first)]);
            cells
        })
        .collect();
    format!("<h2>Errors and refusals</h2>\n{}", table(&header, &rows))
}

fn arrivals(summary: &Summary) -> String {
    let Some(arrivals) = &summary.arrivals else { return String::new() };
    let header = short([
        "arrivals due",
        "late",
        "never sent",
        "delay p99",
        "delay max",
        "clock p99",
        "clock max",
    ]);
    let row = short([
        count(arrivals.due),
        count(arrivals.late),
        count(arrivals.dropped),
        ms(arrivals.delay_p99),
        ms(arrivals.delay_max),
        ms(arrivals.clock_p99),
        ms(arrivals.clock_max),
    ]);
    format!(
        "<h2>The schedule</h2>\n{}<p class=\"dim\">Delay: ms from when a request was due until it was \
         sent; it is part of the response times. Late: more than 10 ms. Clock: the part of the delay that \
         is the generator's own.</p>\n",
        table(&header, &[row])
    )
}

fn series(points: &[Point], label: &str, mark: Mark, value: impl Fn(&Point) -> f64) -> Series {
    let mut places: Vec<_> = points.iter().map(|point| (point.at, value(point))).collect();
    // A step lasts until its span ends.
    if let (Mark::Steps, Some(last)) = (mark, points.last()) {
        places.push((last.at + last.seconds, value(last)));
    }
    Series { label: label.to_owned(), mark, points: places }
}

fn plots(summary: &Summary) -> String {
    let size = summary.series.len().div_ceil(PLOTTED).max(1);
    let points: Vec<Point> = summary.series.chunks(size).map(Point::merged).collect();
    let length = points.first().map_or(1.0, |point| point.seconds);
    let each = format!("each point is {length:.0} s");
    let worst = if size > 1 || length > 1.0 {
        format!("{each}, the worst second of them")
    } else {
        each.clone()
    };
    let linear = |label| Axis { label, scale: Scale::Linear };
    let log = |label| Axis { label, scale: Scale::Log };
    let throughput = Plot {
        title: "Throughput over time",
        note: &each,
        x: SECONDS,
        y: linear("requests a second"),
        x_ticks: Vec::new(),
        series: vec![series(&points, "successful", Mark::Steps, |point| {
            point.successful as f64 / point.seconds
        })],
    };
    let latency = Plot {
        title: "Response times over time",
        note: &worst,
        x: SECONDS,
        y: log("ms, logarithmic"),
        x_ticks: Vec::new(),
        series: vec![
            series(&points, "median", Mark::Line, |point| point.median),
            series(&points, "p95", Mark::Line, |point| point.p95),
            series(&points, "p99", Mark::Line, |point| point.p99),
            series(&points, "max", Mark::Line, |point| point.max),
        ],
    };
    let mut html = String::from("<h2>Over time</h2>\n");
    html.push_str(&throughput.draw().figure());
    html.push_str(&latency.draw().figure());
    html.push_str(&errors_over_time(summary, &points, &each));
    html.push_str("<h2>Distribution of the response times</h2>\n");
    html.push_str(&distribution(summary).draw().figure());
    html
}

fn errors_over_time(summary: &Summary, points: &[Point], note: &str) -> String {
    if summary.total.unsuccessful() == 0 {
        return "<p>No request was refused or failed.</p>\n".to_owned();
    }
    let plot = Plot {
        title: "Refusals and errors over time",
        note,
        x: SECONDS,
        y: Axis { label: "requests a second", scale: Scale::Linear },
        x_ticks: Vec::new(),
        series: vec![
            series(points, "refused", Mark::Steps, |point| point.refused as f64 / point.seconds),
            series(points, "failed", Mark::Steps, |point| point.failed as f64 / point.seconds),
        ],
    };
    plot.draw().figure()
}

fn distribution(summary: &Summary) -> Plot<'static> {
    let steps = |label: &str, latency: &Latency| {
        let mut points = Vec::new();
        let mut next = None;
        for bucket in &latency.buckets {
            // Where nothing fell, the steps go down to zero.
            if let Some(next) = next.filter(|&next| next < bucket.from * 0.999) {
                points.push((next, 0.0));
            }
            points.push((bucket.from, 100.0 * bucket.count as f64 / latency.count.max(1) as f64));
            next = Some(bucket.to);
        }
        points.extend(next.map(|end| (end, 0.0)));
        Series { label: label.to_owned(), mark: Mark::Steps, points }
    };
    Plot {
        title: "Share of the requests of each type by response time",
        note: "the response times are on a logarithmic axis",
        x: Axis { label: "ms", scale: Scale::Log },
        y: Axis { label: "% of the requests", scale: Scale::Linear },
        x_ticks: Vec::new(),
        series: summary.kinds.iter().map(|kind| steps(kind.kind.label(), &kind.latency)).collect(),
    }
}

fn generator(summary: &Summary) -> String {
    let own = &summary.own;
    let machine = own.machine_share.map_or("not known".to_owned(), percent);
    let rows = [
        (
            "CPU time",
            format!(
                "{:.1} s, {} of its {} cores",
                own.cpu_seconds,
                percent(own.cpu_share),
                own.cores
            ),
        ),
        ("CPU time of a request", cpu_of_a_request(summary)),
        (
            "busiest of its threads",
            format!("had something to do {}; {} threads", busiest(own), own.threads),
        ),
        ("cores of its machine in use", machine),
        ("server on the same machine", if own.shared_machine { "yes" } else { "no" }.to_owned()),
        ("timers late, p99 and max", format!("{} ms, {} ms", ms(own.timer_p99), ms(own.timer_max))),
        ("waited for the CSV file", format!("{:.1} s", own.csv_wait_seconds)),
    ]
    .map(|(name, value)| vec![Cell::Short(name.to_owned()), Cell::Text(value)]);
    let header = [Cell::Short("what".to_owned()), Cell::Text("how much".to_owned())];
    let mut html = format!("<h2>The generator itself</h2>\n{}", table(&header, &rows));
    let size = summary.series.len().div_ceil(PLOTTED).max(1);
    let points: Vec<Point> = summary.series.chunks(size).map(Point::merged).collect();
    let plot = Plot {
        title: "Cores used by the threads that send",
        note: "",
        x: SECONDS,
        y: Axis { label: "cores", scale: Scale::Linear },
        x_ticks: Vec::new(),
        series: vec![series(&points, "cores", Mark::Steps, |point| point.cores)],
    };
    html.push_str(&plot.draw().figure());
    html
}

fn cpu_of_a_request(summary: &Summary) -> String {
    match summary.total.requests() {
        0 => html::NOTHING.to_owned(),
        _ => format!("{:.0} µs", summary.own.cpu_per_request_us),
    }
}

fn reading(summary: &Summary) -> String {
    let from = if summary.rate.is_some() {
        "when it was due, whether or not there was a client free to send it, so that a server that stalls is \
         not measured less than one that does not"
    } else {
        "when it was sent"
    };
    let rows: Vec<_> = summary
        .settings
        .iter()
        .map(|(name, value)| vec![Cell::Short(name.clone()), Cell::Text(value.clone())])
        .collect();
    let header = [Cell::Short("setting".to_owned()), Cell::Text("value".to_owned())];
    let purchases = &summary.purchases;
    format!(
        "<h2>How to read this</h2>\n\
         <p>The response time of a request is from {from}, until all of its answer is read and checked. \
         Response times are those of successful requests and of time-outs (which took at least so long); \
         refusals and other failures are counted, and left out of the times, for many are fast.</p>\n\
         <p>A success is 201 for a purchase, 200 with a list of the right form for a query. Refused is 503 or 429 \
         with Retry-After. Everything else has failed.</p>\n\
         <p>A request counts if it was due while requests were measured; those under way at the end were waited \
         for. p99 is the time that 99 of 100 requests did not exceed.</p>\n\
         <p>Purchases, with those before measuring: {} acknowledged ({} of them sent before the warm-up, so that \
         there was something to ask for), {} rejected, {} with an unclear outcome.</p>\n\
         <h2>Settings</h2>\n{}<p class=\"dim\">Written by {}.</p>\n",
        count(purchases.acknowledged),
        count(summary.seeded),
        count(purchases.rejected),
        count(purchases.unclear),
        table(&header, &rows),
        escape(&summary.generator)
    )
}
