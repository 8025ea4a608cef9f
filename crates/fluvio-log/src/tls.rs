//! The files of the TLS settings. They are read once, and looked at before they are used: what the lower crates
//! say of a bad one does not name it, and one without a certificate they take.

use std::{
    fs,
    path::{Path, PathBuf},
};

use fluvio::config::{TlsCerts, TlsPolicy};
use rustls_pki_types::{
    CertificateDer, PrivateKeyDer, ServerName,
    pem::{self, PemObject},
};

use crate::ClusterError;

/// How to prove who is who to a cluster with TLS.
#[derive(Debug, Clone)]
pub struct Tls {
    /// What the certificates of the cluster are for: the controller's for this domain, that of an SPU for
    /// its name below it, such as `custom-spu-5001.DOMAIN`.
    pub domain: String,
    /// The file with the certificate of the authority that has signed those of the cluster.
    pub authority: PathBuf,
    /// The file with our own certificate.
    pub certificate: PathBuf,
    /// The file with its key.
    pub key: PathBuf,
}

impl Tls {
    /// Reads the files.
    pub(crate) fn policy(&self) -> Result<TlsPolicy, ClusterError> {
        let Self { domain, authority, certificate, key } = self;
        if ServerName::try_from(domain.as_str()).is_err() {
            let problem = format!("'{domain}' is not the name of a domain (--fluvio-tls-domain)");
            return Err(ClusterError::Settings(problem));
        }
        Ok(TlsPolicy::from(TlsCerts {
            domain: domain.clone(),
            ca_cert: read::<CertificateDer<'_>>(authority, "--fluvio-tls-ca", "certificate")?,
            cert: read::<CertificateDer<'_>>(certificate, "--fluvio-tls-cert", "certificate")?,
            key: read::<PrivateKeyDer<'_>>(key, "--fluvio-tls-key", "private key")?,
        }))
    }
}

/// The text of a file in which all is well formed, and which has at least one of what it should have.
fn read<T: PemObject>(
    file: &Path,
    flag: &'static str,
    what: &'static str,
) -> Result<String, ClusterError> {
    let wrong = |problem| ClusterError::TlsFile { file: file.to_owned(), flag, problem };
    let text = fs::read_to_string(file).map_err(|error| wrong(error.to_string()))?;
    let found: Result<Vec<T>, pem::Error> = T::pem_slice_iter(text.as_bytes()).collect();
    match found {
        Ok(found) if found.is_empty() => Err(wrong(format!("there is no {what} in PEM in it"))),
        Ok(_) => Ok(text),
        Err(error) => Err(wrong(format!("it is not well formed PEM: {error:?}"))),
    }
}
