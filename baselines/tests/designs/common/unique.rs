//! Sales that can be told apart.

use std::{
    collections::BTreeSet,
    sync::atomic::{AtomicU64, Ordering},
};

use random::Random;

use super::{Client, Deployment, Sale, deployment::eventually};

const STORES: u64 = 9;

/// A sale that no other is like: no two sell the same item.
pub(crate) fn unique_sale(random: &mut Random, next_item: &AtomicU64) -> Sale {
    let item = next_item.fetch_add(1, Ordering::Relaxed);
    Sale { store: random.below(STORES), lines: vec![(item, 1 + random.below(9))] }
}

/// Everything acknowledged is counted, and once; what was not acknowledged at most once; and the answers
/// agree with the database.
pub(crate) async fn check(
    deployment: &Deployment,
    client: &Client,
    sales: &[(Sale, bool)],
    next_item: &AtomicU64,
) {
    settle(deployment, client, next_item).await;
    let recorded = recorded_items(deployment).await;
    for (sale, taken) in sales {
        let (item, quantity) = sale.lines[0];
        let answer = client.get(&format!("/items/top10/{item}")).await;
        if recorded.contains(&item) {
            let entry = format!(r#"{{"storeID":{},"numberOfItems":{quantity}}}"#, sale.store);
            let list = format!(r#"{{"stores":[{entry}]}}"#);
            assert_eq!(answer.parts(), (200, &*list), "item {item}, acknowledged: {taken}");
        } else {
            assert_eq!((answer.status, taken), (404, &false), "item {item} is not recorded");
        }
    }
    // The counts are the sums of the purchases recorded, and no purchase is recorded twice.
    let wrong = deployment
        .query(
            "SELECT item_id, quantity, recorded FROM sold FULL JOIN (
                SELECT ((i->>'ItemID')::numeric - 9223372036854775808)::bigint AS item_id,
                    sum((i->>'numberOfItems')::bigint)::bigint AS recorded, count(*) AS times
                FROM purchase, jsonb_array_elements(items) i GROUP BY 1
            ) AS r USING (item_id)
            WHERE quantity IS DISTINCT FROM recorded OR times IS DISTINCT FROM 1",
        )
        .await;
    assert!(wrong.is_empty(), "{wrong:?}");
}

/// Sells in every store once more. When that shows, so does everything that was on its way before.
async fn settle(deployment: &Deployment, client: &Client, next_item: &AtomicU64) {
    for store in 0..STORES {
        let item = eventually("it sells", async || {
            let item = next_item.fetch_add(1, Ordering::Relaxed);
            let sold = client.sell(&Sale { store, lines: vec![(item, 1)] }).await;
            sold.filter(|&taken| taken).map(|_| item)
        })
        .await;
        let path = format!("/items/top10/{item}");
        eventually("it shows", async || (client.get(&path).await.status == 200).then_some(()))
            .await;
        eventually("it is recorded", async || {
            recorded_items(deployment).await.contains(&item).then_some(())
        })
        .await;
    }
}

async fn recorded_items(deployment: &Deployment) -> BTreeSet<u64> {
    let rows = deployment.query("SELECT item_id FROM sold").await;
    rows.iter().map(|row| (row.get::<_, i64>(0) as u64) ^ (1 << 63)).collect()
}
