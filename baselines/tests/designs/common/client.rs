//! A client of the contract.

use std::{net::SocketAddr, time::Duration};

use reqwest::{Method, header::HeaderMap};

use super::{Sale, deployment::eventually};

/// Clones share connections.
#[derive(Debug, Clone)]
pub(crate) struct Client {
    http: reqwest::Client,
    base: String,
}

#[derive(Debug, Clone)]
pub(crate) struct Answer {
    pub(crate) status: u16,
    pub(crate) headers: HeaderMap,
    pub(crate) body: String,
}

impl Answer {
    pub(crate) fn parts(&self) -> (u16, &str) {
        (self.status, &self.body)
    }

    pub(crate) fn header(&self, name: &str) -> Option<&str> {
        self.headers.get(name).map(|value| value.to_str().expect("text"))
    }

    /// Status and message of an error, whose form is checked to the byte.
    pub(crate) fn error(&self) -> (u16, String) {
        assert_eq!(self.header("content-type"), Some("application/json"), "{self:?}");
        let json: serde_json::Value = serde_json::from_str(&self.body).expect("JSON");
        let message = json["message"].as_str().expect("a message").to_owned();
        assert_eq!(self.body, serde_json::json!({ "message": message }).to_string());
        (self.status, message)
    }
}

impl Client {
    pub(crate) fn new(address: SocketAddr) -> Self {
        let http = reqwest::Client::builder().timeout(Duration::from_secs(30)).no_proxy().build();
        Self { http: http.expect("the settings are right"), base: format!("http://{address}") }
    }

    /// `None` if the connection breaks before there is an answer.
    pub(crate) async fn try_request(
        &self,
        method: Method,
        path: &str,
        headers: &[(&str, &str)],
        body: impl Into<Vec<u8>>,
    ) -> Option<Answer> {
        let mut request = self.http.request(method, format!("{}{path}", self.base));
        for &(name, value) in headers {
            request = request.header(name, value);
        }
        let response = request.body(body.into()).send().await.ok()?;
        let (status, headers) = (response.status().as_u16(), response.headers().clone());
        Some(Answer { status, headers, body: response.text().await.ok()? })
    }

    pub(crate) async fn get(&self, path: &str) -> Answer {
        self.try_request(Method::GET, path, &[], "").await.expect("an answer")
    }

    pub(crate) async fn post(&self, path: &str, body: &str) -> Answer {
        let json = [("content-type", "application/json")];
        self.try_request(Method::POST, path, &json, body).await.expect("an answer")
    }

    /// GETs until the list is `expected`; at once if `now`.
    pub(crate) async fn expect_list(&self, path: &str, expected: &str, now: bool) {
        if now {
            assert_eq!(self.get(path).await.parts(), (200, expected), "{path}");
            return;
        }
        let mut last = None;
        let shows = eventually("the list shows", async || {
            let answer = self.get(path).await;
            let same = answer.parts() == (200, expected);
            last = Some(answer);
            same.then_some(())
        });
        shows.await;
    }

    /// POSTs a sale; whether it was acknowledged, `None` if there was no answer.
    pub(crate) async fn sell(&self, sale: &Sale) -> Option<bool> {
        let json = [("content-type", "application/json")];
        let answer = self.try_request(Method::POST, &sale.path(), &json, sale.body()).await?;
        match answer.status {
            201 => Some(true),
            503 => Some(false),
            _ => panic!("{sale:?}: {answer:?}"),
        }
    }
}
