//! What people decide: about held files, runs on their way, adds in doubt, rows to try again, feeds. Commands, the review page and its API
//! come here with the same words; the ledger carries them to whoever leads.

mod retry;
mod settle;

use bstr::BStr;
use chrono::Utc;

use crate::config::meant::{Config, Feed};
use crate::ledger::run::{Wish, WishKind};
use crate::ledger::{Ledger, Run, State};

pub use retry::{Choice, Retried, retry};
pub use settle::{Settled, add_words, settle};

/// Why something that a person asked for is not done.
#[derive(Debug, thiserror::Error)]
#[error("{words}")]
pub struct Refusal {
    pub why: Why,
    /// What is so, and what to do instead.
    pub words: String,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Why {
    /// There is nothing that it could be about.
    NothingThere,
    /// Something is still going on; later it may be done.
    NotNow,
    /// It does not say clearly what is meant.
    Unclear,
}

impl Refusal {
    pub fn new(why: Why, words: impl Into<String>) -> Refusal {
        Refusal { why, words: words.into() }
    }
}

/// A run by id or by file name; of several runs of a name the newest.
pub fn find_run(ledger: &dyn Ledger, wanted: &str) -> anyhow::Result<Run> {
    if let Some(run) = ledger.run(wanted)? {
        return Ok(run);
    }
    let named = ledger.runs_named(BStr::new(wanted))?;
    let nothing = || Refusal::new(Why::NothingThere, format!("no run or file {wanted:?}; passferry runs lists them"));
    named.into_iter().next().ok_or_else(|| nothing().into())
}

/// A feed of the configuration by its name.
pub fn find_feed<'c>(config: &'c Config, name: &str) -> Result<&'c std::sync::Arc<Feed>, Refusal> {
    config.feeds.get(name).ok_or_else(|| {
        let near = crate::mapping::did_you_mean(name, config.feeds.keys().map(String::as_str));
        let known = config.feeds.keys().map(String::as_str).collect::<Vec<_>>().join(", ");
        Refusal::new(Why::NothingThere, format!("no feed {name:?}{near} (there is: {known})"))
    })
}

/// Notes that a run be approved, discarded or stopped. Of several runs of a file name, the one that the word can be about.
pub fn word(ledger: &dyn Ledger, wanted: &str, what: WishKind, by: &str, reason: Option<&str>) -> anyhow::Result<Run> {
    let run = fitting(ledger, wanted, what)?;
    may(&run, what)?;
    ledger.wish(&run.id, Some(Wish { what, by: by.to_owned(), reason: reason.map(str::to_owned), at: Utc::now() }))?;
    Ok(run)
}

fn fitting(ledger: &dyn Ledger, wanted: &str, what: WishKind) -> anyhow::Result<Run> {
    if ledger.run(wanted)?.is_none() {
        let fitting = ledger.runs_named(BStr::new(wanted))?.into_iter().find(|run| may(run, what).is_ok());
        if let Some(run) = fitting {
            return Ok(run);
        }
    }
    find_run(ledger, wanted)
}

/// Is the run in a state for it?
pub fn may(run: &Run, what: WishKind) -> Result<(), Refusal> {
    let fits = match what {
        WishKind::Approve => run.state == State::Held,
        WishKind::Discard => matches!(run.state, State::Held | State::Complete),
        WishKind::Stop => matches!(run.state, State::Applying | State::Paused),
    };
    if fits {
        return Ok(());
    }
    let (id, state) = (&run.id, run.state);
    let (why, advice) = match (what, state) {
        (_, state) if state.is_over() => (Why::NothingThere, format!("passferry show {id} tells how it ended")),
        (WishKind::Approve | WishKind::Discard, State::Applying | State::Paused) => {
            (Why::NothingThere, format!("it was not held, or is approved already; passferry stop {id} ends it"))
        }
        (WishKind::Approve | WishKind::Discard, _) => (Why::NotNow, "it is still being checked; look again in a moment".to_owned()),
        (WishKind::Stop, State::Held) => {
            let sent = if run.detail.may_have_sent() { "nothing more of it is sent" } else { "nothing of it was sent" };
            (Why::NothingThere, format!("{sent}; passferry discard {id} puts it away"))
        }
        (WishKind::Stop, State::Reporting) => (Why::NothingThere, "its rows are done; only the report is left".to_owned()),
        (WishKind::Stop, _) => (Why::NotNow, format!("nothing of it was sent yet; passferry pause {} keeps it from being sent", run.feed)),
    };
    let able = if what == WishKind::Stop { "applying or paused" } else { "held" };
    Err(Refusal::new(why, format!("run {id} ({}) is {state}, not {able}: {advice}", run.shown_name())))
}

/// What became of the wish to pause a feed, or to go on with it.
pub enum Paused {
    Now,
    /// By whom, and when.
    Already(String, chrono::DateTime<Utc>),
    GoesOn,
    WasNot,
}

/// Pauses a feed, or lets it go on. The reason is kept with it.
pub fn pause(config: &Config, ledger: &dyn Ledger, feed: &str, pause: bool, by: &str, reason: Option<&str>) -> anyhow::Result<Paused> {
    let paused = ledger.paused()?;
    let known = paused.into_iter().find(|(name, ..)| name == feed);
    // A feed that left the configuration while it was paused can still be resumed.
    if pause || known.is_none() {
        find_feed(config, feed)?;
    }
    Ok(match (pause, known) {
        (true, Some((_, by, at))) => Paused::Already(by, at),
        (false, None) => Paused::WasNot,
        (true, None) => {
            ledger.set_paused(feed, true, by, reason)?;
            Paused::Now
        }
        (false, Some(_)) => {
            ledger.set_paused(feed, false, by, reason)?;
            Paused::GoesOn
        }
    })
}

/// Is a feed paused?
pub fn is_paused(ledger: &dyn Ledger, feed: &str) -> anyhow::Result<bool> {
    Ok(ledger.paused()?.iter().any(|(name, ..)| name == feed))
}
