//! Looks at what there is, and notes what is news to somebody.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::{Duration, Instant};

use chrono::{DateTime, TimeDelta, Utc};
use rand::RngExt;
use tracing::warn;

use super::message::{Event, Message};
use super::stands::{self, Stands};
use super::{digest, runs};
use crate::config::meant::Config;
use crate::config::meant::alert::Way;
use crate::ledger::telling::{Letter, Noting, Passage, Standing};
use crate::ledger::{Fence, Ledger};

/// What takes longer to look at is looked at this often.
const MISSING: Duration = Duration::from_secs(5);
const PUSHES: Duration = Duration::from_secs(30);
/// Messages that ended are kept for this long.
const KEPT: TimeDelta = TimeDelta::days(30);

/// What is done with what stands, compared with what is known of it.
#[derive(Debug, PartialEq, Eq)]
enum Step {
    /// Written down, and not yet told.
    Note(DateTime<Utc>),
    Tell(Event, DateTime<Utc>),
    Nothing,
}

pub struct Desk {
    config: Arc<Config>,
    ledger: Arc<dyn Ledger>,
    fence: Fence,
    /// When a daemon began to work; none for a single sweep, which takes up no changed configuration.
    daemon_since: Option<DateTime<Utc>>,
    missing: Option<(Instant, Vec<Stands>)>,
    pushes: Option<(Instant, Vec<Stands>)>,
    /// What is read of every run under way.
    stuck: Option<(Instant, Vec<Stands>)>,
    began: DateTime<Utc>,
    tidied: Option<Instant>,
}

impl Desk {
    pub fn new(config: Arc<Config>, ledger: Arc<dyn Ledger>, fence: Fence, daemon_since: Option<DateTime<Utc>>) -> Desk {
        Desk { config, ledger, fence, daemon_since, missing: None, pushes: None, stuck: None, began: Utc::now(), tidied: None }
    }

    /// Notes what is news, all of it or nothing.
    pub fn look(&mut self, now: DateTime<Utc>) -> anyhow::Result<()> {
        let mut noting = Noting::default();
        let ways: Vec<Arc<Way>> = self.config.alerts.values().cloned().collect();
        let mut stand = stands::all(&self.config, &*self.ledger, self.daemon_since)?;
        stand.extend(now_and_then(&mut self.missing, MISSING, || stands::missing(&self.config, &*self.ledger, now))?);
        stand.extend(now_and_then(&mut self.stuck, MISSING, || Ok(stands::stuck(&self.config, &*self.ledger)?))?);
        stand.extend(now_and_then(&mut self.pushes, PUSHES, || Ok(stands::pushes(&self.config)))?);
        let known = self.ledger.standing()?;
        let there: BTreeSet<&str> = stand.iter().map(|one| &*one.key).collect();
        for way in &ways {
            let known: BTreeMap<&str, &Standing> = known.iter().filter(|one| one.way == way.name).map(|one| (&*one.key, one)).collect();
            for one in stand.iter().filter(|one| way.tell.contains(&one.tell)) {
                let (event, since) = match step(way, one, known.get(&*one.key).copied(), now) {
                    Step::Nothing => continue,
                    Step::Note(since) => {
                        noting.stands.push(standing(way, one, since, None));
                        continue;
                    }
                    Step::Tell(event, since) => (event, since),
                };
                noting.stands.push(standing(way, one, since, Some(now)));
                if let Some(message) = one.message(way, &*self.ledger, event, since)? {
                    noting.letters.push(letter(way, &message, now));
                }
            }
            for (key, one) in &known {
                let tell = stands::tell_of(key).filter(|tell| way.tell.contains(tell));
                // What is no longer told here is forgotten as well.
                if tell.is_some() && there.contains(key) {
                    continue;
                }
                noting.fell.push((way.name.clone(), (*key).to_owned()));
                let message = tell.filter(|_| one.told.is_some()).and_then(|tell| stands::back(key, tell, one.since));
                noting.letters.extend(message.map(|message| letter(way, &message, now)));
            }
        }
        let gone = known.iter().filter(|one| !self.config.alerts.contains_key(&one.way));
        noting.fell.extend(gone.map(|one| (one.way.clone(), one.key.clone())));
        self.endings(&ways, &mut noting, now)?;
        self.digests(&ways, &mut noting, now)?;
        if !noting.is_empty() {
            self.ledger.note_alerts(self.fence, &noting)?;
        }
        self.tidy(now)
    }

    /// The next look looks at everything.
    pub fn look_closely(&mut self) {
        (self.missing, self.pushes, self.stuck) = (None, None, None);
    }

    /// Runs that ended since the last look.
    fn endings(&self, ways: &[Arc<Way>], noting: &mut Noting, now: DateTime<Utc>) -> anyhow::Result<()> {
        let met = self.meet(ways, noting, now)?;
        for ending in self.ledger.endings()? {
            noting.endings_to = Some(ending.number);
            let Some(run) = self.ledger.run(&ending.run)? else { continue };
            let is_news = |way: &Arc<Way>| run.detail.ended_at.is_none_or(|ended| met.get(&way.name).is_none_or(|since| ended >= *since));
            for way in ways.iter().filter(|way| is_news(way)) {
                noting.letters.extend(runs::ended(way, &run, ending.state).iter().map(|message| letter(way, message, now)));
            }
        }
        Ok(())
    }

    /// Since when ways out are known: a new one is not told what was before.
    fn meet(&self, ways: &[Arc<Way>], noting: &mut Noting, now: DateTime<Utc>) -> anyhow::Result<BTreeMap<String, DateTime<Utc>>> {
        // One from the future was written by another clock.
        let mut met: BTreeMap<_, _> = self.ledger.met()?.into_iter().filter(|(_, since)| *since <= now).collect();
        for way in ways.iter().filter(|way| !met.contains_key(&way.name)) {
            noting.met.push((way.name.clone(), self.began.min(now)));
        }
        met.extend(noting.met.iter().cloned());
        noting.left.extend(met.keys().filter(|name| !self.config.alerts.contains_key(*name)).cloned());
        Ok(met)
    }

    fn digests(&self, ways: &[Arc<Way>], noting: &mut Noting, now: DateTime<Utc>) -> anyhow::Result<()> {
        let told: BTreeMap<String, DateTime<Utc>> = self.ledger.digested()?.into_iter().collect();
        for way in ways {
            let Some(due) = way.digest.as_ref().and_then(|digest| digest::due(digest, now)) else { continue };
            let from = told.get(&way.name);
            // A clock that was set back has nothing new to tell.
            if from.is_some_and(|from| *from >= due) {
                continue;
            }
            if let Some(from) = from {
                let message = digest::message(&self.config, &*self.ledger, way, *from, due, now)?;
                noting.letters.push(letter(way, &message, now));
            }
            noting.digested.push((way.name.clone(), due));
        }
        Ok(())
    }

    /// Gives up what no way out takes any more, and forgets what is long over.
    fn tidy(&mut self, now: DateTime<Utc>) -> anyhow::Result<()> {
        if self.tidied.is_some_and(|tidied| tidied.elapsed() < Duration::from_hours(1)) {
            return Ok(());
        }
        for letter in self.ledger.letters_waiting(None)?.into_iter().filter(|letter| !self.config.alerts.contains_key(&letter.way)) {
            warn!(alert = letter.way, "a message is given up: its way out is no longer in the configuration");
            let fault = Some("its way out is no longer in the configuration".to_owned());
            self.ledger.save_letter(self.fence, &Letter { passage: Passage::GivenUp, fault, ended: Some(now), ..letter })?;
        }
        self.ledger.forget_letters(self.fence, now - KEPT)?;
        self.tidied = Some(Instant::now());
        Ok(())
    }
}

/// What was seen the last time, or what is seen now when that was long ago.
fn now_and_then(
    seen: &mut Option<(Instant, Vec<Stands>)>,
    every: Duration,
    look: impl FnOnce() -> anyhow::Result<Vec<Stands>>,
) -> anyhow::Result<Vec<Stands>> {
    let fresh = seen.take().filter(|(looked, _)| looked.elapsed() < every);
    let fresh = fresh.map_or_else(|| look().map(|stands| (Instant::now(), stands)), Ok)?;
    Ok(seen.insert(fresh).1.clone())
}

fn standing(way: &Way, one: &Stands, since: DateTime<Utc>, told: Option<DateTime<Utc>>) -> Standing {
    Standing { way: way.name.clone(), key: one.key.clone(), mark: one.mark.clone(), since, told }
}

/// What is to be done about something that stands.
fn step(way: &Way, one: &Stands, known: Option<&Standing>, now: DateTime<Utc>) -> Step {
    let known = known.filter(|known| known.mark == one.mark);
    let since = known.map(|known| known.since).or(one.since).unwrap_or(now);
    let stood = (now - since).to_std().unwrap_or_default();
    match known {
        Some(Standing { told: Some(told), .. }) => {
            // A clock that was set back makes a reminder late, never many.
            let due = way.remind.is_some_and(|remind| (now - *told).to_std().unwrap_or_default() >= remind);
            if due { Step::Tell(Event::Reminder, since) } else { Step::Nothing }
        }
        known => {
            if !one.passing || stood >= way.unreachable_after {
                Step::Tell(Event::Raised, since)
            } else if known.is_none() {
                Step::Note(since)
            } else {
                Step::Nothing
            }
        }
    }
}

/// A message to be sent, under a name that nothing else has.
pub fn letter(way: &Way, message: &Message, now: DateTime<Utc>) -> Letter {
    let id = format!("msg_{:032x}", rand::rng().random::<u128>());
    let body = serde_json::to_string(message).expect("a message is plain data");
    Letter { id, way: way.name.clone(), at: now, body, passage: Passage::Waiting, tries: 0, next: now, fault: None, ended: None }
}

#[cfg(test)]
mod tests {
    use super::super::sender::tests::way;
    use super::super::stands::{About, What};
    use super::*;
    use crate::config::meant::alert::Tell;

    fn at(text: &str) -> DateTime<Utc> {
        text.parse().unwrap()
    }

    fn source(since: &str) -> Stands {
        let what = What::Words { about: About::This, title: "out".into(), words: vec![], commands: vec![] };
        Stands { key: "source:a".into(), mark: String::new(), tell: Tell::Source, since: Some(at(since)), passing: true, what }
    }

    fn known(since: &str, told: Option<&str>) -> Standing {
        Standing { way: "ops".into(), key: "source:a".into(), mark: String::new(), since: at(since), told: told.map(at) }
    }

    #[test]
    fn what_may_pass_is_told_when_it_has_stood_and_then_only_reminded_of() {
        let way = way();
        let began = "2026-11-20T06:00:00Z";
        let one = source(began);
        assert_eq!(step(&way, &one, None, at("2026-11-20T06:05:00Z")), Step::Note(at(began)));
        assert_eq!(step(&way, &one, Some(&known(began, None)), at("2026-11-20T06:14:59Z")), Step::Nothing);
        assert_eq!(step(&way, &one, Some(&known(began, None)), at("2026-11-20T06:15:00Z")), Step::Tell(Event::Raised, at(began)));
        assert_eq!(step(&way, &one, None, at("2026-11-20T09:00:00Z")), Step::Tell(Event::Raised, at(began)), "noted by a sweep hours ago");
        let told = known(began, Some("2026-11-20T06:15:00Z"));
        assert_eq!(step(&way, &one, Some(&told), at("2026-11-21T06:14:59Z")), Step::Nothing);
        assert_eq!(step(&way, &one, Some(&told), at("2026-11-21T06:15:00Z")), Step::Tell(Event::Reminder, at(began)));
        assert_eq!(step(&way, &one, Some(&told), at("2020-01-01T00:00:00Z")), Step::Nothing, "a clock that was set back");
        let never = Way { remind: None, ..way };
        assert_eq!(step(&never, &one, Some(&told), at("2027-11-21T06:15:00Z")), Step::Nothing);
    }

    #[test]
    fn another_one_of_the_same_name_is_told_anew() {
        let one = Stands { mark: "today".into(), passing: false, ..source("2026-11-21T06:30:00Z") };
        let told = known("2026-11-20T06:30:00Z", Some("2026-11-20T06:30:05Z"));
        assert_eq!(step(&way(), &one, Some(&told), at("2026-11-21T06:30:01Z")), Step::Tell(Event::Raised, at("2026-11-21T06:30:00Z")));
    }
}
