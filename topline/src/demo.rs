//! `topline demo`: plays purchases against a server over HTTP, shows what sells best, and checks
//! every answer against an independent tally.

use std::{
    fmt::Write,
    io::IsTerminal,
    net::SocketAddr,
    path::{Path, PathBuf},
    sync::{Arc, atomic::AtomicU64, atomic::Ordering},
    time::{Duration, Instant, SystemTime, UNIX_EPOCH},
};

use anyhow::{Context, anyhow, bail};
use clap::{Args, builder::BoolishValueParser};
use comfy_table::{CellAlignment, Table};
use fluvio_log::{Cluster, Topic, setup};
use indicatif::{HumanCount, HumanDuration, ProgressBar, ProgressStyle};
use loadgen::{
    Client, Entry, List, Progress, Report, Verification, VerifyOptions, bulk, replay,
    shopping_day::{self, Plan, ShoppingDayArgs},
    verify,
};
use model::{BusinessDate, ItemId, StoreId};

use crate::{
    cli::WrongUsage,
    serve::{self, ServerArgs},
    terminal,
    termination::Termination,
};

/// Stores and items shown, if there is room for so many.
const SHOWN: usize = 4;
/// The widest a table may be, in characters.
const WIDTH: usize = 80;
/// A line under the header and no others.
const TABLE_STYLE: &str = "     ──            ";
/// How often the progress bar moves.
const TICK: Duration = Duration::from_millis(100);
/// How often a line is written where there is no terminal for a bar.
const LINE_EVERY: Duration = Duration::from_secs(5);

/// Settings of `topline demo`.
#[derive(Debug, Clone, Args)]
pub(crate) struct DemoArgs {
    /// Recorded purchases to play instead of a shopping day: a .parquet or .csv file with the columns
    /// `store_id`, `household_id`, `basket_id`, `product_id`, `quantity` and `transaction_timestamp`
    #[arg(long, env = "TOPLINE_DEMO_DATA", value_name = "FILE")]
    pub(crate) data: Option<PathBuf>,
    /// End after the check instead of serving on
    #[arg(long, env = "TOPLINE_DEMO_EXIT", value_parser = BoolishValueParser::new())]
    pub(crate) exit: bool,
    #[command(flatten)]
    pub(crate) day: ShoppingDayArgs,
    #[command(flatten)]
    pub(crate) server: ServerArgs,
}

impl DemoArgs {
    /// Refuses a data directory with data in it, a certificate, and a token for purchases.
    pub(crate) fn check(&self) -> anyhow::Result<()> {
        if self.server.public.listener.tls.are_given() {
            bail!(WrongUsage::of(
                "the demo plays over plain HTTP: leave out --tls-cert and --tls-key"
            ));
        }
        if self.server.ingest.write_token.is_some() {
            bail!(WrongUsage::of(
                "the demo sends purchases without a token: leave out --write-token and TOPLINE_WRITE_TOKEN"
            ));
        }
        self.server.data_dir.as_deref().map_or(Ok(()), ensure_fresh)
    }
}

/// Refuses a directory with something in it: what was counted before would look like a difference.
fn ensure_fresh(dir: &Path) -> anyhow::Result<()> {
    let entries = match std::fs::read_dir(dir) {
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(()),
        other => other.with_context(|| format!("cannot read {}", dir.display()))?,
    };
    if entries.count() > 0 {
        bail!(
            "{} is not empty: the demo compares every answer with what it sends itself, so it \
             needs a fresh directory; `topline serve` goes on with one that has data",
            dir.display()
        );
    }
    Ok(())
}

/// How the demo ended.
#[derive(Debug)]
pub(crate) struct Outcome {
    /// How the answers compare with the tally.
    pub(crate) verification: Verification,
    /// A store worth asking about.
    pub(crate) store: StoreId,
    /// An item worth asking about.
    pub(crate) item: ItemId,
    /// The newest business date.
    pub(crate) date: BusinessDate,
}

/// `topline demo`: starts a server, plays against it, and serves on until Ctrl-C or SIGTERM.
pub(crate) async fn run(mut args: DemoArgs, termination: &Termination) -> anyhow::Result<()> {
    args.check()?;
    let topics = termination.during(DemoTopics::make(&mut args.server)).await?;
    let played = serve_and_play(&args, termination).await;
    if let Some(topics) = topics {
        topics.remove().await?;
    }
    played
}

async fn serve_and_play(args: &DemoArgs, termination: &Termination) -> anyhow::Result<()> {
    let config = args.server.job.window.config().map_err(WrongUsage::of)?;
    // Removed when the demo ends.
    let temporary = tempfile::tempdir().context("cannot make a temporary directory")?;
    let data_dir = args.server.data_dir.clone().unwrap_or_else(|| temporary.path().to_owned());
    let running = termination.during(serve::start(&args.server, data_dir)).await?;
    let (public, admin) = (running.public, running.admin);
    let mut outcome = Err(anyhow!("stopped before every answer was compared"));
    let played = async {
        match Box::pin(play(&format!("http://{public}"), args, &config)).await {
            Err(error) => outcome = Err(error),
            Ok(played) => {
                outcome = played.ensure_verified();
                if outcome.is_ok() && !args.exit {
                    terminal::say(format_args!(
                        "\nServing on. Try:\n{}",
                        played.calls_to_try(public, admin)
                    ));
                    terminal::say("Ctrl-C ends it.");
                    termination.asked(1).await;
                }
            }
        }
    };
    let stop = async {
        tokio::select! {
            () = played => {}
            () = termination.asked(1) => {}
        }
    };
    let ended = Box::pin(running.until(stop)).await;
    ended.and(outcome)
}

/// Topics for one demo alone: what others sent would look like a difference.
struct DemoTopics {
    cluster: Cluster,
    names: [String; 3],
}

impl DemoTopics {
    /// Makes them, if there is a cluster, and has the server use them.
    async fn make(server: &mut ServerArgs) -> anyhow::Result<Option<Self>> {
        let Some(cluster) = server.stream.cluster.cluster()? else { return Ok(None) };
        let since_epoch = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        let name = format!("topline-demo-{}", since_epoch.as_millis());
        let names = [name.clone(), format!("{name}-late"), format!("{name}-dead-letters")];
        let topics = names.clone().map(|name| Topic {
            name,
            partitions: server.partitions.get(),
            replication: 1,
            retention: Duration::from_hours(24),
            max_partition_bytes: None,
            segment_bytes: 64 << 20,
        });
        setup(&cluster, &[], &topics, server.stream.fluvio_wait).await?;
        let [purchases, late, dead_letters] = names.clone();
        server.stream.purchases_topic = purchases;
        server.side.late_topic = late;
        server.side.dead_letters_topic = dead_letters;
        Ok(Some(Self { cluster, names }))
    }

    async fn remove(&self) -> anyhow::Result<()> {
        for name in &self.names {
            let removed = self.cluster.delete_topic(name).await;
            removed.with_context(|| format!("the topic '{name}' is left on the cluster"))?;
        }
        Ok(())
    }
}

/// Plays, shows and checks against the server at `base_url`, which aggregates by `config`.
///
/// # Errors
/// If the purchases cannot be read or sent, or the answers cannot be had. Answers that differ are not
/// an error here: see [`Outcome::ensure_verified`].
pub(crate) async fn play(
    base_url: &str,
    args: &DemoArgs,
    config: &window::Config,
) -> anyhow::Result<Outcome> {
    let client = Client::new(&base_url.parse()?)?;
    let report = match &args.data {
        Some(file) => play_recording(&client, file, config).await?,
        None => play_day(&client, &args.day).await?,
    };
    show_report(&report);
    client.wait_for(report.tally.position()).await.context("waiting for the last purchase")?;
    let (store, item) = show_tables(&client).await?;
    let keeps_days = config.kinds.contains(&window::WindowKind::Day);
    let options = VerifyOptions {
        k: config.k as usize,
        kept_days: if keeps_days { config.day_retention_days } else { 0 },
        ..VerifyOptions::default()
    };
    let answered = AtomicU64::new(0);
    let verification = watch(
        "comparing",
        "answers",
        None,
        || answered.load(Ordering::Relaxed),
        verify(&client, &report.tally, &options, &answered),
    )
    .await
    .context("comparing the answers with the tally")?;
    show_verification(&verification);
    let date = report.tally.dates().next_back().unwrap_or(args.day.date);
    Ok(Outcome { verification, store, item, date })
}

async fn play_day(client: &Client, day: &ShoppingDayArgs) -> anyhow::Result<Report> {
    // Another name for each run, so that no purchase is taken for one of an earlier run.
    let run = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default().as_nanos();
    let plan = Arc::new(Plan::new(day.clone(), &format!("demo-{run:x}")));
    terminal::say(format_args!(
        "A shopping day: {} stores, {} hours, {} purchases an hour, {} items each.",
        HumanCount(u64::from(day.max_stores)),
        shopping_day::HOURS,
        HumanCount(u64::from(day.purchases_per_hour)),
        day.items_per_purchase,
    ));
    let progress = Arc::new(Progress::default());
    let total = Some(plan.purchases());
    let done = || progress.purchases() + progress.refused();
    let playing = shopping_day::play(client, plan, Arc::clone(&progress));
    watch("sending", "purchases", total, done, playing).await.context("playing the shopping day")
}

async fn play_recording(
    client: &Client,
    file: &Path,
    config: &window::Config,
) -> anyhow::Result<Report> {
    let started = Instant::now();
    let path = file.to_owned();
    let recording = tokio::task::spawn_blocking(move || replay::read(&path)).await??;
    terminal::say(format_args!(
        "Read {} purchases ({} lines) from {} in {:.1} s.",
        HumanCount(recording.baskets.len() as u64),
        HumanCount(recording.lines),
        file.display(),
        started.elapsed().as_secs_f64(),
    ));
    let progress = Progress::default();
    let total = Some(recording.baskets.len() as u64);
    let done = || progress.purchases() + progress.refused();
    // Purchases in flight may overtake each other, but none may find its day closed.
    let days_apart = config.lateness_days as i32 - 1;
    let options = bulk::Options { days_apart, ..bulk::Options::default() };
    let sending = bulk::send(client, recording.baskets.into(), &options, &progress);
    watch("sending", "purchases", total, done, sending).await.context("sending the recording")
}

fn show_report(report: &Report) {
    let seconds = report.elapsed.as_secs_f64().max(f64::EPSILON);
    let (purchases, lines) = (report.tally.purchases(), report.tally.lines());
    let per_second = |count: u64| HumanCount((count as f64 / seconds) as u64);
    terminal::say(format_args!(
        "Acknowledged, each durable first: {} purchases ({} lines) in {seconds:.1} s,\n\
         {} purchases/s, {} lines/s.",
        HumanCount(purchases),
        HumanCount(lines),
        per_second(purchases),
        per_second(lines),
    ));
    if report.refusals.total() > 0 {
        terminal::say(format_args!("Refused: {}", HumanCount(report.refusals.total())));
    }
    for (kind, count, message) in report.refusals.iter() {
        terminal::say(format_args!("  {} × {kind}, first: {message}", HumanCount(count)));
    }
}

/// Shows the top lists of the best stores and items. Gives the best of each.
async fn show_tables(client: &Client) -> anyhow::Result<(StoreId, ItemId)> {
    let stores = client.list(List::ChainStores, None, SHOWN).await?;
    let items = client.list(List::ChainItems, None, SHOWN).await?;
    let store_id = |id: u64| StoreId(u32::try_from(id).unwrap_or(u32::MAX));
    let (mut of_stores, mut of_items) = (Vec::new(), Vec::new());
    for &(id, _) in &stores {
        let list = List::CourseStore(store_id(id));
        of_stores.push((format!("store {id}"), client.list(list, None, List::COURSE_K).await?));
    }
    for &(id, _) in &items {
        let list = List::CourseItem(ItemId(id));
        of_items.push((format!("item {id}"), client.list(list, None, List::COURSE_K).await?));
    }
    terminal::say(format_args!(
        "\nTop items of the busiest stores (item × pieces)\n{}",
        table(&of_stores)
    ));
    terminal::say(format_args!(
        "\nTop stores for the best-selling items (store × pieces)\n{}\n",
        table(&of_items)
    ));
    let (Some(&(store, _)), Some(&(item, _))) = (stores.first(), items.first()) else {
        bail!("the server lists no stores or no items: was every purchase refused?");
    };
    Ok((store_id(store), ItemId(item)))
}

/// A column for each list, as many as there is room for.
fn table(lists: &[(String, Vec<Entry>)]) -> Table {
    let fits = |table: &Table| table.lines().all(|line| line.chars().count() <= WIDTH);
    (1..=lists.len())
        .rev()
        .map(|columns| table_of(&lists[..columns]))
        .find(fits)
        .unwrap_or_else(|| table_of(&lists[..lists.len().min(1)]))
}

/// A column for each list, a row for each rank.
fn table_of(lists: &[(String, Vec<Entry>)]) -> Table {
    let mut table = Table::new();
    table.load_preset(TABLE_STYLE);
    table.set_header(
        std::iter::once(String::new()).chain(lists.iter().map(|(title, _)| title.clone())),
    );
    let longest = lists.iter().map(|(_, list)| list.len()).max().unwrap_or(0);
    for place in 0..longest {
        let cell = |(_, list): &(String, Vec<Entry>)| {
            list.get(place)
                .map_or(String::new(), |(id, count)| format!("{id} × {}", HumanCount(*count)))
        };
        table.add_row(std::iter::once((place + 1).to_string()).chain(lists.iter().map(cell)));
    }
    for column in table.column_iter_mut() {
        column.set_cell_alignment(CellAlignment::Right);
    }
    table
}

fn show_verification(found: &Verification) {
    for difference in &found.shown {
        terminal::say(format_args!("different: {difference}"));
    }
    let hidden = found.differences - found.shown.len() as u64;
    if hidden > 0 {
        terminal::say(format_args!("different: {} more", HumanCount(hidden)));
    }
    terminal::say(format_args!(
        "compared {} answers, of all time and of {} business day{}",
        HumanCount(found.answers),
        found.days,
        if found.days == 1 { "" } else { "s" },
    ));
    terminal::say(format_args!(
        "verified: {} stores, {} items, {} differences",
        found.stores, found.items, found.differences
    ));
}

impl Outcome {
    /// Fails if an answer differs from the tally.
    pub(crate) fn ensure_verified(&self) -> anyhow::Result<()> {
        match self.verification.differences {
            0 => Ok(()),
            count => bail!("{count} answers differ from what was acknowledged"),
        }
    }

    /// Calls to try while the server goes on.
    pub(crate) fn calls_to_try(&self, public: SocketAddr, admin: SocketAddr) -> String {
        let Self { store, item, date, .. } = self;
        let mut text = String::new();
        let mut line = |call: String| {
            let _infallible = writeln!(text, "  {call}");
        };
        line(format!("curl http://{public}/items/store/{store}"));
        line(format!("curl http://{public}/items/top10/{item}"));
        line(format!("curl 'http://{public}/v1/top-items?k=3'"));
        line(format!("curl 'http://{public}/v1/top-stores?window=day&date={date}&k=3'"));
        line(format!("curl -i http://{public}/purchase/{store}/customer/1000/date/{date} \\"));
        line("  -H 'Content-Type: application/json' \\".to_owned());
        line(format!("  -d '{{\"items\":[{{\"ItemID\":\"{item}\",\"numberOfItems\":1}}]}}'"));
        line(format!("curl http://{admin}/metrics"));
        line(format!("in a browser: http://{public}/?store={store}&item={item}"));
        text
    }
}

/// Drives `work` and shows how much of it is done: a bar on a terminal, else a line now and then.
async fn watch<T>(
    verb: &'static str,
    unit: &'static str,
    total: Option<u64>,
    done: impl Fn() -> u64,
    work: impl Future<Output = T>,
) -> T {
    let mut meter = Meter::new(verb, unit, total);
    let result = terminal::watch(work, TICK, || meter.show(done())).await;
    meter.finish();
    result
}

/// Progress on standard error.
struct Meter {
    verb: &'static str,
    unit: &'static str,
    total: Option<u64>,
    started: Instant,
    last_line: Instant,
    /// `None` where standard error is not a terminal.
    bar: Option<ProgressBar>,
}

impl Meter {
    fn new(verb: &'static str, unit: &'static str, total: Option<u64>) -> Self {
        let bar = std::io::stderr().is_terminal().then(|| {
            let (bar, template) = match total {
                Some(total) => (
                    ProgressBar::new(total),
                    "{prefix} {wide_bar} {human_pos}/{human_len} {msg}, {eta} left",
                ),
                None => (ProgressBar::new_spinner(), "{prefix} {spinner} {human_pos} {msg}"),
            };
            let style =
                ProgressStyle::with_template(template).expect("the template is well-formed");
            bar.with_style(style).with_prefix(verb).with_message(unit)
        });
        let now = Instant::now();
        Self { verb, unit, total, started: now, last_line: now, bar }
    }

    fn show(&mut self, done: u64) {
        if let Some(bar) = &self.bar {
            bar.set_position(done);
        } else if self.last_line.elapsed() >= LINE_EVERY {
            self.last_line = Instant::now();
            let of = self.total.map_or(String::new(), |total| format!(" of {}", HumanCount(total)));
            let elapsed = HumanDuration(self.started.elapsed());
            terminal::note(format_args!(
                "{}: {}{of} {} in {elapsed}",
                self.verb,
                HumanCount(done),
                self.unit
            ));
        }
    }

    fn finish(&self) {
        if let Some(bar) = &self.bar {
            bar.finish_and_clear();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tables_have_as_many_columns_as_fit_a_terminal() {
        let lists = |id: u64| {
            let list: Vec<Entry> = (0..10).map(|rank| (id, 99_999 - rank)).collect();
            vec![(format!("item {id}"), list); SHOWN]
        };
        for (id, columns) in [(99_999, 4), (9_999_999_999_999, 3)] {
            let mut table = table(&lists(id));
            assert_eq!(table.column_count(), 1 + columns, "{table}");
            assert_eq!(table.lines().count(), 12, "{table}");
        }
    }

    #[test]
    fn a_directory_with_data_is_refused() {
        let dir = tempfile::tempdir().unwrap();
        ensure_fresh(dir.path()).unwrap();
        ensure_fresh(&dir.path().join("later")).unwrap();
        std::fs::write(dir.path().join("log"), "").unwrap();
        let refusal = ensure_fresh(dir.path()).unwrap_err().to_string();
        assert!(refusal.contains("is not empty"), "{refusal}");
    }

    #[test]
    fn differences_fail_the_demo() {
        let outcome = |differences| Outcome {
            verification: Verification { differences, ..Verification::default() },
            store: StoreId(7),
            item: ItemId(123),
            date: "20210101".parse().unwrap(),
        };
        assert!(outcome(0).ensure_verified().is_ok());
        assert!(outcome(1).ensure_verified().is_err());
    }
}
