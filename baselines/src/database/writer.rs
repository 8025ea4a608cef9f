//! Adding purchases.

use std::collections::BTreeMap;

use model::{ItemId, Partition, ProducerId, Purchase, Sequence, StoreId};
use serde_json::json;
use tokio_postgres::{Client, Error, Statement};

use super::{Applied, ids};

/// The purchases, and what they add to the counts, in one statement: one round trip, one commit.
const RECORD: &str = "
    WITH recorded AS (
        INSERT INTO purchase (store_id, customer_id, business_date, accepted_at, items)
        SELECT store_id, customer_id, DATE '1970-01-01' + day,
            TIMESTAMPTZ 'epoch' + millis * INTERVAL '1 millisecond', items::jsonb
        FROM unnest($1::bigint[], $2::bigint[], $3::integer[], $4::bigint[], $5::text[])
            AS p (store_id, customer_id, day, millis, items)
    ), noted AS (
        INSERT INTO applied (shard, producer, next_sequence)
        SELECT $9::bigint, * FROM unnest($10::bigint[], $11::bigint[])
        ON CONFLICT (shard, producer)
            DO UPDATE SET next_sequence = excluded.next_sequence, applied_at = now()
    )
    INSERT INTO sold (store_id, item_id, quantity)
    SELECT * FROM unnest($6::bigint[], $7::bigint[], $8::bigint[])
    ON CONFLICT (store_id, item_id) DO UPDATE SET quantity = sold.quantity + excluded.quantity";

/// A connection that adds purchases.
#[derive(Debug)]
pub struct Writer {
    client: Client,
    record: Statement,
}

impl Writer {
    /// Prepares a connection.
    ///
    /// # Errors
    /// If the tables are not those of this release, or the connection breaks.
    pub async fn prepare(client: Client) -> Result<Self, Error> {
        let record = client.prepare(RECORD).await?;
        Ok(Self { client, record })
    }

    /// Makes this connection the only one that adds messages of a shard, until it ends; waits for the one
    /// before to end, even if that was left by a process that is gone. Gives what has been added.
    ///
    /// # Errors
    /// If another connection adds messages of the shard, or this one breaks.
    pub async fn take_shard(&self, shard: Partition) -> Result<Applied, Error> {
        let shard = i64::from(shard.0);
        // The class keeps it apart from other locks of that number.
        let lock = "SELECT pg_advisory_lock(7302, $1::bigint::integer)";
        self.client.query(lock, &[&shard]).await?;
        let sql = "SELECT producer, next_sequence FROM applied WHERE shard = $1";
        let mut applied = Applied::default();
        for row in self.client.query(sql, &[&shard]).await? {
            let (producer, next): (i64, i64) = (row.try_get(0)?, row.try_get(1)?);
            applied.set(ProducerId(producer as u64), Sequence(next as u64));
        }
        Ok(applied)
    }

    /// Adds purchases in one transaction, which is durable when this resolves.
    ///
    /// # Errors
    /// If the server refuses: then nothing was added. If the connection breaks, it may or may not have
    /// been.
    pub async fn record<'a>(
        &self,
        purchases: impl Iterator<Item = &'a Purchase>,
    ) -> Result<(), Error> {
        self.record_messages(purchases, Partition(0), &Applied::default()).await
    }

    /// Adds the purchases of messages of a shard, and notes in the same transaction that they are added.
    ///
    /// # Errors
    /// As [`Writer::record`].
    pub async fn record_messages<'a>(
        &self,
        purchases: impl Iterator<Item = &'a Purchase>,
        shard: Partition,
        applied: &Applied,
    ) -> Result<(), Error> {
        let columns = Columns::of(purchases);
        let (producers, next): (Vec<i64>, Vec<i64>) =
            applied.iter().map(|(producer, next)| (producer.0 as i64, next.0 as i64)).unzip();
        self.client
            .execute(
                &self.record,
                &[
                    &columns.stores,
                    &columns.customers,
                    &columns.days,
                    &columns.millis,
                    &columns.items,
                    &columns.pair_stores,
                    &columns.pair_items,
                    &columns.pair_quantities,
                    &i64::from(shard.0),
                    &producers,
                    &next,
                ],
            )
            .await?;
        Ok(())
    }
}

/// The parameters of [`RECORD`].
#[derive(Debug, Default, PartialEq, Eq)]
struct Columns {
    stores: Vec<i64>,
    customers: Vec<i64>,
    days: Vec<i32>,
    millis: Vec<i64>,
    items: Vec<String>,
    pair_stores: Vec<i64>,
    pair_items: Vec<i64>,
    pair_quantities: Vec<i64>,
}

impl Columns {
    /// A pair of store and item is there once, as an upsert demands; and pairs are in order, so that
    /// two transactions that share some lock them in the same order.
    fn of<'a>(purchases: impl Iterator<Item = &'a Purchase>) -> Self {
        let mut columns = Self::default();
        let mut counts: BTreeMap<(StoreId, ItemId), i64> = BTreeMap::new();
        for purchase in purchases {
            columns.push(purchase);
            for line in &purchase.lines {
                *counts.entry((purchase.store, line.item)).or_default() += i64::from(line.quantity);
            }
        }
        for ((store, item), quantity) in counts {
            columns.pair_stores.push(ids::of_store(store));
            columns.pair_items.push(ids::of_item(item));
            columns.pair_quantities.push(quantity);
        }
        columns
    }

    fn push(&mut self, purchase: &Purchase) {
        let item =
            |line: &model::Line| json!({"ItemID": line.item, "numberOfItems": line.quantity});
        let items: Vec<_> = purchase.lines.iter().map(item).collect();
        self.stores.push(ids::of_store(purchase.store));
        self.customers.push(purchase.customer.0.into());
        self.days.push(purchase.date.days());
        self.millis.push(purchase.event_time.millis());
        self.items.push(serde_json::Value::Array(items).to_string());
    }
}

#[cfg(test)]
mod tests {
    use model::{CustomerId, Line, Timestamp};

    use super::*;

    #[test]
    fn pairs_are_summed_and_in_order() {
        let purchase = |store, lines: &[(u64, u32)]| Purchase {
            store: StoreId(store),
            customer: CustomerId(1),
            date: "20210101".parse().unwrap(),
            event_time: Timestamp::from_millis(5).unwrap(),
            key: None,
            lines: lines
                .iter()
                .map(|&(item, quantity)| Line { item: ItemId(item), quantity })
                .collect(),
        };
        let purchases = [purchase(2, &[(9, 1), (3, 2), (9, 4)]), purchase(1, &[(7, 1)])];
        let columns = Columns::of(purchases.iter());
        assert_eq!(columns.pair_stores, [1, 2, 2]);
        assert_eq!(columns.pair_items, [7, 3, 9].map(|id| ids::of_item(ItemId(id))));
        assert_eq!(columns.pair_quantities, [1, 2, 5]);
        assert_eq!((columns.stores, columns.days), (vec![2, 1], vec![18628, 18628]));
        assert_eq!(columns.items[1], r#"[{"ItemID":7,"numberOfItems":1}]"#);
    }
}
