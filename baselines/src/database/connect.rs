//! Connections.

use std::time::Duration;

use tokio::task::JoinHandle;
use tokio_postgres::{Client, Config, Error, NoTls};

/// How long anything may take that the server is asked for.
const STATEMENT_TIMEOUT: &str = "-c statement_timeout=10s -c lock_timeout=10s";

/// A connection, and the task that drives it and ends with it.
#[derive(Debug)]
pub struct Connected {
    /// What statements are sent by.
    pub client: Client,
    /// Resolves when the connection is gone.
    pub gone: JoinHandle<()>,
}

/// Connects once.
///
/// # Errors
/// If the server cannot be reached, or does not let this user in.
pub async fn connect(config: &Config) -> Result<Connected, Error> {
    let mut config = config.clone();
    config
        .application_name("topline-baselines")
        .connect_timeout(Duration::from_secs(5))
        .options(STATEMENT_TIMEOUT);
    let (client, connection) = config.connect(NoTls).await?;
    let gone = tokio::spawn(async move {
        if let Err(error) = connection.await {
            tracing::warn!(%error, "a connection to the database has broken");
        }
    });
    Ok(Connected { client, gone })
}

/// Makes the tables where there are none.
///
/// # Errors
/// If the server cannot be reached, or this user may not.
pub async fn create_schema(config: &Config) -> Result<(), Error> {
    let mut connected = connect(config).await?;
    let transaction = connected.client.transaction().await?;
    transaction.batch_execute(include_str!("schema.sql")).await?;
    transaction.commit().await
}
