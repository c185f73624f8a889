//! What conversations of several platforms do with answers in the same way.

use bytes::Bytes;

use super::judge::{WEB_PAGE, quoted};
use super::{Answer, Page, Reach};
use crate::outcome::{Code, Outcome};

/// How an operation ends, and what there is to tell of it.
pub(super) type End = (Outcome, Option<Code>, String);

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

/// The status and the body, for a change that may be sent again; or how it ends when there is neither.
pub(super) fn changed(answer: Answer) -> Result<(u16, Bytes), End> {
    Err(match answer {
        Answer::Http { status, body } => return Ok((status, body)),
        Answer::Exhausted { message, .. } | Answer::Lost { message } => {
            let code = if message.contains(WEB_PAGE) { Code::AnswerUnreadable } else { Code::RetriesExhausted };
            (Outcome::Refused, Some(code), message)
        }
        Answer::Stopped { sent } => stopped(sent),
    })
}

/// How a change ends that may be sent again, when the run is stopped before its answer came.
pub(super) fn stopped(sent: bool) -> End {
    let words = if sent { "the run was stopped while the answer was awaited; sending it again is harmless" } else { "" };
    (Outcome::NotAttempted, Some(Code::RunStopped), words.to_owned())
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
