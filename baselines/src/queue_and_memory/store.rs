//! The Store service: messages to counts in memory.
//!
//! The counts are those of the database and the messages that are not in them. How they come together, so
//! that none is lost and none counts twice:
//!
//! 1. A queue of its own for each shard has all messages from now on.
//! 2. A mark, a message without purchases, goes to the database queue of each shard. It is behind all
//!    messages that the new queues do not have.
//! 3. When the database writer has come to the marks, everything before them is in the database. All counts
//!    are read in one snapshot, with the table that says which messages are in them.
//! 4. The new queues are consumed. A message that is in the snapshot is passed over. One that is not must be
//!    the next of its producer; if it is not, something is missing, and all of this is done again.
//!
//! So nothing in memory has to be saved, and a restart or a broken connection are the same case.

use std::{convert::Infallible, sync::Arc, time::Duration};

use http_server::Condition;
use lapin::{Channel, Connection, types::ShortString};
use model::{Batch, Partition, PartitionCount, ProducerId, Sequence, Timestamp};
use tokio::{sync::watch, task::JoinSet};
use tokio_postgres::Config;

use super::{
    broker::{Broker, Messages, acknowledge, confirming_channel, in_time, new_producer},
    memory::Sales,
};
use crate::database::{
    Admission, Applied, Connected, Snapshot, connect, forget_old_producers, shards_applied,
};

/// How long to wait after a failure before the next attempt.
const BACK_OFF: Duration = Duration::from_millis(500);
/// How often to look whether the database writer has come to the marks.
const POLL: Duration = Duration::from_millis(20);

/// Keeps what is shown up to date.
pub(super) struct StoreService {
    pub(super) broker: Broker,
    pub(super) database: Config,
    pub(super) shards: PartitionCount,
    pub(super) max_messages: u16,
    pub(super) recovered: Condition,
    pub(super) shown: watch::Sender<Option<Arc<Sales>>>,
}

/// Why it starts over.
#[derive(Debug, thiserror::Error)]
enum StoreError {
    #[error(transparent)]
    Database(#[from] tokio_postgres::Error),
    #[error(transparent)]
    Broker(#[from] lapin::Error),
    #[error("a queue is gone")]
    NoQueue,
    #[error("a message cannot be read: {0}")]
    Unreadable(#[from] model::DecodeError),
    #[error("messages of shard {0} are missing")]
    Gap(Partition),
}

/// A queue that follows a shard.
struct Following {
    shard: Partition,
    channel: Channel,
    queue: ShortString,
}

impl StoreService {
    pub(super) async fn run(self) {
        loop {
            let Err(error) = self.follow().await;
            self.recovered.not_ready("the Store service is recovering");
            tracing::warn!(%error, "the Store service starts over");
            tokio::time::sleep(BACK_OFF).await;
        }
    }

    async fn follow(&self) -> Result<Infallible, StoreError> {
        let producer = new_producer();
        let (connection, following) = in_time(self.open_queues(producer)).await?;
        let (sales, snapshot) = self.recover(producer).await?;
        let sales = Arc::new(sales);
        self.shown.send_replace(Some(Arc::clone(&sales)));
        self.recovered.ready();
        let mut shards = JoinSet::new();
        for following in following {
            let applied = snapshot.of(following.shard);
            let Following { shard, channel, queue } = following;
            let messages = Messages::consume(&connection, channel, queue, self.max_messages);
            let messages = in_time(messages).await?;
            shards.spawn(count(shard, messages, applied, Arc::clone(&sales)));
        }
        match shards.join_next().await {
            Some(Ok(ended)) => ended,
            // A panic is told by itself.
            Some(Err(_)) | None => Err(StoreError::NoQueue),
        }
    }

    /// Opens the queues, and sends the marks of `producer` behind all that they do not have.
    async fn open_queues(
        &self,
        producer: ProducerId,
    ) -> Result<(Connection, Vec<Following>), lapin::Error> {
        let connection = self.broker.connect("Store service").await?;
        let mut following = Vec::new();
        for shard in self.shards.iter() {
            let channel = connection.create_channel().await?;
            let queue = self.broker.follow(&channel, shard).await?;
            following.push(Following { shard, channel, queue });
        }
        let mark = Batch {
            producer,
            first_sequence: Sequence(0),
            append_time: Timestamp::now(),
            purchases: Vec::new(),
        };
        let channel = confirming_channel(&connection).await?;
        for shard in self.shards.iter() {
            self.broker.publish_to_database(&channel, shard, &mark).await?.await?;
        }
        Ok((connection, following))
    }

    /// Counts of the database that have everything from before the marks of `producer`.
    async fn recover(&self, producer: ProducerId) -> Result<(Sales, Snapshot), StoreError> {
        let Connected { mut client, .. } = connect(&self.database).await?;
        while shards_applied(&client, producer).await? < self.shards.get() {
            tokio::time::sleep(POLL).await;
        }
        forget_old_producers(&client).await?;
        let sales = Sales::default();
        let snapshot = Snapshot::read(&mut client, |store, item, pieces| {
            sales.add_pieces(store, item, pieces);
        });
        let snapshot = snapshot.await?;
        Ok((sales, snapshot))
    }
}

/// Counts the messages of a shard that are not in the counts yet.
async fn count(
    shard: Partition,
    mut messages: Messages,
    mut applied: Applied,
    sales: Arc<Sales>,
) -> Result<Infallible, StoreError> {
    loop {
        let deliveries = messages.next().await?;
        for delivery in &deliveries {
            let batch = Batch::decode(&delivery.data)?;
            match applied.admission(&batch) {
                Admission::New => batch.purchases.iter().for_each(|purchase| sales.add(purchase)),
                Admission::Seen => continue,
                Admission::Gap => return Err(StoreError::Gap(shard)),
            }
            applied.note(&batch);
        }
        acknowledge(deliveries.last().ok_or(StoreError::NoQueue)?).await?;
    }
}
