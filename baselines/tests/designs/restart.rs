//! A restart keeps the counts.

use random::Random;

use crate::common::{Deployment, Sale, Tally, for_each_design};

for_each_design!(scenario);

async fn scenario(deployment: Deployment) {
    let (mut random, mut tally) = (Random::new(3), Tally::default());
    for _ in 0..3 {
        let baseline = deployment.start().await;
        for (path, list) in tally.lists() {
            // It is ready, so it has everything there was.
            baseline.client.expect_list(&path, &list, true).await;
        }
        for _ in 0..20 {
            let line = (random.below(5), 1 + random.below(3));
            let sale = Sale { store: random.below(4), lines: vec![line] };
            assert_eq!(baseline.client.sell(&sale).await, Some(true));
            tally.add(&sale);
        }
        baseline.terminate();
    }
    assert_eq!(tally.purchases, 60);
}
