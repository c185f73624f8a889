//! Sends what waits for one way out: in order, not too often, again when it failed, and not for ever.

use std::collections::HashSet;
use std::sync::Arc;
use std::time::{Duration, Instant};

use chrono::{DateTime, TimeDelta, Utc};
use rand::RngExt;
use tracing::{debug, error, info, warn};

use super::desk::letter;
use super::message::{Event, Message, Own, Topic};
use super::way::{Fault, Outlet};
use crate::config::meant::alert::Way;
use crate::ledger::telling::{Letter, Passage};
use crate::ledger::{Fence, Ledger};
use crate::stop::Stop;

/// First and longest pause after a failure; it doubles between them.
const PAUSE_FIRST: Duration = Duration::from_secs(1);
const PAUSE_LAST: Duration = Duration::from_mins(5);
/// A receiver that asks for more time gets this much at most.
const ASKED_MAX: Duration = Duration::from_hours(1);
/// Before the last message of an hour goes out, others are waited for that it can count as well.
const GATHER: Duration = Duration::from_secs(10);
/// Messages that a summary names.
const NAMED: usize = 10;

pub struct Sender {
    way: Arc<Way>,
    /// Opened for the first message: what is wrong with it then is why that waits.
    outlet: Option<Outlet>,
    ledger: Arc<dyn Ledger>,
    fence: Fence,
    /// Failures in a row.
    failures: u32,
    not_before: Option<Instant>,
    /// Tried since the start. What an earlier process tried is tried at once: somebody may have repaired it.
    tried: HashSet<String>,
    /// Delivered, and not written down since the disk had no room.
    delivered: HashSet<String>,
}

impl Sender {
    pub fn new(way: &Arc<Way>, ledger: Arc<dyn Ledger>, fence: Fence) -> Sender {
        Sender {
            way: Arc::clone(way),
            outlet: None,
            ledger,
            fence,
            failures: 0,
            not_before: None,
            tried: HashSet::new(),
            delivered: HashSet::new(),
        }
    }

    fn send(&mut self, letter: &Letter, message: &Message, stop: &Stop) -> Result<(), Fault> {
        let outlet = match self.outlet.take() {
            Some(outlet) => outlet,
            None => Outlet::open(Arc::clone(&self.way)).map_err(|fault| Fault::Later(format!("it cannot be used: {fault:#}"), None))?,
        };
        self.outlet.insert(outlet).send(letter, message, stop)
    }

    /// Sends until nothing is left that may go now. `last`: nothing more comes that would be worth waiting for.
    pub fn round(&mut self, last: bool, stop: &Stop) -> anyhow::Result<()> {
        while !stop.is_draining() && self.not_before.is_none_or(|then| Instant::now() >= then) {
            let now = Utc::now();
            let waiting = self.waiting(now)?;
            if waiting.is_empty() {
                return Ok(());
            }
            let sent = self.ledger.count_sent(&self.way.name, now - TimeDelta::hours(1))?;
            let left = u64::from(self.way.per_hour).saturating_sub(sent);
            // What was tried may have arrived: it keeps its name.
            let untried: Vec<&Letter> = waiting.iter().filter(|letter| letter.tries == 0).collect();
            let folded: Vec<&Letter> = untried.iter().copied().filter(|letter| may_be_folded(letter)).collect();
            match left {
                0 => return Ok(()),
                1 if !last && untried.first().is_some_and(|first| (now - first.at).to_std().is_ok_and(|age| age < GATHER)) => return Ok(()),
                1 if folded.len() > 1 => {
                    self.fold(&folded, now)?;
                    continue;
                }
                _ => {}
            }
            let due = |letter: &&Letter| !self.tried.contains(&letter.id) || letter.next <= now || letter.next > now + longest();
            let Some(next) = waiting.iter().find(due).cloned() else { return Ok(()) };
            self.try_one(next, stop)?;
        }
        Ok(())
    }

    /// What waits, without what is given up by now or was delivered.
    fn waiting(&mut self, now: DateTime<Utc>) -> anyhow::Result<Vec<Letter>> {
        let mut waiting = Vec::new();
        for letter in self.ledger.letters_waiting(Some(&self.way.name))? {
            if self.delivered.contains(&letter.id) {
                self.save(&Letter { passage: Passage::Sent, ended: Some(now), ..letter.clone() })?;
                self.delivered.remove(&letter.id);
            } else if (now - letter.at).to_std().is_ok_and(|age| age > self.way.give_up_after) {
                let why = letter.fault.as_deref().unwrap_or("too many messages before it");
                let after = humantime::format_duration(self.way.give_up_after);
                error!(alert = self.way.name, id = letter.id, tries = letter.tries, "a message is given up after {after}: {why}");
                self.save(&Letter { passage: Passage::GivenUp, ended: Some(now), ..letter.clone() })?;
            } else {
                waiting.push(letter);
            }
        }
        Ok(waiting)
    }

    fn save(&self, letter: &Letter) -> anyhow::Result<()> {
        Ok(self.ledger.save_letter(self.fence, letter)?)
    }

    fn try_one(&mut self, mut letter: Letter, stop: &Stop) -> anyhow::Result<()> {
        let message: Message = match serde_json::from_str(&letter.body) {
            Ok(message) => message,
            Err(fault) => {
                error!(alert = self.way.name, id = letter.id, "a message cannot be read and is given up: {fault}");
                return self.save(&Letter { passage: Passage::GivenUp, fault: Some(fault.to_string()), ended: Some(Utc::now()), ..letter });
            }
        };
        letter.tries += 1;
        let pause = pause(letter.tries);
        letter.next = Utc::now() + pause;
        // Before the try, so that a start after a crash knows that it may have arrived.
        self.save(&letter)?;
        self.tried.insert(letter.id.clone());
        match self.send(&letter, &message, stop) {
            Ok(()) => {
                if self.failures > 0 {
                    info!(alert = self.way.name, "messages get through again");
                }
                (self.failures, self.not_before) = (0, None);
                debug!(alert = self.way.name, id = letter.id, title = message.title, "told");
                self.delivered.insert(letter.id.clone());
                self.save(&Letter { passage: Passage::Sent, fault: None, ended: Some(Utc::now()), ..letter.clone() })?;
                self.delivered.remove(&letter.id);
            }
            Err(Fault::Stopped) => {}
            Err(fault) => {
                let (words, asked) = match fault {
                    Fault::Refused(words) => (words, None),
                    Fault::Later(words, asked) => {
                        // Whatever comes next would fail as well.
                        self.failures += 1;
                        let pause = asked.map_or(pause, |asked| asked.clamp(PAUSE_FIRST, ASKED_MAX));
                        self.not_before = Some(Instant::now() + pause);
                        (words, asked.map(|_| pause))
                    }
                    Fault::Stopped => return Ok(()),
                };
                if self.failures <= 1 {
                    warn!(alert = self.way.name, id = letter.id, "a message is not delivered yet: {words}");
                } else {
                    debug!(alert = self.way.name, id = letter.id, tries = letter.tries, "not delivered: {words}");
                }
                if let Some(pause) = asked {
                    letter.next = Utc::now() + pause;
                }
                self.save(&Letter { fault: Some(words), ..letter })?;
            }
        }
        Ok(())
    }

    /// Makes one message of many.
    fn fold(&self, letters: &[&Letter], now: DateTime<Utc>) -> anyhow::Result<()> {
        let messages: Vec<Message> = letters.iter().filter_map(|letter| serde_json::from_str(&letter.body).ok()).collect();
        let ids: Vec<String> = letters.iter().map(|letter| letter.id.clone()).collect();
        Ok(self.ledger.fold_letters(self.fence, &ids, &letter(&self.way, &summary(&messages), now))?)
    }
}

/// A digest says much that its title does not.
fn may_be_folded(letter: &Letter) -> bool {
    serde_json::from_str::<Message>(&letter.body).is_ok_and(|message| message.topic != Topic::Own(Own::Digest))
}

/// A time that no pause is longer than: what is to be tried later than that was written by another clock.
fn longest() -> TimeDelta {
    TimeDelta::from_std(ASKED_MAX + PAUSE_LAST).unwrap_or_default()
}

/// Before the next try, after so many: three quarters to all of a time that doubles.
fn pause(tries: u32) -> Duration {
    let full = PAUSE_FIRST.saturating_mul(1 << tries.saturating_sub(1).min(16)).min(PAUSE_LAST);
    full.mul_f64(rand::rng().random_range(0.75..=1.0))
}

/// One message that names the first of many and counts the rest.
fn summary(messages: &[Message]) -> Message {
    let is_summary = |message: &Message| message.topic == Topic::Own(Own::Summary);
    let count = |message: &Message| if is_summary(message) { message.counts.get("messages").copied().unwrap_or(1) } else { 1 };
    let total: u64 = messages.iter().map(count).sum();
    let mut titles = messages.iter().flat_map(|message| {
        if !is_summary(message) {
            return vec![message.title.clone()];
        }
        message.sections.iter().flat_map(|section| section.lines.clone()).collect()
    });
    let mut lines: Vec<String> = titles.by_ref().filter(|line| !line.starts_with("and ")).take(NAMED).collect();
    let more = total.saturating_sub(lines.len() as u64);
    if more > 0 {
        lines.push(format!("and {more} more"));
    }
    let mut summary = Message::new(Topic::Own(Own::Summary), Event::Report, &format!("{total} messages in one: too many for an hour"));
    summary.say("What happened", lines);
    summary.commands = vec!["passferry status".into(), "passferry alert".into()];
    summary.counts.insert("messages".into(), total);
    summary
}

#[cfg(test)]
pub mod tests {
    use super::*;
    use crate::config::meant::alert::{Address, Out, Tell};
    use crate::secret::{Secret, SecretPlace};

    pub fn way() -> Way {
        Way {
            name: "ops".into(),
            out: Out::Slack { url: Address::Secret(Secret::new(SecretPlace::Env("NONE".into()))), ca_file: None },
            tell: Tell::ALL.into(),
            unreachable_after: Duration::from_mins(15),
            rejected_above: None,
            remind: Some(Duration::from_hours(24)),
            per_hour: 20,
            give_up_after: Duration::from_hours(24),
            timeout: Duration::from_secs(10),
            digest: None,
            page: None,
            prefix: "passferry".into(),
        }
    }

    #[test]
    fn pauses_double_to_a_limit() {
        for (tries, least, most) in [(1, 750, 1000), (2, 1500, 2000), (5, 12_000, 16_000), (40, 225_000, 300_000)] {
            let pause = pause(tries).as_millis();
            assert!((least..=most).contains(&pause), "{tries}: {pause}");
        }
    }

    #[test]
    fn a_digest_keeps_what_it_says() {
        let noted = |topic| letter(&way(), &Message::new(topic, Event::Report, "seven came"), Utc::now());
        assert!(!may_be_folded(&noted(Topic::Own(Own::Digest))));
        assert!(may_be_folded(&noted(Topic::Own(Own::Summary))) && may_be_folded(&noted(Topic::Told(Tell::Failed))));
    }

    #[test]
    fn a_summary_of_summaries_counts_what_happened() {
        let many: Vec<Message> = (0..38).map(|n| Message::new(Topic::Told(Tell::Held), Event::Raised, &format!("file {n}"))).collect();
        let first = summary(&many);
        assert_eq!(first.sections[0].lines.last().unwrap(), "and 28 more");
        let both = summary(&[first, Message::new(Topic::Told(Tell::Failed), Event::Raised, "late")]);
        assert_eq!((both.counts["messages"], both.sections[0].lines.len()), (39, 11));
    }
}
