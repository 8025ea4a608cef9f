//! Ctrl-C and SIGTERM, heeded from the very start: as the first process of a container, one that does not is
//! killed only when the grace period is over.

use std::{error::Error, fmt};

use tokio::{
    signal::unix::{SignalKind, signal},
    sync::watch,
};

/// How often the process has been asked to end, by Ctrl-C or SIGTERM.
#[derive(Debug, Clone)]
pub(crate) struct Termination(watch::Receiver<u32>);

/// The process was asked to end before it was up. No failure of a server; of what had something to do, it is.
#[derive(Debug)]
pub(crate) struct EndedEarly;

impl fmt::Display for EndedEarly {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("asked to end before it was up")
    }
}

impl Error for EndedEarly {}

impl Termination {
    /// Begins to listen; to be called once, in a runtime.
    pub(crate) fn listen() -> Self {
        let (asked, times) = watch::channel(0);
        for kind in [SignalKind::interrupt(), SignalKind::terminate()] {
            match signal(kind) {
                Ok(mut signals) => {
                    let asked = asked.clone();
                    tokio::spawn(async move {
                        while signals.recv().await.is_some() {
                            asked.send_modify(|times| *times += 1);
                        }
                    });
                }
                Err(error) => {
                    tracing::warn!(%error, ?kind, "cannot wait for the signal: it ends nothing in order");
                }
            }
        }
        Self(times)
    }

    /// Resolves when the process has been asked to end, so often.
    pub(crate) async fn asked(&self, often: u32) {
        let mut times = self.0.clone();
        if times.wait_for(|&times| times >= often).await.is_err() {
            // Nobody listens for signals.
            std::future::pending::<()>().await;
        }
    }

    /// What `starting` comes to.
    ///
    /// # Errors
    /// [`EndedEarly`] if the process is asked to end first.
    pub(crate) async fn during<T>(
        &self,
        starting: impl Future<Output = anyhow::Result<T>>,
    ) -> anyhow::Result<T> {
        tokio::select! {
            biased;
            started = starting => started,
            () = self.asked(1) => Err(EndedEarly.into()),
        }
    }
}
