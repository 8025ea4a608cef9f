//! The real binary on a directory of the test, and a client of raw bytes.

#![allow(dead_code, reason = "each test uses a part")]

mod client;
pub(crate) mod cluster;
pub(crate) mod load;
pub(crate) mod loadgen;
pub(crate) mod sales;

use std::{
    fs,
    io::{BufRead, BufReader},
    net::SocketAddr,
    path::Path,
    process::{Child, Command, ExitStatus, Stdio},
    sync::mpsc::{self, Receiver},
    thread::{self, JoinHandle},
    time::Duration,
};

use rustix::process::{Pid, Signal, kill_process};
use serde_json::Value;

pub(crate) use client::{Answer, Client};

/// How long a process may take to say where it listens.
const START_TIMEOUT: Duration = Duration::from_mins(1);
/// How often something is looked at that cannot be waited for, and how many times.
const POLL: Duration = Duration::from_millis(20);
const POLLS: usize = 1500;

/// Flags under which nothing is appended by itself, so that positions are known.
pub(crate) const QUIET: [&str; 2] = ["--tick-interval", "1h"];

/// `topline serve`, running. Killed when dropped.
pub(crate) struct Server {
    child: Child,
    log: Option<JoinHandle<String>>,
    /// The public listener.
    pub(crate) public: SocketAddr,
    /// The admin listener.
    pub(crate) admin: SocketAddr,
}

/// A process that has ended.
#[derive(Debug)]
pub(crate) struct Ended {
    pub(crate) status: ExitStatus,
    /// What it wrote to standard error.
    pub(crate) log: String,
}

/// `topline serve` on `data_dir`, on free ports, with nothing taken from the environment.
pub(crate) fn command(data_dir: &Path, args: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_topline"));
    serve_args(&mut command, data_dir, args);
    command
}

/// The arguments of `topline serve`, for a command that becomes it.
pub(crate) fn serve_args(command: &mut Command, data_dir: &Path, args: &[&str]) {
    command
        .env_clear()
        .args(["serve", "--log", "info"])
        .args(["--listen", "127.0.0.1:0", "--admin-listen", "127.0.0.1:0", "--data-dir"])
        .arg(data_dir)
        .args(args);
}

impl Server {
    /// Starts it and waits until it is ready.
    pub(crate) fn start(data_dir: &Path, args: &[&str]) -> Self {
        Self::spawn(command(data_dir, args)).unwrap_or_else(|ended| panic!("{ended:?}"))
    }

    /// Whether it says that it is ready.
    pub(crate) fn is_ready(&self) -> bool {
        self.admin_get("/readyz").status == 200
    }

    /// Starts `command` and waits until it is ready, or has ended.
    pub(crate) fn spawn(mut command: Command) -> Result<Self, Ended> {
        let command = command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::piped());
        let mut child = command.spawn().expect("the binary starts");
        let stderr = BufReader::new(child.stderr.take().expect("piped"));
        let (found, addresses) = mpsc::channel();
        let log = thread::spawn(move || {
            let mut log = String::new();
            for line in stderr.lines().map_while(Result::ok) {
                if let Some(addresses) = addresses_in(&line) {
                    // Nobody waits if the test has given up.
                    let _ = found.send(addresses);
                }
                log.push_str(&line);
                log.push('\n');
            }
            log
        });
        let unspecified = SocketAddr::from(([0, 0, 0, 0], 0));
        let mut server = Self { child, log: Some(log), public: unspecified, admin: unspecified };
        let Some((public, admin)) = wait_for(&addresses) else { return Err(server.wait()) };
        (server.public, server.admin) = (public, admin);
        for _ in 0..POLLS {
            match Client::try_request(admin, "GET", "/readyz", &[], b"") {
                Some(answer) if answer.status == 200 => return Ok(server),
                None if server.child.try_wait().expect("a child").is_some() => {
                    return Err(server.wait());
                }
                _ => thread::sleep(POLL),
            }
        }
        panic!("not ready:\n{}", server.kill().log);
    }

    /// A connection to the public listener.
    pub(crate) fn client(&self) -> Client {
        Client::connect(self.public).expect("the server listens")
    }

    /// Asks the public listener, on a connection of its own.
    pub(crate) fn request(
        &self,
        method: &str,
        path: &str,
        headers: &[(&str, &str)],
        body: &[u8],
    ) -> Answer {
        self.client().request(method, path, headers, body).expect("an answer")
    }

    pub(crate) fn get(&self, path: &str) -> Answer {
        self.request("GET", path, &[], b"")
    }

    /// GETs once the view has `position`.
    pub(crate) fn get_at(&self, path: &str, position: &str) -> Answer {
        self.request("GET", path, &[("Topline-Wait-For", position)], b"")
    }

    /// POSTs JSON.
    pub(crate) fn post(&self, path: &str, body: &str) -> Answer {
        self.request("POST", path, &[JSON], body.as_bytes())
    }

    /// POSTs lines of NDJSON.
    pub(crate) fn bulk(&self, lines: &[String]) -> Answer {
        self.request("POST", "/v1/purchases", &[NDJSON], lines.join("\n").as_bytes())
    }

    /// POSTs lines of NDJSON that are all good; gives the position that has them.
    pub(crate) fn sell(&self, lines: &[String]) -> String {
        let answer = self.bulk(lines);
        let expected = format!(r#"{{"accepted":{},"rejected":[]}}"#, lines.len());
        assert_eq!((answer.status, &*answer.body), (200, &*expected));
        answer.header("topline-position").expect("a position").to_owned()
    }

    /// GETs from the admin listener.
    pub(crate) fn admin_get(&self, path: &str) -> Answer {
        Client::try_request(self.admin, "GET", path, &[], b"").expect("an answer")
    }

    /// The sum of all values of a metric whose labels contain each of `labels`.
    pub(crate) fn metric(&self, name: &str, labels: &[&str]) -> f64 {
        let text = self.admin_get("/metrics").body;
        text.lines()
            .filter_map(|line| line.rsplit_once(' '))
            .filter(|(series, _)| series.split('{').next() == Some(name))
            .filter(|(series, _)| labels.iter().all(|label| series.contains(label)))
            .map(|(_, value)| value.parse::<f64>().expect("a number"))
            .sum()
    }

    /// The time that processors have spent on it, in steps of 10 ms.
    pub(crate) fn cpu_time(&self) -> Duration {
        let file = format!("/proc/{}/stat", self.child.id());
        let stat = fs::read_to_string(file).expect("it runs");
        // From the state on, the third field; the name before it may hold anything.
        let (_, fields) = stat.rsplit_once(") ").expect("a name");
        let ticks = fields.split(' ').skip(11).take(2).map(|n| n.parse::<u64>().expect("a number"));
        Duration::from_millis(1000 * ticks.sum::<u64>() / rustix::param::clock_ticks_per_second())
    }

    /// Asks to end in order, and waits for it.
    pub(crate) fn terminate(mut self) -> Ended {
        let id = i32::try_from(self.child.id()).expect("a process id");
        let pid = Pid::from_raw(id).expect("not zero");
        kill_process(pid, Signal::TERM).expect("it runs");
        self.wait()
    }

    /// Ends it as a power cut of the process would.
    pub(crate) fn kill(mut self) -> Ended {
        self.child.kill().expect("it runs, or has ended");
        self.wait()
    }

    /// Waits until it ends by itself.
    pub(crate) fn ended(mut self) -> Ended {
        self.wait()
    }

    fn wait(&mut self) -> Ended {
        let status = self.child.wait().expect("a child");
        let log = self.log.take().map(|log| log.join().expect("no panic")).unwrap_or_default();
        Ended { status, log }
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        // Both fail only if it has ended, which is what is wanted.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// Where it listens; `None` if it ends before it says so.
fn wait_for(addresses: &Receiver<(SocketAddr, SocketAddr)>) -> Option<(SocketAddr, SocketAddr)> {
    match addresses.recv_timeout(START_TIMEOUT) {
        Ok(addresses) => Some(addresses),
        Err(mpsc::RecvTimeoutError::Disconnected) => None,
        Err(mpsc::RecvTimeoutError::Timeout) => panic!("it does not say where it listens"),
    }
}

fn addresses_in(line: &str) -> Option<(SocketAddr, SocketAddr)> {
    let (before, rest) = line.split_once(", admin on http://")?;
    let admin = rest.split_whitespace().next()?.parse().ok()?;
    // A worker has no public listener.
    let public = before
        .split_once("serving on http")
        .and_then(|(_, url)| url.split_once("://"))
        .map(|(_, public)| public.parse());
    Some((public.transpose().ok()?.unwrap_or(SocketAddr::from(([0, 0, 0, 0], 0))), admin))
}

/// Looks until `done` gives something.
pub(crate) fn eventually<T>(what: &str, mut done: impl FnMut() -> Option<T>) -> T {
    for _ in 0..POLLS {
        if let Some(value) = done() {
            return value;
        }
        thread::sleep(POLL);
    }
    panic!("never: {what}");
}

/// The content type of one purchase.
pub(crate) const JSON: (&str, &str) = ("content-type", "application/json");
/// The content type of a purchase a line.
pub(crate) const NDJSON: (&str, &str) = ("content-type", "application/x-ndjson");

/// The path of a purchase.
pub(crate) fn purchase_path(store: u32, date: &str) -> String {
    format!("/purchase/{store}/customer/1000/date/{date}")
}

/// A line of NDJSON: (item, quantity) sold in `store`.
pub(crate) fn line(store: u32, date: &str, occurred_at: &str, items: &[(u64, u32)]) -> String {
    let items: Vec<Value> = items
        .iter()
        .map(|(item, quantity)| serde_json::json!({"ItemID": item, "numberOfItems": quantity}))
        .collect();
    serde_json::json!({
        "storeID": store,
        "custID": 1000,
        "date": date,
        "occurredAt": occurred_at,
        "items": items,
    })
    .to_string()
}
