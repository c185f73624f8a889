//! What is to be told to people, and what was.
//!
//! Apart from [`super::Ledger`] because none of it is on the road of a file: the road changes runs, and how a run ended is noted beside it in
//! the same transaction. Whoever leads makes messages of that and of what stands, and notes them together with what they were made of, so
//! that a stop between any two steps neither loses nor doubles one.

use chrono::{DateTime, Utc};

use super::{Fence, Result, State};

/// A run that came to its end, in the order in which they did.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Ending {
    pub number: u64,
    pub run: String,
    /// `done`, `done-in-doubt`, `failed` or `stopped`.
    pub state: State,
}

/// Something that stands, as one way out knows it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Standing {
    /// The way out.
    pub way: String,
    /// What stands: `source:warehouse`, `held:k7f2m9`.
    pub key: String,
    /// Which one of several that have the same name; another one is told anew.
    pub mark: String,
    pub since: DateTime<Utc>,
    /// When it was told last; none when it is not yet worth a message.
    pub told: Option<DateTime<Utc>>,
}

/// What becomes of a message.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Passage {
    Waiting,
    Sent,
    GivenUp,
    /// A summary tells it.
    Folded,
}

impl Passage {
    pub const fn as_str(self) -> &'static str {
        match self {
            Passage::Waiting => "waiting",
            Passage::Sent => "sent",
            Passage::GivenUp => "given-up",
            Passage::Folded => "folded",
        }
    }

    pub fn parse(text: &str) -> Option<Passage> {
        [Passage::Waiting, Passage::Sent, Passage::GivenUp, Passage::Folded].into_iter().find(|passage| passage.as_str() == text)
    }
}

/// A message to one way out.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Letter {
    /// The same at each try, so that a receiver can tell a repetition.
    pub id: String,
    pub way: String,
    pub at: DateTime<Utc>,
    /// The message, as JSON.
    pub body: String,
    pub passage: Passage,
    /// Tries begun, noted before each.
    pub tries: u32,
    /// Not tried again before this.
    pub next: DateTime<Utc>,
    /// Why the last try failed.
    pub fault: Option<String>,
    /// When it was sent or given up.
    pub ended: Option<DateTime<Utc>>,
}

/// What one look found to be noted, all of it or nothing.
#[derive(Clone, Debug, Default)]
pub struct Noting {
    /// New, or told now.
    pub stands: Vec<Standing>,
    /// Way and key of what stands no longer.
    pub fell: Vec<(String, String)>,
    pub letters: Vec<Letter>,
    /// Way, and until when its digests have told.
    pub digested: Vec<(String, DateTime<Utc>)>,
    /// Way, and since when it is known.
    pub met: Vec<(String, DateTime<Utc>)>,
    /// Ways that are no longer there.
    pub left: Vec<String>,
    /// Endings up to this number are taken into account.
    pub endings_to: Option<u64>,
}

impl Noting {
    pub fn is_empty(&self) -> bool {
        self.stands.is_empty()
            && self.fell.is_empty()
            && self.letters.is_empty()
            && self.digested.is_empty()
            && self.met.is_empty()
            && self.left.is_empty()
            && self.endings_to.is_none()
    }
}

pub trait Telling {
    /// Runs that ended for the first time and were not yet taken into account, oldest first. Only the newest ten thousand are kept.
    fn endings(&self) -> Result<Vec<Ending>>;

    /// What stands, of all ways out.
    fn standing(&self) -> Result<Vec<Standing>>;

    /// Way, and until when its digests have told.
    fn digested(&self) -> Result<Vec<(String, DateTime<Utc>)>>;

    /// Ways out, and since when they are known.
    fn met(&self) -> Result<Vec<(String, DateTime<Utc>)>>;

    fn note_alerts(&self, fence: Fence, noting: &Noting) -> Result<()>;

    /// Messages that wait, of one way out or all, oldest first.
    fn letters_waiting(&self, way: Option<&str>) -> Result<Vec<Letter>>;

    /// Messages given up since.
    fn letters_given_up(&self, since: DateTime<Utc>) -> Result<Vec<Letter>>;

    /// Messages sent to a way out since.
    fn count_sent(&self, way: &str, since: DateTime<Utc>) -> Result<u64>;

    /// Replaces what is known of a message's way.
    fn save_letter(&self, fence: Fence, letter: &Letter) -> Result<()>;

    /// One message takes the place of these.
    fn fold_letters(&self, fence: Fence, ids: &[String], summary: &Letter) -> Result<()>;

    /// Removes messages that ended before.
    fn forget_letters(&self, fence: Fence, before: DateTime<Utc>) -> Result<()>;
}
