//! `topline setup`: gets a Fluvio cluster ready.

use std::time::Duration;

use anyhow::Context;
use clap::Args;
use fluvio_log::{Spu, Topic, setup};
use model::{PartitionCount, parse_duration};

use crate::{
    serve::partitions,
    stream::{FeedArgs, SideArgs, StreamArgs},
    terminal,
};

/// Settings of `topline setup`.
#[derive(Debug, Clone, Args)]
pub(crate) struct SetupArgs {
    #[command(flatten)]
    pub(crate) stream: StreamArgs,
    #[command(flatten)]
    pub(crate) feed: FeedArgs,
    #[command(flatten)]
    pub(crate) side: SideArgs,

    /// Partitions of the topics, 1 to 1024; fixed when they are made
    #[arg(long, env = "TOPLINE_PARTITIONS", default_value = "12", value_parser = partitions)]
    pub(crate) partitions: PartitionCount,

    /// Replicas of each partition; fixed when the topics are made
    #[arg(long, env = "TOPLINE_REPLICATION", default_value = "1",
        value_parser = clap::value_parser!(u32).range(1..))]
    pub(crate) replication: u32,

    /// Time that purchases are kept; longer than any worker may be down
    #[arg(long, env = "TOPLINE_TOPIC_RETENTION", default_value = "168h", value_parser = parse_duration)]
    pub(crate) topic_retention: Duration,

    /// Bytes that are kept of a partition; no limit if not given
    #[arg(long, env = "TOPLINE_TOPIC_PARTITION_BYTES")]
    pub(crate) topic_partition_bytes: Option<u64>,

    /// Time that views are kept; longer than the interval of keyframes
    #[arg(long, env = "TOPLINE_VIEWS_RETENTION", default_value = "1h", value_parser = parse_duration)]
    pub(crate) views_retention: Duration,

    /// Time that late purchases and dead letters are kept
    #[arg(long, env = "TOPLINE_SIDE_RETENTION", default_value = "720h", value_parser = parse_duration)]
    pub(crate) side_retention: Duration,

    /// Bytes of a segment: what is not kept any more goes a segment at a time
    #[arg(long, env = "TOPLINE_TOPIC_SEGMENT_BYTES", default_value = "134217728",
        value_parser = clap::value_parser!(u32).range(4_194_304..=1_073_741_824))]
    pub(crate) topic_segment_bytes: u32,

    /// An SPU to make known to the controller, for clusters whose SPUs run by themselves; may be repeated, or name
    /// several with ';' between them
    #[arg(
        long = "register-spu",
        env = "TOPLINE_REGISTER_SPU",
        value_delimiter = ';',
        value_name = "ID=HOST:PORT,HOST:PORT"
    )]
    pub(crate) register_spus: Vec<Spu>,
}

impl SetupArgs {
    fn topics(&self) -> [Topic; 4] {
        let purchases = Topic {
            name: self.stream.purchases_topic.clone(),
            partitions: self.partitions.get(),
            replication: self.replication,
            retention: self.topic_retention,
            max_partition_bytes: self.topic_partition_bytes,
            segment_bytes: self.topic_segment_bytes,
        };
        let views = Topic {
            name: self.feed.views_topic.clone(),
            retention: self.views_retention,
            max_partition_bytes: None,
            ..purchases.clone()
        };
        let side = |name: &String| Topic {
            name: name.clone(),
            retention: self.side_retention,
            max_partition_bytes: None,
            ..purchases.clone()
        };
        let (late, dead_letters) =
            (side(&self.side.late_topic), side(&self.side.dead_letters_topic));
        [purchases, views, late, dead_letters]
    }
}

/// Registers the SPUs and makes the topics, unless they are there, and waits until they are in service.
pub(crate) async fn run(args: SetupArgs) -> anyhow::Result<()> {
    let cluster = args.stream.cluster()?;
    let topics = args.topics();
    setup(&cluster, &args.register_spus, &topics, args.stream.fluvio_wait)
        .await
        .with_context(|| format!("the cluster at {}", cluster.address()))?;
    let [purchases, views, late, dead_letters] = topics.map(|topic| topic.name);
    terminal::say(format_args!(
        "ready: topics {purchases}, {views}, {late} and {dead_letters} with {} partitions, replication \
         {}, at {}",
        args.partitions.get(),
        args.replication,
        cluster.address()
    ));
    Ok(())
}
