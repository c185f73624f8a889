//! Requests to Google and what its answers hold (contract 4).

use bytes::Bytes;
use reqwest::Method;
use serde_json::{Map, Value as Json, json};

use super::Scope;
use crate::platform::{Request, strict};

const API: &str = "/walletobjects/v1";

impl Scope {
    /// Some members of an object. Identifiers hold only letters, digits, `.`, `_` and `-`, which stand for themselves in a path.
    pub(super) fn get(&self, id: &str, members: &[&str]) -> Request {
        let fields = if members.is_empty() { "id".to_owned() } else { format!("id,{}", members.join(",")) };
        Request::new(Method::GET, format!("{API}/{}/{id}?prettyPrint=false&fields={fields}", self.names.object))
    }

    pub(super) fn patch(&self, id: &str, body: Map<String, Json>) -> Request {
        Request::new(Method::PATCH, format!("{API}/{}/{id}?prettyPrint=false&fields=id", self.names.object)).json(&Json::Object(body))
    }

    pub(super) fn insert(&self, body: Map<String, Json>) -> Request {
        Request::new(Method::POST, format!("{API}/{}?prettyPrint=false&fields=id", self.names.object)).json(&Json::Object(body))
    }

    pub(super) fn add_message(&self, id: &str, message: &Json) -> Request {
        Request::new(Method::POST, format!("{API}/{}/{id}/addMessage?prettyPrint=false", self.names.object))
            .json(&json!({ "message": message }))
            .once()
    }

    pub(super) fn list(&self, class_id: &str, page: usize, token: Option<&str>) -> Request {
        let token = token.map(|token| format!("&token={}", escape(token))).unwrap_or_default();
        let path = format!("{API}/{}?prettyPrint=false&classId={class_id}&maxResults={page}{token}", self.names.object);
        Request::new(Method::GET, path)
    }

    pub(super) fn class(&self, class_id: &str) -> Request {
        Request::new(Method::GET, format!("{API}/{}/{class_id}?prettyPrint=false", self.names.class))
    }
}

/// A page's token is Google's own text.
fn escape(text: &str) -> String {
    url::form_urlencoded::byte_serialize(text.as_bytes()).collect()
}

/// The object of an answer, when it is the one that was asked for.
pub(super) fn object(body: &Bytes, id: &str) -> Result<Map<String, Json>, String> {
    let object = strict::object(body).ok_or("the answer is not a JSON object")?;
    match object.get("id").and_then(Json::as_str) {
        Some(theirs) if theirs == id => Ok(object),
        Some(_) => Err("the answer is about another object".to_owned()),
        None => Err("the answer names no object".to_owned()),
    }
}

/// The `reason` of the first error (contract 10).
pub(super) fn reason(body: &[u8]) -> Option<String> {
    let json: Json = serde_json::from_slice(body).ok()?;
    json.pointer("/error/errors/0/reason").and_then(Json::as_str).map(str::to_owned)
}
