//! Files of the data directory with bytes overwritten: a refusal says which is damaged, and nothing that looks like
//! a crash; a rebuild goes on.

mod common;

use std::{fs, path::Path};

use common::{Ended, QUIET, Server, command, line};

/// How many places of a file are damaged, one at a time.
const PLACES: usize = 32;
/// The bytes overwritten in each.
const OVERWRITTEN: usize = 3000;

/// Starts on data in which one place of `file` is damaged; what it says if it refuses. The file is whole again then.
fn start(data: &Path, file: &str, place: usize, args: &[&str]) -> Result<Server, Ended> {
    let path = data.join(file);
    let intact = fs::read(&path).unwrap();
    let mut bytes = intact.clone();
    let begin = bytes.len() * place / PLACES;
    let end = bytes.len().min(begin + OVERWRITTEN);
    bytes[begin..end].fill(0xa5);
    fs::write(&path, bytes).unwrap();
    let mut command = command(data, args);
    command.env("RUST_BACKTRACE", "1");
    let started = Server::spawn(command);
    if started.is_err() {
        fs::write(&path, intact).unwrap();
    }
    started
}

#[test]
fn damage_is_told_without_a_panic() {
    let data = tempfile::tempdir().unwrap();
    let args = [&QUIET[..], &["--partitions", "1"]].concat();
    let server = Server::start(data.path(), &args);
    let lines: Vec<_> = (0..500u32)
        .map(|n| line(n % 50, "20210601", "2021-06-01T12:00:00Z", &[(u64::from(n), 1)]))
        .collect();
    server.sell(&lines);
    assert_eq!(server.terminate().status.code(), Some(0));

    let (mut refused, mut panics) = (0, 0);
    for file in ["checkpoints/partition-0.redb", "log/log.redb"] {
        for place in 0..PLACES {
            let log = match start(data.path(), file, place, &args) {
                Ok(server) => server.terminate().log,
                Err(ended) => {
                    assert_eq!(ended.status.code(), Some(1), "{file}, {place}: {}", ended.log);
                    assert!(ended.log.contains(file), "{file}, {place}: {}", ended.log);
                    refused += 1;
                    ended.log
                }
            };
            panics += panics_in(&log);
        }
    }
    assert!(refused > 0 && panics > 0, "{refused} refused, {panics} panics");

    let rebuild = [&args[..], &["--rebuild"]].concat();
    let mut panics = 0;
    for place in 0..PLACES {
        let rebuilt = start(data.path(), "checkpoints/partition-0.redb", place, &rebuild);
        panics += panics_in(&rebuilt.expect("the log is whole").terminate().log);
    }
    assert!(panics > 0, "no panic");
}

/// How many panics of the database the log tells of, in a line each.
fn panics_in(log: &str) -> usize {
    assert!(!log.contains("panicked at") && !log.contains("stack backtrace"), "{log}");
    log.lines().filter(|line| line.contains("the database cannot go on with a file: ")).count()
}
