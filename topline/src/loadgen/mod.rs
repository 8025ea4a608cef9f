//! `topline loadgen`: puts load on a server, shows what comes of it, and writes it down.

mod files;
mod meter;
mod show;

use std::{
    fs,
    path::{Path, PathBuf},
    process::ExitCode,
    sync::Arc,
};

use anyhow::{Context, bail};
use clap::{Args, Subcommand};
use loadgen::{
    load::{self, Live, LoadArgs, LoadError, Summary, VerificationSummary},
    page,
};

use self::files::{Files, Output, Parts};
use crate::{cli::WrongUsage, terminal, termination::Termination};

/// A condition of `--fail-if` held.
const FAILED: u8 = 3;
/// Answers differ from what was acknowledged, or could not be compared.
const DIFFERENT: u8 = 4;

/// Ended by a second Ctrl-C, with nothing written.
const INTERRUPTED: i32 = 130;

/// Settings of `topline loadgen`.
#[derive(Debug, Args)]
#[command(args_conflicts_with_subcommands = true, subcommand_negates_reqs = true)]
#[command(
    after_help = "Exit codes: 0 done; 1 the run came to nothing, or no request was successful; 2 wrong \
    usage; 3 a condition of --fail-if held; 4 answers differ from what was acknowledged, or could not be \
    compared (--verify).\n\n\
    Files are written under NAME.part, and named when they are complete: a run that comes to nothing leaves those \
    of earlier ones alone.\n\n\
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

/// `topline loadgen`.
pub(crate) async fn run(args: LoadgenArgs, termination: &Termination) -> anyhow::Result<ExitCode> {
    match (args.command, args.url) {
        (Some(LoadgenCommand::Compare(args)), _) => compare(args),
        (None, Some(url)) => put_load(&url, args.run, termination).await,
        (None, None) => {
            let problem = "there is no address of a server: see `topline loadgen --help`";
            Err(WrongUsage(problem.to_owned()).into())
        }
    }
}

async fn put_load(url: &str, args: RunArgs, termination: &Termination) -> anyhow::Result<ExitCode> {
    let files = Files::create(&args.files)?;
    let name = args.name.clone().unwrap_or_default();
    let live = Arc::new(Live::default());
    let (profile, clients) = (args.load.profile.name(), args.load.clients);
    terminal::say(format_args!("{profile} against {url}, {clients} clients"));
    let run = load::run(
        &args.load,
        url,
        &name,
        files.outputs()?,
        Arc::clone(&live),
        interrupted(termination, files.parts()),
    );
    // Boxed: it has everything that a run is made of.
    let running = Box::pin(run);
    let summary = meter::watch(&live, &args.load, running).await.map_err(failure)?;
    show::summary(&summary);
    files.write(&summary)?;
    exit_code(&summary)
}

/// Tells settings that are wrong from a run that came to nothing.
fn failure(error: LoadError) -> anyhow::Error {
    let is_usage = error.is_usage();
    let error = anyhow::Error::from(error);
    if is_usage { WrongUsage(format!("{error:#}")).into() } else { error }
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
        Output::create(&path)?.write(&page::compare_html(&runs))?;
    }
    if let Some(directory) = args.plots {
        fs::create_dir_all(&directory)
            .with_context(|| format!("cannot make {}", directory.display()))?;
        for plot in page::compare_plots(&runs) {
            Output::create(&directory.join(plot.name))?.write(&plot.svg)?;
        }
    }
    let markdown = page::compare_markdown(&runs);
    match args.markdown {
        Some(path) => Output::create(&path)?.write(&markdown)?,
        None => terminal::print(&markdown).context("cannot write the table")?,
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

/// Resolves at the first Ctrl-C or SIGTERM; the second ends the process, and removes `parts`.
async fn interrupted(termination: &Termination, parts: Parts) {
    termination.asked(1).await;
    terminal::note("ending early: once more to end without a report");
    let termination = termination.clone();
    tokio::spawn(async move {
        termination.asked(2).await;
        parts.remove();
        std::process::exit(INTERRUPTED);
    });
}

/// # Errors
/// If no request was successful, and nothing worse is known.
fn exit_code(summary: &Summary) -> anyhow::Result<ExitCode> {
    if summary.verification.as_ref().is_some_and(VerificationSummary::failed) {
        Ok(ExitCode::from(DIFFERENT))
    } else if summary.thresholds.iter().any(|threshold| threshold.failed) {
        Ok(ExitCode::from(FAILED))
    } else if summary.total.successful == 0 {
        bail!("no request was successful")
    } else {
        Ok(ExitCode::SUCCESS)
    }
}
