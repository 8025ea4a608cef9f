//! What several scenarios need.

#![allow(unreachable_pub, reason = "each scenario is a crate of its own")]

use std::{
    sync::{Mutex, mpsc},
    time::Duration,
};

use log::CommitObserver;

/// Holds the writer after every commit until it is let go.
pub struct Gate {
    reached: mpsc::Sender<()>,
    passes: Mutex<mpsc::Receiver<()>>,
}

/// The other side of a [`Gate`]. Dropping it opens the gate for good.
pub struct Keeper {
    reached: mpsc::Receiver<()>,
    passes: mpsc::Sender<()>,
}

impl Gate {
    pub fn new() -> (Self, Keeper) {
        let (reached, at_the_gate) = mpsc::channel();
        let (pass, passes) = mpsc::channel();
        let gate = Self { reached, passes: Mutex::new(passes) };
        (gate, Keeper { reached: at_the_gate, passes: pass })
    }
}

impl CommitObserver for Gate {
    fn committed(&self, _: usize, _: usize, _: Duration) {
        let _ = self.reached.send(());
        let _ = self.passes.lock().expect("not poisoned").recv();
    }
}

impl Keeper {
    /// Waits until the writer is at the gate.
    pub fn wait(&self) {
        self.reached.recv_timeout(Duration::from_secs(30)).expect("a commit within 30 s");
    }

    /// Lets it go on, to the next commit.
    #[allow(dead_code, reason = "not every scenario goes step by step")]
    pub fn pass(&self) {
        self.passes.send(()).expect("the writer runs");
    }
}
