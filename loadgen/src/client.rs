//! The HTTP client: what counts as acknowledged, what is tried again, what is given up.

use std::{error::Error, time::Duration};

use bytes::Bytes;
use model::{BusinessDate, Position};
use reqwest::{
    RequestBuilder, Response, StatusCode,
    header::{self, HeaderMap},
};
use serde::Deserialize;

use crate::{Basket, Entry, List, Server};

/// A request is sent at most this often.
const ATTEMPTS: u32 = 10;
/// Wait before the second attempt where the server names none; doubled each time.
const FIRST_BACKOFF: Duration = Duration::from_millis(50);
/// The longest wait between attempts, whatever the server asks for.
const LONGEST_BACKOFF: Duration = Duration::from_secs(5);

/// The longest that connecting may take.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(5);
/// The longest that a request may take.
const TIMEOUT: Duration = Duration::from_secs(30);

pub(crate) const POSITION: &str = "Topline-Position";
const WAIT_FOR: &str = "Topline-Wait-For";
pub(crate) const IDEMPOTENCY_KEY: &str = "Idempotency-Key";

/// A client of one server, with connections kept open. Cheap to clone.
#[derive(Debug, Clone)]
pub struct Client {
    http: reqwest::Client,
    server: Server,
}

/// Why a request brought nothing.
#[derive(Debug, thiserror::Error)]
pub enum Failure {
    /// The server refused it for good: it had no effect.
    #[error("{status}: {message}")]
    Refused {
        /// The status of the answer.
        status: StatusCode,
        /// Its message.
        message: String,
    },
    /// All attempts failed in a way that leaves open whether the server has counted it.
    #[error("{call} failed {attempts} times, last with: {cause}")]
    Unclear {
        /// Method and path.
        call: String,
        /// How often it was sent.
        attempts: u32,
        /// The last failure.
        cause: String,
    },
    /// The answer is not of the documented form.
    #[error("{call} brought an answer that is not of the documented form: {problem}")]
    Malformed {
        /// Method and path.
        call: String,
        /// What is wrong with it.
        problem: String,
    },
}

/// Answer of the bulk call.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
pub struct BulkAnswer {
    /// Purchases taken.
    pub accepted: u64,
    /// Those not taken.
    pub rejected: Vec<RejectedLine>,
}

/// A purchase the bulk call did not take.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
pub struct RejectedLine {
    /// Its line in the body, from 1.
    pub line: usize,
    /// Why.
    pub message: String,
}

#[derive(Deserialize)]
struct ErrorBody {
    message: String,
}

impl Client {
    /// A client of `server`.
    ///
    /// # Errors
    /// If the HTTP client cannot be made.
    pub fn new(server: &Server) -> reqwest::Result<Self> {
        let http = server.http(CONNECT_TIMEOUT, TIMEOUT).build()?;
        Ok(Self { http, server: server.clone() })
    }

    /// Sends one purchase through the call of the existing clients. Gives the position that has it.
    ///
    /// # Errors
    /// [`Failure`]; only with [`Failure::Refused`] is it certain that nothing was counted.
    pub async fn post_purchase(&self, basket: &Basket) -> Result<Position, Failure> {
        let path = basket.course_path();
        let call = format!("POST {path}");
        let body = Bytes::from(basket.course_body());
        let response = self
            .send(&call, || {
                self.http
                    .post(self.url(&path))
                    .header(header::CONTENT_TYPE, "application/json")
                    .header(IDEMPOTENCY_KEY, &basket.key)
                    .body(body.clone())
            })
            .await?;
        match response.status() {
            StatusCode::CREATED => position_of(&call, &response),
            _ => Err(refusal(response).await),
        }
    }

    /// Sends many purchases: `body` has a line for each. Gives the position that has those accepted.
    ///
    /// # Errors
    /// [`Failure`]; only with [`Failure::Refused`] is it certain that nothing was counted.
    pub async fn post_bulk(&self, body: Bytes) -> Result<(BulkAnswer, Position), Failure> {
        let call = "POST /v1/purchases";
        let response = self
            .send(call, || {
                self.http
                    .post(self.url("/v1/purchases"))
                    .header(header::CONTENT_TYPE, "application/x-ndjson")
                    .body(body.clone())
            })
            .await?;
        if response.status() != StatusCode::OK {
            return Err(refusal(response).await);
        }
        let malformed = |problem: String| Failure::Malformed { call: call.to_owned(), problem };
        // A body refused line by line advances no partition, so it may name no position.
        let position = if response.headers().contains_key(POSITION) {
            position_of(call, &response)?
        } else {
            Position::default()
        };
        let answer: BulkAnswer =
            response.json().await.map_err(|error| malformed(error.to_string()))?;
        if answer.accepted > 0 && position.is_empty() {
            return Err(malformed(format!("no {POSITION} header")));
        }
        Ok((answer, position))
    }

    /// Waits until the server's answers have everything up to `position`.
    ///
    /// # Errors
    /// [`Failure`]; [`Failure::Unclear`] if the server does not get there.
    pub async fn wait_for(&self, position: &Position) -> Result<(), Failure> {
        if position.is_empty() {
            return Ok(());
        }
        let path = List::ChainItems.path(None, 1);
        let position = position.to_string();
        let request = || self.http.get(self.url(&path)).header(WAIT_FOR, &position);
        let response =
            self.send(&format!("GET {path} with {WAIT_FOR}: {position}"), request).await?;
        if response.status() == StatusCode::OK { Ok(()) } else { Err(refusal(response).await) }
    }

    /// Asks for the best `k` of `list`, on one business date or since the beginning.
    ///
    /// # Errors
    /// [`Failure`].
    pub async fn list(
        &self,
        list: List,
        date: Option<BusinessDate>,
        k: usize,
    ) -> Result<Vec<Entry>, Failure> {
        let path = list.path(date, k);
        let (status, body) = self.get(&path).await?;
        if status != StatusCode::OK {
            return Err(Failure::Refused { status, message: message_of(&body) });
        }
        list.read(&body, date)
            .map_err(|problem| Failure::Malformed { call: format!("GET {path}"), problem })
    }

    /// A GET of `path`: status and body.
    pub(crate) async fn get(&self, path: &str) -> Result<(StatusCode, Bytes), Failure> {
        let call = format!("GET {path}");
        let response = self.send(&call, || self.http.get(self.url(path))).await?;
        let status = response.status();
        let body = response.bytes().await.map_err(|error| Failure::Unclear {
            call,
            attempts: 1,
            cause: causes(&error),
        })?;
        Ok((status, body))
    }

    fn url(&self, path: &str) -> String {
        self.server.url(path)
    }

    /// Sends until there is an answer that another attempt would not change.
    async fn send(
        &self,
        call: &str,
        request: impl Fn() -> RequestBuilder,
    ) -> Result<Response, Failure> {
        let mut backoff = FIRST_BACKOFF;
        let mut attempts = 0;
        loop {
            attempts += 1;
            let (cause, asked) = match request().send().await {
                Ok(response) if !worth_another_attempt(response.status()) => return Ok(response),
                Ok(response) => {
                    let asked = retry_after(response.headers());
                    (refusal(response).await.to_string(), asked)
                }
                Err(error) => (causes(&error), None),
            };
            if attempts == ATTEMPTS {
                return Err(Failure::Unclear { call: call.to_owned(), attempts, cause });
            }
            tokio::time::sleep(asked.unwrap_or(backoff).min(LONGEST_BACKOFF)).await;
            backoff *= 2;
        }
    }
}

fn worth_another_attempt(status: StatusCode) -> bool {
    status == StatusCode::TOO_MANY_REQUESTS || status.is_server_error()
}

/// How long the server asks to be left alone.
pub(crate) fn retry_after(headers: &HeaderMap) -> Option<Duration> {
    let seconds = headers.get(header::RETRY_AFTER)?.to_str().ok()?.parse().ok()?;
    Some(Duration::from_secs(seconds))
}

fn position_of(call: &str, response: &Response) -> Result<Position, Failure> {
    let malformed = |problem: String| Failure::Malformed { call: call.to_owned(), problem };
    position_header(response.headers())
        .map_err(malformed)?
        .ok_or_else(|| malformed(format!("no {POSITION} header")))
}

/// The position that an answer names, if it does.
pub(crate) fn position_header(headers: &HeaderMap) -> Result<Option<Position>, String> {
    let Some(header) = headers.get(POSITION) else { return Ok(None) };
    let text = header.to_str().map_err(|_| format!("{POSITION} is not text"))?;
    text.parse().map(Some).map_err(|error| format!("{POSITION}: {error}"))
}

async fn refusal(response: Response) -> Failure {
    let status = response.status();
    let body = response.bytes().await.unwrap_or_default();
    Failure::Refused { status, message: message_of(&body) }
}

/// What the body of an error says.
pub(crate) fn message_of(body: &[u8]) -> String {
    match serde_json::from_slice::<ErrorBody>(body) {
        Ok(body) => body.message,
        Err(_) => String::from_utf8_lossy(body).chars().take(200).collect(),
    }
}

/// The whole chain: reqwest and hyper show only its outermost link.
pub(crate) fn causes(error: &dyn Error) -> String {
    let mut text = error.to_string();
    let mut next = error.source();
    while let Some(cause) = next {
        text.push_str(": ");
        text.push_str(&cause.to_string());
        next = cause.source();
    }
    text
}
