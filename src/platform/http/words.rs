//! What the templates of a request are filled with, and the request that comes of them.

use std::fmt::Write as _;

use reqwest::header::HeaderValue;
use serde_json::Value as Json;
use sha2::{Digest, Sha256};

use super::pointer::lay_over;
use super::template::{Body, Line, Words};
use crate::config::meant::http::{Call, Http};
use crate::outcome::Code;
use crate::platform::{Request, ValueFault};
use crate::row::Target;

/// Words that say which pass is meant.
pub const OF_PASS: [&str; 3] = ["external_id", "pass_id", "id"];
/// Words of every request that changes something.
pub const OF_CALL: [&str; 4] = ["reference", "key", "uuid", "found"];
/// Words of requests that give or take amounts.
pub const OF_AMOUNT: [&str; 2] = ["amount", "amounts"];
/// Words of requests that notify.
pub const OF_MESSAGE: [&str; 3] = ["message", "field", "name"];
/// A moment; requests that must not be repeated have none, because the same bytes must be sent again.
pub const OF_TIME: [&str; 1] = ["now"];

/// Which pass is meant, as far as is known.
pub(super) fn of_pass(target: &Target, pass_id: Option<&str>) -> Words {
    let mut words = Words::default();
    words.set("id", target.text());
    match target {
        Target::External(external) => words.set("external_id", external),
        Target::Pass(id) => words.set("pass_id", id),
    }
    if let Some(id) = pass_id {
        words.set("pass_id", id);
    }
    words
}

/// A key of its own for this text: the text, and the same as a UUID (RFC 9562, version 8).
pub(super) fn set_key(words: &mut Words, key: &str) {
    words.set("key", key);
    let digest = Sha256::digest(key.as_bytes());
    let mut bytes: [u8; 16] = std::array::from_fn(|index| digest[index]);
    bytes[6] = bytes[6] & 0x0f | 0x80;
    bytes[8] = bytes[8] & 0x3f | 0x80;
    let hex = hex(&bytes);
    words.set("uuid", &format!("{}-{}-{}-{}-{}", &hex[..8], &hex[8..12], &hex[12..16], &hex[16..20], &hex[20..]));
}

pub(super) fn hex(bytes: &[u8]) -> String {
    bytes.iter().fold(String::new(), |mut text, byte| {
        let _ = write!(text, "{byte:02x}");
        text
    })
}

/// A value and the field it is of.
pub(super) struct Placed<'v> {
    pub name: &'v str,
    pub json: Json,
}

impl Http {
    /// The body of a call: `under` first, then what the call always says, then the values at their places.
    pub(super) fn body(&self, call: &Call, words: &Words, under: Option<Json>, values: &[Placed<'_>]) -> Result<Option<Json>, String> {
        let Some(template) = &call.body else { return Ok(None) };
        self.fill(template, &call.places, words, under, values).map(Some)
    }

    pub(super) fn fill(
        &self,
        template: &Body,
        places: &[(String, super::pointer::Pointer)],
        words: &Words,
        under: Option<Json>,
        values: &[Placed<'_>],
    ) -> Result<Json, String> {
        let mut body = under.unwrap_or_else(|| Json::Object(serde_json::Map::new()));
        lay_over(&mut body, template.fill(words)?);
        for Placed { name, json } in values {
            let Some((field, star)) = self.field_named(name) else {
                return Err(format!("the platform's fields do not declare \"{name}\""));
            };
            let own = places.iter().find(|(of, _)| of == name || *of == field.name.text).map(|(_, place)| place);
            let place = own.unwrap_or(&field.at).with_name(star);
            if !place.set(&mut body, json.clone()) {
                return Err(format!("\"{name}\" cannot stand at {place} of the body: something else stands there"));
            }
        }
        Ok(body)
    }

    /// Can a pass have this identifier? One that would lead to another address is found here, where a template takes it as it is; what
    /// templates make of others shows when they are filled.
    pub(super) fn check_target(&self, target: &Target) -> Result<(), ValueFault> {
        let text = target.text();
        let length = text.chars().count();
        if let Some(most) = self.id_max.filter(|most| length > *most) {
            let message = format!("the identifier has {length} characters; the platform takes {most} (id_max)");
            return Err(ValueFault { code: Code::ValueTooLarge, message });
        }
        let words = of_pass(target, None);
        let lines = self.lines().into_iter().filter(|line| line.names().iter().all(|name| words.has(name)));
        // Nothing but steps, and what a filter may take away, leads elsewhere.
        let risky = text.chars().all(|c| c == '.' || c.is_whitespace());
        match lines.filter(|_| risky).find_map(|line| line.fill(&words).err()) {
            Some(message) => Err(ValueFault { code: Code::MappingError, message }),
            None => Ok(()),
        }
    }

    /// The lines of all requests.
    fn lines(&self) -> Vec<&Line> {
        let calls = [&self.expire, &self.void].into_iter().flatten();
        let changes = self.update.iter().map(|update| &update.call).chain(self.create.iter().map(|create| &create.call)).chain(calls);
        let adds = [&self.earn, &self.burn, &self.redeem, &self.notify].into_iter().flatten().map(|add| &add.call);
        self.find.iter().map(|find| &find.line).chain(changes.chain(adds).map(|call| &call.line)).collect()
    }

    /// A request without the platform's own headers for each. It may be repeated.
    pub(super) fn request(
        &self,
        line: &Line,
        headers: &[(reqwest::header::HeaderName, super::template::Template)],
        body: Option<&Json>,
        words: &Words,
    ) -> Result<Request, String> {
        let mut request = Request::new(line.method.clone(), line.fill(words)?);
        request.headers.clone_from(&self.headers);
        for (name, value) in headers {
            let text = value.fill(words)?;
            // Bytes beyond ASCII are allowed in a header; line ends are not, whatever brings them.
            let value = HeaderValue::from_bytes(text.as_bytes())
                .map_err(|_| format!("the header {name} would hold a line end or another character that no header may hold"))?;
            request.headers.push((name.clone(), value));
        }
        Ok(match body {
            Some(body) => request.json(body),
            None => request,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::platform::http::template::Template;

    #[test]
    fn a_key_is_the_same_uuid_for_ever() {
        let mut words = Words::default();
        set_key(&mut words, "k00-earn");
        let uuid = Template::parse("{{ uuid }}").unwrap().fill(&words).unwrap();
        assert_eq!(uuid.len(), 36);
        assert_eq!(&uuid[14..15], "8");
        let mut again = Words::default();
        set_key(&mut again, "k00-earn");
        assert_eq!(Template::parse("{{ uuid }}").unwrap().fill(&again).unwrap(), uuid);
        let mut other = Words::default();
        set_key(&mut other, "k01-earn");
        assert_ne!(Template::parse("{{ uuid }}").unwrap().fill(&other).unwrap(), uuid);
    }
}
