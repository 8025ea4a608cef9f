//! The servers, the programs, and what they are compared with.

pub(crate) mod client;
pub(crate) mod deployment;
mod proxy;
pub(crate) mod servers;
pub(crate) mod tally;
pub(crate) mod unique;

pub(crate) use client::Client;
pub(crate) use deployment::{Baseline, Deployment};
pub(crate) use tally::{Sale, Tally};

/// Runs a scenario for each design, in a deployment of its own.
macro_rules! for_each_design {
    ($scenario:path) => {
        #[tokio::test(flavor = "multi_thread")]
        async fn direct_database() {
            if let Some(deployment) = $crate::common::Deployment::direct_database().await {
                $scenario(deployment).await;
            }
        }

        #[tokio::test(flavor = "multi_thread")]
        async fn queue_and_memory() {
            if let Some(deployment) = $crate::common::Deployment::queue_and_memory().await {
                $scenario(deployment).await;
            }
        }
    };
}
pub(crate) use for_each_design;
