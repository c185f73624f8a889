//! Conversations driven by hand: which requests, in which order, and how each operation ends. What the tests of all kinds of passes share.

use std::path::PathBuf;

use bytes::Bytes;
use serde_json::{Value as Json, json};

use super::*;
use crate::config::meant::PasskitCredential;
pub(super) use crate::config::meant::{PasskitPasses, ReadBack};
use crate::outcome::Outcome;
use crate::platform::rights::REFUSED_MAX;
use crate::platform::{Answer, Step};
use crate::row::{FieldChange, Found};
use crate::secret::{Secret, SecretPlace};

pub(super) const ID: &str = "4RkT9mQz1XwVb7LcY2pHsA";

pub(super) fn open(passes: PasskitPasses, read_back: ReadBack) -> Passkit {
    let secret = || Secret::new(SecretPlace::File(PathBuf::from("/nonexistent")));
    Passkit::new(&meant::Passkit {
        base_url: "https://api.example/".to_owned(),
        credential: PasskitCredential::Pair { key: secret(), secret: secret(), bearer: true },
        passes,
        read_back,
        sole_writer: false,
        index_from: Some(2000),
    })
}

#[expect(clippy::unnecessary_wraps, reason = "a change holds an option")]
pub(super) fn text(text: &str) -> Option<Value<'static>> {
    Some(Value::Text(text.to_owned().into()))
}

#[expect(clippy::unnecessary_wraps, reason = "a change holds an option")]
pub(super) fn integer(n: i64) -> Option<Value<'static>> {
    Some(Value::Integer(n))
}

pub(super) fn change(verb: Verb, fields: &[(&str, Option<Value<'static>>)]) -> Change {
    let fields = fields.iter().enumerate();
    Change {
        row: 7,
        target: Target::External("C-1".to_owned()),
        verb,
        fields: fields
            .map(|(index, (name, value))| FieldChange { field: index as u8, name: (*name).into(), value: value.clone() })
            .collect(),
        found: None,
        reference: "run:7".to_owned(),
    }
}

pub(super) fn found(mut change: Change, state: Json) -> Change {
    change.found = Some(Found { pass_id: ID.to_owned(), state });
    change
}

/// Plays the answers and notes the requests as `METHOD path body`.
pub(super) fn play<T>(mut talk: Box<dyn Conversation<T>>, answers: &[(u16, Json)]) -> (Vec<String>, T) {
    let mut answers = answers.iter();
    let mut sent = Vec::new();
    let mut answer = None;
    loop {
        match talk.next(answer.take()) {
            Step::Done(end) => {
                assert!(answers.next().is_none(), "answers are left over after {sent:#?}");
                return (sent, end);
            }
            Step::Send(request) | Step::Later(_, request) => {
                let body = request.body.map(|body| String::from_utf8(body.to_vec()).unwrap()).unwrap_or_default();
                sent.push(format!("{} {} {body}", request.method, request.path).trim().to_owned());
                let (status, body) = answers.next().unwrap_or_else(|| panic!("no answer left for {sent:#?}"));
                let body = match body {
                    Json::String(raw) => raw.clone(),
                    json => json.to_string(),
                };
                answer = Some(Answer::Http { status: *status, body: Bytes::from(body) });
            }
        }
    }
}

pub(super) fn ends(result: &ChangeResult) -> Vec<(&'static str, Outcome, Option<Code>)> {
    result.operations.iter().map(|operation| (operation.operation, operation.outcome, operation.code)).collect()
}

pub(super) fn lines(members: &[Json]) -> Json {
    Json::String(members.iter().map(|member| json!({ "result": member }).to_string() + "\n").collect())
}

pub(super) fn externals(names: &[&str]) -> Vec<Target> {
    names.iter().map(|name| Target::External((*name).to_owned())).collect()
}

#[test]
fn many_refusals_before_the_first_success_are_about_the_account() {
    let passkit = open(PasskitPasses::Members { program: "prog".to_owned(), tier: None }, ReadBack::Presence);
    let request = Request::new(reqwest::Method::GET, "/".to_owned());
    let headers = HeaderMap::new();
    let judge = |number: usize, status| {
        let request = Request { path: format!("/{number}"), ..request.clone() };
        passkit.judge(&request, &RawAnswer { status, headers: &headers, body: b"{}" })
    };
    for number in (1..REFUSED_MAX).chain(1..REFUSED_MAX) {
        assert!(matches!(judge(number, 403), Verdict::Undecided { .. }), "the same request again says nothing more");
    }
    assert!(matches!(judge(REFUSED_MAX, 403), Verdict::Barred { .. }));
    assert!(matches!(judge(1, 403), Verdict::Barred { .. }));
    judge(0, 200);
    assert_eq!(judge(1, 403), Verdict::Final);
}
