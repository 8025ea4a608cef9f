//! `topline serve`, the real binary.

use std::{
    io::{BufRead, BufReader},
    net::SocketAddr,
    path::Path,
    process::{Child, ChildStderr, Command, Stdio},
    sync::mpsc::{self, Sender},
    thread,
    time::{Duration, Instant},
};

use super::client::{Client, Position};

/// How long a server may take to open its data, and to be ready.
const START_TIMEOUT: Duration = Duration::from_mins(5);
const POLL: Duration = Duration::from_millis(1);

/// A running server. Killed when dropped.
pub(crate) struct Server {
    child: Child,
    /// The public listener.
    pub(crate) public: SocketAddr,
    /// The admin listener.
    pub(crate) admin: SocketAddr,
}

impl Server {
    /// Starts it on `data`; gives it as soon as it says where it listens, before it is ready.
    pub(crate) fn start(data: &Path) -> Self {
        let mut child = Command::new(env!("CARGO_BIN_EXE_topline"))
            .args(["--log", "warn,topline::serve=info", "--log-format", "text", "serve"])
            .args(["--listen", "127.0.0.1:0", "--admin-listen", "127.0.0.1:0", "--data-dir"])
            .arg(data)
            .stdout(Stdio::null())
            .stderr(Stdio::piped())
            .spawn()
            .expect("the binary is built with the benches");
        let stderr = child.stderr.take().expect("piped");
        let (sender, addresses) = mpsc::channel();
        thread::spawn(move || follow(stderr, &sender));
        let Ok((public, admin)) = addresses.recv_timeout(START_TIMEOUT) else {
            let _ = child.kill();
            let _ = child.wait();
            panic!("the server does not say where it listens; its own message is above");
        };
        Self { child, public, admin }
    }

    /// Waits until it is ready.
    pub(crate) fn ready(self) -> Self {
        let mut admin = Client::connect(self.admin);
        let start = Instant::now();
        while admin.get("/readyz").status != 200 {
            assert!(start.elapsed() < START_TIMEOUT, "the server does not become ready");
            thread::sleep(POLL);
        }
        self
    }

    pub(crate) fn pid(&self) -> u32 {
        self.child.id()
    }

    /// Ends it at once: it has no time to write anything.
    pub(crate) fn kill(mut self) {
        self.end();
    }

    fn end(&mut self) {
        // Both fail only if it has ended, which is what is wanted.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }

    /// The values of a metric, one for each set of labels.
    ///
    /// # Panics
    /// If there is no such metric.
    pub(crate) fn metric(&self, name: &str) -> Vec<f64> {
        let text = Client::connect(self.admin).get("/metrics").body;
        let values: Vec<f64> = text
            .lines()
            .filter_map(|line| line.rsplit_once(' '))
            .filter(|(series, _)| series.split('{').next() == Some(name))
            .map(|(_, value)| value.parse().expect("a number"))
            .collect();
        assert!(!values.is_empty(), "no metric {name}");
        values
    }

    /// Pairs of a store and an item that are counted.
    pub(crate) fn pairs(&self) -> f64 {
        self.metric("topline_job_live_pairs").iter().sum()
    }

    /// Waits until GETs show all that is in `position`.
    pub(crate) fn wait_for(&self, position: &Position) {
        let (mut client, position) = (Client::connect(self.public), position.to_string());
        let start = Instant::now();
        // The server limits how long one request waits.
        while client.get_at("/v1/top-stores?k=1", &position).status != 200 {
            assert!(start.elapsed() < START_TIMEOUT, "the view does not reach {position}");
        }
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        self.end();
    }
}

/// Sends on where the server listens, and shows the rest of what it says.
fn follow(stderr: ChildStderr, addresses: &Sender<(SocketAddr, SocketAddr)>) {
    for line in BufReader::new(stderr).lines().map_while(Result::ok) {
        match addresses_in(&line) {
            // Nobody listens any more if the start took too long.
            Some(found) => drop(addresses.send(found)),
            None => eprintln!("{line}"),
        }
    }
}

fn addresses_in(line: &str) -> Option<(SocketAddr, SocketAddr)> {
    let (_, rest) = line.split_once("serving on http://")?;
    let (public, rest) = rest.split_once(", admin on http://")?;
    Some((public.parse().ok()?, rest.split_whitespace().next()?.parse().ok()?))
}
