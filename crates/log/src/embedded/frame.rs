//! The stored form of a record.
//!
//! * frame: appended, checksum, payload
//! * appended: `i64` LE, milliseconds since 1970, the wall clock when it was written
//! * checksum: `u64` LE, xxh3-64 of the payload, seeded with the xxh3-64 of
//!   (partition `u32` LE, offset `u64` LE, appended)
//!
//! The seed ties the payload to its place: a whole frame in the wrong place is damage too.

use model::{Offset, Partition, Timestamp};
use xxhash_rust::xxh3::{xxh3_64, xxh3_64_with_seed};

const HEADER: usize = 16;

/// The length of the frame of a payload.
pub(super) fn len(payload: &[u8]) -> usize {
    HEADER + payload.len()
}

/// Writes the frame; `out` is exactly [`len`] long.
pub(super) fn write(
    out: &mut [u8],
    partition: Partition,
    offset: Offset,
    appended: Timestamp,
    payload: &[u8],
) {
    let (header, body) = out.split_at_mut(HEADER);
    header[..8].copy_from_slice(&appended.millis().to_le_bytes());
    header[8..]
        .copy_from_slice(&checksum(partition, offset, appended.millis(), payload).to_le_bytes());
    body.copy_from_slice(payload);
}

/// The payload of a frame and when it was written, or `None` if it is not what was written at this
/// place.
pub(super) fn read(
    frame: &[u8],
    partition: Partition,
    offset: Offset,
) -> Option<(Timestamp, &[u8])> {
    let (appended, rest) = frame.split_first_chunk::<8>()?;
    let (stored, payload) = rest.split_first_chunk::<8>()?;
    let millis = i64::from_le_bytes(*appended);
    let intact = u64::from_le_bytes(*stored) == checksum(partition, offset, millis, payload);
    let appended = Timestamp::from_millis(millis)?;
    intact.then_some((appended, payload))
}

fn checksum(partition: Partition, offset: Offset, millis: i64, payload: &[u8]) -> u64 {
    let mut place = [0; 20];
    place[..4].copy_from_slice(&partition.0.to_le_bytes());
    place[4..12].copy_from_slice(&offset.0.to_le_bytes());
    place[12..].copy_from_slice(&millis.to_le_bytes());
    xxh3_64_with_seed(payload, xxh3_64(&place))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn frame(payload: &[u8]) -> Vec<u8> {
        let mut out = vec![0; len(payload)];
        write(&mut out, Partition(1), Offset(2), Timestamp::MIN, payload);
        out
    }

    #[test]
    fn reads_back_what_was_written_there_and_nowhere_else() {
        for payload in [&b""[..], b"x", &[7; 5000]] {
            let frame = frame(payload);
            let there = read(&frame, Partition(1), Offset(2));
            assert_eq!(there, Some((Timestamp::MIN, payload)));
            assert_eq!(read(&frame, Partition(1), Offset(3)), None);
            assert_eq!(read(&frame, Partition(0), Offset(2)), None);
        }
    }

    #[test]
    fn any_flipped_bit_and_any_cut_shows() {
        let intact = frame(b"payload");
        for bit in 0..intact.len() * 8 {
            let mut damaged = intact.clone();
            damaged[bit / 8] ^= 1 << (bit % 8);
            assert_eq!(read(&damaged, Partition(1), Offset(2)), None, "bit {bit}");
        }
        for cut in 0..intact.len() {
            assert_eq!(read(&intact[..cut], Partition(1), Offset(2)), None, "cut {cut}");
        }
    }
}
