//! Paths, bodies and members as they travel (contract 2 and 4).

use reqwest::Method;
use serde_json::{Map, Value as Json, json};

use super::Scope;
use crate::platform::Request;
use crate::platform::address::escape;
pub(super) use crate::platform::address::is_segment;
use crate::platform::strict;
use crate::row::Target;

/// Content of one pass update (contract 3.3). Larger ones are refused, and repeating them brings a rate limit.
pub(super) const BODY_BYTES_MAX: usize = 10_000;

/// A member as PassKit answers it.
#[derive(Clone, Debug)]
pub(super) struct Member(pub Map<String, Json>);

impl Member {
    /// Reads an answer. None unless it is an object with an ID.
    pub(super) fn parse(body: &[u8]) -> Option<Member> {
        strict::object(body).map(Member).filter(|member| is_segment(member.id()))
    }

    fn text(&self, name: &str) -> &str {
        self.0.get(name).and_then(Json::as_str).unwrap_or_default()
    }

    pub(super) fn id(&self) -> &str {
        self.text("id")
    }

    pub(super) fn external_id(&self) -> &str {
        self.text("externalId")
    }

    pub(super) fn tier(&self) -> &str {
        self.text("tierId")
    }

    /// Is it there, and in this program? A deleted member may still be answered (M12).
    pub(super) fn is_live_in(&self, program: &str) -> bool {
        let theirs = self.text("programId");
        self.text("status") != "DELETED" && (theirs.is_empty() || theirs == program)
    }

    /// What a writer needs to know, for [`crate::row::Found`].
    pub(super) fn state(&self) -> Json {
        let mut state = json!({ "tierId": self.tier(), "metaData": self.object("metaData"), "person": self.object("person") });
        for balance in ["points", "secondaryPoints", "tierPoints"] {
            if let Some(value) = self.0.get(balance) {
                state[balance] = value.clone();
            }
        }
        state
    }

    fn object(&self, name: &str) -> Map<String, Json> {
        self.0.get(name).and_then(Json::as_object).cloned().unwrap_or_default()
    }
}

/// The lines of a listing (contract 4.3).
#[derive(Debug, PartialEq, Eq)]
pub(super) enum BrokenList {
    /// An error line among the results, in the platform's words.
    Told(String),
    /// Not lines of JSON, or cut in the middle of one.
    Cut,
}

/// Reads a listing of members whole, or not at all.
pub(super) fn parse_list(body: &[u8]) -> Result<Vec<Member>, BrokenList> {
    Ok(parse_lines(body)?.into_iter().map(Member).collect())
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

impl Scope {
    pub(super) fn get_by_external(&self, external: &str) -> Request {
        get(format!("/members/member/externalId/{}/{}", escape(&self.program), escape(external)))
    }

    pub(super) fn get_by_id(id: &str) -> Request {
        get(format!("/members/member/id/{}", escape(id)))
    }

    pub(super) fn get_by(&self, target: &Target) -> Request {
        match target {
            Target::External(external) => self.get_by_external(external),
            Target::Pass(id) => Scope::get_by_id(id),
        }
    }

    pub(super) fn profile() -> Request {
        get("/user/profile".to_owned())
    }

    pub(super) fn program(&self) -> Request {
        get(format!("/members/program/{}", escape(&self.program)))
    }

    pub(super) fn list(&self, filters: &Json) -> Request {
        let path = format!("/members/member/list/{}", escape(&self.program));
        send(Method::POST, &path, &json!({ "filters": filters, "emailAsCsv": false }))
    }

    /// Events of one member, oldest first (M18: the list by member gives one page only).
    pub(super) fn events(&self, pass_id: &str, offset: usize, limit: usize) -> Request {
        let path = format!("/members/program/list/events/{}", escape(&self.program));
        let only = json!({ "filterField": "member.id", "filterValue": pass_id, "filterOperator": "eq" });
        let groups = json!([{ "condition": "AND", "fieldFilters": [only] }]);
        let filters = json!({ "limit": limit, "offset": offset, "orderBy": "created", "orderAsc": true, "filterGroups": groups });
        send(Method::POST, &path, &json!({ "filters": filters }))
    }

    /// The key of a member: its ID, or external ID and program.
    pub(super) fn key(&self, target: &Target, pass_id: Option<&str>) -> Map<String, Json> {
        self.key_named(target, pass_id, "id", "externalId")
    }

    /// Events name the same things differently (M9).
    pub(super) fn event_key(&self, target: &Target, pass_id: Option<&str>) -> Map<String, Json> {
        self.key_named(target, pass_id, "memberId", "externalMemberId")
    }

    fn key_named(&self, target: &Target, pass_id: Option<&str>, by_id: &str, by_external: &str) -> Map<String, Json> {
        let mut key = Map::new();
        match (pass_id, target) {
            (Some(id), _) => key.insert(by_id.to_owned(), id.into()),
            (None, Target::Pass(id)) => key.insert(by_id.to_owned(), id.as_str().into()),
            (None, Target::External(external)) => {
                key.insert(by_external.to_owned(), external.as_str().into());
                key.insert("programId".to_owned(), self.program.as_str().into())
            }
        };
        key
    }
}

/// Would the request change something? Lists are asked for by POST.
pub(super) fn is_write(request: &Request) -> bool {
    request.method != Method::GET && !request.path.contains("/list/")
}

fn get(path: String) -> Request {
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
    fn deleted_members_and_those_of_other_programs_do_not_count() {
        let member = |text: &str| Member::parse(text.as_bytes()).unwrap();
        assert!(member(r#"{"id":"a","status":"ACTIVE","programId":"p"}"#).is_live_in("p"));
        assert!(member(r#"{"id":"a"}"#).is_live_in("p"));
        assert!(!member(r#"{"id":"a","status":"DELETED","programId":"p"}"#).is_live_in("p"));
        assert!(!member(r#"{"id":"a","programId":"q"}"#).is_live_in("p"));
        assert!(Member::parse(br#"{"id":""}"#).is_none());
    }
}
