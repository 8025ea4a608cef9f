//! `topline loadgen` against `topline serve`, as people call it: exit codes, files, an early end.

mod common;

use std::{
    fs,
    process::{Output, Stdio},
};

use common::{
    Server, eventually,
    loadgen::{loadgen, summary},
};
use rustix::process::{Pid, Signal, kill_process};
use tempfile::TempDir;

fn run(server: &Server, args: &[&str]) -> Output {
    let url = format!("http://{}", server.public);
    let small =
        ["--stores=20", "--items=100", "--seed-purchases=100", "--clients=8", "--warm-up=0"];
    loadgen(&[&small, args, &[url.as_str()]].concat()).output().expect("the binary starts")
}

#[test]
fn conditions_and_comparisons_set_the_exit_code() {
    let dir = TempDir::new().unwrap();
    let server = Server::start(&dir.path().join("data"), &[]);
    let out = dir.path().join("a");
    let flags = ["--name=ours", "--duration=1s", "--verify", "--fail-if=errors>0,p99>60s", "--out"];
    let passed = run(&server, &[&flags[..], &[out.to_str().unwrap()]].concat());
    let shown = String::from_utf8_lossy(&passed.stdout);
    assert_eq!(passed.status.code(), Some(0), "{shown}");
    assert!(
        shown.contains("did not hold: errors>0 (measured: 0)") && shown.contains(" 0 differences"),
        "{shown}"
    );
    for file in ["requests.csv", "summary.json", "latencies.hlog", "report.html"] {
        assert!(fs::metadata(out.join(file)).expect("written").len() > 0, "{file}");
    }
    let json = out.join("summary.json");
    let requests = summary(&json)["total"]["successful"].as_u64().expect("a number");
    let lines = fs::read_to_string(out.join("requests.csv")).expect("written").lines().count();
    assert_eq!(lines as u64, requests + 1);

    let failed = run(&server, &["--duration=500ms", "--fail-if=p50>0.001ms"]);
    assert_eq!(failed.status.code(), Some(3));
    assert!(String::from_utf8_lossy(&failed.stdout).contains("HELD: p50>0.001ms"));
    let used = run(&server, &["--duration=500ms", "--verify"]);
    assert_eq!(used.status.code(), Some(1));
    assert!(String::from_utf8_lossy(&used.stderr).contains("has purchases already"));
    let nonsense = run(&server, &["--fail-if=p99"]);
    assert_eq!(nonsense.status.code(), Some(2));
    compares(&dir, json.to_str().unwrap());
}

fn compares(dir: &TempDir, json: &str) {
    let page = dir.path().join("compared.html");
    let compared = loadgen(&["compare", json, json, "--html", page.to_str().unwrap()]).output();
    let compared = compared.expect("the binary starts");
    let table = String::from_utf8_lossy(&compared.stdout);
    assert_eq!(compared.status.code(), Some(0), "{}", String::from_utf8_lossy(&compared.stderr));
    assert!(table.contains("| ours | 8 | 2 |"), "{table}");
    assert!(fs::read_to_string(page).expect("written").contains("Load tests compared"));
    let other = loadgen(&["compare", "/dev/null"]).output().expect("the binary starts");
    assert_eq!(other.status.code(), Some(1));
    assert!(String::from_utf8_lossy(&other.stderr).contains("/dev/null is not a summary"));
}

#[test]
fn an_interrupted_run_still_writes_its_files() {
    let dir = TempDir::new().unwrap();
    let server = Server::start(&dir.path().join("data"), &[]);
    let json = dir.path().join("summary.json");
    let csv = dir.path().join("requests.csv");
    let part = dir.path().join("requests.csv.part");
    let url = format!("http://{}", server.public);
    let child =
        loadgen(&["--stores=20", "--items=100", "--clients=4", "--warm-up=0", "--duration=1h"])
            .args(["--json", json.to_str().unwrap(), "--csv", csv.to_str().unwrap(), &url])
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .spawn()
            .expect("the binary starts");
    eventually("lines are written", || {
        fs::read_to_string(&part).ok().filter(|text| text.lines().count() > 1)
    });
    let pid = Pid::from_raw(i32::try_from(child.id()).expect("a process id")).expect("not zero");
    kill_process(pid, Signal::INT).expect("it runs");
    let ended = child.wait_with_output().expect("a child");
    assert_eq!(ended.status.code(), Some(0));
    assert!(String::from_utf8_lossy(&ended.stdout).contains("(ended early)"));
    let summary = summary(&json);
    assert_eq!(summary["endedEarly"], true);
    let requests = summary["total"]["successful"].as_u64().expect("a number");
    let lines = fs::read_to_string(&csv).expect("written").lines().count();
    assert_eq!(lines as u64, requests + 1);
}
