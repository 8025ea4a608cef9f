//! Opening: everything that can be refused, is refused here.

use std::{
    any::Any,
    fs::{self, File, OpenOptions},
    io,
    panic::{AssertUnwindSafe, catch_unwind},
    path::{self, Path, PathBuf},
};

use model::{Offset, PartitionCount};
use redb::{StorageBackend, backends::FileBackend};

use super::{
    EmbeddedConfig,
    store::{Extent, Store, StoreError},
    witness::{self, Testimony, Witness},
};

const LOG: &str = "log.redb";
const WITNESS: &str = "log.witness";

/// Why the log was not opened.
#[derive(Debug, thiserror::Error)]
pub enum OpenError {
    /// Another process has it.
    #[error(
        "{} is in use by another process: stop that one, or choose another data directory",
        file.display()
    )]
    Locked {
        /// The file in use.
        file: PathBuf,
    },
    /// It was created with another number of partitions.
    #[error(
        "{} was created with {recorded} partitions, {asked} were asked for: ask for {recorded}, or \
         choose another data directory",
        file.display()
    )]
    PartitionCount {
        /// The file that says so.
        file: PathBuf,
        /// The number recorded in it.
        recorded: u64,
        /// The number asked for.
        asked: u32,
    },
    /// A newer release wrote it.
    #[error(
        "{} has format {found}, which is newer than this release reads: use the release that wrote it",
        file.display()
    )]
    NewerFormat {
        /// The file.
        file: PathBuf,
        /// Its format.
        found: u64,
    },
    /// It does not hold what was written to it.
    #[error("{} is damaged: {detail}. {advice}", file.display())]
    Damaged {
        /// The damaged file.
        file: PathBuf,
        /// What is wrong with it.
        detail: String,
        /// What to do.
        advice: &'static str,
    },
    /// The machine cannot read or write it.
    #[error("cannot read or write {}", file.display())]
    Io {
        /// The file or directory.
        file: PathBuf,
        /// Why.
        source: io::Error,
    },
}

impl OpenError {
    pub(super) fn of(file: &Path, error: StoreError) -> Self {
        let file = file.to_owned();
        match error.damage() {
            Ok(detail) => Self::Damaged { file, detail, advice: RESTORE },
            Err(source) => Self::Io { file, source },
        }
    }

    fn io(file: &Path) -> impl FnOnce(io::Error) -> Self {
        move |source| Self::Io { file: file.to_owned(), source }
    }
}

const RESTORE: &str =
    "Restore the directory from a copy, or move it away to start with an empty log";
const DROP_WITNESS: &str = "If the log beside it is known to be complete, remove this file";

/// A log that passed every check.
#[derive(Debug)]
pub(super) struct Opened {
    pub(super) store: Store,
    pub(super) witness: Witness,
    pub(super) extents: Vec<Extent>,
    pub(super) file: PathBuf,
}

/// Opens or creates the log in the directory; `wrap` may put something around its file.
pub(super) fn open<B: StorageBackend>(
    config: &EmbeddedConfig,
    wrap: impl FnOnce(FileBackend) -> B,
) -> Result<Opened, OpenError> {
    let directory = &config.directory;
    create_directory(directory).map_err(OpenError::io(directory))?;
    let file = directory.join(LOG);
    if !file.try_exists().map_err(OpenError::io(&file))? {
        create(config, &file)?;
    }
    let backend = backend(OpenOptions::new().read(true).write(true), &file)?;
    // Verified pages make a panic of the database on damage unlikely, not impossible.
    let checked = catch_unwind(AssertUnwindSafe(|| open_store(config, &file, wrap(backend))));
    let (store, extents) = checked.unwrap_or_else(|panic| {
        Err(OpenError::of(&file, StoreError::Damaged(panic_message(&*panic))))
    })?;
    let witness = open_witness(directory, &extents, config.partitions)?;
    File::open(directory).and_then(|dir| dir.sync_all()).map_err(OpenError::io(directory))?;
    Ok(Opened { store, witness, extents, file })
}

/// Makes an empty log beside its place, and moves it there once it is whole: a process that is killed
/// on the way leaves nothing that would have to be taken for a damaged log.
fn create(config: &EmbeddedConfig, file: &Path) -> Result<(), OpenError> {
    let unfinished = file.with_extension("redb.new");
    let mut options = OpenOptions::new();
    let backend =
        backend(options.read(true).write(true).create(true).truncate(false), &unfinished)?;
    backend.set_len(0).map_err(OpenError::io(&unfinished))?;
    let store = Store::open(&unfinished, backend, config.cache_bytes)?;
    store.initialise(config.partitions).map_err(|error| OpenError::of(&unfinished, error))?;
    drop(store);
    fs::rename(&unfinished, file).map_err(OpenError::io(file))
}

/// The file, locked against other processes.
fn backend(options: &OpenOptions, file: &Path) -> Result<FileBackend, OpenError> {
    FileBackend::new(options.open(file).map_err(OpenError::io(file))?)
        .map_err(|error| OpenError::of(file, StoreError::Database(error.into())))
}

/// Creates the directory, if need be, so that it is there after a power cut too.
fn create_directory(directory: &Path) -> io::Result<()> {
    let directory = path::absolute(directory)?;
    let missing = directory.ancestors().take_while(|ancestor| !ancestor.exists()).count();
    fs::create_dir_all(&directory)?;
    let mut parents = directory.ancestors().skip(1).take(missing);
    parents.try_for_each(|parent| File::open(parent)?.sync_all())
}

fn open_store(
    config: &EmbeddedConfig,
    file: &Path,
    backend: impl StorageBackend,
) -> Result<(Store, Vec<Extent>), OpenError> {
    let refuse = |error| OpenError::of(file, error);
    let store = Store::open(file, backend, config.cache_bytes)?;
    store.initialise(config.partitions).map_err(refuse)?;
    if let Some(found) = store.newer_format().map_err(refuse)? {
        return Err(OpenError::NewerFormat { file: file.to_owned(), found });
    }
    let (recorded, asked) = (store.partitions().map_err(refuse)?, config.partitions.get());
    if recorded != u64::from(asked) {
        return Err(OpenError::PartitionCount { file: file.to_owned(), recorded, asked });
    }
    let extents = store.extents(config.partitions).map_err(refuse)?;
    Ok((store, extents))
}

/// Holds what the database says against what the witness says, and lets the witness go on from
/// there.
fn open_witness(
    directory: &Path,
    extents: &[Extent],
    partitions: PartitionCount,
) -> Result<Witness, OpenError> {
    let file = directory.join(WITNESS);
    let next: Vec<_> = extents.iter().map(|extent| extent.bounds.next).collect();
    let unused = next.iter().all(|next| *next == Offset(0));
    let note = match witness::read(&file, partitions).map_err(OpenError::io(&file))? {
        Testimony::Note(note) => Some(note),
        Testimony::Absent => None,
        // The machine may have died while the log was being created.
        Testimony::Damaged if unused => None,
        Testimony::Damaged => {
            let detail = "it holds no intact note".to_owned();
            return Err(OpenError::Damaged { file, detail, advice: DROP_WITNESS });
        }
    };
    if note.is_none() && !unused {
        tracing::warn!(file = %file.display(), "the log has no witness: creating it anew");
    }
    for (partition, (next, noted)) in next.iter().zip(note.iter().flat_map(|n| &n.next)).enumerate()
    {
        if next < noted {
            let detail = format!(
                "partition {partition} ends before offset {next}, records up to {noted} were \
                 acknowledged"
            );
            return Err(OpenError::of(&directory.join(LOG), StoreError::Damaged(detail)));
        }
    }
    Witness::open(&file, &next, note.as_ref()).map_err(OpenError::io(&file))
}

/// What a panic said.
pub(super) fn panic_message(panic: &(dyn Any + Send)) -> String {
    let text = panic.downcast_ref::<String>().map(String::as_str);
    let text = text.or_else(|| panic.downcast_ref::<&str>().copied());
    format!("the database gave up: {}", text.unwrap_or("no reason given"))
}
