//! Killed under load, again and again: everything acknowledged is counted, and once; and what was not
//! acknowledged at most once.

use std::{
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

use random::Random;

use crate::common::{Client, Deployment, Sale, deployment::eventually, for_each_design};

for_each_design!(scenario);

const ROUNDS: u64 = 5;
const CLIENTS: u64 = 24;
const STORES: u64 = 9;

/// A sale that no other is like: no two sell the same item.
fn unique_sale(random: &mut Random, next_item: &AtomicU64) -> Sale {
    let item = next_item.fetch_add(1, Ordering::Relaxed);
    Sale { store: random.below(STORES), lines: vec![(item, 1 + random.below(9))] }
}

async fn scenario(deployment: Deployment) {
    let mut random = Random::new(20_210_101);
    let next_item = Arc::new(AtomicU64::new(0));
    let mut sales = Vec::new();
    for _ in 0..ROUNDS {
        sales.extend(round(&deployment, &mut random, &next_item).await);
        deployment.start_and_kill(Duration::from_millis(random.below(150))).await;
    }
    assert!(sales.iter().filter(|(_, taken)| *taken).count() as u64 > 50 * ROUNDS);
    let baseline = deployment.start().await;
    check(&deployment, &baseline.client, &sales).await;
}

/// Lets clients sell, and kills the program on the way. Gives the sales, and whether each was acknowledged.
async fn round(
    deployment: &Deployment,
    random: &mut Random,
    next_item: &Arc<AtomicU64>,
) -> Vec<(Sale, bool)> {
    let baseline = deployment.start().await;
    let acknowledged = Arc::new(AtomicU64::new(0));
    let clients = (0..CLIENTS).map(|_| {
        let client = Client::new(baseline.address);
        let (next_item, acknowledged) = (Arc::clone(next_item), Arc::clone(&acknowledged));
        let mut random = Random::new(random.next());
        tokio::spawn(async move {
            let mut sales = Vec::new();
            loop {
                let sale = unique_sale(&mut random, &next_item);
                let taken = client.sell(&sale).await;
                sales.push((sale, taken == Some(true)));
                if taken.is_none() {
                    return sales;
                }
                acknowledged.fetch_add(1, Ordering::Release);
            }
        })
    });
    let clients: Vec<_> = clients.collect();
    let enough = 100 + random.below(400);
    eventually("enough is sold", async || {
        (acknowledged.load(Ordering::Acquire) >= enough).then_some(())
    })
    .await;
    baseline.kill();
    let mut sales = Vec::new();
    for client in clients {
        sales.extend(client.await.expect("no panic"));
    }
    sales
}

async fn check(deployment: &Deployment, client: &Client, sales: &[(Sale, bool)]) {
    for (sale, taken) in sales {
        let (item, quantity) = sale.lines[0];
        let path = format!("/items/top10/{item}");
        let list =
            format!(r#"{{"stores":[{{"storeID":{},"numberOfItems":{quantity}}}]}}"#, sale.store);
        let answer = client.get(&path).await;
        if *taken || answer.status != 404 {
            assert_eq!(answer.parts(), (200, &*list), "item {item}, acknowledged: {taken}");
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
