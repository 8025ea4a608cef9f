//! A disk that takes no more: the process ends and says why, and nothing acknowledged is lost.

mod common;

use std::process::Command;

use common::{JSON, Server, purchase_path, serve_args};

/// Files may have so many blocks (of 512 bytes or a kilobyte, as the shell has it).
const BLOCKS: u32 = 6000;

#[test]
fn a_full_disk_ends_the_process_and_loses_nothing_acknowledged() {
    let data = tempfile::tempdir().unwrap();
    // Ignored, the signal for a file that is too large leaves an error of the write, as a full disk
    // does.
    let script = format!("trap '' XFSZ; ulimit -f {BLOCKS}; exec \"$0\" \"$@\"");
    let mut limited = Command::new("/bin/sh");
    limited.args(["-c", &script, env!("CARGO_BIN_EXE_topline")]);
    serve_args(&mut limited, data.path(), &["--partitions", "1"]);
    let server = Server::spawn(limited).unwrap_or_else(|ended| panic!("{ended:?}"));

    // Large purchases of one piece of each item.
    let items: Vec<_> = (0..1000)
        .map(|item| format!(r#"{{"ItemID":{},"numberOfItems":1}}"#, u64::MAX - item))
        .collect();
    let body = format!(r#"{{"items":[{}]}}"#, items.join(","));
    let path = purchase_path(7, "20210101");
    let mut client = server.client();
    let mut acknowledged = 0;
    let refused = loop {
        match client.request("POST", &path, &[JSON], body.as_bytes()) {
            Some(answer) if answer.status == 201 => acknowledged += 1,
            other => break other,
        }
    };
    if let Some(answer) = refused {
        let (status, message) = answer.error();
        assert_eq!(status, 503, "{message}");
        assert!(message.starts_with("the purchase may or may not have been taken: "), "{message}");
    }
    let ended = server.ended();
    assert_eq!(ended.status.code(), Some(1), "{}", ended.log);
    let reason = ended.log.lines().last().unwrap();
    assert!(reason.starts_with("topline: "), "{}", ended.log);
    assert!(reason.contains("File too large"), "{}", ended.log);
    assert!(reason.contains(&data.path().display().to_string()), "{}", ended.log);
    assert!(acknowledged > 0, "{}", ended.log);

    let server = Server::start(data.path(), &["--partitions", "1"]);
    let list = server.get("/v1/stores/7/top-items?k=100").json();
    let list = list["items"].as_array().unwrap();
    assert_eq!(list.len(), 100);
    // The last one was not acknowledged: it may be there or not.
    let counts: Vec<_> = list.iter().map(|entry| entry["quantity"].as_u64().unwrap()).collect();
    assert!(
        counts.iter().all(|&count| count == acknowledged || count == acknowledged + 1),
        "{acknowledged}: {counts:?}"
    );
}
