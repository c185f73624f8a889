//! Counted where it happens. Nothing here is called for a row: rows are counted together when their run is over, as its report has them.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use metrics::{Counter, Histogram, counter, histogram};
use serde::{Deserialize, Serialize};

use super::names;
use crate::ledger::{Run, State};
use crate::outcome::{Code, Outcome, Tally};
use crate::platform::oauth::NoToken;

/// What is wrong with files as a whole.
const FAULTS: [Code; 21] = [
    Code::SourceError,
    Code::CompressionError,
    Code::DecryptionError,
    Code::SignatureError,
    Code::FileTooLarge,
    Code::ChecksumMismatch,
    Code::CountMismatch,
    Code::NotText,
    Code::EncodingError,
    Code::UnterminatedQuote,
    Code::CellTooLong,
    Code::RecordTooLong,
    Code::RowCount,
    Code::BlankHeader,
    Code::BlankLabel,
    Code::DuplicateLabel,
    Code::ExtraLabel,
    Code::MissingLabel,
    Code::IncorrectLabel,
    Code::UnmatchedHeader,
    Code::CorrectionUnknown,
];

/// Makes the series of a feed begin at 0, so that their first increase is seen as one.
pub fn announce(feed: &str) {
    for outcome in Outcome::ALL.into_iter().filter(|outcome| *outcome != Outcome::Withheld) {
        count_rows(feed, outcome, 0);
    }
    for end in State::ALL.into_iter().filter(|state| state.is_over()) {
        count_runs(feed, end, 0);
    }
    for code in FAULTS {
        count_fault(feed, code.as_str(), 0);
    }
}

fn count_rows(feed: &str, outcome: Outcome, rows: u64) {
    counter!(names::ROWS, "feed" => feed.to_owned(), "outcome" => outcome.as_str()).increment(rows);
}

fn count_runs(feed: &str, end: State, runs: u64) {
    counter!(names::RUNS, "feed" => feed.to_owned(), "end" => end.as_str()).increment(runs);
}

fn count_fault(feed: &str, code: &'static str, files: u64) {
    counter!(names::FILE_FAULTS, "feed" => feed.to_owned(), "code" => code).increment(files);
}

/// What the counters were told of a run; kept with it, so that a run that ends again tells only what is new.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Told {
    pub end: Option<State>,
    pub rows: Tally,
    pub problems: BTreeMap<String, u64>,
}

impl Told {
    pub fn is_nothing(&self) -> bool {
        *self == Told::default()
    }
}

/// What is new of a run that is over.
#[must_use]
pub struct News {
    feed: String,
    end: Option<State>,
    fault: Option<&'static str>,
    rows: Tally,
    problems: BTreeMap<String, u64>,
}

impl News {
    /// Notes in the run that this was told. To be counted once the run is written down.
    pub fn of(run: &mut Run) -> News {
        let told = std::mem::replace(
            &mut run.detail.told,
            Told { end: Some(run.state), rows: run.detail.tally.clone(), problems: run.detail.problems.clone() },
        );
        let mut rows = Tally::default();
        for (&outcome, &count) in &run.detail.tally.0 {
            rows.add(outcome, count.saturating_sub(told.rows.get(outcome)));
        }
        let mut problems = run.detail.problems.clone();
        for (code, count) in &told.problems {
            if let Some(now) = problems.get_mut(code) {
                *now = now.saturating_sub(*count);
            }
        }
        let is_first = told.end.is_none();
        News {
            feed: run.feed.clone(),
            end: Some(run.state).filter(|end| told.end != Some(*end)),
            fault: run.detail.fault.as_ref().filter(|_| is_first).map(|fault| fault.code.as_str()),
            rows,
            problems,
        }
    }

    pub fn count(self) {
        for (outcome, rows) in self.rows.0 {
            count_rows(&self.feed, outcome, rows);
        }
        for (code, problems) in self.problems.into_iter().filter(|(_, problems)| *problems > 0) {
            counter!(names::PROBLEMS, "feed" => self.feed.clone(), "code" => code).increment(problems);
        }
        if let Some(code) = self.fault {
            count_fault(&self.feed, code, 1);
        }
        if let Some(end) = self.end {
            count_runs(&self.feed, end, 1);
        }
    }
}

/// A station ended for a file.
pub fn station(feed: &str, station: &'static str, took: Duration) {
    histogram!(names::STATION_SECONDS, "feed" => feed.to_owned(), "station" => station).record(took.as_secs_f64());
}

/// The ledger committed.
pub fn commit(took: Duration) {
    metrics::gauge!(names::LEDGER_COMMIT).set(took.as_secs_f64());
}

/// How a request was answered, or why it was not.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Answer {
    Success,
    Redirect,
    TooMany,
    Denied,
    Server,
    Other,
    Unreachable,
    Lost,
    Abandoned,
}

impl Answer {
    const ALL: [(Answer, &str); 9] = [
        (Answer::Success, "2xx"),
        (Answer::Redirect, "3xx"),
        (Answer::TooMany, "429"),
        (Answer::Denied, "4xx"),
        (Answer::Server, "5xx"),
        (Answer::Other, "other"),
        (Answer::Unreachable, "unreachable"),
        (Answer::Lost, "lost"),
        (Answer::Abandoned, "abandoned"),
    ];
}

/// The counters of one platform account.
#[derive(Default)]
pub struct Requests(Option<Counters>);

struct Counters {
    answers: [Counter; Answer::ALL.len()],
    seconds: Histogram,
    repeats: Counter,
    slowed: Counter,
    allowance: Counter,
    tokens: [Counter; 3],
}

impl Requests {
    /// Of the platform with this name in the configuration.
    pub fn of(platform: &str) -> Requests {
        let labelled = |name: &'static str| counter!(name, "platform" => platform.to_owned());
        Requests(Some(Counters {
            answers: Answer::ALL.map(|(_, answer)| counter!(names::REQUESTS, "platform" => platform.to_owned(), "answer" => answer)),
            seconds: histogram!(names::REQUEST_SECONDS, "platform" => platform.to_owned()),
            repeats: labelled(names::REPEATS),
            slowed: labelled(names::SLOWED),
            allowance: labelled(names::ALLOWANCE_USED),
            tokens: ["taken", "denied", "unavailable"]
                .map(|result| counter!(names::TOKENS, "platform" => platform.to_owned(), "result" => result)),
        }))
    }

    /// A request leaves. It is counted when the answer to this is dropped: as abandoned, unless something was said of it.
    pub fn leaves(&self) -> Leaving<'_> {
        Leaving { requests: self, since: Instant::now(), answer: Answer::Abandoned }
    }

    pub fn repeated(&self) {
        self.each(|counters| counters.repeats.increment(1));
    }

    pub fn slowed(&self) {
        self.each(|counters| counters.slowed.increment(1));
    }

    /// The allowance was charged with a request that counts as so many.
    pub fn charged(&self, weight: u32) {
        self.each(|counters| counters.allowance.increment(u64::from(weight.max(1))));
    }

    /// A token was asked for.
    pub fn asked_for_token(&self, came: &Result<(), NoToken>) {
        let index = match came {
            Ok(()) => 0,
            Err(NoToken::Denied(_)) => 1,
            Err(NoToken::Unavailable(_)) => 2,
        };
        self.each(|counters| counters.tokens[index].increment(1));
    }

    fn each(&self, count: impl FnOnce(&Counters)) {
        if let Some(counters) = &self.0 {
            count(counters);
        }
    }
}

/// A request under way.
pub struct Leaving<'r> {
    requests: &'r Requests,
    since: Instant,
    answer: Answer,
}

impl Leaving<'_> {
    pub fn answered(&mut self, status: u16) {
        self.answer = match status {
            200..=299 => Answer::Success,
            300..=399 => Answer::Redirect,
            429 => Answer::TooMany,
            400..=499 => Answer::Denied,
            500..=599 => Answer::Server,
            _ => Answer::Other,
        };
    }

    /// No connection: nothing was sent.
    pub fn unreachable(&mut self) {
        self.answer = Answer::Unreachable;
    }

    /// No whole answer came.
    pub fn lost(&mut self) {
        self.answer = Answer::Lost;
    }
}

impl Drop for Leaving<'_> {
    fn drop(&mut self) {
        self.requests.each(|counters| {
            counters.answers[self.answer as usize].increment(1);
            counters.seconds.record(self.since.elapsed().as_secs_f64());
        });
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_answers_are_counted_under_their_own_names() {
        for (index, (answer, _)) in Answer::ALL.into_iter().enumerate() {
            assert_eq!(answer as usize, index);
        }
    }
}
