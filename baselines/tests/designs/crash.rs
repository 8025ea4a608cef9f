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

use crate::common::{
    Client, Deployment, Sale,
    deployment::eventually,
    for_each_design,
    unique::{check, unique_sale},
};

for_each_design!(scenario);

const ROUNDS: u64 = 5;
const CLIENTS: u64 = 24;

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
    check(&deployment, &baseline.client, &sales, &next_item).await;
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
