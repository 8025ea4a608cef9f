//! A thread of clients: one event loop, nothing shared with other threads on the way of a request.

use std::{
    cell::RefCell,
    io,
    rc::Rc,
    sync::{
        Arc,
        atomic::{AtomicU8, AtomicU64, Ordering},
    },
    thread::{self, JoinHandle},
    time::{Duration, Instant},
};

use tokio::{
    sync::{Mutex, mpsc, watch},
    task::{JoinSet, LocalSet},
    time::{sleep, sleep_until},
};

use super::{
    connection::{Connection, Target},
    ledger::Ledger,
    pacer::Arrival,
    recorder::{Recorder, Rest, Sample, Window},
    request::Request,
    source::Source,
};

/// How often the event loop is asked whether it is in time.
const HEARTBEAT: Duration = Duration::from_millis(10);

/// How long a client of a closed loop waits after it could not connect: such failures take no time, and would be
/// repeated thousands of times a second.
const RECONNECT: Duration = Duration::from_millis(100);

/// What all threads share.
pub(crate) struct Shared {
    pub(crate) target: Arc<Target>,
    pub(crate) source: Arc<Source>,
    pub(crate) clients: u32,
    pub(crate) start: Instant,
    pub(crate) window: Window,
    /// Arrivals not sent by then are given up.
    pub(crate) give_up: Option<Instant>,
    pub(crate) heed_retry_after: bool,
    pub(crate) keep_tally: bool,
    pub(crate) live: Arc<Live>,
    pub(crate) stop: watch::Receiver<bool>,
}

/// Counters of a run under way; read them at any time.
#[derive(Debug, Default)]
pub struct Live {
    pub(crate) requests: AtomicU64,
    pub(crate) unsuccessful: AtomicU64,
    /// 0: there is none yet.
    pub(crate) p99_nanoseconds: AtomicU64,
    pub(crate) seeded: AtomicU64,
    expected: AtomicU64,
    stage: AtomicU8,
}

/// What a run is at.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Stage {
    /// It reads a recording.
    Reading,
    /// It sends what clients will ask for.
    Seeding,
    /// It sends requests that are not measured.
    WarmUp,
    /// It measures.
    Measuring,
    /// It waits for the answers to what is under way.
    Finishing,
    /// It compares answers.
    Verifying,
}

impl Stage {
    const ALL: [Self; 6] = [
        Self::Reading,
        Self::Seeding,
        Self::WarmUp,
        Self::Measuring,
        Self::Finishing,
        Self::Verifying,
    ];
}

impl Live {
    /// Requests that have ended, those of the warm-up too.
    pub fn requests(&self) -> u64 {
        self.requests.load(Ordering::Relaxed)
    }

    /// Of those, the ones without success.
    pub fn unsuccessful(&self) -> u64 {
        self.unsuccessful.load(Ordering::Relaxed)
    }

    /// 99th percentile of the response times of the last second that has any.
    pub fn p99(&self) -> Option<Duration> {
        let p99 = self.p99_nanoseconds.load(Ordering::Relaxed);
        Some(p99).filter(|&p99| p99 > 0).map(Duration::from_nanos)
    }

    /// Requests in all, where that is known before.
    pub fn expected(&self) -> Option<u64> {
        Some(self.expected.load(Ordering::Relaxed)).filter(|&expected| expected > 0)
    }

    pub(crate) fn expect(&self, requests: u64) {
        self.expected.store(requests, Ordering::Relaxed);
    }

    /// What the run is at.
    pub fn stage(&self) -> Stage {
        Stage::ALL[usize::from(self.stage.load(Ordering::Relaxed))]
    }

    pub(crate) fn enter(&self, stage: Stage) {
        self.stage.store(stage as u8, Ordering::Relaxed);
    }

    /// Purchases sent before the warm-up.
    pub fn seeded(&self) -> u64 {
        self.seeded.load(Ordering::Relaxed)
    }
}

/// What a thread has brought.
pub(crate) struct Brought {
    pub(crate) rest: Rest,
    pub(crate) ledger: Ledger,
}

/// Starts a thread for the clients `first`, `first + threads`, and so on. `arrivals`: the queue of an
/// open loop.
pub(crate) fn spawn(
    shared: Arc<Shared>,
    first: u32,
    threads: u32,
    arrivals: Option<mpsc::Receiver<Arrival>>,
    recorder: impl FnOnce() -> Recorder + Send + 'static,
) -> io::Result<JoinHandle<io::Result<Brought>>> {
    thread::Builder::new().name(format!("clients-{first}")).spawn(move || {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
        let state = Rc::new(State {
            recorder: RefCell::new(recorder()),
            ledger: RefCell::new(Ledger::new(shared.keep_tally)),
            shared,
        });
        let clients = LocalSet::new();
        let run = run(
            Rc::clone(&state),
            first,
            threads,
            arrivals.map(|queue| Rc::new(Mutex::new(queue))),
        );
        runtime.block_on(clients.run_until(run))?;
        let state = Rc::into_inner(state).expect("all clients have ended");
        let stopped = *state.shared.stop.borrow();
        Ok(Brought {
            rest: state.recorder.into_inner().finish(stopped),
            ledger: state.ledger.into_inner(),
        })
    })
}

type Queue = Rc<Mutex<mpsc::Receiver<Arrival>>>;

struct State {
    shared: Arc<Shared>,
    recorder: RefCell<Recorder>,
    ledger: RefCell<Ledger>,
}

async fn run(state: Rc<State>, first: u32, threads: u32, queue: Option<Queue>) -> io::Result<()> {
    let mut clients = JoinSet::new();
    for number in (first..state.shared.clients).step_by(threads as usize) {
        let connection = Connection::new(Arc::clone(&state.shared.target));
        let client = VirtualClient {
            state: Rc::clone(&state),
            connection,
            number,
            stop: state.shared.stop.clone(),
        };
        match &queue {
            Some(queue) => clients.spawn_local(client.open(Rc::clone(queue))),
            None => clients.spawn_local(client.closed()),
        };
    }
    let ended = async {
        while let Some(ended) = clients.join_next().await {
            ended.unwrap_or_else(|panic| std::panic::resume_unwind(panic.into_panic()));
        }
    };
    tokio::select! {
        () = ended => Ok(()),
        () = heartbeat(&state) => Ok(()),
    }
}

/// Sees how late timers are: whatever holds up the event loop holds up the clients, too. Sees also when the window ends.
async fn heartbeat(state: &State) {
    loop {
        let due = Instant::now() + HEARTBEAT;
        sleep_until(due.into()).await;
        let now = Instant::now();
        let mut recorder = state.recorder.borrow_mut();
        recorder.timer(due, now);
        if state.shared.window.is_over(now) || *state.shared.stop.borrow() {
            recorder.close(now);
        }
    }
}

/// Resolves at `time`; never if there is none.
pub(crate) async fn passed(time: Option<Instant>) {
    match time {
        Some(time) => sleep_until(time.into()).await,
        None => std::future::pending().await,
    }
}

struct VirtualClient {
    state: Rc<State>,
    connection: Connection,
    number: u32,
    stop: watch::Receiver<bool>,
}

impl VirtualClient {
    /// Sends, waits for the answer, and sends the next.
    async fn closed(mut self) {
        let state = Rc::clone(&self.state);
        let shared = &*state.shared;
        sleep_until(shared.start.into()).await;
        for sent in 0_u64.. {
            if shared.window.is_over(Instant::now()) || *self.stop.borrow() {
                return;
            }
            let number = match &*shared.source {
                Source::Tape(tape) => tape.take_number(),
                Source::Mix(_) | Source::Day(_) => {
                    sent * u64::from(shared.clients) + u64::from(self.number)
                }
            };
            let Some(request) = self.next(number, sent, shared.window.end).await else { return };
            let pause = self.send(&request, number, Instant::now()).await;
            if let Some(pause) = pause {
                tokio::select! {
                    () = sleep(pause) => {}
                    _ = self.stop.wait_for(|&stop| stop) => return,
                }
            }
        }
    }

    /// Sends what is due, as soon as there is something and this client is free.
    async fn open(mut self, queue: Queue) {
        let state = Rc::clone(&self.state);
        let shared = &*state.shared;
        loop {
            // In a block of its own, so that the queue is free while the request is under way.
            let arrival = { queue.lock().await.recv().await };
            let Some(Arrival { due, number }) = arrival else { return };
            let late = shared.give_up.is_some_and(|give_up| Instant::now() > give_up);
            if late || *self.stop.borrow() {
                state.recorder.borrow_mut().unsent(due);
                continue;
            }
            match self.next(number, 0, shared.give_up).await {
                Some(request) => {
                    self.send(&request, number, due).await;
                }
                None => state.recorder.borrow_mut().unsent(due),
            }
        }
    }

    /// Request `number`, after `sent` that this client has sent; `None` after the last, when the run is ended, and
    /// when there is none by `until`.
    async fn next(&mut self, number: u64, sent: u64, until: Option<Instant>) -> Option<Request> {
        let next = async {
            match &*self.state.shared.source {
                Source::Mix(mix) => Some(mix.request(number)),
                Source::Day(day) => day.next(self.number, sent).await.map(Request::Post),
                Source::Tape(tape) => tape.request(number).await,
            }
        };
        tokio::select! {
            biased;
            next = next => next,
            _ = self.stop.wait_for(|&stop| stop) => None,
            () = passed(until) => None,
        }
    }

    /// Sends a request that was due at `due`, and takes down what became of it. Gives how long to wait before the
    /// next, where there is no schedule.
    async fn send(&mut self, request: &Request, number: u64, due: Instant) -> Option<Duration> {
        let shared = &*self.state.shared;
        let known = match &*shared.source {
            Source::Mix(mix) => mix.known().has(request),
            Source::Day(_) | Source::Tape(_) => true,
        };
        let sent = Instant::now();
        let answer = self.connection.send(request, known).await;
        let ended = Instant::now();
        self.state.ledger.borrow_mut().note(request, &answer);
        match &*shared.source {
            Source::Mix(mix) => {
                if answer.outcome.is_success() {
                    mix.known().answered(request);
                }
            }
            Source::Tape(tape) => tape.ended(number),
            Source::Day(_) => {}
        }
        shared.live.requests.fetch_add(1, Ordering::Relaxed);
        if !answer.outcome.is_success() {
            shared.live.unsuccessful.fetch_add(1, Ordering::Relaxed);
        }
        let (kind, outcome, status) = (request.kind(), answer.outcome, answer.status);
        let sample = Sample { kind, due, sent, ended, outcome, status, message: answer.message };
        self.state.recorder.borrow_mut().record(sample);
        if outcome.is_unconnected() {
            Some(RECONNECT)
        } else {
            answer.pause.filter(|_| shared.heed_retry_after)
        }
    }
}
