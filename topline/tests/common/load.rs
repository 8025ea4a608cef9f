//! Clients that send purchases while something else happens, and know what became of each.

use std::{
    net::SocketAddr,
    sync::{
        Mutex,
        atomic::{AtomicBool, AtomicU64, Ordering::Relaxed},
    },
    thread,
    time::Duration,
};

use random::Random;

use super::{
    Client, Server, eventually,
    sales::{Request, Sale, Tally},
};

/// After a request that was not acknowledged.
const PAUSE: Duration = Duration::from_millis(20);

/// What the senders share.
#[derive(Default)]
pub(crate) struct Load {
    /// What became of what was sent so far.
    pub(crate) tally: Mutex<Tally>,
    servers: Mutex<Vec<SocketAddr>>,
    acknowledged: AtomicU64,
    refused: AtomicU64,
    /// Number of the next sale of each sender that is started.
    next: AtomicU64,
    stop: AtomicBool,
}

/// Ends the senders when dropped, also by a panic.
struct Stopper<'a>(&'a Load);

impl Drop for Stopper<'_> {
    fn drop(&mut self) {
        self.0.stop.store(true, Relaxed);
    }
}

impl Load {
    /// Has the senders send to any of these from now on, when they connect anew.
    pub(crate) fn send_to<'a>(&self, servers: impl IntoIterator<Item = &'a Server>) {
        *self.servers.lock().unwrap() = servers.into_iter().map(|server| server.public).collect();
    }

    /// Lets so many clients send while `happening`.
    pub(crate) fn during(&self, senders: u64, happening: impl FnOnce()) {
        self.stop.store(false, Relaxed);
        let first = self.next.load(Relaxed);
        thread::scope(|scope| {
            let senders: Vec<_> =
                (0..senders).map(|id| scope.spawn(move || self.send(id, first))).collect();
            let stopper = Stopper(self);
            happening();
            drop(stopper);
            let last = senders.into_iter().map(|sender| sender.join().unwrap()).max();
            self.next.store(last.unwrap_or(first), Relaxed);
        });
    }

    /// Waits until so many more requests have been acknowledged.
    pub(crate) fn more(&self, what: &str, many: u64) {
        Self::grown(what, &self.acknowledged, many);
    }

    /// Waits until so many more requests have been refused, or left without an answer.
    pub(crate) fn more_refused(&self, what: &str, many: u64) {
        Self::grown(what, &self.refused, many);
    }

    fn grown(what: &str, counter: &AtomicU64, many: u64) {
        let before = counter.load(Relaxed);
        eventually(what, || (counter.load(Relaxed) >= before + many).then_some(()));
    }

    /// Sends until it is stopped, sales from the number `first` on; gives the number after the last.
    fn send(&self, id: u64, first: u64) -> u64 {
        let (mut random, mut number) = (Random::stream(7, id), first);
        let mut connected: Option<Client> = None;
        while !self.stop.load(Relaxed) {
            let mut client = connected.take().or_else(|| self.connect(&mut random));
            let sales = 1 + random.below(20);
            let request = Request::Bulk((0..sales).map(|n| Sale::of(id, number + n)).collect());
            number += sales;
            let position = client.as_mut().and_then(|client| request.send(client));
            self.tally.lock().unwrap().note(request, position.as_deref());
            if position.is_some() {
                self.acknowledged.fetch_add(1, Relaxed);
                connected = client;
            } else {
                self.refused.fetch_add(1, Relaxed);
                thread::sleep(PAUSE);
            }
        }
        number
    }

    fn connect(&self, random: &mut Random) -> Option<Client> {
        let servers = self.servers.lock().unwrap().clone();
        Client::connect(servers[random.below(servers.len() as u64) as usize]).ok()
    }
}
