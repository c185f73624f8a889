//! The first thing a person reads: how it went, in one sentence.

use super::super::Report;
use super::super::json::{kept_back, needing_person};
use crate::ledger::{Run, State};
use crate::outcome::Outcome;
use crate::page::chart::TO_SEND;
use crate::page::words::{self, Tone, count, counted};

pub struct Headline {
    pub tone: Tone,
    /// Where the run stands, on a label.
    pub state: &'static str,
    pub state_tone: Tone,
    pub words: String,
    pub lead: String,
}

impl Headline {
    pub fn of(run: &Run, report: &Report) -> Headline {
        let (tone, words, lead) = told(run, report);
        let left = run.state == State::Done && needing_person(run) > 0;
        let state = if left { "Done, with rows left" } else { words::state_words(run.state) };
        Headline { tone, state, state_tone: if left { Tone::Warn } else { words::state_tone(run.state) }, words, lead }
    }
}

fn told(run: &Run, report: &Report) -> (Tone, String, String) {
    let tally = &run.detail.tally;
    let all = report.records;
    let reached = match tally.sent() {
        _ if run.state == State::Held && !run.detail.may_have_sent() => "Nothing was sent yet.".to_owned(),
        0 if !run.detail.may_have_sent() => "Nothing was sent.".to_owned(),
        0 => "No row reached its pass.".to_owned(),
        sent => format!("{} reached {} before.", counted(sent, "row"), if sent == 1 { "its pass" } else { "their passes" }),
    };
    let needing = needing_person(run);
    let in_doubt = tally.get(Outcome::InDoubt);
    if report.fault.is_some() {
        return (Tone::Bad, "This file could not be used".to_owned(), reached);
    }
    match run.state {
        State::Held => {
            let open = report.rows.get(TO_SEND).copied().unwrap_or(0);
            let lead = format!("{reached} {} of {} would be sent once somebody approves it.", count(open), counted(all, "row"));
            (Tone::Warn, "This file waits for your decision".to_owned(), lead)
        }
        State::Discarded => (Tone::Plain, "This file was discarded".to_owned(), reached),
        State::Superseded => (Tone::Plain, "A newer file took the place of this one".to_owned(), reached),
        State::Stopped => (Tone::Warn, "This file was stopped before its end".to_owned(), reached),
        _ if run.detail.nothing_new => (
            Tone::Good,
            "Nothing new in this file".to_owned(),
            "It equals the last file of its feed, byte for byte: nothing had to be sent.".to_owned(),
        ),
        _ if in_doubt > 0 => {
            let words = format!("{} of {} {} in doubt", count(in_doubt), counted(all, "row"), are(in_doubt));
            (
                Tone::Doubt,
                words,
                "The platform may or may not have applied them. Somebody has to look at their passes and decide.".to_owned(),
            )
        }
        _ if needing > 0 => {
            let words = format!("{} of {} {} a person", count(needing), counted(all, "row"), if needing == 1 { "needs" } else { "need" });
            (Tone::Warn, words, went_well(run))
        }
        _ if all == 0 => (Tone::Good, "This file has no rows".to_owned(), "There was nothing to send.".to_owned()),
        _ if kept_back(run) > 0 => {
            let words = format!("Checked: {} kept back on purpose", counted(kept_back(run), "row"));
            (Tone::Plain, words, went_well(run))
        }
        _ => (Tone::Good, format!("All {} went through", counted(all, "row")), went_well(run)),
    }
}

const fn are(number: u64) -> &'static str {
    if number == 1 { "is" } else { "are" }
}

/// What became of those that ask for nobody.
fn went_well(run: &Run) -> String {
    let tally = &run.detail.tally;
    let parts = [
        (tally.get(Outcome::Applied), "changed on their passes"),
        (tally.get(Outcome::Created), "new passes"),
        (tally.get(Outcome::Unchanged), "unchanged already"),
        (tally.get(Outcome::Superseded), "replaced by a later record or file"),
        (tally.get(Outcome::Duplicate), "applied earlier"),
        (tally.get(Outcome::Stale), "older than what their passes have"),
    ];
    let told: Vec<String> =
        parts.into_iter().filter(|(number, _)| *number > 0).map(|(number, what)| format!("{} {what}", count(number))).collect();
    if told.is_empty() { "No row was sent.".to_owned() } else { format!("{}.", told.join(", ")) }
}
