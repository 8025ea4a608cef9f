//! Paths as clients may write them: a letter, a digit or one of `-._~` means the same as its percent-encoding
//! (RFC 3986, section 6.2.2.2).

use hyper::{Uri, http::uri::PathAndQuery};

/// `uri` with such encodings in its path decoded; `None` if it has none. All other encodings stay: what they
/// stand for may mean something else in a path.
pub(crate) fn normalized(uri: &Uri) -> Option<Uri> {
    let path = decoded(uri.path())?;
    let path_and_query = match uri.query() {
        Some(query) => format!("{path}?{query}"),
        None => path,
    };
    let mut parts = uri.clone().into_parts();
    parts.path_and_query = Some(PathAndQuery::try_from(path_and_query).ok()?);
    Uri::from_parts(parts).ok()
}

fn decoded(path: &str) -> Option<String> {
    let (begin, rest) = path.split_once('%')?;
    let mut text = begin.to_owned();
    for part in rest.split('%') {
        if let Some(character) = part.get(..2).and_then(unreserved) {
            text.push(character);
            text.push_str(&part[2..]);
        } else {
            text.push('%');
            text.push_str(part);
        }
    }
    (text.len() < path.len()).then_some(text)
}

/// The character that two hexadecimal digits encode, if it means the same without.
fn unreserved(digits: &str) -> Option<char> {
    if !digits.bytes().all(|byte| byte.is_ascii_hexdigit()) {
        return None;
    }
    let character = char::from(u8::from_str_radix(digits, 16).ok()?);
    (character.is_ascii_alphanumeric() || "-._~".contains(character)).then_some(character)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_means_the_same_is_decoded() {
        for (text, expected) in [
            ("/items/store/%37", Some("/items/store/7")),
            ("/%69tems/%73tore/1%30?k=%37", Some("/items/store/10?k=%37")),
            ("/%7E%2d%2E%5f%41%7a/%2f%37", Some("/~-._Az/%2f7")),
            ("http://x/%37", Some("http://x/7")),
            ("/a?b=%37", None),
            ("/%2F%25%C3%A4%20", None),
            ("/%+7/%3/%", None),
            ("/%3\u{e4}", None),
            ("/7", None),
            ("*", None),
        ] {
            let uri = normalized(&text.parse().unwrap());
            assert_eq!(uri.map(|uri| uri.to_string()).as_deref(), expected, "{text}");
        }
    }
}
