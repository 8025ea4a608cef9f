//! RabbitMQ: names, queues, connections.
//!
//! - exchange `PREFIX`: direct; a message of shard N has the routing key `N`
//! - queue `PREFIX.database.N`: durable; what the database writer has not added yet
//! - a queue without a name of its own for each shard: what the Store service has not counted yet; exclusive, it
//!   goes with its connection
//! - queue `PREFIX.dead`: durable; messages that cannot be read

use std::{
    hash::{BuildHasher, Hasher, RandomState},
    io,
    time::Duration,
};

use clap::ValueEnum;
use futures_util::{FutureExt, StreamExt};
use lapin::{
    BasicProperties, Channel, Connection, ConnectionProperties, ConnectionStatus, Consumer, Error,
    ExchangeKind, PublisherConfirm,
    message::Delivery,
    options::{
        BasicAckOptions, BasicConsumeOptions, BasicPublishOptions, BasicQosOptions,
        ConfirmSelectOptions, ExchangeDeclareOptions, QueueBindOptions, QueueDeclareOptions,
    },
    types::{AMQPValue, FieldTable, ShortString},
};
use model::{Batch, Partition, PartitionCount, ProducerId};
use tokio::time::timeout;

/// How long what needs RabbitMQ may take, but for confirmations and messages.
const CALL_TIME: Duration = Duration::from_secs(5);
/// How often a consumer that gets nothing looks whether it still has a connection.
const LOOK: Duration = Duration::from_secs(1);

/// Does something with a limit on its time: the client may wait without end if its connection breaks at just
/// that moment.
///
/// # Errors
/// As `call`, or if that takes too long.
pub(super) async fn in_time<T>(call: impl Future<Output = Result<T, Error>>) -> Result<T, Error> {
    let late = |_| Err(io::Error::from(io::ErrorKind::TimedOut).into());
    timeout(CALL_TIME, call).await.unwrap_or_else(late)
}

/// How safe a purchase is in RabbitMQ when its POST is answered.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum Queues {
    /// Quorum queues: written to their log and synced. Survives a power cut
    Quorum,
    /// Classic queues with persistent messages: written. Survives the death of the broker
    Classic,
    /// Classic queues with transient messages: in memory. Survives neither
    Transient,
}

/// Where RabbitMQ is, and what is used there.
#[derive(Debug, Clone)]
pub(super) struct Broker {
    pub(super) uri: String,
    pub(super) prefix: String,
    pub(super) queues: Queues,
}

const DURABLE: QueueDeclareOptions = QueueDeclareOptions {
    passive: false,
    durable: true,
    exclusive: false,
    auto_delete: false,
    nowait: false,
};

impl Broker {
    /// Opens a connection. It lives as long as what is given.
    pub(super) async fn connect(&self, name: &str) -> Result<Connection, Error> {
        let properties = ConnectionProperties::default().with_connection_name(name.into());
        Connection::connect(&self.uri, properties).await
    }

    /// Makes everything that lasts, for all shards. RabbitMQ may fail at a quorum queue that several
    /// connections make at once, so this comes before anything else; later only publishers see to it.
    pub(super) async fn declare_all(&self, shards: PartitionCount) -> Result<(), Error> {
        in_time(async {
            let connection = self.connect("setup").await?;
            let channel = connection.create_channel().await?;
            for shard in shards.iter() {
                self.declare(&channel, shard).await?;
            }
            connection.close(200, "done".into()).await
        })
        .await
    }

    /// Makes the exchange, and the database queue of a shard, where there is none.
    pub(super) async fn declare(&self, channel: &Channel, shard: Partition) -> Result<(), Error> {
        let exchange =
            ExchangeDeclareOptions { durable: true, ..ExchangeDeclareOptions::default() };
        let none = FieldTable::default();
        channel
            .exchange_declare(self.exchange(), ExchangeKind::Direct, exchange, none.clone())
            .await?;
        channel.queue_declare(self.dead_queue(), DURABLE, none.clone()).await?;
        let queue = self.database_queue(shard);
        channel.queue_declare(queue.clone(), DURABLE, self.database_queue_arguments()).await?;
        let (exchange, key) = (self.exchange(), routing_key(shard));
        channel.queue_bind(queue, exchange, key, QueueBindOptions::default(), none).await
    }

    fn database_queue_arguments(&self) -> FieldTable {
        let text = |text: &str| AMQPValue::LongString(text.into());
        let kind = if self.queues == Queues::Quorum { "quorum" } else { "classic" };
        let mut arguments = FieldTable::default();
        for (name, value) in [
            ("x-queue-type", text(kind)),
            // Messages stay in order: the next consumer gets none before those of the last are back.
            ("x-single-active-consumer", AMQPValue::Boolean(true)),
            ("x-dead-letter-exchange", text("")),
            ("x-dead-letter-routing-key", text(self.dead_queue().as_str())),
        ] {
            arguments.insert(name.into(), value);
        }
        arguments
    }

    /// Makes a queue that has all messages of a shard from now on, and goes with its connection.
    pub(super) async fn follow(
        &self,
        channel: &Channel,
        shard: Partition,
    ) -> Result<ShortString, Error> {
        let options = QueueDeclareOptions { exclusive: true, ..QueueDeclareOptions::default() };
        let queue = channel.queue_declare("".into(), options, FieldTable::default()).await?;
        let name = queue.name().clone();
        let (exchange, key) = (self.exchange(), routing_key(shard));
        let options = QueueBindOptions::default();
        channel.queue_bind(name.clone(), exchange, key, options, FieldTable::default()).await?;
        Ok(name)
    }

    /// Sends a message to all queues of a shard.
    pub(super) async fn publish(
        &self,
        channel: &Channel,
        shard: Partition,
        batch: &Batch,
    ) -> Result<PublisherConfirm, Error> {
        self.send(channel, self.exchange(), routing_key(shard), batch).await
    }

    /// Sends a message to the database queue of a shard alone.
    pub(super) async fn publish_to_database(
        &self,
        channel: &Channel,
        shard: Partition,
        batch: &Batch,
    ) -> Result<PublisherConfirm, Error> {
        self.send(channel, "".into(), self.database_queue(shard), batch).await
    }

    async fn send(
        &self,
        channel: &Channel,
        exchange: ShortString,
        key: ShortString,
        batch: &Batch,
    ) -> Result<PublisherConfirm, Error> {
        let mode = if self.queues == Queues::Transient { 1 } else { 2 };
        let properties = BasicProperties::default().with_delivery_mode(mode);
        // What no queue takes comes back, and is not taken for confirmed.
        let options = BasicPublishOptions { mandatory: true, ..BasicPublishOptions::default() };
        in_time(channel.basic_publish(exchange, key, options, &batch.encode(), properties)).await
    }

    fn exchange(&self) -> ShortString {
        self.prefix.as_str().into()
    }

    pub(super) fn database_queue(&self, shard: Partition) -> ShortString {
        format!("{}.database.{shard}", self.prefix).into()
    }

    fn dead_queue(&self) -> ShortString {
        format!("{}.dead", self.prefix).into()
    }
}

fn routing_key(shard: Partition) -> ShortString {
    shard.to_string().into()
}

/// A channel whose messages are confirmed.
pub(super) async fn confirming_channel(connection: &Connection) -> Result<Channel, Error> {
    let channel = connection.create_channel().await?;
    channel.confirm_select(ConfirmSelectOptions::default()).await?;
    Ok(channel)
}

/// A name for a producer that no other has.
pub(super) fn new_producer() -> ProducerId {
    ProducerId(RandomState::new().build_hasher().finish())
}

/// The messages of a queue.
pub(super) struct Messages {
    consumer: Consumer,
    channel: Channel,
    connection: ConnectionStatus,
    limit: usize,
}

impl Messages {
    /// Consumes a queue; at most `limit` messages are on their way or not acknowledged.
    pub(super) async fn consume(
        connection: &Connection,
        channel: Channel,
        queue: ShortString,
        limit: u16,
    ) -> Result<Self, Error> {
        channel.basic_qos(limit, BasicQosOptions::default()).await?;
        let options = BasicConsumeOptions::default();
        let consumer =
            channel.basic_consume(queue, "".into(), options, FieldTable::default()).await?;
        Ok(Self { consumer, channel, connection: connection.status().clone(), limit: limit.into() })
    }

    /// Waits for a message, and gives it with those that are there already; none if the queue is gone.
    pub(super) async fn next(&mut self) -> Result<Vec<Delivery>, Error> {
        let Some(first) = self.first().await? else { return Ok(Vec::new()) };
        let mut messages = vec![first?];
        while messages.len() < self.limit
            && let Some(Some(message)) = self.consumer.next().now_or_never()
        {
            messages.push(message?);
        }
        Ok(messages)
    }
}

impl Messages {
    /// Waits for a message. A consumer is not told if its connection breaks right after it was made, so
    /// this looks for itself now and then.
    async fn first(&mut self) -> Result<Option<Result<Delivery, Error>>, Error> {
        loop {
            if let Ok(first) = timeout(LOOK, self.consumer.next()).await {
                return Ok(first);
            }
            if !self.connection.connected() || !self.channel.status().connected() {
                return Err(io::Error::from(io::ErrorKind::NotConnected).into());
            }
        }
    }
}

/// Acknowledges a message and all before it.
pub(super) async fn acknowledge(message: &Delivery) -> Result<(), Error> {
    in_time(message.acker.ack(BasicAckOptions { multiple: true })).await?;
    Ok(())
}
