//! The formats of `string`.

use std::borrow::Cow;

use super::kind::{Reading, Unreadable};
use super::value::Value;

/// A format of `string`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum TextForm {
    Plain,
    Email,
    Uri,
    /// Base64 with its padding.
    Binary,
    Uuid,
}

impl TextForm {
    pub fn parse(format: &str) -> Option<TextForm> {
        Some(match format {
            "default" => TextForm::Plain,
            "email" => TextForm::Email,
            "uri" => TextForm::Uri,
            "binary" => TextForm::Binary,
            "uuid" => TextForm::Uuid,
            _ => return None,
        })
    }

    #[inline]
    pub fn fits(self, text: &str) -> bool {
        match self {
            TextForm::Plain => true,
            TextForm::Email => is_email(text),
            TextForm::Uri => is_uri(text),
            TextForm::Binary => is_base64(text.as_bytes()),
            TextForm::Uuid => is_uuid(text.as_bytes()),
        }
    }
}

pub(crate) fn read(text: &str, form: TextForm) -> Reading<'_> {
    if form.fits(text) {
        return Ok(Value::Text(Cow::Borrowed(text)));
    }
    let otherwise = match form {
        TextForm::Plain => "",
        TextForm::Email => "is not one e-mail address such as name@example.com",
        TextForm::Uri => "is not an absolute URI such as https://example.com/a",
        TextForm::Binary => "is not base64 with its padding",
        TextForm::Uuid => "is not a UUID of 32 hexadecimal digits, with hyphens or without",
    };
    let problem = Unreadable::new(otherwise);
    Err(if form == TextForm::Plain || text.trim() == text { problem } else { problem.suggest("remove the spaces around it") })
}

/// One address as RFC 5321 section 4.1.2 and RFC 6531 write it, in a domain that has a dot. Names before an address and comments are no
/// part of it.
fn is_email(text: &str) -> bool {
    let Some(at) = memchr::memrchr(b'@', text.as_bytes()) else { return false };
    let (local, domain) = (&text[..at], &text[at + 1..]);
    text.len() <= 254 && local.len() <= 64 && (is_dot_atom(local.as_bytes()) || is_quoted(local)) && is_domain(domain.as_bytes())
}

const fn is_atom_byte(byte: u8) -> bool {
    byte.is_ascii_alphanumeric()
        || byte >= 0x80
        || matches!(byte, b'!' | b'#'..=b'\'' | b'*' | b'+' | b'-' | b'/' | b'=' | b'?' | b'^'..=b'`' | b'{'..=b'~')
}

/// Bytes of a local part without quotes, and of a domain: dots included.
static LOCAL: [bool; 256] = table(false);
static DOMAIN: [bool; 256] = table(true);

const fn table(domain: bool) -> [bool; 256] {
    let mut table = [false; 256];
    let mut at = 0;
    while at < 256 {
        let byte = at as u8;
        let fits = if domain { byte.is_ascii_alphanumeric() || byte >= 0x80 || byte == b'-' } else { is_atom_byte(byte) };
        table[at] = fits || byte == b'.';
        at += 1;
    }
    table
}

fn is_dot_atom(local: &[u8]) -> bool {
    let empty = [Some(&b'.'), None];
    local.iter().all(|&byte| LOCAL[byte as usize])
        && !empty.contains(&local.first())
        && !empty.contains(&local.last())
        && !local.windows(2).any(|two| two == b"..")
}

fn is_quoted(local: &str) -> bool {
    let Some(inner) = local.strip_prefix('"').and_then(|rest| rest.strip_suffix('"')) else { return false };
    let mut letters = inner.chars();
    while let Some(letter) = letters.next() {
        let fits = match letter {
            '\\' => letters.next().is_some_and(|escaped| !escaped.is_control()),
            '"' => false,
            other => !other.is_control(),
        };
        if !fits {
            return false;
        }
    }
    true
}

fn is_domain(domain: &[u8]) -> bool {
    let is_label =
        |label: &[u8]| matches!(label, [first, .., last] if *first != b'-' && *last != b'-') || matches!(label, [only] if *only != b'-');
    let Some(dot) = memchr::memrchr(b'.', domain) else { return false };
    let last = &domain[dot + 1..];
    domain.iter().all(|&byte| DOMAIN[byte as usize])
        && domain.split(|&byte| byte == b'.').all(|label| label.len() <= 63 && is_label(label))
        && last.len() > 1
        && !last.iter().all(u8::is_ascii_digit)
}

/// RFC 3986: a scheme, then only bytes that it allows. Where an authority follows it must be one that can be reached.
fn is_uri(text: &str) -> bool {
    let Some((scheme, rest)) = text.split_once(':') else { return false };
    let named = scheme.starts_with(|letter: char| letter.is_ascii_alphabetic())
        && scheme.bytes().all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'+' | b'-' | b'.'));
    named && !rest.is_empty() && is_uri_text(rest.as_bytes()) && (!rest.starts_with("//") || url::Url::parse(text).is_ok())
}

fn is_uri_text(bytes: &[u8]) -> bool {
    let mut rest = bytes;
    loop {
        rest = match rest {
            [] => return true,
            [b'%', high, low, tail @ ..] if high.is_ascii_hexdigit() && low.is_ascii_hexdigit() => tail,
            [byte, tail @ ..] if byte.is_ascii_alphanumeric() || b"-._~:/?#[]@!$&'()*+,;=".contains(byte) => tail,
            _ => return false,
        };
    }
}

fn is_base64(bytes: &[u8]) -> bool {
    let padding = bytes.iter().rev().take_while(|byte| **byte == b'=').count();
    let body = &bytes[..bytes.len() - padding];
    bytes.len().is_multiple_of(4) && padding <= 2 && body.iter().all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'+' | b'/'))
}

fn is_uuid(bytes: &[u8]) -> bool {
    match bytes.len() {
        32 => bytes.iter().all(u8::is_ascii_hexdigit),
        36 => {
            bytes.iter().enumerate().all(|(at, byte)| if matches!(at, 8 | 13 | 18 | 23) { *byte == b'-' } else { byte.is_ascii_hexdigit() })
        }
        _ => false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses() {
        for text in ["a@b.co", "zoe.o'brien+x@mail.example.com", "\"a b\"@example.com", "jörg@müller.example", "a@1.example"] {
            assert!(is_email(text), "{text}");
        }
        for text in [
            "a@b",
            "A <a@b.co>",
            "a@b.co, c@d.co",
            "a b@c.co",
            ".a@b.co",
            "a.@b.co",
            "a@-b.co",
            "a@b-.co",
            "a@b..co",
            "a@b.co.",
            "a@1.2.3.4",
            "@b.co",
            "a@",
            " a@b.co",
        ] {
            assert!(!is_email(text), "{text}");
        }
    }

    #[test]
    fn uris() {
        for text in ["http://a.b/c", "mailto:x@y", "urn:isbn:1", "https://a.b/%C3%A9?q=1#f"] {
            assert!(is_uri(text), "{text}");
        }
        for text in ["a.b", "Note: hello", "12:30", "http://", "http:", "https://a.b/%G1", "C:\\temp", "https://a.b/é"] {
            assert!(!is_uri(text), "{text}");
        }
    }
}
