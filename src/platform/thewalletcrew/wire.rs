//! Paths, bodies and passes as they travel (contract 2).

use reqwest::Method;
use serde_json::{Map, Value as Json};

use super::Scope;
use super::fields::Block;
use crate::platform::{Request, strict};
use crate::row::Target;

/// Bytes of one update, our own limit: what is larger is no pass.
pub(super) const BODY_BYTES_MAX: usize = 256 << 10;

/// A pass as the platform answers it. Its `secret` is dropped as it is read.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Pass(Map<String, Json>);

impl Pass {
    /// The state a pass was found in, for [`crate::row::Found`].
    pub(super) fn into_state(self) -> Json {
        Json::Object(self.0)
    }

    pub(super) fn id(&self) -> &str {
        self.text("id")
    }

    pub(super) fn pass_type(&self) -> &str {
        self.text("passType")
    }

    fn text(&self, name: &str) -> &str {
        self.0.get(name).and_then(Json::as_str).unwrap_or_default()
    }

    /// A block, flat: whether dotted names come as one key or as nested objects is not public (contract 2.3), so both are read.
    pub(super) fn block(&self, block: Block) -> Map<String, Json> {
        let mut flat = Map::new();
        if let Some(Json::Object(inner)) = self.0.get(block.name()) {
            if block == Block::Identifiers { flatten("", inner, &mut flat) } else { flat.clone_from(inner) }
        }
        flat
    }

    /// Does the pass hold this key with this value? None asks whether it holds nothing there. A number and its text are the same here.
    pub(super) fn holds(&self, block: Block, key: &str, value: Option<&Json>) -> bool {
        let held = self.block(block).remove(key).filter(|held| !held.is_null() && held.as_str() != Some(""));
        match (held, value.filter(|value| !value.is_null() && value.as_str() != Some(""))) {
            (None, None) => true,
            (Some(held), Some(value)) => held == *value || plain(&held) == plain(value),
            _ => false,
        }
    }

    /// Is it the pass that was asked for?
    pub(super) fn is(&self, scope: &Scope, target: &Target) -> bool {
        let type_fits = match &scope.settings.pass_type {
            Some(wanted) if !self.pass_type().is_empty() => self.pass_type() == wanted,
            _ => true,
        };
        type_fits
            && match (target, &scope.settings.identifier) {
                (Target::External(value), Some(name)) => self.block(Block::Identifiers).get(name).is_some_and(|held| plain(held) == *value),
                (Target::External(_), None) => false,
                (Target::Pass(id), _) => self.id() == id,
            }
    }
}

fn flatten(prefix: &str, object: &Map<String, Json>, into: &mut Map<String, Json>) {
    for (key, value) in object {
        let name = if prefix.is_empty() { key.clone() } else { format!("{prefix}.{key}") };
        match value {
            Json::Object(inner) => flatten(&name, inner, into),
            value => drop(into.insert(name, value.clone())),
        }
    }
}

fn plain(value: &Json) -> String {
    value.as_str().map_or_else(|| value.to_string(), str::to_owned)
}

/// Reads a listing whole, or not at all.
pub(super) fn parse_list(body: &[u8]) -> Option<Vec<Pass>> {
    strict::array(body)?
        .into_iter()
        .map(|one| match one {
            Json::Object(mut object) => {
                object.remove("secret");
                Some(Pass(object)).filter(|pass| !pass.id().is_empty())
            }
            _ => None,
        })
        .collect()
}

/// The pass that a creation made, where the answer names it.
pub(super) fn created_id(body: &[u8]) -> Option<String> {
    let answer = strict::object(body)?;
    let named = |name: &str| answer.get(name).and_then(Json::as_str).filter(|id| !id.is_empty()).map(str::to_owned);
    named("passId").or_else(|| named("id"))
}

impl Scope {
    fn passes(&self, query: &[(String, String)]) -> String {
        let pairs: Vec<String> = query.iter().map(|(name, value)| format!("{}={}", escape(name), escape(value))).collect();
        let query = pairs.join("&");
        format!("/api/{}/passes{}{query}", escape(&self.settings.tenant), if query.is_empty() { "" } else { "?" })
    }

    /// Section 2.3. Two are asked for: the second shows that the identifier is not one pass's.
    pub(super) fn look(&self, target: &Target) -> Request {
        let field = match (target, &self.settings.identifier) {
            (Target::External(_), Some(name)) => format!("identifiers.{name}"),
            _ => "id".to_owned(),
        };
        let mut filters = vec![(field, target.text().to_owned())];
        filters.extend(self.settings.pass_type.clone().map(|wanted| ("passType".to_owned(), wanted)));
        let mut query = vec![pair("pageIndex", "0"), pair("pageSize", "2")];
        for (index, (field, value)) in filters.into_iter().enumerate() {
            query.push((format!("filter[{index}].field"), field));
            query.push((format!("filter[{index}].operator"), "equals".to_owned()));
            query.push((format!("filter[{index}].value"), value));
        }
        Request::new(Method::GET, self.passes(&query))
    }

    /// A page of all passes, by id so that pages do not shift under the reader.
    pub(super) fn page(&self, index: u64) -> Request {
        let mut query = vec![pair("pageIndex", &index.to_string()), pair("pageSize", &self.settings.page_size.to_string())];
        query.extend([pair("sortBy[0].field", "id"), pair("sortBy[0].direction", "ASC")]);
        if let Some(wanted) = &self.settings.pass_type {
            query.extend([pair("filter[0].field", "passType"), pair("filter[0].operator", "equals"), pair("filter[0].value", wanted)]);
        }
        Request::new(Method::GET, self.passes(&query))
    }

    /// Section 2.4. All the identifiers given must be the pass's.
    pub(super) fn patch(&self, identifiers: &[(String, String)], body: &Json) -> Request {
        let mut query = identifiers.to_vec();
        if let Some(wanted) = self.settings.pass_type.as_ref().filter(|_| self.settings.type_in_updates) {
            query.push(("passType".to_owned(), wanted.clone()));
        }
        Request::new(Method::PATCH, self.passes(&query)).json(body)
    }

    /// Section 2.6. Whether the same identifier twice makes two passes is not public, so it is sent once unless the account says otherwise.
    pub(super) fn create(&self, body: &Json) -> Request {
        let query: Vec<_> = self.settings.pass_type.iter().map(|wanted| pair("passType", wanted)).collect();
        let request = Request::new(Method::POST, self.passes(&query)).json(body);
        if self.settings.create_again { request } else { request.once() }
    }

    /// The query pair that names a target.
    pub(super) fn named(&self, target: &Target) -> (String, String) {
        match (target, &self.settings.identifier) {
            (Target::External(value), Some(name)) => (format!("id.{name}"), value.clone()),
            (target, _) => ("id".to_owned(), target.text().to_owned()),
        }
    }
}

fn pair(name: &str, value: &str) -> (String, String) {
    (name.to_owned(), value.to_owned())
}

/// Percent-encodes all but the unreserved characters of RFC 3986.
fn escape(text: &str) -> String {
    url::form_urlencoded::byte_serialize(text.as_bytes()).collect::<String>().replace('+', "%20").replace('*', "%2A")
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn names_and_values_are_escaped() {
        assert_eq!(escape("filter[0].value a+b/é*~-_."), "filter%5B0%5D.value%20a%2Bb%2F%C3%A9%2A%7E-_.");
    }

    #[test]
    fn identifiers_are_read_flat_or_nested_and_the_secret_is_dropped() {
        for identifiers in [json!({ "y2.customerId": "7", "crm": "1" }), json!({ "y2": { "customerId": "7" }, "crm": "1" })] {
            let body = json!([{ "id": "Ed34kg3oA47", "secret": "s3cr3t", "identifiers": identifiers }]).to_string();
            let pass = parse_list(body.as_bytes()).unwrap().remove(0);
            assert!(pass.holds(Block::Identifiers, "y2.customerId", Some(&json!("7"))));
            assert!(!format!("{pass:?}{}", pass.clone().into_state()).contains("s3cr3t"));
        }
    }

    #[test]
    fn a_listing_is_read_whole_or_not_at_all() {
        assert_eq!(parse_list(b"[]").unwrap(), []);
        for body in [&b"{}"[..], b"[{}]", b"[1]", b"[{\"id\":\"a\"}", b"", b"<html>", br#"[{"id":"a","id":"b"}]"#] {
            assert_eq!(parse_list(body), None, "{}", String::from_utf8_lossy(body));
        }
    }

    #[test]
    fn a_number_and_its_text_are_held_alike_and_nothing_is_null_or_empty() {
        let body = br#"[{"id":"abcde","additionalData":{"n":58.2,"t":"58.2","e":"","z":null}}]"#;
        let pass = parse_list(body).unwrap().remove(0);
        let holds = |key, value: Json| pass.holds(Block::AdditionalData, key, Some(&value));
        assert!(holds("n", json!("58.2")) && holds("t", json!(58.2)) && !holds("n", json!("58.20")));
        for key in ["e", "z", "absent"] {
            assert!(pass.holds(Block::AdditionalData, key, None), "{key}");
        }
        assert!(!pass.holds(Block::AdditionalData, "n", None));
    }
}
