//! Bulk POSTs over several connections, each of which sends its next when it has its answer, and at a given
//! pace not before its time.

use std::{
    net::SocketAddr,
    thread,
    time::{Duration, Instant},
};

use super::{
    client::{Client, Position},
    process::cpu_seconds,
    purchases::LINES,
    server::Server,
};

/// What is sent, and to whom.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Bulk<'a> {
    pub(crate) address: SocketAddr,
    pub(crate) connections: usize,
    pub(crate) time: Duration,
    /// Requests, sent in turn, each connection beginning elsewhere.
    pub(crate) bodies: &'a [Vec<u8>],
    /// Purchases in each of them.
    pub(crate) purchases: usize,
    /// Lines a second of all connections together; `None` is as many as are taken.
    pub(crate) pace: Option<f64>,
}

/// What a run has taken.
#[derive(Debug)]
pub(crate) struct Pass {
    pub(crate) lines: f64,
    /// Until the last was acknowledged, and until it was visible.
    pub(crate) acknowledged: Duration,
    pub(crate) visible: Duration,
    /// Seconds of each process, until it was visible.
    pub(crate) cpu: Vec<f64>,
    /// What has all of it.
    pub(crate) position: Position,
}

impl Bulk<'_> {
    /// Sends, and waits until `view` shows it; says what the processes have used meanwhile.
    pub(crate) fn run(&self, view: &Server, processes: &[u32]) -> Pass {
        let cpu = || processes.iter().map(|&pid| cpu_seconds(pid));
        let (before, start): (Vec<_>, _) = (cpu().collect(), Instant::now());
        let (mut posts, mut position) = (0, Position::default());
        thread::scope(|scope| {
            let senders: Vec<_> = (0..self.connections)
                .map(|number| scope.spawn(move || self.send(number, start)))
                .collect();
            for sender in senders {
                let (sent, reached) = sender.join().expect("all were taken");
                posts += sent;
                position.merge(&reached);
            }
        });
        let acknowledged = start.elapsed();
        view.wait_for(&position);
        Pass {
            lines: (posts * self.purchases * LINES) as f64,
            acknowledged,
            visible: start.elapsed(),
            cpu: cpu().zip(before).map(|(after, before)| after - before).collect(),
            position,
        }
    }

    /// Sends until its time is over; gives the POSTs acknowledged, and the position that has them.
    fn send(&self, number: usize, start: Instant) -> (usize, Position) {
        let (mut client, mut position) = (Client::connect(self.address), Position::default());
        let accepted = format!(r#"{{"accepted":{},"rejected":[]}}"#, self.purchases);
        let first = number * self.bodies.len() / self.connections;
        let mut posts = 0;
        for body in self.bodies.iter().cycle().skip(first) {
            let due = start + self.due(number + posts * self.connections);
            if due.max(Instant::now()) >= start + self.time {
                break;
            }
            thread::sleep(due.saturating_duration_since(Instant::now()));
            let answer = client.send(body).expect("the server answers");
            assert_eq!((answer.status, &answer.body), (200, &accepted));
            position.add(&answer);
            posts += 1;
        }
        (posts, position)
    }

    /// When the POST of this number is to be sent, from the start on.
    fn due(&self, post: usize) -> Duration {
        let lines = (post * self.purchases * LINES) as f64;
        self.pace.map_or(Duration::ZERO, |pace| Duration::from_secs_f64(lines / pace))
    }
}

impl Pass {
    pub(crate) fn acknowledged_per_second(&self) -> f64 {
        self.lines / self.acknowledged.as_secs_f64()
    }

    pub(crate) fn visible_per_second(&self) -> f64 {
        self.lines / self.visible.as_secs_f64()
    }

    /// CPU seconds a second of each process.
    pub(crate) fn cores(&self) -> impl Iterator<Item = f64> {
        self.cpu.iter().map(|seconds| seconds / self.visible.as_secs_f64())
    }
}
