//! Answers of PassKit that may be broken, hostile, or something else altogether.

use passferry::config::meant::{Passkit as Settings, PasskitCredential, PasskitPasses, PlatformKind, ReadBack};
use passferry::mapping::coerce;
use passferry::outcome::Outcome;
use passferry::platform::{AddEnd, ChangeResult, Finding, Proof, Request, Verdict, of_kind};
use passferry::row::{AddKey, AddKind, Addition, Change, FieldChange, Found, RowKey, Target, Verb};
use passferry::schema::value::Value;
use passferry::secret::{Secret, SecretPlace};
use passferry::zone::{LocalTimes, Zone};
use reqwest::Method;
use serde_json::{Map, Value as Json, json};

use super::parts;
use super::talk::{Heard, MESSAGE_MAX, Talk, clean, object};

const PROGRAM: &str = "prog";
/// Content of one update (contract 3.3).
const BODY_MAX: usize = 10_000;

const READ_BACKS: [(&str, ReadBack); 3] =
    [("by-events", ReadBack::Events), ("by-balance", ReadBack::Balance), ("by-nothing", ReadBack::Nothing)];

pub fn target(data: &[u8]) {
    let Ok(text) = std::str::from_utf8(data) else { return };
    let mut parts = parts(text);
    let asked: Vec<&str> = parts.next().unwrap_or_default().split_whitespace().collect();
    let answers: Vec<&str> = parts.collect();
    let account = of_kind(&PlatformKind::Passkit(Settings {
        base_url: "https://passes.example".to_owned(),
        credential: PasskitCredential::Token { token: Secret::new(SecretPlace::Env("T".to_owned())), ends: None },
        passes: PasskitPasses::Members { program: PROGRAM.to_owned(), tier: asked.contains(&"tier").then(|| "base".to_owned()) },
        read_back: READ_BACKS.into_iter().find(|(word, _)| asked.contains(word)).map_or(ReadBack::Presence, |(_, read_back)| read_back),
        sole_writer: asked.contains(&"sole"),
        index_from: None,
    }));
    let mut talk = Talk::new(&account, answers, asked.contains(&"endless"), check_request, check_verdict);
    match asked.first() {
        Some(&"find") => find(&mut talk, &asked[1..]),
        Some(&"probe") => {
            let reach = talk.hold(account.probe());
            assert!(!reach.message.chars().any(char::is_control), "{reach:?}");
            assert!(!reach.ok || talk.said.iter().filter(|(_, heard)| heard.is_success()).count() == 2, "reached without an answer");
        }
        Some(&"pages") => pages(&mut talk),
        Some(&("earn" | "burn" | "redeem" | "notify")) => give(&mut talk, &asked),
        Some(&"look") => look(&mut talk, &asked[1..]),
        Some(_) => apply(&mut talk, &asked),
        None => {}
    }
}

/// Failure model 4.4: what is final, what may be repeated, what stops the account.
fn check_verdict(status: u16, body: &[u8], verdict: &Verdict) {
    let page = body.trim_ascii_start().starts_with(b"<");
    match (status, verdict) {
        (200..=299, Verdict::Final) => assert!(!page, "a web page is taken for an answer"),
        (200..=299, Verdict::Again { .. })
        | (300..=399 | 407, Verdict::Outage { .. })
        | (401, Verdict::Reauthorize { .. })
        | (403, Verdict::Final | Verdict::Outage { .. } | Verdict::Undecided { .. } | Verdict::Barred { .. })
        | (408 | 425 | 499 | 500..=599, Verdict::Again { .. })
        | (429, Verdict::SlowDown { .. })
        // The call is not there, whenever it is tried.
        | (501 | 505, Verdict::Final) => {}
        (300..=399 | 401 | 403 | 407 | 408 | 425 | 429 | 499 | 500..=599, other) => panic!("{status} is {other:?}"),
        (_, other) => assert_eq!(*other, Verdict::Final, "{status}"),
    }
    clean(verdict);
}

fn check_request(request: &Request) {
    let Request { path, body, method, .. } = request;
    assert!(path.starts_with('/'), "{path:?}");
    assert!(path.bytes().all(|byte| byte.is_ascii_graphic() && !b"?#\\\"<>".contains(&byte)), "{path:?}");
    assert!(path.split('/').skip(1).all(|part| !matches!(part, "" | "." | "..")), "{path:?} leads elsewhere");
    let changes = !path.starts_with("/members/member/list/") && *method != Method::GET;
    if let Some(body) = body {
        assert!(object(body).is_some(), "what is sent is an object");
        assert!(!changes || body.len() <= BODY_MAX, "{} bytes are more than PassKit takes", body.len());
    }
}

fn identifier<'a>(words: &[&'a str]) -> &'a str {
    words.iter().find_map(|word| word.strip_prefix("id:")).unwrap_or("C-1")
}

fn target_of(words: &[&str]) -> Target {
    let identifier = identifier(words).to_owned();
    if words.contains(&"pass") { Target::Pass(identifier) } else { Target::External(identifier) }
}

fn apply(talk: &mut Talk<'_>, words: &[&str]) {
    let Some(verb) = words.first().and_then(|word| Verb::parse(word)) else { return };
    let mut fields: Vec<FieldChange> = Vec::new();
    for word in &words[1..] {
        let (name, text) = word.split_once('=').map_or((*word, None), |(name, text)| (name, Some(text)));
        let Ok(rule) = talk.account.field(name) else { continue };
        let value = match text {
            None if rule.clearable => None,
            None => continue,
            Some(text) => match coerce(Value::Text(text.into()), rule.kind, &LocalTimes::strict(Zone::UTC)) {
                Ok(value) if talk.account.check_value(name, &value).is_ok() => Some(value.into_owned()),
                _ => continue,
            },
        };
        if fields.len() < 32 && fields.iter().all(|field| *field.name != *name) {
            fields.push(FieldChange { field: fields.len() as u8, name: name.into(), value });
        }
    }
    let found = words.contains(&"found").then(|| Found {
        pass_id: if words.contains(&"pass") { identifier(words).to_owned() } else { "p1".to_owned() },
        state: json!({ "tierId": "base", "metaData": { "kept": "yes", "a": "old" }, "person": { "surname": "Old" } }),
    });
    let change = Change { row: 1, target: target_of(words), verb, fields, found, reference: "k7f2m9:2".to_owned() };
    let most = talk.account.requests(&change);
    assert!(most >= 1 || change.fields.is_empty(), "a change costs something");
    let result = talk.hold(talk.account.apply(change.clone()));
    check_change(&change, &result, &talk.said);
}

/// Nothing counts as applied that no answer proved.
fn check_change(change: &Change, result: &ChangeResult, said: &[(Request, Heard)]) {
    assert!(!result.operations.is_empty(), "a change ends somehow");
    let mut carried: Vec<u8> = result.operations.iter().flat_map(|operation| operation.fields.clone()).collect();
    carried.sort_unstable();
    if matches!(change.verb, Verb::Update | Verb::Upsert) {
        let all: Vec<u8> = change.fields.iter().map(|field| field.field).collect();
        assert_eq!(carried, all, "each field ends in one operation: {result:?}");
    }
    let meant = match (&change.target, &change.found) {
        (Target::Pass(id), _) => Some(id.clone()),
        (Target::External(_), found) => found.as_ref().map(|found| found.pass_id.clone()),
    };
    for operation in &result.operations {
        assert!(operation.message.chars().count() <= MESSAGE_MAX, "{operation:?}");
        assert!(!operation.message.chars().any(char::is_control), "{operation:?}");
        let proved = |request: &Request, heard: &Heard| {
            proves(request, heard, change, meant.as_deref(), said) && carries(request, operation.operation, change, &operation.fields)
        };
        match operation.outcome {
            Outcome::Applied | Outcome::Created => {
                assert_eq!(operation.code, None, "{operation:?}");
                assert!(said.iter().any(|(request, heard)| proved(request, heard)), "{operation:?} without proof in {said:?}");
                let created = said.iter().any(|(request, heard)| request.method == Method::POST && heard.is_success());
                assert!(operation.outcome != Outcome::Created || created, "{operation:?}");
            }
            Outcome::Unchanged => assert!(change.fields.is_empty(), "{operation:?}"),
            _ => assert!(operation.code.is_some(), "{operation:?} says no reason"),
        }
    }
}

/// Does the answer prove that the request was carried out on the pass that was meant (contract 2 and 4)?
fn proves(request: &Request, heard: &Heard, change: &Change, meant: Option<&str>, said: &[(Request, Heard)]) -> bool {
    let delete = request.method == Method::DELETE;
    if delete && matches!(heard, Heard::Final(404 | 410, _)) {
        return true;
    }
    let Some(answer) = heard.object() else { return false };
    if delete {
        return true;
    }
    let text = |name: &str| answer.get(name).and_then(Json::as_str).filter(|text| !text.is_empty());
    let tier = request.path == "/members/member/tier";
    let id = if tier {
        text("memberId").or_else(|| answer.get("member").and_then(|member| member.get("id")).and_then(Json::as_str))
    } else {
        text("id")
    };
    if id.is_none() && !tier {
        return false;
    }
    // The pass may have been found under another ID on the way.
    let read = said.iter().filter(|(request, _)| request.method == Method::GET).filter_map(|(_, heard)| heard.object());
    let known: Vec<String> =
        read.filter_map(|member| member.get("id").and_then(Json::as_str).map(str::to_owned)).chain(meant.map(str::to_owned)).collect();
    let right = id.is_none_or(|id| known.is_empty() || known.iter().any(|known| known == id));
    let external = match &change.target {
        Target::External(external) if request.path == "/members/member/points/set" => {
            text("externalId").is_none_or(|echoed| echoed == external)
        }
        _ => true,
    };
    right && external
}

/// Does the request carry this operation's fields?
fn carries(request: &Request, operation: &str, change: &Change, fields: &[u8]) -> bool {
    let Some(body) = request.body.as_ref().and_then(|body| object(body)) else { return false };
    match (operation, request.method.as_str(), request.path.as_str()) {
        ("void", "DELETE", "/members/member") | ("create", "POST", "/members/member") => true,
        ("expire", "PUT", "/members/member/updateExpiry") => body.contains_key("expiryDate"),
        ("points" | "tier" | "expiry" | "fields", "PUT", path) => {
            let own = match path {
                "/members/member" => true,
                "/members/member/points/set" => operation == "points",
                "/members/member/tier" => operation == "tier",
                "/members/member/updateExpiry" => operation == "expiry",
                _ => false,
            };
            own && change.fields.iter().filter(|field| fields.contains(&field.field)).all(|field| says(&body, path, field))
        }
        _ => false,
    }
}

fn says(body: &Map<String, Json>, path: &str, field: &FieldChange) -> bool {
    let name = &*field.name;
    if let Some(key) = name.strip_prefix("metaData.") {
        // A cleared key is left out, and with the last of them the whole map may be.
        return body.get("metaData").map_or(field.value.is_none(), |meta| meta.get(key).is_some() == field.value.is_some());
    }
    if let Some(key) = name.strip_prefix("person.") {
        return body.get("person").is_some_and(|person| person.get(key).is_some());
    }
    let reset = match name {
        "secondaryPoints" => "resetSecondaryPoints",
        "tierPoints" => "resetTierPoints",
        _ => "resetPoints",
    };
    body.contains_key(name) || (path == "/members/member/points/set" && body.get(reset) == Some(&Json::Bool(true)))
}

fn find(talk: &mut Talk<'_>, words: &[&str]) {
    let targets: Vec<Target> = words
        .iter()
        .filter_map(|word| {
            word.strip_prefix("id:")
                .map(|id| Target::External(id.to_owned()))
                .or_else(|| word.strip_prefix("pass:").map(|id| Target::Pass(id.to_owned())))
        })
        .take(100)
        .collect();
    let findings = talk.hold(talk.account.find(&targets));
    assert_eq!(findings.len(), targets.len(), "a finding for each target");
    for (target, finding) in targets.iter().zip(&findings) {
        match finding {
            Finding::Found(found) => {
                assert!(!found.pass_id.is_empty());
                assert!(
                    members(&talk.said).any(|member| is(&member, target) && member["id"] == *found.pass_id && live(&member)),
                    "{target:?} {finding:?}"
                );
            }
            Finding::Several(ids) => {
                assert!(
                    ids.len() > 1 && ids.iter().all(|id| members(&talk.said).any(|member| is(&member, target) && member["id"] == **id)),
                    "{finding:?}"
                );
            }
            Finding::Absent => {
                let asked = |request: &Request| request.method == Method::GET || request.path.contains("/list/");
                let told = |heard: &Heard| matches!(heard, Heard::Final(200..=299 | 404 | 410, _));
                let nobody = matches!(target, Target::Pass(id) if matches!(id.as_str(), "" | "." | ".."));
                assert!(
                    nobody || talk.said.iter().any(|(request, heard)| asked(request) && told(heard)),
                    "{target:?} is absent without a word"
                );
            }
            Finding::Failed { message, .. } => {
                assert!(message.chars().count() <= MESSAGE_MAX + 100 && !message.chars().any(char::is_control), "{finding:?}");
            }
            Finding::NotAttempted => assert!(talk.stopped, "given up without being stopped"),
        }
    }
}

/// Members in good answers: alone, or the lines of a listing.
fn members(said: &[(Request, Heard)]) -> impl Iterator<Item = Json> + '_ {
    said.iter().filter(|(_, heard)| heard.is_success()).flat_map(|(request, heard)| {
        let Heard::Final(_, body) = heard else { return Vec::new() };
        if request.method == Method::GET {
            return object(body).map(Json::Object).into_iter().collect();
        }
        body.split(|byte| *byte == b'\n').filter_map(object).filter_map(|mut line| line.remove("result")).collect()
    })
}

fn is(member: &Json, target: &Target) -> bool {
    match target {
        Target::External(external) => member["externalId"] == **external || (external.is_empty() && member.get("externalId").is_none()),
        Target::Pass(id) => member["id"] == **id,
    }
}

fn live(member: &Json) -> bool {
    let program = member["programId"].as_str().unwrap_or_default();
    member["status"] != "DELETED" && (program.is_empty() || program == PROGRAM)
}

fn pages(talk: &mut Talk<'_>) {
    let page = talk.hold(talk.account.pages(0));
    assert!(page.fault.is_none() || page.passes.is_empty(), "half a page");
    assert!(page.fault.is_some() || talk.said.iter().any(|(_, heard)| heard.is_success()), "a page without an answer");
    for pass in &page.passes {
        assert!(!pass.pass_id.is_empty());
        for (name, value) in &pass.fields {
            assert!(talk.account.field(name).is_ok(), "{name}");
            let _ = value.canonical();
        }
    }
}

fn addition(words: &[&str]) -> Option<Addition> {
    let kind = AddKind::ALL.into_iter().find(|kind| words.contains(&kind.as_str()))?;
    let amounts = words.iter().filter_map(|word| word.split_once('=')).filter(|(name, _)| matches!(*name, "points" | "secondaryPoints"));
    let notification = words.iter().find_map(|word| word.strip_prefix("metaData.note="));
    let before = words.contains(&"before").then(|| json!({ "points": 10.0, "secondaryPoints": 1.5 }));
    Some(Addition {
        row: 1,
        target: target_of(words),
        key: AddKey { row: RowKey(7), kind },
        print: 1,
        amounts: amounts.filter_map(|(name, text)| Some((name.into(), text.parse().ok()?))).take(2).collect(),
        notification: notification.map(|text| ("metaData.note".into(), text.to_owned())),
        reference: "k7f2m9:2".to_owned(),
        before,
        perhaps_sent: false,
        since: None,
        decided: false,
    })
}

fn changes(request: &Request) -> bool {
    request.method != Method::GET && !request.path.contains("/list/")
}

/// An add is sent once, and is applied only where an answer says so of the pass that was meant.
fn give(talk: &mut Talk<'_>, words: &[&str]) {
    let Some(add) = addition(words) else { return };
    let end = talk.hold(talk.account.add(&add));
    let sent: Vec<&(Request, Heard)> = talk.said.iter().filter(|(request, _)| changes(request)).collect();
    assert!(sent.len() <= 1, "an add is sent {} times", sent.len());
    assert!(sent.iter().all(|(request, _)| !request.repeatable), "an add that may be repeated");
    let last = sent.first().map(|(_, heard)| heard).filter(|heard| !matches!(heard, Heard::Unsent));
    match &end {
        AddEnd::Applied { .. } => {
            let answer = last.and_then(Heard::object).expect("applied without an answer that proves it");
            let text = |name: &str| answer.get(name).and_then(Json::as_str).unwrap_or_default();
            assert!(!text("id").is_empty(), "the answer names no pass");
            match &add.target {
                Target::Pass(id) => assert_eq!(text("id"), id),
                Target::External(external) => assert!(text("externalId").is_empty() || text("externalId") == external, "{answer:?}"),
            }
        }
        // Of other platforms only: PassKit takes an add as it is, or not.
        AddEnd::AppliedBut { .. } => panic!("{end:?}"),
        // Only a refusal of which the contract says that it changed nothing.
        AddEnd::Refused { .. } => assert!(
            last.is_none_or(|heard| matches!(heard, Heard::Final(400 | 403 | 404 | 405 | 410 | 413 | 415 | 422, _))),
            "refused, though something may have changed: {last:?}"
        ),
        AddEnd::Already { .. } | AddEnd::NotSent => assert!(last.is_none(), "{end:?}, though it was sent"),
        AddEnd::Lost { .. } => assert!(last.is_some(), "lost, though it was never sent"),
    }
    if let AddEnd::Already { message } | AddEnd::Refused { message, .. } | AddEnd::Lost { message } = &end {
        assert!(message.chars().count() <= MESSAGE_MAX && !message.chars().any(char::is_control), "{end:?}");
    }
}

/// Looking changes nothing, and proves no more than was read.
fn look(talk: &mut Talk<'_>, words: &[&str]) {
    let Some(add) = addition(words) else { return };
    let Some(conversation) = talk.account.read_back(&add) else { return };
    let proof = talk.hold(conversation);
    assert!(talk.said.iter().all(|(request, _)| !changes(request)), "a look changes something");
    let read = talk.said.iter().any(|(_, heard)| heard.is_success());
    match &proof {
        Proof::Applied(_) => {
            let key = add.key.to_string();
            let lines = talk.said.iter().filter_map(|(_, heard)| match heard {
                Heard::Final(200..=299, body) => Some(body),
                _ => None,
            });
            let named = lines.into_iter().any(|body| body.windows(key.len()).any(|part| part == key.as_bytes()));
            assert!(named || (read && (add.notification.is_some() || words.contains(&"by-balance"))), "{proof:?} without proof");
        }
        Proof::NotApplied(_) => {
            // A pass that is not there has no events.
            let gone = words.contains(&"by-events") && talk.said.iter().any(|(_, heard)| matches!(heard, Heard::Final(404 | 410, _)));
            assert!(gone || (read && (words.contains(&"by-events") || words.contains(&"by-balance"))), "{proof:?} without proof");
        }
        Proof::Unknown(words) => assert!(!words.is_empty()),
        Proof::Stopped => assert!(talk.stopped),
    }
    let (Proof::Applied(text) | Proof::NotApplied(text) | Proof::Unknown(text)) = &proof else { return };
    assert!(!text.chars().any(char::is_control), "{text:?}");
}
