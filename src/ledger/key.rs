//! Keys of adds: what may have been sent, and what became of it (failure model, section 6).

use chrono::{DateTime, Utc};
use serde::{Deserialize, Serialize};

use crate::row::{AddKey, PassKey};

/// What is known of an add's effect.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize, schemars::JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum KeyState {
    /// Written down, and perhaps sent.
    Intended,
    /// The platform has its effect.
    Applied,
    /// The platform does not have it: never sent, refused, or looked for and not found. It may be sent under the same key.
    NotApplied,
    /// Sent, without proof either way. Only a person decides.
    InDoubt,
}

impl KeyState {
    pub const ALL: [KeyState; 4] = [KeyState::Intended, KeyState::Applied, KeyState::NotApplied, KeyState::InDoubt];

    pub const fn as_str(self) -> &'static str {
        match self {
            KeyState::Intended => "intended",
            KeyState::Applied => "applied",
            KeyState::NotApplied => "not-applied",
            KeyState::InDoubt => "in-doubt",
        }
    }

    pub fn parse(text: &str) -> Option<KeyState> {
        KeyState::ALL.into_iter().find(|state| state.as_str() == text)
    }
}

/// An add about to be sent.
#[derive(Clone, Debug, PartialEq)]
pub struct Intent {
    pub key: AddKey,
    pub pass: PassKey,
    /// Physical line of its row.
    pub line: u64,
    /// Runs and lines in which the row stood before it was corrected or tried again; the line is not always known.
    pub earlier: Vec<(String, Option<u64>)>,
    /// What it adds, for people: `points 50`. Empty when it is personal.
    pub amount: String,
    /// Digest of all it does: [`crate::row::Add::print`].
    pub print: u64,
    /// The pass's balances before, as JSON, where the proof needs them.
    pub before: Option<String>,
}

/// What the ledger answers to an intent.
#[derive(Clone, Debug, PartialEq)]
pub enum Intended {
    /// Written down now: send it.
    Send,
    /// Written down now, as a person decided after it had been in doubt: look for it once more, then send it.
    SendAgain,
    /// A person decided that it was not applied and shall not be.
    Settled(KeyNote),
    /// Written down before, for this very row: an earlier start may have sent it. With the balances before, as then noted, and the
    /// moment when it was written down.
    PerhapsSent { before: Option<String>, at: DateTime<Utc> },
    /// Its effect is there already.
    Applied(KeyNote),
    /// Sent by another row, whose end is not known yet.
    Elsewhere(KeyNote),
    /// This add is in doubt.
    InDoubt(KeyNote),
    /// The same key stands for something else.
    Conflict(KeyNote),
    /// The same row was another add before, whose effect is there or may be: it cannot become this one.
    Turned(KeyNote),
    /// Another add of the pass is in doubt: this one comes after it.
    After(KeyNote),
}

/// What became of an add.
#[derive(Clone, Debug, PartialEq)]
pub struct KeyEnd {
    pub key: AddKey,
    pub state: KeyState,
    /// What proves it, or what was seen.
    pub evidence: String,
}

/// A key as the ledger keeps it.
#[derive(Clone, Debug, PartialEq)]
pub struct KeyNote {
    pub key: AddKey,
    pub account: String,
    pub pass: PassKey,
    /// The run and line of its row.
    pub run: String,
    pub line: u64,
    pub amount: String,
    pub print: u64,
    pub state: KeyState,
    /// Of the last change of its state.
    pub at: DateTime<Utc>,
    pub evidence: String,
    pub before: Option<String>,
    pub settled: Option<Settlement>,
    /// When a later file had the same add again, as far as that was noted.
    pub met: Option<DateTime<Utc>>,
}

impl KeyNote {
    /// A person decided that it shall not be sent, and nothing happened to it since.
    pub fn is_declined(&self) -> bool {
        let declined = |settled: &Settlement| settled.decision == Decision::NotApplied && settled.at == self.at;
        self.state == KeyState::NotApplied && self.settled.as_ref().is_some_and(declined)
    }
}

/// A person's decision on an add in doubt.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, schemars::JsonSchema)]
pub struct Settlement {
    pub decision: Decision,
    /// Login name of the command.
    pub by: String,
    pub reason: String,
    pub at: DateTime<Utc>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, schemars::JsonSchema, clap::ValueEnum)]
#[serde(rename_all = "kebab-case")]
pub enum Decision {
    /// The platform has its effect
    Applied,
    /// The platform does not have it, and it shall not be sent
    NotApplied,
    /// The platform does not have it: send it again under the same key
    Resend,
}

impl Decision {
    pub const fn as_str(self) -> &'static str {
        match self {
            Decision::Applied => "applied",
            Decision::NotApplied => "not-applied",
            Decision::Resend => "resend",
        }
    }
}

/// A decision that waits for whoever leads.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Settling {
    /// Number of the request, to take it back by.
    pub number: u64,
    pub run: String,
    pub line: u64,
    /// The add that it is about. None in requests of earlier versions: all of the row that are in doubt.
    pub key: Option<AddKey>,
    pub settlement: Settlement,
}

impl Settling {
    pub fn is_about(&self, run: &str, line: u64, key: AddKey) -> bool {
        self.key.map_or_else(|| self.run == run && self.line == line, |known| known == key)
    }
}
