//! The table of routes: tells an unknown path from a wrong method, and gives every request its
//! metrics, before the filters of warp take it apart.

use hyper::{Method, header::HeaderValue};
use telemetry::{HttpMetrics, RouteMetrics};

/// A method and a path that a service has, such as `GET /items/store/{storeID}`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Route {
    /// The method.
    pub method: Method,
    /// The path; a segment in braces stands for any one segment that is not empty.
    pub path: &'static str,
}

impl Route {
    /// A route for GET.
    pub const fn get(path: &'static str) -> Self {
        Self { method: Method::GET, path }
    }

    /// A route for POST.
    pub const fn post(path: &'static str) -> Self {
        Self { method: Method::POST, path }
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
    methods: Vec<Method>,
    allow: HeaderValue,
    metrics: RouteMetrics,
}

/// What the table says about a request.
#[derive(Debug)]
pub(crate) enum Match<'a> {
    /// Some service has it.
    Found(&'a RouteMetrics),
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

    /// Adds the routes of `service`; its name and the paths become labels of metrics.
    #[must_use]
    pub fn with(mut self, service: &'static str, routes: &[Route]) -> Self {
        for route in routes {
            self.add(service, route);
        }
        self
    }

    fn add(&mut self, service: &'static str, route: &Route) {
        if let Some(entry) = self.paths.iter_mut().find(|entry| entry.path == route.path) {
            entry.methods.push(route.method.clone());
            let names: Vec<&str> = entry.methods.iter().map(Method::as_str).collect();
            entry.allow = HeaderValue::from_str(&names.join(", "))
                .expect("names of methods are valid in a header");
            return;
        }
        self.paths.push(PathEntry {
            path: route.path,
            methods: vec![route.method.clone()],
            allow: HeaderValue::from_str(route.method.as_str())
                .expect("names of methods are valid in a header"),
            metrics: self.metrics.route(service, route.path),
        });
    }

    /// Looks a request up. The number of routes is small and fixed, so a scan is quick.
    pub(crate) fn find(&self, method: &Method, path: &str) -> Match<'_> {
        match self.paths.iter().find(|entry| matches(entry.path, path)) {
            None => Match::UnknownPath(&self.unknown),
            Some(entry) if entry.methods.contains(method) => Match::Found(&entry.metrics),
            Some(entry) => Match::WrongMethod(&entry.metrics, &entry.allow),
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

    #[test]
    fn unknown_paths_and_wrong_methods_are_told_apart() {
        let metrics = telemetry::Metrics::new().unwrap();
        let table = RouteTable::new(&metrics.http)
            .with("a", &[Route::get("/x/{id}"), Route::post("/x/{id}")])
            .with("b", &[Route::post("/y")]);
        assert!(matches!(table.find(&Method::GET, "/x/1"), Match::Found(_)));
        assert!(matches!(table.find(&Method::POST, "/y"), Match::Found(_)));
        assert!(matches!(table.find(&Method::POST, "/z"), Match::UnknownPath(_)));
        match table.find(&Method::DELETE, "/x/1") {
            Match::WrongMethod(_, allow) => assert_eq!(allow, "GET, POST"),
            other => panic!("{other:?}"),
        }
    }
}
