//! Purchases that wait to be taken, with those who wait for the answer.

use std::time::Duration;

use model::Purchase;
use tokio::sync::{mpsc, oneshot};

use crate::contract::Refusal;

/// How long a purchase may take from its POST to its answer.
const PATIENCE: Duration = Duration::from_secs(10);

/// A purchase, and who waits for it.
#[derive(Debug)]
pub(crate) struct Pending {
    pub(crate) purchase: Purchase,
    answer: oneshot::Sender<Result<(), Refusal>>,
}

/// Where purchases are handed in to the one task that takes them.
#[derive(Debug)]
pub(crate) struct Intake(mpsc::Sender<Pending>);

/// A queue of at most `capacity` purchases.
pub(crate) fn queue(capacity: usize) -> (Intake, mpsc::Receiver<Pending>) {
    let (intake, queue) = mpsc::channel(capacity);
    (Intake(intake), queue)
}

impl Intake {
    /// Hands a purchase in and waits for its answer.
    ///
    /// # Errors
    /// What the task answers; or that the queue is full, or that it takes too long.
    pub(crate) async fn submit(&self, purchase: Purchase) -> Result<(), Refusal> {
        let (answer, answered) = oneshot::channel();
        self.0
            .try_send(Pending { purchase, answer })
            .map_err(|_| Refusal::NotTaken("too many purchases wait already"))?;
        match tokio::time::timeout(PATIENCE, answered).await {
            Ok(Ok(answer)) => answer,
            Ok(Err(_)) => Err(Refusal::Unclear("the connection it went by is gone")),
            Err(_) => Err(Refusal::Unclear("it takes too long")),
        }
    }
}

impl Pending {
    /// Answers. Nobody listens any more if the client has gone, or its patience has.
    pub(crate) fn answer(self, answer: Result<(), Refusal>) {
        let _ = self.answer.send(answer);
    }
}

/// Gives all of them one answer.
pub(crate) fn answer_all(pending: impl IntoIterator<Item = Pending>, answer: &Result<(), Refusal>) {
    pending.into_iter().for_each(|pending| pending.answer(answer.clone()));
}

/// Refuses what comes until `done` resolves.
///
/// # Errors
/// `None` if nobody can hand anything in any more.
pub(crate) async fn refuse_until<T>(
    queue: &mut mpsc::Receiver<Pending>,
    reason: &'static str,
    done: impl Future<Output = T>,
) -> Option<T> {
    let mut done = std::pin::pin!(done);
    loop {
        tokio::select! {
            biased;
            value = &mut done => return Some(value),
            pending = queue.recv() => pending?.answer(Err(Refusal::NotTaken(reason))),
        }
    }
}
