//! Several conversations whose requests travel together (contract 8).
//!
//! Each keeps its own outcome. What a batch says of a part is the part's answer, unless it says "not now": then one of those parts is sent
//! by itself, so that dispatch waits, slows down, asks for a new token or finds the platform out as for any request, and the others follow
//! together once it got through. A batch that fails as a whole is halved, down to single requests: a part that no batch survives harms
//! nobody but itself.

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::{Duration, SystemTime};

use super::{Scope, judge, multipart};
use crate::platform::{Answer, Conversation, RawAnswer, Request, Step, Verdict};

pub(super) struct Together<T> {
    scope: Arc<Scope>,
    talks: Vec<Talk<T>>,
    /// Those whose requests are under way, in the order of the batch.
    sent: Vec<usize>,
    /// Requests that one batch of this conversation holds: less after one failed.
    most: usize,
    /// One of the parts that were told "not now", to be sent by itself.
    scout: Option<usize>,
}

struct Talk<T> {
    conversation: Box<dyn Conversation<T>>,
    /// What is to be sent for it.
    request: Option<Request>,
    /// Not before.
    pause: Duration,
    end: Option<T>,
}

impl<T> Together<T> {
    pub(super) fn new(scope: Arc<Scope>, talks: Vec<Box<dyn Conversation<T>>>) -> Together<T> {
        let mut together = Together {
            most: scope.batch,
            scope,
            talks: talks.into_iter().map(|conversation| Talk { conversation, request: None, pause: Duration::ZERO, end: None }).collect(),
            sent: Vec::new(),
            scout: None,
        };
        for index in 0..together.talks.len() {
            together.tell(index, None);
        }
        together
    }

    /// Gives a conversation its answer and takes what it says next.
    fn tell(&mut self, index: usize, answer: Option<Answer>) {
        let talk = &mut self.talks[index];
        (talk.request, talk.pause) = (None, Duration::ZERO);
        match talk.conversation.next(answer) {
            Step::Send(request) => talk.request = Some(request),
            Step::Later(pause, request) => (talk.request, talk.pause) = (Some(request), pause),
            Step::Done(end) => talk.end = Some(end),
        }
    }

    fn hear(&mut self, answer: Answer) {
        let sent = std::mem::take(&mut self.sent);
        if let Answer::Stopped { sent: maybe } = answer {
            return self.stop(&sent, maybe);
        }
        if let [only] = sent[..] {
            self.tell(only, Some(answer));
            return;
        }
        match answer {
            Answer::Http { status: 200..=299, body } => match multipart::read(&body, sent.len()) {
                Ok(answers) => {
                    for (index, answer) in sent.into_iter().zip(answers) {
                        self.hear_part(index, answer);
                    }
                }
                Err(reason) => self.unknown(&sent, &reason),
            },
            Answer::Http { status, .. } => {
                // Too many parts, or one that the platform does not even look at: nothing of it was done, or all of it may be repeated.
                self.unknown(&sent, &format!("the batch was refused as a whole (status {status})"));
                let most = sent.len().div_ceil(2);
                if self.scope.parts_max.fetch_min(most, Ordering::Relaxed) > most {
                    tracing::warn!(status, parts = sent.len(), "a batch was refused as a whole; batches are smaller from now on");
                }
            }
            Answer::Exhausted { message, .. } | Answer::Lost { message } => self.unknown(&sent, &message),
            Answer::Stopped { .. } => {}
        }
    }

    /// Nothing is sent any more: not for these, and not for those that would have followed.
    fn stop(&mut self, sent: &[usize], maybe: bool) {
        for index in 0..self.talks.len() {
            if self.talks[index].request.is_some() {
                self.tell(index, Some(Answer::Stopped { sent: maybe && sent.contains(&index) }));
            }
        }
    }

    fn hear_part(&mut self, index: usize, answer: Option<multipart::PartAnswer>) {
        let verdict = match (&answer, &self.talks[index].request) {
            (Some(answer), Some(request)) => {
                let raw = RawAnswer { status: answer.status, headers: &answer.headers, body: &answer.body };
                judge::judge(&self.scope, request, &raw, SystemTime::now())
            }
            _ => Verdict::Again { reason: "the answer to a batch lacks this part".to_owned() },
        };
        match (verdict, answer) {
            (Verdict::Final, Some(answer)) => self.tell(index, Some(Answer::Http { status: answer.status, body: answer.body })),
            (Verdict::Again { reason }, _) => {
                self.lost(index, &reason);
                self.scout = self.scout.or(Some(index));
            }
            // The platform did not do it.
            _ => self.scout = self.scout.or(Some(index)),
        }
    }

    /// Whether the parts of a batch were carried out is not known: they go in smaller ones.
    fn unknown(&mut self, sent: &[usize], reason: &str) {
        self.most = sent.len().div_ceil(2);
        for &index in sent {
            self.lost(index, reason);
        }
    }

    /// What may be sent again stays to be sent.
    fn lost(&mut self, index: usize, reason: &str) {
        if self.talks[index].request.as_ref().is_some_and(|request| !request.repeatable) {
            self.tell(index, Some(Answer::Lost { message: reason.to_owned() }));
        }
    }

    /// The next request, with those it is for in `sent`.
    fn gather(&mut self) -> Option<(Duration, Request)> {
        let waiting = |talk: &Talk<T>| talk.request.is_some();
        if let Some(scout) = self.scout.take().filter(|&scout| waiting(&self.talks[scout])) {
            self.sent = vec![scout];
        } else {
            let most = self.most.min(self.scope.parts_max.load(Ordering::Relaxed)).max(1);
            self.sent = (0..self.talks.len()).filter(|&index| waiting(&self.talks[index])).take(most).collect();
        }
        let pause = self.sent.iter().map(|&index| self.talks[index].pause).max()?;
        let requests: Vec<&Request> = self.sent.iter().filter_map(|&index| self.talks[index].request.as_ref()).collect();
        let request = match requests[..] {
            [only] => only.clone(),
            _ => multipart::write(&requests),
        };
        Some((pause, request))
    }
}

impl<T> Conversation<Vec<T>> for Together<T>
where
    T: Send,
{
    fn next(&mut self, answer: Option<Answer>) -> Step<Vec<T>> {
        if let Some(answer) = answer {
            self.hear(answer);
        }
        match self.gather() {
            Some((Duration::ZERO, request)) => Step::Send(request),
            Some((pause, request)) => Step::Later(pause, request),
            None => Step::Done(self.talks.drain(..).filter_map(|talk| talk.end).collect()),
        }
    }
}
