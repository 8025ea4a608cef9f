//! All services in one process, on the embedded log or a Fluvio cluster.
//!
//! Start: listeners, log, view, job, ingest. Stop, in the order that loses nothing: no new requests and
//! those at hand answered; what is queued made durable; the job's last checkpoints; the log.

use std::{future::Future, net::SocketAddr, path::PathBuf, sync::Arc, time::Duration};

use anyhow::anyhow;
use clap::Args;
use futures_util::future::BoxFuture;
use http_server::{Condition, Readiness, RouteTable};
use ingest::{Downstream, IngestArgs, IngestHandle};
use log::EmbeddedConfig;
use model::{Offset, Partition, PartitionCount, Position, parse_duration};
use stream_job::{Job, JobConfig, Restoring, Saturated, Target};
use telemetry::Metrics;
use tokio::{sync::watch, task::JoinHandle};
use tokio_util::sync::CancellationToken;
use view::{View, ViewConfig};

use crate::{
    admin,
    cli::WrongUsage,
    listeners::{AdminArgs, Bound, Listener, PublicArgs},
    stream::{End, SideArgs, Stream, StreamArgs},
    termination::Termination,
};

/// How often the metrics that are read off, not counted along, are brought up to date.
const SAMPLE_INTERVAL: Duration = Duration::from_secs(1);

/// How often to look whether the job has recovered.
const RECOVERY_INTERVAL: Duration = Duration::from_millis(20);

/// Settings of a server.
#[derive(Debug, Clone, Args)]
pub(crate) struct ServerArgs {
    #[command(flatten)]
    pub(crate) public: PublicArgs,
    #[command(flatten)]
    pub(crate) admin: AdminArgs,

    /// Where the data is [default: ./topline-data; for a demo a temporary directory]
    #[arg(long, env = "TOPLINE_DATA_DIR", value_name = "DIRECTORY")]
    pub(crate) data_dir: Option<PathBuf>,

    /// Partitions of the embedded log, 1 to 1024; fixed when the data directory is made
    #[arg(long, env = "TOPLINE_PARTITIONS", default_value = "4", value_parser = partitions)]
    pub(crate) partitions: PartitionCount,

    /// Least time from one commit of the embedded log to the next while several partitions are written:
    /// longer ones cost less CPU time, and purchases are answered later by up to as much
    #[arg(long, env = "TOPLINE_COMMIT_INTERVAL", default_value = "1ms", value_parser = commit_interval)]
    pub(crate) commit_interval: Duration,

    #[command(flatten)]
    pub(crate) stream: StreamArgs,
    #[command(flatten)]
    pub(crate) side: SideArgs,
    #[command(flatten)]
    pub(crate) ingest: IngestArgs,
    #[command(flatten)]
    pub(crate) job: stream_job::Args,
    #[command(flatten)]
    pub(crate) query: query_api::Args,
}

/// Reads a number of partitions.
pub(crate) fn partitions(text: &str) -> Result<PartitionCount, String> {
    let count = text.parse().map_err(|_| format!("'{text}' is not a number"))?;
    PartitionCount::new(count).map_err(|error| error.to_string())
}

/// Purchases wait for a commit: not for longer than this.
const MAX_COMMIT_INTERVAL: Duration = Duration::from_secs(1);

/// Reads a time between commits.
fn commit_interval(text: &str) -> Result<Duration, String> {
    let interval = parse_duration(text)?;
    if interval > MAX_COMMIT_INTERVAL {
        return Err("purchases wait for a commit: expected at most 1s".to_owned());
    }
    Ok(interval)
}

/// `topline serve`: until Ctrl-C or SIGTERM.
pub(crate) async fn run(args: ServerArgs, termination: &Termination) -> anyhow::Result<()> {
    let data_dir = args.data_dir.clone().unwrap_or_else(|| "topline-data".into());
    let running = termination.during(start(&args, data_dir)).await?;
    running.until(termination.asked(1)).await
}

/// A server that is running.
#[derive(Debug)]
pub(crate) struct Running {
    /// Where the public listener is.
    pub(crate) public: SocketAddr,
    /// Where the admin listener is.
    pub(crate) admin: SocketAddr,
    stream: Stream,
    /// How long the stream may take for what is under way at the end.
    patience: Duration,
    ingest: IngestHandle,
    job: JoinHandle<Result<(), stream_job::JobError>>,
    public_listener: Listener,
    admin_listener: Listener,
    serving: Condition,
    stop_ingest: CancellationToken,
    stop_job: CancellationToken,
    stop_looking: CancellationToken,
}

/// Starts everything. The addresses are taken first; they answer once the log has been verified, GETs
/// with 503 until the job has recovered.
///
/// # Errors
/// If an address is taken, or the data cannot be used; the message says what to do.
pub(crate) async fn start(args: &ServerArgs, data_dir: PathBuf) -> anyhow::Result<Running> {
    let job = args.job.config(data_dir.join("checkpoints")).map_err(WrongUsage::of)?;
    let metrics = Metrics::new()?;
    let (public, admin) = (Bound::public(&args.public)?, Bound::admin(&args.admin)?);
    let (stream, view, job) = open(args, data_dir, job, &metrics).await?;
    let log = stream.log();

    let [stop_ingest, stop_job, stop_looking] = std::array::from_fn(|_| CancellationToken::new());
    let side_outputs = job.side_outputs();
    let saturation = job.saturation();
    let job = tokio::spawn(job.run(stop_job.clone()));
    let shown: Arc<dyn Downstream> = Arc::new(Shown(view.clone()));
    let ingest = ingest::start(&args.ingest, &log, Some(&shown), &metrics.ingest, &stop_ingest);

    tokio::spawn(refuse_when_full(saturation, ingest.clone()));

    let routes = RouteTable::new(&metrics.http)
        .with(query_api::routes(view.clone(), metrics.view.clone(), &args.query))
        .with(ingest::routes(ingest.clone(), &args.ingest, metrics.ingest.clone()));
    let public = public.serve(routes, &metrics);
    let readiness = Readiness::new();
    let recovered = readiness.condition("view", "the job is recovering");
    let serving = readiness.condition("server", "starting");
    serving.ready();
    tokio::spawn(announce(view.clone(), recovered, stop_looking.clone()));
    tokio::spawn(sample(stream.clone(), view, metrics.clone(), stop_looking.clone()));
    let admin = admin.serve_admin(readiness, Some(admin::routes(side_outputs)), &metrics);
    tracing::info!("serving on {}, admin on {}", public.url(), admin.url());
    Ok(Running {
        public: public.address,
        admin: admin.address,
        stream,
        patience: args.public.listener.drain_timeout,
        ingest,
        job,
        public_listener: public,
        admin_listener: admin,
        serving,
        stop_ingest,
        stop_job,
        stop_looking,
    })
}

/// Takes no purchases in as long as the state of a partition is full.
async fn refuse_when_full(mut saturation: watch::Receiver<Saturated>, ingest: IngestHandle) {
    while saturation.changed().await.is_ok() {
        let reason = saturation.borrow_and_update().values().next().cloned();
        if let Some(reason) = &reason {
            tracing::warn!("POSTs are refused: {reason}");
        } else {
            tracing::info!("POSTs are taken again");
        }
        ingest.refuse(reason);
    }
}

/// Opens the stream and the job's state. What is on the disk blocks for long if it is large, so it is
/// opened on threads of its own.
async fn open(
    args: &ServerArgs,
    data_dir: PathBuf,
    job_config: JobConfig,
    metrics: &Metrics,
) -> anyhow::Result<(Stream, Arc<View>, Job)> {
    let log_config = EmbeddedConfig {
        commit_interval: args.commit_interval,
        ..EmbeddedConfig::new(data_dir.join("log"), args.partitions)
    };
    // How many partitions the embedded log has is known before it is open, and it takes some time to verify.
    let restoring = if args.stream.is_fluvio() {
        Restoring::default()
    } else {
        let (config, partitions) = (job_config.clone(), args.partitions);
        tokio::task::spawn_blocking(move || Restoring::begin(&config, partitions)).await?
    };
    let stream = Stream::open(&args.stream, log_config, &metrics.log).await?;
    let log = stream.log();
    let view_config = ViewConfig {
        partitions: log.partitions(),
        window: job_config.window.clone(),
        max_rendered_bytes: args.query.max_rendered_bytes,
    };
    let view = View::new(&view_config, Arc::new(End(log.clone())));
    // The embedded log has no topics beside it: there, what is kept in the checkpoints is all.
    let side_topics = match &stream {
        Stream::Fluvio(log) => Some(args.stream.side_topics(&args.side, &**log).await?),
        Stream::Embedded(_) => None,
    };
    let (shown, metrics) = (Target::View(view.clone()), metrics.job.clone());
    let mut job = Job::open(job_config, restoring, log, shown, metrics).await?;
    if let Some(topics) = side_topics {
        job = job.with_side_topics(topics).await?;
    }
    Ok((stream, view, job))
}

/// Tells ingest what shows.
#[derive(Debug)]
struct Shown(Arc<View>);

/// How long a batch waits at most for those before it to show. Then the job is recovering, and ingest
/// goes on at this pace.
const SHOWN_PATIENCE: Duration = Duration::from_millis(250);

impl Downstream for Shown {
    fn reached(&self, partition: Partition, next: Offset) -> BoxFuture<'static, ()> {
        let view = self.0.clone();
        Box::pin(async move {
            let position = Position::from_iter([(partition, next)]);
            if let Err(late) = view.wait_for(&position, SHOWN_PATIENCE).await {
                tracing::debug!(%late, "purchases become durable faster than they show");
            }
        })
    }
}

/// Says that the server is ready as soon as the job has recovered.
async fn announce(view: Arc<View>, recovered: Condition, stop: CancellationToken) {
    let mut ticks = tokio::time::interval(RECOVERY_INTERVAL);
    while !view.is_ready() {
        if stop.run_until_cancelled(ticks.tick()).await.is_none() {
            return;
        }
    }
    recovered.ready();
}

/// Keeps up to date what is read off, not counted along: sizes of log and view.
async fn sample(stream: Stream, view: Arc<View>, metrics: Metrics, stop: CancellationToken) {
    let mut ticks = tokio::time::interval(SAMPLE_INTERVAL);
    while stop.run_until_cancelled(ticks.tick()).await.is_some() {
        query_api::record(&view, &metrics.view);
        stream.sample(&metrics.log);
    }
}

impl Running {
    /// Serves until `stop` resolves, then ends in order.
    ///
    /// # Errors
    /// If a service fails: at once, without order, for what was not acknowledged by then is not
    /// to be pretended durable.
    pub(crate) async fn until(mut self, stop: impl Future<Output = ()>) -> anyhow::Result<()> {
        tokio::select! {
            () = stop => {}
            failure = self.stream.failed() => return Err(failure),
            failure = self.public_listener.failed() => return Err(failure),
            failure = self.admin_listener.failed() => return Err(failure),
            () = self.ingest.failed() => {
                let reason = self.ingest.failure().map(ToString::to_string).unwrap_or_default();
                return Err(anyhow!("purchases can no longer be made durable: {reason}"));
            }
            ended = &mut self.job => {
                ended??;
                return Err(anyhow!("the job has ended by itself"));
            }
        }
        self.serving.not_ready("stopping");
        tracing::info!("stopping: answering what is at hand");
        self.public_listener.stop().await?;
        self.stop_ingest.cancel();
        if tokio::time::timeout(self.patience, self.ingest.drained()).await.is_err() {
            // The workers first: to them, a stream that closes by itself is a failure.
            self.stop_job.cancel();
            self.stream.give_up();
            self.ingest.drained().await;
        }
        self.stop_job.cancel();
        self.stream.give(self.patience, &mut self.job).await??;
        self.stream.shutdown().await?;
        self.stop_looking.cancel();
        self.admin_listener.stop().await?;
        tracing::info!("stopped");
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn commits_wait_for_a_second_at_most() {
        assert_eq!(commit_interval("1ms"), Ok(Duration::from_millis(1)));
        assert_eq!(commit_interval("1s"), Ok(MAX_COMMIT_INTERVAL));
        let refused = commit_interval("1001ms").expect_err("too long");
        assert!(refused.contains("at most 1s"), "{refused}");
    }
}
