//! `topline loadgen`: puts load on a server, shows what comes of it, and writes it down.

use std::{
    fs::{self, File},
    io::{IsTerminal, Write},
    path::{Path, PathBuf},
    pin::pin,
    process::ExitCode,
    sync::Arc,
    time::{Duration, Instant},
};

use anyhow::{Context, bail};
use clap::{Args, Subcommand};
use comfy_table::{CellAlignment, Table};
use indicatif::{HumanCount, ProgressBar, ProgressStyle};
use loadgen::{
    load::{
        self, ArrivalSummary, Live, LoadArgs, Outputs, OwnSummary, Stage, Summary,
        VerificationSummary,
    },
    page,
};

use crate::termination::Termination;

/// A condition of `--fail-if` held.
const FAILED: u8 = 3;
/// Answers differ from what was acknowledged, or there was nothing to compare.
const DIFFERENT: u8 = 4;

/// Ended by a second Ctrl-C, with nothing written.
const INTERRUPTED: i32 = 130;

/// A line under the header and no others.
const TABLE_STYLE: &str = "     ──            ";
/// How often the progress bar moves.
const TICK: Duration = Duration::from_millis(250);
/// How often a line is written where there is no terminal for a bar.
const LINE_EVERY: Duration = Duration::from_secs(5);

/// Settings of `topline loadgen`.
#[derive(Debug, Args)]
#[command(args_conflicts_with_subcommands = true, subcommand_negates_reqs = true)]
#[command(
    after_help = "Exit codes: 0 done; 1 the run came to nothing; 2 wrong usage; 3 a condition of \
    --fail-if held; 4 answers differ from what was acknowledged, or nothing was (--verify).\n\n\
    Ctrl-C ends a run early; everything is shown and written as at its end."
)]
pub(crate) struct LoadgenArgs {
    #[command(subcommand)]
    command: Option<LoadgenCommand>,
    #[arg(
        env = "TOPLINE_LOADGEN_URL",
        value_name = "URL",
        required = true,
        help = "Where the server is, such as http://127.0.0.1:8080"
    )]
    url: Option<String>,
    #[command(flatten)]
    run: RunArgs,
}

#[derive(Debug, Subcommand)]
enum LoadgenCommand {
    /// Put runs side by side: one HTML page and a Markdown table
    Compare(CompareArgs),
}

#[derive(Debug, Args)]
struct RunArgs {
    #[command(flatten)]
    load: LoadArgs,
    /// Name of the run: comparisons take runs of one name for repetitions, or for a series by clients
    #[arg(long, env = "TOPLINE_LOADGEN_NAME")]
    name: Option<String>,
    #[command(flatten)]
    files: FileArgs,
}

/// Where what was measured goes.
#[derive(Debug, Clone, Args)]
#[command(next_help_heading = "Files")]
struct FileArgs {
    /// Write all of the files below into this directory: requests.csv, summary.json, latencies.hlog,
    /// report.html
    #[arg(long, env = "TOPLINE_LOADGEN_OUT", value_name = "DIR")]
    out: Option<PathBuf>,
    /// A line for each request measured: start time, request type, latency ms, response code
    #[arg(long, env = "TOPLINE_LOADGEN_CSV", value_name = "FILE")]
    csv: Option<PathBuf>,
    /// What was run and measured, for `compare` and for programs
    #[arg(long, env = "TOPLINE_LOADGEN_JSON", value_name = "FILE")]
    json: Option<PathBuf>,
    /// Response times of each second, by request type, as a log of HDR histograms
    #[arg(long, env = "TOPLINE_LOADGEN_HISTOGRAM_LOG", value_name = "FILE")]
    histogram_log: Option<PathBuf>,
    /// A report for people: tables and plots, in one page that needs nothing else
    #[arg(long, env = "TOPLINE_LOADGEN_HTML", value_name = "FILE")]
    html: Option<PathBuf>,
}

#[derive(Debug, Args)]
struct CompareArgs {
    /// Summaries written by --json
    #[arg(required = true, value_name = "FILE")]
    summaries: Vec<PathBuf>,
    /// Write the page here
    #[arg(long, env = "TOPLINE_LOADGEN_HTML", value_name = "FILE")]
    html: Option<PathBuf>,
    /// Write the plots of the page into this directory: throughput.svg, mean.svg, p99.svg
    #[arg(long, env = "TOPLINE_LOADGEN_PLOTS", value_name = "DIR")]
    plots: Option<PathBuf>,
    /// Write the table here instead of to standard output
    #[arg(long, env = "TOPLINE_LOADGEN_MARKDOWN", value_name = "FILE")]
    markdown: Option<PathBuf>,
}

/// A file that is written at the end. It is made before the run: a wrong path is known at once.
struct Output {
    path: PathBuf,
    file: File,
}

impl Output {
    fn create(path: PathBuf) -> anyhow::Result<Self> {
        let file =
            File::create(&path).with_context(|| format!("cannot write {}", path.display()))?;
        Ok(Self { path, file })
    }

    fn write(mut self, text: &str) -> anyhow::Result<()> {
        let written = self.file.write_all(text.as_bytes());
        written.with_context(|| format!("cannot write {}", self.path.display()))
    }
}

/// All files of a run.
struct Files {
    csv: Option<Output>,
    json: Option<Output>,
    histogram_log: Option<Output>,
    html: Option<Output>,
}

impl Files {
    fn create(args: &FileArgs) -> anyhow::Result<Self> {
        if let Some(dir) = &args.out {
            fs::create_dir_all(dir)
                .with_context(|| format!("cannot make the directory {}", dir.display()))?;
        }
        let create = |path: &Option<PathBuf>, name: &str| {
            let path = path.clone().or_else(|| args.out.as_ref().map(|dir| dir.join(name)));
            path.map(Output::create).transpose()
        };
        Ok(Self {
            csv: create(&args.csv, "requests.csv")?,
            json: create(&args.json, "summary.json")?,
            histogram_log: create(&args.histogram_log, "latencies.hlog")?,
            html: create(&args.html, "report.html")?,
        })
    }

    /// Those written while the run goes on.
    fn outputs(&mut self) -> Outputs {
        let take = |output: &mut Option<Output>| output.take().map(|output| output.file);
        Outputs { csv: take(&mut self.csv), histogram_log: take(&mut self.histogram_log) }
    }

    fn write(self, summary: &Summary) -> anyhow::Result<()> {
        if let Some(html) = self.html {
            html.write(&page::report_html(summary))?;
        }
        if let Some(json) = self.json {
            json.write(&(serde_json::to_string_pretty(summary)? + "\n"))?;
        }
        Ok(())
    }
}

/// `topline loadgen`.
pub(crate) async fn run(args: LoadgenArgs, termination: &Termination) -> anyhow::Result<ExitCode> {
    match (args.command, args.url) {
        (Some(LoadgenCommand::Compare(args)), _) => compare(args),
        (None, Some(url)) => put_load(&url, args.run, termination).await,
        (None, None) => bail!("there is no address of a server: see `topline loadgen --help`"),
    }
}

async fn put_load(url: &str, args: RunArgs, termination: &Termination) -> anyhow::Result<ExitCode> {
    let mut files = Files::create(&args.files)?;
    let name = args.name.clone().unwrap_or_default();
    let live = Arc::new(Live::default());
    println!("{} against {url}, {} clients", args.load.profile.name(), args.load.clients);
    let run = load::run(
        &args.load,
        url,
        &name,
        files.outputs(),
        Arc::clone(&live),
        interrupted(termination),
    );
    // Boxed: it has everything that a run is made of.
    let running = Box::pin(run);
    let summary = watch(&live, &args.load, running).await?;
    show(&summary);
    files.write(&summary)?;
    Ok(exit_code(&summary))
}

/// `topline loadgen compare`.
fn compare(args: CompareArgs) -> anyhow::Result<ExitCode> {
    let runs = args.summaries.iter().map(|path| {
        let mut run = read_summary(path)?;
        // Runs are taken for repetitions of each other only where somebody has said so.
        if run.name.is_empty() {
            run.name = path.display().to_string();
        }
        Ok(run)
    });
    let runs = runs.collect::<anyhow::Result<Vec<_>>>()?;
    if let Some(path) = args.html {
        Output::create(path)?.write(&page::compare_html(&runs))?;
    }
    if let Some(directory) = args.plots {
        fs::create_dir_all(&directory)
            .with_context(|| format!("cannot make {}", directory.display()))?;
        for plot in page::compare_plots(&runs) {
            Output::create(directory.join(plot.name))?.write(&plot.svg)?;
        }
    }
    let markdown = page::compare_markdown(&runs);
    match args.markdown {
        Some(path) => Output::create(path)?.write(&markdown)?,
        None => print!("{markdown}"),
    }
    Ok(ExitCode::SUCCESS)
}

fn read_summary(path: &Path) -> anyhow::Result<Summary> {
    let text =
        fs::read_to_string(path).with_context(|| format!("cannot read {}", path.display()))?;
    Summary::parse(&text).with_context(|| {
        format!("{} is not a summary of this program, as --json writes it", path.display())
    })
}

/// Resolves at the first Ctrl-C or SIGTERM; the second ends the process.
async fn interrupted(termination: &Termination) {
    termination.asked(1).await;
    eprintln!("ending early: once more to end without a report");
    let termination = termination.clone();
    tokio::spawn(async move {
        termination.asked(2).await;
        std::process::exit(INTERRUPTED);
    });
}

fn exit_code(summary: &Summary) -> ExitCode {
    if summary.verification.as_ref().is_some_and(VerificationSummary::failed) {
        ExitCode::from(DIFFERENT)
    } else if summary.thresholds.iter().any(|threshold| threshold.failed) {
        ExitCode::from(FAILED)
    } else {
        ExitCode::SUCCESS
    }
}

/// Drives `work` and shows how it goes: a bar on a terminal, else a line now and then.
async fn watch<T>(live: &Live, args: &LoadArgs, work: impl Future<Output = T>) -> T {
    let mut meter = Meter::new(args);
    let mut work = pin!(work);
    let mut tick = tokio::time::interval(TICK);
    tick.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
    let result = loop {
        tokio::select! {
            result = &mut work => break result,
            _ = tick.tick() => meter.show(live),
        }
    };
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
        let (verb, message) = self.words(stage, live);
        if self.is_terminal {
            let (done, all) = self.part(stage, live, now);
            self.bar.set_length(all.max(1));
            self.bar.set_position(done);
            self.bar.set_prefix(verb);
            self.bar.set_message(message);
        } else if now - self.last_line >= LINE_EVERY {
            self.last_line = now;
            eprintln!("{verb}: {message}");
        }
    }

    fn words(&self, stage: Stage, live: &Live) -> (&'static str, String) {
        let verb = match stage {
            Stage::Reading => return ("reading", String::new()),
            Stage::Seeding => {
                return ("seeding", format!("{} purchases", HumanCount(live.seeded())));
            }
            Stage::Verifying => return ("comparing", String::new()),
            Stage::WarmUp => "warming up",
            Stage::Measuring => "measuring",
            Stage::Finishing => "finishing",
        };
        let message = format!(
            "{}/s, {} without success, p99 {:.1} ms",
            HumanCount(self.rate as u64),
            HumanCount(live.unsuccessful()),
            live.p99().as_secs_f64() * 1000.0
        );
        (verb, message)
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

fn show(summary: &Summary) {
    let total = &summary.total;
    println!(
        "\n{} successful, {} unsuccessful requests in {:.1} s: {:.1} successful requests/s{}",
        HumanCount(total.successful),
        HumanCount(total.unsuccessful()),
        summary.wall_seconds,
        summary.throughput,
        if summary.ended_early { " (ended early)" } else { "" },
    );
    println!("\n{}", latency_table(summary));
    if !summary.errors.is_empty() {
        println!("\n{}", error_table(summary));
    }
    println!("\n{}", own_line(&summary.own));
    if let Some(arrivals) = &summary.arrivals {
        println!("{}", arrivals_line(arrivals));
    }
    for verdict in &summary.verdicts {
        println!("{}", verdict.text);
    }
    if let Some(found) = &summary.verification {
        show_verification(found);
    }
    for judged in &summary.thresholds {
        let word = if judged.failed { "FAILED" } else { "passed" };
        println!("{word}: {} (measured: {})", judged.condition, judged.measured);
    }
}

fn own_line(own: &OwnSummary) -> String {
    format!(
        "generator: {:.1} s of CPU time, {:.0} % of {} cores; its busiest thread {:.0} % of one",
        own.cpu_seconds,
        own.cpu_share * 100.0,
        own.cores,
        own.busiest_thread * 100.0
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

fn show_verification(found: &VerificationSummary) {
    for difference in &found.shown {
        println!("different: {difference}");
    }
    println!(
        "compared {} answers with what was acknowledged: {} differences",
        HumanCount(found.answers),
        HumanCount(found.differences)
    );
    for remark in &found.remarks {
        println!("{remark}");
    }
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
        let times =
            [latency.mean, latency.median, latency.p95, latency.p99, latency.p999, latency.max];
        let cells = [label.to_owned(), HumanCount(latency.count).to_string()];
        table.add_row(cells.into_iter().chain(times.map(|time| format!("{time:.2}"))));
    }
    table
}

fn error_table(summary: &Summary) -> Table {
    let mut table = table(&["without success", "requests", "of type", "first"]);
    for error in &summary.errors {
        let first: String = error.first.chars().take(60).collect();
        let count = HumanCount(error.count).to_string();
        table.add_row([&error.outcome, &count, error.kind.label(), &first]);
    }
    table
}
