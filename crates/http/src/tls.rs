//! TLS of a listener: its certificate, and how it is renewed.

use std::{
    fs, io,
    path::{Path, PathBuf},
    sync::{Arc, PoisonError, RwLock},
    time::Duration,
};

use clap::Args;
use tokio::time::MissedTickBehavior;
use tokio_rustls::{
    TlsAcceptor,
    rustls::{
        self, ServerConfig,
        crypto::{CryptoProvider, ring},
        pki_types::{
            CertificateDer, PrivateKeyDer,
            pem::{self, PemObject},
        },
        server::{ClientHello, ResolvesServerCert},
        sign::CertifiedKey,
    },
};

/// How often the files are looked at. Certificates are renewed days before they expire.
const RELOAD_INTERVAL: Duration = Duration::from_secs(30);

/// The flags of the two files, as messages name them.
const CERT: &str = "--tls-cert";
const KEY: &str = "--tls-key";

/// The files of a listener's certificate; without them it speaks plain HTTP.
#[derive(Debug, Clone, Default, Args)]
pub struct TlsFiles {
    /// File with the listener's certificate and those between it and the authority, PEM; turns TLS on.
    /// Both files are read again when they change
    #[arg(long, env = "TOPLINE_TLS_CERT", value_name = "FILE", requires = "tls_key")]
    pub tls_cert: Option<PathBuf>,

    /// File with the key of the certificate, PEM
    #[arg(long, env = "TOPLINE_TLS_KEY", value_name = "FILE", requires = "tls_cert")]
    pub tls_key: Option<PathBuf>,
}

/// Why a listener cannot have the certificate it is given.
#[derive(Debug, thiserror::Error)]
pub enum TlsError {
    /// A file cannot be read.
    #[error("{flag} {}: {problem}", path.display())]
    File {
        /// The flag that names it.
        flag: &'static str,
        /// The file.
        path: PathBuf,
        /// What is wrong.
        problem: io::Error,
    },
    /// A file has nothing in it that is needed.
    #[error("{flag} {}: {problem}: a PEM file with {expected} is needed", path.display())]
    Pem {
        /// The flag that names it.
        flag: &'static str,
        /// The file.
        path: PathBuf,
        /// What is wrong.
        problem: pem::Error,
        /// What should be there.
        expected: &'static str,
    },
    /// Certificate and key are no pair, or of a kind that is not supported.
    #[error("the certificate of {} cannot be used with the key of {}: {problem}", cert.display(), key.display())]
    Pair {
        /// File of the certificate.
        cert: PathBuf,
        /// File of the key.
        key: PathBuf,
        /// What is wrong.
        problem: rustls::Error,
    },
}

impl TlsFiles {
    /// Whether a listener made with them speaks TLS.
    pub fn are_given(&self) -> bool {
        self.tls_cert.is_some()
    }

    /// Looks at the files, if any are given, before a listener is made with them.
    ///
    /// # Errors
    /// [`TlsError`] if they cannot be used.
    pub fn check(&self) -> Result<(), TlsError> {
        self.load().map(drop)
    }

    /// Reads the files, if any are given.
    pub(crate) fn load(&self) -> Result<Option<Arc<Identity>>, TlsError> {
        let (Some(cert), Some(key)) = (&self.tls_cert, &self.tls_key) else { return Ok(None) };
        Identity::load(cert, key).map(|identity| Some(Arc::new(identity)))
    }
}

/// Who the listener is: a certificate and its key, as of the last time the files were good.
#[derive(Debug)]
pub(crate) struct Identity {
    cert: PathBuf,
    key: PathBuf,
    current: RwLock<Loaded>,
}

#[derive(Debug)]
struct Loaded {
    pem: Pem,
    certified: Arc<CertifiedKey>,
}

/// What the two files hold.
#[derive(Debug, PartialEq, Eq)]
struct Pem {
    cert: Vec<u8>,
    key: Vec<u8>,
}

impl Identity {
    fn load(cert: &Path, key: &Path) -> Result<Self, TlsError> {
        let pem = Pem::read(cert, key)?;
        let certified = pem.certified_key(cert, key)?;
        let current = RwLock::new(Loaded { pem, certified });
        Ok(Self { cert: cert.to_owned(), key: key.to_owned(), current })
    }

    /// Takes what the files hold now; whether that is new.
    ///
    /// # Errors
    /// If the files cannot be used: all stays as it was. Files that are replaced one after the other are no
    /// pair for a moment.
    fn reload(&self) -> Result<bool, TlsError> {
        let pem = Pem::read(&self.cert, &self.key)?;
        if self.current.read().unwrap_or_else(PoisonError::into_inner).pem == pem {
            return Ok(false);
        }
        let certified = pem.certified_key(&self.cert, &self.key)?;
        *self.current.write().unwrap_or_else(PoisonError::into_inner) = Loaded { pem, certified };
        Ok(true)
    }

    /// Follows the files until dropped.
    pub(crate) async fn follow(self: Arc<Self>) {
        let mut interval = tokio::time::interval(RELOAD_INTERVAL);
        interval.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            interval.tick().await;
            let identity = Arc::clone(&self);
            let Ok(reloaded) = tokio::task::spawn_blocking(move || identity.reload()).await else {
                return;
            };
            match reloaded {
                Ok(false) => {}
                Ok(true) => tracing::info!(cert = %self.cert.display(), "new certificate"),
                Err(error) => tracing::warn!(%error, "the certificate stays the one it was"),
            }
        }
    }

    /// What turns a connection into one over TLS.
    pub(crate) fn acceptor(self: &Arc<Self>) -> TlsAcceptor {
        let mut config = ServerConfig::builder_with_provider(provider())
            .with_safe_default_protocol_versions()
            .expect("the provider has suites for the default versions")
            .with_no_client_auth()
            .with_cert_resolver(Arc::clone(self) as _);
        config.alpn_protocols = vec![b"http/1.1".to_vec()];
        TlsAcceptor::from(Arc::new(config))
    }
}

impl ResolvesServerCert for Identity {
    fn resolve(&self, _: ClientHello<'_>) -> Option<Arc<CertifiedKey>> {
        let current = self.current.read().unwrap_or_else(PoisonError::into_inner);
        Some(Arc::clone(&current.certified))
    }
}

impl Pem {
    fn read(cert: &Path, key: &Path) -> Result<Self, TlsError> {
        let read = |flag, path: &Path| {
            let path = path.to_owned();
            fs::read(&path).map_err(|problem| TlsError::File { flag, path, problem })
        };
        Ok(Self { cert: read(CERT, cert)?, key: read(KEY, key)? })
    }

    fn certified_key(&self, cert: &Path, key: &Path) -> Result<Arc<CertifiedKey>, TlsError> {
        let bad = |flag, path: &Path, expected| {
            let path = path.to_owned();
            move |problem| TlsError::Pem { flag, path, problem, expected }
        };
        let chain = CertificateDer::pem_slice_iter(&self.cert)
            .collect::<Result<Vec<_>, _>>()
            .and_then(
                |chain| {
                    if chain.is_empty() { Err(pem::Error::NoItemsFound) } else { Ok(chain) }
                },
            )
            .map_err(bad(CERT, cert, "a certificate"))?;
        let private =
            PrivateKeyDer::from_pem_slice(&self.key).map_err(bad(KEY, key, "a private key"))?;
        CertifiedKey::from_der(chain, private, &provider()).map(Arc::new).map_err(|problem| {
            TlsError::Pair { cert: cert.to_owned(), key: key.to_owned(), problem }
        })
    }
}

fn provider() -> Arc<CryptoProvider> {
    Arc::new(ring::default_provider())
}

#[cfg(test)]
mod tests {
    use rcgen::{CertifiedKey as Generated, generate_simple_self_signed};

    use super::*;

    fn generate() -> Pem {
        let Generated { cert, signing_key } =
            generate_simple_self_signed(["localhost".to_owned()]).unwrap();
        Pem { cert: cert.pem().into_bytes(), key: signing_key.serialize_pem().into_bytes() }
    }

    struct Files {
        directory: tempfile::TempDir,
    }

    impl Files {
        fn new(pem: &Pem) -> Self {
            let files = Self { directory: tempfile::tempdir().unwrap() };
            fs::write(files.path("cert.pem"), &pem.cert).unwrap();
            fs::write(files.path("key.pem"), &pem.key).unwrap();
            files
        }

        fn path(&self, name: &str) -> PathBuf {
            self.directory.path().join(name)
        }

        fn load(&self) -> Result<Identity, TlsError> {
            Identity::load(&self.path("cert.pem"), &self.path("key.pem"))
        }

        fn refusal(&self) -> String {
            let error = self.load().unwrap_err().to_string();
            error.replace(&format!("{}/", self.directory.path().display()), "")
        }
    }

    fn chain(identity: &Identity) -> Vec<CertificateDer<'static>> {
        identity.current.read().unwrap().certified.cert.clone()
    }

    #[test]
    fn files_that_cannot_be_used_are_named() {
        let (pem, other) = (generate(), generate());
        let files = Files::new(&pem);
        assert!(files.load().is_ok());

        fs::write(files.path("key.pem"), &other.key).unwrap();
        let refusal = files.refusal();
        assert!(
            refusal
                .starts_with("the certificate of cert.pem cannot be used with the key of key.pem"),
            "{refusal}"
        );
        fs::write(files.path("key.pem"), &pem.cert).unwrap();
        let refusal = files.refusal();
        assert!(refusal.starts_with("--tls-key key.pem: "), "{refusal}");
        assert!(refusal.ends_with("a PEM file with a private key is needed"), "{refusal}");
        fs::write(files.path("cert.pem"), "no certificate").unwrap();
        let refusal = files.refusal();
        assert!(refusal.starts_with("--tls-cert cert.pem: "), "{refusal}");
        assert!(refusal.ends_with("a PEM file with a certificate is needed"), "{refusal}");
        fs::remove_file(files.path("cert.pem")).unwrap();
        let refusal = files.refusal();
        assert!(refusal.starts_with("--tls-cert cert.pem: No such file"), "{refusal}");
    }

    #[test]
    fn a_renewed_certificate_is_taken_when_both_files_are_there() {
        let (old, new) = (generate(), generate());
        let files = Files::new(&old);
        let identity = files.load().unwrap();
        let before = chain(&identity);
        assert!(!identity.reload().unwrap());

        fs::write(files.path("cert.pem"), &new.cert).unwrap();
        assert!(matches!(identity.reload(), Err(TlsError::Pair { .. })));
        assert_eq!(chain(&identity), before);

        fs::write(files.path("key.pem"), &new.key).unwrap();
        assert!(identity.reload().unwrap());
        assert_ne!(chain(&identity), before);
        assert!(!identity.reload().unwrap());
    }
}
