//! The database writer: messages to PostgreSQL.

use std::{convert::Infallible, sync::Arc, time::Duration};

use http_server::Condition;
use lapin::{Connection, message::Delivery, options::BasicRejectOptions};
use model::{Batch, Partition};
use tokio_postgres::Config;

use super::{
    backlog::Backlog,
    broker::{Broker, Messages, acknowledge, in_time},
};
use crate::database::{Admission, Applied, Connected, Writer, connect};

/// How long to wait after a failure before the next attempt.
const BACK_OFF: Duration = Duration::from_millis(500);

/// Adds the messages of a shard to the database, each once.
///
/// A message is acknowledged when its transaction has committed. If the process dies in between, RabbitMQ
/// delivers it again, and the table `applied`, changed by the same transaction, says that it is known. One
/// connection at a time holds the lock of the shard: a transaction that a dead process has left
/// behind has ended before the table is read.
pub(super) struct Recorder {
    pub(super) broker: Broker,
    pub(super) database: Config,
    pub(super) shard: Partition,
    pub(super) max_messages: u16,
    pub(super) backlog: Arc<Backlog>,
    pub(super) connected: Condition,
}

/// Why it starts over.
#[derive(Debug, thiserror::Error)]
enum RecordError {
    #[error(transparent)]
    Database(#[from] tokio_postgres::Error),
    #[error(transparent)]
    Broker(#[from] lapin::Error),
    #[error("the queue is gone")]
    NoQueue,
    #[error("messages before one are missing, it is asked for again")]
    Gap,
}

impl Recorder {
    pub(super) async fn run(self) {
        loop {
            let Err(error) = self.record().await;
            self.connected.not_ready("the database writer has no connection");
            tracing::warn!(shard = %self.shard, %error, "messages cannot be added to the database");
            tokio::time::sleep(BACK_OFF).await;
        }
    }

    async fn record(&self) -> Result<Infallible, RecordError> {
        let Connected { client, .. } = connect(&self.database).await?;
        let writer = Writer::prepare(client).await?;
        let mut applied = writer.take_shard(self.shard).await?;
        let (_connection, mut messages) = in_time(self.consume()).await?;
        self.connected.ready();
        loop {
            let deliveries = messages.next().await?;
            if deliveries.is_empty() {
                return Err(RecordError::NoQueue);
            }
            self.add(&writer, &mut applied, &deliveries).await?;
        }
    }

    async fn consume(&self) -> Result<(Connection, Messages), lapin::Error> {
        let connection = self.broker.connect("database writer").await?;
        let channel = connection.create_channel().await?;
        let queue = self.broker.database_queue(self.shard);
        let messages = Messages::consume(&connection, channel, queue, self.max_messages).await?;
        Ok((connection, messages))
    }

    async fn add(
        &self,
        writer: &Writer,
        applied: &mut Applied,
        deliveries: &[Delivery],
    ) -> Result<(), RecordError> {
        let (mut batches, mut noted) = (Vec::with_capacity(deliveries.len()), Applied::default());
        let mut last = None;
        for delivery in deliveries {
            match Batch::decode(&delivery.data) {
                Ok(batch) => {
                    if admit(applied, &batch, delivery.redelivered)? {
                        applied.note(&batch);
                        noted.note(&batch);
                        batches.push(batch);
                    }
                    last = Some(delivery);
                }
                Err(error) => {
                    tracing::error!(shard = %self.shard, %error, "a message cannot be read");
                    in_time(delivery.acker.reject(BasicRejectOptions { requeue: false })).await?;
                }
            }
        }
        let purchases = batches.iter().flat_map(|batch| &batch.purchases);
        writer.record_messages(purchases, self.shard, &noted).await?;
        if let Some(last) = last {
            acknowledge(last).await?;
        }
        noted.iter().for_each(|(producer, next)| self.backlog.recorded(producer, next));
        Ok(())
    }
}

/// Whether a message is to be added.
///
/// # Errors
/// [`RecordError::Gap`] if messages before it are missing: with the next consumer, all come again in
/// order. If they are missing then, too, RabbitMQ has refused them, and nobody was told otherwise.
fn admit(applied: &Applied, batch: &Batch, redelivered: bool) -> Result<bool, RecordError> {
    match applied.admission(batch) {
        Admission::New => Ok(true),
        Admission::Seen => Ok(false),
        Admission::Gap if redelivered => {
            tracing::warn!(producer = %batch.producer, "messages that were refused are passed over");
            Ok(true)
        }
        Admission::Gap => Err(RecordError::Gap),
    }
}
