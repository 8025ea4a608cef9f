//! Radix sort by a small key.

/// The most bits of the key that one pass sorts by.
const BITS: u32 = 11;

/// Below this length the passes over the buckets cost more than they save.
const SHORT: usize = 512;

/// Sorts `items` by a key below `keys`, stably; `buffer` is for its own use.
///
/// Least significant digit first (Harold Seward, "Information Sorting in the Application of
/// Electronic Digital Computers to Business Operations", 1954).
pub(crate) fn sort<T: Copy + Default>(
    items: &mut Vec<T>,
    buffer: &mut Vec<T>,
    keys: usize,
    key: impl Fn(&T) -> u32,
) {
    if items.len() < SHORT {
        items.sort_by_key(key);
        return;
    }
    let bits = usize::BITS - keys.saturating_sub(1).leading_zeros();
    let passes = bits.div_ceil(BITS);
    // As few buckets as do in so many passes: the places written to then stay in the cache.
    let width = bits.div_ceil(passes.max(1));
    for shift in (0..passes).map(|pass| pass * width) {
        pass(items, buffer, 1 << width, |item| (key(item) >> shift) as usize & ((1 << width) - 1));
        std::mem::swap(items, buffer);
    }
}

fn pass<T: Copy + Default>(
    from: &[T],
    to: &mut Vec<T>,
    buckets: usize,
    digit: impl Fn(&T) -> usize,
) {
    let places = &mut [0_usize; 1 << BITS][..buckets];
    for item in from {
        places[digit(item)] += 1;
    }
    let mut sum = 0;
    for place in &mut *places {
        sum += std::mem::replace(place, sum);
    }
    // What it held is written over.
    to.resize(from.len(), T::default());
    for item in from {
        let place = &mut places[digit(item)];
        to[*place] = *item;
        *place += 1;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sorts_like_the_standard_library() {
        for (length, keys) in [(0, 1), (10, 5), (600, 1), (5000, 3), (5000, 2048), (5000, 300_000)]
        {
            let mut items: Vec<(u32, usize)> = (0..length)
                .map(|n: usize| ((n as u32).wrapping_mul(2_654_435_761) % keys, n))
                .collect();
            let mut expected = items.clone();
            expected.sort_by_key(|item| item.0);
            sort(&mut items, &mut Vec::new(), keys as usize, |item| item.0);
            assert_eq!(items, expected, "{length} items below {keys}");
        }
    }
}
