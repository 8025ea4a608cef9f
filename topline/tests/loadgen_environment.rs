//! Flags of a load test that are set by the environment: as yes or no, and all of what is set is in the summary.

mod common;

use common::loadgen::{loadgen, nobody, summary};
use tempfile::TempDir;

#[test]
fn what_is_set_by_the_environment_is_in_the_summary() {
    let dir = TempDir::new().unwrap();
    let json = dir.path().join("summary.json");
    let flags = ["--profile=get-only", "--clients=1", "--warm-up=0", "--duration=100ms", "--json"];
    for (value, kept) in [("1", "yes"), ("yes", "yes"), ("0", "no"), ("no", "no"), ("true", "yes")]
    {
        let ended = loadgen(&flags)
            .args([json.to_str().unwrap(), &nobody()])
            .env("TOPLINE_LOADGEN_NO_SEEDING", "1")
            .env("TOPLINE_LOADGEN_VERIFY", "0")
            .env("TOPLINE_LOADGEN_IGNORE_RETRY_AFTER", value)
            .output()
            .unwrap();
        assert_eq!(ended.status.code(), Some(1), "{}", String::from_utf8_lossy(&ended.stderr));
        let settings = summary(&json)["settings"].clone();
        for (name, expected) in
            [("ignore Retry-After", kept), ("seed purchases", "no seeding"), ("verify", "no")]
        {
            let pair = serde_json::json!([name, expected]);
            assert!(settings.as_array().unwrap().contains(&pair), "{value}: {settings}");
        }
    }
}
