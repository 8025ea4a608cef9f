//! A load test in which no request is successful: everything is shown and written, and it is no success.

mod common;

use common::loadgen::{loadgen, names, nobody, summary};
use tempfile::TempDir;

#[test]
fn a_run_without_a_success_fails() {
    let dir = TempDir::new().unwrap();
    let url = nobody();
    let flags = ["--profile=get-only", "--no-seeding", "--warm-up=0", "--duration=300ms", &url];
    let out = dir.path().to_str().unwrap();
    let ended = loadgen(&flags).args(["--clients=2", "--out", out]).output().unwrap();
    let (shown, said) =
        (String::from_utf8_lossy(&ended.stdout), String::from_utf8_lossy(&ended.stderr));
    assert_eq!(ended.status.code(), Some(1), "{shown}{said}");
    assert!(said.contains("topline: no request was successful"), "{said}");
    assert!(shown.contains("0 successful"), "{shown}");
    let files = ["latencies.hlog", "report.html", "requests.csv", "summary.json"];
    assert_eq!(names(dir.path()), files);
    assert_eq!(summary(&dir.path().join("summary.json"))["total"]["successful"], 0);

    let held = loadgen(&flags).args(["--clients=2", "--fail-if=errors>0"]).output().unwrap();
    assert_eq!(held.status.code(), Some(3));
}
