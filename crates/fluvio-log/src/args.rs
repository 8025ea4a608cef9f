//! How to reach a cluster, on the command line or in the environment.

use std::path::PathBuf;

use clap::ValueEnum;

use crate::{Cluster, ClusterError, Tls};

/// When an append is acknowledged.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, ValueEnum)]
pub enum Isolation {
    /// When all replicas of the partition have the record; also those that are away now.
    #[default]
    ReadCommitted,
    /// When the leader has it: it is lost if the leader is, before another replica has it too.
    ReadUncommitted,
}

/// Settings of the connection to a Fluvio cluster.
#[derive(Debug, Clone, Default, clap::Args)]
#[command(next_help_heading = "Fluvio")]
pub struct ClusterArgs {
    /// Address of the cluster's controller (SC), as HOST:PORT
    #[arg(long, env = "TOPLINE_FLUVIO", value_name = "HOST:PORT")]
    pub fluvio: Option<String>,

    /// Domain of the cluster's certificates, turns TLS on: the controller's is for DOMAIN, those of the SPUs
    /// for NAME.DOMAIN, such as *.DOMAIN
    #[arg(long, env = "TOPLINE_FLUVIO_TLS_DOMAIN", value_name = "DOMAIN",
        requires_all = ["fluvio", "fluvio_tls_ca", "fluvio_tls_cert", "fluvio_tls_key"])]
    pub fluvio_tls_domain: Option<String>,

    /// File with the certificate of the authority that signed the cluster's, PEM
    #[arg(
        long,
        env = "TOPLINE_FLUVIO_TLS_CA",
        value_name = "FILE",
        requires = "fluvio_tls_domain"
    )]
    pub fluvio_tls_ca: Option<PathBuf>,

    /// File with our own certificate, PEM
    #[arg(
        long,
        env = "TOPLINE_FLUVIO_TLS_CERT",
        value_name = "FILE",
        requires = "fluvio_tls_domain"
    )]
    pub fluvio_tls_cert: Option<PathBuf>,

    /// File with the key of our certificate, PEM
    #[arg(
        long,
        env = "TOPLINE_FLUVIO_TLS_KEY",
        value_name = "FILE",
        requires = "fluvio_tls_domain"
    )]
    pub fluvio_tls_key: Option<PathBuf>,
}

impl ClusterArgs {
    /// The cluster, if one is given.
    ///
    /// # Errors
    /// [`ClusterError::Settings`] if a file of the TLS settings cannot be used.
    pub fn cluster(&self) -> Result<Option<Cluster>, ClusterError> {
        let Some(address) = &self.fluvio else { return Ok(None) };
        Cluster::new(address, self.tls().as_ref()).map(Some)
    }

    /// All four of them, or none: clap sees to that.
    fn tls(&self) -> Option<Tls> {
        Some(Tls {
            domain: self.fluvio_tls_domain.clone()?,
            authority: self.fluvio_tls_ca.clone()?,
            certificate: self.fluvio_tls_cert.clone()?,
            key: self.fluvio_tls_key.clone()?,
        })
    }
}
