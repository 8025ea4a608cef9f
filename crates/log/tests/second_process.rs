//! A second process on the same directory is refused, and told what to do.

use std::{env, path::Path, process::Command};

use log::{EmbeddedConfig, EmbeddedLog, OpenError};
use model::PartitionCount;

const DIRECTORY: &str = "TOPLINE_TEST_LOG_DIRECTORY";

fn config(directory: &Path) -> EmbeddedConfig {
    EmbeddedConfig::new(directory, PartitionCount::new(2).expect("valid"))
}

#[test]
fn the_same_process_twice() {
    let directory = tempfile::tempdir().expect("a temporary directory");
    let first = EmbeddedLog::open(config(directory.path())).expect("opened");
    let error = EmbeddedLog::open(config(directory.path())).expect_err("refused");
    assert!(matches!(error, OpenError::Locked { .. }), "{error}");
    drop(first);
    EmbeddedLog::open(config(directory.path())).expect("opened after the first is gone");
}

/// Starts this very test again as another process, which finds the directory in its environment.
#[test]
fn another_process() {
    if let Some(directory) = env::var_os(DIRECTORY) {
        match EmbeddedLog::open(config(directory.as_ref())) {
            Ok(_) => println!("opened"),
            Err(error) => println!("refused: {error}"),
        }
        return;
    }
    let directory = tempfile::tempdir().expect("a temporary directory");
    let second = || {
        let output = Command::new(env::current_exe().expect("known"))
            .args(["--exact", "another_process", "--nocapture"])
            .env(DIRECTORY, directory.path())
            .output()
            .expect("started");
        String::from_utf8(output.stdout).expect("text")
    };
    let first = EmbeddedLog::open(config(directory.path())).expect("opened");
    let refused = second();
    let file = directory.path().join("log.redb").display().to_string();
    assert!(refused.contains(&format!("refused: {file} is in use")), "{refused}");
    assert!(refused.contains("another data directory"), "{refused}");
    drop(first);
    assert!(second().contains("opened"));
}
