//! Recordings of all forms read alike, and what cannot be read is refused with its place.

use std::{
    fs::File,
    path::{Path, PathBuf},
    sync::Arc,
};

use loadgen::replay::{self, Recording, ReplayError};
use parquet::{
    data_type::{
        ByteArray, ByteArrayType, DataType, DoubleType, FloatType, Int32Type, Int64Type, Int96,
        Int96Type,
    },
    file::{properties::WriterProperties, writer::SerializedFileWriter},
    schema::parser::parse_message_type,
};
use tempfile::TempDir;

const HEADER: &str = "store_id,household_id,basket_id,product_id,quantity,transaction_timestamp\n";

/// Two baskets, the later one first, the lines of one apart from each other.
const ROWS: &str = "\
330,900,12,1095275,1,2017-01-01 11:53:26\n\
406,906,9,1020156,2,2017-01-01 07:30:27\n\
330,900,12,9878513,0,2017-01-01 11:53:26\n";

fn csv(dir: &TempDir, text: &str) -> PathBuf {
    let path = dir.path().join("recording.csv");
    std::fs::write(&path, text).unwrap();
    path
}

fn expected() -> Recording {
    let dir = TempDir::new().unwrap();
    let recording = replay::read(&csv(&dir, &format!("{HEADER}{ROWS}"))).unwrap();
    let shown: Vec<String> = recording
        .baskets
        .iter()
        .map(|basket| {
            let lines: Vec<_> =
                basket.lines.iter().map(|line| (line.item.0, line.quantity)).collect();
            let at = basket.occurred_at.unwrap();
            format!(
                "{} {} {} {at} {} {lines:?}",
                basket.key, basket.store, basket.customer, basket.date
            )
        })
        .collect();
    assert_eq!(
        shown,
        [
            "9 406 906 2017-01-01T07:30:27.000Z 20170101 [(1020156, 2)]",
            "12 330 900 2017-01-01T11:53:26.000Z 20170101 [(1095275, 1), (9878513, 0)]",
        ]
    );
    assert_eq!(recording.lines, 3);
    recording
}

/// A Parquet file with the columns in another order and one more.
struct Sample {
    schema: String,
    numbers: fn(u64) -> Cell,
    time: fn(i64) -> Cell,
}

/// A value to write.
enum Cell {
    Int32(i32),
    Int64(i64),
    Int96(Int96),
    Float(f32),
    Double(f64),
    Text(&'static str),
    Null,
}

const TIMES: [i64; 3] = [1_483_271_606, 1_483_255_827, 1_483_271_606];

impl Sample {
    /// `number` and `time` are types, each with its annotation if it has one.
    fn new(number: &str, time: &str, numbers: fn(u64) -> Cell, times: fn(i64) -> Cell) -> Self {
        let typed = |kind: &str, name: &str| match kind.split_once(' ') {
            Some((kind, annotation)) => format!("optional {kind} {name} ({annotation});"),
            None => format!("optional {kind} {name};"),
        };
        let column = |name| typed(number, name);
        let time = typed(time, "transaction_timestamp");
        let names = ["quantity", "extra", "product_id", "basket_id", "household_id", "store_id"];
        let schema = format!("message schema {{ {} {time} }}", names.map(column).concat());
        Self { schema, numbers, time: times }
    }

    fn write(&self, path: &Path) {
        let columns: [[u64; 3]; 6] = [
            [1, 2, 0],
            [7, 7, 7],
            [1_095_275, 1_020_156, 9_878_513],
            [12, 9, 12],
            [900, 906, 900],
            [330, 406, 330],
        ];
        let schema = Arc::new(parse_message_type(&self.schema).unwrap());
        let compression = parquet::basic::Compression::SNAPPY;
        let properties = WriterProperties::builder().set_compression(compression).build();
        let file = File::create(path).unwrap();
        let mut writer = SerializedFileWriter::new(file, schema, Arc::new(properties)).unwrap();
        // Two row groups, so that rows are numbered across them.
        for rows in [0..2, 2..3] {
            let mut group = writer.next_row_group().unwrap();
            for column in &columns {
                let cells = column[rows.clone()].iter().map(|&value| (self.numbers)(value));
                write_column(&mut group, cells.collect());
            }
            let cells = TIMES[rows].iter().map(|&seconds| (self.time)(seconds));
            write_column(&mut group, cells.collect());
            group.close().unwrap();
        }
        writer.close().unwrap();
    }
}

type Group<'a> = parquet::file::writer::SerializedRowGroupWriter<'a, File>;

fn write_column(group: &mut Group<'_>, cells: Vec<Cell>) {
    fn put<T: DataType>(group: &mut Group<'_>, cells: Vec<Option<T::T>>) {
        let levels: Vec<i16> = cells.iter().map(|cell| i16::from(cell.is_some())).collect();
        let values: Vec<T::T> = cells.into_iter().flatten().collect();
        let mut column = group.next_column().unwrap().unwrap();
        column.typed::<T>().write_batch(&values, Some(&levels), None).unwrap();
        column.close().unwrap();
    }
    macro_rules! put {
        ($kind:ty, $variant:ident) => {
            put::<$kind>(
                group,
                cells
                    .into_iter()
                    .map(|cell| match cell {
                        Cell::$variant(value) => Some(value.into()),
                        _ => None,
                    })
                    .collect(),
            )
        };
    }
    match cells.iter().find(|cell| !matches!(cell, Cell::Null)).unwrap() {
        Cell::Int32(_) => put!(Int32Type, Int32),
        Cell::Int64(_) => put!(Int64Type, Int64),
        Cell::Int96(_) => put!(Int96Type, Int96),
        Cell::Float(_) => put!(FloatType, Float),
        Cell::Double(_) => put!(DoubleType, Double),
        Cell::Text(_) | Cell::Null => {
            let text = |cell| match cell {
                Cell::Text(text) => Some(ByteArray::from(text)),
                _ => None,
            };
            put::<ByteArrayType>(group, cells.into_iter().map(text).collect());
        }
    }
}

fn int64(value: u64) -> Cell {
    Cell::Int64(value as i64)
}

fn int96(seconds: i64) -> Cell {
    let (day, nanos) = (seconds / 86_400 + 2_440_588, seconds % 86_400 * 1_000_000_000);
    let mut value = Int96::new();
    value.set_data(nanos as u32, (nanos >> 32) as u32, day as u32);
    Cell::Int96(value)
}

fn digits(value: u64) -> Cell {
    Cell::Text(value.to_string().leak())
}

fn read(sample: &Sample) -> Result<Recording, ReplayError> {
    let dir = TempDir::new().unwrap();
    let path = dir.path().join("recording.parquet");
    sample.write(&path);
    replay::read(&path)
}

#[test]
fn parquet_of_all_types_reads_like_csv() {
    let text_time = |seconds| {
        Cell::Text(if seconds == TIMES[1] { "2017-01-01 07:30:27" } else { "2017-01-01 11:53:26" })
    };
    let samples = [
        Sample::new("int64", "int96", int64, int96),
        Sample::new(
            "int32",
            "int64 TIMESTAMP(MILLIS,true)",
            |v| Cell::Int32(v as i32),
            |s| Cell::Int64(s * 1000),
        ),
        Sample::new(
            "double",
            "int64 TIMESTAMP(MICROS,false)",
            |v| Cell::Double(v as f64),
            |s| Cell::Int64(s * 1_000_000 + 999),
        ),
        Sample::new(
            "float",
            "int64 TIMESTAMP(NANOS,false)",
            |v| Cell::Float(v as f32),
            |s| Cell::Int64(s * 1_000_000_000 + 999_999),
        ),
        Sample::new("binary", "int64 TIMESTAMP_MILLIS", digits, |s| Cell::Int64(s * 1000)),
        Sample::new("int64", "binary UTF8", int64, text_time),
        Sample::new("int32 UINT_32", "int96", |v| Cell::Int32(v as i32), int96),
        Sample::new("int64 UINT_64", "int96", int64, int96),
    ];
    for sample in samples {
        assert_eq!(read(&sample).unwrap(), expected(), "{}", sample.schema);
    }
}

fn refusal(result: Result<Recording, ReplayError>) -> String {
    let error = result.unwrap_err();
    let text = error.to_string();
    let (_dir, message) = text.rsplit_once("recording.").unwrap();
    message.to_owned()
}

#[test]
fn parquet_that_cannot_be_used_is_refused_with_its_place() {
    let null = |value| if value == 1_020_156 { Cell::Null } else { int64(value) };
    let negative = |value| if value == 9_878_513 { Cell::Int64(-1) } else { int64(value) };
    let cases = [
        (
            Sample::new("int64", "int96", null, int96),
            "parquet: row 2, column product_id: there is no value",
        ),
        (
            Sample::new("int64", "int96", negative, int96),
            "parquet: row 3, column product_id: -1 is negative",
        ),
        (
            Sample::new("int64 DECIMAL(10,2)", "int96", int64, int96),
            "parquet: column store_id has the type INT64 (DECIMAL): \
             expected integers, floating-point numbers or text",
        ),
        (
            Sample::new("int64", "int64", int64, Cell::Int64),
            "parquet: column transaction_timestamp has the type INT64: expected INT96, TIMESTAMP or text",
        ),
        (
            Sample::new("double", "int96", |value| Cell::Double(value as f64 / 4.0), int96),
            "parquet: row 1, column store_id: 82.5 is not a whole number of 0 or more",
        ),
        (
            Sample::new("int64", "int96", |value| Cell::Int64((value as i64) << 32), int96),
            "parquet: row 1, column store_id: 1417339207680 is greater than 4294967295",
        ),
    ];
    for (sample, expected) in cases {
        assert_eq!(refusal(read(&sample)), expected);
    }
}

#[test]
fn csv_that_cannot_be_used_is_refused_with_its_place() {
    let dir = TempDir::new().unwrap();
    let row = "330,900,12,1095275,1,2017-01-01 11:53:26\n";
    let many_lines = row.repeat(1001);
    let cases = [
        (
            ROWS.to_owned(),
            "csv: there is no column store_id; the columns are 330, 900, 12, 1095275, 1, 2017-01-01 11:53:26",
        ),
        (HEADER.to_owned(), "csv: there are no purchases in it"),
        (
            format!("{HEADER}{row}330,900,13,x,1,2017-01-01 11:53:26\n"),
            "csv: row 3, column product_id: 'x' is not a whole number of 0 or more",
        ),
        (
            format!("{HEADER}330,900,13,1,-1,2017-01-01 11:53:26\n"),
            "csv: row 2, column quantity: '-1' is not a whole number of 0 or more",
        ),
        (
            format!("{HEADER}330,900,13,1,1,01/02/2017\n"),
            "csv: row 2, column transaction_timestamp: '01/02/2017' is not a time: expected a form such as 2017-01-01 07:30:27",
        ),
        (
            format!("{HEADER}{row}331,900,12,1,1,2017-01-01 11:53:26\n"),
            "csv: row 3, column store_id: 331 here, but 330 in an earlier row of basket 12",
        ),
        (
            format!("{HEADER}{row}330,900,12,1,1,2017-01-01 11:53:27\n"),
            "csv: row 3, column transaction_timestamp: 2017-01-01T11:53:27.000Z here, but 2017-01-01T11:53:26.000Z in an earlier row of basket 12",
        ),
        (
            format!("{HEADER}{many_lines}"),
            "csv: row 1002, column basket_id: basket 12 has more than 1000 lines, the most a purchase may have",
        ),
        (format!("{HEADER}330,900\n"), "csv: not readable as CSV"),
    ];
    for (text, expected) in cases {
        assert_eq!(refusal(replay::read(&csv(&dir, &text))), expected);
    }
}

#[test]
fn other_files_are_refused() {
    let dir = TempDir::new().unwrap();
    let missing = dir.path().join("recording.parquet");
    assert_eq!(refusal(replay::read(&missing)), "parquet: cannot be read");
    std::fs::write(&missing, "no Parquet at all").unwrap();
    assert_eq!(refusal(replay::read(&missing)), "parquet: not readable as Parquet");
    let other = dir.path().join("recording.xlsx");
    assert_eq!(refusal(replay::read(&other)), "xlsx: the name must end in .parquet or .csv");
}
