//! The packed part of a record: what comes after its header, by Zstandard (RFC 8878).
//!
//! Stated as absolute values, most counts and steps between ids are small numbers that come again and again.

use std::{fmt, io::Cursor};

use model::{MAX_RECORD_BYTES, varint};
use zstd::{
    bulk::{Compressor, Decompressor},
    zstd_safe::compress_bound,
};

use super::codec::FeedError;

/// The fastest one that codes what is left after finding repetitions.
const LEVEL: i32 = 1;

/// Packs.
pub(crate) struct Packer(Compressor<'static>);

/// Unpacks.
pub(crate) struct Unpacker(Decompressor<'static>);

impl Default for Packer {
    fn default() -> Self {
        Self(Compressor::new(LEVEL).expect("it is one of the levels"))
    }
}

impl Default for Unpacker {
    fn default() -> Self {
        Self(Decompressor::new().expect("there is no dictionary to be refused"))
    }
}

impl fmt::Debug for Packer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Packer").finish_non_exhaustive()
    }
}

impl fmt::Debug for Unpacker {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Unpacker").finish_non_exhaustive()
    }
}

impl Packer {
    /// Appends `plain`, packed.
    pub(crate) fn put(&mut self, out: &mut Vec<u8>, plain: &[u8]) {
        varint::put(out, plain.len() as u64);
        out.reserve(compress_bound(plain.len()));
        let mut behind = Cursor::new(&mut *out);
        behind.set_position(behind.get_ref().len() as u64);
        self.0
            .compress_to_buffer(plain, &mut behind)
            .expect("there is room for the longest outcome");
    }
}

impl Unpacker {
    /// Takes what [`Packer::put`] wrote, which goes to the end of the record.
    pub(crate) fn take(&mut self, mut packed: &[u8], plain: &mut Vec<u8>) -> Result<(), FeedError> {
        let length = varint::take(&mut packed)?;
        let length = usize::try_from(length).ok().filter(|&length| length <= MAX_RECORD_BYTES);
        let length = length.ok_or(FeedError::Packed)?;
        plain.clear();
        plain.reserve_exact(length);
        match self.0.decompress_to_buffer(packed, plain) {
            Ok(taken) if taken == length => Ok(()),
            _ => Err(FeedError::Packed),
        }
    }
}
