//! Earn, burn, redeem and notify: sent once, and afterwards repeated under their key or looked for, as far as the platform offers either.

use std::sync::Arc;
use std::time::{Duration, Instant};

use rust_decimal::Decimal;
use serde_json::{Map, Value as Json};

use super::change::refusal;
use super::fields::number;
use super::find::PASS;
use super::words::{OF_AMOUNT, Placed, of_pass, set_key};
use crate::config::meant::http::{Add, Class, Http, LookUp};
use crate::outcome::{Code, Outcome};
use crate::platform::judge::{clean, quote};
use crate::platform::{AddEnd, Answer, Conversation, Proof, Request, Step, strict};
use crate::row::{AddKind, Addition};

/// Of a key's lifetime, this share is relied on: clocks differ, and a request takes its time to arrive.
const RELIED_ON: f64 = 0.9;

/// Times that a repeated request meets the first one still under way, or is answered by what cannot be read.
const REPEATS: u32 = 5;

/// Between two of them.
const PAUSE: Duration = Duration::from_secs(1);

impl Http {
    /// How an add of this kind is sent; none where the platform's settings do not say.
    pub(super) fn adding(&self, kind: AddKind) -> Option<&Add> {
        match kind {
            AddKind::Earn => self.earn.as_ref(),
            AddKind::Burn => self.burn.as_ref(),
            AddKind::Redeem => self.redeem.as_ref(),
            AddKind::Notify => self.notify.as_ref(),
            AddKind::Validate => None,
        }
    }

    /// The request of an add; the same bytes whenever it is asked for. The error says why there is none.
    fn add_request(&self, add: &Addition) -> Result<Request, String> {
        let how = self.adding(add.key.kind).ok_or_else(|| format!("the platform's settings do not say how to {}", add.key.kind))?;
        let pass_id = add.before.as_ref().and_then(|before| before.get("pass_id")).and_then(Json::as_str);
        let mut words = of_pass(&add.target, pass_id);
        words.set("reference", &add.reference);
        set_key(&mut words, &add.key.to_string());
        if let Some(found) = add.before.as_ref().and_then(|before| before.get(PASS)).filter(|pass| !pass.is_null()) {
            words.set_json("found", found);
        }
        let signed = |amount: Decimal| number(if how.negative { -amount } else { amount });
        let amounts: Map<String, Json> = add.amounts.iter().map(|(name, amount)| (name.to_string(), signed(*amount))).collect();
        if let [(_, amount)] = &*add.amounts {
            words.set_json("amount", &signed(*amount));
        }
        words.set_json("amounts", &Json::Object(amounts));
        // What a template puts into its place is not put into the field's own as well.
        let names = how.call.names();
        let placed =
            |name: &str, word: &[&str]| !word.iter().any(|word| names.contains(*word)) || how.call.places.iter().any(|(of, _)| of == name);
        let amounts = add.amounts.iter().filter(|(name, _)| placed(name, &OF_AMOUNT));
        let mut values: Vec<Placed<'_>> = amounts.map(|(name, amount)| Placed { name, json: signed(*amount) }).collect();
        if let Some((field, text)) = &add.notification {
            words.set("message", text);
            words.set("field", field);
            words.set("name", self.field_named(field).map_or("", |(_, star)| star));
            if placed(field, &["message"]) {
                values.push(Placed { name: field, json: Json::String(text.clone()) });
            }
        }
        let body = self.body(&how.call, &words, None, &values)?;
        self.request(&how.call.line, &how.call.headers, body.as_ref(), &words)
    }

    /// Until when the platform knows the key of an add again; none where it does not, or where the key's age is not known.
    fn key_ends(&self, add: &Addition) -> Option<Instant> {
        let lifetime = self.adding(add.key.kind)?.key_lifetime?;
        add.since?.checked_add(lifetime.mul_f64(RELIED_ON)).filter(|end| *end > Instant::now())
    }

    /// Is a lost add repeated rather than looked for?
    pub(super) fn repeats(&self, add: &Addition) -> bool {
        self.key_ends(add).is_some()
    }

    /// How it is found out whether an add was applied; none where nothing tells.
    pub(super) fn proof(self: &Arc<Http>, add: &Addition) -> Option<Box<dyn Conversation<Proof>>> {
        let how = self.adding(add.key.kind)?;
        match (self.key_ends(add), &how.read_back) {
            (Some(end), _) => Some(Box::new(Repeat { http: self.clone(), add: add.clone(), end, tries: 0 })),
            (None, Some(look)) => {
                Some(Box::new(Look { http: self.clone(), add: add.clone(), how: look.clone(), page: None, asked: Vec::new(), unread: 0 }))
            }
            (None, None) => None,
        }
    }
}

/// What an answer to an add says.
enum Heard {
    Applied(Option<String>),
    Refused(Outcome, Code, String),
    /// Nothing definite.
    Open(String),
}

impl Http {
    fn hear_add(&self, add: &Addition, status: u16, body: &[u8]) -> Heard {
        let json = if self.answers.read_bodies() { strict::read(body) } else { None };
        let judged = self.answers.judge(status, json.as_ref());
        let pass_id = add.before.as_ref().and_then(|before| before.get("pass_id")).and_then(Json::as_str);
        match judged.class {
            Class::Applied if judged.silent => Heard::Open("the answer does not say whether it was applied".to_owned()),
            Class::Applied => {
                let told = self.adding(add.key.kind).map(|how| how.call.told.pass(status, body, &add.target, pass_id));
                match told {
                    Some(Ok(id)) => Heard::Applied(id),
                    Some(Err(reason)) => Heard::Open(reason),
                    None => Heard::Open(String::new()),
                }
            }
            class @ (Class::Refused | Class::TooLarge | Class::NotFound | Class::Gone) => {
                let (outcome, code, message) = refusal(class, self.answers.message(body));
                Heard::Refused(outcome, code.unwrap_or(Code::UpdateRejected), clean(&message))
            }
            Class::Conflict => Heard::Open(format!("the platform reports a conflict ({status}): {}", self.answers.quoted(body))),
            Class::Retry | Class::SlowDown | Class::Unlisted => {
                let words = self.answers.quoted(body);
                Heard::Open(format!("status {status}, of which the settings do not say whether anything changed: {words}"))
            }
        }
    }
}

/// Sends an add once.
pub(super) struct Give {
    http: Arc<Http>,
    add: Addition,
}

impl Give {
    pub(super) fn new(http: Arc<Http>, add: Addition) -> Give {
        Give { http, add }
    }
}

impl Conversation<AddEnd> for Give {
    fn next(&mut self, answer: Option<Answer>) -> Step<AddEnd> {
        let lost = |message: &str| Step::Done(AddEnd::Lost { message: clean(message) });
        match answer {
            None => match self.http.add_request(&self.add) {
                Ok(request) => Step::Send(request.once()),
                Err(message) => {
                    Step::Done(AddEnd::Refused { outcome: Outcome::Refused, code: Code::MappingError, message: clean(&message) })
                }
            },
            Some(Answer::Http { status, body }) => match self.http.hear_add(&self.add, status, &body) {
                Heard::Applied(pass_id) => Step::Done(AddEnd::Applied { pass_id }),
                Heard::Refused(outcome, code, message) => Step::Done(AddEnd::Refused { outcome, code, message }),
                Heard::Open(reason) => lost(&reason),
            },
            Some(Answer::Lost { message } | Answer::Exhausted { message, .. }) => lost(&message),
            Some(Answer::Stopped { sent: true }) => lost("the run was stopped while the answer was awaited"),
            Some(Answer::Stopped { sent: false }) => Step::Done(AddEnd::NotSent),
        }
    }
}

/// Sends an add again, byte for byte, while the platform knows its key: it is carried out once, and the answer tells how that ended.
struct Repeat {
    http: Arc<Http>,
    add: Addition,
    end: Instant,
    tries: u32,
}

impl Repeat {
    fn again(&mut self, reason: &str) -> Step<Proof> {
        self.tries += 1;
        if self.tries >= REPEATS || Instant::now() + PAUSE >= self.end {
            return Step::Done(Proof::Unknown(clean(&format!("repeated under its key: {reason}"))));
        }
        match self.request() {
            Ok(request) => Step::Later(PAUSE, request),
            Err(message) => Step::Done(Proof::Unknown(clean(&message))),
        }
    }

    fn request(&self) -> Result<Request, String> {
        let mut request = self.http.add_request(&self.add)?;
        request.expires = Some(self.end);
        Ok(request)
    }
}

impl Conversation<Proof> for Repeat {
    fn next(&mut self, answer: Option<Answer>) -> Step<Proof> {
        match answer {
            None => match self.request() {
                Ok(request) => Step::Send(request),
                Err(message) => Step::Done(Proof::Unknown(clean(&message))),
            },
            Some(Answer::Http { status, body }) => match self.http.hear_add(&self.add, status, &body) {
                Heard::Applied(_) => Step::Done(Proof::Applied("repeated under its key, which the platform carries out once".to_owned())),
                Heard::Refused(_, _, message) => {
                    Step::Done(Proof::NotApplied(clean(&format!("repeated under its key, it is refused: {}", quote(&message)))))
                }
                Heard::Open(reason) => self.again(&reason),
            },
            Some(Answer::Exhausted { message, .. } | Answer::Lost { message }) => {
                Step::Done(Proof::Unknown(clean(&format!("repeated under its key: {message}"))))
            }
            Some(Answer::Stopped { .. }) => Step::Done(Proof::Stopped),
        }
    }
}

/// Asks whether an add was applied.
struct Look {
    http: Arc<Http>,
    add: Addition,
    how: LookUp,
    /// The page that is asked for, behind the first.
    page: Option<Request>,
    /// Pages that were read.
    asked: Vec<String>,
    unread: u32,
}

impl Look {
    fn request(&self) -> Result<Request, String> {
        if let Some(page) = &self.page {
            return Ok(page.clone());
        }
        let pass_id = self.add.before.as_ref().and_then(|before| before.get("pass_id")).and_then(Json::as_str);
        let mut words = of_pass(&self.add.target, pass_id);
        words.set("reference", &self.add.reference);
        set_key(&mut words, &self.add.key.to_string());
        self.http.request(&self.how.line, &[], None, &words)
    }

    fn send(&self) -> Step<Proof> {
        match self.request() {
            Ok(request) => Step::Send(request),
            Err(message) => Step::Done(Proof::Unknown(clean(&message))),
        }
    }

    fn absent(&self, words: &str) -> Step<Proof> {
        Step::Done(if self.how.absence_proves {
            Proof::NotApplied(words.to_owned())
        } else {
            Proof::Unknown(format!("{words}, which proves nothing while read_back.absent is \"unknown\""))
        })
    }

    fn hear(&mut self, status: u16, body: &[u8]) -> Step<Proof> {
        let json = strict::read(body);
        let judged = self.http.answers.judge(status, json.as_ref());
        match judged.class {
            Class::NotFound | Class::Gone if self.asked.is_empty() => return self.absent("the platform knows nothing of it"),
            Class::Applied => {}
            _ => return Step::Done(Proof::Unknown(clean(&format!("the look is refused ({status}): {}", self.http.answers.quoted(body))))),
        }
        let key = self.add.key.to_string();
        let ours = |event: &Json| self.how.key.text(event).is_some_and(|text| text == key || text == self.uuid());
        let events: Option<Vec<&Json>> = match (&json, &self.how.list) {
            (None, _) => None,
            (Some(json), None) => Some(vec![json]),
            (Some(json), Some(list)) => list.get(json).and_then(Json::as_array).map(|items| items.iter().collect()),
        };
        let Some(events) = events else {
            self.unread += 1;
            let unreadable = Proof::Unknown("the answer is not the list that was asked for".to_owned());
            return if self.unread < super::find::READS { self.send() } else { Step::Done(unreadable) };
        };
        if events.into_iter().any(ours) {
            return Step::Done(Proof::Applied("the platform has an event with this key".to_owned()));
        }
        let page = match (&json, self.request()) {
            (Some(json), Ok(request)) => self.http.page_after(self.how.next.as_ref(), &request, &mut self.asked, json),
            _ => Ok(None),
        };
        match page {
            Ok(None) => self.absent("no event of the platform has this key"),
            Ok(Some(request)) => {
                self.page = Some(request);
                self.unread = 0;
                self.send()
            }
            Err(message) => Step::Done(Proof::Unknown(message)),
        }
    }

    fn uuid(&self) -> String {
        let mut words = super::template::Words::default();
        set_key(&mut words, &self.add.key.to_string());
        words.text("uuid")
    }
}

impl Conversation<Proof> for Look {
    fn next(&mut self, answer: Option<Answer>) -> Step<Proof> {
        match answer {
            None => self.send(),
            Some(Answer::Http { status, body }) => self.hear(status, &body),
            Some(Answer::Exhausted { message, .. } | Answer::Lost { message }) => {
                Step::Done(Proof::Unknown(clean(&format!("it cannot be looked up: {message}"))))
            }
            Some(Answer::Stopped { .. }) => Step::Done(Proof::Stopped),
        }
    }
}
