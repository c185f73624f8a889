//! What conversations of several platforms do with answers in the same way.

use bytes::Bytes;

use super::judge::quoted;
use super::{Answer, Page, Reach};

/// The status and the body, for a look at whether the account can be used; or what there is to tell when there is neither.
pub(super) fn reached(base_url: &str, answer: Answer) -> Result<(u16, Bytes), Reach> {
    let (denied, message) = match answer {
        Answer::Http { status, body } => return Ok((status, body)),
        Answer::Exhausted { message, denied, .. } => (denied, format!("{base_url}: {message}")),
        Answer::Lost { message } => (false, format!("{base_url}: {message}")),
        Answer::Stopped { .. } => (false, "stopped before an answer came".to_owned()),
    };
    Err(Reach { ok: false, denied, message })
}

/// The body of a page of a listing; the error says in words why there is none.
pub(super) fn listed(answer: Answer) -> Result<Bytes, String> {
    match answer {
        Answer::Http { status: 200..=299, body } => Ok(body),
        Answer::Http { status, body } => Err(format!("the listing is refused ({status}): {}", quoted(&body))),
        Answer::Exhausted { message, .. } | Answer::Lost { message } => Err(message),
        Answer::Stopped { .. } => Err("stopped before an answer came".to_owned()),
    }
}

/// A listing that broke off.
pub(super) fn broken_off(fault: String) -> Page {
    Page { fault: Some(fault), ..Page::default() }
}
