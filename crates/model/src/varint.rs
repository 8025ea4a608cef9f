//! LEB128 varints and zigzag, the number form of the codecs ("DWARF Debugging Information Format",
//! version 3, 2005, section 7.6; zigzag as in Protocol Buffers, Google, 2008).

/// What can be wrong with the bytes read.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum VarintError {
    /// The bytes end inside a value.
    #[error("the bytes end inside a value")]
    Truncated,
    /// A number does not fit its type, or is not in its shortest form.
    #[error("a number is too large or not in its shortest form")]
    Malformed,
}

/// Appends `value`, 1 to 10 bytes.
#[inline]
pub fn put(out: &mut Vec<u8>, mut value: u64) {
    while value >= 0x80 {
        out.push(value as u8 | 0x80);
        value >>= 7;
    }
    out.push(value as u8);
}

/// Appends a signed `value`, near zero shortest.
#[inline]
pub fn put_signed(out: &mut Vec<u8>, value: i64) {
    put(out, ((value << 1) ^ (value >> 63)) as u64);
}

/// Takes a number off the front of `bytes`.
///
/// # Errors
/// [`VarintError`] if the bytes end early, or the number does not fit 64 bits or is longer than
/// needed: every number has exactly one form.
#[inline]
pub fn take(bytes: &mut &[u8]) -> Result<u64, VarintError> {
    let mut value = 0_u64;
    for (i, &byte) in bytes.iter().enumerate().take(10) {
        let bits = u64::from(byte & 0x7f);
        if (i == 9 && bits > 1) || (i > 0 && byte == 0) {
            return Err(VarintError::Malformed);
        }
        value |= bits << (7 * i);
        if byte & 0x80 == 0 {
            *bytes = &bytes[i + 1..];
            return Ok(value);
        }
    }
    Err(if bytes.len() < 10 { VarintError::Truncated } else { VarintError::Malformed })
}

/// Takes a signed number off the front of `bytes`.
///
/// # Errors
/// As [`take`].
#[inline]
pub fn take_signed(bytes: &mut &[u8]) -> Result<i64, VarintError> {
    let raw = take(bytes)?;
    Ok((raw >> 1) as i64 ^ -((raw & 1) as i64))
}

/// Takes a number of 32 bits off the front of `bytes`.
///
/// # Errors
/// As [`take`], and [`VarintError::Malformed`] if it is larger.
#[inline]
pub fn take_u32(bytes: &mut &[u8]) -> Result<u32, VarintError> {
    u32::try_from(take(bytes)?).map_err(|_| VarintError::Malformed)
}

/// Appends a mark, 0 or 1, and the signed `value` if there is one.
pub fn put_optional(out: &mut Vec<u8>, value: Option<i64>) {
    out.push(u8::from(value.is_some()));
    if let Some(value) = value {
        put_signed(out, value);
    }
}

/// Takes what [`put_optional`] wrote off the front of `bytes`.
///
/// # Errors
/// As [`take`], and [`VarintError::Malformed`] if the mark is neither 0 nor 1.
pub fn take_optional(bytes: &mut &[u8]) -> Result<Option<i64>, VarintError> {
    match take_array(bytes)? {
        [0] => Ok(None),
        [1] => Ok(Some(take_signed(bytes)?)),
        _ => Err(VarintError::Malformed),
    }
}

/// Takes `N` bytes as they are off the front of `bytes`.
///
/// # Errors
/// [`VarintError::Truncated`] if there are fewer.
pub fn take_array<const N: usize>(bytes: &mut &[u8]) -> Result<[u8; N], VarintError> {
    let (head, tail) = bytes.split_first_chunk::<N>().ok_or(VarintError::Truncated)?;
    *bytes = tail;
    Ok(*head)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_round_trip_in_their_shortest_form() {
        for value in [0, 1, 127, 128, 16_383, 16_384, u64::from(u32::MAX), u64::MAX - 1, u64::MAX] {
            let mut bytes = Vec::new();
            put(&mut bytes, value);
            assert_eq!(bytes.len(), (64 - value.max(1).leading_zeros()).div_ceil(7) as usize);
            let mut rest = bytes.as_slice();
            assert_eq!((take(&mut rest), rest.len()), (Ok(value), 0));
            assert_eq!(take(&mut &bytes[..bytes.len() - 1]), Err(VarintError::Truncated));
        }
    }

    #[test]
    fn signed_numbers_round_trip() {
        for value in [0, -1, 1, i64::MIN, i64::MAX, -64, 63] {
            let mut bytes = Vec::new();
            put_signed(&mut bytes, value);
            assert_eq!(take_signed(&mut bytes.as_slice()), Ok(value));
        }
    }

    #[test]
    fn optional_numbers_round_trip() {
        for value in [None, Some(0), Some(-7)] {
            let mut bytes = Vec::new();
            put_optional(&mut bytes, value);
            assert_eq!(take_optional(&mut bytes.as_slice()), Ok(value));
        }
        assert_eq!(take_optional(&mut &[2, 0][..]), Err(VarintError::Malformed));
    }

    #[test]
    fn other_forms_are_refused() {
        for bytes in [&[0x80, 0x00][..], &[0xff; 10], &[0xff; 11]] {
            assert_eq!(take(&mut &*bytes), Err(VarintError::Malformed));
        }
        assert_eq!(take_u32(&mut &[0xff, 0xff, 0xff, 0xff, 0x1f][..]), Err(VarintError::Malformed));
    }
}
