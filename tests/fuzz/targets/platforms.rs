//! Answers of Google Wallet, The Wallet Crew and described platforms: whatever comes, nothing counts as applied that no answer proves.
//!
//! The first part of an input says the platform and what is asked of it, in words; see [`super::talk`] for the rest.

use std::cell::OnceCell;

use passferry::config::meant::{self, PlatformKind};
use passferry::mapping::coerce;
use passferry::outcome::Outcome;
use passferry::platform::{Account, AddEnd, ChangeResult, Finding, Proof, Request, Verdict, of_kind};
use passferry::row::{AddKey, AddKind, Addition, Change, FieldChange, RowKey, Target, Verb};
use passferry::schema::value::Value;
use passferry::secret::{Secret, SecretPlace};
use passferry::zone::{LocalTimes, Zone};
use reqwest::Method;

use super::parts;
use super::talk::{Heard, MESSAGE_MAX, Talk, clean, json};

/// Passes of one batch.
const PASSES: [&str; 3] = ["C-1", "C-2", "C-3"];
const ISSUER: &str = "3388000000012345678";

const DESCRIBED: &str = r#"
[source.in]
kind = "folder"
path = "in"

[platform.single]
kind = "http"
base_url = "https://api.example.com/v1"

[platform.single.fields]
points = { kind = "integer", balance = true }
tier = { cleared = "null" }
news = { alert = true }

[platform.single.find]
request = "GET /passes?ref={{ external_id }}"
list = "/items"
next = { at = "/next" }
pass_id = "/id"
external_id = "/ref"
absent = { at = "/status", is = "gone" }

[platform.single.update]
request = "PUT /passes/{{ external_id }}"
whole = ""
body = '{ "version": "{{ found.version + 1 }}" }'
external_id = "/ref"

[platform.single.create]
request = "POST /passes"
body = '{ "ref": "{{ external_id }}" }'
external_id = "/ref"

[platform.single.void]
request = "DELETE /passes/{{ external_id }}"

[platform.single.expire]
request = "PATCH /passes/{{ external_id }}"
external_id = "/ref"

[platform.single.earn]
request = "POST /passes/{{ external_id }}/earn"
external_id = "/ref"
read_back = { request = "GET /events/{{ key }}", list = "/events", next = { at = "/next", parameter = "page" }, key = "/key", absent = "not-applied" }

[platform.single.answers]
success = { at = "/ok", is = "true" }
code = { at = "/code", retry = "BUSY", not_found = "WHO" }

[platform.bulk]
kind = "http"
base_url = "https://api.example.com"

[platform.bulk.fields]
points = { kind = "integer" }
tier = {}

[platform.bulk.batch]
request = "POST /batch"
size = 3
items = "/items"
item = '{ "ref": "{{ external_id }}" }'
item_id = "/ref"
results = "/results"
result_id = "/ref"
status = "/status"

[feed.one]
source = "in"
pattern = "*"
content = "delta"
schema = "schema.json"
platform = "single"
pass = { external_id = "id" }
fields = { tier = "tier" }
"#;

thread_local! {
    static CONFIG: OnceCell<meant::Config> = const { OnceCell::new() };
}

fn described(name: &str) -> PlatformKind {
    let load = || {
        super::with_scratch(|folder| {
            let path = folder.join("platforms.toml");
            std::fs::write(folder.join("schema.json"), r#"{ "fields": [{ "name": "id" }, { "name": "tier" }] }"#).expect("a scratch file");
            std::fs::write(&path, DESCRIBED).expect("a scratch file");
            passferry::config::load(&path).unwrap_or_else(|faults| panic!("{faults}"))
        })
    };
    CONFIG.with(|config| config.get_or_init(load).platforms[name].kind.clone())
}

fn google() -> meant::GoogleWallet {
    meant::GoogleWallet {
        base_url: "https://wallet.example".to_owned(),
        token_url: None,
        key: Secret::new(SecretPlace::Env("K".to_owned())),
        issuer: ISSUER.to_owned(),
        class: meant::WalletClass::Loyalty,
        class_id: Some(format!("{ISSUER}.club")),
        account: String::new(),
        object_ids: meant::ObjectIds::Escaped,
        id_prefix: String::new(),
        id_max: 255,
        language: "en".to_owned(),
        currency: None,
        batch: PASSES.len(),
        nulls: true,
        notify_on: Vec::new(),
        notify_max: 3,
        over_quota: meant::OverQuota::Text,
        message_header: Some("News".to_owned()),
        messages_full: meant::MessagesFull::Send,
        void_state: meant::VoidState::Inactive,
        slow_reasons: vec!["rateLimitExceeded".to_owned()],
        read_back: meant::ReadBack::Events,
    }
}

fn crew(asked: &[&str]) -> meant::TheWalletCrew {
    meant::TheWalletCrew {
        base_url: "https://crew.example".to_owned(),
        tenant: "acme".to_owned(),
        key: Secret::new(SecretPlace::Env("K".to_owned())),
        identifier: Some("crm.no".to_owned()),
        pass_type: None,
        type_in_updates: false,
        look_first: true,
        replaces_blocks: asked.contains(&"blocks"),
        clears_by_text: false,
        text_only: false,
        confirm: asked.contains(&"confirm"),
        create_again: asked.contains(&"again"),
        page_size: 3,
    }
}

pub fn target(data: &[u8]) {
    let Ok(text) = std::str::from_utf8(data) else { return };
    let mut parts = parts(text);
    let asked: Vec<&str> = parts.next().unwrap_or_default().split_whitespace().collect();
    let kind = match asked.first() {
        Some(&"google") => PlatformKind::GoogleWallet(google()),
        Some(&"crew") => PlatformKind::TheWalletCrew(crew(&asked)),
        Some(&"single") => described("single"),
        Some(&"bulk") => described("bulk"),
        _ => return,
    };
    let account = of_kind(&kind);
    let mut talk = Talk::new(&account, parts.collect(), asked.contains(&"endless"), check_request, check_verdict);
    let words = asked.get(2..).unwrap_or_default();
    match asked.get(1) {
        Some(&"probe") => {
            let reach = talk.hold(account.probe());
            assert!(!reach.message.chars().any(char::is_control), "{reach:?}");
            let heard = |heard: &Heard| matches!(heard, Heard::Final(200..=299 | 400 | 404 | 422, _));
            assert!(!reach.ok || talk.said.iter().any(|(_, said)| heard(said) || asked[0] == "single" || asked[0] == "bulk"), "{reach:?}");
        }
        Some(&"pages") => {
            let page = talk.hold(account.pages(0));
            assert!(page.fault.is_none() || page.passes.is_empty(), "half a page");
            assert!(page.passes.iter().all(|pass| !pass.pass_id.is_empty()));
        }
        Some(&"find") => find(&mut talk),
        Some(&"look") => look(&mut talk, &asked),
        Some(&("earn" | "burn" | "redeem" | "notify")) => give(&mut talk, &asked),
        Some(word) => {
            if let Some(verb) = Verb::parse(word).filter(|verb| account.verbs().contains(verb) && verb.add().is_none()) {
                apply(&mut talk, verb, words, asked[0]);
            }
        }
        None => {}
    }
}

fn check_request(request: &Request) {
    assert!(request.path.is_empty() || request.path.starts_with(['/', '?']), "{:?}", request.path);
    assert!(request.path.bytes().all(|byte| byte.is_ascii_graphic() && byte != b'#'), "{:?}", request.path);
    assert!(request.headers.iter().all(|(_, value)| !value.as_bytes().contains(&b'\n')), "{:?}", request.headers);
}

fn check_verdict(status: u16, body: &[u8], verdict: &Verdict) {
    let page = body.trim_ascii_start().starts_with(b"<");
    assert!(!((200..=299).contains(&status) && page && *verdict == Verdict::Final), "a web page is taken for an answer");
    assert!(!(300..=399).contains(&status) || matches!(verdict, Verdict::Outage { .. }), "{status} is {verdict:?}");
    assert!(status != 401 || matches!(verdict, Verdict::Reauthorize { .. }), "{verdict:?}");
    clean(verdict);
}

/// Can this answer show that something was done to the pass?
fn could_prove(platform: &str, pass: &str, verb: Option<Verb>, request: &Request, heard: &Heard) -> bool {
    let Heard::Final(status, body) = heard else { return false };
    let says = |text: &str| body.windows(text.len()).any(|part| part == text.as_bytes());
    // What was to go is not there.
    let gone = verb == Some(Verb::Void) && request.method == Method::DELETE && matches!(status, 200..=299 | 404 | 410);
    let success = (200..=299).contains(status);
    match platform {
        "google" if request.weight > 1 => success && says(&format!("{ISSUER}.{pass}")) && says("HTTP/"),
        "google" => success && json(body).is_some() && says(&format!("{ISSUER}.{pass}")),
        // What the platform answers a change is nothing; that it did it shows in a read, where the account asks for one.
        "crew" => success && request.method != Method::GET,
        // The result of an item counts whatever the status of the whole.
        "bulk" => json(body).is_some() && says(pass),
        _ => gone || (success && json(body).is_some() && says(pass)),
    }
}

fn message_is_clean(message: &str) {
    assert!(message.chars().count() <= MESSAGE_MAX + 100 && !message.chars().any(char::is_control), "{message:?}");
}

fn change(account: &Account, pass: &str, row: u64, verb: Verb, words: &[&str]) -> Change {
    let mut fields: Vec<FieldChange> = Vec::new();
    for word in words {
        let (name, text) = word.split_once('=').map_or((*word, None), |(name, text)| (name, Some(text)));
        let Ok(rule) = account.field(name) else { continue };
        let value = match text {
            None if rule.clearable => None,
            None => continue,
            Some(text) => match coerce(Value::Text(text.into()), rule.kind, &LocalTimes::strict(Zone::UTC)) {
                Ok(value) if account.check_value(name, &value).is_ok() => Some(value.into_owned()),
                _ => continue,
            },
        };
        if fields.len() < 16 && fields.iter().all(|field| *field.name != *name) {
            fields.push(FieldChange { field: fields.len() as u8, name: name.into(), value });
        }
    }
    Change { row, target: Target::External(pass.to_owned()), verb, fields, found: None, reference: "k7f2m9:2".to_owned() }
}

fn apply(talk: &mut Talk<'_>, verb: Verb, words: &[&str], platform: &str) {
    let batched = matches!(platform, "google" | "bulk");
    let passes = if batched { &PASSES[..] } else { &PASSES[..1] };
    let mut changes: Vec<Change> = std::iter::zip(1.., passes).map(|(row, pass)| change(talk.account, pass, row, verb, words)).collect();
    // The road sends nothing for a row that says nothing.
    if matches!(verb, Verb::Update | Verb::Upsert) && changes.iter().any(|change| change.fields.is_empty()) {
        return;
    }
    for change in &mut changes {
        // As resolve does it: a pass that is not there is not changed.
        if talk.account.needs_find(change) {
            match talk.hold(talk.account.find(std::slice::from_ref(&change.target))).pop() {
                Some(Finding::Found(found)) => change.found = Some(found),
                Some(Finding::Absent) if verb == Verb::Upsert => {}
                _ => return,
            }
        }
    }
    let results: Vec<ChangeResult> = if batched {
        talk.hold(talk.account.apply_batch(changes.clone()))
    } else {
        changes.iter().map(|change| talk.hold(talk.account.apply(change.clone()))).collect()
    };
    assert_eq!(results.len(), changes.len(), "a result for each change");
    for (pass, result) in passes.iter().zip(&results) {
        assert!(!result.operations.is_empty() || words.is_empty(), "a change ends somehow: {result:?}");
        for operation in &result.operations {
            message_is_clean(&operation.message);
            if matches!(operation.outcome, Outcome::Applied | Outcome::Created) {
                let proof = talk.said.iter().any(|(request, heard)| could_prove(platform, pass, Some(verb), request, heard));
                assert!(proof, "{operation:?} of {pass} without proof in {:?}", talk.said);
            }
        }
    }
}

fn find(talk: &mut Talk<'_>) {
    let targets = PASSES.map(|pass| Target::External(pass.to_owned()));
    let findings = talk.hold(talk.account.find(&targets));
    assert_eq!(findings.len(), targets.len(), "a finding for each target");
    for finding in findings {
        match finding {
            Finding::Found(found) => assert!(!found.pass_id.is_empty() && talk.said.iter().any(|(_, heard)| heard.is_success())),
            Finding::Several(ids) => assert!(ids.len() > 1),
            Finding::Absent => {
                let told = |heard: &Heard| matches!(heard, Heard::Final(..));
                assert!(talk.said.iter().any(|(_, heard)| told(heard)), "absent without a word");
            }
            Finding::Failed { message, .. } => message_is_clean(&message),
            Finding::NotAttempted => assert!(talk.stopped, "given up without being stopped"),
        }
    }
}

fn addition(asked: &[&str]) -> Option<Addition> {
    let kind = AddKind::ALL.into_iter().find(|kind| asked.contains(&kind.as_str()))?;
    let points = asked.iter().find_map(|word| word.strip_prefix("points=")?.parse().ok());
    let field = if asked[0] == "google" { "messages" } else { "news" };
    Some(Addition {
        row: 1,
        target: Target::External("C-1".to_owned()),
        key: AddKey { row: RowKey(7), kind },
        print: 1,
        amounts: points.map(|points| ("points".into(), points)).into_iter().collect(),
        notification: (kind == AddKind::Notify).then(|| (field.into(), "Hello".to_owned())),
        reference: "k7f2m9:2".to_owned(),
        before: None,
        perhaps_sent: false,
        since: None,
        decided: false,
    })
}

fn give(talk: &mut Talk<'_>, asked: &[&str]) {
    let Some(add) = addition(asked) else { return };
    let end = talk.hold(talk.account.add(&add));
    let sent: Vec<&(Request, Heard)> = talk.said.iter().filter(|(request, _)| !request.repeatable).collect();
    assert!(sent.len() <= 2, "an add is sent {} times", sent.len());
    let proof = || talk.said.iter().any(|(request, heard)| could_prove(asked[0], "C-1", None, request, heard));
    match &end {
        AddEnd::Applied { .. } | AddEnd::AppliedBut { .. } => assert!(proof(), "{end:?} without proof in {:?}", talk.said),
        AddEnd::Already { message } | AddEnd::Refused { message, .. } | AddEnd::Lost { message } => message_is_clean(message),
        AddEnd::NotSent => assert!(talk.stopped || talk.said.is_empty(), "{end:?}"),
    }
}

fn look(talk: &mut Talk<'_>, asked: &[&str]) {
    let Some(add) = addition(asked) else { return };
    let Some(conversation) = talk.account.read_back(&add) else { return };
    let proof = talk.hold(conversation);
    assert!(talk.said.iter().all(|(request, _)| request.method == Method::GET), "a look changes something");
    match &proof {
        Proof::Applied(text) | Proof::NotApplied(text) => {
            message_is_clean(text);
            assert!(talk.said.iter().any(|(_, heard)| matches!(heard, Heard::Final(..))), "{proof:?} without a word");
        }
        Proof::Unknown(text) => message_is_clean(text),
        Proof::Stopped => assert!(talk.stopped),
    }
}
