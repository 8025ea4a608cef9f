//! What the roles have in common: their listeners, and how they start and end.

use std::{
    future::{Future, pending},
    time::Duration,
};

use http_server::{Condition, Readiness, RouteTable, Routes};
use telemetry::Metrics;

use crate::{
    listeners::{AdminArgs, Bound, Listener, PublicArgs},
    stream::Stream,
    termination::Termination,
};

/// How often what is read off, not told, is looked at: sizes, readiness.
const LOOK_INTERVAL: Duration = Duration::from_millis(200);

/// What every role has: an admin listener that says when it is ready, and mostly a public one.
pub(crate) struct Role {
    pub(crate) metrics: Metrics,
    ready: Condition,
    pub(crate) admin: Listener,
    public: Option<Listener>,
    termination: Termination,
}

impl Role {
    /// Starts the admin listener; the role is not ready because of `condition`, its name and the reason.
    pub(crate) fn start(
        args: &AdminArgs,
        metrics: Metrics,
        condition: (&'static str, &'static str),
        more: Option<Routes>,
        termination: &Termination,
    ) -> anyhow::Result<Self> {
        let readiness = Readiness::new();
        let ready = readiness.condition(condition.0, condition.1);
        let admin = Bound::admin(args)?.serve_admin(readiness, more, &metrics);
        Ok(Self { metrics, ready, admin, public: None, termination: termination.clone() })
    }

    /// Starts the public listener.
    pub(crate) fn listen(&mut self, args: &PublicArgs, routes: Routes) -> anyhow::Result<()> {
        let routes = RouteTable::new(&self.metrics.http).with(routes);
        let public = Bound::public(args)?.serve(routes, &self.metrics);
        let public = self.public.insert(public);
        tracing::info!("serving on {}, admin on {}", public.url(), self.admin.url());
        Ok(())
    }

    /// Serves until Ctrl-C or SIGTERM, and calls `look` all the while; then answers what is at hand, and takes
    /// nothing more.
    ///
    /// # Errors
    /// As soon as `failure` resolves, or a listener fails.
    pub(crate) async fn serve(
        &mut self,
        failure: impl Future<Output = anyhow::Error>,
        mut look: impl FnMut(&Metrics, &Condition),
    ) -> anyhow::Result<()> {
        let Self { metrics, ready, admin, public, termination } = self;
        let looking = async {
            let mut ticks = tokio::time::interval(LOOK_INTERVAL);
            loop {
                ticks.tick().await;
                look(metrics, ready);
            }
        };
        let public_failure = async {
            match public {
                Some(public) => public.failed().await,
                None => pending().await,
            }
        };
        tokio::select! {
            () = termination.asked(1) => {}
            error = failure => return Err(error),
            error = public_failure => return Err(error),
            error = admin.failed() => return Err(error),
            () = looking => {}
        }
        ready.not_ready("stopping");
        tracing::info!("stopping: answering what is at hand");
        match public.take() {
            Some(public) => public.stop().await,
            None => Ok(()),
        }
    }

    /// Closes the streams, when nobody uses them any more, and ends.
    pub(crate) async fn end(self, streams: &[&Stream]) -> anyhow::Result<()> {
        for stream in streams {
            stream.shutdown().await?;
        }
        self.admin.stop().await?;
        tracing::info!("stopped");
        Ok(())
    }
}
