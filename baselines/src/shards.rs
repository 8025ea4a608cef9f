//! Stores are spread over shards as Topline spreads them over partitions.

use model::PartitionCount;

/// Reads a number of shards.
pub(crate) fn parse_shards(text: &str) -> Result<PartitionCount, String> {
    let count = text.parse().map_err(|_| format!("'{text}' is not a number"))?;
    PartitionCount::new(count).map_err(|error| error.to_string())
}
