//! Settings that cannot be used are a command line that cannot be read, whenever they are looked at: exit code 2,
//! and each reason once.

use std::process::{Command, Stdio};

/// What `topline` says to `args`, with `environment`, and its exit code.
fn refusal(args: &[&str], environment: &[(&str, &str)]) -> (Option<i32>, String) {
    let data = tempfile::tempdir().unwrap();
    let output = Command::new(env!("CARGO_BIN_EXE_topline"))
        .env_clear()
        .envs(environment.iter().copied())
        .current_dir(data.path())
        .args(args)
        .stdin(Stdio::null())
        .output()
        .expect("the binary starts");
    (output.status.code(), String::from_utf8_lossy(&output.stderr).into_owned())
}

#[test]
fn settings_that_cannot_be_used_are_refused_with_2() {
    let windows = "the windows kept must be at least one, each named once";
    let lateness = "the allowed lateness is 8 days, it must be between 1 and 7";
    let retention = "days are kept for 1 days, it must be between the allowed lateness and 36500";
    let workers = "--worker 2: workers are numbered from 0, and there are 2 (--workers)";
    let cluster = "say which cluster: --fluvio HOST:PORT";
    for (args, message) in [
        (&["serve", "--windows", "all,all"][..], windows),
        (&["serve", "--allowed-lateness-days", "8"], lateness),
        (&["serve", "--day-retention", "1"], retention),
        (&["demo", "--windows", "all,all"], windows),
        (&["demo", "--write-token", "x"], "the demo sends purchases without a token"),
        (&["demo", "--tls-cert", "x", "--tls-key", "x"], "the demo plays over plain HTTP"),
        (&["job", "--fluvio", "127.0.0.1:1", "--day-retention", "1"], retention),
        (&["job", "--workers", "2", "--worker", "2"], workers),
        (&["query", "--fluvio", "127.0.0.1:1", "--allowed-lateness-days", "8"], lateness),
        (&["setup"], cluster),
    ] {
        let (code, said) = refusal(args, &[]);
        assert_eq!(code, Some(2), "{args:?}: {said}");
        assert!(said.starts_with(&format!("topline: {message}")), "{args:?}: {said}");
    }
}

#[test]
fn a_filter_of_logs_that_cannot_be_read_is_named_once() {
    let (code, said) = refusal(&["serve", "--log", "x=y"], &[]);
    assert_eq!(code, Some(2), "{said}");
    assert!(said.starts_with("error: invalid value 'x=y' for '--log <LOG>': "), "{said}");
    assert_eq!(said.matches("error parsing level filter").count(), 1, "{said}");
}

#[test]
fn flags_are_set_by_all_usual_words() {
    for (word, code) in [("1", 1), ("yes", 1), ("false", 1), ("0", 1), ("no", 1), ("maybe", 2)] {
        // What is no directory ends the demo before it begins.
        let args = ["demo", "--data-dir", "/dev/null"];
        let (ended, said) = refusal(&args, &[("TOPLINE_DEMO_EXIT", word)]);
        assert_eq!(ended, Some(code), "{word}: {said}");
    }
}
