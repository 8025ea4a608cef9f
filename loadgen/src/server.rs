//! The server that is asked: its address, and how it proves who it is.

use std::{
    path::{Path, PathBuf},
    str::FromStr,
    sync::Arc,
    time::Duration,
};

use reqwest::{ClientBuilder, Url, header::HeaderValue};
use rustls_platform_verifier::BuilderVerifierExt;
use tokio_rustls::rustls::{
    self, ClientConfig, ConfigBuilder, RootCertStore, WantsVerifier,
    crypto::ring,
    pki_types::{
        CertificateDer, ServerName,
        pem::{self, PemObject},
    },
};

/// A server, by its base URL. Cheap to clone.
#[derive(Debug, Clone)]
pub struct Server {
    base: Arc<str>,
    endpoint: Arc<Endpoint>,
}

/// Where connections to a server go, and what they say there.
#[derive(Debug)]
pub(crate) struct Endpoint {
    /// Name or address, an IPv6 address without brackets.
    pub(crate) host: String,
    pub(crate) port: u16,
    /// What the header `Host` says.
    pub(crate) authority: HeaderValue,
    /// What comes before each path.
    pub(crate) prefix: String,
    /// The name its certificate has to have, if it is to show one.
    pub(crate) name: Option<ServerName<'static>>,
    /// Whom to trust. One for all clients: made for each, the system's authorities would be read each time.
    pub(crate) tls: Arc<ClientConfig>,
}

/// A server that cannot be asked.
#[derive(Debug, thiserror::Error)]
pub enum ServerError {
    /// Its address is none.
    #[error(
        "'{0}' is not the address of a server: expected one such as http://127.0.0.1:8080, without a query"
    )]
    Url(String),
    /// An authority is named for a server that shows no certificate.
    #[error("'{0}' has no certificate to check: a CA certificate is for an address with https://")]
    NotEncrypted(String),
    /// The file with the authority's certificate cannot be used.
    #[error("{}: {problem}: a PEM file with the certificate of an authority is needed", path.display())]
    Authority {
        /// The file.
        path: PathBuf,
        /// What is wrong with it.
        problem: pem::Error,
    },
    /// A certificate of the file is not one of an authority.
    #[error("{}: {problem}", path.display())]
    Certificate {
        /// The file.
        path: PathBuf,
        /// What is wrong with it.
        problem: rustls::Error,
    },
    /// TLS cannot be set up.
    #[error(
        "TLS cannot be set up with this system's certificates: name an authority's with --ca-cert"
    )]
    Tls(#[from] rustls::Error),
}

impl ServerError {
    /// Whether the address is wrong, rather than what is found on this machine for it.
    pub(crate) fn is_usage(&self) -> bool {
        matches!(self, Self::Url(_) | Self::NotEncrypted(_))
    }
}

impl Server {
    /// The server at `url`, such as `http://127.0.0.1:8080`. With `https` its certificate has to be one of
    /// the authority in the file `authority` (PEM), or without it of one that this system trusts.
    ///
    /// # Errors
    /// If the address or the file cannot be used, or an authority is given for plain `http`.
    pub fn new(url: &str, authority: Option<&Path>) -> Result<Self, ServerError> {
        let parsed = Url::parse(url).map_err(|_| ServerError::Url(url.to_owned()))?;
        let none = || ServerError::Url(url.to_owned());
        let tls = match (parsed.scheme(), authority) {
            _ if !parsed.has_host() || parsed.authority().contains('@') => return Err(none()),
            // Paths are put after it.
            _ if parsed.query().is_some() || parsed.fragment().is_some() => return Err(none()),
            ("http", None) => tls_with(RootCertStore::empty())?,
            ("http", Some(_)) => return Err(ServerError::NotEncrypted(url.to_owned())),
            ("https", Some(path)) => tls_with(roots(path)?)?,
            ("https", None) => tls_builder()?.with_platform_verifier()?.with_no_client_auth(),
            _ => return Err(none()),
        };
        let endpoint = Endpoint::new(&parsed, tls).ok_or_else(none)?;
        Ok(Self { base: url.trim_end_matches('/').into(), endpoint: Arc::new(endpoint) })
    }

    pub(crate) fn endpoint(&self) -> &Endpoint {
        &self.endpoint
    }

    /// The URL of `path` there.
    pub(crate) fn url(&self, path: &str) -> String {
        format!("{}{path}", self.base)
    }

    /// An HTTP client for it, to be completed.
    pub(crate) fn http(&self, connect_timeout: Duration, timeout: Duration) -> ClientBuilder {
        reqwest::Client::builder()
            // A proxy would be measured along with the server.
            .no_proxy()
            .tcp_nodelay(true)
            .connect_timeout(connect_timeout)
            .timeout(timeout)
            .tls_backend_preconfigured(ClientConfig::clone(&self.endpoint.tls))
    }
}

impl Endpoint {
    /// `None` if `url` names none.
    fn new(url: &Url, tls: ClientConfig) -> Option<Self> {
        let text = url.host_str()?;
        let host = text.trim_matches(['[', ']']).to_owned();
        let authority = match url.port() {
            Some(port) => format!("{text}:{port}"),
            None => text.to_owned(),
        };
        let name = match url.scheme() {
            "https" => Some(ServerName::try_from(host.clone()).ok()?),
            _ => None,
        };
        Some(Self {
            host,
            port: url.port_or_known_default()?,
            authority: authority.parse().ok()?,
            prefix: url.path().trim_end_matches('/').to_owned(),
            name,
            tls: Arc::new(tls),
        })
    }
}

impl FromStr for Server {
    type Err = ServerError;

    fn from_str(url: &str) -> Result<Self, ServerError> {
        Self::new(url, None)
    }
}

fn tls_builder() -> Result<ConfigBuilder<ClientConfig, WantsVerifier>, rustls::Error> {
    ClientConfig::builder_with_provider(Arc::new(ring::default_provider()))
        .with_safe_default_protocol_versions()
}

fn tls_with(roots: RootCertStore) -> Result<ClientConfig, rustls::Error> {
    Ok(tls_builder()?.with_root_certificates(roots).with_no_client_auth())
}

fn roots(path: &Path) -> Result<RootCertStore, ServerError> {
    let authority = |problem| ServerError::Authority { path: path.to_owned(), problem };
    let mut roots = RootCertStore::empty();
    for certificate in CertificateDer::pem_file_iter(path).map_err(authority)? {
        let certificate = certificate.map_err(authority)?;
        roots
            .add(certificate)
            .map_err(|problem| ServerError::Certificate { path: path.to_owned(), problem })?;
    }
    if roots.is_empty() { Err(authority(pem::Error::NoItemsFound)) } else { Ok(roots) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_that_are_none_are_refused() {
        for wrong in [
            "",
            "127.0.0.1:8080",
            "localhost:8080",
            "http://127.0.0.1:8080?tenant=a",
            "http://127.0.0.1:8080/#top",
            "ftp://127.0.0.1",
            "http://",
            "http://me@127.0.0.1",
            "http://:secret@127.0.0.1",
            "unix:/run/topline",
        ] {
            let error = wrong.parse::<Server>().unwrap_err();
            assert!(matches!(error, ServerError::Url(_)), "{wrong}: {error}");
        }
        let server: Server = "http://127.0.0.1:8080/".parse().unwrap();
        assert_eq!(server.url("/v1/purchases"), "http://127.0.0.1:8080/v1/purchases");
    }

    #[test]
    fn connections_go_to_where_the_address_says() {
        let parts = |url: &str| {
            let server: Server = url.parse().unwrap();
            let Endpoint { host, port, authority, prefix, name, .. } = server.endpoint();
            let authority = authority.to_str().unwrap().to_owned();
            (host.clone(), *port, authority, prefix.clone(), name.is_some())
        };
        let expected = |host: &str, port, authority: &str, prefix: &str, tls| {
            (host.to_owned(), port, authority.to_owned(), prefix.to_owned(), tls)
        };
        for (url, parts_of_it) in [
            ("http://127.0.0.1:8080", expected("127.0.0.1", 8080, "127.0.0.1:8080", "", false)),
            ("http://shop.example/", expected("shop.example", 80, "shop.example", "", false)),
            ("http://[::1]:81/a/b/", expected("::1", 81, "[::1]:81", "/a/b", false)),
        ] {
            assert_eq!(parts(url), parts_of_it, "{url}");
        }
    }

    #[test]
    fn authorities_that_are_none_are_refused_by_name() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("ca.pem");
        let refusal = |url: &str| Server::new(url, Some(&path)).unwrap_err().to_string();
        let https = "https://127.0.0.1:8443";
        assert!(refusal(https).contains("ca.pem"), "{}", refusal(https));
        std::fs::write(&path, "no certificate").unwrap();
        assert!(refusal(https).contains("is needed"), "{}", refusal(https));
        std::fs::write(&path, "-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n")
            .unwrap();
        assert!(refusal(https).contains("ca.pem"), "{}", refusal(https));
        assert!(refusal("http://127.0.0.1:8080").contains("https://"));
    }
}
