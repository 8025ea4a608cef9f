//! The roles of the real binary.

use std::{
    ffi::OsStr,
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

/// What is said of the start.
const LOG: &str = "warn,topline::serve=info,topline::role=info";

/// A running server. Killed when dropped.
pub(crate) struct Server {
    child: Child,
    addresses: Addresses,
}

/// Where a server listens.
#[derive(Debug, Clone, Copy)]
struct Addresses {
    /// `None` for a role that nobody asks anything.
    public: Option<SocketAddr>,
    admin: SocketAddr,
}

impl Server {
    /// `topline serve` on `data`.
    pub(crate) fn serve(data: &Path) -> Self {
        let [listen, any, data_dir] = ["--listen", "127.0.0.1:0", "--data-dir"].map(OsStr::new);
        Self::start("serve", &[listen, any, data_dir, data.as_os_str()])
    }

    /// Starts a role; gives it as soon as it says where it listens, before it is ready.
    pub(crate) fn start(role: &str, args: &[&OsStr]) -> Self {
        let mut child = Command::new(env!("CARGO_BIN_EXE_topline"))
            .args(["--log", LOG, "--log-format", "text", role, "--admin-listen", "127.0.0.1:0"])
            .args(args)
            .stdout(Stdio::null())
            .stderr(Stdio::piped())
            .spawn()
            .expect("the binary is built with the benches");
        let stderr = child.stderr.take().expect("piped");
        let (sender, addresses) = mpsc::channel();
        thread::spawn(move || follow(stderr, &sender));
        let Ok(addresses) = addresses.recv_timeout(START_TIMEOUT) else {
            let _ = child.kill();
            let _ = child.wait();
            panic!("{role} does not say where it listens; its own message is above");
        };
        Self { child, addresses }
    }

    /// Waits until it is ready.
    pub(crate) fn ready(self) -> Self {
        self.wait_until_ready();
        self
    }

    pub(crate) fn wait_until_ready(&self) {
        let mut admin = Client::connect(self.admin());
        let start = Instant::now();
        while admin.get("/readyz").status != 200 {
            assert!(start.elapsed() < START_TIMEOUT, "the server does not become ready");
            thread::sleep(POLL);
        }
    }

    /// The public listener.
    ///
    /// # Panics
    /// If the role has none.
    pub(crate) fn public(&self) -> SocketAddr {
        self.addresses.public.expect("a role with a public listener")
    }

    /// The admin listener.
    pub(crate) fn admin(&self) -> SocketAddr {
        self.addresses.admin
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
        let text = Client::connect(self.admin()).get("/metrics").body;
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
        let (mut client, position) = (Client::connect(self.public()), position.to_string());
        let start = Instant::now();
        // The server limits how long one request waits.
        while client.get_at("/v1/top-stores?k=1", &position).status != 200 {
            assert!(start.elapsed() < START_TIMEOUT, "the view does not reach {position}");
            thread::sleep(POLL);
        }
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        self.end();
    }
}

/// Sends on where the server listens, and shows the rest of what it says.
fn follow(stderr: ChildStderr, addresses: &Sender<Addresses>) {
    for line in BufReader::new(stderr).lines().map_while(Result::ok) {
        match Addresses::in_line(&line) {
            // Nobody listens any more if the start took too long.
            Some(found) => drop(addresses.send(found)),
            None => eprintln!("{line}"),
        }
    }
}

impl Addresses {
    fn in_line(line: &str) -> Option<Self> {
        let after = |text| {
            let (_, rest) = line.split_once(text)?;
            rest.split([',', ' ']).next()?.parse().ok()
        };
        Some(Self { public: after("serving on http://"), admin: after(", admin on http://")? })
    }
}
