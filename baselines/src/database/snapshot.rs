//! All counts, as of one instant.

use std::{collections::HashMap, pin::pin};

use futures_util::TryStreamExt;
use model::{ItemId, Partition, ProducerId, Sequence, StoreId};
use tokio_postgres::{Client, Error, IsolationLevel};

use super::{Applied, ids};

/// Which messages are in the counts.
#[derive(Debug, Clone, Default)]
pub struct Snapshot {
    shards: HashMap<Partition, Applied>,
}

impl Snapshot {
    /// Reads all counts, and which messages are in them.
    ///
    /// # Errors
    /// If the database cannot be read.
    pub async fn read(
        client: &mut Client,
        mut each: impl FnMut(StoreId, ItemId, u64),
    ) -> Result<Self, Error> {
        let level = IsolationLevel::RepeatableRead;
        let transaction =
            client.build_transaction().isolation_level(level).read_only(true).start().await?;
        // It takes as long as there are counts.
        transaction.batch_execute("SET LOCAL statement_timeout = 0").await?;
        let mut snapshot = Self::default();
        for row in
            transaction.query("SELECT shard, producer, next_sequence FROM applied", &[]).await?
        {
            let (shard, producer, next): (i64, i64, i64) =
                (row.try_get(0)?, row.try_get(1)?, row.try_get(2)?);
            let applied = snapshot.shards.entry(Partition(shard as u32)).or_default();
            applied.set(ProducerId(producer as u64), Sequence(next as u64));
        }
        let counts = "SELECT store_id, item_id, quantity FROM sold";
        let rows = transaction.query_raw(counts, [0_i64; 0]).await?;
        let mut rows = pin!(rows);
        while let Some(row) = rows.try_next().await? {
            let quantity: i64 = row.try_get(2)?;
            each(ids::to_store(row.try_get(0)?), ids::to_item(row.try_get(1)?), quantity as u64);
        }
        transaction.commit().await?;
        Ok(snapshot)
    }

    /// Which messages of a shard are in the counts.
    pub fn of(&self, shard: Partition) -> Applied {
        self.shards.get(&shard).cloned().unwrap_or_default()
    }
}

/// In how many shards a message of this producer has been added.
///
/// # Errors
/// If the database cannot be read.
pub async fn shards_applied(client: &Client, producer: ProducerId) -> Result<u32, Error> {
    let sql = "SELECT count(*) FROM applied WHERE producer = $1";
    let count: i64 = client.query_one(sql, &[&(producer.0 as i64)]).await?.try_get(0)?;
    Ok(count as u32)
}

/// Forgets producers of which nothing has come for a week: what they have sent is long acknowledged.
///
/// # Errors
/// If the database cannot be changed.
pub async fn forget_old_producers(client: &Client) -> Result<(), Error> {
    let sql = "DELETE FROM applied WHERE applied_at < now() - INTERVAL '7 days'";
    client.execute(sql, &[]).await?;
    Ok(())
}
