//! Query strings: parameters of presigned requests, and the form that is signed.

/// The parameter that carries the signature, and so is not part of what is signed.
const SIGNATURE: &str = "X-Amz-Signature";

/// A parameter, percent-decoded.
pub(super) fn parameter(query: &str, name: &str) -> Option<String> {
    pairs(query)
        .find(|(key, _)| key == name.as_bytes())
        .map(|(_, value)| String::from_utf8_lossy(&value).into_owned())
}

/// Sorted by encoded name, then value; everything but RFC 3986's unreserved characters encoded.
pub(super) fn canonical(query: &str) -> String {
    let mut encoded: Vec<(String, String)> = pairs(query)
        .filter(|(key, _)| key != SIGNATURE.as_bytes())
        .map(|(key, value)| (percent_encoded(&key), percent_encoded(&value)))
        .collect();
    encoded.sort();
    let joined: Vec<String> = encoded
        .into_iter()
        .map(|(key, value)| format!("{key}={value}"))
        .collect();
    joined.join("&")
}

fn pairs(query: &str) -> impl Iterator<Item = (Vec<u8>, Vec<u8>)> {
    query
        .split('&')
        .filter(|pair| !pair.is_empty())
        .map(|pair| pair.split_once('=').unwrap_or((pair, "")))
        .map(|(key, value)| (percent_decoded(key), percent_decoded(value)))
}

fn percent_encoded(bytes: &[u8]) -> String {
    let mut out = String::with_capacity(bytes.len());
    for &byte in bytes {
        match byte {
            b'A'..=b'Z' | b'a'..=b'z' | b'0'..=b'9' | b'-' | b'_' | b'.' | b'~' => {
                out.push(char::from(byte));
            }
            _ => out += &format!("%{byte:02X}"),
        }
    }
    out
}

fn percent_decoded(text: &str) -> Vec<u8> {
    let mut rest = text.as_bytes();
    let mut out = Vec::with_capacity(rest.len());
    while let Some((&byte, tail)) = rest.split_first() {
        let escaped = match (byte, tail) {
            (b'%', [high, low, after @ ..]) => {
                hex(*high).zip(hex(*low)).map(|(h, l)| (h * 16 + l, after))
            }
            _ => None,
        };
        let (decoded, after) = escaped.unwrap_or((byte, tail));
        out.push(decoded);
        rest = after;
    }
    out
}

fn hex(digit: u8) -> Option<u8> {
    char::from(digit)
        .to_digit(16)
        .and_then(|value| u8::try_from(value).ok())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn parameters_are_decoded_and_sorted() {
        let query = "b=2&a=%2f%zz&X-Amz-Signature=s&a=%41&c&&d=%C3%A9+";
        assert_eq!(parameter(query, "b").as_deref(), Some("2"));
        assert_eq!(parameter(query, "c").as_deref(), Some(""));
        assert_eq!(parameter(query, "x"), None);
        assert_eq!(canonical(query), "a=%2F%25zz&a=A&b=2&c=&d=%C3%A9%2B");
        assert_eq!(canonical(""), "");
        assert_eq!(parameter("a=%4", "a").as_deref(), Some("%4"));
    }
}
