//! A load test that cannot be meant so: it does not begin, says why with the exit code of wrong usage, and leaves
//! what earlier runs have written as it is.

mod common;

use std::fs;

use common::loadgen::{loadgen, names, nobody};
use tempfile::TempDir;

#[test]
fn wrong_usage_is_told_and_destroys_nothing() {
    let dir = TempDir::new().unwrap();
    let json = dir.path().join("summary.json");
    fs::write(&json, "earlier").unwrap();
    for flags in [
        &["localhost:8080"][..],
        &["http://127.0.0.1:1?tenant=a"],
        &["http://127.0.0.1:1", "--profile=replay"],
        &["http://127.0.0.1:1", "--recording=day.csv"],
        &["http://127.0.0.1:1", "--profile=shopping-day", "--rate=10"],
        &["http://127.0.0.1:1", "--ca-cert=ca.pem"],
    ] {
        let refused =
            loadgen(flags).args(["--out", dir.path().to_str().unwrap()]).output().unwrap();
        let said = String::from_utf8_lossy(&refused.stderr);
        assert_eq!(refused.status.code(), Some(2), "{flags:?}: {said}");
        assert_eq!(fs::read_to_string(&json).unwrap(), "earlier", "{flags:?}");
        assert_eq!(names(dir.path()), ["summary.json"], "{flags:?}");
    }
    // A server that is not there is no wrong usage, and leaves as little behind.
    let gone = loadgen(&[&nobody(), "--csv", dir.path().join("a.csv").to_str().unwrap()]).output();
    assert_eq!(gone.unwrap().status.code(), Some(1));
    assert_eq!(names(dir.path()), ["summary.json"]);
}
