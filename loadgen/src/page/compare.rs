//! Runs side by side: a page and a Markdown table.
//!
//! Runs with one name and one profile are a line of the plots, by their clients. Several of them with as
//! many clients are one point of it: the median.

use std::{collections::BTreeMap, fmt::Write};

use super::{
    html::{Cell, count, escape, ms, page, percent, rate, short, table},
    report::{profile, say},
    svg::{self, Axis, Drawing, Mark, Plot, Scale, Series},
};
use crate::load::{Severity, Summary, VerificationSummary, verdict};

/// Runs that repeat each other.
struct Group<'a> {
    name: String,
    clients: u32,
    runs: Vec<&'a Summary>,
}

/// What is compared, with how it is shown.
struct Figure {
    label: &'static str,
    value: fn(&Summary) -> f64,
    show: fn(f64) -> String,
}

const FIGURES: [Figure; 8] = [
    Figure { label: "requests/s", value: |run| run.throughput, show: rate },
    Figure { label: "mean", value: |run| run.total.latency.mean, show: ms },
    Figure { label: "median", value: |run| run.total.latency.median, show: ms },
    Figure { label: "p95", value: |run| run.total.latency.p95, show: ms },
    Figure { label: "p99", value: |run| run.total.latency.p99, show: ms },
    Figure { label: "p99.9", value: |run| run.total.latency.p999, show: ms },
    Figure { label: "max", value: |run| run.total.latency.max, show: ms },
    Figure { label: "unsuccessful", value: |run| run.total.unsuccessful() as f64, show: whole },
];

fn whole(number: f64) -> String {
    count(number.round() as u64)
}

/// Groups in the order in which their names come first, each by clients.
fn groups(runs: &[Summary]) -> Vec<Group<'_>> {
    let profiles: std::collections::BTreeSet<_> =
        runs.iter().map(|run| run.profile.name()).collect();
    let mut order: Vec<String> = Vec::new();
    let mut groups: BTreeMap<(usize, u32), Group<'_>> = BTreeMap::new();
    for run in runs {
        let profile = run.profile.name();
        let name = if profiles.len() > 1 && run.name != profile {
            format!("{}, {profile}", run.name)
        } else {
            run.name.clone()
        };
        let place = order.iter().position(|known| *known == name).unwrap_or_else(|| {
            order.push(name.clone());
            order.len() - 1
        });
        let group = groups.entry((place, run.clients));
        let new = Group { name, clients: run.clients, runs: Vec::new() };
        group.or_insert(new).runs.push(run);
    }
    groups.into_values().collect()
}

impl Group<'_> {
    /// The median of the runs; of an even number, the mean of the two in the middle.
    fn median(&self, value: fn(&Summary) -> f64) -> f64 {
        let mut values: Vec<f64> = self.runs.iter().map(|run| value(run)).collect();
        values.sort_by(f64::total_cmp);
        let middle = values.len() / 2;
        if values.len().is_multiple_of(2) {
            f64::midpoint(values[middle - 1], values[middle])
        } else {
            values[middle]
        }
    }

    /// What must be known about its runs before their figures are compared.
    fn remarks(&self) -> Vec<String> {
        let with = |is: fn(&Summary) -> bool| self.runs.iter().filter(|run| is(run)).count();
        let bad = |run: &Summary| run.verdicts.iter().any(|it| it.severity == Severity::Bad);
        let mut remarks = Vec::new();
        let mut note = |runs: usize, text: &str| {
            if runs > 0 {
                let of = if self.runs.len() > 1 {
                    format!(" ({runs} of {} runs)", self.runs.len())
                } else {
                    String::new()
                };
                remarks.push(format!("{text}{of}"));
            }
        };
        note(with(bad), "figures not of the server alone");
        note(
            with(|run| verdict::delayed(&run.own, &run.total).is_some()),
            "timers of the generator were late by more than a quarter of the p99, which may be its own to that extent",
        );
        note(with(|run| run.ended_early), "ended early");
        let differs =
            |run: &Summary| run.verification.as_ref().is_some_and(VerificationSummary::failed);
        note(
            with(differs),
            "answers differ from what was acknowledged, or there were none to compare",
        );
        note(with(|run| run.thresholds.iter().any(|it| it.failed)), "a condition to fail held");
        remarks
    }
}

fn header() -> Vec<String> {
    let names = ["run", "clients", "runs"].map(str::to_owned);
    let figures = FIGURES.iter().map(|figure| figure.label.to_owned());
    names.into_iter().chain(figures).chain(["generator CPU".to_owned()]).collect()
}

fn row(group: &Group<'_>) -> Vec<String> {
    let names = [group.name.clone(), count(u64::from(group.clients)), group.runs.len().to_string()];
    let figures = FIGURES.iter().map(|figure| (figure.show)(group.median(figure.value)));
    let own = percent(group.median(|run| run.own.cpu_share));
    names.into_iter().chain(figures).chain([own]).collect()
}

/// What must be known about all of `runs`.
fn general_remark(runs: &[Summary]) -> Option<String> {
    let busy = runs.iter().filter(|run| verdict::shared(&run.own).is_some()).count();
    (busy > 0).then(|| {
        format!(
            "In {busy} of {} runs the cores of the generator's machine, which may be the server's too, were busy nearly \
             all of the time.",
            runs.len()
        )
    })
}

/// A Markdown table of `runs`, with what must be known about them below it.
pub fn compare_markdown(runs: &[Summary]) -> String {
    let groups = groups(runs);
    let line = |cells: &[String]| {
        let cells: Vec<_> = cells.iter().map(|cell| cell.replace('|', "\\|")).collect();
        format!("| {} |\n", cells.join(" | "))
    };
    let header = header();
    let mut markdown = line(&header);
    let rule: Vec<_> =
        (0..header.len()).map(|n| if n == 0 { "---" } else { "---:" }.to_owned()).collect();
    markdown.push_str(&line(&rule));
    for group in &groups {
        markdown.push_str(&line(&row(group)));
    }
    markdown.push_str("\nResponse times in ms, of all types of request together");
    if groups.iter().any(|group| group.runs.len() > 1) {
        markdown.push_str("; medians of the runs");
    }
    markdown.push_str(".\n");
    for group in &groups {
        for remark in group.remarks() {
            let _infallible =
                writeln!(markdown, "- {}, {} clients: {remark}.", group.name, group.clients);
        }
    }
    if let Some(remark) = general_remark(runs) {
        let _infallible = writeln!(markdown, "- {remark}");
    }
    markdown
}

/// A page with `runs` side by side. It needs nothing else.
pub fn compare_html(runs: &[Summary]) -> String {
    let groups = groups(runs);
    let mut body = introduction(runs);
    for group in &groups {
        for remark in group.remarks() {
            let text = format!("{}, {} clients: {remark}.", group.name, group.clients);
            body.push_str(&say(Severity::Note, &text));
        }
    }
    if let Some(remark) = general_remark(runs) {
        body.push_str(&say(Severity::Note, &remark));
    }
    body.push_str(
        "<h2>Side by side</h2>\n<p class=\"dim\">Response times in ms, of all types of request \
        together; medians where there are several runs.</p>\n",
    );
    let rows: Vec<_> = groups.iter().map(|group| short(row(group))).collect();
    body.push_str(&table(&short(header()), &rows));
    body.extend(plots(&groups).iter().map(Drawing::figure));
    body.push_str(&by_kind(&groups));
    if groups.len() < runs.len() {
        body.push_str("<h2>Each run</h2>\n");
        body.push_str(&table(&short(header()), &each(runs)));
    }
    body.push_str(&sources(runs));
    page("Load tests compared", &body)
}

fn introduction(runs: &[Summary]) -> String {
    let mut profiles: Vec<_> = runs.iter().map(|run| run.profile).collect();
    profiles.dedup();
    let profiles: Vec<_> = profiles.into_iter().map(|it| escape(profile(it))).collect();
    format!(
        "<h1>Load tests compared</h1>\n<p class=\"lead\">{} runs. What was sent: {}.</p>\n",
        runs.len(),
        profiles.join("; ")
    )
}

/// A plot of `runs` as an SVG file of its own.
#[derive(Debug)]
pub struct PlotFile {
    /// Its name, with the suffix.
    pub name: &'static str,
    /// The SVG.
    pub svg: String,
}

/// The plots of the page of `runs`, as files.
pub fn compare_plots(runs: &[Summary]) -> [PlotFile; 3] {
    let [throughput, mean, p99] = plots(&groups(runs));
    let file = |name, drawing: &Drawing| PlotFile { name, svg: drawing.image() };
    [file("throughput.svg", &throughput), file("mean.svg", &mean), file("p99.svg", &p99)]
}

/// Throughput, mean and 99th percentile.
fn plots(groups: &[Group<'_>]) -> [Drawing; 3] {
    let mut clients: Vec<_> = groups.iter().map(|group| group.clients).collect();
    clients.sort_unstable();
    clients.dedup();
    if clients.len() < 2 { bars(groups) } else { lines(groups, &clients) }
}

fn bars(groups: &[Group<'_>]) -> [Drawing; 3] {
    let values = |value: fn(&Summary) -> f64| -> Vec<(String, f64)> {
        groups.iter().map(|group| (group.name.clone(), group.median(value))).collect()
    };
    let milliseconds = |value: f64| format!("{} ms", ms(value));
    [
        svg::bars("Throughput", "successful requests a second", &values(FIGURES[0].value), rate),
        svg::bars("Mean response time", "", &values(FIGURES[1].value), milliseconds),
        svg::bars(
            "99th percentile of the response times",
            "",
            &values(FIGURES[4].value),
            milliseconds,
        ),
    ]
}

fn lines(groups: &[Group<'_>], clients: &[u32]) -> [Drawing; 3] {
    let x_ticks: Vec<f64> = clients.iter().map(|&clients| f64::from(clients)).collect();
    let plot = |title, label, scale, value: fn(&Summary) -> f64| {
        let mut series: Vec<Series> = Vec::new();
        for group in groups {
            let point = (f64::from(group.clients), group.median(value));
            match series.iter_mut().find(|series| series.label == group.name) {
                Some(series) => series.points.push(point),
                None => series.push(Series {
                    label: group.name.clone(),
                    mark: Mark::Dots,
                    points: vec![point],
                }),
            }
        }
        let x = Axis { label: "clients", scale: Scale::Linear };
        let y = Axis { label, scale };
        Plot { title, note: "", x, y, x_ticks: x_ticks.clone(), series }.draw()
    };
    [
        plot("Throughput by clients", "requests a second", Scale::Linear, FIGURES[0].value),
        plot("Mean response time by clients", "ms, logarithmic", Scale::Log, FIGURES[1].value),
        plot("99th percentile by clients", "ms, logarithmic", Scale::Log, FIGURES[4].value),
    ]
}

/// Response times of each type of request, of the run in the middle of each group.
fn by_kind(groups: &[Group<'_>]) -> String {
    let header = short([
        "run",
        "clients",
        "request",
        "successful",
        "mean",
        "median",
        "p95",
        "p99",
        "p99.9",
        "max",
    ]);
    let mut rows = Vec::new();
    for group in groups {
        let mut runs = group.runs.clone();
        runs.sort_by(|a, b| a.throughput.total_cmp(&b.throughput));
        let run = runs[runs.len() / 2];
        for kind in &run.kinds {
            let times = &kind.latency;
            let times =
                [times.mean, times.median, times.p95, times.p99, times.p999, times.max].map(ms);
            let names = [
                group.name.clone(),
                count(u64::from(group.clients)),
                kind.kind.label().to_owned(),
                count(kind.successful),
            ];
            rows.push(short(names.into_iter().chain(times)));
        }
    }
    format!("<h2>By type of request, in ms</h2>\n{}", table(&header, &rows))
}

fn each(runs: &[Summary]) -> Vec<Vec<Cell>> {
    let alone = |run| groups(std::slice::from_ref(run));
    runs.iter().flat_map(alone).map(|group| short(row(&group))).collect()
}

fn sources(runs: &[Summary]) -> String {
    let header =
        short(["run", "clients", "against", "measured from", "for", "generator and server"]);
    let rows: Vec<_> = runs
        .iter()
        .map(|run| {
            short([
                run.name.clone(),
                count(u64::from(run.clients)),
                run.url.clone(),
                run.started.clone(),
                format!("{:.1} s", run.wall_seconds),
                if run.own.shared_machine { "on one machine" } else { "on two machines" }
                    .to_owned(),
            ])
        })
        .collect();
    format!("<h2>Where this is from</h2>\n{}", table(&header, &rows))
}
