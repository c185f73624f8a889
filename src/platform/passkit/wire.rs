//! Requests and passes as they travel (contract 2 and 4.3).

use reqwest::Method;
use serde_json::{Map, Value as Json, json};

use crate::platform::Request;
pub(super) use crate::platform::address::{escape, is_segment};
use crate::platform::strict;
use crate::row::Target;

/// Content of one pass update (contract 3.3). Larger ones are refused, and repeating them brings a rate limit.
pub(super) const BODY_BYTES_MAX: usize = 10_000;

/// An identifier so long leaves no room for what is to be changed.
pub(super) const NAME_BYTES_MAX: usize = 5_000;

/// A pass as PassKit answers it.
#[derive(Clone, Debug)]
pub(super) struct Pass(pub Map<String, Json>);

impl Pass {
    /// Reads an answer. None unless it is an object with an ID.
    pub(super) fn parse(body: &[u8]) -> Option<Pass> {
        strict::object(body).map(Pass).filter(|pass| is_segment(pass.id()))
    }

    pub(super) fn id(&self) -> &str {
        self.text("id")
    }

    pub(super) fn text(&self, name: &str) -> &str {
        text(&self.0, name)
    }

    pub(super) fn object(&self, name: &str) -> Map<String, Json> {
        object(&self.0, name)
    }
}

/// A member of an object that is a text; empty where there is none.
pub(super) fn text<'o>(object: &'o Map<String, Json>, name: &str) -> &'o str {
    object.get(name).and_then(Json::as_str).unwrap_or_default()
}

/// A member of an object that is an object; empty where there is none.
pub(super) fn object(object: &Map<String, Json>, name: &str) -> Map<String, Json> {
    object.get(name).and_then(Json::as_object).cloned().unwrap_or_default()
}

/// The lines of a listing (contract 4.3).
#[derive(Debug, PartialEq, Eq)]
pub(super) enum BrokenList {
    /// An error line among the results, in the platform's words.
    Told(String),
    /// Not lines of JSON, or cut in the middle of one.
    Cut,
}

/// Reads a listing of passes whole, or not at all.
pub(super) fn parse_list(body: &[u8]) -> Result<Vec<Pass>, BrokenList> {
    Ok(parse_lines(body)?.into_iter().map(Pass).collect())
}

/// Reads the objects of a listing, all or none.
pub(super) fn parse_lines(body: &[u8]) -> Result<Vec<Map<String, Json>>, BrokenList> {
    let mut objects = Vec::new();
    for line in body.split(|byte| *byte == b'\n') {
        let line = line.trim_ascii();
        if line.is_empty() {
            continue;
        }
        let Some(mut line_json) = strict::object(line) else { return Err(BrokenList::Cut) };
        if line_json.contains_key("error") {
            return Err(BrokenList::Told(crate::platform::judge::message(line)));
        }
        match line_json.remove("result") {
            Some(Json::Object(object)) => objects.push(object),
            _ => return Err(BrokenList::Cut),
        }
    }
    Ok(objects)
}

/// The key of a pass: its ID where it is known, otherwise what `named` makes of the customer's own identifier.
pub(super) fn key(by_id: &str, target: &Target, pass_id: Option<&str>, named: impl FnOnce(&str) -> Json) -> Map<String, Json> {
    let id = match (pass_id, target) {
        (Some(id), _) => id,
        (None, Target::Pass(id)) => id,
        (None, Target::External(external)) => return as_map(named(external)),
    };
    as_map(json!({ by_id: id }))
}

pub(super) fn as_map(json: Json) -> Map<String, Json> {
    match json {
        Json::Object(map) => map,
        _ => Map::new(),
    }
}

/// Would the request change something? Lists and counts are asked for by POST.
pub(super) fn is_write(request: &Request) -> bool {
    request.method != Method::GET && !["/list", "/count"].iter().any(|call| request.path.contains(call))
}

pub(super) fn get(path: String) -> Request {
    Request::new(Method::GET, path)
}

pub(super) fn send(method: Method, path: &str, body: &Json) -> Request {
    Request::new(method, path.to_owned()).json(body)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_listing_is_read_whole_or_not_at_all() {
        let two = b"{\"result\":{\"id\":\"a\"}}\n{\"result\":{\"id\":\"b\"}}\n";
        assert_eq!(parse_list(two).unwrap().len(), 2);
        assert_eq!(parse_list(b"").unwrap().len(), 0);
        assert_eq!(parse_list(&two[..30]).unwrap_err(), BrokenList::Cut);
        let told = b"{\"result\":{\"id\":\"a\"}}\n{\"error\":{\"code\":13,\"message\":\"lost\"}}\n";
        assert_eq!(parse_list(told).unwrap_err(), BrokenList::Told("lost".to_owned()));
    }

    #[test]
    fn questions_are_not_taken_for_changes() {
        for path in
            ["/members/member/list/p", "/coupon/singleUse/coupons/list/c", "/eventTickets/tickets/list", "/eventTickets/tickets/count"]
        {
            assert!(!is_write(&send(Method::POST, path, &json!({}))), "{path}");
        }
        assert!(is_write(&send(Method::POST, "/eventTickets/ticket", &json!({}))));
    }
}
