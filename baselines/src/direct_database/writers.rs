//! The connections that add purchases.

use std::time::Duration;

use http_server::Condition;
use model::{PartitionCount, Purchase};
use tokio::sync::mpsc;
use tokio_postgres::{Config, Error};

use super::DirectDatabaseArgs;
use crate::{
    contract::Refusal,
    database::{Connected, Writer, connect},
    pending::{self, Intake, Pending, answer_all, refuse_until},
};

/// How long to wait after a failure before the next attempt to connect.
const BACK_OFF: Duration = Duration::from_millis(500);

/// One intake for each connection; the purchases of a store all go to one.
#[derive(Debug)]
pub(super) struct Writers {
    count: PartitionCount,
    intakes: Vec<Intake>,
}

impl Writers {
    pub(super) fn start(
        args: &DirectDatabaseArgs,
        mut connected: impl FnMut() -> Condition,
    ) -> Self {
        let count = args.writers;
        let intakes = count.iter().map(|_| {
            let (intake, queue) = pending::queue(args.max_queued as usize);
            let task = Task {
                config: args.database.clone(),
                max_batch: args.max_batch as usize,
                connected: connected(),
                queue,
            };
            tokio::spawn(task.run());
            intake
        });
        Self { count, intakes: intakes.collect() }
    }

    pub(super) async fn record(&self, purchase: Purchase) -> Result<(), Refusal> {
        let writer = self.count.of(purchase.store).0;
        self.intakes[writer as usize].submit(purchase).await
    }
}

/// Adds what is handed in to one connection, which is made again when it breaks.
struct Task {
    config: Config,
    max_batch: usize,
    connected: Condition,
    queue: mpsc::Receiver<Pending>,
}

impl Task {
    async fn run(mut self) {
        loop {
            let reconnect = reconnect(&self.config);
            let reason = "there is no connection to the database";
            let Some(writer) = refuse_until(&mut self.queue, reason, reconnect).await else {
                return;
            };
            self.connected.ready();
            match self.add(&writer).await {
                Some(error) => tracing::warn!(%error, "purchases cannot be added"),
                None => return,
            }
            self.connected.not_ready("there is no connection to the database");
        }
    }

    /// Adds purchases until the connection breaks, and says why; or until nobody hands any in.
    async fn add(&mut self, writer: &Writer) -> Option<Error> {
        let mut batch = Vec::with_capacity(self.max_batch);
        loop {
            if self.queue.recv_many(&mut batch, self.max_batch).await == 0 {
                return None;
            }
            let added = writer.record(batch.iter().map(|pending| &pending.purchase)).await;
            answer_all(batch.drain(..), &added.as_ref().copied().map_err(refusal));
            if let Err(error) = added {
                return Some(error);
            }
        }
    }
}

/// A statement that the server has refused has added nothing; of others nothing is known.
fn refusal(error: &Error) -> Refusal {
    match error.as_db_error() {
        Some(_) => Refusal::NotTaken("the database has refused it"),
        None => Refusal::Unclear("the connection to the database has broken"),
    }
}

/// Connects, however often it takes.
async fn reconnect(config: &Config) -> Writer {
    loop {
        match open(config).await {
            Ok(writer) => return writer,
            Err(error) => tracing::warn!(%error, "the database cannot be reached for writing"),
        }
        tokio::time::sleep(BACK_OFF).await;
    }
}

async fn open(config: &Config) -> Result<Writer, Error> {
    let Connected { client, .. } = connect(config).await?;
    Writer::prepare(client).await
}
