//! Commands whose output nobody reads any more, as in `… | head -1`: they do what they were called for all the same.

mod common;

use std::{
    fs, io,
    process::{Command, Stdio},
};

use common::{
    Server,
    loadgen::{loadgen, names, summary},
};
use tempfile::TempDir;

/// Its exit code when both of its outputs are closed at the other end.
fn unread(mut command: Command) -> Option<i32> {
    let (reader, writer) = io::pipe().expect("a pipe");
    drop(reader);
    let writers = (writer.try_clone().expect("a descriptor"), writer);
    command.stdin(Stdio::null()).stdout(writers.0).stderr(writers.1);
    command.status().expect("the binary starts").code()
}

#[test]
fn what_nobody_reads_is_dropped() {
    let dir = TempDir::new().unwrap();
    let server = Server::start(&dir.path().join("data"), &[]);
    let url = format!("http://{}", server.public);
    let out = dir.path().join("out");
    let flags = ["--stores=20", "--items=100", "--clients=4", "--warm-up=0", "--duration=500ms"];
    let mut run = loadgen(&flags);
    run.args([url.as_str(), "--fail-if=p50>0.001ms", "--out", out.to_str().unwrap()]);
    assert_eq!(unread(run), Some(3));
    let files = ["latencies.hlog", "report.html", "requests.csv", "summary.json"];
    assert_eq!(names(&out), files);
    let json = out.join("summary.json");
    assert!(summary(&json)["total"]["successful"].as_u64().unwrap() > 0);

    let page = dir.path().join("compared.html");
    let files = [json.to_str().unwrap(), "--html", page.to_str().unwrap()];
    assert_eq!(unread(loadgen(&[&["compare"], &files[..]].concat())), Some(0));
    assert!(fs::metadata(page).unwrap().len() > 0);
}

#[test]
fn a_demo_that_nobody_reads_is_played_to_its_end() {
    let mut demo = Command::new(env!("CARGO_BIN_EXE_topline"));
    demo.env_clear().args(["demo", "--exit", "--max-stores=2", "--purchases-per-hour=5"]).args([
        "--listen",
        "127.0.0.1:0",
        "--admin-listen",
        "127.0.0.1:0",
    ]);
    assert_eq!(unread(demo), Some(0));
}
