//! A listener with a certificate: requests over TLS, and what is not TLS does no harm.

mod common;

use std::{fs, net::SocketAddr, sync::Arc, time::Duration};

use common::{Server, read_until, rest, send};
use http_server::{ListenerConfig, TlsFiles};
use rcgen::{CertifiedKey, generate_simple_self_signed};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpStream,
};
use tokio_rustls::{
    TlsConnector,
    client::TlsStream,
    rustls::{ClientConfig, RootCertStore, crypto::ring},
};

const REQUEST: &[u8] = b"GET /hello/5 HTTP/1.1\r\nhost: localhost\r\nconnection: close\r\n\r\n";

/// A certificate in files, and a client that trusts it.
struct Tls {
    directory: tempfile::TempDir,
    connector: TlsConnector,
}

impl Tls {
    fn new() -> Self {
        let directory = tempfile::tempdir().unwrap();
        let CertifiedKey { cert, signing_key } =
            generate_simple_self_signed(["localhost".to_owned()]).unwrap();
        fs::write(directory.path().join("cert.pem"), cert.pem()).unwrap();
        fs::write(directory.path().join("key.pem"), signing_key.serialize_pem()).unwrap();
        let mut roots = RootCertStore::empty();
        roots.add(cert.der().clone()).unwrap();
        let config = ClientConfig::builder_with_provider(Arc::new(ring::default_provider()))
            .with_safe_default_protocol_versions()
            .unwrap()
            .with_root_certificates(roots)
            .with_no_client_auth();
        Self { directory, connector: TlsConnector::from(Arc::new(config)) }
    }

    fn config(&self) -> ListenerConfig {
        let file = |name| Some(self.directory.path().join(name));
        let tls = TlsFiles { tls_cert: file("cert.pem"), tls_key: file("key.pem") };
        ListenerConfig { tls, ..ListenerConfig::default() }
    }

    async fn connect(&self, address: SocketAddr) -> TlsStream<TcpStream> {
        let stream = TcpStream::connect(address).await.unwrap();
        self.connector.connect("localhost".try_into().unwrap(), stream).await.unwrap()
    }

    async fn hello(&self, address: SocketAddr) -> String {
        let mut stream = self.connect(address).await;
        stream.write_all(REQUEST).await.unwrap();
        let mut answer = String::new();
        stream.read_to_string(&mut answer).await.unwrap();
        answer
    }
}

#[tokio::test]
async fn requests_are_answered_over_tls_and_others_refused() {
    let tls = Tls::new();
    let server = Server::start(tls.config()).await;
    let answer = tls.hello(server.address).await;
    assert!(answer.starts_with("HTTP/1.1 200 OK\r\n"), "{answer}");
    assert!(answer.ends_with("\r\n\r\nhello 5"), "{answer}");

    // Plain HTTP on the same port: refused with an alert of TLS, never an answer of HTTP.
    let mut plain = send(server.address, "GET /hello/5 HTTP/1.1\r\nhost: x\r\n\r\n").await;
    let refusal = rest(&mut plain).await;
    assert!(!refusal.starts_with(b"HTTP"), "{refusal:?}");
    assert!(tls.hello(server.address).await.ends_with("hello 5"));
    server.stop().await;
}

#[tokio::test]
async fn a_connection_is_kept_and_closed_in_order() {
    let tls = Tls::new();
    let server = Server::start(tls.config()).await;
    let mut stream = tls.connect(server.address).await;
    let get = "GET /hello/5 HTTP/1.1\r\nhost: localhost\r\n\r\n";
    let post = "POST /echo HTTP/1.1\r\nhost: localhost\r\ncontent-length: 7\r\n\r\nhello 5";
    // One at a time, several at once, and cut in the middle of the second.
    let (begin, end) = get.split_at(20);
    for sent in [get, post, get, &format!("{get}{post}{get}"), &format!("{get}{begin}"), end] {
        stream.write_all(sent.as_bytes()).await.unwrap();
        for _ in 0..sent.matches("\r\n\r\n").count() {
            let answer = read_until(&mut stream, "\r\n\r\nhello 5").await;
            assert!(answer.starts_with("HTTP/1.1 200 OK\r\n"), "{answer}");
        }
    }
    server.shutdown.cancel();
    // With a connection that is cut this is an error, for the end of TLS is missing.
    assert_eq!(stream.read(&mut [0]).await.unwrap(), 0);
    drop(stream);
    server.stop().await;
}

#[tokio::test]
async fn a_large_answer_comes_whole_and_one_not_taken_is_cut() {
    let tls = Tls::new();
    let config = ListenerConfig { write_timeout: Duration::from_millis(60), ..tls.config() };
    let server = Server::start(config).await;
    let request = b"GET /large HTTP/1.1\r\nhost: localhost\r\nconnection: close\r\n\r\n";
    let mut stalled = tls.connect(server.address).await;
    stalled.write_all(request).await.unwrap();
    let expired = r#"topline_http_connections_expired_total{limit="write",listener="public"} 1"#;
    while !server.metrics().contains(expired) {
        tokio::time::sleep(Duration::from_millis(5)).await;
    }

    let mut reading = tls.connect(server.address).await;
    reading.write_all(request).await.unwrap();
    let mut answer = Vec::new();
    reading.read_to_end(&mut answer).await.unwrap();
    let body = answer.windows(4).position(|bytes| bytes == b"\r\n\r\n").unwrap() + 4;
    assert_eq!(answer.len() - body, common::LARGE);
    server.stop().await;
}

#[tokio::test]
async fn a_handshake_that_does_not_end_is_cut() {
    let tls = Tls::new();
    let config = ListenerConfig { header_timeout: Duration::from_millis(60), ..tls.config() };
    let server = Server::start(config).await;
    let mut silent = send(server.address, "").await;
    assert_eq!(rest(&mut silent).await, b"");
    let metrics = server.stop().await;
    let expired = r#"topline_http_connections_expired_total{limit="header",listener="public"} 1"#;
    assert!(metrics.contains(expired), "{metrics}");
}

#[tokio::test]
async fn a_handshake_under_way_does_not_hold_up_the_drain() {
    let tls = Tls::new();
    let server = Server::start(tls.config()).await;
    let mut silent = send(server.address, "").await;
    let open = r#"topline_http_connections{listener="public"} 1"#;
    while !server.metrics().contains(open) {
        tokio::task::yield_now().await;
    }
    let metrics = server.stop().await;
    assert_eq!(rest(&mut silent).await, b"");
    assert!(metrics.contains(r#"topline_http_connections{listener="public"} 0"#), "{metrics}");
}

#[tokio::test]
async fn a_certificate_that_is_not_there_is_an_error() {
    let tls = Tls::new();
    let config = tls.config();
    fs::remove_file(tls.directory.path().join("cert.pem")).unwrap();
    let error = Server::start(config).await.failed().await.to_string();
    assert!(error.contains("cert.pem: No such file"), "{error}");
}
