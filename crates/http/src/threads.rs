//! The threads that serve connections.
//!
//! Each has a runtime of its own, and a connection stays on the thread that it was given to: its memory
//! stays in that core's caches, its events come from that thread's own poll, and no thread has to wake
//! another for it. What a handler waits for may well be made ready by other threads.

use std::{
    io,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering::Relaxed},
    },
    thread,
};

use tokio::runtime::{Builder, Handle};
use tokio_util::sync::{CancellationToken, DropGuard};

/// The threads of a listener; they end when this is dropped, and all that they still serve with them.
#[derive(Debug)]
pub(crate) struct ServingThreads {
    threads: Vec<ServingThread>,
    _stop: DropGuard,
}

#[derive(Debug)]
struct ServingThread {
    runtime: Handle,
    connections: Arc<AtomicUsize>,
}

/// A connection's place on a thread.
#[derive(Debug)]
struct Place(Arc<AtomicUsize>);

impl ServingThreads {
    /// Starts `count` threads, named after the listener.
    ///
    /// # Errors
    /// If the system has no more threads or files for them.
    pub(crate) fn start(listener: &str, count: usize) -> io::Result<Self> {
        let stop = CancellationToken::new();
        let threads = (0..count).map(|number| {
            let runtime = Builder::new_current_thread().enable_all().build()?;
            let handle = runtime.handle().clone();
            let stopped = stop.clone().cancelled_owned();
            thread::Builder::new().name(format!("{listener}-{number}")).spawn(move || {
                runtime.block_on(stopped);
                // A handler may have left work on a blocking thread; nobody waits for it any more.
                runtime.shutdown_background();
            })?;
            Ok(ServingThread { runtime: handle, connections: Arc::default() })
        });
        Ok(Self { threads: threads.collect::<io::Result<_>>()?, _stop: stop.drop_guard() })
    }

    /// Gives a connection to the thread that has the fewest.
    pub(crate) fn spawn(&self, connection: impl Future<Output = ()> + Send + 'static) {
        let fewest = self.threads.iter().min_by_key(|thread| thread.connections.load(Relaxed));
        let thread = fewest.expect("a listener has at least one thread");
        thread.connections.fetch_add(1, Relaxed);
        let place = Place(Arc::clone(&thread.connections));
        thread.runtime.spawn(async move {
            connection.await;
            drop(place);
        });
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Relaxed);
    }
}
