//! The table of routes: tells an unknown path from a wrong method, gives every request its metrics, and
//! hands it to the one filter of warp that answers it.
//!
//! A chain of `or` would try the filters in turn and clone all those behind the one at hand, for every
//! request. The number of routes is small and fixed, so a scan of their paths is quick.

use std::{fmt, sync::Arc};

use futures_util::future::BoxFuture;
use hyper::{Method, Request, header::HeaderValue};
use telemetry::{HttpMetrics, RouteMetrics};
use tower_service::Service;
use warp::{Filter, Rejection, Reply, reply};

use crate::{body::RequestBody, recover};

/// The routes of a service, and the filters that answer them.
#[derive(Debug, Clone)]
pub struct Routes {
    service: &'static str,
    routes: Vec<Route>,
}

/// A method and a path that a service has, such as `GET /items/store/{storeID}`.
#[derive(Debug, Clone)]
struct Route {
    method: Method,
    path: &'static str,
    endpoint: Endpoint,
}

/// A filter of any type, with its rejections answered.
#[derive(Clone)]
pub(crate) struct Endpoint(Arc<dyn Answer>);

trait Answer: Send + Sync {
    fn answer(&self, request: Request<RequestBody>) -> Answering;
}

/// An answer to come.
pub(crate) type Answering = BoxFuture<'static, reply::Response>;

impl Routes {
    /// No routes yet; `service` is the name of the service in metrics.
    pub fn new(service: &'static str) -> Self {
        Self { service, routes: Vec::new() }
    }

    /// Adds GET and HEAD of a path. A segment of `path` in braces stands for any one segment that is not
    /// empty; `filter` sees only requests of that form, with one of these methods.
    #[must_use]
    pub fn get<F>(self, path: &'static str, filter: F) -> Self
    where
        F: Filter<Error = Rejection> + Clone + Send + Sync + 'static,
        F::Extract: Reply,
        F::Future: Send,
    {
        let endpoint = Endpoint::new(filter);
        self.add(Method::GET, path, endpoint.clone()).add(Method::HEAD, path, endpoint)
    }

    /// Adds POST of a path, as [`Routes::get`] does.
    #[must_use]
    pub fn post<F>(self, path: &'static str, filter: F) -> Self
    where
        F: Filter<Error = Rejection> + Clone + Send + Sync + 'static,
        F::Extract: Reply,
        F::Future: Send,
    {
        self.add(Method::POST, path, Endpoint::new(filter))
    }

    /// The methods and paths.
    pub fn iter(&self) -> impl Iterator<Item = (&Method, &'static str)> {
        self.routes.iter().map(|route| (&route.method, route.path))
    }

    fn add(mut self, method: Method, path: &'static str, endpoint: Endpoint) -> Self {
        self.routes.push(Route { method, path, endpoint });
        self
    }
}

impl Endpoint {
    fn new<F>(filter: F) -> Self
    where
        F: Filter<Error = Rejection> + Clone + Send + Sync + 'static,
        F::Extract: Reply,
        F::Future: Send,
    {
        Self(Arc::new(Recovered(filter.recover(recover))))
    }

    pub(crate) fn answer(&self, request: Request<RequestBody>) -> Answering {
        self.0.answer(request)
    }
}

impl fmt::Debug for Endpoint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Endpoint")
    }
}

struct Recovered<F>(F);

impl<F> Answer for Recovered<F>
where
    F: Filter<Error = std::convert::Infallible> + Clone + Send + Sync + 'static,
    F::Extract: Reply,
    F::Future: Send,
{
    fn answer(&self, request: Request<RequestBody>) -> Answering {
        let answer = warp::service(self.0.clone()).call(request);
        Box::pin(async move {
            let Ok(response) = answer.await;
            response
        })
    }
}

/// The routes of all services of a listener.
#[derive(Debug, Clone)]
pub struct RouteTable {
    paths: Vec<PathEntry>,
    unknown: RouteMetrics,
    metrics: HttpMetrics,
}

#[derive(Debug, Clone)]
struct PathEntry {
    path: &'static str,
    endpoints: Vec<(Method, Endpoint)>,
    allow: HeaderValue,
    metrics: RouteMetrics,
}

/// What the table says about a request.
#[derive(Debug)]
pub(crate) enum Match<'a> {
    /// Some service has it.
    Found(&'a RouteMetrics, &'a Endpoint),
    /// The path has other methods, those named.
    WrongMethod(&'a RouteMetrics, &'a HeaderValue),
    /// No service has the path.
    UnknownPath(&'a RouteMetrics),
}

impl RouteTable {
    /// A table without routes.
    pub fn new(metrics: &HttpMetrics) -> Self {
        let unknown = metrics.route("none", "unknown");
        Self { paths: Vec::new(), unknown, metrics: metrics.clone() }
    }

    /// Adds the routes of a service; its name and the paths become labels of metrics.
    #[must_use]
    pub fn with(mut self, routes: Routes) -> Self {
        for route in routes.routes {
            self.add(routes.service, route);
        }
        self
    }

    fn add(&mut self, service: &'static str, Route { method, path, endpoint }: Route) {
        let at = self.paths.iter().position(|entry| entry.path == path).unwrap_or_else(|| {
            let metrics = self.metrics.route(service, path);
            let allow = HeaderValue::from_static("");
            self.paths.push(PathEntry { path, endpoints: Vec::new(), allow, metrics });
            self.paths.len() - 1
        });
        let entry = &mut self.paths[at];
        entry.endpoints.push((method, endpoint));
        let names: Vec<&str> = entry.endpoints.iter().map(|(method, _)| method.as_str()).collect();
        entry.allow = HeaderValue::from_str(&names.join(", "))
            .expect("names of methods are valid in a header");
    }

    /// Looks a request up.
    pub(crate) fn find(&self, method: &Method, path: &str) -> Match<'_> {
        let Some(entry) = self.paths.iter().find(|entry| matches(entry.path, path)) else {
            return Match::UnknownPath(&self.unknown);
        };
        match entry.endpoints.iter().find(|(has, _)| has == method) {
            Some((_, endpoint)) => Match::Found(&entry.metrics, endpoint),
            None => Match::WrongMethod(&entry.metrics, &entry.allow),
        }
    }
}

/// Whether `path` has the form of `pattern`.
fn matches(pattern: &str, path: &str) -> bool {
    let mut path = path.as_bytes();
    let mut pattern = pattern.as_bytes();
    while let Some((&want, pattern_rest)) = pattern.split_first() {
        if want == b'{' {
            let value = path.iter().position(|&b| b == b'/').unwrap_or(path.len());
            let name = pattern.iter().position(|&b| b == b'}').map_or(pattern.len(), |at| at + 1);
            if value == 0 {
                return false;
            }
            path = &path[value..];
            pattern = &pattern[name..];
        } else if path.first() == Some(&want) {
            path = &path[1..];
            pattern = pattern_rest;
        } else {
            return false;
        }
    }
    path.is_empty()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_pattern_matches_whole_paths_only() {
        let pattern = "/v1/stores/{storeID}/top-items";
        for (path, expected) in [
            ("/v1/stores/5/top-items", true),
            ("/v1/stores/x%20y/top-items", true),
            ("/v1/stores//top-items", false),
            ("/v1/stores/5/6/top-items", false),
            ("/v1/stores/5/top-items/", false),
            ("/v1/stores/5/top-item", false),
            ("/v1/stores/5", false),
            ("", false),
        ] {
            assert_eq!(matches(pattern, path), expected, "{path}");
        }
        assert!(matches("/a/{b}", "/a/b"));
        assert!(!matches("/a/{b}", "/a/"));
        assert!(!matches("/a/{b}", "/a/b/"));
    }

    fn any() -> impl Filter<Extract = (String,), Error = Rejection> + Clone {
        warp::path::param()
    }

    #[test]
    fn unknown_paths_and_wrong_methods_are_told_apart() {
        let metrics = telemetry::Metrics::new().unwrap();
        let table = RouteTable::new(&metrics.http)
            .with(Routes::new("a").get("/x/{id}", any()).post("/x/{id}", any()))
            .with(Routes::new("b").post("/y", any()));
        assert!(matches!(table.find(&Method::GET, "/x/1"), Match::Found(..)));
        assert!(matches!(table.find(&Method::HEAD, "/x/1"), Match::Found(..)));
        assert!(matches!(table.find(&Method::POST, "/y"), Match::Found(..)));
        assert!(matches!(table.find(&Method::POST, "/z"), Match::UnknownPath(_)));
        match table.find(&Method::DELETE, "/x/1") {
            Match::WrongMethod(_, allow) => assert_eq!(allow, "GET, HEAD, POST"),
            other => panic!("{other:?}"),
        }
    }
}
