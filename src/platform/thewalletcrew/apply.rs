//! Carrying out a change: look where it is needed, then one update, or the creation of a pass that is not there (contract 2.4, 2.6).

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use serde_json::{Map, Value as Json};

use super::Scope;
use super::fields::{Block, FIELDS, Field, is_pass_id, json};
use super::find::{Look, READS, look};
use super::wire::{BODY_BYTES_MAX, Pass, created_id};
use crate::outcome::{Code, Outcome};
use crate::platform::judge::{clean, message};
use crate::platform::talk::changed;
use crate::platform::{Answer, ChangeResult, Conversation, OperationResult, Request, Step};
use crate::row::{Change, Target, Verb};

/// Pauses before a pass is read back: updates are queued (contract 2.4).
const READ_BACK: [Duration; 7] = [
    Duration::from_millis(250),
    Duration::from_millis(500),
    Duration::from_secs(1),
    Duration::from_secs(2),
    Duration::from_secs(4),
    Duration::from_secs(8),
    Duration::from_secs(16),
];

/// Pauses before a pass is looked for whose creation may have succeeded.
const LOOKS: [Duration; 4] = [Duration::from_secs(1), Duration::from_secs(2), Duration::from_secs(4), Duration::from_secs(8)];

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Call {
    /// Look at the pass before it is changed.
    Read,
    Patch,
    Create,
    /// Look for a pass that was, or may have been, created by somebody.
    Seek,
    /// Look whether the pass holds what was sent.
    ReadBack,
}

/// A field of the change, looked up.
struct Part {
    field: Field,
    value: Option<Json>,
}

/// How it ends: one operation carries everything.
type End = (&'static str, Outcome, Option<Code>, String);

pub(super) struct Apply {
    scope: Arc<Scope>,
    change: Change,
    parts: Vec<Part>,
    /// The pass's own id, once known.
    pass_id: Option<String>,
    /// The pass as it was read in this conversation.
    pass: Option<Pass>,
    was_found: bool,
    /// A creation was sent: what is found afterwards may be ours.
    created: Option<&'static str>,
    call: Option<Call>,
    looks: usize,
    unread: u32,
}

impl Apply {
    pub(super) fn new(scope: Arc<Scope>, change: Change) -> Apply {
        let parts = change.fields.iter().filter_map(|field| {
            let parsed = Field::parse(&field.name, &scope.settings).ok()?;
            Some(Part { field: parsed, value: field.value.as_ref().map(json) })
        });
        let parts = parts.collect();
        let found_id = change.found.as_ref().map(|found| found.pass_id.clone());
        let own_id = if let Target::Pass(id) = &change.target { Some(id.clone()) } else { None };
        Apply {
            parts,
            was_found: found_id.is_some(),
            pass_id: found_id.or(own_id),
            pass: None,
            created: None,
            call: None,
            looks: 0,
            unread: 0,
            scope,
            change,
        }
    }

    fn sets(&self) -> impl Iterator<Item = (Block, &str, Option<&Json>)> {
        self.parts.iter().filter_map(|part| match &part.field {
            Field::Set(block, key) => Some((*block, key.as_str(), part.value.as_ref())),
            Field::IsPass | Field::Is(_) => None,
        })
    }

    fn has_conditions(&self) -> bool {
        self.parts.iter().any(|part| !matches!(part.field, Field::Set(..)))
    }

    /// The first call.
    fn begin(&self) -> Result<Call, End> {
        if let Some(id) = self.pass_id.as_ref().filter(|id| !is_pass_id(id)) {
            let words =
                format!("an id of The Wallet Crew is 5 to 50 letters, digits, `_` and `-`; this one has {} signs", id.chars().count());
            return Err((FIELDS, Outcome::Unresolved, Some(Code::PassNotFound), words));
        }
        let sets = self.sets().next().is_some();
        let upsert = self.change.verb == Verb::Upsert;
        if upsert && self.was_found && self.parts.is_empty() {
            return Err(("create", Outcome::Unchanged, None, String::new()));
        }
        // What resolve did not find, an earlier row of the same file may have issued since.
        let look = !sets || (upsert && !self.was_found) || self.scope.settings.replaces_blocks;
        Ok(if look { Call::Read } else { Call::Patch })
    }

    fn request(&self, call: Call) -> Result<Request, End> {
        let request = match call {
            Call::Read | Call::Seek | Call::ReadBack => return Ok(self.scope.look(&self.look_target())),
            Call::Patch => self.scope.patch(&self.identifiers(), &self.update_body()),
            Call::Create => self.scope.create(&self.create_body()),
        };
        match request.body.as_ref().map_or(0, Bytes::len) {
            bytes if bytes > BODY_BYTES_MAX => {
                let words = format!("the update has {bytes} bytes; at most {BODY_BYTES_MAX} are sent for one pass");
                Err((FIELDS, Outcome::Refused, Some(Code::ValueTooLarge), words))
            }
            _ => Ok(request),
        }
    }

    fn look_target(&self) -> Target {
        self.change.target.clone()
    }

    /// All must be the pass's: what the row says, and the id that was found for it.
    fn identifiers(&self) -> Vec<(String, String)> {
        let mut all = vec![self.scope.named(&self.change.target)];
        if let (Target::External(_), Some(id)) = (&self.change.target, &self.pass_id) {
            all.push(self.scope.named(&Target::Pass(id.clone())));
        }
        for part in &self.parts {
            let name = match &part.field {
                Field::Is(name) => format!("id.{name}"),
                Field::IsPass => "id".to_owned(),
                Field::Set(..) => continue,
            };
            let value = part.value.as_ref().and_then(Json::as_str).unwrap_or_default().to_owned();
            if !all.contains(&(name.clone(), value.clone())) {
                all.push((name, value));
            }
        }
        all
    }

    fn update_body(&self) -> Json {
        let mut body = Map::new();
        for block in Block::ALL {
            let changes: Vec<_> = self.sets().filter(|(of, ..)| *of == block).collect();
            if changes.is_empty() {
                continue;
            }
            let whole = self.pass.as_ref().filter(|_| self.scope.settings.replaces_blocks);
            let mut keys = whole.map(|pass| pass.block(block)).unwrap_or_default();
            for (_, key, value) in changes {
                match value {
                    Some(value) => drop(keys.insert(key.to_owned(), value.clone())),
                    // A key that is left out of a block that is replaced is gone.
                    None if whole.is_some() => drop(keys.remove(key)),
                    None if self.scope.settings.clears_by_text => drop(keys.insert(key.to_owned(), Json::String(String::new()))),
                    None => drop(keys.insert(key.to_owned(), Json::Null)),
                }
            }
            body.insert(block.name().to_owned(), Json::Object(keys));
        }
        Json::Object(body)
    }

    /// A new pass has what the row names, and nothing to clear.
    fn create_body(&self) -> Json {
        let mut blocks: [Map<String, Json>; 3] = Default::default();
        if let (Target::External(value), Some(name)) = (&self.change.target, &self.scope.settings.identifier) {
            blocks[0].insert(name.clone(), Json::String(value.clone()));
        }
        for part in &self.parts {
            let (block, key) = match &part.field {
                Field::Set(block, key) => (*block, key),
                Field::Is(name) => (Block::Identifiers, name),
                Field::IsPass => continue,
            };
            let index = Block::ALL.iter().position(|one| *one == block).unwrap_or_default();
            blocks[index].extend(part.value.clone().map(|value| (key.clone(), value)));
        }
        let blocks = Block::ALL.iter().zip(blocks).filter(|(_, keys)| !keys.is_empty());
        Json::Object(blocks.map(|(block, keys)| (block.name().to_owned(), Json::Object(keys))).collect())
    }

    /// What follows an answer: another call, perhaps after a pause, or the end.
    fn hear(&mut self, call: Call, answer: Answer) -> Result<(Option<Duration>, Call), End> {
        let (status, body) = match answer {
            Answer::Lost { message } if call == Call::Create => {
                self.created = Some("its answer was lost");
                tracing::debug!("a creation's answer was lost: {message}");
                return self.seek();
            }
            Answer::Stopped { sent: true } if call == Call::Create => {
                let words = "the run was stopped while the pass was being issued; it is looked for before it is issued again";
                return Err((FIELDS, Outcome::NotAttempted, Some(Code::RunStopped), words.to_owned()));
            }
            answer => changed(answer).map_err(|(outcome, code, words)| (FIELDS, outcome, code, words))?,
        };
        match call {
            Call::Read | Call::Seek | Call::ReadBack => self.hear_look(call, status, &body),
            Call::Patch => self.hear_patch(status, &body),
            Call::Create => self.hear_create(status, &body),
        }
    }

    fn hear_look(&mut self, call: Call, status: u16, body: &[u8]) -> Result<(Option<Duration>, Call), End> {
        let mut passes = match look(&self.scope, &self.look_target(), status, body) {
            Look::Passes(passes) => passes,
            Look::Refused(message) => return Err((FIELDS, Outcome::Refused, Some(Code::UpdateRejected), message)),
            Look::Unreadable(message) => {
                self.unread += 1;
                if self.unread < READS {
                    return Ok((None, call));
                }
                return Err((FIELDS, Outcome::Refused, Some(Code::AnswerUnreadable), message));
            }
        };
        self.unread = 0;
        if let Some(id) = &self.pass_id {
            passes.retain(|pass| pass.id() == id);
        }
        if passes.len() > 1 {
            let ids: Vec<&str> = passes.iter().map(Pass::id).collect();
            let words = format!("several passes carry this identifier: {}", ids.join(", "));
            return Err((FIELDS, Outcome::Unresolved, Some(Code::PassAmbiguous), words));
        }
        match (passes.pop(), call) {
            (None, Call::ReadBack) => self.read_back(),
            (None, Call::Seek) => self.seek(),
            (None, _) => self.absent(),
            (Some(pass), Call::ReadBack) => {
                if self.sets().all(|(block, key, value)| pass.holds(block, key, value)) {
                    Err(self.done())
                } else {
                    self.read_back()
                }
            }
            (Some(pass), _) => self.present(pass),
        }
    }

    fn present(&mut self, pass: Pass) -> Result<(Option<Duration>, Call), End> {
        let fits = |part: &Part| match &part.field {
            Field::Set(..) => true,
            Field::IsPass => part.value.as_ref().and_then(Json::as_str) == Some(pass.id()),
            Field::Is(name) => pass.holds(Block::Identifiers, name, part.value.as_ref()),
        };
        if self.created.is_none() && !self.parts.iter().all(fits) {
            return Err(not_all());
        }
        self.pass_id = Some(pass.id().to_owned());
        self.pass = Some(pass);
        if self.sets().next().is_some() { Ok((None, Call::Patch)) } else { Err(self.done()) }
    }

    fn absent(&mut self) -> Result<(Option<Duration>, Call), End> {
        let by_external = matches!(self.change.target, Target::External(_));
        if self.was_found {
            let words = "the pass was there a moment ago and is not any more".to_owned();
            return Err((FIELDS, Outcome::Unresolved, Some(Code::PassGone), words));
        }
        if self.change.verb == Verb::Upsert && by_external && !self.parts.iter().any(|part| part.field == Field::IsPass) {
            return Ok((None, Call::Create));
        }
        Err(if self.has_conditions() { not_all() } else { (FIELDS, Outcome::Unresolved, Some(Code::PassNotFound), String::new()) })
    }

    fn hear_patch(&mut self, status: u16, body: &[u8]) -> Result<(Option<Duration>, Call), End> {
        let code = match status {
            200..=299 if self.scope.settings.confirm => return self.read_back(),
            200..=299 => return Err(self.done()),
            404 if self.has_conditions() => return Err(not_all()),
            404 | 410 if self.was_found || self.pass.is_some() => {
                let words = "the pass was there a moment ago and is not any more".to_owned();
                return Err((FIELDS, Outcome::Unresolved, Some(Code::PassGone), words));
            }
            404 => return Err((FIELDS, Outcome::Unresolved, Some(Code::PassNotFound), message(body))),
            410 => return Err((FIELDS, Outcome::Unresolved, Some(Code::PassGone), message(body))),
            409 | 412 => Code::Conflict,
            413 => Code::ValueTooLarge,
            _ => Code::UpdateRejected,
        };
        Err((FIELDS, Outcome::Refused, Some(code), told(status, body)))
    }

    fn hear_create(&mut self, status: u16, body: &[u8]) -> Result<(Option<Duration>, Call), End> {
        match status {
            200..=299 => {
                self.pass_id = created_id(body);
                Err(("create", Outcome::Created, None, String::new()))
            }
            409 => {
                self.created = Some("the platform says that it is there already");
                self.seek()
            }
            413 => Err(("create", Outcome::Refused, Some(Code::ValueTooLarge), told(status, body))),
            _ => Err(("create", Outcome::Refused, Some(Code::UpdateRejected), told(status, body))),
        }
    }

    /// Looks for what a creation may have made. It is not sent again: whether that makes a second pass is not public (contract 2.6).
    fn seek(&mut self) -> Result<(Option<Duration>, Call), End> {
        let pause = LOOKS.get(self.looks).copied();
        self.looks += 1;
        if let Some(pause) = pause {
            return Ok((Some(pause), Call::Seek));
        }
        let why = self.created.unwrap_or_default();
        let words = format!("the pass was to be issued and {why}, and yet it is not found; the next try looks first");
        Err(("create", Outcome::Refused, Some(Code::RetriesExhausted), words))
    }

    fn read_back(&mut self) -> Result<(Option<Duration>, Call), End> {
        let pause = READ_BACK.get(self.looks).copied();
        self.looks += 1;
        if let Some(pause) = pause {
            return Ok((Some(pause), Call::ReadBack));
        }
        let seconds = READ_BACK.iter().sum::<Duration>().as_secs();
        let words = format!("the platform took the update, and after {seconds} s the pass does not hold it; sending it again is harmless");
        Err((FIELDS, Outcome::Refused, Some(Code::RetriesExhausted), words))
    }

    /// What a pass that was seen nowhere before our creation holds now was made by it.
    fn done(&self) -> End {
        if self.created == Some("its answer was lost") {
            return ("create", Outcome::Created, None, String::new());
        }
        (FIELDS, Outcome::Applied, None, String::new())
    }

    fn result(&mut self, (operation, outcome, code, words): End) -> ChangeResult {
        let fields = self.change.fields.iter().map(|field| field.field).collect();
        let result = OperationResult { operation, outcome, code, message: clean(&words), fields };
        ChangeResult { operations: vec![result], pass_id: self.pass_id.take() }
    }
}

fn not_all() -> End {
    let words = "no pass carries all the identifiers of the row".to_owned();
    (FIELDS, Outcome::Unresolved, Some(Code::PassNotFound), words)
}

/// The platform's words, with the title, the detail and the fields of a problem document where it is one (contract 2.9).
fn told(status: u16, body: &[u8]) -> String {
    let Ok(Json::Object(problem)) = serde_json::from_slice::<Json>(body) else {
        return if body.is_empty() { format!("status {status}, without a word") } else { message(body) };
    };
    let mut words: Vec<String> = ["title", "detail"].iter().filter_map(|name| Some(problem.get(*name)?.as_str()?.to_owned())).collect();
    if let Some(Json::Object(errors)) = problem.get("errors") {
        words.extend(errors.iter().map(|(name, all)| {
            let all: Vec<&str> = all.as_array().into_iter().flatten().filter_map(Json::as_str).collect();
            format!("{name}: {}", all.join(" "))
        }));
    }
    if words.is_empty() { message(body) } else { words.join("; ") }
}

impl Conversation<ChangeResult> for Apply {
    fn next(&mut self, answer: Option<Answer>) -> Step<ChangeResult> {
        let next = match (self.call.take(), answer) {
            (Some(call), Some(answer)) => self.hear(call, answer),
            _ => self.begin().map(|call| (None, call)),
        };
        let sent = next.and_then(|(pause, call)| Ok((pause, call, self.request(call)?)));
        match sent {
            Err(end) => Step::Done(self.result(end)),
            Ok((pause, call, request)) => {
                self.call = Some(call);
                match pause {
                    None => Step::Send(request),
                    Some(pause) => Step::Later(pause, request),
                }
            }
        }
    }
}
