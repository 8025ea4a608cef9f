//! A certificate that cannot be used is refused before anything is opened.

mod common;

use common::{Server, command};

#[test]
fn a_certificate_that_cannot_be_used_is_refused_at_the_start() {
    let data = tempfile::tempdir().unwrap();
    let (cert, key) = (data.path().join("cert.pem"), data.path().join("key.pem"));
    let [cert_arg, key_arg] = [&cert, &key].map(|path| path.to_str().unwrap());
    let args = ["--tls-cert", cert_arg, "--tls-key", key_arg];
    let data_dir = data.path().join("data");
    let refusal = || match Server::spawn(command(&data_dir, &args)) {
        Ok(_) => panic!("it serves with a certificate that is none"),
        Err(refused) => refused,
    };
    let refused = refusal();
    assert_eq!(refused.status.code(), Some(1), "{}", refused.log);
    let expected = format!("topline: {cert_arg}: No such file");
    assert!(refused.log.contains(&expected), "{}", refused.log);

    std::fs::write(&cert, "no certificate").unwrap();
    std::fs::write(&key, "no key").unwrap();
    let refused = refusal();
    let expected = format!("topline: {cert_arg}: no items found: a PEM file with a certificate");
    assert!(refused.log.contains(&expected), "{}", refused.log);
    assert!(!data_dir.exists(), "data was made for a server that does not start");
}
