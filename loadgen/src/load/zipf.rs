//! Popularity: few ids are asked for often, many seldom.

use random::Random;

/// Ranks 1 to n, rank r with a probability proportional to r^-s (Zipf's law), drawn exactly.
///
/// Inverts the cumulative distribution by binary search: 8 bytes a rank, and no rejection, so that one
/// number drawn is one rank.
#[derive(Debug, Clone)]
pub(crate) struct Zipf {
    /// Probability of this rank or a smaller one, ascending; the last is 1.
    cumulative: Vec<f64>,
}

impl Zipf {
    /// `ranks` at least 1, `exponent` at least 0; 0 makes all ranks equal.
    pub(crate) fn new(ranks: u32, exponent: f64) -> Self {
        let mut cumulative = Vec::with_capacity(ranks as usize);
        let mut sum = 0.0;
        for rank in 1..=ranks.max(1) {
            sum += f64::from(rank).powf(-exponent);
            cumulative.push(sum);
        }
        for probability in &mut cumulative {
            *probability /= sum;
        }
        Self { cumulative }
    }

    /// A rank, from 1.
    pub(crate) fn draw(&self, random: &mut Random) -> u32 {
        let unit = random.unit();
        1 + self.cumulative.partition_point(|&probability| probability <= unit) as u32
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Draws against probabilities computed another way: each rank's own share of the harmonic number.
    #[test]
    fn ranks_are_as_frequent_as_the_law_says() {
        const DRAWS: u32 = 400_000;
        for exponent in [0.0, 0.99, 1.5] {
            let ranks = 50;
            let zipf = Zipf::new(ranks, exponent);
            let mut random = Random::new(3);
            let mut hits = vec![0_u32; ranks as usize];
            for _ in 0..DRAWS {
                hits[zipf.draw(&mut random) as usize - 1] += 1;
            }
            let harmonic: f64 =
                (1..=ranks).rev().map(|rank| (-exponent * f64::from(rank).ln()).exp()).sum();
            for (rank, &hits) in (1..=ranks).zip(&hits) {
                let share = (-exponent * f64::from(rank).ln()).exp() / harmonic;
                let expected = share * f64::from(DRAWS);
                // Six standard deviations of a binomial count.
                let tolerance = 6.0 * (expected * (1.0 - share)).sqrt();
                let off = (f64::from(hits) - expected).abs();
                assert!(off <= tolerance, "rank {rank} at {exponent}: {hits}, expected {expected}");
            }
        }
    }

    #[test]
    fn the_same_seed_draws_the_same_ranks_and_all_are_in_range() {
        let zipf = Zipf::new(1000, 0.99);
        let draws = |seed| {
            let mut random = Random::new(seed);
            (0..1000).map(|_| zipf.draw(&mut random)).collect::<Vec<_>>()
        };
        assert_eq!(draws(7), draws(7));
        assert_ne!(draws(7), draws(8));
        assert!(draws(7).iter().all(|rank| (1..=1000).contains(rank)));
        assert_eq!(Zipf::new(1, 0.99).draw(&mut Random::new(1)), 1);
    }
}
