//! A load test on a system that allows few open files: what is allowed is made use of, and what is not is said.

mod common;

use std::process::{Command, Output};

use common::loadgen::nobody;

/// A run with `clients`, under limits on open files that are given to `ulimit`.
fn run(limits: &str, clients: u32) -> Output {
    let program = env!("CARGO_BIN_EXE_topline");
    let flags = "--profile=get-only --no-seeding --warm-up=0 --duration=200ms";
    let run =
        format!("{limits} && exec {program} loadgen {flags} --clients={clients} {}", nobody());
    Command::new("sh").env_clear().args(["-c", &run]).output().expect("a shell")
}

#[test]
fn clients_that_would_have_no_sockets_are_refused() {
    let refused = run("ulimit -n 128", 100);
    let said = String::from_utf8_lossy(&refused.stderr);
    assert_eq!(refused.status.code(), Some(1), "{said}");
    assert!(
        said.contains("100 clients need 164 open files, and this process may have 128"),
        "{said}"
    );
    // What the process may raise by itself, it does.
    let raised = run("ulimit -Sn 128 && ulimit -Hn 256", 100);
    let said = String::from_utf8_lossy(&raised.stderr);
    assert!(said.contains("no request was successful"), "{said}");
    assert!(String::from_utf8_lossy(&raised.stdout).contains("Connection refused"));
}
