//! Radix sort by a small key.

/// Bits of the key that one pass sorts by.
const BITS: u32 = 11;
const BUCKETS: usize = 1 << BITS;

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
    let mut shift = 0;
    while shift < usize::BITS && keys.saturating_sub(1) >> shift > 0 {
        pass(items, buffer, |item| (key(item) >> shift) as usize % BUCKETS);
        std::mem::swap(items, buffer);
        shift += BITS;
    }
}

fn pass<T: Copy + Default>(from: &[T], to: &mut Vec<T>, digit: impl Fn(&T) -> usize) {
    let mut places = [0_usize; BUCKETS];
    for item in from {
        places[digit(item)] += 1;
    }
    let mut sum = 0;
    for place in &mut places {
        sum += std::mem::replace(place, sum);
    }
    to.clear();
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
