//! Adds of any kind of passes: what answers to them mean, and what counts as proof.

use bytes::Bytes;

use super::wire::BODY_BYTES_MAX;
use crate::config::meant::ReadBack;
use crate::outcome::{Code, Outcome};
use crate::platform::judge::{clean, message, quoted};
use crate::platform::{AddEnd, Answer, Proof, Request, Step};

/// What counts as proof.
#[derive(Clone, Copy)]
pub(super) struct Evidence {
    pub read_back: ReadBack,
    /// Nobody else writes to these passes.
    pub sole_writer: bool,
}

/// The body of an answer that says yes. `giving`: it answers the request that changes something.
pub(super) fn heard(answer: Answer, giving: bool) -> Result<Bytes, AddEnd> {
    let (status, body) = match answer {
        Answer::Http { status, body } => (status, body),
        Answer::Lost { message } | Answer::Exhausted { message, .. } if giving => return Err(loss(&message)),
        Answer::Stopped { sent: true } if giving => return Err(loss("the run was stopped while the answer was awaited")),
        Answer::Stopped { .. } => return Err(AddEnd::NotSent),
        Answer::Exhausted { message, .. } | Answer::Lost { message } => {
            return Err(refusal(Outcome::Refused, Code::RetriesExhausted, &message));
        }
    };
    Err(match status {
        200..=299 => return Ok(body),
        404 => refusal(Outcome::Unresolved, Code::PassNotFound, "no pass has this identifier"),
        410 => refusal(Outcome::Unresolved, Code::PassGone, &message(&body)),
        // What the contract says of these (3.1): the input is wrong, and nothing was changed.
        400 | 403 | 405 | 413 | 415 | 422 => refusal(Outcome::Refused, Code::UpdateRejected, &message(&body)),
        _ if giving => loss(&format!("status {status}, of which the contract does not say whether anything changed: {}", quoted(&body))),
        _ => refusal(Outcome::Refused, Code::UpdateRejected, &message(&body)),
    })
}

/// The body of an answer to a look. The error is how the look ends, with the status when it was an answer.
pub(super) fn looked(answer: Answer) -> Result<Bytes, (Option<u16>, Proof)> {
    match answer {
        Answer::Http { status: 200..=299, body } => Ok(body),
        Answer::Http { status, body } => {
            Err((Some(status), Proof::Unknown(clean(&format!("the look is refused ({status}): {}", quoted(&body))))))
        }
        Answer::Stopped { .. } => Err((None, Proof::Stopped)),
        Answer::Exhausted { message, .. } | Answer::Lost { message } => {
            Err((None, Proof::Unknown(clean(&format!("it cannot be looked up: {message}")))))
        }
    }
}

/// A request that changes something, sent once; refused here where its body is larger than PassKit takes.
pub(super) fn once(request: Request) -> Result<Request, AddEnd> {
    match too_large(&request) {
        Some(words) => Err(refusal(Outcome::Refused, Code::ValueTooLarge, &words)),
        None => Ok(request.once()),
    }
}

/// Why a request cannot be sent, when its body is larger than PassKit takes.
pub(super) fn too_large(request: &Request) -> Option<String> {
    let bytes = request.body.as_ref().map_or(0, Bytes::len);
    (bytes > BODY_BYTES_MAX)
        .then(|| format!("the update has {bytes} bytes; PassKit takes {BODY_BYTES_MAX}, and what the pass holds already counts"))
}

/// Such an identifier has no place in a path.
pub(super) const CANNOT_ASK: &str = "PassKit cannot be asked about this identifier: it would change the address";

fn loss(message: &str) -> AddEnd {
    AddEnd::Lost { message: clean(message) }
}

fn refusal(outcome: Outcome, code: Code, message: &str) -> AddEnd {
    AddEnd::Refused { outcome, code, message: clean(message) }
}

pub(super) fn lost(message: &str) -> Step<AddEnd> {
    Step::Done(loss(message))
}

pub(super) fn refused(outcome: Outcome, code: Code, message: &str) -> Step<AddEnd> {
    Step::Done(refusal(outcome, code, message))
}

pub(super) fn unknown(reason: &str) -> Step<Proof> {
    Step::Done(Proof::Unknown(clean(reason)))
}
