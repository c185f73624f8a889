//! Carrying out changes of several passes in one request, each item with an outcome of its own (failure model, D7 and D8).

use std::collections::{HashMap, VecDeque};
use std::sync::Arc;
use std::time::Duration;

use serde_json::Value as Json;

use super::change::{Apply, Work, refusal};
use super::find::READS;
use super::words::{hex, of_pass, set_key};
use crate::config::meant::http::{Batch, Class, Http};
use crate::outcome::{Code, Outcome};
use crate::platform::talk::{End, changed, stopped};
use crate::platform::{Answer, ChangeResult, Conversation, RawAnswer, Request, Step, strict};
use crate::row::{Change, Verb};

/// Before items are sent again that the platform wants later.
const PAUSE: Duration = Duration::from_millis(500);

/// Items that travel together, and how often they have.
#[derive(Clone, Debug)]
struct Group {
    items: Vec<usize>,
    tries: u32,
    pause: bool,
}

/// What an answer to a batch says of every item alike, which is then no matter of the items.
pub(super) enum Said {
    Later,
    SlowDown,
    Unauthorized,
}

impl Http {
    /// What the answer to a batch says of all its items; none where it says something else of one, or is no such answer (failure model, D4).
    pub(super) fn said_of_all(&self, request: &Request, answer: &RawAnswer<'_>) -> Option<Said> {
        let batch = self.batch.as_ref().filter(|batch| batch.line.method == request.method)?;
        let json = strict::read(answer.body)?;
        let results = batch.results.get(&json)?.as_array().filter(|results| !results.is_empty())?;
        let mut classes = results.iter().map(|result| {
            batch.result_id.text(result)?;
            let status = batch.status_of(result, answer.status)?;
            Some((status == 401, self.answers.judge(status, Some(result)).class))
        });
        let first = classes.next()??;
        if classes.any(|other| other != Some(first)) {
            return None;
        }
        match first {
            (true, _) => Some(Said::Unauthorized),
            (_, Class::Retry) => Some(Said::Later),
            (_, Class::SlowDown) => Some(Said::SlowDown),
            _ => None,
        }
    }

    /// May this change travel in a batch?
    fn batched(&self, change: &Change) -> bool {
        change.verb == Verb::Update && self.batch.is_some()
    }
}

impl Batch {
    /// The status of a result, where it has one of its own; none where it should have and has none.
    fn status_of(&self, result: &Json, whole: u16) -> Option<u16> {
        self.status.as_ref().map_or(Some(whole), |place| place.text(result)?.parse().ok())
    }
}

pub(super) struct Batched {
    http: Arc<Http>,
    works: Vec<Option<Work>>,
    ends: Vec<Option<ChangeResult>>,
    groups: VecDeque<Group>,
    /// Changes that go by themselves.
    alone: VecDeque<(usize, Apply)>,
    current: Option<Group>,
}

impl Batched {
    pub(super) fn new(http: Arc<Http>, changes: Vec<Change>) -> Batched {
        let mut works = Vec::with_capacity(changes.len());
        let mut alone = VecDeque::new();
        let mut together = Vec::new();
        for (index, change) in changes.into_iter().enumerate() {
            if http.batched(&change) {
                together.push(index);
                works.push(Some(Work::new(http.clone(), change)));
            } else {
                alone.push_back((index, Apply::new(http.clone(), change)));
                works.push(None);
            }
        }
        let ends = works.iter().map(|_| None).collect();
        let size = http.batch.as_ref().map_or(1, |batch| batch.size.max(1));
        let groups = together.chunks(size).map(|items| Group { items: items.to_vec(), tries: 0, pause: false }).collect();
        Batched { http, works, ends, groups, alone, current: None }
    }

    fn end(&mut self, index: usize, end: End) {
        if let Some(work) = self.works[index].take() {
            let operation = work.operation();
            self.ends[index] = Some(work.result(operation, end));
        }
    }

    fn end_all(&mut self, items: &[usize], end: &End) {
        for &index in items {
            self.end(index, end.clone());
        }
    }

    /// The request for a group, without the items that cannot be sent, which end here.
    fn request(&mut self, batch: &Batch, group: &mut Group) -> Option<Request> {
        let mut list = Vec::with_capacity(group.items.len());
        let mut seen = HashMap::with_capacity(group.items.len());
        let (mut kept, mut later) = (Vec::with_capacity(group.items.len()), Vec::new());
        for &index in &group.items {
            let Some(work) = &self.works[index] else { continue };
            match item(batch, work) {
                Ok((json, id)) => {
                    if seen.insert(id, index).is_some() {
                        // Two of one identifier could not be told apart in the answer.
                        later.push(index);
                        continue;
                    }
                    list.push(json);
                    kept.push(index);
                }
                Err(message) => self.end(index, (Outcome::Refused, Some(Code::MappingError), message)),
            }
        }
        if !later.is_empty() {
            self.groups.push_front(Group { items: later, tries: group.tries, pause: false });
        }
        group.items = kept;
        let first = self.works.get(*group.items.first()?)?.as_ref()?;
        let mut words = of_pass(&first.change.target, first.pass_id.as_deref());
        words.set("reference", &first.change.reference);
        set_key(&mut words, &format!("s{}", digest(&list)));
        let filled = batch.body.fill(&words).and_then(|mut body| {
            if batch.items.set(&mut body, Json::Array(list)) {
                self.http.request(&batch.line, &batch.headers, Some(&body), &words)
            } else {
                Err(format!("the items cannot stand at {} of the body", batch.items))
            }
        });
        match filled {
            Ok(request) => Some(request),
            Err(message) => {
                let items = std::mem::take(&mut group.items);
                self.end_all(&items, &(Outcome::Refused, Some(Code::MappingError), message));
                None
            }
        }
    }

    fn hear(&mut self, batch: &Batch, mut group: Group, answer: Answer) {
        let (status, body) = match answer {
            Answer::Exhausted { .. } if group.items.len() > 1 => return self.halve(&group),
            Answer::Stopped { sent } => return self.stop(&group, sent),
            answer => match changed(answer) {
                Ok(answer) => answer,
                Err(end) => return self.end_all(&group.items, &end),
            },
        };
        let json = strict::read(&body);
        let results = json.as_ref().and_then(|json| batch.results.get(json)).and_then(Json::as_array);
        let of_whole = self.http.answers.judge(status, json.as_ref()).class;
        match (of_whole, results) {
            // Per-item results count whatever the status of the whole (207, or 400 with a list of what was wrong).
            (_, Some(results)) if !results.is_empty() || of_whole == Class::Applied => self.sort_out(batch, group, status, results),
            (Class::Applied, _) => {
                group.tries += 1;
                let end = (Outcome::Refused, Some(Code::AnswerUnreadable), "the answer has no list of results".to_owned());
                self.again(group, &end);
            }
            (Class::Conflict, _) if group.items.len() == 1 => {
                group.tries += 1;
                group.pause = true;
                let end = refusal(Class::Conflict, self.http.answers.message(&body));
                self.again(group, &end);
            }
            // One bad item may be what the whole is refused for.
            _ if group.items.len() > 1 => self.halve(&group),
            (class, _) => {
                let end = refusal(class, self.http.answers.message(&body));
                self.end_all(&group.items, &end);
            }
        }
    }

    /// Gives each item the outcome of the result that has its identifier, never of the one at its position.
    fn sort_out(&mut self, batch: &Batch, group: Group, status: u16, results: &[Json]) {
        let mut by_id: HashMap<String, Vec<&Json>> = HashMap::with_capacity(results.len());
        for result in results {
            if let Some(id) = batch.result_id.text(result) {
                by_id.entry(id).or_default().push(result);
            }
        }
        let mut left: Vec<(usize, End, bool)> = Vec::new();
        for index in group.items {
            let Some(id) = self.works[index].as_ref().and_then(|work| item(batch, work).ok()).map(|(_, id)| id) else { continue };
            let unproven = |words: &str| (Outcome::Refused, Some(Code::AnswerUnreadable), words.to_owned());
            match by_id.get(&id).map(Vec::as_slice) {
                None => left.push((index, unproven("the answer has no result for this item"), false)),
                Some([result]) => {
                    let Some(status) = batch.status_of(result, status) else {
                        left.push((index, unproven("the result of this item has no status"), false));
                        continue;
                    };
                    let judged = self.http.answers.judge(status, Some(result));
                    match judged.class {
                        Class::Applied if judged.silent => {
                            left.push((index, unproven("the result does not say whether it was applied"), false));
                        }
                        Class::Applied => self.end(index, (Outcome::Applied, None, String::new())),
                        // The token ended while the others were carried out.
                        _ if status == 401 => left.push((index, refusal(Class::Retry, self.http.answers.message_of(result)), true)),
                        class @ (Class::Retry | Class::SlowDown | Class::Conflict) => {
                            left.push((index, refusal(class, self.http.answers.message_of(result)), true));
                        }
                        class => {
                            let end = refusal(class, self.http.answers.message_of(result));
                            self.end(index, end);
                        }
                    }
                }
                Some(_) => left.push((index, unproven("the answer has several results for this item"), false)),
            }
        }
        if group.tries + 1 >= READS {
            for (index, end, _) in left {
                self.end(index, end);
            }
        } else if !left.is_empty() {
            let pause = left.iter().any(|(.., pause)| *pause);
            self.groups.push_front(Group { items: left.into_iter().map(|(index, ..)| index).collect(), tries: group.tries + 1, pause });
        }
    }

    /// Nothing is sent any more: not for this group, and not for the others.
    fn stop(&mut self, group: &Group, sent: bool) {
        self.end_all(&group.items, &stopped(sent));
        for group in std::mem::take(&mut self.groups) {
            self.end_all(&group.items, &stopped(false));
        }
        for (index, mut talk) in std::mem::take(&mut self.alone) {
            // It names a request first, and ends when that is not sent.
            talk.next(None);
            if let Step::Done(result) = talk.next(Some(Answer::Stopped { sent: false })) {
                self.ends[index] = Some(result);
            }
        }
    }

    fn again(&mut self, group: Group, otherwise: &End) {
        if group.tries < READS { self.groups.push_front(group) } else { self.end_all(&group.items, otherwise) }
    }

    fn halve(&mut self, group: &Group) {
        let (first, second) = group.items.split_at(group.items.len().div_ceil(2));
        for half in [second, first] {
            self.groups.push_front(Group { items: half.to_vec(), tries: group.tries, pause: false });
        }
    }
}

/// An item as it is sent, and the word by which its result is known again.
fn item(batch: &Batch, work: &Work) -> Result<(Json, String), String> {
    let json = work.http.fill(&batch.item, &[], &work.words(), None, &work.values())?;
    let id = batch.item_id.text(&json).filter(|id| !id.is_empty());
    let id = id.ok_or_else(|| format!("the item has no word at {}, by which its result would be known", batch.item_id))?;
    Ok((json, id))
}

fn digest(list: &[Json]) -> String {
    use sha2::Digest;
    let mut hasher = sha2::Sha256::new();
    for item in list {
        hasher.update(item.to_string());
        hasher.update(b"\n");
    }
    hex(&hasher.finalize()[..16])
}

impl Conversation<Vec<ChangeResult>> for Batched {
    fn next(&mut self, mut answer: Option<Answer>) -> Step<Vec<ChangeResult>> {
        let http = self.http.clone();
        if let Some(batch) = &http.batch {
            if let Some(group) = self.current.take()
                && let Some(answer) = answer.take()
            {
                self.hear(batch, group, answer);
            }
            while let Some(mut group) = self.groups.pop_front() {
                if let Some(request) = self.request(batch, &mut group) {
                    let pause = group.pause;
                    self.current = Some(group);
                    return if pause { Step::Later(PAUSE, request) } else { Step::Send(request) };
                }
            }
        }
        while let Some((_, talk)) = self.alone.front_mut() {
            match talk.next(answer.take()) {
                Step::Send(request) => return Step::Send(request),
                Step::Later(pause, request) => return Step::Later(pause, request),
                Step::Done(result) => {
                    if let Some((index, _)) = self.alone.pop_front() {
                        self.ends[index] = Some(result);
                    }
                }
            }
        }
        Step::Done(self.ends.iter_mut().map(|end| end.take().unwrap_or_default()).collect())
    }
}

/// A single change on a platform that takes batches alone.
pub(super) struct BatchOfOne(Batched);

impl BatchOfOne {
    pub(super) fn new(http: Arc<Http>, change: Change) -> BatchOfOne {
        BatchOfOne(Batched::new(http, vec![change]))
    }
}

impl Conversation<ChangeResult> for BatchOfOne {
    fn next(&mut self, answer: Option<Answer>) -> Step<ChangeResult> {
        match self.0.next(answer) {
            Step::Send(request) => Step::Send(request),
            Step::Later(pause, request) => Step::Later(pause, request),
            Step::Done(results) => Step::Done(results.into_iter().next().unwrap_or_default()),
        }
    }
}
