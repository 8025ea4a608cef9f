//! SIGTERM under load: everything at hand is answered, the exit code is 0, and nothing is left to
//! replay.

mod common;

use std::{
    io::{BufReader, Read},
    net::TcpListener,
    process::{Command, Stdio},
    sync::atomic::{AtomicU64, Ordering},
    thread,
};

use common::{JSON, Server, purchase_path};
use rustix::process::{Pid, Signal, kill_process};

#[test]
fn a_server_that_is_asked_to_end_ends_in_order() {
    let data = tempfile::tempdir().unwrap();
    let acks = AtomicU64::new(0);
    for round in 1..=3 {
        let server = Server::start(data.path(), &["--checkpoint-interval", "1h"]);
        let senders: Vec<_> = (0..4).map(|_| server.client()).collect();
        let ended = thread::scope(|scope| {
            for (mut client, store) in senders.into_iter().zip(0..) {
                let acks = &acks;
                scope.spawn(move || {
                    let path = purchase_path(store, "20210101");
                    let body = br#"{"items":[{"ItemID":5,"numberOfItems":1}]}"#;
                    while let Some(answer) = client.request("POST", &path, &[JSON], body) {
                        assert_eq!(answer.parts(), (201, ""));
                        acks.fetch_add(1, Ordering::Release);
                    }
                });
            }
            while acks.load(Ordering::Acquire) < round * 200 {
                thread::yield_now();
            }
            server.terminate()
        });
        assert_eq!(ended.status.code(), Some(0), "{}", ended.log);
        assert!(ended.log.contains("stopped"), "{}", ended.log);

        let server = Server::start(data.path(), &[]);
        let sold = server.get("/v1/top-items?k=1").json()["items"][0]["quantity"].as_u64();
        assert_eq!(sold, Some(acks.load(Ordering::Acquire)));
        let ended = server.terminate();
        assert_eq!(ended.status.code(), Some(0), "{}", ended.log);
        let replayed: Vec<_> =
            ended.log.lines().filter(|line| line.contains("partition ready")).collect();
        assert_eq!(replayed.len(), 4, "{}", ended.log);
        assert!(replayed.iter().all(|line| line.contains("replayed=0 ")), "{replayed:#?}");
    }
}

/// A role that still waits for its cluster ends at once, and that is no failure; but of a setup it is.
#[test]
fn a_role_that_is_asked_to_end_before_it_is_up_ends() {
    // Takes connections, and says nothing.
    let silent = TcpListener::bind("127.0.0.1:0").expect("a free port");
    let address = silent.local_addr().expect("bound").to_string();
    for role in ["ingest", "query", "job", "setup"] {
        let data = tempfile::tempdir().expect("a directory");
        let mut command = Command::new(env!("CARGO_BIN_EXE_topline"));
        command.env_clear().args([role, "--log", "debug", "--fluvio", &address]);
        command.args(["--fluvio-wait", "1h"]);
        match role {
            "job" => command.arg("--data-dir").arg(data.path()),
            "setup" => &mut command,
            _ => command.args(["--listen", "127.0.0.1:0"]),
        };
        if role != "setup" {
            command.args(["--admin-listen", "127.0.0.1:0"]);
        }
        let mut child = command.stderr(Stdio::piped()).spawn().expect("the binary starts");
        // It has begun to wait when it has connected.
        let connection = silent.accept().expect("a connection");
        kill_process(Pid::from_child(&child), Signal::TERM).expect("it runs");
        let mut log = String::new();
        let mut stderr = BufReader::new(child.stderr.take().expect("piped"));
        stderr.read_to_string(&mut log).expect("text");
        // What has been asked for topics has not made them.
        let code = i32::from(role == "setup");
        assert_eq!(child.wait().expect("a child").code(), Some(code), "{role}: {log}");
        assert!(log.contains("asked to end before it was up"), "{role}: {log}");
        drop(connection);
    }
}
