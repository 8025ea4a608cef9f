//! Compares the answers of the server with what it has acknowledged, after a run.
//!
//! What is compared is certain:
//!
//! - A purchase whose outcome is unclear (a time-out, a lost connection, a 5xx) is settled where the
//!   server knows idempotency keys: it is sent again with its key, until there is a clear answer, and counts
//!   once.
//! - Elsewhere nobody can know. The lists it would change are left out, and how many those are is said.
//! - A server that does not say how far its answers are is asked again while they still change for the
//!   better.

use std::{
    sync::{Arc, atomic::AtomicU64},
    time::{Duration, Instant},
};

use futures_util::{StreamExt, stream};
use tokio::time::sleep;

use super::{
    LoadError, Outcome, VerificationSummary,
    connection::{Connection, Connections, Target},
    ledger::Ledger,
    request::Request,
};
use crate::{Basket, Client, Tally, Verification, VerifyOptions, verify};

/// Requests in flight.
const IN_FLIGHT: usize = 64;
/// A purchase is sent again at most this often.
const ATTEMPTS: u32 = 10;
/// Wait before another attempt where the server names none.
const BACKOFF: Duration = Duration::from_millis(200);
/// How long answers may stay as wrong as they are before they are taken for final.
const PATIENCE: Duration = Duration::from_secs(10);
/// How often they are asked for.
const POLL: Duration = Duration::from_millis(500);

/// Refuses a server that has purchases already: what others sent would look like a difference.
pub(crate) async fn ensure_fresh(target: &Arc<Target>, probe: Request) -> Result<(), LoadError> {
    let mut connection = Connection::new(Arc::clone(target));
    let answer = connection.send(&probe, false).await;
    match answer.outcome {
        Outcome::Unknown => Ok(()),
        Outcome::Success => Err(LoadError::NotFresh),
        outcome => Err(LoadError::NoAnswer { outcome, message: answer.message }),
    }
}

/// Compares.
pub(crate) async fn check(
    client: &Client,
    target: &Arc<Target>,
    ledger: Ledger,
) -> Result<VerificationSummary, LoadError> {
    let mut tally = ledger.tally.unwrap_or_default();
    let native = !tally.position().is_empty();
    let mut remarks = Vec::new();
    let mut unclear = ledger.unclear;
    let forgotten = ledger.unclear_count - unclear.len() as u64;
    if forgotten > 0 {
        remarks.push(format!(
            "{} purchases have an unclear outcome, of which only {} are kept: differences may be of the \
             others.",
            ledger.unclear_count,
            unclear.len()
        ));
    }
    if native && !unclear.is_empty() {
        let before = unclear.len();
        unclear = settle(target, unclear, &mut tally).await?;
        remarks.push(format!(
            "{} purchases had an unclear outcome; {} were settled by sending them again with their keys.",
            before,
            before - unclear.len()
        ));
    }
    let options = VerifyOptions {
        course_calls_only: !native,
        in_flight: IN_FLIGHT,
        unclear,
        ..VerifyOptions::default()
    };
    let found = if native {
        compare(client, &tally, &options).await?
    } else {
        settled(client, &tally, &options).await?
    };
    if !native {
        remarks.push("Compared were the calls of the existing clients.".to_owned());
    }
    if found.left_out > 0 {
        remarks.push(format!(
            "{} answers were left out: {} purchases that concern them have an unclear outcome.",
            found.left_out,
            options.unclear.len()
        ));
    }
    let Verification { answers, differences, shown, .. } = found;
    Ok(VerificationSummary { answers, differences, shown, remarks })
}

async fn compare(
    client: &Client,
    tally: &Tally,
    options: &VerifyOptions,
) -> Result<Verification, LoadError> {
    verify(client, tally, options, &AtomicU64::new(0)).await.map_err(LoadError::Verify)
}

/// Compares until nothing differs, or what differs has long stopped to become less.
async fn settled(
    client: &Client,
    tally: &Tally,
    options: &VerifyOptions,
) -> Result<Verification, LoadError> {
    let mut best = compare(client, tally, options).await?;
    let mut since = Instant::now();
    while best.differences > 0 && since.elapsed() < PATIENCE {
        sleep(POLL).await;
        let found = compare(client, tally, options).await?;
        if found.differences < best.differences {
            since = Instant::now();
        }
        best = found;
    }
    Ok(best)
}

/// Sends purchases again with their keys. Gives those that are still unclear.
async fn settle(
    target: &Arc<Target>,
    unclear: Vec<Basket>,
    tally: &mut Tally,
) -> Result<Vec<Basket>, LoadError> {
    let connections = Connections::new(Arc::clone(target));
    let mut left = Vec::new();
    let mut answers =
        stream::iter(unclear).map(|basket| again(&connections, basket)).buffer_unordered(IN_FLIGHT);
    while let Some((basket, position)) = answers.next().await {
        match position {
            Some(position) => tally.acknowledged(&basket, &position),
            None => left.push(basket),
        }
    }
    Ok(left)
}

async fn again(connections: &Connections, basket: Basket) -> (Basket, Option<model::Position>) {
    let request = Request::Post(basket.clone());
    for _ in 0..ATTEMPTS {
        let answer = connections.send(&request, true).await;
        if answer.outcome.is_success() {
            return (basket, answer.position);
        }
        sleep(answer.pause.unwrap_or(BACKOFF)).await;
    }
    (basket, None)
}
