//! Data this release or these settings do not fit is refused, with the file and what to do.

use std::{fs, path::Path};

use log::{EmbeddedConfig, EmbeddedLog, OpenError};
use model::PartitionCount;
use redb::{Database, TableDefinition};

const META: TableDefinition<&str, u64> = TableDefinition::new("meta");

fn open(directory: &Path, partitions: u32) -> Result<(), OpenError> {
    let partitions = PartitionCount::new(partitions).expect("valid");
    EmbeddedLog::open(EmbeddedConfig::new(directory, partitions)).map(drop)
}

fn refusal(directory: &Path, partitions: u32) -> String {
    let text = open(directory, partitions).expect_err("refused").to_string();
    assert!(text.contains(&*directory.join("log.redb").to_string_lossy()), "{text}");
    text
}

#[test]
fn another_number_of_partitions() {
    let directory = tempfile::tempdir().expect("a temporary directory");
    open(directory.path(), 4).expect("created");
    for asked in [1, 3, 5, 1024] {
        let text = refusal(directory.path(), asked);
        assert!(text.contains("created with 4") && text.contains("ask for 4"), "{text}");
    }
    open(directory.path(), 4).expect("a refusal changes nothing");
}

#[test]
fn a_newer_format() {
    let directory = tempfile::tempdir().expect("a temporary directory");
    open(directory.path(), 4).expect("created");
    let database = Database::open(directory.path().join("log.redb")).expect("opened");
    let transaction = database.begin_write().expect("begun");
    transaction.open_table(META).expect("there").insert("format", 2).expect("written");
    transaction.commit().expect("committed");
    drop(database);
    let text = refusal(directory.path(), 4);
    assert!(text.contains("format 2") && text.contains("newer"), "{text}");
}

#[test]
fn something_else_in_its_place() {
    let directory = tempfile::tempdir().expect("a temporary directory");
    fs::write(directory.path().join("log.redb"), b"a shopping list\n".repeat(1000))
        .expect("written");
    assert!(refusal(directory.path(), 4).contains("damaged"));
    fs::remove_file(directory.path().join("log.redb")).expect("removed");
    fs::create_dir(directory.path().join("log.redb")).expect("created");
    assert!(refusal(directory.path(), 4).contains("cannot read or write"));
}

#[test]
fn a_directory_that_cannot_be() {
    let directory = tempfile::tempdir().expect("a temporary directory");
    let file = directory.path().join("file");
    fs::write(&file, b"").expect("written");
    let text = open(&file.join("data"), 4).expect_err("refused").to_string();
    assert!(text.contains(&*file.join("data").to_string_lossy()), "{text}");
}
