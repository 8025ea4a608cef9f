//! A load test that is told twice to end, while it waits for a server that never answers: it ends at once, and leaves
//! nothing behind that could be taken for a result.

mod common;

use std::{
    io::{BufRead, BufReader},
    net::TcpListener,
    process::{Child, Stdio},
};

use common::{
    eventually,
    loadgen::{loadgen, names},
};
use rustix::process::{Pid, Signal, kill_process};
use tempfile::TempDir;

fn interrupt(child: &Child) {
    let pid = Pid::from_raw(i32::try_from(child.id()).expect("a process id")).expect("not zero");
    kill_process(pid, Signal::INT).expect("it runs");
}

#[test]
fn a_second_interrupt_ends_at_once_and_leaves_nothing() {
    let dir = TempDir::new().unwrap();
    // Connections are made, and nobody reads what comes.
    let silent = TcpListener::bind("127.0.0.1:0").unwrap();
    let url = format!("http://{}", silent.local_addr().unwrap());
    let flags = ["--profile=get-only", "--no-seeding", "--warm-up=0", "--clients=2"];
    let mut child = loadgen(&flags)
        .args(["--timeout=1h", "--out", dir.path().to_str().unwrap(), &url])
        .stdout(Stdio::null())
        .stderr(Stdio::piped())
        .spawn()
        .expect("the binary starts");
    eventually("a request is sent", || silent.accept().ok());
    let all = ["latencies.hlog", "report.html", "requests.csv", "summary.json"];
    assert_eq!(names(dir.path()), all.map(|name| format!("{name}.part")));
    interrupt(&child);
    let said = BufReader::new(child.stderr.take().expect("piped")).lines();
    let heard = said.map(|line| line.expect("text")).any(|line| line.contains("ending early"));
    assert!(heard);
    interrupt(&child);
    assert_eq!(child.wait().expect("a child").code(), Some(130));
    assert!(names(dir.path()).is_empty(), "{:?}", names(dir.path()));
}
