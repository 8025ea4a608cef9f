//! The real binary under load from outside, and what is run beside it.

#![allow(dead_code, reason = "each bench uses a part")]

pub(crate) mod bulk;
pub(crate) mod client;
pub(crate) mod load;
pub(crate) mod process;
pub(crate) mod purchases;
pub(crate) mod report;
pub(crate) mod server;
pub(crate) mod visibility;

use std::{fs, io, path::Path};

use tempfile::TempDir;

/// A directory on the disk of the build directory: a temporary directory of the system may be in
/// memory, where nothing has to become durable.
pub(crate) fn directory() -> TempDir {
    tempfile::tempdir_in(env!("CARGO_TARGET_TMPDIR"))
        .expect("the build directory can be written to")
}

/// The bytes of the files in a directory, and of those in directories within it.
pub(crate) fn directory_bytes(directory: &Path) -> u64 {
    let entries = directory.read_dir().expect("it exists").map(|entry| entry.expect("readable"));
    entries
        .map(|entry| match entry.metadata() {
            Ok(metadata) if metadata.is_dir() => directory_bytes(&entry.path()),
            Ok(metadata) => metadata.len(),
            // It went away meanwhile.
            Err(_) => 0,
        })
        .sum()
}

/// Copies a directory and all in it; the copy must not exist.
pub(crate) fn copy_directory(from: &Path, to: &Path) -> io::Result<()> {
    fs::create_dir(to)?;
    for entry in from.read_dir()? {
        let entry = entry?;
        let to = to.join(entry.file_name());
        if entry.file_type()?.is_dir() {
            copy_directory(&entry.path(), &to)?;
        } else {
            fs::copy(entry.path(), to)?;
        }
    }
    Ok(())
}
