//! The roles as processes of their own, over a Fluvio cluster: `ingest` takes purchases in, `job` counts
//! them, `query` answers. They share nothing but the topics.

use std::{
    env, fs,
    future::pending,
    path::PathBuf,
    sync::{Arc, atomic::Ordering::SeqCst},
    time::Duration,
};

use anyhow::{Context, anyhow};
use clap::Args;
use http_server::Condition;
use ingest::IngestArgs;
use log::Log;
use model::parse_duration;
use stream_job::{Assignment, Feed, Job, Restoring, Target, WindowArgs};
use telemetry::Metrics;
use tokio_util::sync::CancellationToken;
use view::{View, ViewConfig};

use crate::{
    admin,
    cli::WrongUsage,
    listeners::{AdminArgs, PublicArgs},
    replica,
    role::Role,
    stream::{End, FeedArgs, SideArgs, Stream, StreamArgs},
    termination::Termination,
};

/// How long the stream may take for what a worker has under way at the end.
const PATIENCE: Duration = Duration::from_secs(20);

/// Settings of `topline ingest`.
#[derive(Debug, Clone, Args)]
pub(crate) struct IngestRoleArgs {
    #[command(flatten)]
    public: PublicArgs,
    #[command(flatten)]
    admin: AdminArgs,
    #[command(flatten)]
    stream: StreamArgs,
    #[command(flatten)]
    ingest: IngestArgs,
}

/// Settings of `topline job`.
#[derive(Debug, Clone, Args)]
pub(crate) struct JobRoleArgs {
    #[command(flatten)]
    admin: AdminArgs,

    /// Where the checkpoints are; for one worker, or for all if they share it
    #[arg(
        long,
        env = "TOPLINE_DATA_DIR",
        value_name = "DIRECTORY",
        default_value = "topline-data"
    )]
    data_dir: PathBuf,

    /// How many workers share the partitions
    #[arg(long, env = "TOPLINE_WORKERS", default_value_t = 1,
        value_parser = clap::value_parser!(u32).range(1..))]
    workers: u32,

    /// Which of them this is, from 0: it takes the partitions whose number leaves it when divided by
    /// --workers [default: the number at the end of the host's name, as a `StatefulSet` gives it]
    #[arg(long, env = "TOPLINE_WORKER")]
    worker: Option<u32>,

    /// Time that changes are gathered before they are written for the replicas
    #[arg(long, env = "TOPLINE_FEED_INTERVAL", default_value = "50ms", value_parser = parse_duration)]
    feed_interval: Duration,

    /// Time between two keyframes, where new replicas start; shorter than the views are kept
    #[arg(long, env = "TOPLINE_KEYFRAME_INTERVAL", default_value = "60s", value_parser = parse_duration)]
    keyframe_interval: Duration,

    #[command(flatten)]
    stream: StreamArgs,
    #[command(flatten)]
    feed: FeedArgs,
    #[command(flatten)]
    side: SideArgs,
    #[command(flatten)]
    job: stream_job::Args,
}

/// Settings of `topline query`.
#[derive(Debug, Clone, Args)]
pub(crate) struct QueryRoleArgs {
    #[command(flatten)]
    public: PublicArgs,
    #[command(flatten)]
    admin: AdminArgs,
    #[command(flatten)]
    stream: StreamArgs,
    #[command(flatten)]
    feed: FeedArgs,
    #[command(flatten)]
    window: WindowArgs,
    #[command(flatten)]
    query: query_api::Args,
}

/// `topline ingest`: until Ctrl-C or SIGTERM.
pub(crate) async fn ingest(args: IngestRoleArgs, termination: &Termination) -> anyhow::Result<()> {
    let condition = ("stream", "the cluster is not reached yet");
    let mut role = Role::start(&args.admin, Metrics::new()?, condition, None, termination)?;
    let topic = args.stream.topic(&args.stream.purchases_topic);
    let stream = Stream::Fluvio(termination.during(topic).await?);
    let (log, stop) = (stream.log(), CancellationToken::new());
    let metrics = role.metrics.ingest.clone();
    let handle = ingest::start(&args.ingest, &log, None, &metrics, &stop);
    role.listen(&args.public, ingest::routes(handle.clone(), &args.ingest, metrics))?;
    let failure = async {
        handle.failed().await;
        anyhow!("purchases can no longer be made durable")
    };
    role.serve(failure, |metrics, reachable| {
        stream.sample(&metrics.log);
        say_reachable(&*log, reachable);
    })
    .await?;
    stop.cancel();
    stream.give(args.public.listener.drain_timeout, handle.drained()).await;
    role.end(&[&stream]).await
}

/// Ready as long as some partition takes purchases: those of the others are refused one by one.
fn say_reachable(log: &dyn Log, reachable: &Condition) {
    let problems: Vec<_> =
        log.partitions().iter().map(|partition| log.unavailable(partition)).collect();
    match problems.into_iter().collect::<Option<Vec<_>>>() {
        Some(all) => reachable.not_ready(all.into_iter().next().unwrap_or_default()),
        None => reachable.ready(),
    }
}

/// `topline job`: until Ctrl-C or SIGTERM.
pub(crate) async fn job(args: JobRoleArgs, termination: &Termination) -> anyhow::Result<()> {
    let assignment = assignment(args.worker, args.workers)?;
    let mut config = args.job.config(args.data_dir.join("checkpoints")).map_err(WrongUsage::of)?;
    config.assignment = assignment;
    let metrics = Metrics::new()?;
    let topic = args.stream.topic(&args.stream.purchases_topic);
    let stream = Stream::Fluvio(termination.during(topic).await?);
    let log = stream.log();
    let views = args.stream.companion(&args.feed.views_topic, &*log);
    let views = Stream::Fluvio(termination.during(views).await?);
    let side_topics = termination.during(args.stream.side_topics(&args.side, &*log)).await?;
    let feed = Feed::new(views.log(), args.feed_interval, args.keyframe_interval);
    let mine = assignment.of(log.partitions()).count() as u32;
    let (target, job_metrics) = (Target::Feed(feed.clone()), metrics.job.clone());
    let job = async {
        let job = Job::open(config, Restoring::default(), log, target, job_metrics).await?;
        Ok(job.with_side_topics(side_topics).await?)
    };
    let job = termination.during(job).await?;
    let side_outputs = Some(admin::routes(job.side_outputs()));
    let mut role =
        Role::start(&args.admin, metrics, ("job", "recovering"), side_outputs, termination)?;
    let stop = CancellationToken::new();
    let mut running = tokio::spawn(job.run(stop.clone()));
    tracing::info!(
        worker = assignment.worker,
        workers = assignment.workers,
        partitions = mine,
        "counting, admin on {}",
        role.admin.url()
    );
    let failure = async {
        match (&mut running).await {
            Ok(Ok(())) => anyhow!("the job has ended by itself"),
            Ok(Err(error)) => error.into(),
            Err(error) => error.into(),
        }
    };
    role.serve(failure, |metrics, recovered| {
        stream.sample(&metrics.log);
        if feed.ready_partitions() == mine {
            recovered.ready();
        }
    })
    .await?;
    stop.cancel();
    stream.give(PATIENCE, running).await??;
    role.end(&[&views, &stream]).await
}

/// Which worker this is.
fn assignment(worker: Option<u32>, workers: u32) -> Result<Assignment, WrongUsage> {
    let worker = match worker {
        Some(worker) => worker,
        None if workers == 1 => 0,
        None => host_number().ok_or_else(|| {
            WrongUsage::of(
                "say which worker this is, with --worker: the host's name does not end in -N",
            )
        })?,
    };
    if worker >= workers {
        return Err(WrongUsage(format!(
            "--worker {worker}: workers are numbered from 0, and there are {workers} (--workers)"
        )));
    }
    Ok(Assignment { worker, workers })
}

/// The number at the end of the host's name.
fn host_number() -> Option<u32> {
    let name = env::var("HOSTNAME").ok().or_else(|| fs::read_to_string("/etc/hostname").ok())?;
    name.trim().rsplit_once('-')?.1.parse().ok()
}

/// `topline query`: until Ctrl-C or SIGTERM.
pub(crate) async fn query(args: QueryRoleArgs, termination: &Termination) -> anyhow::Result<()> {
    const NOT_SEEN: &str = "not all partitions have been seen yet";
    let window = args.window.config().map_err(WrongUsage::of)?;
    let mut role =
        Role::start(&args.admin, Metrics::new()?, ("view", NOT_SEEN), None, termination)?;
    let topic = args.stream.topic(&args.stream.purchases_topic);
    let stream = Stream::Fluvio(termination.during(topic).await?);
    let log = stream.log();
    let views = args.stream.companion(&args.feed.views_topic, &*log);
    let views = Stream::Fluvio(termination.during(views).await?);
    let config = ViewConfig {
        partitions: log.partitions(),
        window,
        max_rendered_bytes: args.query.max_rendered_bytes,
    };
    let view = View::new(&config, Arc::new(End(log)));
    let (metrics, stop) = (role.metrics.clone(), CancellationToken::new());
    let caught_up = replica::follow(&views.log(), &view, &metrics.feed, &stop)
        .context("cannot start the threads that follow the feed")?;
    role.listen(&args.public, query_api::routes(view.clone(), metrics.view, &args.query))?;
    role.serve(pending(), |metrics, recovered| {
        stream.sample(&metrics.log);
        query_api::record(&view, &metrics.view);
        if view.is_ready() && caught_up.load(SeqCst) == config.partitions.get() {
            recovered.ready();
        } else {
            recovered.not_ready(NOT_SEEN);
        }
    })
    .await?;
    stop.cancel();
    role.end(&[&views, &stream]).await
}
