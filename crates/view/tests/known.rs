//! Who has sold something is known for good, whatever windows are kept and however the core got there.

mod common;

use std::{sync::Arc, time::Duration};

use model::{
    Batch, CustomerId, ItemId, Line, Offset, Partition, PartitionCount, ProducerId, Purchase,
    Sequence, StoreId, Timestamp,
};
use view::{Format, PartitionWriter, Query, ReadError, Subject, View, ViewConfig};
use window::{Aggregator, Config, SideOutput, WindowKind};

/// No day is kept, so nothing is too late for one.
struct Nothing;

impl SideOutput for Nothing {
    fn late(&mut self, _: Offset, _: u32, purchase: &Purchase) {
        panic!("{purchase:?}");
    }
}

fn sale(sequence: u64, store: u32, minutes: u64) -> Batch {
    let start = Timestamp::from_millis(common::EPOCH).expect("a time");
    let event_time = start.plus(Duration::from_mins(minutes));
    let purchase = Purchase {
        store: StoreId(store),
        customer: CustomerId(1),
        date: event_time.date(),
        event_time,
        key: None,
        lines: vec![Line { item: ItemId(5), quantity: 1 }],
    };
    Batch {
        producer: ProducerId(1),
        first_sequence: Sequence(sequence),
        append_time: start,
        purchases: vec![purchase],
    }
}

/// Store 1 sells, then store 2 four minutes later.
fn state(window: &Config) -> Aggregator {
    let mut state = Aggregator::new(window.clone());
    for (offset, batch) in [sale(0, 1, 0), sale(1, 2, 4)].iter().enumerate() {
        state.apply(Offset(offset as u64), batch, &mut Nothing);
    }
    state
}

#[test]
fn nothing_in_any_window_is_an_empty_list() {
    let window = Config { kinds: vec![WindowKind::Minute1], ..Config::default() };
    let partitions = PartitionCount::new(1).expect("valid");
    let config = ViewConfig { partitions, window: window.clone(), ..common::config() };
    // As after a restart, and as a run that goes on; what the first sold falls out before anything is handed on.
    let flushes: [fn(&mut Aggregator, &mut PartitionWriter); 2] =
        [|state, writer| state.flush_all(writer), |state, writer| state.flush(writer)];
    for flush in flushes {
        let view = View::new(&config, Arc::new(common::Ends::default()));
        let mut writer = view.writer(Partition(0));
        flush(&mut state(&window), &mut writer);
        writer.ready();
        let list = |store| {
            let subject = Subject::Store(StoreId(store));
            let kind = WindowKind::Minute1;
            let query = Query { subject, kind, date: None, k: 10, format: Format::V1 };
            view.list(&query, Timestamp::default()).map(|list| list.entries)
        };
        assert_eq!(list(1), Ok(vec![]));
        assert_eq!(list(2), Ok(vec![(5, 1)]));
        assert_eq!(list(3), Err(ReadError::UnknownStore(StoreId(3))));
    }
}
