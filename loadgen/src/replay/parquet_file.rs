//! Recordings in Parquet.

use std::{fs::File, path::Path};

use model::Timestamp;
use parquet::{
    basic::{Compression, ConvertedType, LogicalType, TimeUnit, Type as PhysicalType},
    column::reader::{ColumnReader, ColumnReaderImpl},
    data_type::DataType,
    errors::ParquetError,
    file::reader::{FileReader, RowGroupReader, SerializedFileReader},
    schema::types::{ColumnDescriptor, SchemaDescriptor},
};

use super::{BadValue, COLUMNS, ReplayError, Row, value};

const INTEGERS: &str = "integers, floating-point numbers or text";
const TIMES: &str = "INT96, TIMESTAMP or text";

/// Hands on each row with its number, from 1.
pub(super) fn read(
    path: &Path,
    take: &mut dyn FnMut(u64, Row) -> Result<(), BadValue>,
) -> Result<(), ReplayError> {
    let unreadable = |source| ReplayError::Parquet { path: path.to_owned(), source };
    let file =
        File::open(path).map_err(|source| ReplayError::Io { path: path.to_owned(), source })?;
    let reader = SerializedFileReader::new(file).map_err(unreadable)?;
    let schema = reader.metadata().file_metadata().schema_descr_ptr();
    let places = places(path, &schema)?;
    let mut first_row = 1;
    for index in 0..reader.num_row_groups() {
        let group = reader.get_row_group(index).map_err(unreadable)?;
        let columns = Columns::read(&*group, &schema, &places, first_row)
            .map_err(|problem| problem.in_file(path))?;
        for (place, number) in (0..columns.len()).zip(first_row..) {
            columns
                .row(place, number)
                .and_then(|row| take(number, row))
                .map_err(|bad| bad.in_file(path))?;
        }
        first_row += columns.len() as u64;
    }
    Ok(())
}

/// Where in the schema each of [`COLUMNS`] stands.
fn places(path: &Path, schema: &SchemaDescriptor) -> Result<[usize; COLUMNS.len()], ReplayError> {
    let names: Vec<String> = schema.columns().iter().map(|column| column.path().string()).collect();
    let mut places = [0; COLUMNS.len()];
    for (place, column) in places.iter_mut().zip(COLUMNS) {
        *place = names.iter().position(|name| name == column).ok_or_else(|| {
            ReplayError::MissingColumn { path: path.to_owned(), column, found: names.join(", ") }
        })?;
    }
    Ok(places)
}

/// What can go wrong in a column.
enum Problem {
    Unreadable(ParquetError),
    Compression { column: &'static str, found: String },
    Type { column: &'static str, found: String, expected: &'static str },
    Value(BadValue),
}

impl From<ParquetError> for Problem {
    fn from(error: ParquetError) -> Self {
        Self::Unreadable(error)
    }
}

impl Problem {
    fn in_file(self, path: &Path) -> ReplayError {
        let path = path.to_owned();
        match self {
            Self::Unreadable(source) => ReplayError::Parquet { path, source },
            Self::Compression { column, found } => ReplayError::Compression { path, column, found },
            Self::Type { column, found, expected } => {
                ReplayError::ColumnType { path, column, found, expected }
            }
            Self::Value(bad) => bad.in_file(&path),
        }
    }
}

/// The columns of one row group, all of one length.
struct Columns {
    numbers: [Vec<u64>; 5],
    times: Vec<Timestamp>,
}

impl Columns {
    fn read(
        group: &dyn RowGroupReader,
        schema: &SchemaDescriptor,
        places: &[usize; COLUMNS.len()],
        first_row: u64,
    ) -> Result<Self, Problem> {
        for (&place, column) in places.iter().zip(COLUMNS) {
            if let Some(found) = unknown(group.metadata().column(place).compression()) {
                return Err(Problem::Compression { column, found });
            }
        }
        let column = |index: usize| -> Result<Source, Problem> {
            Ok(Source {
                name: COLUMNS[index],
                first_row,
                rows: usize::try_from(group.metadata().num_rows()).unwrap_or(0),
                kind: schema.column(places[index]),
                reader: group.get_column_reader(places[index])?,
            })
        };
        let mut numbers: [Vec<u64>; 5] = Default::default();
        for (index, into) in numbers.iter_mut().enumerate() {
            *into = column(index)?.numbers()?;
        }
        Ok(Self { numbers, times: column(5)?.times()? })
    }

    fn len(&self) -> usize {
        self.times.len()
    }

    fn row(&self, place: usize, number: u64) -> Result<Row, BadValue> {
        let narrow = |column: usize| {
            value::narrow(self.numbers[column][place])
                .map_err(|problem| BadValue::new(number, COLUMNS[column], problem))
        };
        Ok(Row {
            store: narrow(0)?,
            customer: narrow(1)?,
            basket: self.numbers[2][place],
            item: self.numbers[3][place],
            quantity: narrow(4)?,
            time: self.times[place],
        })
    }
}

/// Name of a compression this build cannot undo.
fn unknown(compression: Compression) -> Option<String> {
    match compression {
        Compression::UNCOMPRESSED | Compression::SNAPPY => None,
        // Shown with its level in brackets, which does not matter here.
        other => other.to_string().split('(').next().map(str::to_owned),
    }
}

/// A column of a row group, still to be read.
struct Source {
    name: &'static str,
    first_row: u64,
    rows: usize,
    kind: std::sync::Arc<ColumnDescriptor>,
    reader: ColumnReader,
}

impl Source {
    fn numbers(self) -> Result<Vec<u64>, Problem> {
        let Self { name, first_row, rows, kind, reader } = self;
        let target = Target { name, first_row, rows, nullable: kind.max_def_level() > 0 };
        // A decimal is stored as an integer too, but means a fraction of it.
        if kind.max_rep_level() > 0 || kind.converted_type() == ConvertedType::DECIMAL {
            return Err(wrong_type(name, &kind, INTEGERS));
        }
        let unsigned =
            matches!(kind.converted_type(), ConvertedType::UINT_32 | ConvertedType::UINT_64);
        match reader {
            ColumnReader::Int32ColumnReader(reader) => target.read(reader, |&number| {
                if unsigned {
                    Ok(u64::from(number.cast_unsigned()))
                } else {
                    value::from_integer(i64::from(number))
                }
            }),
            ColumnReader::Int64ColumnReader(reader) => target.read(reader, |&number| {
                if unsigned { Ok(number.cast_unsigned()) } else { value::from_integer(number) }
            }),
            ColumnReader::FloatColumnReader(reader) => {
                target.read(reader, |&number| value::from_double(f64::from(number)))
            }
            ColumnReader::DoubleColumnReader(reader) => {
                target.read(reader, |&number| value::from_double(number))
            }
            ColumnReader::ByteArrayColumnReader(reader) => {
                target.read(reader, |bytes| value::from_text(text(bytes.data())?))
            }
            _ => Err(wrong_type(name, &kind, INTEGERS)),
        }
    }

    fn times(self) -> Result<Vec<Timestamp>, Problem> {
        let Self { name, first_row, rows, kind, reader } = self;
        let target = Target { name, first_row, rows, nullable: kind.max_def_level() > 0 };
        if kind.max_rep_level() > 0 {
            return Err(wrong_type(name, &kind, TIMES));
        }
        match (reader, per_milli(&kind)) {
            (ColumnReader::Int96ColumnReader(reader), _) => {
                target.read(reader, |time| value::time_from_millis(time.to_millis()))
            }
            (ColumnReader::Int64ColumnReader(reader), Some(per_milli)) => {
                target.read(reader, |time| value::time_from_millis(time.div_euclid(per_milli)))
            }
            (ColumnReader::ByteArrayColumnReader(reader), _) => {
                target.read(reader, |bytes| value::time_from_text(text(bytes.data())?))
            }
            _ => Err(wrong_type(name, &kind, TIMES)),
        }
    }
}

/// Units of an annotated INT64 timestamp in a millisecond; `None` if it is not annotated as one.
fn per_milli(kind: &ColumnDescriptor) -> Option<i64> {
    match (kind.logical_type_ref(), kind.converted_type()) {
        (Some(LogicalType::Timestamp(timestamp)), _) => Some(match timestamp.unit {
            TimeUnit::MILLIS => 1,
            TimeUnit::MICROS => 1000,
            TimeUnit::NANOS => 1_000_000,
        }),
        (None, ConvertedType::TIMESTAMP_MILLIS) => Some(1),
        (None, ConvertedType::TIMESTAMP_MICROS) => Some(1000),
        _ => None,
    }
}

fn wrong_type(column: &'static str, kind: &ColumnDescriptor, expected: &'static str) -> Problem {
    let physical: PhysicalType = kind.physical_type();
    let repeated = if kind.max_rep_level() > 0 { "repeated " } else { "" };
    let annotation = match kind.converted_type() {
        ConvertedType::NONE => String::new(),
        converted => format!(" ({converted})"),
    };
    Problem::Type { column, found: format!("{repeated}{physical}{annotation}"), expected }
}

fn text(bytes: &[u8]) -> Result<&str, String> {
    std::str::from_utf8(bytes).map_err(|_| "the text is not UTF-8".to_owned())
}

/// What the values of a column are read for.
struct Target {
    name: &'static str,
    first_row: u64,
    rows: usize,
    nullable: bool,
}

impl Target {
    /// Reads all values; none may be null.
    fn read<T: DataType, V>(
        &self,
        mut reader: ColumnReaderImpl<T>,
        convert: impl Fn(&T::T) -> Result<V, String>,
    ) -> Result<Vec<V>, Problem> {
        let bad = |place: usize, problem: String| {
            Problem::Value(BadValue::new(self.first_row + place as u64, self.name, problem))
        };
        let (mut raw, mut levels) = (Vec::new(), Vec::new());
        let mut rows = 0;
        while rows < self.rows {
            let levels = self.nullable.then_some(&mut levels);
            let (records, _, _) = reader.read_records(self.rows - rows, levels, None, &mut raw)?;
            if records == 0 {
                let problem =
                    format!("column {} ends after {rows} of {} rows", self.name, self.rows);
                return Err(Problem::Unreadable(ParquetError::General(problem)));
            }
            rows += records;
        }
        if let Some(place) = levels.iter().position(|&level| level == 0) {
            return Err(bad(place, "there is no value".to_owned()));
        }
        raw.iter()
            .enumerate()
            .map(|(place, value)| convert(value).map_err(|problem| bad(place, problem)))
            .collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn compressions_are_named_without_their_level() {
        assert_eq!(unknown(Compression::SNAPPY), None);
        assert_eq!(
            unknown(Compression::ZSTD(parquet::basic::ZstdLevel::default())).as_deref(),
            Some("ZSTD")
        );
        assert_eq!(unknown(Compression::LZ4_RAW).as_deref(), Some("LZ4_RAW"));
    }
}
