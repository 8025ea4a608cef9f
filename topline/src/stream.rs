//! The stream of a server: the embedded log, or topics of a Fluvio cluster.

use std::{future::Future, pin::pin, sync::Arc, time::Duration};

use anyhow::bail;
use clap::Args;
use fluvio_log::{Cluster, ClusterArgs, FluvioLog, FluvioLogConfig, Isolation};
use log::{CommitObserver, EmbeddedConfig, EmbeddedLog, Log};
use model::{Offset, Partition, parse_duration};
use stream_job::SideTopics;
use telemetry::LogMetrics;
use view::StreamEnd;

use crate::cli::WrongUsage;

/// Settings of the stream on a Fluvio cluster.
#[derive(Debug, Clone, Args)]
pub(crate) struct StreamArgs {
    #[command(flatten)]
    pub(crate) cluster: ClusterArgs,

    /// Topic of the purchases
    #[arg(
        long,
        env = "TOPLINE_PURCHASES_TOPIC",
        default_value = "purchases",
        value_name = "NAME",
        help_heading = "Fluvio"
    )]
    pub(crate) purchases_topic: String,

    /// When the cluster acknowledges purchases: when all replicas have them, or the leader
    #[arg(
        long,
        env = "TOPLINE_FLUVIO_ISOLATION",
        value_enum,
        default_value_t,
        help_heading = "Fluvio"
    )]
    pub(crate) fluvio_isolation: Isolation,

    /// Time to wait for the cluster at the start
    #[arg(long, env = "TOPLINE_FLUVIO_WAIT", default_value = "60s", value_parser = parse_duration,
        help_heading = "Fluvio")]
    pub(crate) fluvio_wait: Duration,
}

/// Settings of the feed from the workers to the replicas.
#[derive(Debug, Clone, Args)]
pub(crate) struct FeedArgs {
    /// Topic of the views: what workers write for the replicas that answer queries
    #[arg(
        long,
        env = "TOPLINE_VIEWS_TOPIC",
        default_value = "views",
        value_name = "NAME",
        help_heading = "Fluvio"
    )]
    pub(crate) views_topic: String,
}

/// Settings of the topics for what could not be counted as it should.
#[derive(Debug, Clone, Args)]
pub(crate) struct SideArgs {
    /// Topic of the late purchases: those whose business day had closed
    #[arg(
        long,
        env = "TOPLINE_LATE_TOPIC",
        default_value = "late",
        value_name = "NAME",
        help_heading = "Fluvio"
    )]
    pub(crate) late_topic: String,

    /// Topic of the dead letters: records of the stream that are not batches
    #[arg(
        long,
        env = "TOPLINE_DEAD_LETTERS_TOPIC",
        default_value = "dead-letters",
        value_name = "NAME",
        help_heading = "Fluvio"
    )]
    pub(crate) dead_letters_topic: String,
}

impl StreamArgs {
    /// Whether the stream is on a Fluvio cluster; else it is the embedded log.
    pub(crate) fn is_fluvio(&self) -> bool {
        self.cluster.fluvio.is_some()
    }

    /// The cluster, for a role that cannot do without.
    ///
    /// # Errors
    /// If none is given, or its settings cannot be used.
    pub(crate) fn cluster(&self) -> anyhow::Result<Cluster> {
        let cluster = self.cluster.cluster()?;
        Ok(cluster.ok_or_else(|| WrongUsage::of("say which cluster: --fluvio HOST:PORT"))?)
    }

    /// A topic of the cluster as a log.
    ///
    /// # Errors
    /// If the cluster is not ready in time, or has no such topic.
    pub(crate) async fn topic(&self, topic: &str) -> anyhow::Result<Arc<FluvioLog>> {
        let config = FluvioLogConfig {
            cluster: self.cluster()?,
            topic: topic.to_owned(),
            isolation: self.fluvio_isolation,
            open_timeout: self.fluvio_wait,
        };
        Ok(FluvioLog::open(config).await?)
    }

    /// Another topic that goes with the stream: partition p of one belongs to partition p of the other.
    ///
    /// # Errors
    /// As [`Self::topic`], or if it has another number of partitions.
    pub(crate) async fn companion(
        &self,
        topic: &str,
        stream: &dyn Log,
    ) -> anyhow::Result<Arc<FluvioLog>> {
        let opened = self.topic(topic).await?;
        let [purchases, other] = [stream, &*opened].map(|log| log.partitions().get());
        if purchases != other {
            bail!(
                "the topics '{}' and '{topic}' have {purchases} and {other} partitions: they must have \
                 the same",
                self.purchases_topic
            );
        }
        Ok(opened)
    }

    /// The topics of the side outputs of the stream.
    ///
    /// # Errors
    /// As [`Self::companion`].
    pub(crate) async fn side_topics(
        &self,
        side: &SideArgs,
        stream: &dyn Log,
    ) -> anyhow::Result<SideTopics> {
        let late = self.companion(&side.late_topic, stream).await?;
        let dead_letters = self.companion(&side.dead_letters_topic, stream).await?;
        Ok(SideTopics { late, dead_letters })
    }
}

/// The stream of a server.
#[derive(Debug, Clone)]
pub(crate) enum Stream {
    Embedded(Arc<EmbeddedLog>),
    Fluvio(Arc<FluvioLog>),
}

impl Stream {
    /// Opens the topic of the cluster, or else the embedded log.
    ///
    /// # Errors
    /// If the data cannot be used, or the cluster is not ready in time.
    pub(crate) async fn open(
        args: &StreamArgs,
        mut embedded: EmbeddedConfig,
        metrics: &LogMetrics,
    ) -> anyhow::Result<Self> {
        if args.is_fluvio() {
            return Ok(Self::Fluvio(args.topic(&args.purchases_topic).await?));
        }
        embedded.observer = Some(Arc::new(Commits(metrics.clone())));
        let opened = tokio::task::spawn_blocking(move || EmbeddedLog::open(embedded)).await?;
        Ok(Self::Embedded(opened?))
    }

    pub(crate) fn log(&self) -> Arc<dyn Log> {
        match self {
            Self::Embedded(log) => log.clone(),
            Self::Fluvio(log) => log.clone(),
        }
    }

    /// Resolves if the stream cannot be used any more. A cluster out of reach is waited for.
    pub(crate) async fn failed(&self) -> anyhow::Error {
        match self {
            Self::Embedded(log) => log.failed().await.into(),
            Self::Fluvio(_) => std::future::pending().await,
        }
    }

    /// Closes it, when nobody appends or reads any more.
    pub(crate) async fn shutdown(&self) -> anyhow::Result<()> {
        match self {
            Self::Embedded(log) => log.shutdown().await.map_err(Into::into),
            Self::Fluvio(log) => {
                log.close();
                Ok(())
            }
        }
    }

    /// Waits for `work`, which reads or appends; but if the stream does not answer for so long, it is closed,
    /// and the work ends with what it has.
    pub(crate) async fn give<T>(&self, time: Duration, work: impl Future<Output = T>) -> T {
        let mut work = pin!(work);
        if let Ok(done) = tokio::time::timeout(time, &mut work).await {
            return done;
        }
        self.give_up();
        work.await
    }

    /// Closes a stream that does not answer, so that nobody waits for it any more.
    pub(crate) fn give_up(&self) {
        if let Self::Fluvio(log) = self {
            tracing::warn!("the cluster does not answer: what it has not acknowledged is given up");
            log.close();
        }
    }

    /// Brings its metrics up to date.
    pub(crate) fn sample(&self, metrics: &LogMetrics) {
        let log = self.log();
        for partition in log.partitions().iter() {
            let bounds = log.bounds(partition);
            let metrics = metrics.partition(partition.0);
            metrics.end_offset.set(bounds.next.0 as i64);
            metrics.earliest_offset.set(bounds.earliest.0 as i64);
            metrics.available.set(i64::from(log.unavailable(partition).is_none()));
            if let Self::Embedded(log) = self {
                metrics.held_bytes.set(log.held_bytes(partition) as i64);
            }
        }
        if let Self::Embedded(log) = self {
            match log.storage_bytes() {
                Ok(bytes) => metrics.storage_bytes.set(bytes as i64),
                Err(error) => tracing::warn!(%error, "the size of the log cannot be read"),
            }
        }
    }
}

/// Tells the view where the stream ends.
#[derive(Debug)]
pub(crate) struct End(pub(crate) Arc<dyn Log>);

impl StreamEnd for End {
    fn next_offset(&self, partition: Partition) -> Offset {
        self.0.bounds(partition).next
    }

    fn unconfirmed(&self, partition: Partition) -> Duration {
        self.0.unconfirmed(partition)
    }
}

/// Tells the metrics of the log's commits.
struct Commits(LogMetrics);

impl CommitObserver for Commits {
    fn committed(&self, batches: usize, _bytes: usize, took: Duration) {
        self.0.commit_batches.observe(batches as f64);
        self.0.commit_duration.observe(took.as_secs_f64());
    }
}
