//! A certificate authority of a test.

use std::{
    fs,
    path::{Path, PathBuf},
};

use rcgen::{
    BasicConstraints, CertificateParams, CertifiedIssuer, DistinguishedName, DnType, IsCa, KeyPair,
    KeyUsagePurpose,
};

/// An authority, with everything it has signed as files in a directory, in PEM.
#[derive(Debug)]
pub struct Authority {
    directory: PathBuf,
    issuer: CertifiedIssuer<'static, KeyPair>,
    /// Its own certificate.
    pub certificate: PathBuf,
}

/// A certificate and its key.
#[derive(Debug, Clone)]
pub struct Identity {
    /// The file of the certificate.
    pub certificate: PathBuf,
    /// The file of the key.
    pub key: PathBuf,
}

impl Authority {
    /// A new authority, whose files go into `directory` and begin with `name`.
    ///
    /// # Panics
    /// If the files cannot be written.
    pub fn new(directory: &Path, name: &str) -> Self {
        let mut params = CertificateParams::default();
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        params.key_usages = vec![KeyUsagePurpose::KeyCertSign];
        params.distinguished_name = named(name);
        let issuer = CertifiedIssuer::self_signed(params, key()).expect("it is well formed");
        let certificate = directory.join(format!("{name}.pem"));
        fs::write(&certificate, issuer.pem()).expect("the directory can be written");
        Self { directory: directory.to_owned(), issuer, certificate }
    }

    /// A certificate for some domains, which may be none.
    ///
    /// # Panics
    /// If a domain is none, or the files cannot be written.
    pub fn sign(&self, name: &str, domains: &[&str]) -> Identity {
        let domains: Vec<_> = domains.iter().map(|&domain| domain.to_owned()).collect();
        let mut params = CertificateParams::new(domains).expect("the names of domains");
        params.distinguished_name = named(name);
        let key = key();
        let signed = params.signed_by(&key, &self.issuer).expect("it is well formed");
        let file = |kind: &str, pem: String| {
            let file = self.directory.join(format!("{name}.{kind}.pem"));
            fs::write(&file, pem).expect("the directory can be written");
            file
        };
        Identity {
            certificate: file("certificate", signed.pem()),
            key: file("key", key.serialize_pem()),
        }
    }
}

fn key() -> KeyPair {
    KeyPair::generate().expect("the system has random numbers")
}

fn named(name: &str) -> DistinguishedName {
    let mut names = DistinguishedName::new();
    names.push(DnType::CommonName, name);
    names
}
