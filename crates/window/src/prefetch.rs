//! A hint to the memory system.

/// How many records ahead, where each needs little work but is somewhere else in memory.
pub(crate) const AHEAD: usize = 16;

/// Starts to bring `slice[place]` into the cache; does nothing if there is no such place.
#[inline]
#[allow(unsafe_code)]
pub(crate) fn read<T>(slice: &[T], place: usize) {
    #[cfg(target_arch = "x86_64")]
    if let Some(item) = slice.get(place) {
        use std::arch::x86_64::{_MM_HINT_T0, _mm_prefetch};
        // SAFETY: the instruction is part of the x86-64 baseline, has no effect but on the cache, and
        // the address is that of a live reference.
        unsafe { _mm_prefetch::<_MM_HINT_T0>(std::ptr::from_ref(item).cast()) };
    }
    #[cfg(not(target_arch = "x86_64"))]
    let _ = (slice, place);
}
