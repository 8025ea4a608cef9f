//! A purchase is in PostgreSQL before its POST is answered; a GET is a query.
//!
//! Each POST waits for the transaction that has its purchase to commit. The purchases of one store are
//! added by one connection, so no two transactions of a server wait for each other's rows. What comes
//! while a connection commits is its next transaction: transactions grow with the load, and nobody
//! waits for a timer.

mod writers;

use clap::Args;
use http_server::Condition;
use model::{ItemId, PartitionCount, Purchase, StoreId};
use tokio_postgres::Config;

use crate::{
    contract::{Design, Entry, Refusal},
    database::{Readers, create_schema},
    shards::parse_shards,
};
use writers::Writers;

/// Settings of the design.
#[derive(Debug, Clone, Args)]
pub struct DirectDatabaseArgs {
    /// The database, such as `host=/run/postgresql dbname=topline`
    #[arg(long, env = "DATABASE_URL", value_name = "CONNECTION")]
    pub database: Config,

    /// Connections that add purchases
    #[arg(long, default_value = "2", value_parser = parse_shards)]
    pub writers: PartitionCount,

    /// Connections that ask for lists
    #[arg(long, default_value = "2", value_parser = clap::value_parser!(u32).range(1..=256))]
    pub readers: u32,

    /// Most purchases in a transaction; 1 gives each POST a transaction of its own
    #[arg(long, default_value = "256", value_parser = clap::value_parser!(u32).range(1..=4096))]
    pub max_batch: u32,

    /// Purchases waiting for a connection after which more are refused
    #[arg(long, default_value = "8192", value_parser = clap::value_parser!(u32).range(1..))]
    pub max_queued: u32,
}

/// The design, running.
#[derive(Debug)]
pub struct DirectDatabase {
    writers: Writers,
    readers: Readers,
}

impl DirectDatabase {
    /// Makes the tables where there are none, and opens the connections. Of the conditions that
    /// `connected` gives, each holds while one of them is open.
    ///
    /// # Errors
    /// If the database cannot be reached.
    pub async fn start(
        args: &DirectDatabaseArgs,
        mut connected: impl FnMut() -> Condition,
    ) -> Result<Self, tokio_postgres::Error> {
        create_schema(&args.database).await?;
        Ok(Self {
            writers: Writers::start(args, &mut connected),
            readers: Readers::open(&args.database, args.readers as usize, connected),
        })
    }
}

impl Design for DirectDatabase {
    async fn record(&self, purchase: Purchase) -> Result<(), Refusal> {
        self.writers.record(purchase).await
    }

    async fn top_items(&self, store: StoreId) -> Result<Vec<Entry<ItemId>>, Refusal> {
        self.readers.top_items(store).await
    }

    async fn top_stores(&self, item: ItemId) -> Result<Vec<Entry<StoreId>>, Refusal> {
        self.readers.top_stores(item).await
    }
}
