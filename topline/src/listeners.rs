//! The listeners of a process.

use std::{io, net::SocketAddr, num::NonZeroUsize};

use anyhow::{Context, anyhow};
use clap::Args;
use http_server::{ListenerConfig, Readiness, RouteTable, Routes, admin_routes};
use telemetry::Metrics;
use tokio::{
    net::{TcpListener, TcpSocket},
    task::JoinHandle,
};
use tokio_util::sync::CancellationToken;

/// The public listener.
#[derive(Debug, Clone, Args)]
pub(crate) struct PublicArgs {
    /// Address of the public listener
    #[arg(long, env = "TOPLINE_LISTEN", default_value = "127.0.0.1:8080", value_name = "ADDRESS")]
    pub(crate) listen: SocketAddr,
    #[command(flatten)]
    pub(crate) listener: ListenerConfig,
}

/// The admin listener.
#[derive(Debug, Clone, Args)]
pub(crate) struct AdminArgs {
    /// Address of the admin listener: metrics, health, readiness; of a job, side outputs too
    #[arg(
        long,
        env = "TOPLINE_ADMIN_LISTEN",
        default_value = "127.0.0.1:9090",
        value_name = "ADDRESS"
    )]
    pub(crate) admin_listen: SocketAddr,
}

/// Connections that may wait to be accepted. The system has a limit of its own (`somaxconn`).
const BACKLOG: u32 = 4096;

/// A listener that has its address, and answers nobody yet.
#[derive(Debug)]
pub(crate) struct Bound {
    pub(crate) address: SocketAddr,
    name: &'static str,
    listener: TcpListener,
    config: ListenerConfig,
}

impl Bound {
    /// # Errors
    /// If the address cannot be had.
    pub(crate) fn public(args: &PublicArgs) -> anyhow::Result<Self> {
        Self::new("public", args.listen, "--listen", args.listener.clone())
    }

    /// # Errors
    /// If the address cannot be had.
    pub(crate) fn admin(args: &AdminArgs) -> anyhow::Result<Self> {
        let config = ListenerConfig { threads: NonZeroUsize::new(1), ..ListenerConfig::default() };
        Self::new("admin", args.admin_listen, "--admin-listen", config)
    }

    fn new(
        name: &'static str,
        address: SocketAddr,
        flag: &str,
        config: ListenerConfig,
    ) -> anyhow::Result<Self> {
        config.tls.check()?;
        let listener = bind(address).with_context(|| {
            format!(
                "cannot listen on {address}; choose another address with {flag}, such as {flag} \
                 {}:0 for any free port",
                address.ip()
            )
        })?;
        Ok(Self { address: listener.local_addr()?, name, listener, config })
    }

    /// Answers from now on.
    pub(crate) fn serve(self, routes: RouteTable, metrics: &Metrics) -> Listener {
        let Self { address, name, listener, config } = self;
        let stop = CancellationToken::new();
        let metrics = metrics.http.listener(name);
        let scheme = if config.tls.are_given() { "https" } else { "http" };
        let task =
            tokio::spawn(http_server::serve(listener, routes, config, metrics, stop.clone()));
        Listener { address, scheme, name, task, stop }
    }

    /// Answers what every admin listener does, and `more`.
    pub(crate) fn serve_admin(
        self,
        readiness: Readiness,
        more: Option<Routes>,
        metrics: &Metrics,
    ) -> Listener {
        let routes =
            RouteTable::new(&metrics.http).with(admin_routes(metrics.registry.clone(), readiness));
        self.serve(more.into_iter().fold(routes, RouteTable::with), metrics)
    }
}

fn bind(address: SocketAddr) -> io::Result<TcpListener> {
    let socket = if address.is_ipv4() { TcpSocket::new_v4() } else { TcpSocket::new_v6() }?;
    socket.set_reuseaddr(true)?;
    socket.bind(address)?;
    socket.listen(BACKLOG)
}

/// A listener that serves.
#[derive(Debug)]
pub(crate) struct Listener {
    pub(crate) address: SocketAddr,
    scheme: &'static str,
    name: &'static str,
    task: JoinHandle<io::Result<()>>,
    stop: CancellationToken,
}

impl Listener {
    /// Where it answers, as clients write it: with `https` if it has a certificate.
    pub(crate) fn url(&self) -> String {
        format!("{}://{}", self.scheme, self.address)
    }

    /// Resolves if it ends by itself; why.
    pub(crate) async fn failed(&mut self) -> anyhow::Error {
        match (&mut self.task).await {
            Ok(Ok(())) => anyhow!("the {} listener has ended by itself", self.name),
            Ok(Err(error)) => anyhow!(error).context(format!("the {} listener", self.name)),
            Err(error) => error.into(),
        }
    }

    /// Takes no more connections, and answers what is at hand.
    pub(crate) async fn stop(self) -> anyhow::Result<()> {
        self.stop.cancel();
        self.task.await?.with_context(|| format!("the {} listener", self.name))
    }
}
