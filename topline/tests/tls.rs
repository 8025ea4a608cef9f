//! A public listener with a certificate: load over TLS, and certificates that cannot be used.

mod common;

use std::process::{Command, Output, Stdio};

use common::{Server, command};
use rcgen::{CertifiedKey, generate_simple_self_signed};

fn loadgen(args: &[&str]) -> Output {
    let small =
        ["--stores=20", "--items=100", "--seed-purchases=100", "--clients=8", "--warm-up=0"];
    Command::new(env!("CARGO_BIN_EXE_topline"))
        .env_clear()
        .arg("loadgen")
        .args([&small, args].concat())
        .args(["--duration=500ms", "--verify", "--fail-if=errors>0"])
        .stdin(Stdio::null())
        .output()
        .expect("the binary starts")
}

#[test]
fn load_over_tls_is_counted_where_the_authority_is_trusted() {
    let dir = tempfile::tempdir().unwrap();
    let [cert, key, other] = ["cert.pem", "key.pem", "other.pem"].map(|name| dir.path().join(name));
    let made = || generate_simple_self_signed(["127.0.0.1".to_owned()]).unwrap();
    let CertifiedKey { cert: certificate, signing_key } = made();
    std::fs::write(&cert, certificate.pem()).unwrap();
    std::fs::write(&key, signing_key.serialize_pem()).unwrap();
    std::fs::write(&other, made().cert.pem()).unwrap();
    let [cert, key, other] = [&cert, &key, &other].map(|path| path.to_str().unwrap());
    let server = Server::start(&dir.path().join("data"), &["--tls-cert", cert, "--tls-key", key]);
    let url = format!("https://{}", server.public);

    for distrusted in [&["--ca-cert", other, &url][..], &[&url]] {
        let refused = loadgen(distrusted);
        let shown = String::from_utf8_lossy(&refused.stderr);
        assert_eq!(refused.status.code(), Some(1), "{shown}");
        assert!(shown.contains("certificate"), "{shown}");
    }
    let passed = loadgen(&["--ca-cert", cert, &url]);
    let shown = String::from_utf8_lossy(&passed.stdout);
    assert_eq!(passed.status.code(), Some(0), "{shown}{}", String::from_utf8_lossy(&passed.stderr));
    assert!(shown.contains(" 0 differences"), "{shown}");
    let log = server.terminate().log;
    assert!(log.contains(&format!("serving on {url}, admin on http://")), "{log}");
}

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
    let expected =
        format!("topline: --tls-cert {cert_arg}: No such file or directory (os error 2)\n");
    assert!(refused.log.ends_with(&expected), "{}", refused.log);

    std::fs::write(&cert, "no certificate").unwrap();
    std::fs::write(&key, "no key").unwrap();
    let refused = refusal();
    let expected =
        format!("topline: --tls-cert {cert_arg}: no items found: a PEM file with a certificate");
    assert!(refused.log.contains(&expected), "{}", refused.log);
    assert!(!data_dir.exists(), "data was made for a server that does not start");
}
