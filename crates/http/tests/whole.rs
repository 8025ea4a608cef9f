//! A request that comes alone and in one piece is answered as one that comes otherwise, which hyper answers, to the byte.

mod common;

use common::{LARGE, Server, rest, send};
use http_server::ListenerConfig;
use tokio::io::AsyncWriteExt;

const NOT_IMPLEMENTED: &str = "HTTP/1.1 501 Not Implemented\r\n";

/// How a request comes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Coming {
    Alone,
    /// In pieces, most of which the server may still read at once.
    InPieces,
    /// In one write with the next request: never taken for a whole one.
    WithTheNext,
}

/// All that the server says to `request` and to one that closes after it.
async fn answers(server: &Server, request: &str, coming: Coming) -> String {
    let close = "GET /hello/9 HTTP/1.1\r\nhost: x\r\nconnection: close\r\n\r\n";
    let mut client = send(server.address, "").await;
    client.set_nodelay(true).unwrap();
    let pieces = if coming == Coming::InPieces { request.len().min(20) } else { 0 };
    let both = format!("{request}{close}");
    let sent = if coming == Coming::WithTheNext { &both } else { request };
    let (begin, end) = sent.split_at(pieces);
    for piece in begin.as_bytes().chunks(1).chain([end.as_bytes()]) {
        // It may have been refused by now.
        let _ = client.write_all(piece).await;
        tokio::task::yield_now().await;
    }
    if coming != Coming::WithTheNext {
        // The second follows when the first is being answered, or refused.
        let _ = client.peek(&mut [0]).await;
        let _ = client.write_all(close.as_bytes()).await;
    }
    let all = String::from_utf8(rest(&mut client).await).unwrap();
    all.split_inclusive("\r\n")
        .map(|line| if line.starts_with("date: ") { "date\r\n" } else { line })
        .collect()
}

#[tokio::test]
async fn the_answer_is_the_same_however_the_request_comes() {
    let server = Server::start(ListenerConfig::default()).await;
    let request = |line: &str, headers: &str| format!("{line}\r\nhost: x\r\n{headers}\r\n");
    let chunked = |codings: &str| format!("transfer-encoding: {codings}\r\n");
    let long = "x".repeat(8000);
    let many = |count| "h: x\r\n".repeat(count);
    let hello = "GET /hello/1 HTTP/1.1";
    for (request, expected) in [
        (request(hello, ""), "HTTP/1.1 200 OK\r\n"),
        (request(hello, "accept: */*\r\nAccept: x\r\nX-Y:  z \r\n"), "HTTP/1.1 200 OK\r\n"),
        (request("GET /hello/1?a=b&c=%20 HTTP/1.1", ""), "HTTP/1.1 200 OK\r\n"),
        (request("GET /%68ello/%31?a=%31 HTTP/1.1", ""), "HTTP/1.1 200 OK\r\n"),
        (request("GET /hello/x HTTP/1.1", ""), "HTTP/1.1 400 Bad Request\r\n"),
        (request(hello, "Host: y\r\n"), "HTTP/1.1 400 Bad Request\r\n"),
        (format!("{hello}\r\naccept: x\r\n\r\n"), "HTTP/1.1 400 Bad Request\r\n"),
        (request("GET /none HTTP/1.1", ""), "HTTP/1.1 404 Not Found\r\n"),
        (request("GET /echo HTTP/1.1", ""), "HTTP/1.1 405 Method Not Allowed\r\n"),
        (request("GET /empty HTTP/1.1", ""), "HTTP/1.1 200 OK\r\n"),
        (request("GET /not-modified HTTP/1.1", ""), "HTTP/1.1 304 Not Modified\r\n"),
        (request("GET /no-content HTTP/1.1", ""), "HTTP/1.1 204 No Content\r\n"),
        (request("GET /dated HTTP/1.1", ""), "HTTP/1.1 200 OK\r\n"),
        (request("GET /stream HTTP/1.1", ""), "HTTP/1.1 200 OK\r\n"),
        (request("GET /later HTTP/1.1", ""), "HTTP/1.1 200 OK\r\n"),
        (request("HEAD /hello/1 HTTP/1.1", ""), "HTTP/1.1 200 OK\r\n"),
        (request("POST /echo HTTP/1.1", "content-length: 0\r\n"), "HTTP/1.1 200 OK\r\n"),
        (request("GET /hello/1 HTTP/1.0", ""), "HTTP/1.0 200 OK\r\n"),
        (request("GET /hello/1 HTTP/1.0", "connection: keep-alive\r\n"), "HTTP/1.0 200 OK\r\n"),
        (request(hello, "connection: Keep-Alive\r\n"), "HTTP/1.1 200 OK\r\n"),
        (request(hello, "connection: close\r\n"), "HTTP/1.1 200 OK\r\n"),
        (request(hello, "content-length: 0\r\n"), "HTTP/1.1 200 OK\r\n"),
        (request(hello, "content-length: x\r\n"), "HTTP/1.1 400 Bad Request\r\n"),
        (request(hello, &chunked("gzip")), "HTTP/1.1 400 Bad Request\r\n"),
        (request(hello, &chunked("chunked")) + "0\r\n\r\n", "HTTP/1.1 200 OK\r\n"),
        (request(hello, &chunked("Chunked")) + "0\r\n\r\n", "HTTP/1.1 200 OK\r\n"),
        (request(hello, &chunked(", chunked")) + "0\r\n\r\n", "HTTP/1.1 200 OK\r\n"),
        (request(hello, &chunked("gzip, chunked")) + "0\r\n\r\n", NOT_IMPLEMENTED),
        (request(hello, &chunked("chunked, chunked")) + "0\r\n\r\n", NOT_IMPLEMENTED),
        (request(hello, "expect: 100-continue\r\n"), "HTTP/1.1 200 OK\r\n"),
        (request(hello, "upgrade: h2c\r\n"), "HTTP/1.1 200 OK\r\n"),
        (request(hello, &format!("x: {long}\r\n")), "HTTP/1.1 200 OK\r\n"),
        (request(hello, &many(31)), "HTTP/1.1 200 OK\r\n"),
        (request(hello, &many(99)), "HTTP/1.1 200 OK\r\n"),
        (request(hello, &many(100)), "HTTP/1.1 431 Request Header Fields Too Large\r\n"),
        (request(hello, "x y: z\r\n"), "HTTP/1.1 400 Bad Request\r\n"),
        (request(hello, "x: \u{1}\r\n"), "HTTP/1.1 400 Bad Request\r\n"),
        (request("GET  /hello/1 HTTP/1.1", ""), "HTTP/1.1 400 Bad Request\r\n"),
        (request("GET http://x/hello/1 HTTP/1.1", ""), "HTTP/1.1 200 OK\r\n"),
        (request("get /hello/1 HTTP/1.1", ""), "HTTP/1.1 405 Method Not Allowed\r\n"),
        (request("GET /hello/1 HTTP/2.0", ""), "HTTP/1.1 400 Bad Request\r\n"),
        (request("GET /hel\u{7f}lo/1 HTTP/1.1", ""), "HTTP/1.1 400 Bad Request\r\n"),
        (format!("{hello}\nhost: x\n\n"), "HTTP/1.1 200 OK\r\n"),
        (format!("\r\n{hello}\r\nhost: x\r\n\r\n"), "HTTP/1.1 200 OK\r\n"),
    ] {
        let alone = answers(&server, &request, Coming::Alone).await;
        assert!(alone.starts_with(expected), "{request:?}: {alone:?}");
        for coming in [Coming::InPieces, Coming::WithTheNext] {
            let otherwise = answers(&server, &request, coming).await;
            assert_eq!(alone, otherwise, "{coming:?}: {request:?}");
        }
    }
    server.stop().await;
}

#[tokio::test]
async fn an_answer_too_long_for_one_write_comes_whole() {
    let server = Server::start(ListenerConfig::default()).await;
    let request = "GET /large HTTP/1.1\r\nhost: x\r\n\r\n";
    let all = answers(&server, request, Coming::Alone).await;
    let body = "x".repeat(LARGE);
    assert!(all.contains(&format!("\r\n\r\n{body}HTTP/1.1 200 OK\r\n")), "{}", &all[..200]);
    server.stop().await;
}
