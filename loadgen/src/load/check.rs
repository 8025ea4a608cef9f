//! Compares the answers of the server with what it has acknowledged, after a run.
//!
//! What is compared is certain:
//!
//! - A purchase whose outcome is unclear (a time-out, a lost connection, a 5xx) is settled where the
//!   server knows idempotency keys: it is sent again with its key, until there is a clear answer, and counts
//!   once.
//!   Whether its day was still open by then, nobody knows if others of a much later date were sent before: its
//!   lists of that day are left out.
//! - Elsewhere nobody can know. The lists it would change are left out, and how many those are is said.
//! - A server that does not say how far its answers are is asked again while they still change for the
//!   better.

use std::{
    sync::{Arc, atomic::AtomicU64},
    time::{Duration, Instant},
};

use futures_util::{StreamExt, stream};
use model::{BusinessDate, StoreId};
use reqwest::StatusCode;
use tokio::time::sleep;

use super::{
    LoadError, Outcome, VerificationSummary,
    connection::{Connection, Connections, Target},
    ledger::Ledger,
    request::Request,
    source::DAYS_APART,
};
use crate::{
    Basket, Client, Failure, List, Tally, Verification, VerifyOptions, client::message_of, verify,
};

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
async fn ensure_fresh(target: &Arc<Target>, probe: Request) -> Result<(), LoadError> {
    let mut connection = Connection::new(Arc::clone(target));
    let answer = connection.send(&probe, false).await;
    match answer.outcome {
        Outcome::Unknown => Ok(()),
        Outcome::Success => Err(LoadError::NotFresh),
        outcome => Err(LoadError::NoAnswer { outcome, message: answer.message }),
    }
}

/// Refuses a server whose answers could not be compared afterwards: one that has purchases already, or that does
/// not give lists as `options` have them. `store` and `date` are of a purchase that will be sent.
pub(crate) async fn ensure_comparable(
    client: &Client,
    target: &Arc<Target>,
    options: &VerifyOptions,
    (store, date): (StoreId, BusinessDate),
) -> Result<(), LoadError> {
    ensure_fresh(target, Request::StoreItems(store)).await?;
    for date in [None, Some(date).filter(|_| options.kept_days > 0)] {
        let path = List::ChainItems.path(date, options.k);
        let (status, body) = client.get(&path).await.map_err(LoadError::NoList)?;
        // Any other: it is empty, or knows the calls of the existing clients only.
        if status == StatusCode::BAD_REQUEST {
            return Err(LoadError::NotComparable { path, message: message_of(&body) });
        }
    }
    Ok(())
}

/// Compares.
///
/// # Errors
/// If the server does not give its answers.
pub(crate) async fn check(
    client: &Client,
    target: &Arc<Target>,
    ledger: Ledger,
    options: VerifyOptions,
) -> Result<VerificationSummary, Failure> {
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
    let mut perhaps_late = Vec::new();
    if native && !unclear.is_empty() {
        let before = unclear.len();
        let (settled, left) = settle(target, unclear, &mut tally).await;
        unclear = left;
        remarks.push(format!(
            "{before} purchases had an unclear outcome; {} were settled by sending them again with their keys.",
            settled.len()
        ));
        let newest = tally.dates().next_back();
        let may_be_closed = |basket: &Basket| {
            newest.is_some_and(|newest| newest.days() - basket.date.days() > DAYS_APART)
        };
        perhaps_late = settled.into_iter().filter(may_be_closed).collect();
    }
    let options = VerifyOptions {
        course_calls_only: !native,
        in_flight: IN_FLIGHT,
        unclear,
        perhaps_late,
        ..options
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
            "{} answers were left out: {} purchases that concern them have an unclear outcome, and {} were sent \
             again when their day may have been closed.",
            found.left_out,
            options.unclear.len(),
            options.perhaps_late.len()
        ));
    }
    let Verification { answers, lists, differences, shown, .. } = found;
    if lists == 0 {
        remarks.push(format!(
            "No list could be compared: {} purchases were acknowledged.",
            tally.purchases()
        ));
    }
    Ok(VerificationSummary { answers, lists: Some(lists), differences, shown, remarks })
}

async fn compare(
    client: &Client,
    tally: &Tally,
    options: &VerifyOptions,
) -> Result<Verification, Failure> {
    verify(client, tally, options, &AtomicU64::new(0)).await
}

/// Compares until nothing differs, or what differs has long stopped to become less.
async fn settled(
    client: &Client,
    tally: &Tally,
    options: &VerifyOptions,
) -> Result<Verification, Failure> {
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

/// Sends purchases again with their keys. Gives those that are settled by that, and those still unclear.
async fn settle(
    target: &Arc<Target>,
    unclear: Vec<Basket>,
    tally: &mut Tally,
) -> (Vec<Basket>, Vec<Basket>) {
    let connections = Connections::new(Arc::clone(target));
    let (mut settled, mut left) = (Vec::new(), Vec::new());
    let mut answers =
        stream::iter(unclear).map(|basket| again(&connections, basket)).buffer_unordered(IN_FLIGHT);
    while let Some((basket, position)) = answers.next().await {
        match position {
            Some(position) => {
                tally.acknowledged(&basket, &position);
                settled.push(basket);
            }
            None => left.push(basket),
        }
    }
    (settled, left)
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
