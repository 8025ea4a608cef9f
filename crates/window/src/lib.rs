//! The aggregation core: event-time windows and exact top lists over one partition.
//!
//! Pure: no clock, no I/O, no randomness that shows, no async. The same batches in the same order
//! give the same updates, whatever the boundaries of reading and the points of restart.

mod aggregator;
mod bit_set;
mod chunks;
mod config;
mod dedup;
mod entities;
mod final_day;
mod flush;
mod index;
mod lists;
mod pairs;
mod panes;
mod prefetch;
mod radix;
mod rank;
mod records;
mod settings;
mod slots;
mod snapshot;
mod update;

pub use aggregator::{Aggregator, Applied, Stats};
pub use config::{Config, ConfigError, Layout, PANE, UnknownWindow, WindowKind};
pub use final_day::{Entry, FinalDay, FinalIndex};
pub use settings::{Settings, SettingsError};
pub use snapshot::{Restore, RestoreError, Snapshot};
pub use update::{Entity, EntityUpdate, Progress, SideOutput, Sink};
