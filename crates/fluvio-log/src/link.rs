//! A connection to the leader of a partition, on which every request has a time limit.

use std::time::Duration;

use fluvio_protocol::api::Request;
use fluvio_socket::{AsyncResponse, ClientConfig, MultiplexerSocket, VersionedSerialSocket};
use futures_util::StreamExt;
use tokio::time::{Instant, timeout};

use crate::{Cluster, ClusterError, prompt, tls};

/// The most time to connect.
const CONNECT_TIME: Duration = Duration::from_secs(5);
/// The most time for an answer, besides what the request itself allows the server.
const ANSWER_TIME: Duration = Duration::from_secs(5);
/// Answers to a subscription that may wait here. More never come while the server waits for an acknowledgement of each:
/// the answers to other requests would wait behind them.
const ANSWERS: usize = 4;

/// Connections to the leader of one partition, made when they are needed.
pub(crate) struct Link {
    cluster: Cluster,
    topic: String,
    partition: u32,
    socket: Option<(VersionedSerialSocket, String)>,
    /// What the controller said before this is not believed any more.
    since: Instant,
}

impl Link {
    pub(crate) fn new(cluster: Cluster, topic: String, partition: u32) -> Self {
        Self { cluster, topic, partition, socket: None, since: Instant::now() }
    }

    pub(crate) fn topic(&self) -> &str {
        &self.topic
    }

    pub(crate) fn partition(&self) -> u32 {
        self.partition
    }

    /// Where the leader is that has answered last.
    pub(crate) fn address(&self) -> Option<&str> {
        self.socket.as_ref().map(|(_, address)| &**address)
    }

    /// Sends a request to the leader and waits for the answer. After any error the next call asks again
    /// who leads, and connects anew.
    ///
    /// A call that is dropped on the way leaves a connection that is still in order: the late answer is
    /// recognised by its number and passed over.
    pub(crate) async fn call<R>(
        &mut self,
        request: R,
        allowed: Duration,
    ) -> Result<R::Response, ClusterError>
    where
        R: Request + Send + Sync,
    {
        self.connected().await?;
        self.call_again(request, allowed).await
    }

    /// As [`Link::call`], but over the connection of the last call and no other: whoever answers is who has answered
    /// that one, and has not been started anew meanwhile.
    pub(crate) async fn call_again<R>(
        &mut self,
        request: R,
        allowed: Duration,
    ) -> Result<R::Response, ClusterError>
    where
        R: Request + Send + Sync,
    {
        let Some((socket, _)) = &self.socket else {
            return Err(self.refused("the connection is closed"));
        };
        let problem = match timeout(allowed + ANSWER_TIME, socket.send_receive(request)).await {
            Ok(Ok(answer)) => return Ok(answer),
            Ok(Err(error)) => tls::describe(&error),
            Err(_) => tls::explain_silence(allowed + ANSWER_TIME, false),
        };
        Err(self.lost(problem))
    }

    /// Sends a request that is answered again and again; see [`Link::answer`].
    pub(crate) async fn subscribe<R>(
        &mut self,
        request: R,
    ) -> Result<AsyncResponse<R>, ClusterError>
    where
        R: Request + Send + Sync,
    {
        let (socket, _) = self.connected().await?;
        let request = socket.new_request(request, socket.lookup_version::<R>());
        let problem = match timeout(ANSWER_TIME, socket.create_stream(request, ANSWERS)).await {
            Ok(Ok(answers)) => return Ok(answers),
            Ok(Err(error)) => tls::describe(&error),
            Err(_) => tls::explain_silence(ANSWER_TIME, false),
        };
        Err(self.lost(problem))
    }

    /// The next answer, however long it takes. May be dropped on the way without harm.
    pub(crate) async fn answer<R: Request>(
        &mut self,
        answers: &mut AsyncResponse<R>,
    ) -> Result<R::Response, ClusterError> {
        match answers.next().await {
            Some(Ok(answer)) => Ok(answer),
            Some(Err(error)) => Err(self.refused(tls::describe(&error))),
            None => Err(self.refused("the connection is closed")),
        }
    }

    /// Gives up the connection, and what is subscribed to over it. Nothing is wrong with the leader.
    pub(crate) fn disconnect(&mut self) {
        self.socket = None;
    }

    /// The leader that has answered last does not answer in order any more.
    fn lost(&mut self, problem: String) -> ClusterError {
        let address = self.address().unwrap_or_default().to_owned();
        self.distrust();
        ClusterError::Spu { address, problem }
    }

    /// The leader has said that it is not, or cannot do its work.
    pub(crate) fn distrust(&mut self) {
        self.socket = None;
        self.since = Instant::now();
    }

    /// An error of this partition, which the SPU has told.
    pub(crate) fn refused(&mut self, problem: impl Into<String>) -> ClusterError {
        self.distrust();
        let (topic, partition) = (self.topic.clone(), self.partition);
        ClusterError::Refused { topic, partition, problem: problem.into() }
    }

    async fn connected(&mut self) -> Result<&(VersionedSerialSocket, String), ClusterError> {
        if self.socket.as_ref().is_none_or(|(socket, _)| socket.is_stale()) {
            self.socket = None;
            let asked = self.cluster.leader(&self.topic, self.partition, self.since).await;
            // An answer without a leader is not believed for longer than any other.
            let leader = asked.inspect_err(|_| self.since = Instant::now())?;
            let config =
                ClientConfig::new(&leader.address, self.cluster.connector().clone(), false);
            let mut config = config.with_prefix_sni_domain(&leader.spu);
            config.set_client_id("topline");
            let problem = match timeout(CONNECT_TIME, prompt::connect(config)).await {
                Ok(Ok(connected)) => {
                    let (socket, config, versions) = connected.split();
                    let socket = MultiplexerSocket::shared(socket);
                    let socket = VersionedSerialSocket::new(socket, config, versions);
                    return Ok(self.socket.insert((socket, leader.address)));
                }
                Ok(Err(error)) => tls::explain(&error, self.cluster.has_tls()),
                Err(_) => tls::explain_silence(CONNECT_TIME, self.cluster.has_tls()),
            };
            self.since = Instant::now();
            return Err(ClusterError::Spu { address: leader.address, problem });
        }
        Ok(self.socket.as_ref().expect("looked at above"))
    }
}
