//! Settings of the job.

use std::{path::PathBuf, time::Duration};

use clap::ValueEnum;
use model::{Partition, PartitionCount, parse_duration};
use window::{Config, ConfigError, WindowKind};

/// Bytes read from the stream at a time.
const READ_BYTES: usize = 256 << 10;

/// What to do with the checkpoints at start.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, ValueEnum)]
pub enum Rebuild {
    /// Continue from them.
    #[default]
    No,
    /// Discard them and count the stream from its beginning; refused if its beginning is gone.
    Complete,
    /// Discard them and count what the stream still holds, leaving out what is gone.
    Remaining,
}

/// Which partitions a job takes: those whose number leaves the worker's when divided by the number of workers.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Assignment {
    /// Which worker this is, below `workers`.
    pub worker: u32,
    /// How many there are, at least one.
    pub workers: u32,
}

impl Assignment {
    /// All partitions.
    pub const ALL: Self = Self { worker: 0, workers: 1 };

    /// The partitions, ascending.
    pub fn of(self, partitions: PartitionCount) -> impl Iterator<Item = Partition> {
        partitions.iter().filter(move |partition| partition.0 % self.workers == self.worker)
    }
}

/// What is aggregated, on the command line or in the environment; the same for all that work on one stream.
#[derive(Debug, Clone, clap::Args)]
#[group(id = "window-settings")]
#[command(next_help_heading = "Windows")]
pub struct WindowArgs {
    /// Windows to keep, of: all, day, 24h, 1h, 5m, 1m; a change later takes --rebuild
    #[arg(
        long,
        env = "TOPLINE_WINDOWS",
        value_delimiter = ',',
        default_value = "all,day,24h,1h,5m,1m"
    )]
    pub windows: Vec<WindowKind>,

    /// Length of the top lists, 10 to 1000; the greatest `k` that can be asked for; a change later takes --rebuild
    #[arg(long, env = "TOPLINE_MAX_K", default_value_t = 100,
        value_parser = clap::value_parser!(u32).range(10..=i64::from(Config::MAX_K)))]
    pub max_k: u32,

    /// How far the watermark trails the greatest event time seen
    #[arg(long, env = "TOPLINE_ALLOWED_DISORDER", default_value = "5s", value_parser = parse_duration)]
    pub allowed_disorder: Duration,

    /// A business day closes when a date this many days later has been seen; a change later takes
    /// --rebuild
    #[arg(long, env = "TOPLINE_ALLOWED_LATENESS_DAYS", default_value_t = 2)]
    pub allowed_lateness_days: u32,

    /// Days that closed business days are kept
    #[arg(long, env = "TOPLINE_DAY_RETENTION", default_value_t = 90)]
    pub day_retention: u32,

    /// Time that idempotency keys are remembered
    #[arg(long, env = "TOPLINE_KEY_RETENTION", default_value = "24h", value_parser = parse_duration)]
    pub key_retention: Duration,

    /// The most idempotency keys remembered in a partition; the oldest go first
    #[arg(long, env = "TOPLINE_MAX_KEYS", default_value_t = 4_000_000)]
    pub max_keys: usize,
}

/// Settings of the job, on the command line or in the environment.
#[derive(Debug, Clone, clap::Args)]
#[group(id = "stream-job")]
#[command(next_help_heading = "Stream job")]
pub struct Args {
    /// What is aggregated.
    #[command(flatten)]
    pub window: WindowArgs,

    /// Pairs of a store and an item in a partition beyond which POSTs are refused, so that memory is
    /// bounded: about 430 bytes a pair if all is in one process; else about 450 in the `job` and 240 in
    /// each `query`. A `job` of its own stops counting on the partition until it is started with a higher
    /// limit
    #[arg(long, env = "TOPLINE_MAX_PAIRS", default_value_t = 50_000_000)]
    pub max_pairs: usize,

    /// Entries of the sliding windows in a partition (8 bytes each: what a pair sold in 10 seconds, for
    /// 24 hours) beyond which POSTs are refused until some have fallen out. A `job` of its own stops
    /// counting on the partition until it is started with a higher limit, unless ticks that come next in
    /// the stream make room
    #[arg(long, env = "TOPLINE_MAX_PANE_ENTRIES", default_value_t = 500_000_000)]
    pub max_pane_entries: usize,

    /// Time that changes are gathered before they show, under load; a change made while nothing
    /// else happens shows at once
    #[arg(long, env = "TOPLINE_FLUSH_INTERVAL", default_value = "5ms", value_parser = parse_duration)]
    pub flush_interval: Duration,

    /// Bytes of late purchases, and of dead letters, of a partition that wait for their topic; beyond it
    /// the partition is not counted on until some are taken. Only over a Fluvio cluster
    #[arg(long, env = "TOPLINE_MAX_SIDE_BYTES", default_value_t = 256 << 20)]
    pub max_side_bytes: u64,

    /// Time between checkpoints
    #[arg(long, env = "TOPLINE_CHECKPOINT_INTERVAL", default_value = "10s", value_parser = parse_duration)]
    pub checkpoint_interval: Duration,

    /// Time that the log keeps batches; never goes before they are in a checkpoint
    #[arg(long, env = "TOPLINE_LOG_RETENTION", default_value = "168h", value_parser = parse_duration)]
    pub log_retention: Duration,

    /// Bytes that the log keeps of a partition, at least what is not in a checkpoint; no limit if
    /// not given
    #[arg(long, env = "TOPLINE_LOG_RETENTION_BYTES")]
    pub log_retention_bytes: Option<u64>,

    /// Discard the checkpoints and count the stream again
    #[arg(
        long,
        env = "TOPLINE_REBUILD",
        value_enum,
        default_value_t,
        num_args = 0..=1,
        default_missing_value = "complete"
    )]
    pub rebuild: Rebuild,
}

/// How long the log is kept.
#[derive(Debug, Clone, Copy)]
pub struct RetentionConfig {
    /// Batches older than this go.
    pub age: Duration,
    /// The most bytes kept of a partition.
    pub max_bytes: Option<u64>,
    /// How often to look.
    pub interval: Duration,
}

/// Settings of the job.
#[derive(Debug, Clone)]
pub struct JobConfig {
    /// What is aggregated.
    pub window: Config,
    /// Which partitions.
    pub assignment: Assignment,
    /// Where the checkpoints are: a file a partition.
    pub directory: PathBuf,
    /// The most pairs in a partition, besides what one batch adds. With [`crate::Target::View`] the entrance is told when
    /// there are more ([`crate::Job::saturation`]); with [`crate::Target::Feed`] the worker stops reading.
    pub max_pairs: usize,
    /// The most entries of the sliding windows in a partition; as above.
    pub max_pane_entries: usize,
    /// The most bytes of a side output of a partition that wait for their topic, besides what one checkpoint
    /// adds; beyond it the partition is not counted on.
    pub max_side_bytes: u64,
    /// Bytes read from the stream at a time, at least one batch; bounds what is applied between
    /// two looks at the clock.
    pub read_bytes: usize,
    /// The least time between two flushes.
    pub flush_interval: Duration,
    /// The time between two checkpoints.
    pub checkpoint_interval: Duration,
    /// How long the log is kept.
    pub retention: RetentionConfig,
    /// What to do with the checkpoints at start.
    pub rebuild: Rebuild,
}

impl WindowArgs {
    /// The settings of the aggregation.
    ///
    /// # Errors
    /// The first one out of range.
    pub fn config(&self) -> Result<Config, ConfigError> {
        let config = Config {
            kinds: self.windows.clone(),
            k: self.max_k,
            disorder: self.allowed_disorder,
            lateness_days: self.allowed_lateness_days,
            day_retention_days: self.day_retention,
            key_retention: self.key_retention,
            max_keys: self.max_keys,
        };
        config.validate()?;
        Ok(config)
    }
}

impl Args {
    /// All settings, with the checkpoints in `directory`.
    ///
    /// # Errors
    /// The first one out of range.
    pub fn config(&self, directory: PathBuf) -> Result<JobConfig, ConfigError> {
        Ok(JobConfig {
            window: self.window.config()?,
            assignment: Assignment::ALL,
            directory,
            max_pairs: self.max_pairs,
            max_pane_entries: self.max_pane_entries,
            max_side_bytes: self.max_side_bytes,
            read_bytes: READ_BYTES,
            flush_interval: self.flush_interval,
            checkpoint_interval: self.checkpoint_interval,
            retention: RetentionConfig {
                age: self.log_retention,
                max_bytes: self.log_retention_bytes,
                interval: self.checkpoint_interval.max(Duration::from_secs(1)),
            },
            rebuild: self.rebuild,
        })
    }
}
