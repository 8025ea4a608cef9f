//! All connections to the servers break under load, again and again: the program comes back by itself, and
//! everything acknowledged is counted, and once; what was not acknowledged at most once.

use std::{
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicU64, Ordering},
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

const ROUNDS: u64 = 6;
const CLIENTS: u64 = 24;

/// What the clients share.
#[derive(Debug, Default)]
struct Progress {
    next_item: AtomicU64,
    acknowledged: AtomicU64,
    stop: AtomicBool,
}

async fn scenario(deployment: Deployment) {
    let baseline = deployment.start().await;
    let progress = Arc::new(Progress::default());
    let clients = (0..CLIENTS).map(|id| {
        let client = Client::new(baseline.address);
        tokio::spawn(sell(client, Random::stream(9, id), Arc::clone(&progress)))
    });
    let clients: Vec<_> = clients.collect();
    let mut random = Random::new(4);
    for _ in 0..ROUNDS {
        let enough = progress.acknowledged.load(Ordering::Acquire) + 50 + random.below(400);
        eventually("enough is sold", async || {
            (progress.acknowledged.load(Ordering::Acquire) >= enough).then_some(())
        })
        .await;
        // The moment is random, also as seen from the answers.
        tokio::time::sleep(Duration::from_millis(random.below(30))).await;
        deployment.cut_connections().await;
    }
    progress.stop.store(true, Ordering::Release);
    let mut sales = Vec::new();
    for client in clients {
        sales.extend(client.await.expect("no panic"));
    }
    check(&deployment, &baseline.client, &sales, &progress.next_item).await;
}

/// Sells until it is told to stop; gives the sales, and whether each was acknowledged.
async fn sell(client: Client, mut random: Random, progress: Arc<Progress>) -> Vec<(Sale, bool)> {
    let mut sales = Vec::new();
    while !progress.stop.load(Ordering::Acquire) {
        let sale = unique_sale(&mut random, &progress.next_item);
        let taken = client.sell(&sale).await.expect("an answer");
        sales.push((sale, taken));
        if taken {
            progress.acknowledged.fetch_add(1, Ordering::Release);
        } else {
            // As `Retry-After` asks for, though not for as long.
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    }
    sales
}
