//! The files of the TLS settings. They are read once, and looked at before they are used: what the lower crates
//! say of a bad one does not name it, and one without a certificate they take.

use std::{
    fs, io,
    path::{Path, PathBuf},
    time::Duration,
};

use fluvio::config::{TlsCerts, TlsPolicy};
use fluvio_socket::SocketError;
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

/// Why no connection was made, and if that looks like a matter of TLS, which settings to look at.
pub(crate) fn explain(error: &SocketError, tls: bool) -> String {
    let problem = describe(error);
    let see = if problem.starts_with("invalid peer certificate") {
        "; see --fluvio-tls-ca and --fluvio-tls-domain"
    } else if problem.starts_with("received fatal alert") {
        "; the server does not take our certificate, see --fluvio-tls-cert"
    } else if !tls && ends_early(error) {
        "; if it speaks TLS only, see --fluvio-tls-domain"
    } else {
        ""
    };
    problem + see
}

/// The same if there was no answer.
pub(crate) fn explain_silence(limit: Duration, tls: bool) -> String {
    let see = if tls { "; does it speak TLS there? see --fluvio-tls-domain" } else { "" };
    format!("no answer within {} s{see}", limit.as_secs())
}

/// An error without the names of the layers it went through.
pub(crate) fn describe(error: &SocketError) -> String {
    match error {
        SocketError::Io { source, .. } => source.to_string(),
        SocketError::SocketClosed | SocketError::SocketStale => error.to_string(),
    }
}

/// Whether the server has hung up, or answered something else than was asked for.
fn ends_early(error: &SocketError) -> bool {
    use io::ErrorKind::{ConnectionReset, Other, UnexpectedEof};
    matches!(error, SocketError::Io { source, .. }
        if matches!(source.kind(), ConnectionReset | Other | UnexpectedEof))
}

#[cfg(test)]
mod tests {
    use std::fs;

    use fluvio_testing::Authority;

    use super::*;
    use crate::Cluster;

    /// What is said of settings that differ from good ones.
    fn refused(change: impl FnOnce(&Path, &mut Tls)) -> String {
        let directory = tempfile::tempdir().unwrap();
        let authority = Authority::new(directory.path(), "authority");
        let client = authority.sign("client", &[]);
        let mut tls = Tls {
            domain: "topline.test".to_owned(),
            authority: authority.certificate.clone(),
            certificate: client.certificate,
            key: client.key,
        };
        assert!(Cluster::new("127.0.0.1:1", Some(&tls)).is_ok());
        change(directory.path(), &mut tls);
        Cluster::new("127.0.0.1:1", Some(&tls)).unwrap_err().to_string()
    }

    #[test]
    fn a_file_that_is_not_there_is_named() {
        let said = refused(|directory, tls| tls.authority = directory.join("nowhere.pem"));
        assert!(said.contains("nowhere.pem: No such file"), "{said}");
        assert!(said.ends_with("(--fluvio-tls-ca)"), "{said}");
    }

    #[test]
    fn a_file_of_something_else_is_named() {
        let said = refused(|_, tls| tls.authority = tls.key.clone());
        assert!(said.contains("client.key.pem: there is no certificate in PEM"), "{said}");
        let said = refused(|_, tls| tls.key = tls.certificate.clone());
        assert!(said.contains("client.certificate.pem: there is no private key"), "{said}");
        assert!(said.ends_with("(--fluvio-tls-key)"), "{said}");
        let said = refused(|_, tls| fs::write(&tls.certificate, b"\xff\xfe").unwrap());
        assert!(said.contains("client.certificate.pem: stream did not contain"), "{said}");
    }

    #[test]
    fn a_damaged_file_is_named() {
        for file in [|tls: &Tls| tls.key.clone(), |tls: &Tls| tls.certificate.clone()] {
            let said = refused(|_, tls| {
                let text = fs::read_to_string(file(tls)).unwrap();
                let (first, rest) = text.split_once('\n').unwrap();
                fs::write(file(tls), format!("{first}\n!{rest}")).unwrap();
            });
            assert!(said.contains(".pem: it is not well formed PEM"), "{said}");
        }
    }

    #[test]
    fn a_certificate_and_the_key_of_another_do_not_go_together() {
        let said = refused(|directory, tls| {
            tls.key = Authority::new(directory, "other").sign("other", &[]).key;
        });
        assert!(said.contains("the TLS files do not go together"), "{said}");
        assert!(said.contains("KeyMismatch"), "{said}");
    }

    #[test]
    fn a_domain_is_one() {
        let said = refused(|_, tls| tls.domain = "https://topline.test".to_owned());
        assert!(said.contains("'https://topline.test' is not the name of a domain"), "{said}");
    }
}
