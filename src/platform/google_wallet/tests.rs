//! Conversations driven by hand: which requests, in which order, and how each operation ends.

use std::path::PathBuf;
use std::sync::Arc;

use bytes::Bytes;
use serde_json::{Value as Json, json};

use super::bodies::Part;
use super::*;
use crate::config::meant::ObjectIds;
use crate::outcome::Outcome;
use crate::platform::{Answer, FieldKind, Step};
use crate::row::{AddKey, FieldChange, RowKey};
use crate::secret::{Secret, SecretPlace};

pub(super) fn settings(class: WalletClass) -> meant::GoogleWallet {
    meant::GoogleWallet {
        base_url: "https://api.example/".to_owned(),
        token_url: None,
        key: Secret::new(SecretPlace::File(PathBuf::from("/nonexistent"))),
        issuer: "1".to_owned(),
        class,
        class_id: Some("1.c".to_owned()),
        account: String::new(),
        object_ids: ObjectIds::Escaped,
        id_prefix: String::new(),
        id_max: 255,
        language: "en-US".to_owned(),
        currency: None,
        batch: 20,
        nulls: true,
        notify_on: Vec::new(),
        notify_max: 3,
        over_quota: OverQuota::Text,
        message_header: Some("News".to_owned()),
        messages_full: MessagesFull::Send,
        void_state: VoidState::Inactive,
        slow_reasons: vec!["rateLimitExceeded".to_owned(), "userRateLimitExceeded".to_owned()],
        read_back: ReadBack::Events,
    }
}

fn google(change: impl FnOnce(&mut meant::GoogleWallet)) -> GoogleWallet {
    let mut settings = settings(WalletClass::Loyalty);
    change(&mut settings);
    GoogleWallet::new(&settings)
}

pub(super) fn scope(class: WalletClass) -> Scope {
    let GoogleWallet { scope, .. } = GoogleWallet::new(&settings(class));
    Arc::into_inner(scope).expect("nobody else has it")
}

fn value(kind: FieldKind, text: &str) -> Value<'static> {
    match kind {
        FieldKind::Integer => Value::Integer(text.parse().unwrap()),
        FieldKind::Number => Value::Number(text.parse().unwrap()),
        FieldKind::Boolean => Value::Boolean(text == "true"),
        _ => Value::Text(text.to_owned().into()),
    }
}

fn field_change(class: WalletClass, index: usize, name: &str, said: Option<&str>) -> FieldChange {
    let kind = fields::Field::parse(class, name).unwrap().rule(true).kind;
    FieldChange { field: index as u8, name: name.into(), value: said.map(|text| value(kind, text)) }
}

pub(super) fn part(class: WalletClass, name: &str, said: Option<&str>) -> Part {
    Part { field: fields::Field::parse(class, name).unwrap(), change: field_change(class, 0, name, said) }
}

fn change_of(target: &str, verb: Verb, fields: &[(&str, Option<&str>)]) -> Change {
    let each = fields.iter().enumerate();
    Change {
        row: 7,
        target: Target::External(target.to_owned()),
        verb,
        fields: each.map(|(index, (name, said))| field_change(WalletClass::Loyalty, index, name, *said)).collect(),
        found: None,
        reference: "run:7".to_owned(),
    }
}

fn change(verb: Verb, fields: &[(&str, Option<&str>)]) -> Change {
    change_of("a", verb, fields)
}

/// What is played for a request: an answer, or why there is none.
#[derive(Clone)]
enum Play {
    Says(u16, Json),
    Text(u16, String),
    Lost,
    Exhausted,
}

fn says(status: u16, body: Json) -> Play {
    Play::Says(status, body)
}

fn error(status: u16, reason: &str) -> Play {
    says(status, json!({ "error": { "code": status, "message": "told", "errors": [{ "message": "told", "reason": reason }] } }))
}

fn good() -> Play {
    says(200, json!({ "id": "1.a" }))
}

/// Plays the answers and notes the requests as `METHOD path body`; a path is cut to what follows the version.
fn play<T>(mut talk: Box<dyn Conversation<T>>, plays: Vec<Play>) -> (Vec<String>, T) {
    let mut plays = plays.into_iter();
    let mut sent = Vec::new();
    let mut answer = None;
    loop {
        match talk.next(answer.take()) {
            Step::Done(end) => {
                assert!(plays.next().is_none(), "answers are left over after {sent:#?}");
                return (sent, end);
            }
            Step::Send(request) | Step::Later(_, request) => {
                let body = request.body.as_ref().map(|body| String::from_utf8(body.to_vec()).unwrap()).unwrap_or_default();
                let path = request.path.split('?').next().unwrap().trim_start_matches("/walletobjects/v1/").to_owned();
                let once = if request.repeatable { "" } else { "once " };
                sent.push(format!("{once}{} {path} {body}", request.method).trim_end().to_owned());
                let play = plays.next().unwrap_or_else(|| panic!("no answer is left for {sent:#?}"));
                answer = Some(match play {
                    Play::Says(status, body) => Answer::Http { status, body: Bytes::from(body.to_string()) },
                    Play::Text(status, body) => Answer::Http { status, body: Bytes::from(body) },
                    Play::Lost => Answer::Lost { message: "lost".to_owned() },
                    Play::Exhausted => Answer::Exhausted { tries: 5, message: "status 503".to_owned(), denied: false },
                });
            }
        }
    }
}

fn applied(google: &GoogleWallet, change: Change, plays: Vec<Play>) -> (Vec<String>, Outcome, Option<Code>) {
    let (sent, mut result) = play(google.apply(change), plays);
    let operation = result.operations.remove(0);
    assert!(result.operations.is_empty());
    (sent, operation.outcome, operation.code)
}

#[test]
fn an_update_is_one_patch_of_what_changed() {
    let (sent, outcome, _) = applied(&google(|_| ()), change(Verb::Update, &[("accountName", Some("Ana"))]), vec![good()]);
    assert_eq!(sent, [r#"PATCH loyaltyObject/1.a {"accountName":"Ana"}"#]);
    assert_eq!(outcome, Outcome::Applied);
    let absent = applied(&google(|_| ()), change(Verb::Update, &[("accountName", Some("Ana"))]), vec![error(404, "resourceNotFound")]);
    assert_eq!((absent.1, absent.2), (Outcome::Unresolved, Some(Code::PassNotFound)));
    let refused = applied(&google(|_| ()), change(Verb::Update, &[("accountName", Some("Ana"))]), vec![error(400, "invalid")]);
    assert_eq!((refused.1, refused.2), (Outcome::Refused, Some(Code::UpdateRejected)));
}

#[test]
fn a_text_module_is_laid_over_what_was_read_a_moment_before() {
    let present = json!({ "id": "1.a", "textModulesData": [{ "id": "x", "body": "1" }] });
    let wanted = change(Verb::Update, &[("textModulesData.tier.body", Some("Gold"))]);
    assert_eq!(google(|_| ()).requests(&wanted), 2);
    let (sent, outcome, _) = applied(&google(|_| ()), wanted, vec![says(200, present), good()]);
    let body = r#"{"textModulesData":[{"id":"x","body":"1"},{"id":"tier","body":"Gold"}]}"#;
    assert_eq!(sent, ["GET loyaltyObject/1.a".to_owned(), format!("PATCH loyaltyObject/1.a {body}")]);
    assert_eq!(outcome, Outcome::Applied);
}

#[test]
fn an_array_that_is_right_already_is_not_written() {
    let present = json!({ "id": "1.a", "textModulesData": [{ "id": "tier", "body": "Gold" }] });
    let (sent, outcome, _) =
        applied(&google(|_| ()), change(Verb::Update, &[("textModulesData.tier.body", Some("Gold"))]), vec![says(200, present)]);
    assert_eq!((sent.len(), outcome), (1, Outcome::Applied));
}

#[test]
fn an_upsert_issues_a_pass_that_is_not_there() {
    let upsert = || change(Verb::Upsert, &[("accountName", Some("Ana"))]);
    let (sent, outcome, _) = applied(&google(|_| ()), upsert(), vec![error(404, ""), good()]);
    assert_eq!(sent[1], r#"POST loyaltyObject {"accountName":"Ana","id":"1.a","classId":"1.c","state":"ACTIVE"}"#);
    assert_eq!(outcome, Outcome::Created);
    // Somebody else, or our own request whose answer was lost, made it meanwhile.
    let (sent, outcome, _) = applied(&google(|_| ()), upsert(), vec![error(404, ""), error(409, "existingResource"), good()]);
    assert_eq!((sent.len(), outcome), (3, Outcome::Applied));
    let (_, outcome, code) = applied(&google(|_| ()), upsert(), vec![error(404, ""), error(404, "classNotFound")]);
    assert_eq!((outcome, code), (Outcome::Refused, Some(Code::UpdateRejected)), "the class is what is missing");
    let (_, outcome, code) = applied(&google(|google| google.class_id = None), upsert(), vec![error(404, "")]);
    assert_eq!((outcome, code), (Outcome::Refused, Some(Code::MappingError)));
}

/// D22.
#[test]
fn a_pass_that_exists_and_is_not_shown_yet_is_written_to_again() {
    let upsert = change(Verb::Upsert, &[("accountName", Some("Ana"))]);
    let plays = vec![error(404, ""), error(409, ""), error(404, ""), error(404, ""), error(404, "")];
    let (sent, outcome, code) = applied(&google(|_| ()), upsert, plays);
    assert_eq!((sent.len(), outcome, code), (5, Outcome::Refused, Some(Code::Conflict)));
}

#[test]
fn an_upsert_of_nothing_looks_before_it_issues() {
    let upsert = || change(Verb::Upsert, &[]);
    let (sent, outcome, _) = applied(&google(|_| ()), upsert(), vec![good()]);
    assert_eq!((&*sent[0], outcome), ("GET loyaltyObject/1.a", Outcome::Unchanged));
    let (sent, outcome, _) = applied(&google(|_| ()), upsert(), vec![error(404, ""), good()]);
    assert_eq!((sent.len(), outcome), (2, Outcome::Created));
}

#[test]
fn passes_end_by_their_state_or_their_validity() {
    let (sent, ..) = applied(&google(|_| ()), change(Verb::Expire, &[("accountName", Some("Ana"))]), vec![good()]);
    assert_eq!(sent, [r#"PATCH loyaltyObject/1.a {"state":"EXPIRED"}"#]);
    let end = change(Verb::Expire, &[(fields::END, Some("2027-01-01T00:00:00Z"))]);
    let (sent, ..) = applied(&google(|_| ()), end, vec![good()]);
    assert_eq!(sent, [r#"PATCH loyaltyObject/1.a {"validTimeInterval":{"end":{"date":"2027-01-01T00:00:00Z"}}}"#]);
    let (sent, ..) = applied(&google(|_| ()), change(Verb::Void, &[]), vec![good()]);
    assert_eq!(sent, [r#"PATCH loyaltyObject/1.a {"state":"INACTIVE"}"#]);
    let (sent, ..) = applied(&google(|google| google.void_state = VoidState::Completed), change(Verb::Void, &[]), vec![good()]);
    assert_eq!(sent, [r#"PATCH loyaltyObject/1.a {"state":"COMPLETED"}"#]);
}

#[test]
fn an_alerting_change_is_sent_once_with_the_alert_and_then_without() {
    let alerting = || google(|google| google.notify_on = vec!["loyaltyPoints".to_owned()]);
    let update = || change(Verb::Update, &[("loyaltyPoints.label", Some("P"))]);
    let with = r#"once PATCH loyaltyObject/1.a {"loyaltyPoints":{"label":"P"},"notifyPreference":"NOTIFY_ON_UPDATE"}"#;
    let without = r#"PATCH loyaltyObject/1.a {"loyaltyPoints":{"label":"P"}}"#;
    for trouble in [Play::Lost, error(403, "quotaExceeded"), says(200, json!({ "id": "1.b" }))] {
        let (sent, outcome, _) = applied(&alerting(), update(), vec![trouble, good()]);
        assert_eq!(sent, [with, without]);
        assert_eq!(outcome, Outcome::Applied);
    }
    let refuse = google(|google| {
        google.notify_on = vec!["loyaltyPoints".to_owned()];
        google.over_quota = OverQuota::Refuse;
    });
    let (_, outcome, code) = applied(&refuse, update(), vec![error(403, "quotaExceeded")]);
    assert_eq!((outcome, code), (Outcome::Refused, Some(Code::UpdateRejected)));
}

/// D18, D19.
#[test]
fn an_answer_about_another_pass_proves_nothing() {
    let other = || says(200, json!({ "id": "1.b" }));
    let update = change(Verb::Update, &[("accountName", Some("Ana"))]);
    let (sent, outcome, code) = applied(&google(|_| ()), update, vec![other(), other(), Play::Text(200, "{}".to_owned())]);
    assert_eq!((sent.len(), outcome, code), (3, Outcome::Refused, Some(Code::AnswerUnreadable)));
}

#[test]
fn an_identifier_that_cannot_be_is_never_sent() {
    let google = google(|google| google.object_ids = ObjectIds::Plain);
    let (sent, outcome, code) = applied(&google, change_of("a/b", Verb::Void, &[]), vec![]);
    assert_eq!((sent.len(), outcome, code), (0, Outcome::Refused, Some(Code::MappingError)));
    assert!(google.check_target(&Target::External("a/b".to_owned())).is_err());
}

/// The answer to a batch whose parts say this, by their number.
fn batch(parts: &[(usize, u16, Json)]) -> Play {
    let part = |(index, status, body): &(usize, u16, Json)| {
        format!(
            "--b\r\nContent-Type: application/http\r\nContent-ID: <response-part-{index}>\r\n\r\n\
             HTTP/1.1 {status} X\r\nContent-Type: application/json; charset=UTF-8\r\n\r\n{body}\r\n"
        )
    };
    Play::Text(200, parts.iter().map(part).collect::<String>() + "--b--\r\n")
}

fn updates(count: usize) -> Vec<Change> {
    (0..count).map(|index| change_of(&format!("p{index}"), Verb::Update, &[("accountName", Some("Ana"))])).collect()
}

fn id(index: usize) -> Json {
    json!({ "id": format!("1.p{index}") })
}

fn outcomes(results: &[ChangeResult]) -> Vec<Outcome> {
    results.iter().map(|result| result.operations[0].outcome).collect()
}

fn kinds(sent: &[String]) -> Vec<String> {
    let kind = |sent: &String| {
        let words: Vec<&str> = sent.split_whitespace().take(2).collect();
        if words[1] == "/batch" { format!("batch of {}", sent.matches("Content-ID: <part-").count()) } else { words.join(" ") }
    };
    sent.iter().map(kind).collect()
}

#[test]
fn each_part_of_a_batch_has_its_own_outcome() {
    let told = json!({ "error": { "code": 400, "message": "told" } });
    let plays = vec![batch(&[(1, 404, told.clone()), (0, 200, id(0)), (2, 400, told)])];
    let (sent, results) = play(google(|_| ()).apply_batch(updates(3)), plays);
    assert_eq!(kinds(&sent), ["batch of 3"]);
    assert_eq!(outcomes(&results), [Outcome::Applied, Outcome::Unresolved, Outcome::Refused]);
}

#[test]
fn parts_are_tried_again_and_batches_are_not() {
    let slow = json!({ "error": { "code": 429 } });
    let plays = vec![
        batch(&[(0, 200, id(0)), (1, 429, slow.clone()), (2, 503, slow.clone()), (3, 401, slow)]),
        // The first of them goes by itself, so that dispatch waits as it must.
        says(200, id(1)),
        batch(&[(0, 200, id(2)), (1, 200, id(3))]),
    ];
    let (sent, results) = play(google(|_| ()).apply_batch(updates(4)), plays);
    assert_eq!(kinds(&sent), ["batch of 4", "PATCH loyaltyObject/1.p1", "batch of 2"]);
    assert_eq!(outcomes(&results), [Outcome::Applied; 4]);
}

#[test]
fn one_part_that_no_batch_survives_harms_nobody_but_itself() {
    let plays = vec![Play::Exhausted, Play::Exhausted, Play::Exhausted, says(200, id(1)), says(200, id(2)), says(200, id(3))];
    // Halved until single: p0 alone keeps failing, the others get through.
    let (sent, results) = play(google(|_| ()).apply_batch(updates(4)), plays);
    assert_eq!(kinds(&sent)[..3], ["batch of 4", "batch of 2", "PATCH loyaltyObject/1.p0"]);
    assert_eq!(outcomes(&results), [Outcome::Refused, Outcome::Applied, Outcome::Applied, Outcome::Applied]);
    assert_eq!(results[0].operations[0].code, Some(Code::RetriesExhausted));
}

#[test]
fn a_batch_that_is_refused_for_its_size_makes_the_later_ones_smaller() {
    let google = google(|_| ());
    let plays = vec![error(400, "tooManyParts"), batch(&[(0, 200, id(0)), (1, 200, id(1))]), batch(&[(0, 200, id(2)), (1, 200, id(3))])];
    let (sent, results) = play(google.apply_batch(updates(4)), plays);
    assert_eq!(kinds(&sent), ["batch of 4", "batch of 2", "batch of 2"]);
    assert_eq!(outcomes(&results), [Outcome::Applied; 4]);
    let (sent, _) = play(google.apply_batch(updates(3)), vec![batch(&[(0, 200, id(0)), (1, 200, id(1))]), says(200, id(2))]);
    assert_eq!(kinds(&sent), ["batch of 2", "PATCH loyaltyObject/1.p2"]);
}

#[test]
fn an_answer_that_lacks_a_part_or_cannot_be_read_is_asked_for_again() {
    let plays = vec![batch(&[(0, 200, id(0))]), says(200, id(1))];
    let (sent, results) = play(google(|_| ()).apply_batch(updates(2)), plays);
    assert_eq!(kinds(&sent), ["batch of 2", "PATCH loyaltyObject/1.p1"]);
    assert_eq!(outcomes(&results), [Outcome::Applied; 2]);
    let plays = vec![Play::Text(200, "--b\r\nContent-Ty".to_owned()), says(200, id(0)), says(200, id(1))];
    let (_, results) = play(google(|_| ()).apply_batch(updates(2)), plays);
    assert_eq!(outcomes(&results), [Outcome::Applied; 2]);
}

#[test]
fn a_lost_batch_repeats_no_alert() {
    let google = google(|google| google.notify_on = vec!["accountName".to_owned()]);
    let (sent, results) = play(google.apply_batch(updates(2)), vec![Play::Lost, says(200, id(0)), says(200, id(1))]);
    assert!(sent[0].starts_with("once POST /batch") && sent[0].matches("NOTIFY_ON_UPDATE").count() == 2);
    assert!(sent[1..].iter().all(|sent| sent.starts_with("PATCH") && !sent.contains("NOTIFY")), "{sent:?}");
    assert_eq!(outcomes(&results), [Outcome::Applied; 2]);
}

#[test]
fn reads_and_writes_of_different_passes_share_batches() {
    let mut changes = updates(2);
    changes[0].fields = vec![field_change(WalletClass::Loyalty, 0, "textModulesData.t.body", Some("x"))];
    let plays = vec![batch(&[(0, 200, id(0)), (1, 200, id(1))]), says(200, id(0))];
    let (sent, results) = play(google(|_| ()).apply_batch(changes), plays);
    assert!(sent[0].contains("GET /walletobjects/v1/loyaltyObject/1.p0") && sent[0].contains("PATCH /walletobjects/v1/loyaltyObject/1.p1"));
    assert_eq!(outcomes(&results), [Outcome::Applied; 2]);
}

fn notification(field: &str, text: &str) -> Addition {
    Addition {
        row: 7,
        target: Target::External("a".to_owned()),
        key: AddKey { row: RowKey::parse("k00000000000000000000000000000007").unwrap(), kind: AddKind::Notify },
        print: 0,
        amounts: Vec::new(),
        notification: Some((field.into(), text.to_owned())),
        reference: "run:7".to_owned(),
        before: None,
        perhaps_sent: false,
        decided: false,
        since: None,
    }
}

const KEY: &str = "k00000000000000000000000000000007-notify";

fn wrapped() -> Play {
    says(200, json!({ "resource": { "id": "1.a" } }))
}

#[test]
fn a_message_carries_its_key_and_is_sent_once() {
    let google = google(|_| ());
    let (sent, end) = play(google.add(&notification("messages", "Double points\nThis weekend")), vec![wrapped()]);
    let message = format!(r#"{{"id":"{KEY}","header":"Double points","body":"This weekend","messageType":"TEXT_AND_NOTIFY"}}"#);
    assert_eq!(sent, [format!(r#"once POST loyaltyObject/1.a/addMessage {{"message":{message}}}"#)]);
    assert_eq!(end, AddEnd::Applied { pass_id: Some("1.a".to_owned()) });
    let (sent, _) = play(google.add(&notification("messages.TEXT", "Hello")), vec![wrapped()]);
    assert!(sent[0].contains(r#""header":"News","body":"Hello","messageType":"TEXT""#), "{sent:?}");
}

#[test]
fn an_alert_beyond_the_quota_becomes_a_message_or_is_refused() {
    let (sent, end) = play(google(|_| ()).add(&notification("messages", "Hi")), vec![error(403, "quotaExceeded"), wrapped()]);
    assert!(sent[1].contains(r#""messageType":"TEXT""#));
    assert!(matches!(end, AddEnd::AppliedBut { message } if message.contains("without one")));
    let refuse = google(|google| google.over_quota = OverQuota::Refuse);
    let (_, end) = play(refuse.add(&notification("messages", "Hi")), vec![error(403, "quotaExceeded")]);
    assert!(matches!(end, AddEnd::Refused { outcome: Outcome::Refused, .. }));
}

#[test]
fn a_message_whose_answer_says_nothing_is_lost_and_never_guessed() {
    for trouble in
        [Play::Lost, says(200, json!({})), says(200, json!({ "resource": { "id": "1.b" } })), Play::Text(200, "<html>".to_owned())]
    {
        let (sent, end) = play(google(|_| ()).add(&notification("messages", "Hi")), vec![trouble]);
        assert!(matches!(end, AddEnd::Lost { .. }) && sent.len() == 1, "{end:?}");
    }
    let (_, end) = play(google(|_| ()).add(&notification("messages", "Hi")), vec![error(404, "")]);
    assert!(matches!(end, AddEnd::Refused { outcome: Outcome::Unresolved, code: Code::PassNotFound, .. }));
}

#[test]
fn the_passes_messages_prove_what_became_of_one() {
    let look = |read_back, messages: Json| {
        let google = google(|google| google.read_back = read_back);
        let talk = google.read_back(&notification("messages", "Hi")).unwrap();
        play(talk, vec![says(200, json!({ "id": "1.a", "messages": messages }))]).1
    };
    assert!(matches!(look(ReadBack::Events, json!([{ "id": KEY }])), Proof::Applied(_)));
    assert!(matches!(look(ReadBack::Events, json!([{ "id": "other" }])), Proof::NotApplied(_)));
    assert!(matches!(look(ReadBack::Presence, json!([])), Proof::Unknown(_)));
    assert!(matches!(look(ReadBack::Presence, json!([{ "id": KEY }])), Proof::Applied(_)));
    assert!(google(|google| google.read_back = ReadBack::Nothing).read_back(&notification("messages", "Hi")).is_none());
}

#[test]
fn a_pass_full_of_messages_gives_up_the_oldest_where_it_is_said() {
    let google = google(|google| google.messages_full = MessagesFull::Replace);
    let ten: Vec<Json> = (0..10).map(|n| json!({ "id": n.to_string(), "kind": "x" })).collect();
    let plays = vec![says(200, json!({ "id": "1.a", "messages": ten })), good(), wrapped()];
    let (sent, end) = play(google.add(&notification("messages", "Hi")), plays);
    assert!(sent[1].starts_with(r#"PATCH loyaltyObject/1.a {"messages":[{"id":"1"},"#), "{sent:?}");
    assert!(matches!(end, AddEnd::Applied { .. }));
    let there = says(200, json!({ "id": "1.a", "messages": [{ "id": KEY }] }));
    assert!(matches!(play(google.add(&notification("messages", "Hi")), vec![there]).1, AddEnd::Already { .. }));
}

#[test]
fn a_pass_is_used_up_once() {
    let redemption = || Addition {
        key: AddKey { kind: AddKind::Redeem, ..notification("", "").key },
        notification: None,
        ..notification("messages", "")
    };
    let google = google(|_| ());
    let (sent, end) = play(google.add(&redemption()), vec![says(200, json!({ "id": "1.a", "state": "active" })), good()]);
    assert_eq!(sent[1], r#"once PATCH loyaltyObject/1.a {"state":"COMPLETED"}"#);
    assert!(matches!(end, AddEnd::Applied { .. }));
    let used = says(200, json!({ "id": "1.a", "state": "completed" }));
    assert!(matches!(play(google.add(&redemption()), vec![used.clone()]).1, AddEnd::Already { .. }));
    assert!(matches!(play(google.read_back(&redemption()).unwrap(), vec![used]).1, Proof::Applied(_)));
}

#[test]
fn passes_are_found_together() {
    let targets = ["p0", "p1"].map(|name| Target::External(name.to_owned()));
    let (sent, found) = play(google(|_| ()).find(&targets), vec![batch(&[(0, 404, json!({})), (1, 200, id(1))])]);
    assert_eq!(kinds(&sent), ["batch of 2"]);
    assert_eq!(found[0], Finding::Absent);
    assert!(matches!(&found[1], Finding::Found(found) if found.pass_id == "1.p1"));
}

#[test]
fn reach_says_in_words_what_is_wrong() {
    let reach = |change: fn(&mut meant::GoogleWallet), plays| play(google(change).probe(), plays).1;
    let class = |review: &str| says(200, json!({ "id": "1.c", "reviewStatus": review }));
    let approved = reach(|_| (), vec![error(404, ""), class("approved")]);
    assert!(approved.ok && approved.message.contains("loyaltyClass 1.c"), "{}", approved.message);
    for (plays, words) in [
        (vec![error(403, "")], "service account's e-mail address"),
        (vec![error(404, ""), error(404, "")], "has no loyaltyClass 1.c"),
        (vec![error(404, ""), class("draft")], "DRAFT"),
        (vec![error(400, "invalidResource")], "issuer"),
        (vec![Play::Exhausted], "status 503"),
    ] {
        let reach = reach(|_| (), plays);
        assert!(!reach.ok && reach.message.contains(words), "{}", reach.message);
    }
    assert!(reach(|google| google.class_id = None, vec![error(404, "")]).ok);
}

#[test]
fn all_passes_of_a_class_are_listed_page_by_page() {
    let google = google(|_| ());
    let object = json!({
        "id": "1.C-1", "classId": "1.c", "state": "active", "hasUsers": true, "accountName": "Ana",
        "loyaltyPoints": { "balance": { "int": 7 }, "label": "Points" },
        "textModulesData": [{ "id": "tier", "header": "Tier", "body": "Gold" }, { "body": "nameless" }],
        "classReference": { "id": "1.c", "programName": "x" },
    });
    let first = json!({ "resources": [object], "pagination": { "resultsPerPage": 1, "nextPageToken": "CAE/Q" } });
    let (_, page) = play(google.pages(0), vec![says(200, first)]);
    assert_eq!((page.next, page.fault.as_deref()), (Some(1), None));
    assert_eq!(page.passes[0].external_id.as_deref(), Some("C-1"));
    let fields: Vec<(String, String)> =
        page.passes[0].fields.iter().map(|(name, value)| (name.clone(), value.canonical().into_owned())).collect();
    let mut wanted = [
        ("loyaltyPoints.balance.int", "7"),
        ("loyaltyPoints.label", "Points"),
        ("accountName", "Ana"),
        ("state", "ACTIVE"),
        ("textModulesData.tier.header", "Tier"),
        ("textModulesData.tier.body", "Gold"),
    ]
    .map(|(name, value)| (name.to_owned(), value.to_owned()))
    .to_vec();
    wanted.sort();
    let mut fields = fields;
    fields.sort();
    assert_eq!(fields, wanted);
    let mut talk = google.pages(1);
    let Step::Send(request) = talk.next(None) else { panic!() };
    assert!(request.path.ends_with("&classId=1.c&maxResults=100&token=CAE%2FQ"), "{}", request.path);
    let again = json!({ "resources": [], "pagination": { "nextPageToken": "CAE/Q" } });
    let (_, page) = play(google.pages(1), vec![says(200, again.clone()), says(200, again.clone()), says(200, again)]);
    assert!(page.fault.unwrap().contains("again and again"));
}

#[test]
fn fields_that_say_the_currency_twice_are_refused() {
    let card = |currency: Option<&str>| {
        let mut settings = settings(WalletClass::GiftCard);
        settings.currency = currency.map(str::to_owned);
        GoogleWallet::new(&settings).field("balance.currencyCode")
    };
    assert!(card(None).is_ok());
    assert!(card(Some("EUR")).unwrap_err().contains("keep one"));
}

#[test]
fn a_message_of_one_line_needs_a_header() {
    let google = google(|google| google.message_header = None);
    let check = |text: &str| google.check_value("messages", &Value::Text(text.to_owned().into()));
    assert!(check("one line").is_err());
    assert!(check("Header\nbody").is_ok());
}
