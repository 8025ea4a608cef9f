//! A way to a server that can be cut.

use std::{
    net::SocketAddr,
    sync::{Arc, Mutex},
};

use tokio::{
    io::copy_bidirectional,
    net::{TcpListener, TcpStream},
    task::JoinSet,
};

/// Passes connections on. Clones share them.
#[derive(Debug, Clone)]
pub(crate) struct Proxy {
    pub(crate) address: SocketAddr,
    connections: Arc<Mutex<JoinSet<()>>>,
}

impl Proxy {
    /// Passes connections on to `to`, as HOST:PORT.
    pub(crate) async fn start(to: &str) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port is free");
        let address = listener.local_addr().expect("it is bound");
        let connections = Arc::new(Mutex::new(JoinSet::new()));
        let (to, accepted) = (to.to_owned(), Arc::clone(&connections));
        tokio::spawn(async move {
            while let Ok((mut from, _)) = listener.accept().await {
                let to = to.clone();
                accepted.lock().expect("no panic").spawn(async move {
                    if let Ok(mut to) = TcpStream::connect(to).await {
                        // How it ends is of no interest.
                        let _ = copy_bidirectional(&mut from, &mut to).await;
                    }
                });
            }
        });
        Self { address, connections }
    }

    /// Cuts the connections there are.
    pub(crate) fn cut(&self) {
        self.connections.lock().expect("no panic").abort_all();
    }
}
