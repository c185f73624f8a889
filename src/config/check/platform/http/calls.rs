//! Requests of a described platform: their lines, headers and bodies, and the words these may use.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use reqwest::Method;
use reqwest::header::HeaderName;

use super::super::super::{Check, Key};
use crate::config::meant::http::{Add, Batch, Call, Create, Field, Find, LookUp, Next, Told, Update};
use crate::config::value::{self, choices, instead, quoted};
use crate::config::written;
use crate::platform::http::pointer::Pointer;
use crate::platform::http::template::{Body, Line, Template};
use crate::platform::http::words::{OF_AMOUNT, OF_CALL, OF_MESSAGE, OF_PASS, OF_TIME};

/// Words of a request that issues a pass: the platform's identifier is not known yet.
const OF_NEW: [&str; 6] = ["external_id", "id", "reference", "key", "uuid", "now"];
/// Words of a request for several passes.
const OF_BATCH: [&str; 3] = ["reference", "key", "uuid"];
/// A key is repeated for at most nine tenths of its life, and that must be worth it.
const KEY_LIFETIME_MIN: Duration = Duration::from_mins(1);

impl Check<'_> {
    /// A request line whose values are among `words`.
    pub(super) fn line(&mut self, key: &Key, name: &str, text: Option<&String>, example: &str, words: &[&str]) -> Option<Line> {
        let here = key.child(name);
        let text = self.required(&here, text, example)?;
        let line = self.good(&here, Line::parse(&text).map_err(|fault| format!("{} {fault}", quoted(&text))))?;
        self.known(&here, &line.names(), words);
        Some(line)
    }

    /// The names a template uses must be words of its request.
    fn known(&mut self, key: &Key, names: &BTreeSet<String>, words: &[&str]) {
        for name in names {
            if !words.contains(&&**name) {
                let message = if words.is_empty() {
                    format!("has {{{{ {name} }}}}, and no row belongs to this request; write it out")
                } else {
                    format!("has {{{{ {name} }}}}, which this request does not have; {}", instead(name, words))
                };
                self.fault(key, message);
            }
        }
    }

    fn templates(&mut self, key: &Key, headers: &BTreeMap<String, String>, words: &[&str]) -> Vec<(HeaderName, Template)> {
        let mut all = Vec::new();
        for (name, text) in headers {
            let here = key.child("headers").child(name);
            let Some(header) = self.header_name(&here, name, text) else { continue };
            let Some(template) = self.good(&here, Template::parse(text)) else { continue };
            self.known(&here, &template.names(), words);
            all.push((header, template));
        }
        all
    }

    fn json_body(&mut self, key: &Key, name: &str, text: &str, words: &[&str]) -> Option<Body> {
        let here = key.child(name);
        let body = self.good(&here, Body::parse(text))?;
        if !matches!(body, Body::Object(_)) {
            self.fault(&here, "is no JSON object; write { … }".into());
            return None;
        }
        self.known(&here, &body.names(), words);
        Some(body)
    }

    /// A request that changes something.
    fn call(&mut self, key: &Key, call: &written::HttpCall, words: &[&str], platform: &written::Platform) -> Option<Call> {
        let line = self.line(key, "request", call.request.as_ref(), "request = \"PATCH /passes/{{ external_id }}\"", words);
        let headers = self.templates(key, &call.headers, words);
        let written = call.body.as_ref().map(|text| self.json_body(key, "body", text, words));
        let mut places = Vec::new();
        for (name, text) in &call.places {
            let here = key.child("places").child(name);
            if !platform.fields.contains_key(name) {
                let known: Vec<&str> = platform.fields.keys().map(String::as_str).collect();
                self.fault(&here, format!("{} is not declared in fields; {}", quoted(name), instead(name, &known)));
            }
            places.extend(self.inner_place(&here, text).map(|place| (name.clone(), place)));
        }
        let pass_id = self.pointer(key, "pass_id", call.pass_id.as_ref());
        let external_id = self.pointer(key, "external_id", call.external_id.as_ref());
        let anything = call.answer == Some(written::HttpAnswer::Any);
        if anything && (pass_id.is_some() || external_id.is_some()) {
            let message = "is \"any\", and an answer of any form names no pass; remove it, or pass_id and external_id";
            self.fault(&key.child("answer"), message.into());
        }
        let line = line?;
        if line.method == Method::GET {
            self.fault(&key.child("request"), "is a GET, which changes nothing; write PATCH, PUT, POST or DELETE".into());
        }
        let body = match written {
            Some(body) => Some(body?),
            None if line.method == Method::DELETE => None,
            None => Some(Body::default()),
        };
        Some(Call { line, headers, body, places, told: Told { pass_id, external_id, anything } })
    }

    /// A place that may be left out. A wrong one is a fault, and with a fault nothing of the description is used.
    fn pointer(&mut self, key: &Key, name: &str, text: Option<&String>) -> Option<Pointer> {
        text.and_then(|text| self.inner_place(&key.child(name), text))
    }

    /// Keys of a request that others have.
    fn only(&mut self, key: &Key, call: &written::HttpCall, own: &[&str]) {
        let given = [
            ("whole", call.whole.is_some(), "update"),
            ("creates", call.creates.is_some(), "update"),
            ("requires", call.requires.is_some(), "create"),
            ("negative", call.negative.is_some(), "earn and burn"),
            ("key_lifetime", call.key_lifetime.is_some(), "earn, burn, redeem and notify"),
            ("read_back", call.read_back.is_some(), "earn, burn, redeem and notify"),
        ];
        for (name, given, others) in given {
            if given && !own.contains(&name) {
                self.fault(&key.child(name), format!("belongs to {others}; remove it"));
            }
        }
    }

    /// Fields must have a body to stand in.
    fn needs_body(&mut self, key: &Key, call: &Call) {
        if call.body.is_none() {
            self.fault(&key.child("request"), "is a DELETE without a body, in which no field can stand; write PATCH, PUT or POST".into());
        }
    }

    /// The pass as found is known only where it can be found.
    fn needs_find(&mut self, key: &Key, name: &str, names: &BTreeSet<String>, platform: &written::Platform) {
        if names.contains("found") && platform.find.is_none() {
            self.fault(&key.child(name), "needs the pass as it stands ({{ found }}); write find = { … } beside it, which reads it".into());
        }
    }

    pub(super) fn update(&mut self, key: &Key, call: &written::HttpCall, platform: &written::Platform) -> Option<Update> {
        let here = key.child("update");
        self.only(&here, call, &["whole", "creates"]);
        let words = [&OF_PASS[..], &OF_CALL, &OF_TIME].concat();
        let meant = self.call(&here, call, &words, platform)?;
        self.needs_body(&here, &meant);
        self.needs_find(&here, "request", &meant.names(), platform);
        let whole = match &call.whole {
            None => None,
            Some(text) => Some(self.place(&here.child("whole"), text)?),
        };
        for (name, given) in [("whole", whole.is_some()), ("creates", call.creates == Some(true))] {
            if given && platform.find.is_none() {
                let message =
                    "needs the pass to be found first; write [platform.NAME.find], with request = \"GET /passes/{{ external_id }}\"";
                self.fault(&here.child(name), message.into());
            }
        }
        if call.creates == Some(true) && platform.create.is_some() {
            self.fault(
                &here.child("creates"),
                "stands beside create, so that passes would be issued in two ways; remove one of them".into(),
            );
        }
        Some(Update { call: meant, whole, creates: call.creates.unwrap_or(false) })
    }

    pub(super) fn create(&mut self, key: &Key, call: &written::HttpCall, platform: &written::Platform) -> Option<Create> {
        let here = key.child("create");
        self.only(&here, call, &["requires"]);
        let meant = self.call(&here, call, &OF_NEW, platform)?;
        self.needs_body(&here, &meant);
        let names = meant.names();
        if !names.contains("external_id") && !names.contains("id") {
            let message = "does not say {{ external_id }}, without which the new pass would never be found again; write it in the body";
            self.fault(&here.child("body"), message.into());
        }
        if platform.update.is_none() {
            self.fault(&here, "needs update beside it, for passes that are there; write [platform.NAME.update]".into());
        }
        let requires = call.requires.clone().unwrap_or_default();
        for name in &requires {
            if !platform.fields.contains_key(name) {
                let known: Vec<&str> = platform.fields.keys().map(String::as_str).collect();
                self.fault(&here.child("requires"), format!("{} is not declared in fields; {}", quoted(name), instead(name, &known)));
            }
        }
        Some(Create { call: meant, requires })
    }

    pub(super) fn plain_call(&mut self, key: &Key, name: &str, call: &written::HttpCall, platform: &written::Platform) -> Option<Call> {
        let here = key.child(name);
        self.only(&here, call, &[]);
        let words = [&OF_PASS[..], &OF_CALL, &OF_TIME].concat();
        let meant = self.call(&here, call, &words, platform)?;
        self.needs_find(&here, "request", &meant.names(), platform);
        Some(meant)
    }

    pub(super) fn add_call(
        &mut self,
        key: &Key,
        name: &str,
        call: &written::HttpCall,
        platform: &written::Platform,
        fields: &[Field],
    ) -> Option<Add> {
        let here = key.child(name);
        let amounts = name == "earn" || name == "burn";
        let own: &[&str] = if amounts { &["negative", "key_lifetime", "read_back"] } else { &["key_lifetime", "read_back"] };
        self.only(&here, call, own);
        let words: Vec<&str> = match name {
            "notify" => [&OF_PASS[..], &OF_CALL, &OF_MESSAGE].concat(),
            "redeem" => [&OF_PASS[..], &OF_CALL].concat(),
            _ => [&OF_PASS[..], &OF_CALL, &OF_AMOUNT].concat(),
        };
        let meant = self.call(&here, call, &words, platform)?;
        let names = meant.names();
        self.needs_find(&here, "request", &names, platform);
        let says = |words: &[&str]| words.iter().any(|word| names.contains(*word));
        let undeclared = self.document.pruned_within(&key.child("fields"));
        if amounts && !undeclared && !fields.iter().any(|field| field.balance) {
            self.fault(&here, "moves a balance, and no field is one; write balance = true at a field".into());
        }
        if name == "notify" && !undeclared && !fields.iter().any(|field| field.alert) {
            self.fault(&here, "alerts a holder, and no field does; write alert = true at the field whose change is shown".into());
        }
        if meant.body.is_none() && ((amounts && !says(&OF_AMOUNT)) || (name == "notify" && !says(&["message"]))) {
            self.needs_body(&here, &meant);
        }
        let lifetime = call.key_lifetime.as_ref();
        let key_lifetime = lifetime.and_then(|span| self.good(&here.child("key_lifetime"), value::duration(&span.0, KEY_LIFETIME_MIN)));
        if lifetime.is_some() && !says(&["key", "uuid"]) {
            let message = "says that the platform knows a request again by its key, and the request has none; write such as headers = { \"Idempotency-Key\" = \"{{ uuid }}\" }";
            self.fault(&here.child("key_lifetime"), message.into());
        }
        if lifetime.is_some() && says(&["found"]) {
            let message = "needs the same bytes again, and {{ found }} may be another by then; remove one of them";
            self.fault(&here.child("key_lifetime"), message.into());
        }
        let read_back = match &call.read_back {
            None => None,
            Some(look) => Some(self.look(&here.child("read_back"), look)?),
        };
        Some(Add { call: meant, negative: call.negative.unwrap_or(false), key_lifetime, read_back })
    }

    fn look(&mut self, key: &Key, look: &written::HttpLook) -> Option<LookUp> {
        let words = [&OF_PASS[..], &OF_BATCH].concat();
        let line = self.line(key, "request", look.request.as_ref(), "request = \"GET /events?reference={{ key }}\"", &words);
        let list = match &look.list {
            None => None,
            Some(text) => Some(self.place(&key.child("list"), text)?),
        };
        let place = self.required(&key.child("key"), look.key.as_ref(), "key = \"/reference\", where an event has our key")?;
        let place = self.inner_place(&key.child("key"), &place)?;
        let line = line?;
        if line.method != Method::GET {
            self.fault(&key.child("request"), "may change something; write GET".into());
        }
        let next = self.next(key, look.next.as_deref(), list.is_some());
        Some(LookUp { line, list, next, key: place, absence_proves: look.absent == Some(written::HttpAbsence::NotApplied) })
    }

    fn next(&mut self, key: &Key, next: Option<&written::HttpNext>, is_list: bool) -> Option<Next> {
        let (here, next) = (key.child("next"), next?);
        if !is_list {
            self.fault(&here, "belongs to a list; write where it stands (list = \"/items\"), or remove it".into());
        }
        if next.parameter.as_ref().is_some_and(String::is_empty) {
            self.fault(&here.child("parameter"), "is empty; write the name of a parameter, such as \"cursor\"".into());
        }
        let at = self.required(&here.child("at"), next.at.as_ref(), "at = \"/next\"")?;
        Some(Next { at: self.inner_place(&here.child("at"), &at)?, parameter: next.parameter.clone() })
    }

    pub(super) fn find(&mut self, key: &Key, find: &written::HttpFind) -> Option<Find> {
        let example = "request = \"GET /passes?external_id={{ external_id }}\"";
        let line = self.line(key, "request", find.request.as_ref(), example, &OF_PASS);
        let by_pass_id = match &find.by_pass_id {
            None => None,
            text => Some(self.line(key, "by_pass_id", text.as_ref(), "", &["pass_id", "id"])?),
        };
        let headers = self.templates(key, &find.headers, &OF_PASS);
        let body = match &find.body {
            None => None,
            Some(text) => Some(self.json_body(key, "body", text, &OF_PASS)?),
        };
        let list = match &find.list {
            None => None,
            Some(text) => Some(self.place(&key.child("list"), text)?),
        };
        let pass = find.pass.as_ref().map_or(Some(Pointer::default()), |text| self.place(&key.child("pass"), text));
        let pass_id =
            self.required(&key.child("pass_id"), find.pass_id.as_ref(), "pass_id = \"/id\", where the platform's identifier stands")?;
        let pass_id = self.inner_place(&key.child("pass_id"), &pass_id);
        let external_id = self.pointer(key, "external_id", find.external_id.as_ref());
        let absent = match &find.absent {
            None => None,
            Some(said) => Some(self.said(&key.child("absent"), said)?),
        };
        let next = self.next(key, find.next.as_deref(), list.is_some());
        let find = Find { line: line?, by_pass_id, headers, body, list, next, pass: pass?, pass_id: pass_id?, external_id, absent };
        if [Method::PUT, Method::PATCH, Method::DELETE].contains(&find.line.method) {
            self.fault(&key.child("request"), "changes something; write GET, or POST for a search".into());
        }
        if find.names().is_empty() {
            self.fault(&key.child("request"), "asks for no pass in particular; write {{ external_id }} in it".into());
        }
        Some(find)
    }

    pub(super) fn batch(&mut self, key: &Key, batch: &written::HttpBatch, platform: &written::Platform) -> Option<Batch> {
        let line = self.line(key, "request", batch.request.as_ref(), "request = \"POST /passes/batch\"", &OF_BATCH);
        let headers = self.templates(key, &batch.headers, &OF_BATCH);
        let body = batch.body.as_ref().map_or(Some(Body::default()), |text| self.json_body(key, "body", text, &OF_BATCH));
        let words = [&OF_PASS[..], &OF_CALL, &OF_TIME].concat();
        let item = self.required(&key.child("item"), batch.item.as_ref(), "item = '{ \"id\": \"{{ external_id }}\" }'");
        let item = item.and_then(|text| self.json_body(key, "item", &text, &words));
        let mut inner = |name: &str, text: Option<&String>, example: &str| {
            let text = self.required(&key.child(name), text, example)?;
            self.inner_place(&key.child(name), &text)
        };
        let items = inner("items", batch.items.as_ref(), "items = \"/items\"");
        let item_id = inner("item_id", batch.item_id.as_ref(), "item_id = \"/id\", where an item names its pass");
        let result_id = inner("result_id", batch.result_id.as_ref(), "result_id = \"/id\", where a result names its pass");
        let results = self.required(&key.child("results"), batch.results.as_ref(), "results = \"/results\"");
        let results = results.and_then(|text| self.place(&key.child("results"), &text));
        let status = self.pointer(key, "status", batch.status.as_ref());
        let size = batch.size.unwrap_or(100);
        if !(2..=10_000).contains(&size) {
            self.fault(&key.child("size"), "is no number of passes from 2 to 10000".into());
        }
        let batch = Batch {
            line: line?,
            headers,
            body: body?,
            size: size as usize,
            items: items?,
            item: item?,
            item_id: item_id?,
            results: results?,
            result_id: result_id?,
            status,
        };
        if [Method::GET, Method::DELETE].contains(&batch.line.method) {
            self.fault(&key.child("request"), format!("changes nothing with a body; write {}", choices(&["POST", "PATCH", "PUT"])));
        }
        self.needs_find(key, "item", &batch.names(), platform);
        Some(batch)
    }
}
