//! Proving that an account can be used.

use std::fmt::Write as _;
use std::sync::Arc;

use serde_json::Value as Json;

use super::protocol::{Class, Protocol};
use super::wire::get;
use crate::platform::judge;
use crate::platform::judge::message;
use crate::platform::talk::reached;
use crate::platform::{Answer, Conversation, Reach, Step};

/// Asks for the profile, which proves the credentials, and for the class, which proves the region (contract 1).
pub(super) struct Probe {
    pub protocol: Arc<dyn Protocol>,
    pub base_url: String,
    /// The word for what is accepted: key or token.
    pub credential: &'static str,
    /// What is to be said of the credentials besides.
    pub warning: Option<String>,
    pub asked: usize,
}

impl Probe {
    fn end(&self, status: u16, body: &[u8]) -> Reach {
        let Class { noun, id } = self.protocol.class();
        let (base_url, credential) = (&self.base_url, self.credential);
        let no = |message: String| Reach { ok: false, denied: status == 403, message };
        let mut reach = match (self.asked, status) {
            (2, 200..=299) => match serde_json::from_slice::<Json>(body) {
                Ok(Json::Object(found)) => {
                    let name = found.get("name").and_then(Json::as_str).map(judge::clean).filter(|name| !name.is_empty());
                    let name = name.unwrap_or_else(|| id.to_owned());
                    let passes =
                        found.get("total").map(|total| format!(" ({} passes)", judge::clean(&total.to_string()))).unwrap_or_default();
                    Reach {
                        ok: true,
                        denied: false,
                        message: format!("{base_url} accepts the {credential} and knows the {noun} {name}{passes}"),
                    }
                }
                _ => no(format!("{base_url} answers, but not as PassKit does; check base_url and what stands between")),
            },
            (2, 404) => no(format!(
                "{base_url} accepts the {credential} but has no {noun} {id}; check the {noun}, and the region: the wrong one answers so"
            )),
            (1, 404) => no(format!("{base_url} does not know /user/profile (404); check base_url")),
            (2, 403) => {
                no(format!("{base_url} accepts the {credential}, which may not read the {noun} {id}: {}; check its rights", message(body)))
            }
            _ => no(format!("{base_url} answers {status}: {}", message(body))),
        };
        self.warn(&mut reach);
        reach
    }

    fn warn(&self, reach: &mut Reach) {
        if let Some(warning) = &self.warning {
            let _ = write!(reach.message, "; {warning}");
        }
    }
}

impl Conversation<Reach> for Probe {
    fn next(&mut self, answer: Option<Answer>) -> Step<Reach> {
        match answer.map(|answer| reached(&self.base_url, answer)) {
            None => {}
            Some(Ok((200..=299, _))) if self.asked == 1 => {}
            Some(Ok((status, body))) => return Step::Done(self.end(status, &body)),
            Some(Err(mut reach)) => {
                self.warn(&mut reach);
                return Step::Done(reach);
            }
        }
        self.asked += 1;
        Step::Send(if self.asked == 1 { get("/user/profile".to_owned()) } else { self.protocol.get_class() })
    }
}
