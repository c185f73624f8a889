//! Reading all passes of a class, page by page: for the baseline, and in place of many findings (contract 4.3 and 4.4).

use std::sync::Arc;

use serde_json::{Value as Json, json};

use super::find::READS;
use super::protocol::Protocol;
use super::wire::{BrokenList, Pass, parse_list};
use crate::platform::talk::{broken_off, listed};
use crate::platform::{Answer, Conversation, IndexPage, Page, PassState, Request, Step};
use crate::row::Found;

/// Passes a page (contract 3.3: works, no maximum is documented).
pub(super) const PAGE: u64 = 1000;

/// One page of the listing of all passes.
pub(super) struct Listing {
    protocol: Arc<dyn Protocol>,
    offset: u64,
    /// When it was asked for.
    moment: u32,
    unread: u32,
}

/// A page, read.
struct Leaf {
    passes: Vec<Pass>,
    next: Option<u64>,
}

impl Listing {
    pub(super) fn new(protocol: Arc<dyn Protocol>, offset: u64) -> Listing {
        Listing { protocol, offset, moment: 0, unread: 0 }
    }

    fn request(&mut self) -> Request {
        self.moment = self.protocol.writes().moment();
        self.protocol.list(&json!({ "limit": PAGE, "offset": self.offset, "orderBy": "created", "orderAsc": true }))
    }

    /// The page; none when it must be asked for again. The error says why there will be none.
    fn hear(&mut self, answer: Answer) -> Result<Option<Leaf>, String> {
        match parse_list(&listed(answer)?) {
            Ok(mut passes) => {
                // A page may hold fewer than were asked for: only one without any is behind the last.
                let next = (!passes.is_empty()).then(|| self.offset + passes.len() as u64);
                passes.retain(|pass| !pass.id().is_empty() && self.protocol.is_live(pass));
                Ok(Some(Leaf { passes, next }))
            }
            Err(broken) => {
                self.unread += 1;
                match broken {
                    _ if self.unread < READS => Ok(None),
                    BrokenList::Told(words) => Err(format!("the listing broke off: {words}")),
                    BrokenList::Cut => Err("the listing was cut short".to_owned()),
                }
            }
        }
    }

    /// Does a list tell of the pass what reading it would?
    fn is_told(&self, pass: &Pass) -> bool {
        self.protocol.telling().iter().all(|name| pass.0.contains_key(*name))
    }

    fn external_id(&self, pass: &Pass) -> Option<String> {
        Some(self.protocol.name_of(pass)).filter(|external| !external.is_empty()).map(str::to_owned)
    }

    fn pass_state(&self, pass: &Pass) -> PassState {
        let fields = self.protocol.catalogue().held(&pass.0);
        PassState { pass_id: pass.id().to_owned(), external_id: self.external_id(pass), fields }
    }
}

impl Conversation<Page> for Listing {
    fn next(&mut self, answer: Option<Answer>) -> Step<Page> {
        match answer.map(|answer| self.hear(answer)) {
            None | Some(Ok(None)) => Step::Send(self.request()),
            // What a list leaves out would be taken for nothing.
            Some(Ok(Some(leaf))) if leaf.passes.iter().any(|pass| !self.is_told(pass)) => {
                Step::Done(broken_off("the list does not tell all that passes hold, so that nothing can be learnt from it".to_owned()))
            }
            Some(Ok(Some(leaf))) => {
                Step::Done(Page { passes: leaf.passes.iter().map(|pass| self.pass_state(pass)).collect(), next: leaf.next, fault: None })
            }
            Some(Err(fault)) => Step::Done(broken_off(fault)),
        }
    }
}

impl Conversation<IndexPage> for Listing {
    fn next(&mut self, answer: Option<Answer>) -> Step<IndexPage> {
        match answer.map(|answer| self.hear(answer)) {
            None | Some(Ok(None)) => Step::Send(self.request()),
            Some(Ok(Some(leaf))) => {
                let named = |pass: &Pass| -> (Option<String>, Found) { (self.external_id(pass), self.protocol.found(pass, self.moment)) };
                let told = leaf.passes.iter().filter(|pass| self.is_told(pass));
                Step::Done(IndexPage { passes: told.map(named).collect(), next: leaf.next, fault: None })
            }
            Some(Err(fault)) => Step::Done(IndexPage { fault: Some(fault), ..IndexPage::default() }),
        }
    }
}

/// Asks how many passes there are.
pub(super) struct Size(pub Arc<dyn Protocol>);

impl Conversation<Option<u64>> for Size {
    fn next(&mut self, answer: Option<Answer>) -> Step<Option<u64>> {
        let Some(answer) = answer else { return Step::Send(self.0.count()) };
        let total = listed(answer).ok().and_then(|body| crate::platform::strict::object(&body)?.get("total").cloned());
        Step::Done(match total {
            Some(Json::Number(total)) => total.as_u64(),
            // 64 bits are a text in JSON (contract 2).
            Some(Json::String(total)) => total.parse().ok(),
            _ => None,
        })
    }
}
