//! Positions: how far something has read, partition by partition.

use std::{collections::BTreeMap, fmt, str::FromStr};

use crate::{Offset, Partition};

/// Next offsets of some partitions, written `0:118,3:97` (ascending, no spaces).
///
/// A view *has* a position when, for each partition it names, the view has applied all batches
/// before the named offset.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Position(BTreeMap<Partition, Offset>);

/// Text that is not a position.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("'{0}' is not a position: expected partition:offset pairs such as 0:118,3:97")]
pub struct PositionParseError(String);

impl Position {
    /// Raises the next offset of a partition to `next`; never lowers it.
    pub fn advance(&mut self, partition: Partition, next: Offset) {
        let known = self.0.entry(partition).or_default();
        *known = (*known).max(next);
    }

    /// The partitions named, in ascending order, with their next offsets.
    pub fn iter(&self) -> impl Iterator<Item = (Partition, Offset)> + '_ {
        self.0.iter().map(|(&p, &o)| (p, o))
    }

    /// Whether no partition is named.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }
}

impl FromIterator<(Partition, Offset)> for Position {
    fn from_iter<I: IntoIterator<Item = (Partition, Offset)>>(pairs: I) -> Self {
        let mut position = Self::default();
        for (partition, next) in pairs {
            position.advance(partition, next);
        }
        position
    }
}

impl fmt::Display for Position {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (i, (partition, next)) in self.iter().enumerate() {
            let comma = if i == 0 { "" } else { "," };
            write!(f, "{comma}{partition}:{next}")?;
        }
        Ok(())
    }
}

impl FromStr for Position {
    type Err = PositionParseError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let pair = |part: &str| {
            let (partition, next) = part.split_once(':')?;
            Some((Partition(partition.parse().ok()?), Offset(next.parse().ok()?)))
        };
        text.split(',')
            .map(|part| pair(part.trim()))
            .collect::<Option<Self>>()
            .ok_or_else(|| PositionParseError(text.chars().take(80).collect()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn text_form_round_trips() {
        let position: Position = "0:118,3:97".parse().unwrap();
        assert_eq!(position.to_string(), "0:118,3:97");
        assert_eq!(position.iter().last(), Some((Partition(3), Offset(97))));
    }

    #[test]
    fn the_furthest_of_two_wins() {
        let position: Position = "1:5,1:3".parse().unwrap();
        assert_eq!(position.to_string(), "1:5");
    }

    #[test]
    fn anything_else_is_refused() {
        for text in
            ["", "1", "1:", ":1", "a:1", "1:-1", "1:1,", "1:1;2:2", "1:99999999999999999999999"]
        {
            assert!(text.parse::<Position>().is_err(), "{text}");
        }
    }
}
