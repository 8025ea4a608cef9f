//! POSTs to messages.

use std::{mem, sync::Arc, time::Duration};

use futures_util::{StreamExt, stream::FuturesUnordered};
use http_server::Condition;
use lapin::{Channel, Confirmation, Connection, Error};
use model::{Batch, Partition, Sequence, Timestamp};
use tokio::sync::mpsc;

use super::{
    backlog::Backlog,
    broker::{Broker, confirming_channel, in_time, new_producer},
};
use crate::{
    contract::Refusal,
    pending::{Pending, answer_all, refuse_until},
};

/// How long to wait after a failure before the next attempt to connect.
const BACK_OFF: Duration = Duration::from_millis(500);

/// Puts the purchases of a shard into messages, and answers when RabbitMQ has confirmed them.
///
/// What comes while messages are on their way is the next one: messages grow with the load, and nobody
/// waits for a timer.
pub(super) struct Publisher {
    pub(super) broker: Broker,
    pub(super) shard: Partition,
    pub(super) max_batch: usize,
    pub(super) max_in_flight: usize,
    pub(super) backlog: Arc<Backlog>,
    pub(super) connected: Condition,
    pub(super) queue: mpsc::Receiver<Pending>,
}

impl Publisher {
    /// Publishes until nobody hands anything in.
    pub(super) async fn run(mut self) {
        let reason = "there is no connection to RabbitMQ";
        loop {
            let (broker, shard) = (self.broker.clone(), self.shard);
            let reconnect = reconnect(&broker, shard);
            let Some((_connection, channel)) =
                refuse_until(&mut self.queue, reason, reconnect).await
            else {
                return;
            };
            self.connected.ready();
            match self.publish(&channel).await {
                Ok(()) => return,
                Err(error) => tracing::warn!(%shard, %error, "purchases cannot be published"),
            }
            self.connected.not_ready(reason);
        }
    }

    /// Publishes until the channel fails, or nobody hands anything in. A channel is a producer of its own:
    /// its messages stay in the order of their sequences.
    async fn publish(&mut self, channel: &Channel) -> Result<(), PublishError> {
        let producer = new_producer();
        let mut next = Sequence(0);
        let mut unconfirmed = FuturesUnordered::new();
        let mut waiting: Vec<Pending> = Vec::new();
        loop {
            let room = unconfirmed.len() < self.max_in_flight;
            tokio::select! {
                biased;
                Some((pending, confirmation)) = unconfirmed.next() => {
                    answer(pending, confirmation)?;
                }
                count = self.queue.recv_many(&mut waiting, self.max_batch), if room => {
                    if count == 0 {
                        return Ok(());
                    }
                    let pending = mem::take(&mut waiting);
                    let batch = Batch {
                        producer,
                        first_sequence: next,
                        append_time: Timestamp::now(),
                        purchases: pending.iter().map(|p| p.purchase.clone()).collect(),
                    };
                    next = Sequence(next.0 + count as u64);
                    self.backlog.published(producer, next);
                    let confirm = self.broker.publish(channel, self.shard, &batch).await?;
                    unconfirmed.push(async move { (pending, confirm.await) });
                }
            }
        }
    }
}

/// Why a channel is given up.
#[derive(Debug, thiserror::Error)]
enum PublishError {
    #[error(transparent)]
    Broker(#[from] Error),
    #[error("RabbitMQ has refused a message")]
    Refused,
}

fn answer(
    pending: Vec<Pending>,
    confirmation: Result<Confirmation, Error>,
) -> Result<(), PublishError> {
    if let Ok(Confirmation::Ack(None)) = confirmation {
        answer_all(pending, &Ok(()));
        return Ok(());
    }
    let unclear = Refusal::Unclear("RabbitMQ has not confirmed it");
    answer_all(pending, &Err(unclear));
    confirmation?;
    Err(PublishError::Refused)
}

/// Connects, however often it takes.
async fn reconnect(broker: &Broker, shard: Partition) -> (Connection, Channel) {
    loop {
        match in_time(connect(broker, shard)).await {
            Ok(connected) => return connected,
            Err(error) => tracing::warn!(%error, "RabbitMQ cannot be reached for publishing"),
        }
        tokio::time::sleep(BACK_OFF).await;
    }
}

async fn connect(broker: &Broker, shard: Partition) -> Result<(Connection, Channel), Error> {
    let connection = broker.connect("publisher").await?;
    let channel = confirming_channel(&connection).await?;
    broker.declare(&channel, shard).await?;
    Ok((connection, channel))
}
