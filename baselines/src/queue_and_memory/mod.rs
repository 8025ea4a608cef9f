//! A purchase is in RabbitMQ before its POST is answered. A database writer adds it to PostgreSQL, and a Store
//! service counts it in memory, where a GET looks.
//!
//! ```text
//! POST ─► publisher ─► exchange ─┬─► database queue ─► recorder ─► PostgreSQL
//!         201 when confirmed     │                                    │ at start
//!                                └─► Store's queue ──► Store service ◄┘
//! GET  ◄──────────────────────────────────── memory ◄──────┘
//! ```
//!
//! Stores are spread over shards; a shard has its publisher, its queues and its consumers. The database
//! queue is the durable one: what is in it, or in the database, is what there is. A GET may be some
//! milliseconds behind the POST before it.

mod backlog;
mod broker;
mod memory;
mod publisher;
mod recorder;
mod store;

use std::sync::Arc;

use clap::Args;
use http_server::Readiness;
use model::{ItemId, PartitionCount, Purchase, StoreId};
use tokio::sync::watch;
use tokio_postgres::Config;

use crate::{
    contract::{Design, Entry, Refusal},
    database::create_schema,
    pending::{self, Intake},
    shards::parse_shards,
};
use backlog::Backlog;
use broker::Broker;
use memory::Sales;
use publisher::Publisher;
use recorder::Recorder;
use store::StoreService;

pub use broker::Queues;

/// Settings of the design.
#[derive(Debug, Clone, Args)]
pub struct QueueAndMemoryArgs {
    /// The database, such as `host=/run/postgresql dbname=topline`
    #[arg(long, env = "DATABASE_URL", value_name = "CONNECTION")]
    pub database: Config,

    /// The broker, such as `amqp://guest:guest@127.0.0.1:5672/%2f`
    #[arg(long, env = "AMQP_URL", value_name = "URL")]
    pub broker: String,

    /// What the names of the exchange and the queues begin with
    #[arg(long, default_value = "purchases")]
    pub prefix: String,

    /// The queues that a purchase is in when its POST is answered
    #[arg(long, value_enum, default_value = "quorum")]
    pub queues: Queues,

    /// Shards; fixed as long as there are messages in the queues
    #[arg(long, default_value = "2", value_parser = parse_shards)]
    pub shards: PartitionCount,

    /// Most purchases in a message; 1 gives each POST a message of its own
    #[arg(long, default_value = "256", value_parser = clap::value_parser!(u32).range(1..=4096))]
    pub max_batch: u32,

    /// Messages of a shard that wait to be confirmed at once
    #[arg(long, default_value = "2", value_parser = clap::value_parser!(u32).range(1..=4096))]
    pub max_in_flight: u32,

    /// Most messages that a consumer takes at once: a transaction of the database writer
    #[arg(long, default_value = "32", value_parser = clap::value_parser!(u16).range(1..))]
    pub max_messages: u16,

    /// Purchases of a shard waiting to be published after which more are refused
    #[arg(long, default_value = "8192", value_parser = clap::value_parser!(u32).range(1..))]
    pub max_queued: u32,

    /// Purchases of a shard that are published and not in the database after which more are refused
    #[arg(long, default_value = "1000000")]
    pub max_backlog: u64,
}

/// The design, running.
#[derive(Debug)]
pub struct QueueAndMemory {
    shards: PartitionCount,
    intakes: Vec<(Intake, Arc<Backlog>)>,
    max_backlog: u64,
    sales: watch::Receiver<Option<Arc<Sales>>>,
}

/// Why it cannot start.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    /// The database cannot be used.
    #[error("the database cannot be used: {0}")]
    Database(#[from] tokio_postgres::Error),
    /// RabbitMQ cannot be used.
    #[error("RabbitMQ cannot be used: {0}")]
    Broker(#[from] lapin::Error),
}

impl QueueAndMemory {
    /// Makes tables and queues where there are none, and starts everything. `readiness` gets conditions for
    /// the publishers, the database writers and the Store service.
    ///
    /// # Errors
    /// If the database or RabbitMQ cannot be reached, or has something else under these names.
    pub async fn start(
        args: &QueueAndMemoryArgs,
        readiness: &Readiness,
    ) -> Result<Self, StartError> {
        create_schema(&args.database).await?;
        let shards = args.shards;
        let (uri, prefix) = (args.broker.clone(), args.prefix.clone());
        let broker = Broker { uri, prefix, queues: args.queues };
        broker.declare_all(shards).await?;
        let (shown, sales) = watch::channel(None);
        let store = StoreService {
            broker: broker.clone(),
            database: args.database.clone(),
            shards,
            max_messages: args.max_messages,
            recovered: readiness.condition("store", "the Store service is recovering"),
            shown,
        };
        tokio::spawn(store.run());
        let intakes = shards.iter().map(|shard| {
            let backlog = Arc::new(Backlog::default());
            let recorder = Recorder {
                broker: broker.clone(),
                database: args.database.clone(),
                shard,
                max_messages: args.max_messages,
                backlog: Arc::clone(&backlog),
                connected: readiness.condition(format!("recorder {shard}"), "connecting"),
            };
            tokio::spawn(recorder.run());
            let (intake, queue) = pending::queue(args.max_queued as usize);
            let publisher = Publisher {
                broker: broker.clone(),
                shard,
                max_batch: args.max_batch as usize,
                max_in_flight: args.max_in_flight as usize,
                backlog: Arc::clone(&backlog),
                connected: readiness.condition(format!("publisher {shard}"), "connecting"),
                queue,
            };
            tokio::spawn(publisher.run());
            (intake, backlog)
        });
        let intakes = intakes.collect();
        Ok(Self { shards, intakes, max_backlog: args.max_backlog, sales })
    }

    fn sales(&self) -> Result<Arc<Sales>, Refusal> {
        let sales = self.sales.borrow().clone();
        sales.ok_or(Refusal::Unavailable("the counts are being recovered"))
    }
}

impl Design for QueueAndMemory {
    async fn record(&self, purchase: Purchase) -> Result<(), Refusal> {
        let (intake, backlog) = &self.intakes[self.shards.of(purchase.store).0 as usize];
        if backlog.len() > self.max_backlog {
            return Err(Refusal::NotTaken("the database is too far behind"));
        }
        intake.submit(purchase).await
    }

    async fn top_items(&self, store: StoreId) -> Result<Vec<Entry<ItemId>>, Refusal> {
        Ok(self.sales()?.top_items(store))
    }

    async fn top_stores(&self, item: ItemId) -> Result<Vec<Entry<StoreId>>, Refusal> {
        Ok(self.sales()?.top_stores(item))
    }
}
