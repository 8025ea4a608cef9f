//! Asking for lists.

use std::{
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering::Relaxed},
    },
    time::Duration,
};

use http_server::Condition;
use model::{ItemId, StoreId};
use tokio::sync::watch;
use tokio_postgres::{Client, Config, Error, Statement};

use super::{Connected, connect, ids};
use crate::contract::{Entry, Refusal};

/// How long to wait after a failure before the next attempt to connect.
const BACK_OFF: Duration = Duration::from_millis(500);

const NO_CONNECTION: &str = "there is no connection to the database";

const TOP_ITEMS: &str = "
    SELECT item_id, quantity FROM sold WHERE store_id = $1
    ORDER BY quantity DESC, item_id LIMIT 10";

const TOP_STORES: &str = "
    SELECT store_id, quantity FROM sold WHERE item_id = $1
    ORDER BY quantity DESC, store_id LIMIT 10";

/// A connection that asks for lists. Statements of several requests are sent without waiting for the
/// answers of those before; the server takes them in turn.
#[derive(Debug)]
pub struct Reader {
    client: Client,
    top_items: Statement,
    top_stores: Statement,
}

impl Reader {
    /// Prepares a connection.
    ///
    /// # Errors
    /// If the tables are not those of this release, or the connection breaks.
    pub async fn prepare(client: Client) -> Result<Self, Error> {
        let (top_items, top_stores) =
            tokio::try_join!(client.prepare(TOP_ITEMS), client.prepare(TOP_STORES))?;
        Ok(Self { client, top_items, top_stores })
    }

    async fn top_items(&self, store: StoreId) -> Result<Vec<Entry<ItemId>>, Error> {
        self.top(&self.top_items, ids::of_store(store), ids::to_item).await
    }

    async fn top_stores(&self, item: ItemId) -> Result<Vec<Entry<StoreId>>, Error> {
        self.top(&self.top_stores, ids::of_item(item), ids::to_store).await
    }

    async fn top<Id>(
        &self,
        statement: &Statement,
        of: i64,
        id: impl Fn(i64) -> Id,
    ) -> Result<Vec<Entry<Id>>, Error> {
        let rows = self.client.query(statement, &[&of]).await?;
        rows.iter()
            .map(|row| {
                let count: i64 = row.try_get(1)?;
                Ok(Entry { id: id(row.try_get(0)?), count: count as u64 })
            })
            .collect()
    }
}

/// Some connections that ask for lists; each is made again when it breaks.
#[derive(Debug)]
pub struct Readers {
    readers: Vec<watch::Receiver<Option<Arc<Reader>>>>,
    turn: AtomicUsize,
}

impl Readers {
    /// Opens `count` connections, and keeps them open as long as this lives. Of the conditions that `connected`
    /// gives, each holds while one of them is open.
    pub fn open(config: &Config, count: usize, mut connected: impl FnMut() -> Condition) -> Self {
        let readers = (0..count).map(|_| {
            let (shown, reader) = watch::channel(None);
            tokio::spawn(keep_open(config.clone(), connected(), shown));
            reader
        });
        Self { readers: readers.collect(), turn: AtomicUsize::new(0) }
    }

    /// The best items of a store.
    ///
    /// # Errors
    /// [`Refusal::Unavailable`] if the database cannot be asked.
    pub async fn top_items(&self, store: StoreId) -> Result<Vec<Entry<ItemId>>, Refusal> {
        self.next()?.top_items(store).await.map_err(|error| unavailable(&error))
    }

    /// The best stores for an item.
    ///
    /// # Errors
    /// [`Refusal::Unavailable`] if the database cannot be asked.
    pub async fn top_stores(&self, item: ItemId) -> Result<Vec<Entry<StoreId>>, Refusal> {
        self.next()?.top_stores(item).await.map_err(|error| unavailable(&error))
    }

    /// The next connection in turn that is open.
    fn next(&self) -> Result<Arc<Reader>, Refusal> {
        let turn = self.turn.fetch_add(1, Relaxed);
        let (before, from) = self.readers.split_at(turn % self.readers.len());
        let mut readers = from.iter().chain(before).filter_map(|reader| reader.borrow().clone());
        readers.next().ok_or(Refusal::Unavailable(NO_CONNECTION))
    }
}

fn unavailable(error: &Error) -> Refusal {
    tracing::warn!(%error, "a list cannot be read");
    Refusal::Unavailable("the database has not answered")
}

/// Keeps a connection open until nobody looks at it any more.
async fn keep_open(
    config: Config,
    connected: Condition,
    shown: watch::Sender<Option<Arc<Reader>>>,
) {
    while !shown.is_closed() {
        match open(&config).await {
            Ok((reader, gone)) => {
                shown.send_replace(Some(Arc::new(reader)));
                connected.ready();
                tokio::select! {
                    _ended = gone => {}
                    () = shown.closed() => {}
                }
                shown.send_replace(None);
                connected.not_ready(NO_CONNECTION);
            }
            Err(error) => tracing::warn!(%error, "the database cannot be reached for reading"),
        }
        tokio::time::sleep(BACK_OFF).await;
    }
}

async fn open(config: &Config) -> Result<(Reader, tokio::task::JoinHandle<()>), Error> {
    let Connected { client, gone } = connect(config).await?;
    Ok((Reader::prepare(client).await?, gone))
}
