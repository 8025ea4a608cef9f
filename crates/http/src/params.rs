//! What a client gives by name, in the query or in a header: once, and nothing that nobody knows.

use hyper::header::{HeaderMap, HeaderName};

use crate::HttpError;

/// The decoded query parameters of a request, for look-up by name. `known` are the names there are.
///
/// # Errors
/// 400 if one is unknown, or given more than once.
pub fn known_params<'a>(
    pairs: &'a [(String, String)],
    known: &[&str],
) -> Result<impl Fn(&str) -> Option<&'a str> + use<'a>, HttpError> {
    for (i, (name, _)) in pairs.iter().enumerate() {
        if !known.contains(&name.as_str()) {
            let (name, known) = (name.chars().take(40).collect::<String>(), known.join(", "));
            return Err(HttpError::bad_request(format!(
                "unknown query parameter '{name}': expected {known}"
            )));
        }
        if pairs[..i].iter().any(|(before, _)| before == name) {
            return Err(HttpError::bad_request(format!(
                "query parameter '{name}' is given more than once"
            )));
        }
    }
    Ok(move |name: &str| pairs.iter().find(|(n, _)| n == name).map(|(_, value)| value.as_str()))
}

/// The text of a header that may occur once; `shown` is its name in messages.
///
/// # Errors
/// 400 if it is given more than once, or has bytes that are not ASCII.
pub fn single_header<'a>(
    headers: &'a HeaderMap,
    name: &HeaderName,
    shown: &str,
) -> Result<Option<&'a str>, HttpError> {
    let mut values = headers.get_all(name).iter();
    let Some(value) = values.next() else { return Ok(None) };
    if values.next().is_some() {
        return Err(HttpError::bad_request(format!("{shown}: given more than once")));
    }
    value
        .to_str()
        .map(|text| Some(text.trim()))
        .map_err(|_| HttpError::bad_request(format!("{shown}: has characters that are not ASCII")))
}
