//! Random operations against the simplest model there is: a vector of payloads.

use std::{path::Path, sync::Arc};

use bytes::Bytes;
use log::{Bounds, EmbeddedConfig, EmbeddedLog, Log, MemoryLog, ReadError, Record, Retention};
use model::{Offset, Partition, PartitionCount};
use proptest::prelude::*;

const PARTITIONS: u32 = 2;

#[derive(Debug, Clone)]
enum Operation {
    /// Appends records of these lengths, all at once.
    Append {
        partition: u32,
        lens: Vec<usize>,
    },
    /// Reads; `from` is relative to the earliest offset less two, so that some reads are refused.
    Read {
        partition: u32,
        from: u64,
        max_bytes: usize,
    },
    Trim {
        partition: u32,
        not_past: u64,
        max_bytes: u64,
    },
    /// Closes and opens the log, if it is a durable one.
    Reopen,
}

fn operation() -> impl Strategy<Value = Operation> {
    let partition = 0..PARTITIONS;
    let len = prop_oneof![4 => 0..200_usize, 1 => 3900..4200_usize, 1 => 0..40_000_usize];
    let lens = proptest::collection::vec(len, 1..12);
    prop_oneof![
        4 => (partition.clone(), lens)
            .prop_map(|(partition, lens)| Operation::Append { partition, lens }),
        4 => (partition.clone(), 0..60_u64, 0..20_000_usize)
            .prop_map(|(partition, from, max_bytes)| Operation::Read { partition, from, max_bytes }),
        2 => (partition, 0..80_u64, 0..60_000_u64).prop_map(|(partition, not_past, max_bytes)| {
            Operation::Trim { partition, not_past, max_bytes }
        }),
        1 => Just(Operation::Reopen),
    ]
}

/// One partition of the model: every payload ever appended, and how many are gone.
#[derive(Debug, Default)]
struct Model {
    payloads: Vec<Bytes>,
    earliest: usize,
}

impl Model {
    fn bounds(&self) -> Bounds {
        let next = Offset(self.payloads.len() as u64);
        Bounds { earliest: Offset(self.earliest as u64), next }
    }

    fn read(
        &self,
        partition: Partition,
        from: Offset,
        max: usize,
    ) -> Result<Vec<Record>, ReadError> {
        let Bounds { earliest, next } = self.bounds();
        if from < earliest {
            return Err(ReadError::Trimmed { partition, from, earliest });
        }
        if from > next {
            return Err(ReadError::OutOfRange { partition, from, next });
        }
        let mut records = Vec::new();
        let mut bytes = 0;
        for offset in from.0..next.0 {
            let payload = self.payloads[offset as usize].clone();
            bytes += payload.len();
            if bytes > max && !records.is_empty() {
                break;
            }
            records.push(Record { offset: Offset(offset), payload });
        }
        Ok(records)
    }

    fn trim(&mut self, not_past: u64, max_bytes: u64) {
        let held = |payloads: &[Bytes]| payloads.iter().map(|p| p.len() as u64).sum::<u64>();
        while (self.earliest as u64) < not_past.min(self.payloads.len() as u64)
            && held(&self.payloads[self.earliest..]) > max_bytes
        {
            self.earliest += 1;
        }
    }
}

/// A log under test, and how to open it again.
trait Subject {
    fn log(&self) -> Arc<dyn Log>;
    async fn reopen(&mut self);
}

impl Subject for Arc<MemoryLog> {
    fn log(&self) -> Arc<dyn Log> {
        self.clone()
    }

    async fn reopen(&mut self) {}
}

struct Embedded<'a> {
    directory: &'a Path,
    log: Arc<EmbeddedLog>,
}

impl<'a> Embedded<'a> {
    fn new(directory: &'a Path) -> Self {
        Self { directory, log: Self::open(directory) }
    }

    fn open(directory: &Path) -> Arc<EmbeddedLog> {
        let partitions = PartitionCount::new(PARTITIONS).expect("valid");
        let config = EmbeddedConfig::new(directory, partitions);
        EmbeddedLog::open(EmbeddedConfig { tail_bytes: 10_000, ..config }).expect("opened")
    }
}

impl Subject for Embedded<'_> {
    fn log(&self) -> Arc<dyn Log> {
        self.log.clone()
    }

    async fn reopen(&mut self) {
        self.log.shutdown().await.expect("shut down in order");
        self.log = Self::open(self.directory);
    }
}

async fn run(mut subject: impl Subject, operations: &[Operation]) {
    let mut models: Vec<Model> = (0..PARTITIONS).map(|_| Model::default()).collect();
    for (step, operation) in operations.iter().enumerate() {
        let log = subject.log();
        match operation {
            Operation::Append { partition, lens } => {
                append(&*log, Partition(*partition), &mut models[*partition as usize], lens).await;
            }
            Operation::Read { partition, from, max_bytes } => {
                let model = &models[*partition as usize];
                let from = Offset((model.earliest as u64 + from).saturating_sub(2));
                if from != model.bounds().next {
                    let partition = Partition(*partition);
                    let expected = model.read(partition, from, *max_bytes);
                    let read = log.read(partition, from, *max_bytes).await;
                    assert!(read == expected, "step {step}: {operation:?}");
                }
            }
            Operation::Trim { partition, not_past, max_bytes } => {
                let model = &mut models[*partition as usize];
                model.trim(*not_past, *max_bytes);
                let retention = Retention {
                    not_past: Offset(*not_past),
                    older_than: None,
                    max_bytes: Some(*max_bytes),
                };
                let bounds = log.trim(Partition(*partition), retention).await;
                assert_eq!(bounds, Ok(model.bounds()), "step {step}: {operation:?}");
            }
            Operation::Reopen => subject.reopen().await,
        }
        for (partition, model) in (0..).map(Partition).zip(&models) {
            assert_eq!(subject.log().bounds(partition), model.bounds(), "after step {step}");
        }
    }
}

async fn append(log: &dyn Log, partition: Partition, model: &mut Model, lens: &[usize]) {
    let mut appends = Vec::new();
    for len in lens {
        let tag = model.payloads.len() as u8;
        let payload = Bytes::from(vec![tag; *len]);
        model.payloads.push(payload.clone());
        appends.push((model.payloads.len() - 1, log.append(partition, payload)));
    }
    for (offset, append) in appends {
        assert_eq!(append.await, Ok(Offset(offset as u64)));
    }
}

fn block_on(future: impl Future<Output = ()>) {
    let runtime = tokio::runtime::Builder::new_current_thread().build().expect("a runtime");
    runtime.block_on(future);
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(48))]

    #[test]
    fn memory(operations in proptest::collection::vec(operation(), 1..60)) {
        let log = MemoryLog::new(PartitionCount::new(PARTITIONS).expect("valid"));
        block_on(run(log, &operations));
    }

    #[test]
    fn embedded(operations in proptest::collection::vec(operation(), 1..60)) {
        let directory = tempfile::tempdir().expect("a temporary directory");
        block_on(async { run(Embedded::new(directory.path()), &operations).await });
    }
}
