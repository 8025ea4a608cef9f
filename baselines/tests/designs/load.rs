//! Many clients at once: every list, and every row, against an independent tally.

use random::Random;

use crate::common::{
    Baseline, Client, Deployment, Sale, Tally, deployment::eventually, for_each_design,
};

for_each_design!(scenario);

const CLIENTS: u64 = 48;
const PURCHASES: u64 = 40;
/// Few enough that clients meet in every store and every item, and that there are ties.
const STORES: u64 = 15;
const ITEMS: u64 = 30;

async fn scenario(deployment: Deployment) {
    let baseline = deployment.start().await;
    let tally = sell(&baseline).await;
    for (path, list) in tally.lists() {
        baseline.client.expect_list(&path, &list, deployment.reads_its_writes()).await;
    }
    check_database(&deployment, &tally).await;
}

async fn sell(baseline: &Baseline) -> Tally {
    let clients = (0..CLIENTS).map(|id| {
        let client = Client::new(baseline.address);
        tokio::spawn(async move {
            let (mut random, mut tally) = (Random::stream(1, id), Tally::default());
            for _ in 0..PURCHASES {
                let sale = any_sale(&mut random);
                assert_eq!(client.sell(&sale).await, Some(true));
                tally.add(&sale);
            }
            tally
        })
    });
    let mut tally = Tally::default();
    for client in clients.collect::<Vec<_>>() {
        tally.merge(client.await.expect("no panic"));
    }
    tally
}

fn any_sale(random: &mut Random) -> Sale {
    let lines = (0..=random.below(5)).map(|_| (random.below(ITEMS), 1 + random.below(3)));
    let lines = lines.collect();
    Sale { store: random.below(STORES), lines }
}

/// The counts are those of the tally, and also the sums of the purchases recorded.
async fn check_database(deployment: &Deployment, tally: &Tally) {
    let counts = "SELECT count(*), (SELECT sum(quantity)::bigint FROM sold),
        sum((SELECT sum((i->>'numberOfItems')::bigint) FROM jsonb_array_elements(items) i))::bigint
        FROM purchase";
    let total: u64 = tally.sold.values().sum();
    eventually("the database has everything", async || {
        let row = &deployment.query(counts).await[0];
        let count: i64 = row.get(0);
        (count as u64 >= tally.purchases).then_some(())
    })
    .await;
    let row = &deployment.query(counts).await[0];
    let found: [Option<i64>; 3] = std::array::from_fn(|column| row.get(column));
    assert_eq!(found, [tally.purchases, total, total].map(|number| Some(number as i64)));
}
