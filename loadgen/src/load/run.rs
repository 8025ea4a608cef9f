//! A run from its settings to its summary.

use std::{
    fs::File,
    io,
    sync::Arc,
    thread::JoinHandle,
    time::{Duration, Instant, SystemTime},
};

use model::Timestamp;
use reqwest::header::InvalidHeaderValue;
use tokio::{
    sync::{mpsc, watch},
    time::sleep_until,
};

use super::{
    ArrivalSummary, CsvLog, ErrorKind, FORMAT, Live, LoadArgs, Outcome, OwnSummary, Profile,
    PurchaseSummary, SettingsError, Stage, Summary, VerificationSummary, check,
    collector::{Collected, Collector},
    connection::Target,
    descriptors,
    generator::{self, Machine},
    ledger::Ledger,
    pacer::{Paced, Pacer},
    place::is_local,
    recorder::{Outcomes, Recorder, Rest, Window, histogram},
    schedule::Schedule,
    seed,
    source::{Day, Mix, Source, Tape},
    summary::{figures, milliseconds},
    verdict::verdicts,
    worker::{self, Brought, Shared},
};
use crate::{
    Client, Failure, Server, ServerError,
    replay::{self, ReplayError},
    shopping_day::Plan,
};

/// The least that requests before and after measuring may take.
const PATIENCE: Duration = Duration::from_secs(30);
/// Length of the intervals of the series.
const INTERVAL: Duration = Duration::from_secs(1);
/// From when everything is set up until the first request.
const HEAD_START: Duration = Duration::from_millis(100);

/// Files written while a run goes on.
#[derive(Debug, Default)]
pub struct Outputs {
    /// A line for each request.
    pub csv: Option<File>,
    /// Histograms of each second.
    pub histogram_log: Option<File>,
}

/// Why a run came to nothing.
#[derive(Debug, thiserror::Error)]
pub enum LoadError {
    /// Settings contradict each other.
    #[error(transparent)]
    Settings(#[from] SettingsError),
    /// The address cannot be used.
    #[error(transparent)]
    Server(#[from] ServerError),
    /// The token for POSTs cannot be sent.
    #[error("the write token has characters that no HTTP header may have")]
    Token(#[source] InvalidHeaderValue),
    /// The recording cannot be read.
    #[error(transparent)]
    Recording(#[from] ReplayError),
    /// A purchase sent before the warm-up was not taken.
    #[error("seeding: a purchase was not taken ({outcome}): {message}")]
    Seeding {
        /// How it ended.
        outcome: Outcome,
        /// What was said.
        message: String,
    },
    /// The comparison of answers needs a server without purchases.
    #[error(
        "the server has purchases already: --verify compares every answer with what this run sends, so \
         it needs a server that had nothing before"
    )]
    NotFresh,
    /// The server does not give the lists that are to be compared.
    #[error(
        "the server does not give the lists that --verify compares (GET {path}: {message}): --verify-k sets how long \
         they are, and --verify-days 0 leaves out those of days; those of all time are needed"
    )]
    NotComparable {
        /// What was asked for.
        path: String,
        /// What the server said.
        message: String,
    },
    /// The server does not say whether it gives the lists that are to be compared.
    #[error("asking for what --verify compares")]
    NoList(#[source] Failure),
    /// The server does not answer before anything is measured.
    #[error("the server does not answer as expected ({outcome}): {message}")]
    NoAnswer {
        /// How the request ended.
        outcome: Outcome,
        /// What was said.
        message: String,
    },
    /// What was sent before the warm-up does not show.
    #[error("seeding: the server does not show what it has acknowledged")]
    NotShown(#[source] Failure),
    /// The clients would have no sockets.
    #[error(
        "{clients} clients need {needed} open files, and this process may have {allowed}: take fewer --clients, \
         or raise the limit (`ulimit -Hn`)"
    )]
    Descriptors {
        /// Clients asked for.
        clients: u32,
        /// Open files that they need, with those of everything else.
        needed: u64,
        /// Open files that the process may have.
        allowed: u64,
    },
    /// A thread could not be started, or a file not written.
    #[error("{what}")]
    Io {
        /// What failed.
        what: &'static str,
        /// Why.
        source: io::Error,
    },
}

impl LoadError {
    /// Whether it is for what was asked, rather than for what came of it.
    pub fn is_usage(&self) -> bool {
        match self {
            Self::Settings(_) | Self::Token(_) => true,
            Self::Server(error) => error.is_usage(),
            _ => false,
        }
    }

    pub(crate) fn client(error: reqwest::Error) -> Self {
        Self::io("the HTTP client cannot be made")(io::Error::other(error))
    }

    fn io(what: &'static str) -> impl Fn(io::Error) -> Self {
        move |source| Self::Io { what, source }
    }
}

/// Puts the load that `args` describe on the server at `url`, until it ends or `stop` is resolved. `live`
/// counts along; `name` is for comparisons, and may be empty.
///
/// # Errors
/// [`LoadError`]. That requests fail is not an error: it is in the summary.
pub async fn run(
    args: &LoadArgs,
    url: &str,
    name: &str,
    outputs: Outputs,
    live: Arc<Live>,
    stop: impl Future<Output = ()>,
) -> Result<Summary, LoadError> {
    args.check()?;
    let server = Server::new(url, args.ca_cert.as_deref())?;
    descriptors::make_room(args.clients)?;
    let client = Client::new(&server).map_err(LoadError::client)?;
    let stopping = watch::Sender::new(false);
    let running = Running { args, url, server, client, name, live, stopping: stopping.clone() };
    let run = running.run(outputs);
    tokio::pin!(run, stop);
    tokio::select! {
        summary = &mut run => return summary,
        () = &mut stop => {}
    }
    stopping.send_replace(true);
    run.await
}

struct Running<'a> {
    args: &'a LoadArgs,
    url: &'a str,
    server: Server,
    client: Client,
    name: &'a str,
    live: Arc<Live>,
    stopping: watch::Sender<bool>,
}

/// What the machine and the process had used at a moment.
struct Reading {
    at: Instant,
    cpu: Duration,
    machine: Option<Machine>,
}

impl Reading {
    fn now() -> Self {
        Self { at: Instant::now(), cpu: generator::process_cpu(), machine: Machine::now() }
    }
}

impl Running<'_> {
    async fn run(self, outputs: Outputs) -> Result<Summary, LoadError> {
        let args = self.args;
        // Another name for each run, so that no purchase is taken for one of an earlier run.
        let key = format!("load-{:x}-{:x}", Timestamp::now().millis(), std::process::id());
        let target = |timeout| {
            let target = Target::new(self.server.clone(), args.write_token.as_deref(), timeout);
            target.map(Arc::new).map_err(LoadError::Token)
        };
        // What is not measured may take its time.
        let patient = target(args.timeout.max(PATIENCE))?;
        let source = self.source(&key).await?;
        if let Some(sample) = source.sample().filter(|_| args.verify) {
            let options = args.verify_options();
            check::ensure_comparable(&self.client, &patient, &options, sample).await?;
        }
        let mut ledger = self.seed(&patient, &source).await?;
        let seeded = ledger.acknowledged;
        let mut measured = self.measure(target(args.timeout)?, Arc::new(source), outputs).await?;
        for brought in &mut measured.brought {
            ledger.merge(std::mem::take(&mut brought.ledger));
        }
        let mut summary = self.summarise(measured, &ledger, seeded);
        if args.verify {
            self.live.enter(Stage::Verifying);
            let checked = check::check(&self.client, &patient, ledger, args.verify_options()).await;
            // What was measured is worth as much without it.
            let checked = checked.unwrap_or_else(|error| VerificationSummary::impossible(&error));
            summary.verification = Some(checked);
        }
        Ok(summary)
    }

    async fn source(&self, key: &str) -> Result<Source, LoadError> {
        let args = self.args;
        Ok(match (args.profile, &args.replay.recording) {
            (Profile::ShoppingDay, _) => {
                let day = Day::new(Plan::new(args.shopping_day(), key));
                self.live.expect(day.purchases());
                Source::Day(day)
            }
            (Profile::Replay, Some(file)) => {
                self.live.enter(Stage::Reading);
                let file = file.clone();
                let read = tokio::task::spawn_blocking(move || replay::read(&file)).await;
                let mut recording =
                    read.unwrap_or_else(|panic| std::panic::resume_unwind(panic.into_panic()))?;
                for basket in &mut recording.baskets {
                    basket.key = format!("{key}-{}", basket.key);
                }
                let tape = Tape::new(recording.baskets.into(), args.replay.bulk);
                self.live.expect(tape.requests());
                Source::Tape(tape)
            }
            _ => Source::Mix(Box::new(Mix::new(args, key))),
        })
    }

    async fn seed(&self, target: &Arc<Target>, source: &Source) -> Result<Ledger, LoadError> {
        let args = self.args;
        match source {
            Source::Mix(mix) if args.get_share() > 0.0 && !args.mix.no_seeding => {
                self.live.enter(Stage::Seeding);
                seed::seed(args, &self.client, target, mix, &self.live, &self.stopping.subscribe())
                    .await
            }
            _ => Ok(Ledger::new(args.verify)),
        }
    }

    async fn measure(
        &self,
        target: Arc<Target>,
        source: Arc<Source>,
        outputs: Outputs,
    ) -> Result<Measured, LoadError> {
        let args = self.args;
        let start = Instant::now() + HEAD_START;
        let begin = start + args.warm_up();
        let end = args.measured().map(|measured| begin + measured);
        let window = Window { begin, end, interval: INTERVAL };
        let began = SystemTime::now() + begin.saturating_duration_since(Instant::now());
        let csv = outputs.csv.map(|file| CsvLog::start(file, self.stopping.clone()));
        let csv = csv.transpose().map_err(LoadError::io("cannot start a thread"))?;
        let (intervals, collecting) = self
            .collector(began, outputs.histogram_log)
            .spawn()
            .map_err(LoadError::io("cannot start a thread"))?;
        let shared = Arc::new(self.shared(target, source, start, window));
        let (threads, pacer) = self.start(&shared, &intervals, csv.as_ref())?;
        drop(intervals);
        self.live.enter(if args.warm_up().is_zero() { Stage::Measuring } else { Stage::WarmUp });
        let joining = tokio::task::spawn_blocking(move || join(threads, pacer));
        let (readings, joined) = self.watch(window, joining).await;
        let (brought, paced) = joined.map_err(LoadError::io("a thread of clients failed"))?;
        // All senders are gone with the threads, so these end by themselves.
        let collected = collecting.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic));
        let collected = collected.map_err(LoadError::io("cannot write the histogram log"))?;
        if let Some(csv) = csv {
            csv.finish().map_err(LoadError::io("cannot write the CSV file"))?;
        }
        let stopped = *self.stopping.borrow();
        Ok(Measured { window, began, readings, collected, brought, paced, stopped })
    }

    fn collector(&self, begin: SystemTime, log: Option<File>) -> Collector {
        Collector {
            threads: self.args.threads(),
            interval: INTERVAL,
            begin,
            live: Arc::clone(&self.live),
            log,
            title: format!("{} against {}", self.args.profile.name(), self.url),
        }
    }

    fn shared(
        &self,
        target: Arc<Target>,
        source: Arc<Source>,
        start: Instant,
        window: Window,
    ) -> Shared {
        let args = self.args;
        Shared {
            target,
            source,
            clients: args.clients,
            start,
            window,
            give_up: window.end.map(|end| end + args.timeout),
            heed_retry_after: !args.ignore_retry_after,
            keep_tally: args.verify,
            live: Arc::clone(&self.live),
            stop: self.stopping.subscribe(),
        }
    }

    /// Starts the threads of clients, and the pacer of an open loop.
    fn start(
        &self,
        shared: &Arc<Shared>,
        intervals: &std::sync::mpsc::SyncSender<super::collector::Message>,
        csv: Option<&CsvLog>,
    ) -> Result<(Vec<Thread>, Option<JoinHandle<Paced>>), LoadError> {
        let args = self.args;
        let count = args.threads();
        let (mut threads, mut queues) = (Vec::new(), Vec::new());
        for number in 0..count {
            let arrivals = args.is_open().then(|| {
                let (queue, arrivals) =
                    mpsc::channel(room(args.backlog, args.clients, number, count));
                queues.push(queue);
                arrivals
            });
            let (intervals, csv, window) =
                (intervals.clone(), csv.map(CsvLog::buffer), shared.window);
            let recorder = move || {
                // The collector ends only when the disk fails, which ends the run.
                let send = move |interval: Option<_>| {
                    let _ended = intervals.send((number, interval.map(Box::new)));
                };
                Recorder::new(window, Box::new(send), csv)
            };
            let thread =
                worker::spawn(Arc::clone(shared), number as u32, count as u32, arrivals, recorder);
            threads.push(thread.map_err(LoadError::io("cannot start a thread"))?);
        }
        let Some(schedule) = self.schedule(&shared.source) else { return Ok((threads, None)) };
        let (start, window, stop) = (shared.start, shared.window, self.stopping.subscribe());
        let clients = args.clients;
        let pacer = Pacer { schedule, start, window, clients, queues, stop }.spawn();
        Ok((threads, Some(pacer.map_err(LoadError::io("cannot start a thread"))?)))
    }

    fn schedule(&self, source: &Source) -> Option<Schedule> {
        let args = self.args;
        match (source, args.rate, args.replay.speed) {
            (Source::Mix(_), Some(rate), _) => {
                Some(Schedule::new(args.arrivals, rate, args.mix.seed))
            }
            (Source::Tape(tape), _, Some(speed)) => Some(tape.schedule(speed)),
            _ => None,
        }
    }

    /// Takes readings when measuring begins and ends, and waits for the threads.
    async fn watch<T>(
        &self,
        window: Window,
        joining: tokio::task::JoinHandle<T>,
    ) -> ((Reading, Reading), T) {
        tokio::pin!(joining);
        let mut joined = None;
        tokio::select! {
            () = sleep_until(window.begin.into()) => self.live.enter(Stage::Measuring),
            all = &mut joining => joined = Some(all),
        }
        let first = Reading::now();
        let mut stop = self.stopping.subscribe();
        if joined.is_none() {
            tokio::select! {
                () = worker::passed(window.end) => {}
                _ = stop.wait_for(|&stop| stop) => {}
                all = &mut joining => joined = Some(all),
            }
        }
        let second = Reading::now();
        self.live.enter(Stage::Finishing);
        let joined = match joined {
            Some(joined) => joined,
            None => joining.await,
        };
        let joined = joined.unwrap_or_else(|panic| std::panic::resume_unwind(panic.into_panic()));
        ((first, second), joined)
    }

    fn summarise(&self, measured: Measured, ledger: &Ledger, seeded: u64) -> Summary {
        let args = self.args;
        let (wall_seconds, measured_seconds) =
            (measured.wall().as_secs_f64(), measured.span().as_secs_f64());
        let (kinds, total) = figures(&measured.collected.totals);
        let own = measured.own(args, self.url, total.requests());
        let arrivals = measured.arrivals();
        let Measured { collected, brought, began, stopped, .. } = measured;
        let mut outcomes = Outcomes::new();
        for (outcome, happened) in brought.into_iter().flat_map(|brought| brought.rest.outcomes) {
            outcomes.entry(outcome).or_default().add(happened);
        }
        let verdicts = verdicts(&own, &total, arrivals.as_ref(), &outcomes, wall_seconds);
        let errors = outcomes
            .into_iter()
            .map(|((kind, outcome), happened)| ErrorKind::new(kind, outcome, happened));
        let mut summary = Summary {
            format: FORMAT,
            generator: concat!("topline loadgen ", env!("CARGO_PKG_VERSION")).to_owned(),
            name: self.name.to_owned(),
            url: self.url.to_owned(),
            started: rfc3339(began),
            profile: args.profile,
            clients: args.clients,
            rate: args.is_open().then(|| args.rate.unwrap_or(0.0)),
            settings: args.shown(),
            ended_early: stopped,
            seeded,
            wall_seconds,
            measured_seconds: Some(measured_seconds),
            throughput: collected.totals.in_time(|_| true) as f64
                / measured_seconds.max(f64::EPSILON),
            total,
            kinds,
            errors: errors.collect(),
            arrivals,
            purchases: PurchaseSummary {
                acknowledged: ledger.acknowledged,
                rejected: ledger.rejected,
                unclear: ledger.unclear_count,
            },
            own,
            verdicts,
            thresholds: Vec::new(),
            verification: None,
            series: collected.series,
        };
        summary.thresholds = args
            .fail_if
            .iter()
            .map(|threshold| threshold.judge(&summary, &collected.totals))
            .collect();
        summary
    }
}

/// Arrivals that may wait for the clients of thread `number`: its part of the backlog.
fn room(backlog: u32, clients: u32, number: usize, threads: usize) -> usize {
    let own = (clients as usize - number).div_ceil(threads);
    (backlog as usize * own).div_ceil(clients as usize)
}

type Thread = JoinHandle<io::Result<Brought>>;

fn join(
    threads: Vec<Thread>,
    pacer: Option<JoinHandle<Paced>>,
) -> io::Result<(Vec<Brought>, Option<Paced>)> {
    let resume = |panic| std::panic::resume_unwind(panic);
    let brought = threads.into_iter().map(|thread| thread.join().unwrap_or_else(resume));
    let brought = brought.collect::<io::Result<Vec<_>>>()?;
    let paced =
        pacer.map(|pacer| pacer.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic)));
    Ok((brought, paced))
}

/// What a run has brought, before it is put into words.
struct Measured {
    window: Window,
    began: SystemTime,
    readings: (Reading, Reading),
    collected: Collected,
    brought: Vec<Brought>,
    paced: Option<Paced>,
    stopped: bool,
}

impl Measured {
    fn rests(&self) -> impl Iterator<Item = &Rest> {
        self.brought.iter().map(|brought| &brought.rest)
    }

    /// From the start of measuring to the last answer, and not shorter than was asked for.
    fn wall(&self) -> Duration {
        let last = self.rests().filter_map(|rest| rest.last).max();
        let asked = if self.stopped { Some(self.readings.1.at) } else { self.window.end };
        let end = last.max(asked).unwrap_or(self.window.begin);
        end.saturating_duration_since(self.window.begin)
    }

    /// The time that throughput is of: as long as was asked for, or until the run was ended, or else until the last
    /// answer. One that comes late does not make the server slower than it was.
    fn span(&self) -> Duration {
        let begin = self.window.begin;
        match self.window.end {
            _ if self.stopped => self.readings.1.at.saturating_duration_since(begin),
            Some(end) => end.saturating_duration_since(begin),
            None => self.wall(),
        }
    }

    fn own(&self, args: &LoadArgs, url: &str, requests: u64) -> OwnSummary {
        let (first, second) = &self.readings;
        let seconds = (second.at - first.at).as_secs_f64().max(1e-3);
        let cpu_seconds = second.cpu.saturating_sub(first.cpu).as_secs_f64();
        let cores = std::thread::available_parallelism().map_or(1, usize::from);
        let busiest = self.rests().max_by(|a, b| a.busy().total_cmp(&b.busy()));
        let mut timers = histogram();
        for rest in self.rests() {
            timers.add(&rest.loop_delays).expect("both have the same bounds");
        }
        OwnSummary {
            cores,
            threads: args.threads(),
            cpu_seconds,
            cpu_share: cpu_seconds / seconds / cores as f64,
            busiest_thread: busiest.map_or(0.0, Rest::busy),
            busiest_waited: busiest.map(Rest::waiting),
            machine_share: first.machine.zip(second.machine).map(|(a, b)| b.busy_since(a)),
            shared_machine: is_local(url),
            timer_p99: milliseconds(timers.value_at_quantile(0.99)),
            timer_max: milliseconds(timers.max()),
            cpu_per_request_us: cpu_seconds * 1e6 / (requests as f64).max(1.0),
            csv_wait_seconds: self.rests().map(|rest| rest.csv_wait.as_secs_f64()).sum(),
        }
    }

    fn arrivals(&self) -> Option<ArrivalSummary> {
        let paced = self.paced.as_ref()?;
        let mut delays = histogram();
        for rest in self.rests() {
            delays.add(&rest.send_delays).expect("both have the same bounds");
        }
        let sum = |count: fn(&Rest) -> u64| self.rests().map(count).sum::<u64>();
        Some(ArrivalSummary {
            due: paced.due,
            late: sum(|rest| rest.late),
            dropped: paced.dropped + sum(|rest| rest.unsent),
            delay_p99: milliseconds(delays.value_at_quantile(0.99)),
            delay_max: milliseconds(delays.max()),
            clock_p99: milliseconds(paced.delays.value_at_quantile(0.99)),
            clock_max: milliseconds(paced.delays.max()),
        })
    }
}

fn rfc3339(time: SystemTime) -> String {
    let since = time.duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
    Timestamp::from_millis_clamped(i64::try_from(since.as_millis()).unwrap_or(i64::MAX)).to_string()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn threads_have_room_for_the_arrivals_of_their_clients() {
        let rooms = |backlog, clients, threads| -> Vec<usize> {
            (0..threads).map(|number| room(backlog, clients, number, threads)).collect()
        };
        assert_eq!(rooms(300, 3, 2), [200, 100]);
        assert_eq!(rooms(1, 4, 4), [1, 1, 1, 1]);
    }
}
