//! Two processes on one data directory.

mod common;

use common::{Server, command, purchase_path};

#[test]
fn a_second_process_on_the_same_data_is_refused() {
    let data = tempfile::tempdir().unwrap();
    let server = Server::start(data.path(), &[]);
    let Err(refused) = Server::spawn(command(data.path(), &[])) else {
        panic!("two processes on one log");
    };
    assert_eq!(refused.status.code(), Some(1), "{}", refused.log);
    let file = data.path().join("log/log.redb");
    let reason =
        format!("topline: {} is in use by another process: stop that one, or", file.display());
    assert!(refused.log.contains(&reason), "{}", refused.log);

    // The first one does not mind.
    let body = r#"{"items":[{"ItemID":5,"numberOfItems":42}]}"#;
    let answer = server.post(&purchase_path(7, "20210101"), body);
    let position = answer.header("topline-position").unwrap().to_owned();
    let list = r#"{"stores":[{"itemID":5,"numberOfItems":42}]}"#;
    assert_eq!(server.get_at("/items/store/7", &position).parts(), (200, list));
    assert_eq!(server.terminate().status.code(), Some(0));
}

#[test]
fn other_settings_for_the_same_data_are_refused() {
    let data = tempfile::tempdir().unwrap();
    let server = Server::start(data.path(), &[]);
    let body = r#"{"items":[{"ItemID":5,"numberOfItems":42}]}"#;
    for store in 0..20 {
        assert_eq!(server.post(&purchase_path(store, "20210101"), body).status, 201);
    }
    assert_eq!(server.terminate().status.code(), Some(0));
    for (args, reason) in [
        (["--partitions", "5"], "was created with 4 partitions, 5 were asked for"),
        (["--max-k", "50"], "Run once with --rebuild"),
        (["--windows", "all,1h"], "Run once with --rebuild"),
    ] {
        let Err(refused) = Server::spawn(command(data.path(), &args)) else {
            panic!("{args:?} was not refused");
        };
        assert_eq!(refused.status.code(), Some(1), "{}", refused.log);
        assert!(refused.log.contains(reason), "{args:?}: {}", refused.log);
        let named = data.path().display().to_string();
        assert!(refused.log.contains(&named), "{args:?}: {}", refused.log);
    }
    assert_eq!(Server::start(data.path(), &[]).terminate().status.code(), Some(0));
    let rebuilt = Server::start(data.path(), &["--max-k", "50", "--rebuild"]);
    assert_eq!(rebuilt.terminate().status.code(), Some(0));
}
