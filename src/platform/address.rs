//! Identifiers as parts of an address.

use std::fmt::Write as _;

/// Can the text stand as one segment of a path? `.` and `..` would be taken for steps, however they are escaped.
pub(super) fn is_segment(text: &str) -> bool {
    !matches!(text, "" | "." | "..")
}

/// Percent-encodes all but the unreserved characters of RFC 3986.
pub(super) fn escape(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for byte in text.bytes() {
        if byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'.' | b'_' | b'~') {
            out.push(char::from(byte));
        } else {
            let _ = write!(out, "%{byte:02X}");
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn identifiers_are_escaped_in_paths() {
        assert_eq!(escape("C/1 é?#%"), "C%2F1%20%C3%A9%3F%23%25");
    }
}
