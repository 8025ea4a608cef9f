//! Runs side by side: a page and a Markdown table.
//!
//! Runs with one name, one profile and one rate are a line of the plots, by their clients. Several of them with as
//! many clients are one point of it: the median.

use std::{
    collections::{BTreeMap, BTreeSet},
    fmt::Write,
};

use super::{
    html::{Cell, NOTHING, count, escape, ms, ms_or_nothing, page, percent, rate, short, table},
    report::{profile, say},
    svg::{self, Axis, Drawing, Mark, Plot, Scale, Series},
};
use crate::load::{KindSummary, Severity, Summary, VerificationSummary, verdict};

/// Runs that repeat each other.
struct Group<'a> {
    name: String,
    clients: u32,
    runs: Vec<&'a Summary>,
}

/// What is compared, with how it is shown.
struct Figure {
    label: &'static str,
    /// `None` where nothing was measured for it.
    value: fn(&Summary) -> Option<f64>,
    /// What that of several runs is.
    together: fn(Vec<f64>) -> f64,
    show: fn(f64) -> String,
}

impl Figure {
    const fn throughput() -> Self {
        let value = |run: &Summary| Some(run.throughput);
        Self { label: "requests/s", value, together: median, show: rate }
    }

    const fn time(label: &'static str, value: fn(&Summary) -> Option<f64>) -> Self {
        Self { label, value, together: median, show: ms }
    }

    /// All of them: a median would hide what happens in a few runs.
    const fn unsuccessful() -> Self {
        let value = |run: &Summary| Some(run.total.unsuccessful() as f64);
        let together = |values: Vec<f64>| values.into_iter().sum();
        Self { label: "unsuccessful", value, together, show: whole }
    }
}

const FIGURES: [Figure; 8] = [
    Figure::throughput(),
    Figure::time("mean", |run| run.total.latency.figures()[0]),
    Figure::time("median", |run| run.total.latency.figures()[1]),
    Figure::time("p95", |run| run.total.latency.figures()[2]),
    Figure::time("p99", |run| run.total.latency.figures()[3]),
    Figure::time("p99.9", |run| run.total.latency.figures()[4]),
    Figure::time("max", |run| run.total.latency.figures()[5]),
    Figure::unsuccessful(),
];

fn whole(number: f64) -> String {
    count(number.round() as u64)
}

/// The median; of an even number of values, the mean of the two in the middle.
fn median(mut values: Vec<f64>) -> f64 {
    values.sort_by(f64::total_cmp);
    let middle = values.len() / 2;
    if values.len().is_multiple_of(2) {
        f64::midpoint(values[middle - 1], values[middle])
    } else {
        values[middle]
    }
}

/// Settings in which runs may differ that repeat each other.
const MAY_DIFFER: [&str; 3] = ["seed", "business date", "fail if"];

/// What the values that there are come to; `None` if there are none.
fn together(values: impl Iterator<Item = Option<f64>>, how: fn(Vec<f64>) -> f64) -> Option<f64> {
    let values: Vec<f64> = values.flatten().collect();
    (!values.is_empty()).then(|| how(values))
}

/// How its requests follow each other.
fn pace(run: &Summary) -> String {
    match run.rate {
        None => "closed loop".to_owned(),
        Some(0.0) => "at the times of a recording".to_owned(),
        Some(due) => format!("{} a second", rate(due)),
    }
}

/// Groups in the order in which their names come first, each by clients. A name says how its runs differ from the
/// others in more than clients.
fn groups(runs: &[Summary]) -> Vec<Group<'_>> {
    let profiles: BTreeSet<_> = runs.iter().map(|run| run.profile.name()).collect();
    let paces: BTreeSet<_> = runs.iter().map(pace).collect();
    let mut order: Vec<String> = Vec::new();
    let mut groups: BTreeMap<(usize, u32), Group<'_>> = BTreeMap::new();
    for run in runs {
        let profile = run.profile.name();
        let mut name = run.name.clone();
        if profiles.len() > 1 && run.name != profile {
            name = format!("{name}, {profile}");
        }
        if paces.len() > 1 {
            name = format!("{name}, {}", pace(run));
        }
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
    /// `None` where no run has it.
    fn figure(&self, figure: &Figure) -> Option<f64> {
        together(self.runs.iter().map(|run| (figure.value)(run)), figure.together)
    }

    /// Settings in which its runs differ, so that they do not repeat each other. Some summaries have more than others, of
    /// earlier builds.
    fn differing_settings(&self) -> Vec<&str> {
        let mut values: BTreeMap<&str, BTreeSet<&str>> = BTreeMap::new();
        for (name, value) in self.runs.iter().flat_map(|run| &run.settings) {
            values.entry(name).or_default().insert(value);
        }
        values.retain(|name, values| values.len() > 1 && !MAY_DIFFER.contains(name));
        values.into_keys().collect()
    }

    /// What must be known about its runs before their figures are compared.
    fn remarks(&self) -> Vec<String> {
        let with = |is: fn(&Summary) -> bool| self.runs.iter().filter(|run| is(run)).count();
        let none = |run: &Summary| run.total.successful == 0;
        let bad = |run: &Summary| {
            run.total.successful > 0 && run.verdicts.iter().any(|it| it.severity == Severity::Bad)
        };
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
        note(with(none), "no request was successful");
        note(with(bad), "figures not of the server alone");
        note(
            with(|run| verdict::delayed(&run.own, &run.total).is_some()),
            "timers of the generator were late by more than a quarter of the p99, which may be its own to that extent",
        );
        note(with(|run| run.ended_early), "ended early");
        let differs =
            |run: &Summary| run.verification.as_ref().is_some_and(VerificationSummary::failed);
        note(with(differs), "answers differ from what was acknowledged, or could not be compared");
        note(with(|run| run.thresholds.iter().any(|it| it.failed)), "a condition to fail held");
        let differing = self.differing_settings().join(", ");
        if !differing.is_empty() {
            remarks.push(format!(
                "its runs do not repeat each other, their settings differ: {differing}"
            ));
        }
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
    let show = |figure: &Figure| group.figure(figure).map_or(NOTHING.to_owned(), figure.show);
    let figures = FIGURES.iter().map(show);
    let own = percent(median(group.runs.iter().map(|run| run.own.cpu_share).collect()));
    names.into_iter().chain(figures).chain([own]).collect()
}

/// A row of a page. Names may be long.
fn cells(texts: impl IntoIterator<Item = String>) -> Vec<Cell> {
    let mut cells = short(texts);
    if let Some(Cell::Short(name)) = cells.first_mut() {
        cells[0] = Cell::Text(std::mem::take(name));
    }
    cells
}

/// What must be known about the groups, and about all of `runs`.
fn remarks(groups: &[Group<'_>], runs: &[Summary]) -> Vec<String> {
    let of_group = |group: &Group<'_>| {
        let whose = format!("{}, {} clients", group.name, count(group.clients.into()));
        group.remarks().into_iter().map(move |remark| format!("{whose}: {remark}."))
    };
    groups.iter().flat_map(of_group).chain(general_remark(runs)).collect()
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
        markdown.push_str("; medians of the runs, and the sum of their unsuccessful requests");
    }
    markdown.push_str(".\n");
    for remark in remarks(&groups, runs) {
        let _infallible = writeln!(markdown, "- {remark}");
    }
    markdown
}

/// A page with `runs` side by side. It needs nothing else.
pub fn compare_html(runs: &[Summary]) -> String {
    let groups = groups(runs);
    let mut body = introduction(runs);
    body.push_str(
        "<h2>Side by side</h2>\n<p class=\"dim\">Response times in ms, of all types of request \
        together; medians where there are several runs, and the sum of their unsuccessful requests.</p>\n",
    );
    let rows: Vec<_> = groups.iter().map(|group| cells(row(group))).collect();
    body.push_str(&table(&cells(header()), &rows));
    body.extend(plots(&groups).iter().map(Drawing::figure));
    let remarks = remarks(&groups, runs);
    if !remarks.is_empty() {
        body.push_str("<h2>What to make of it</h2>\n");
        body.extend(remarks.iter().map(|remark| say(Severity::Note, remark)));
    }
    body.push_str(&by_kind(&groups));
    if groups.len() < runs.len() {
        body.push_str("<h2>Each run</h2>\n");
        body.push_str(&table(&cells(header()), &each(runs)));
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
    let values = |figure: &Figure| -> Vec<(String, f64)> {
        let bar = |group: &Group<'_>| Some((group.name.clone(), group.figure(figure)?));
        groups.iter().filter_map(bar).collect()
    };
    let milliseconds = |value: f64| format!("{} ms", ms(value));
    [
        svg::bars("Throughput", "successful requests a second", &values(&FIGURES[0]), rate),
        svg::bars("Mean response time", "", &values(&FIGURES[1]), milliseconds),
        svg::bars("99th percentile of the response times", "", &values(&FIGURES[4]), milliseconds),
    ]
}

fn lines(groups: &[Group<'_>], clients: &[u32]) -> [Drawing; 3] {
    let x_ticks: Vec<f64> = clients.iter().map(|&clients| f64::from(clients)).collect();
    let plot = |title, label, scale, figure: &Figure| {
        let mut series: Vec<Series> = Vec::new();
        for group in groups {
            let Some(value) = group.figure(figure) else { continue };
            let point = (f64::from(group.clients), value);
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
        plot("Throughput by clients", "requests a second", Scale::Linear, &FIGURES[0]),
        plot("Mean response time by clients", "ms, logarithmic", Scale::Log, &FIGURES[1]),
        plot("99th percentile by clients", "ms, logarithmic", Scale::Log, &FIGURES[4]),
    ]
}

/// Response times of each type of request.
fn by_kind(groups: &[Group<'_>]) -> String {
    let header =
        ["run", "clients", "request", "successful", "mean", "median", "p95", "p99", "p99.9", "max"];
    let rows: Vec<_> = groups.iter().flat_map(kind_rows).collect();
    format!(
        "<h2>By type of request, in ms</h2>\n<p class=\"dim\">Medians where there are several runs.</p>\n{}",
        table(&cells(header.map(str::to_owned)), &rows)
    )
}

fn kind_rows(group: &Group<'_>) -> Vec<Vec<Cell>> {
    let mut kinds: BTreeMap<_, Vec<&KindSummary>> = BTreeMap::new();
    for kind in group.runs.iter().flat_map(|run| &run.kinds) {
        kinds.entry(kind.kind).or_default().push(kind);
    }
    let row = |(kind, runs): (crate::load::Kind, Vec<&KindSummary>)| {
        let times: Vec<_> = runs.iter().map(|run| run.latency.figures()).collect();
        let times = [0, 1, 2, 3, 4, 5]
            .map(|figure| ms_or_nothing(together(times.iter().map(|times| times[figure]), median)));
        let successful = median(runs.iter().map(|run| run.successful as f64).collect());
        let names = [
            group.name.clone(),
            count(u64::from(group.clients)),
            kind.label().to_owned(),
            whole(successful),
        ];
        cells(names.into_iter().chain(times))
    };
    kinds.into_iter().map(row).collect()
}

fn each(runs: &[Summary]) -> Vec<Vec<Cell>> {
    let alone = |run| groups(std::slice::from_ref(run));
    runs.iter().flat_map(alone).map(|group| cells(row(&group))).collect()
}

fn sources(runs: &[Summary]) -> String {
    let header = ["run", "clients", "against", "measured from", "for", "generator and server"];
    let rows: Vec<_> = runs
        .iter()
        .map(|run| {
            cells([
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
    format!("<h2>Where this is from</h2>\n{}", table(&cells(header.map(str::to_owned)), &rows))
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;
    use crate::load::{Kind, Outcome, Totals, summary::tests::summary};

    /// A run named `a`, of one success after `ms` and so many failures.
    fn run(ms: u64, failed: u32) -> Summary {
        let mut totals = Totals::default();
        let time = Duration::from_millis(ms);
        totals.record(Kind::Post, Outcome::Success, time, true);
        (0..failed).for_each(|_| totals.record(Kind::Post, Outcome::Reset, time, true));
        Summary { name: "a".to_owned(), ..summary(&totals) }
    }

    fn rows(markdown: &str) -> Vec<Vec<&str>> {
        let rows = markdown.lines().skip(2).take_while(|line| line.starts_with('|'));
        rows.map(|row| row.trim_matches('|').split('|').map(str::trim).collect()).collect()
    }

    #[test]
    fn failures_of_one_run_do_not_vanish_among_the_others() {
        let markdown = compare_markdown(&[run(10, 0), run(20, 500), run(30, 0)]);
        let row = &rows(&markdown)[0];
        assert_eq!((row[2], row[4], row[10]), ("3", "20.0", "500"), "{markdown}");
        assert!(markdown.contains("sum of their unsuccessful requests"), "{markdown}");
    }

    #[test]
    fn runs_at_different_rates_do_not_repeat_each_other() {
        let at = |rate| Summary { rate, ..run(10, 0) };
        let markdown = compare_markdown(&[at(Some(500.0)), at(Some(900.0)), at(None), at(None)]);
        let names: Vec<_> = rows(&markdown).iter().map(|row| (row[0], row[2])).collect();
        let expected =
            [("a, 500 a second", "1"), ("a, 900 a second", "1"), ("a, closed loop", "2")];
        assert_eq!(names, expected, "{markdown}");
    }

    #[test]
    fn runs_with_different_settings_are_told() {
        let with = |zipf: &str, seed: &str| {
            let setting = |name: &str, value: &str| (name.to_owned(), value.to_owned());
            Summary { settings: vec![setting("Zipf", zipf), setting("seed", seed)], ..run(10, 0) }
        };
        let same = compare_markdown(&[with("1", "1"), with("1", "2"), run(10, 0)]);
        assert!(!same.contains("settings differ"), "{same}");
        let differing = compare_markdown(&[with("1", "1"), with("0", "1")]);
        assert!(differing.contains(
            "a, 1 clients: its runs do not repeat each other, their settings differ: Zipf."
        ));
    }

    #[test]
    fn what_was_not_measured_is_no_figure() {
        let none = Summary { name: "a".to_owned(), ..summary(&Totals::default()) };
        let markdown = compare_markdown(std::slice::from_ref(&none));
        assert_eq!(rows(&markdown)[0][4..10], ["–"; 6], "{markdown}");
        assert!(markdown.contains("a, 1 clients: no request was successful"), "{markdown}");
        let page = compare_html(&[none.clone(), run(10, 0), run(30, 0)]);
        // Of the two that have a response time.
        assert!(page.contains("<td>20.0</td>"), "{page}");
        assert!(compare_plots(&[none])[1].svg.contains("</svg>"));
    }

    #[test]
    fn types_of_request_have_medians_and_long_names_may_wrap() {
        let page = compare_html(&[run(10, 0), run(20, 0), run(90, 0)]);
        let (_, by_kind) = page.split_once("By type of request").unwrap();
        let row =
            "<td class=\"text\">a</td><td>1</td><td>POST purchase</td><td>1</td><td>20.0</td>";
        assert!(by_kind.contains(row), "{by_kind}");
    }
}
