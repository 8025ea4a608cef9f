//! What the kernel says about a process.

use std::{
    fs,
    net::{Ipv4Addr, SocketAddr, TcpListener, TcpStream},
    process::{Child, Command},
    thread,
    time::{Duration, Instant},
};

use rustix::{
    param::clock_ticks_per_second,
    process::{Pid, Signal, kill_process},
};

/// How long a process may take to listen, and to end.
const TIMEOUT: Duration = Duration::from_secs(30);
const POLL: Duration = Duration::from_millis(5);

/// The seconds of CPU time a process has used, in user and kernel mode, to a clock tick (mostly 10 ms).
pub(crate) fn cpu_seconds(pid: u32) -> f64 {
    let stat = fs::read_to_string(format!("/proc/{pid}/stat")).expect("it runs");
    // The name in parentheses may hold anything; utime and stime are the 12th and 13th after it.
    let (_, fields) = stat.rsplit_once(')').expect("the name is in parentheses");
    let ticks: u64 = fields
        .split_whitespace()
        .skip(11)
        .take(2)
        .map(|field| field.parse::<u64>().expect("a number of ticks"))
        .sum();
    ticks as f64 / clock_ticks_per_second() as f64
}

/// The memory of a process that is in RAM, in bytes.
pub(crate) fn resident_bytes(pid: u32) -> u64 {
    let status = fs::read_to_string(format!("/proc/{pid}/status")).expect("it runs");
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:")).expect("VmRSS");
    let kib = line.trim().trim_end_matches(" kB").parse::<u64>().expect("a number of kB");
    kib * 1024
}

/// Another server to compare with: stopped when dropped.
pub(crate) struct Other {
    child: Child,
    pub(crate) address: SocketAddr,
}

impl Other {
    /// Starts what `command` makes for a port, and waits until it listens there. `None` if it is not
    /// installed.
    pub(crate) fn start(command: impl FnOnce(SocketAddr) -> Command) -> Option<Self> {
        let address = free_address();
        let child = match command(address).spawn() {
            Ok(child) => child,
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => return None,
            Err(error) => panic!("cannot start what is compared with: {error}"),
        };
        let other = Self { child, address };
        let start = Instant::now();
        while TcpStream::connect(address).is_err() {
            assert!(start.elapsed() < TIMEOUT, "what is compared with does not listen");
            thread::sleep(POLL);
        }
        Some(other)
    }
}

impl Drop for Other {
    /// In order, for nginx ends its workers only then.
    fn drop(&mut self) {
        let _ = kill_process(pid_of(&self.child), Signal::TERM);
        let start = Instant::now();
        while start.elapsed() < TIMEOUT {
            if !matches!(self.child.try_wait(), Ok(None)) {
                return;
            }
            thread::sleep(POLL);
        }
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn pid_of(child: &Child) -> Pid {
    Pid::from_raw(child.id().cast_signed()).expect("a child has an id")
}

/// An address free a moment ago, for servers that do not tell which port they chose.
fn free_address() -> SocketAddr {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).expect("a free port");
    listener.local_addr().expect("bound")
}

/// The process with `argument` on its command line that a child of this process has started.
pub(crate) fn grandchild(argument: &str) -> Option<u32> {
    let processes = fs::read_dir("/proc").expect("Linux").filter_map(Result::ok);
    let pids = processes.filter_map(|entry| entry.file_name().to_str()?.parse::<u32>().ok());
    pids.into_iter().find(|&pid| {
        let command = fs::read(format!("/proc/{pid}/cmdline")).unwrap_or_default();
        command.split(|&byte| byte == 0).any(|found| found == argument.as_bytes())
            && parent(pid).and_then(parent) == Some(std::process::id())
    })
}

/// `None` if the process has ended.
fn parent(pid: u32) -> Option<u32> {
    let status = fs::read_to_string(format!("/proc/{pid}/status")).ok()?;
    status.lines().find_map(|line| line.strip_prefix("PPid:"))?.trim().parse().ok()
}
