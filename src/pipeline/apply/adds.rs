//! Adds of a group of rows: when their time is, and writing them down before they leave.

use std::collections::{HashMap, HashSet};
use std::time::Instant;

use chrono::{DateTime, Utc};

use super::way::OnItsWay;
use super::{Todo, Work};
use crate::ledger::{Intended, Intent, KeyState};
use crate::outcome::{Code, Outcome};
use crate::pipeline::diff::waits_for;
use crate::platform::Finding;
use crate::row::{AddKind, Addition, PassKey};

/// Rows with adds that are written down together. So many may be in doubt after a crash, where the platform helps nobody.
pub(super) const GROUP: usize = 32;

/// Where a row stands.
#[derive(Clone, Copy, Default)]
pub(super) struct Line {
    pub here: u64,
    /// In the file that this one corrects.
    pub corrected: Option<u64>,
}

/// Which notifications may be sent now.
pub(super) enum Notifications {
    All,
    /// Those of these passes.
    Seeds(HashSet<PassKey>),
    None,
}

impl Notifications {
    pub(super) fn allow(&self, pass: Option<PassKey>) -> bool {
        match self {
            Notifications::All => true,
            Notifications::Seeds(seeds) => pass.is_some_and(|pass| seeds.contains(&pass)),
            Notifications::None => false,
        }
    }
}

/// Splits rows so that those written down together are few and, where proofs need the state before, name each pass once.
pub(super) fn split(todos: Vec<Todo>, alone: bool) -> Vec<Vec<Todo>> {
    let mut groups: Vec<Vec<Todo>> = vec![Vec::new()];
    let mut named = HashSet::new();
    for todo in todos {
        let full = groups.last().is_some_and(|group| group.len() >= GROUP);
        let again = alone && !named.insert(todo.pass);
        if full || again {
            named.clear();
            named.insert(todo.pass);
            groups.push(Vec::new());
        }
        groups.last_mut().expect("never empty").push(todo);
    }
    groups
}

/// Reads the passes' state before, for proofs that need it. Rows whose pass cannot be read end here.
pub(super) fn read_before(work: &Work<'_>, todos: &mut [Todo]) {
    let targets = todos.iter().filter_map(|todo| todo.adds.first()).map(|add| add.target.clone()).collect();
    let mut findings = work.dispatch.find(targets).into_iter();
    for todo in todos.iter_mut().filter(|todo| !todo.adds.is_empty()) {
        let ended = match findings.next() {
            Some(Finding::Found(found)) => {
                for add in &mut todo.adds {
                    add.before = Some(found.state.clone());
                }
                continue;
            }
            Some(Finding::Absent) => (Outcome::Unresolved, Code::PassNotFound, "no pass has this identifier".to_owned()),
            Some(Finding::Several(passes)) => {
                (Outcome::Unresolved, Code::PassAmbiguous, format!("{} passes carry this identifier", passes.len()))
            }
            Some(Finding::Failed { code, message }) => (Outcome::Refused, code, message),
            Some(Finding::NotAttempted) | None => (Outcome::NotAttempted, Code::RunStopped, String::new()),
        };
        todo.unread = Some(ended);
    }
}

/// Writes the adds of a group down and sorts out which of them are to be sent. What is known of the others is noted at their row.
/// True when an add waits for another row of this very run.
pub(super) fn intend(
    work: &Work<'_>,
    rows: &mut HashMap<u64, OnItsWay>,
    adds: Vec<Addition>,
    lines: &HashMap<u64, Line>,
) -> anyhow::Result<(Vec<Addition>, bool)> {
    let now = Utc::now();
    let mut again = false;
    let mut sendable = Vec::with_capacity(adds.len());
    let (late, adds): (Vec<Addition>, Vec<Addition>) =
        adds.into_iter().partition(|add| add.key.kind == AddKind::Notify && is_late(work, now));
    for add in late {
        if let Some(way) = rows.get_mut(&add.row) {
            way.note(add.key, Outcome::Stale, Some(Code::NotificationExpired), "it waited longer than the feed allows");
        }
    }
    let intents: Vec<Intent> = adds.iter().map(|add| intent(work, add, rows, lines)).collect();
    if intents.is_empty() {
        return Ok((sendable, false));
    }
    for (mut add, answer) in adds.into_iter().zip(work.ledger.intend(work.fence, &work.feed.platform.name, work.run, &intents)?) {
        let Some(way) = rows.get_mut(&add.row) else { continue };
        let line = lines.get(&add.row).copied().unwrap_or_default().here;
        match answer {
            Intended::Send => sendable.push(add),
            Intended::SendAgain => {
                (add.perhaps_sent, add.decided) = (true, true);
                add.before = None;
                sendable.push(add);
            }
            Intended::Settled(note) => {
                let (by, reason) = note.settled.map(|settled| (settled.by, settled.reason)).unwrap_or_default();
                let words = format!("run {} line {}: {by} decided that it shall not be sent: {reason}", note.run, note.line);
                way.note(add.key, Outcome::Refused, Some(Code::SettledNotApplied), &words);
            }
            Intended::PerhapsSent { before, at } => {
                add.perhaps_sent = true;
                // A moment that is still to come says that the clock was set back, and not how old the key is.
                add.since = (now - at).to_std().ok().and_then(|age| Instant::now().checked_sub(age));
                add.before = before.and_then(|text| serde_json::from_str(&text).ok());
                sendable.push(add);
            }
            Intended::Applied(note) if note.run == work.run && note.line == line => {
                way.note(add.key, Outcome::Applied, None, &note.evidence);
            }
            Intended::Applied(note) => {
                way.note(add.key, Outcome::Duplicate, None, &format!("applied by run {} line {}", note.run, note.line));
            }
            Intended::Elsewhere(note) => {
                again |= note.run == work.run;
                way.unfinished = true;
            }
            Intended::InDoubt(note) if note.run == work.run && note.line == line => {
                way.note(add.key, Outcome::InDoubt, Some(Code::AddInDoubt), &note.evidence);
            }
            Intended::InDoubt(note) => way.note(add.key, Outcome::NotAttempted, Some(Code::AddInDoubt), &waits_for(&note)),
            Intended::After(note) => way.note(add.key, Outcome::NotAttempted, Some(Code::PassInDoubt), &waits_for(&note)),
            Intended::Turned(note) => {
                let (kind, done) = (note.key.kind, if note.state == KeyState::Applied { "is applied" } else { "may be applied" });
                let words = format!(
                    "this row's {kind} (run {} line {}) {done}: it cannot become a {}; deliver what is to be done besides in a file of its own",
                    note.run, note.line, add.key.kind
                );
                way.note(add.key, Outcome::Refused, Some(Code::KeyConflict), &words);
            }
            Intended::Conflict(note) => {
                let words = format!("run {} line {} has the same transaction with another amount, pass or text", note.run, note.line);
                way.note(add.key, Outcome::Refused, Some(Code::KeyConflict), &words);
            }
        }
    }
    Ok((sendable, again))
}

fn is_late(work: &Work<'_>, now: DateTime<Utc>) -> bool {
    let expires = work.feed.notify.as_ref().and_then(|notify| notify.expires);
    expires.and_then(|span| chrono::TimeDelta::from_std(span).ok()).is_some_and(|span| now - work.seen_at > span)
}

fn intent(work: &Work<'_>, add: &Addition, rows: &HashMap<u64, OnItsWay>, lines: &HashMap<u64, Line>) -> Intent {
    let line = lines.get(&add.row).copied().unwrap_or_default();
    let mut earlier: Vec<(String, Option<u64>)> = work.retried.iter().map(|run| (run.clone(), Some(line.here))).collect();
    earlier.extend(work.rules.correction.map(|correction| (correction.parent.clone(), line.corrected)));
    let pass = rows.get(&add.row).and_then(|way| way.pass).unwrap_or_else(|| add.target.key());
    // What a person needs to find the add at the platform, as far as it is not personal.
    let fields = work.mapping.fields();
    let shown = add.amounts.iter().filter(|(name, _)| fields.iter().any(|field| field.name == *name && !field.personal));
    let amount = shown.map(|(name, amount)| format!("{name} {}", amount.normalize())).collect::<Vec<_>>().join(", ");
    Intent { key: add.key, pass, line: line.here, earlier, amount, print: add.print, before: add.before.as_ref().map(ToString::to_string) }
}
