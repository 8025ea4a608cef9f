//! What the two programs share: a listener, logs, an orderly end.

use std::{net::SocketAddr, process::ExitCode};

use anyhow::Context;
use clap::Args;
use http_server::{ListenerConfig, Readiness, RouteTable, Routes, admin_routes};
use telemetry::{LogFormat, Metrics};
use tokio::{
    net::{TcpListener, TcpSocket},
    signal::unix::{SignalKind, signal},
};
use tokio_util::sync::CancellationToken;

/// Connections that may wait to be accepted.
const BACKLOG: u32 = 4096;

/// Settings that the programs share.
#[derive(Debug, Clone, Args)]
pub struct ServerArgs {
    /// Address to listen on
    #[arg(long, default_value = "127.0.0.1:8080", value_name = "ADDRESS")]
    pub listen: SocketAddr,

    /// Settings of the listener.
    #[command(flatten)]
    pub listener: ListenerConfig,

    /// What is logged: a level, or levels by module
    #[arg(long, env = telemetry::LOG_ENV, default_value = "info,lapin=error")]
    pub log: String,
}

/// Runs a program to its end, and prints why if it fails.
pub fn run(
    name: &str,
    args: &ServerArgs,
    serve: impl Future<Output = anyhow::Result<()>>,
) -> ExitCode {
    let outcome = telemetry::init_tracing(LogFormat::Text, &args.log)
        .map_err(Into::into)
        .and_then(|()| {
            let mut runtime = tokio::runtime::Builder::new_multi_thread();
            runtime.enable_all().build().context("cannot start the runtime")
        })
        .and_then(|runtime| runtime.block_on(serve));
    match outcome {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("{name}: {error:#}");
            ExitCode::FAILURE
        }
    }
}

/// Serves `routes`, and `/healthz`, `/readyz` and `/metrics` beside them, until Ctrl-C or SIGTERM.
///
/// # Errors
/// If the address cannot be had.
pub async fn serve(
    args: &ServerArgs,
    routes: Routes,
    readiness: Readiness,
    metrics: &Metrics,
) -> anyhow::Result<()> {
    let listener = bind(args.listen)?;
    tracing::info!("serving on http://{}", listener.local_addr()?);
    let table = RouteTable::new(&metrics.http)
        .with(routes)
        .with(admin_routes(metrics.registry.clone(), readiness));
    let stop = CancellationToken::new();
    let stopper = stop.clone().drop_guard();
    tokio::spawn(async move {
        terminated().await;
        drop(stopper);
    });
    let metrics = metrics.http.listener("public");
    http_server::serve(listener, table, args.listener.clone(), metrics, stop).await?;
    Ok(())
}

fn bind(address: SocketAddr) -> anyhow::Result<TcpListener> {
    let socket = if address.is_ipv4() { TcpSocket::new_v4() } else { TcpSocket::new_v6() };
    socket
        .and_then(|socket| {
            socket.set_reuseaddr(true)?;
            socket.bind(address)?;
            socket.listen(BACKLOG)
        })
        .with_context(|| format!("cannot listen on {address}; choose another with --listen"))
}

/// Resolves at Ctrl-C or SIGTERM.
async fn terminated() {
    let Ok(mut terminate) = signal(SignalKind::terminate()) else {
        let _asked = tokio::signal::ctrl_c().await;
        return;
    };
    tokio::select! {
        _ = tokio::signal::ctrl_c() => {}
        _ = terminate.recv() => {}
    }
}
