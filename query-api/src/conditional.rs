//! `If-None-Match` (RFC 9110, section 13.1.2). Other conditions are for changes, or go by dates, which lists have none of.

use hyper::header::{HeaderMap, IF_NONE_MATCH};

/// Whether `If-None-Match` names `etag`, so that the answer is 304.
///
/// Compares weakly. Our tags have no comma in them, so a list can be split at every comma: a tag that
/// has one is not ours.
pub(crate) fn is_known(headers: &HeaderMap, etag: &[u8]) -> bool {
    headers
        .get_all(IF_NONE_MATCH)
        .iter()
        .flat_map(|value| value.as_bytes().split(|&b| b == b','))
        .map(<[u8]>::trim_ascii)
        .any(|tag| tag == b"*" || opaque(tag) == opaque(etag))
}

fn opaque(tag: &[u8]) -> &[u8] {
    tag.strip_prefix(b"W/").unwrap_or(tag)
}

#[cfg(test)]
mod tests {
    use hyper::header::HeaderValue;

    use super::*;

    #[test]
    fn tags_are_compared_weakly_in_lists_and_in_several_headers() {
        let known = |values: &[&'static str], etag: &str| {
            let mut headers = HeaderMap::new();
            for value in values {
                headers.append(IF_NONE_MATCH, HeaderValue::from_static(value));
            }
            is_known(&headers, etag.as_bytes())
        };
        assert!(known(&["*"], "\"a\""));
        assert!(known(&["\"a\""], "\"a\""));
        assert!(known(&["W/\"a\""], "\"a\""));
        assert!(known(&["\"a\""], "W/\"a\""));
        assert!(known(&["\"x\", W/\"a\" ,\"y\""], "W/\"a\""));
        assert!(known(&["\"x\"", "\"a\""], "\"a\""));
        assert!(!known(&[], "\"a\""));
        assert!(!known(&["\"b\""], "\"a\""));
        assert!(!known(&["a"], "\"a\""));
    }
}
