//! External IDs and the identifiers of objects (contract 3).
//!
//! There is no search by external ID: an object's identifier is made from it, in a way that can be undone and never makes one of two.

use std::fmt::Write as _;

use crate::config::meant::ObjectIds;
use crate::outcome::Code;
use crate::platform::ValueFault;
use crate::row::Target;

/// Letters, digits, `.`, `_` and `-`: what Google allows behind the issuer.
pub(crate) fn is_identifier(text: &str) -> bool {
    text.bytes().all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'.' | b'_' | b'-'))
}

/// How identifiers are made.
#[derive(Clone, Debug)]
pub(super) struct Ids {
    pub issuer: String,
    pub prefix: String,
    pub form: ObjectIds,
    pub max: usize,
}

impl Ids {
    /// The object that a target means.
    pub(super) fn object(&self, target: &Target) -> Result<String, ValueFault> {
        let fault = |code, message: String| Err(ValueFault { code, message });
        let id = match target {
            Target::Pass(id) => {
                let ours = id.strip_prefix(&self.issuer).and_then(|rest| rest.strip_prefix('.'));
                if !ours.is_some_and(|rest| !rest.is_empty() && is_identifier(rest)) {
                    let words = format!("an object of this issuer is {}. and letters, digits, `.`, `_` or `-`", self.issuer);
                    return fault(Code::MappingError, words);
                }
                id.clone()
            }
            Target::External(external) => {
                let suffix = match self.form {
                    ObjectIds::Escaped => escape(external),
                    ObjectIds::Plain if is_identifier(external) => external.clone(),
                    ObjectIds::Plain => {
                        let words = "Google allows letters, digits, `.`, `_` and `-` in an identifier, and object_ids = \"plain\" sends it as it is";
                        return fault(Code::MappingError, words.to_owned());
                    }
                };
                format!("{}.{}{suffix}", self.issuer, self.prefix)
            }
        };
        if id.len() > self.max {
            let words = format!("the object's identifier would have {} characters; at most {} are allowed (id_max)", id.len(), self.max);
            return fault(Code::ValueTooLarge, words);
        }
        Ok(id)
    }

    /// The external ID that an object was made from; none where it was not made here.
    pub(super) fn external(&self, object: &str) -> Option<String> {
        let suffix = object.strip_prefix(&self.issuer)?.strip_prefix('.')?.strip_prefix(&self.prefix)?;
        let external = match self.form {
            ObjectIds::Plain => suffix.to_owned(),
            ObjectIds::Escaped => unescape(suffix)?,
        };
        (!external.is_empty()).then_some(external)
    }
}

/// Every byte beyond letters, digits, `.` and `-` becomes `_` and two hexadecimal digits; `_` itself as well.
fn escape(external: &str) -> String {
    let mut out = String::with_capacity(external.len());
    for byte in external.bytes() {
        if byte.is_ascii_alphanumeric() || matches!(byte, b'.' | b'-') {
            out.push(char::from(byte));
        } else {
            let _ = write!(out, "_{byte:02x}");
        }
    }
    out
}

/// None for what `escape` never makes.
fn unescape(suffix: &str) -> Option<String> {
    let mut bytes = Vec::with_capacity(suffix.len());
    let mut rest = suffix.as_bytes();
    while let Some((&byte, tail)) = rest.split_first() {
        rest = tail;
        if byte == b'_' {
            let digits = std::str::from_utf8(rest.get(..2)?).ok()?;
            bytes.push(u8::from_str_radix(digits, 16).ok()?);
            rest = rest.get(2..)?;
        } else {
            bytes.push(byte);
        }
    }
    let external = String::from_utf8(bytes).ok()?;
    (escape(&external) == suffix).then_some(external)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ids(form: ObjectIds) -> Ids {
        Ids { issuer: "3388000000012345678".to_owned(), prefix: "m-".to_owned(), form, max: 60 }
    }

    fn external(text: &str) -> Target {
        Target::External(text.to_owned())
    }

    #[test]
    fn an_external_id_is_read_back_from_its_object() {
        let ids = ids(ObjectIds::Escaped);
        assert_eq!(ids.object(&external("C-1.x")).unwrap(), "3388000000012345678.m-C-1.x");
        assert_eq!(ids.object(&external("a_b")).unwrap(), "3388000000012345678.m-a_5fb");
        for text in ["C-1", "a_b", "a b", "é/ü", "a@b.example", "_5f", "..", "0012", "日本"] {
            let object = ids.object(&external(text)).unwrap();
            assert!(is_identifier(object.strip_prefix("3388000000012345678.").unwrap()), "{object}");
            assert_eq!(ids.external(&object).as_deref(), Some(text));
        }
        let mut all: Vec<_> = ["a_5f", "a_", "a__", "a_5f5f", "a"].iter().map(|text| ids.object(&external(text)).unwrap()).collect();
        all.sort();
        all.dedup();
        assert_eq!(all.len(), 5, "no two external IDs make one object");
    }

    #[test]
    fn objects_that_were_made_elsewhere_have_no_external_id() {
        let ids = ids(ObjectIds::Escaped);
        for object in
            ["3388000000012345678.x", "1.m-x", "3388000000012345678.m-a_b", "3388000000012345678.m-a_5F", "3388000000012345678.m-"]
        {
            assert_eq!(ids.external(object), None, "{object}");
        }
    }

    #[test]
    fn what_cannot_be_an_identifier_is_refused_before_anything_is_sent() {
        let code = |form, target: Target| ids(form).object(&target).err().map(|fault| fault.code);
        assert_eq!(code(ObjectIds::Plain, external("a_b")), None);
        assert_eq!(code(ObjectIds::Plain, external("a b")), Some(Code::MappingError));
        assert_eq!(code(ObjectIds::Escaped, external(&"x".repeat(38))), None);
        assert_eq!(code(ObjectIds::Escaped, external(&"x".repeat(39))), Some(Code::ValueTooLarge));
        assert_eq!(code(ObjectIds::Escaped, external(&"é".repeat(7))), Some(Code::ValueTooLarge), "escaped, each has six characters");
        assert_eq!(code(ObjectIds::Escaped, Target::Pass("3388000000012345678.any_thing".to_owned())), None);
        for pass in ["1.x", "3388000000012345678.", "3388000000012345678.a/b", "x"] {
            assert_eq!(code(ObjectIds::Escaped, Target::Pass(pass.to_owned())), Some(Code::MappingError), "{pass}");
        }
    }
}
