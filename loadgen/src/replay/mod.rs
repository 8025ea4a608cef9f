//! Reads recorded purchases from a file.
//!
//! The file has one row per line of a basket, in any order, and these columns, found by name; others
//! are ignored:
//!
//! | column | meaning |
//! |---|---|
//! | `store_id` | store, 0 to 4294967295 |
//! | `household_id` | customer, 0 to 4294967295 |
//! | `basket_id` | basket: its rows are one purchase |
//! | `product_id` | item |
//! | `quantity` | pieces, 0 to 4294967295 |
//! | `transaction_timestamp` | when the basket was bought; read as UTC if it names no zone |
//!
//! Numbers may be stored as integers, as floating-point numbers without a fraction, or as digits.
//! Times may be Parquet timestamps of any precision (INT96 too) or text such as
//! `2017-01-01 07:30:27`. A Parquet file is compressed with Snappy or not at all. A CSV file needs a
//! header and separates columns by commas.
//!
//! The whole recording is held in memory: about 16 bytes a line and 100 bytes a basket.

mod assemble;
mod csv_file;
mod parquet_file;
mod value;

use std::{
    fmt,
    path::{Path, PathBuf},
};

use model::Timestamp;

use crate::Basket;

/// The columns that must be there.
const COLUMNS: [&str; 6] =
    ["store_id", "household_id", "basket_id", "product_id", "quantity", "transaction_timestamp"];

/// Recorded purchases in the order of their times.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Recording {
    /// One per basket id; `occurred_at` is always there, and its date is the business date.
    pub baskets: Vec<Basket>,
    /// Lines of all of them.
    pub lines: u64,
}

/// Why a recording cannot be read.
#[derive(Debug, thiserror::Error)]
pub enum ReplayError {
    /// Neither `.parquet` nor `.csv`.
    #[error("{}: the name must end in .parquet or .csv", .0.display())]
    UnknownFormat(PathBuf),
    /// The file cannot be opened or read.
    #[error("{}: cannot be read", path.display())]
    Io {
        /// Which file.
        path: PathBuf,
        /// Why.
        source: std::io::Error,
    },
    /// Parquet does not decode.
    #[error("{}: not readable as Parquet", path.display())]
    Parquet {
        /// Which file.
        path: PathBuf,
        /// Why.
        source: parquet::errors::ParquetError,
    },
    /// CSV does not parse.
    #[error("{}: not readable as CSV", path.display())]
    Csv {
        /// Which file.
        path: PathBuf,
        /// Why, with the line.
        source: csv::Error,
    },
    /// A column is missing.
    #[error("{}: there is no column {column}; the columns are {found}", path.display())]
    MissingColumn {
        /// Which file.
        path: PathBuf,
        /// The one looked for.
        column: &'static str,
        /// Those there are.
        found: String,
    },
    /// A Parquet column is compressed in a way this build cannot undo.
    #[error(
        "{}: column {column} is compressed with {found}: write the file with Snappy or none",
        path.display()
    )]
    Compression {
        /// Which file.
        path: PathBuf,
        /// Which column.
        column: &'static str,
        /// How.
        found: String,
    },
    /// A column has a type that cannot be what is looked for.
    #[error("{}: column {column} has the type {found}: expected {expected}", path.display())]
    ColumnType {
        /// Which file.
        path: PathBuf,
        /// Which column.
        column: &'static str,
        /// Its type.
        found: String,
        /// What it may be.
        expected: &'static str,
    },
    /// A value cannot be used.
    #[error("{}: row {row}, column {column}: {problem}", path.display())]
    Value {
        /// Which file.
        path: PathBuf,
        /// Parquet: number of the row, from 1. CSV: number of the line in the file, from 1.
        row: u64,
        /// Which column.
        column: &'static str,
        /// What is wrong with it.
        problem: String,
    },
    /// No rows.
    #[error("{}: there are no purchases in it", .0.display())]
    Empty(PathBuf),
}

/// One row: a line of a basket.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Row {
    store: u32,
    customer: u32,
    basket: u64,
    item: u64,
    quantity: u32,
    time: Timestamp,
}

/// A value that cannot be used, before the file is known.
#[derive(Debug)]
struct BadValue {
    row: u64,
    column: &'static str,
    problem: String,
}

impl BadValue {
    fn new(row: u64, column: &'static str, problem: impl fmt::Display) -> Self {
        Self { row, column, problem: problem.to_string() }
    }

    fn in_file(self, path: &Path) -> ReplayError {
        let Self { row, column, problem } = self;
        ReplayError::Value { path: path.to_owned(), row, column, problem }
    }
}

/// Reads `path`; whether it is Parquet or CSV is told by the end of its name.
///
/// # Errors
/// [`ReplayError`], which names the file and, where there is one, the row and the column.
pub fn read(path: &Path) -> Result<Recording, ReplayError> {
    let mut assembler = assemble::Assembler::default();
    let mut take = |number, row| assembler.add(number, &row);
    match path.extension().and_then(|extension| extension.to_str()) {
        Some("parquet") => parquet_file::read(path, &mut take)?,
        Some("csv") => csv_file::read(path, &mut take)?,
        _ => return Err(ReplayError::UnknownFormat(path.to_owned())),
    }
    let recording = assembler.finish();
    if recording.baskets.is_empty() {
        return Err(ReplayError::Empty(path.to_owned()));
    }
    Ok(recording)
}
