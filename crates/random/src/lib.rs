//! A small seeded generator: the same numbers for the same seed, in every release.
//!
//! For plans of load and for tests, which must be the same again; never for secrets.

/// `SplitMix64`: Steele, Lea and Flood, "Fast Splittable Pseudorandom Number Generators", 2014.
#[derive(Debug, Clone)]
pub struct Random(u64);

impl Random {
    /// The generator of a seed.
    pub fn new(seed: u64) -> Self {
        Self(seed)
    }

    /// The generator of one stream of numbers among those of `seed`; streams do not overlap visibly.
    pub fn stream(seed: u64, stream: u64) -> Self {
        let mut mixed = Self(seed);
        let offset = mixed.next();
        let mut generator = Self(offset ^ stream.wrapping_mul(0xd134_2543_de82_ef95));
        generator.next();
        generator
    }

    /// Any number.
    #[expect(clippy::should_implement_trait, reason = "it never ends")]
    pub fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    /// A number in `0..bound`, by a widening multiplication; the bias is below `bound` / 2^64.
    pub fn below(&mut self, bound: u64) -> u64 {
        ((u128::from(self.next()) * u128::from(bound)) >> 64) as u64
    }

    /// At least 0, below 1.
    pub fn unit(&mut self) -> f64 {
        (self.next() >> 11) as f64 / (1_u64 << 53) as f64
    }

    /// Whether something happens that happens once in `one_in` times.
    pub fn chance(&mut self, one_in: u64) -> bool {
        self.below(one_in) == 0
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_are_those_of_the_paper() {
        // The first outputs of the reference implementation for the seed 1234567.
        let mut generator = Random::new(1_234_567);
        let got: Vec<u64> = (0..3).map(|_| generator.next()).collect();
        assert_eq!(
            got,
            [6_457_827_717_110_365_317, 3_203_168_211_198_807_973, 9_817_491_932_198_370_423]
        );
    }

    #[test]
    fn numbers_below_a_bound_spread_evenly() {
        let mut generator = Random::stream(7, 0);
        let mut hits = [0_u32; 10];
        for _ in 0..100_000 {
            hits[generator.below(10) as usize] += 1;
        }
        assert!(hits.iter().all(|&n| (9_500..10_500).contains(&n)), "{hits:?}");
    }

    #[test]
    fn the_unit_interval_is_half_open() {
        let mut generator = Random::new(1);
        assert!((0..10_000).all(|_| (0.0..1.0).contains(&generator.unit())));
    }
}
