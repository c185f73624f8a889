//! Proving that an account can be used.

use std::sync::Arc;

use reqwest::Method;
use serde_json::json;

use super::template::Words;
use crate::config::meant::http::{Auth, Class, Http};
use crate::platform::judge::{clean, quote};
use crate::platform::{Answer, Conversation, Page, Reach, Request, Step, strict};

/// Sends the request that the settings name; without one, asks whether anybody answers at all.
pub(super) struct Probe {
    http: Arc<Http>,
    asked: bool,
}

impl Probe {
    pub(super) fn new(http: Arc<Http>) -> Probe {
        Probe { http, asked: false }
    }

    fn request(&self) -> Result<Request, String> {
        if let Some(probe) = &self.http.probe {
            let body = (probe.line.method != Method::GET).then(|| json!({}));
            return self.http.request(&probe.line, &[], body.as_ref(), &Words::default());
        }
        let mut request = Request::new(Method::GET, String::new());
        request.headers.clone_from(&self.http.headers);
        Ok(request)
    }

    fn end(&self, status: u16, body: &[u8]) -> Reach {
        let base = &self.http.base_url;
        let Some(probe) = &self.http.probe else {
            let unproved = match self.http.auth {
                Auth::Token(_) => "it came with a token, but the settings have no probe, so that rights are not proved",
                _ => "the settings have no probe, so that credentials and rights are not proved",
            };
            return Reach { ok: true, denied: false, message: format!("{base} answers ({status}); {unproved}") };
        };
        let json = strict::read(body);
        let judged = self.http.answers.judge(status, json.as_ref());
        if judged.class == Class::NotFound && probe.not_found {
            let words = quote(&self.http.answers.message(body));
            let message = format!("{base} accepts the credentials; asked about a pass that nobody has, it answers {status}: {words}");
            return Reach { ok: true, denied: false, message };
        }
        if judged.class != Class::Applied || judged.silent {
            let words = self.http.answers.message(body);
            let message = match judged.class {
                Class::NotFound => {
                    format!("{base} does not know the probe's address ({status}: {words}); check base_url and probe.request")
                }
                _ if status == 403 => {
                    format!("{base} knows the credentials and does not let them do this (403: {words}); give the key the right to it")
                }
                _ => format!("{base} answers the probe with {status}: {words}"),
            };
            return Reach { ok: false, denied: status == 403, message };
        }
        let name = probe.name.as_ref().and_then(|place| place.text(&json?)).map(|name| clean(&name)).filter(|name| !name.is_empty());
        match (&probe.name, name) {
            (Some(_), Some(name)) => Reach { ok: true, denied: false, message: format!("{base} accepts the credentials of {name}") },
            (Some(place), None) => {
                let message =
                    format!("{base} answers, but not as its settings say: nothing stands at {place}; check base_url and probe.name");
                Reach { ok: false, denied: false, message }
            }
            (None, _) => Reach { ok: true, denied: false, message: format!("{base} accepts the credentials") },
        }
    }
}

impl Conversation<Reach> for Probe {
    fn next(&mut self, answer: Option<Answer>) -> Step<Reach> {
        let no = |message: String| Step::Done(Reach { ok: false, denied: false, message });
        match answer {
            None if self.asked => no("no answer came".to_owned()),
            None => match self.request() {
                Ok(request) => {
                    self.asked = true;
                    Step::Send(request)
                }
                Err(message) => no(message),
            },
            Some(Answer::Http { status, body }) => Step::Done(self.end(status, &body)),
            Some(Answer::Exhausted { message, denied, .. }) => {
                Step::Done(Reach { ok: false, denied, message: format!("{}: {message}", self.http.base_url) })
            }
            Some(Answer::Lost { message }) => no(format!("{}: {message}", self.http.base_url)),
            Some(Answer::Stopped { .. }) => no("stopped before an answer came".to_owned()),
        }
    }
}

/// Says that passes of a described platform cannot be listed.
pub(super) struct NoListing;

impl Conversation<Page> for NoListing {
    fn next(&mut self, _answer: Option<Answer>) -> Step<Page> {
        let fault = "platforms of this kind have no list of all passes; the first snapshot sets every field once instead".to_owned();
        Step::Done(Page { fault: Some(fault), ..Page::default() })
    }
}
