//! What is sent before anything is measured, so that there is something to ask for.

use std::{
    sync::{Arc, atomic::Ordering},
    time::{Duration, Instant},
};

use futures_util::{StreamExt, TryStreamExt, stream};
use model::{ItemId, Position, StoreId};
use tokio::{sync::watch, time::sleep};

use super::{
    Live, LoadArgs, LoadError, Outcome,
    connection::{Answer, Connections, Target},
    ledger::Ledger,
    request::Request,
    source::Mix,
};
use crate::{Basket, Client};

/// Requests in flight.
const IN_FLIGHT: usize = 64;
/// A purchase is sent at most this often, when it is refused.
const ATTEMPTS: u32 = 60;
/// How long a server may take to show what it has acknowledged.
const PATIENCE: Duration = Duration::from_mins(2);
/// How often it is asked.
const POLL: Duration = Duration::from_millis(20);
/// The last purchases of the seeding that must show.
const PROBED: usize = 64;

/// Sends the seeding, and waits until it shows.
pub(crate) async fn seed(
    args: &LoadArgs,
    client: &Client,
    target: &Arc<Target>,
    mix: &Mix,
    live: &Live,
    stop: &watch::Receiver<bool>,
) -> Result<Ledger, LoadError> {
    let connections = Connections::new(Arc::clone(target));
    let mut ledger = Ledger::new(args.verify);
    let mut furthest = Position::default();
    let mut last: Vec<Basket> = Vec::new();
    let purchases = mix.seeding(args.mix.stores, args.items(), args.mix.seed_purchases);
    let mut answers = stream::iter(purchases)
        .map(|basket| post(&connections, basket))
        .buffer_unordered(IN_FLIGHT);
    while let Some((basket, answer)) = answers.try_next().await? {
        let position = answer.position.unwrap_or_default();
        position.iter().for_each(|(partition, next)| furthest.advance(partition, next));
        ledger.acknowledge(&basket, &position);
        mix.known().sold(&basket);
        live.seeded.fetch_add(1, Ordering::Relaxed);
        if last.len() == PROBED {
            last.remove(0);
        }
        last.push(basket);
        if *stop.borrow() {
            return Ok(ledger);
        }
    }
    if furthest.is_empty() {
        shows(&connections, &last).await?;
    } else {
        client.wait_for(&furthest).await.map_err(LoadError::NotShown)?;
    }
    Ok(ledger)
}

async fn post(connections: &Connections, basket: Basket) -> Result<(Basket, Answer), LoadError> {
    let request = Request::Post(basket);
    let mut attempt = 1;
    loop {
        let answer = connections.send(&request, true).await;
        match (answer.outcome, &request) {
            (Outcome::Success, Request::Post(basket)) => return Ok((basket.clone(), answer)),
            (Outcome::Refused(_), _) if attempt < ATTEMPTS => {
                attempt += 1;
                sleep(answer.pause.unwrap_or(POLL)).await;
            }
            (outcome, _) => {
                return Err(LoadError::Seeding { outcome, message: answer.message });
            }
        }
    }
}

/// Waits until a server that does not say how far it is shows `baskets`.
async fn shows(connections: &Connections, baskets: &[Basket]) -> Result<(), LoadError> {
    let started = Instant::now();
    let requests = baskets.iter().flat_map(|basket| {
        let items = basket.lines.iter().map(|line| Request::ItemStores(ItemId(line.item.0)));
        std::iter::once(Request::StoreItems(StoreId(basket.store.0))).chain(items)
    });
    for request in requests {
        loop {
            let answer = connections.send(&request, true).await;
            if answer.outcome.is_success() {
                break;
            }
            if started.elapsed() > PATIENCE {
                let (outcome, message) = (answer.outcome, answer.message);
                return Err(LoadError::Seeding { outcome, message });
            }
            sleep(answer.pause.unwrap_or(POLL)).await;
        }
    }
    Ok(())
}
