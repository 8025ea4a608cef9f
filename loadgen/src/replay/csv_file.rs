//! Recordings in CSV.

use std::path::Path;

use csv::{Reader, StringRecord};

use super::{BadValue, COLUMNS, ReplayError, Row, value};

/// Hands on each row with the number of its line in the file.
pub(super) fn read(
    path: &Path,
    take: &mut dyn FnMut(u64, Row) -> Result<(), BadValue>,
) -> Result<(), ReplayError> {
    let unreadable = |source: csv::Error| ReplayError::Csv { path: path.to_owned(), source };
    let file = std::fs::File::open(path)
        .map_err(|source| ReplayError::Io { path: path.to_owned(), source })?;
    let mut reader = Reader::from_reader(file);
    let places = places(path, reader.headers().map_err(unreadable)?)?;
    let mut record = StringRecord::new();
    while reader.read_record(&mut record).map_err(unreadable)? {
        let line = record.position().map_or(0, csv::Position::line);
        row(&record, &places, line)
            .and_then(|row| take(line, row))
            .map_err(|bad| bad.in_file(path))?;
    }
    Ok(())
}

/// Where in a record each of [`COLUMNS`] stands.
fn places(path: &Path, headers: &StringRecord) -> Result<[usize; COLUMNS.len()], ReplayError> {
    let mut places = [0; COLUMNS.len()];
    for (place, column) in places.iter_mut().zip(COLUMNS) {
        *place = headers.iter().position(|name| name.trim() == column).ok_or_else(|| {
            ReplayError::MissingColumn {
                path: path.to_owned(),
                column,
                found: headers.iter().collect::<Vec<_>>().join(", "),
            }
        })?;
    }
    Ok(places)
}

fn row(record: &StringRecord, places: &[usize; COLUMNS.len()], line: u64) -> Result<Row, BadValue> {
    let bad = |column: usize| move |problem| BadValue::new(line, COLUMNS[column], problem);
    // The reader refuses records of another length than the header.
    let number = |column: usize| value::from_text(&record[places[column]]).map_err(bad(column));
    let narrow = |column: usize| value::narrow(number(column)?).map_err(bad(column));
    Ok(Row {
        store: narrow(0)?,
        customer: narrow(1)?,
        basket: number(2)?,
        item: number(3)?,
        quantity: narrow(4)?,
        time: value::time_from_text(&record[places[5]]).map_err(bad(5))?,
    })
}
