//! Conversations of a described platform, answered by hand.

use std::time::{Duration, Instant};

use super::*;
use crate::config::meant::PlatformKind;
use crate::outcome::Outcome;
use crate::platform::{Answer, Step};
use crate::row::{AddKey, Found, RowKey};
use bytes::Bytes;
use rust_decimal::Decimal;
use serde_json::json;

/// The platform of this description.
fn account(description: &str) -> Described {
    let folder = tempfile::tempdir().unwrap();
    std::fs::write(folder.path().join("s.json"), r#"{ "fields": [{ "name": "id" }, { "name": "v" }] }"#).unwrap();
    let text = format!(
        "[source.in]\nkind = \"folder\"\npath = \"in\"\n[platform.p]\nkind = \"http\"\nbase_url = \"https://api.example.com\"\n{description}\n\
         [feed.f]\nsource = \"in\"\npattern = \"*\"\ncontent = \"delta\"\nschema = \"s.json\"\nplatform = \"p\"\npass = {{ external_id = \"id\" }}\n\
         fields = {{ \"points\" = \"v\" }}\n"
    );
    let config = crate::config::load_text(&text, folder.path()).unwrap_or_else(|faults| panic!("{faults}"));
    let PlatformKind::Http(http) = &config.platforms["p"].kind else { panic!("a description") };
    Described::new(http)
}

const FIELDS: &str = "fields = { points = { kind = \"integer\", balance = true } }\n";
const PATCH: &str = "[platform.p.update]\nrequest = \"PATCH /passes/{{ external_id }}\"\n";
const EARN: &str = "[platform.p.earn]\nrequest = \"POST /earn/{{ external_id }}\"\nheaders = { \"Idempotency-Key\" = \"{{ uuid }}\" }\n";

fn earn(since: Option<Duration>) -> Addition {
    Addition {
        row: 1,
        target: Target::External("C-1".to_owned()),
        key: AddKey { row: RowKey(7), kind: AddKind::Earn },
        print: 0,
        amounts: vec![("points".into(), Decimal::from(5))],
        notification: None,
        reference: "R:2".to_owned(),
        before: None,
        perhaps_sent: since.is_some(),
        decided: false,
        since: since.and_then(|age| Instant::now().checked_sub(age)),
    }
}

#[expect(clippy::unnecessary_wraps, reason = "as a conversation is given it")]
fn answer(status: u16, body: &str) -> Option<Answer> {
    Some(Answer::Http { status, body: Bytes::copy_from_slice(body.as_bytes()) })
}

fn sent<T>(step: Step<T>) -> Request {
    match step {
        Step::Send(request) | Step::Later(_, request) => request,
        Step::Done(_) => panic!("it ended instead of asking"),
    }
}

fn done<T>(step: Step<T>) -> T {
    match step {
        Step::Done(end) => end,
        Step::Send(request) | Step::Later(_, request) => panic!("it asks {} {}", request.method, request.path),
    }
}

/// Section 6 a: a key younger than its lifetime is repeated; an older one could be carried out a second time.
#[test]
fn a_key_is_repeated_only_while_the_platform_knows_it() {
    let account = account(&format!("{FIELDS}{PATCH}{EARN}key_lifetime = \"1h\"\n"));
    let first = sent(account.add(&earn(None)).next(None));
    assert!(!first.repeatable, "it is sent once; that it may be repeated is decided when its answer is lost");
    let again = sent(account.read_back(&earn(Some(Duration::from_mins(50)))).unwrap().next(None));
    assert_eq!((&again.path, &again.body, &again.headers), (&first.path, &first.body, &first.headers), "the same bytes");
    let left = again.expires.unwrap() - Instant::now();
    assert!(left <= Duration::from_mins(4) && left > Duration::from_mins(3), "{left:?}");
    assert!(account.settling(&earn(Some(Duration::ZERO))).is_some());
    for old in [Some(Duration::from_mins(55)), None] {
        assert!(account.read_back(&earn(old)).is_none(), "{old:?}");
        assert!(account.settling(&earn(old)).is_none());
    }
}

#[test]
fn a_repeated_add_tells_how_the_first_one_ended() {
    let account = account(&format!("{FIELDS}{PATCH}{EARN}key_lifetime = \"1h\"\n"));
    let proof = |status, body: &str| {
        let mut talk = account.read_back(&earn(Some(Duration::ZERO))).unwrap();
        sent(talk.next(None));
        talk.next(answer(status, body))
    };
    assert!(matches!(done(proof(200, "{}")), Proof::Applied(_)));
    assert!(matches!(done(proof(422, "{}")), Proof::NotApplied(_)));
    // The first one is still being carried out.
    assert!(matches!(proof(409, "{}"), Step::Later(..)));
    assert!(matches!(proof(418, "{}"), Step::Later(..)));
}

/// D5: what nobody has said the meaning of may have changed something.
#[test]
fn an_add_ends_definitely_only_by_what_is_definite() {
    let account = account(&format!("{FIELDS}{PATCH}{EARN}"));
    let end = |answer| {
        let mut talk = account.add(&earn(None));
        sent(talk.next(None));
        done(talk.next(answer))
    };
    assert!(matches!(end(answer(200, "{}")), AddEnd::Applied { .. }));
    assert!(matches!(end(answer(422, "{}")), AddEnd::Refused { outcome: Outcome::Refused, .. }));
    assert!(matches!(end(answer(404, "{}")), AddEnd::Refused { outcome: Outcome::Unresolved, .. }));
    for open in [
        answer(200, "{"),
        answer(200, ""),
        answer(409, "{}"),
        answer(418, "{}"),
        answer(501, "{}"),
        Some(Answer::Lost { message: "x".into() }),
    ] {
        let shown = format!("{open:?}");
        assert!(matches!(end(open), AddEnd::Lost { .. }), "{shown}");
    }
    assert!(matches!(end(Some(Answer::Stopped { sent: false })), AddEnd::NotSent));
}

#[test]
fn an_amount_stands_where_the_template_puts_it_and_nowhere_else() {
    let body = "body = '{ \"delta\": \"{{ amount }}\" }'\nnegative = true\n";
    let burn = format!("{FIELDS}{PATCH}{}", EARN.replace(".earn]", ".burn]") + body);
    let mut add = earn(None);
    add.key.kind = AddKind::Burn;
    let request = sent(account(&burn).add(&add).next(None));
    assert_eq!(request.body.unwrap(), r#"{"delta":-5}"#);
    let placed = sent(account(&format!("{FIELDS}{PATCH}{EARN}")).add(&earn(None)).next(None));
    assert_eq!(placed.body.unwrap(), r#"{"points":5}"#);
}

fn change(verb: Verb, found: Option<&str>) -> Change {
    let field = crate::row::FieldChange { field: 0, name: "points".into(), value: Some(Value::Integer(5)) };
    let found = found.map(|id| Found { pass_id: id.to_owned(), state: json!({ "pass_id": id, "pass": { "id": id, "version": 3 } }) });
    Change { row: 1, target: Target::External("C-1".to_owned()), verb, fields: vec![field], found, reference: "R:2".to_owned() }
}

#[test]
fn a_pass_is_looked_for_only_where_a_request_needs_it() {
    let find = "[platform.p.find]\nrequest = \"GET /find/{{ external_id }}\"\npass_id = \"/id\"\n";
    let direct = account(&format!("{FIELDS}{PATCH}{find}"));
    assert!(!direct.needs_find(&change(Verb::Update, None)));
    let by_id = account(&format!("{FIELDS}{find}{}", PATCH.replace("external_id", "pass_id")));
    assert!(by_id.needs_find(&change(Verb::Update, None)));
    let creates = account(&format!("{FIELDS}{find}{PATCH}creates = true\n"));
    assert!(creates.needs_find(&change(Verb::Update, None)), "an update must not issue a pass");
    assert!(!creates.needs_find(&change(Verb::Upsert, None)));
}

/// D12: read again and laid over what is there now, three times at most.
#[test]
fn a_conflict_that_stays_is_told_after_three_more_tries() {
    let find = "[platform.p.find]\nrequest = \"GET /find/{{ external_id }}\"\npass_id = \"/id\"\n";
    let update = "[platform.p.update]\nrequest = \"PUT /passes/{{ pass_id }}\"\nwhole = \"/pass\"\nbody = '{ \"pass\": { \"version\": \"{{ found.version + 1 }}\" } }'\n";
    let account = account(&format!("fields = {{ points = {{ kind = \"integer\", at = \"/pass/points\" }} }}\n{find}{update}"));
    let mut talk = account.apply(change(Verb::Update, Some("p1")));
    let first = sent(talk.next(None));
    assert_eq!(first.body.unwrap(), r#"{"pass":{"id":"p1","version":4,"points":5}}"#);
    let mut version = 3;
    for _ in 0..3 {
        let read = sent(talk.next(answer(409, "{}")));
        assert_eq!(read.path, "/find/C-1");
        version += 10;
        let request = sent(talk.next(answer(200, &json!({ "id": "p1", "version": version }).to_string())));
        assert!(request.body.is_some_and(|body| String::from_utf8_lossy(&body).contains(&format!("\"version\":{}", version + 1))));
    }
    let end = done(talk.next(answer(409, r#"{"message":"version"}"#)));
    assert_eq!((end.operations[0].outcome, end.operations[0].code), (Outcome::Refused, Some(Code::Conflict)));
}

#[test]
fn several_passes_of_a_list_are_told_apart_and_those_that_are_gone_do_not_count() {
    let find = "[platform.p.find]\nrequest = \"GET /find?ref={{ external_id }}\"\nlist = \"/items\"\npass_id = \"/id\"\nexternal_id = \"/ref\"\nabsent = { at = \"/status\", is = \"deleted\" }\n";
    let account = account(&format!("{FIELDS}{find}{PATCH}"));
    let found = |items: serde_json::Value| {
        let mut talk = account.find(&[Target::External("C-1".to_owned())]);
        sent(talk.next(None));
        done(talk.next(answer(200, &json!({ "items": items }).to_string()))).remove(0)
    };
    let pass = |id: u32, reference: &str| json!({ "id": id, "ref": reference });
    assert_eq!(found(json!([])), Finding::Absent);
    assert_eq!(found(json!([pass(1, "C-2")])), Finding::Absent, "another pass is not the one asked for");
    assert_eq!(found(json!([{ "id": 1, "ref": "C-1", "status": "deleted" }])), Finding::Absent);
    assert!(matches!(found(json!([pass(1, "C-2"), pass(2, "C-1")])), Finding::Found(found) if found.pass_id == "2"));
    assert_eq!(found(json!([pass(1, "C-1"), pass(2, "C-1")])), Finding::Several(vec!["1".to_owned(), "2".to_owned()]));
}
