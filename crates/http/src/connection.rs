//! What is known of the open connections, and their time limits.
//!
//! A timer per request costs an allocation and two trips to the timer wheel, which shows at a
//! hundred thousand requests a second. So a connection only notes, in atomics of its own, what it
//! waits for and since when; one task looks at all of them a few times per limit and tells those
//! that have waited too long to close. A limit therefore takes effect up to half of the shortest
//! limit late, and not early.

use std::{
    collections::HashMap,
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicBool, AtomicU8, AtomicU64, Ordering::Relaxed, Ordering::SeqCst},
    },
    task::Waker,
    time::Duration,
};

use futures_util::task::AtomicWaker;
use telemetry::ListenerMetrics;
use tokio::time::{Instant, MissedTickBehavior};

/// The time limits of a connection.
#[derive(Debug, Clone, Copy)]
pub(crate) struct TimeLimits {
    pub(crate) header: Duration,
    pub(crate) idle: Duration,
    pub(crate) write: Duration,
}

/// What a connection waits for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Phase {
    /// The first byte of a request.
    Idle = 0,
    /// The same, but the request before had a body, and what comes may be the rest of that.
    IdleAfterBody = 1,
    /// The rest of its head, or of the handshake of TLS.
    Head = 2,
    /// The service: reading the body, making the answer. It keeps its own limits.
    Busy = 3,
    /// The client, to close as well. That has a limit of its own.
    Closing = 4,
}

/// What a connection is to do when it is polled next.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Command {
    Run = 0,
    /// Finish the request at hand, then close.
    Drain = 1,
    Close = 2,
}

/// The open connections of a listener.
#[derive(Debug)]
pub(crate) struct Connections {
    started: Instant,
    /// Milliseconds since `started`, as of the last sweep.
    clock: Arc<AtomicU64>,
    open: Mutex<Open>,
    metrics: ListenerMetrics,
}

#[derive(Debug, Default)]
struct Open {
    next_id: u64,
    by_id: HashMap<u64, Arc<Connection>>,
}

/// One open connection.
#[derive(Debug)]
pub(crate) struct Connection {
    clock: Arc<AtomicU64>,
    /// Phase and when it began: milliseconds × 8 + phase.
    phase: AtomicU64,
    /// When a write first found no room, in milliseconds + 1; 0 if the last write had room.
    stalled: AtomicU64,
    /// Whether the last read of hyper found nothing.
    drained: AtomicBool,
    command: AtomicU8,
    waker: AtomicWaker,
}

/// Keeps a connection among the open ones.
#[derive(Debug)]
pub(crate) struct OpenGuard {
    id: u64,
    connection: Arc<Connection>,
    connections: Arc<Connections>,
}

/// Keeps a connection in the phase `Busy`.
#[derive(Debug)]
pub(crate) struct BusyGuard {
    connection: Arc<Connection>,
    then: Phase,
}

impl Connections {
    pub(crate) fn new(metrics: ListenerMetrics) -> Arc<Self> {
        Arc::new(Self {
            started: Instant::now(),
            clock: Arc::default(),
            open: Mutex::default(),
            metrics,
        })
    }

    pub(crate) fn open(self: &Arc<Self>) -> OpenGuard {
        let connection = Arc::new(Connection {
            clock: Arc::clone(&self.clock),
            phase: AtomicU64::new(0),
            stalled: AtomicU64::new(0),
            drained: AtomicBool::new(false),
            command: AtomicU8::new(Command::Run as u8),
            waker: AtomicWaker::new(),
        });
        connection.enter(Phase::Idle);
        let mut open = self.lock();
        let id = open.next_id;
        open.next_id += 1;
        open.by_id.insert(id, Arc::clone(&connection));
        self.metrics.accepted.inc();
        self.metrics.connections.inc();
        OpenGuard { id, connection, connections: Arc::clone(self) }
    }

    /// Gives the command to all connections open now.
    pub(crate) fn command(&self, command: Command) {
        for connection in self.lock().by_id.values() {
            connection.tell(command);
        }
    }

    /// Number of connections open now.
    pub(crate) fn len(&self) -> usize {
        self.lock().by_id.len()
    }

    /// Enforces the limits until dropped.
    pub(crate) async fn sweep(self: Arc<Self>, limits: TimeLimits) {
        let shortest = limits.header.min(limits.idle).min(limits.write);
        let period = (shortest / 4).clamp(Duration::from_millis(10), Duration::from_secs(1));
        let mut interval = tokio::time::interval(period);
        interval.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            let now = interval.tick().await.duration_since(self.started).as_millis() as u64;
            let before = self.clock.swap(now, Relaxed);
            for connection in self.lock().by_id.values() {
                self.enforce(connection, before, &limits);
            }
        }
    }

    /// `before` is the time of the sweep before this one: what a connection noted may be that much
    /// younger than its stamp, so measuring up to now would cut early.
    fn enforce(&self, connection: &Connection, before: u64, limits: &TimeLimits) {
        let passed = |since: u64, limit: Duration| {
            u128::from(before.saturating_sub(since)) > limit.as_millis()
        };
        let expired = match (connection.stalled.load(Relaxed), connection.waiting()) {
            (0, (Phase::Head, since)) if passed(since, limits.header) => {
                &self.metrics.header_expired
            }
            (0, (Phase::Idle | Phase::IdleAfterBody, since)) if passed(since, limits.idle) => {
                &self.metrics.idle_expired
            }
            (stalled @ 1.., _) if passed(stalled - 1, limits.write) => &self.metrics.write_expired,
            _ => return,
        };
        if connection.tell(Command::Close) {
            expired.inc();
        }
    }

    fn lock(&self) -> MutexGuard<'_, Open> {
        self.open.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Connection {
    fn enter(&self, phase: Phase) {
        self.phase.store(self.clock.load(Relaxed) << 3 | phase as u64, Relaxed);
    }

    fn waiting(&self) -> (Phase, u64) {
        let word = self.phase.load(Relaxed);
        let phase = match word & 7 {
            0 => Phase::Idle,
            1 => Phase::IdleAfterBody,
            2 => Phase::Head,
            3 => Phase::Busy,
            _ => Phase::Closing,
        };
        (phase, word >> 3)
    }

    /// The handshake of TLS begins: it has the time of a head.
    pub(crate) fn handshake(&self) {
        self.enter(Phase::Head);
    }

    /// The first request may come.
    pub(crate) fn ready(&self) {
        self.enter(Phase::Idle);
    }

    /// Bytes have come from the client, or its end.
    pub(crate) fn has_read(&self, bytes: usize) {
        self.drained.store(false, Relaxed);
        if bytes > 0 && self.waiting().0 == Phase::Idle {
            self.enter(Phase::Head);
        }
    }

    /// A read found nothing.
    pub(crate) fn has_drained(&self) {
        self.drained.store(true, Relaxed);
    }

    /// Whether all that has come is read and answered, the answers are sent, and what comes next is the first
    /// byte of a request, or the rest of one that has been read in part.
    ///
    /// It is not after a request with a body, which may not have been read to its end. Nor would it be worth anything: a client
    /// that posts waits with what hyper has for its request, so there is nothing that others could have meanwhile: see ADR 5.
    ///
    /// It is asked after hyper has been polled, and tells whether hyper can be taken off the connection: what that still has
    /// then is nothing but what it has read of the next head. That holds as long as hyper writes out what
    /// it has before it waits, which `pipeline_flush` would change: a new version of hyper is to be looked at for it.
    pub(crate) fn is_at_rest(&self) -> bool {
        self.drained.load(Relaxed)
            && self.stalled.load(Relaxed) == 0
            && self.waiting().0 == Phase::Idle
    }

    /// No more answers will be sent.
    pub(crate) fn closing(&self) {
        self.enter(Phase::Closing);
    }

    /// A write found room, or did not.
    pub(crate) fn has_written(&self, room: bool) {
        let stalled = self.stalled.load(Relaxed);
        if room && stalled > 0 {
            self.stalled.store(0, Relaxed);
            // The body may have been buffered long ago: the connection is idle from here on.
            if let (idle @ (Phase::Idle | Phase::IdleAfterBody), _) = self.waiting() {
                self.enter(idle);
            }
        } else if !room && stalled == 0 {
            self.stalled.store(self.clock.load(Relaxed) + 1, Relaxed);
        }
    }

    /// A request has come, with a body or without; it lasts until the guard is dropped.
    pub(crate) fn busy(self: &Arc<Self>, has_body: bool) -> BusyGuard {
        self.enter(Phase::Busy);
        let then = if has_body { Phase::IdleAfterBody } else { Phase::Idle };
        BusyGuard { connection: Arc::clone(self), then }
    }

    /// What to do; the task of `waker` is woken when that changes.
    pub(crate) fn poll_command(&self, waker: &Waker) -> Command {
        self.waker.register(waker);
        match self.command.load(SeqCst) {
            0 => Command::Run,
            1 => Command::Drain,
            _ => Command::Close,
        }
    }

    /// Whether the listener wants the connection to end.
    pub(crate) fn is_draining(&self) -> bool {
        self.command.load(Relaxed) != Command::Run as u8
    }

    /// Gives a command, unless a stronger one has been given; whether it was news.
    fn tell(&self, command: Command) -> bool {
        let news = self.command.fetch_max(command as u8, SeqCst) < command as u8;
        if news {
            self.waker.wake();
        }
        news
    }
}

impl OpenGuard {
    pub(crate) fn connection(&self) -> &Arc<Connection> {
        &self.connection
    }
}

impl Drop for OpenGuard {
    fn drop(&mut self) {
        self.connections.lock().by_id.remove(&self.id);
        self.connections.metrics.connections.dec();
    }
}

impl BusyGuard {
    /// Whether the listener wants the connection to end.
    pub(crate) fn is_draining(&self) -> bool {
        self.connection.is_draining()
    }
}

impl Drop for BusyGuard {
    fn drop(&mut self) {
        self.connection.enter(self.then);
    }
}
