//! The listeners of a role.

use std::{io, net::SocketAddr, num::NonZeroUsize};

use anyhow::{Context, anyhow};
use clap::Args;
use http_server::{ListenerConfig, Readiness, RouteTable, Routes, admin_routes};
use telemetry::Metrics;
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;

use crate::serve::bind;

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
    /// Address of the admin listener: metrics, health, readiness
    #[arg(
        long,
        env = "TOPLINE_ADMIN_LISTEN",
        default_value = "127.0.0.1:9090",
        value_name = "ADDRESS"
    )]
    pub(crate) admin_listen: SocketAddr,
}

/// A listener that serves.
#[derive(Debug)]
pub(crate) struct Listener {
    pub(crate) address: SocketAddr,
    name: &'static str,
    task: JoinHandle<io::Result<()>>,
    stop: CancellationToken,
}

impl Listener {
    /// # Errors
    /// If the address cannot be had.
    pub(crate) fn public(
        args: &PublicArgs,
        routes: RouteTable,
        metrics: &Metrics,
    ) -> anyhow::Result<Self> {
        Self::start("public", args.listen, "--listen", args.listener.clone(), routes, metrics)
    }

    /// # Errors
    /// If the address cannot be had.
    pub(crate) fn admin(
        args: &AdminArgs,
        readiness: Readiness,
        more: Option<Routes>,
        metrics: &Metrics,
    ) -> anyhow::Result<Self> {
        let routes =
            RouteTable::new(&metrics.http).with(admin_routes(metrics.registry.clone(), readiness));
        let routes = more.into_iter().fold(routes, RouteTable::with);
        let config = ListenerConfig { threads: NonZeroUsize::new(1), ..ListenerConfig::default() };
        Self::start("admin", args.admin_listen, "--admin-listen", config, routes, metrics)
    }

    fn start(
        name: &'static str,
        address: SocketAddr,
        flag: &str,
        config: ListenerConfig,
        routes: RouteTable,
        metrics: &Metrics,
    ) -> anyhow::Result<Self> {
        let listener = bind(address, flag)?;
        let address = listener.local_addr()?;
        let stop = CancellationToken::new();
        let metrics = metrics.http.listener(name);
        let task =
            tokio::spawn(http_server::serve(listener, routes, config, metrics, stop.clone()));
        Ok(Self { address, name, task, stop })
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
