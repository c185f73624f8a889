//! Finding objects, proving that an account can be used, and reading all objects of a class (contract 4.1 and 4.5).

use std::sync::{Arc, PoisonError};

use bytes::Bytes;
use serde_json::{Map, Value as Json};

use super::apply::READS;
use super::values::is_word;
use super::{Scope, bodies, fields, judge, values, wire};
use crate::outcome::Code;
use crate::platform::judge::{clean, message};
use crate::platform::talk::{broken_off, listed, reached};
use crate::platform::{Answer, Conversation, Finding, Page, PassState, Reach, Step, strict};
use crate::row::{Found, Target};

/// Looks for one object.
pub(super) struct Find {
    scope: Arc<Scope>,
    id: Result<String, Finding>,
    unread: u32,
}

impl Find {
    pub(super) fn new(scope: Arc<Scope>, target: &Target) -> Find {
        let id = scope.ids.object(target).map_err(|fault| Finding::Failed { code: fault.code, message: fault.message });
        Find { scope, id, unread: 0 }
    }
}

impl Conversation<Finding> for Find {
    fn next(&mut self, answer: Option<Answer>) -> Step<Finding> {
        let id = match &self.id {
            Ok(id) => id,
            Err(finding) => return Step::Done(finding.clone()),
        };
        let failed = |code, message: &str| Step::Done(Finding::Failed { code, message: clean(message) });
        match answer {
            None => {}
            Some(Answer::Http { status: 200..=299, body }) => match wire::object(&body, id) {
                Ok(object) => return Step::Done(Finding::Found(Found { pass_id: id.clone(), state: Json::Object(object) })),
                Err(reason) => {
                    self.unread += 1;
                    if self.unread == READS {
                        return failed(Code::AnswerUnreadable, &reason);
                    }
                }
            },
            Some(Answer::Http { status: 404, .. }) => return Step::Done(Finding::Absent),
            Some(Answer::Http { body, .. }) => return failed(Code::UpdateRejected, &message(&body)),
            Some(Answer::Exhausted { message, .. } | Answer::Lost { message }) => return failed(Code::RetriesExhausted, &message),
            Some(Answer::Stopped { .. }) => return Step::Done(Finding::NotAttempted),
        }
        Step::Send(self.scope.get(id, &["classId", "state", "hasUsers"]))
    }
}

/// An object that nobody has: that it is not there is said only to those who may look.
const NOBODY: &str = "passferry.reach";

/// Asks for an object, which proves the credentials and the issuer, and for the class, where one is configured.
pub(super) struct Probe {
    scope: Arc<Scope>,
    asked: usize,
}

impl Probe {
    pub(super) fn new(scope: Arc<Scope>) -> Probe {
        Probe { scope, asked: 0 }
    }

    fn end(&self, status: u16, body: &[u8]) -> Reach {
        let Scope { base_url, issuer, class_id, names, .. } = &*self.scope;
        let no = |message: String| Reach { ok: false, denied: status == 403, message };
        match (self.asked, status) {
            (1, 200..=299 | 404) => Reach {
                ok: true,
                denied: false,
                message: format!("{base_url} accepts the key for issuer {issuer}; without class_id passes are changed and none is issued"),
            },
            (_, 403) => no(format!("{base_url}: {}", judge::refused(body))),
            (2, 200..=299) => self.class(body),
            (2, 404) => no(format!(
                "{base_url} accepts the key but has no {} {}; check class, class_id and issuer",
                names.class,
                class_id.as_deref().unwrap_or_default()
            )),
            (_, 400) => no(format!("{base_url} does not take the issuer or the class for one (400): {}", message(body))),
            _ => no(format!("{base_url} answers {status}: {}", message(body))),
        }
    }

    fn class(&self, body: &[u8]) -> Reach {
        let Scope { base_url, issuer, class_id, names, .. } = &*self.scope;
        let id = class_id.as_deref().unwrap_or_default();
        let Ok(class) = wire::object(&Bytes::copy_from_slice(body), id) else {
            let message = format!("{base_url} answers, but not as Google does; check base_url and what stands between");
            return Reach { ok: false, denied: false, message };
        };
        // A class without approval cannot carry objects (contract 5).
        let review = class.get("reviewStatus").and_then(Json::as_str).unwrap_or_default();
        let unfit = ["DRAFT", "REJECTED"].into_iter().find(|word| is_word(review, word));
        match unfit {
            Some(word) => Reach {
                ok: false,
                denied: false,
                message: format!("{base_url}: the {} {id} is {word}, so that it can carry no passes; submit it for review", names.class),
            },
            None => Reach {
                ok: true,
                denied: false,
                message: format!("{base_url} accepts the key for issuer {issuer} and knows the {} {id}", names.class),
            },
        }
    }
}

impl Conversation<Reach> for Probe {
    fn next(&mut self, answer: Option<Answer>) -> Step<Reach> {
        match answer.map(|answer| reached(&self.scope.base_url, answer)) {
            None => {}
            Some(Ok((200..=299 | 404, _))) if self.asked == 1 && self.scope.class_id.is_some() => {}
            Some(Ok((status, body))) => return Step::Done(self.end(status, &body)),
            Some(Err(reach)) => return Step::Done(reach),
        }
        self.asked += 1;
        Step::Send(match &self.scope.class_id {
            Some(class_id) if self.asked == 2 => self.scope.class(class_id),
            _ => self.scope.get(&format!("{}.{NOBODY}", self.scope.issuer), &[]),
        })
    }
}

/// Objects a page: an object is a few kilobytes, its class among them.
const PAGE: usize = 100;

/// One page of the listing of a class's objects. Pages are asked for by tokens, which the scope keeps by number.
pub(super) struct Listing {
    scope: Arc<Scope>,
    page: u64,
    token: Option<String>,
    unread: u32,
}

impl Listing {
    pub(super) fn new(scope: Arc<Scope>, page: u64) -> Listing {
        let token = page.checked_sub(1).and_then(|before| {
            let tokens = scope.page_tokens.lock().unwrap_or_else(PoisonError::into_inner);
            tokens.get(usize::try_from(before).ok()?).cloned()
        });
        Listing { scope, page, token, unread: 0 }
    }

    /// The error says why the answer is no page.
    fn read(&self, body: &Bytes) -> Result<Page, String> {
        let answer = strict::object(body).ok_or("the listing is not a JSON object")?;
        let resources = match answer.get("resources") {
            None => Vec::new(),
            Some(resources) => {
                let objects: Option<Vec<&Map<String, Json>>> =
                    resources.as_array().and_then(|all| all.iter().map(Json::as_object).collect());
                objects.ok_or("the listing holds something that is no object")?
            }
        };
        let next = answer.get("pagination").and_then(|pages| pages.get("nextPageToken")).and_then(Json::as_str);
        let next = next.filter(|token| !token.is_empty());
        if next.is_some() && next == self.token.as_deref() {
            return Err("the listing gives the same page again and again".to_owned());
        }
        if let Some(next) = next {
            let mut tokens = self.scope.page_tokens.lock().unwrap_or_else(PoisonError::into_inner);
            tokens.truncate(usize::try_from(self.page).unwrap_or(usize::MAX));
            tokens.push(next.to_owned());
        }
        let passes = resources.into_iter().filter_map(|object| pass_state(&self.scope, object)).collect();
        Ok(Page { passes, next: next.map(|_| self.page + 1), fault: None })
    }
}

impl Conversation<Page> for Listing {
    fn next(&mut self, answer: Option<Answer>) -> Step<Page> {
        let fault = |fault: String| Step::Done(broken_off(clean(&fault)));
        let Some(class_id) = &self.scope.class_id else {
            return fault("Google lists passes by their class: set the platform's class_id".to_owned());
        };
        if self.page > 0 && self.token.is_none() {
            return fault("the listing was begun by another start of passferry; begin anew".to_owned());
        }
        if let Some(answer) = answer {
            match listed(answer).map(|body| self.read(&body)) {
                Ok(Ok(page)) => return Step::Done(page),
                Ok(Err(reason)) => {
                    self.unread += 1;
                    if self.unread == READS {
                        return fault(reason);
                    }
                }
                Err(reason) => return fault(reason),
            }
        }
        Step::Send(self.scope.list(class_id, PAGE, self.token.as_deref()))
    }
}

/// Every field of an object that a mapping could write and that holds something.
fn pass_state(scope: &Scope, object: &Map<String, Json>) -> Option<PassState> {
    let id = object.get("id")?.as_str()?;
    let mut found = Vec::new();
    for field in fields::plain(scope.class) {
        let value = bodies::get(object, &field.name()).and_then(|json| values::read(&field, json));
        found.extend(value.map(|value| (field.name(), value)));
    }
    for array in fields::ARRAYS {
        for element in bodies::get(object, array).and_then(Json::as_array).into_iter().flatten().filter_map(Json::as_object) {
            let Some(element_id) = element.get("id").and_then(Json::as_str).filter(|id| fields::is_element_id(id)) else { continue };
            for field in fields::of_element(scope.class, array, element_id) {
                let fields::Place::Element { rest, .. } = field.place() else { continue };
                let value = bodies::get(element, rest).and_then(|json| values::read(&field, json));
                found.extend(value.map(|value| (field.name(), value)));
            }
        }
    }
    Some(PassState { pass_id: id.to_owned(), external_id: scope.ids.external(id), fields: found })
}
