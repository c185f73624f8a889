//! Resolve: finds the pass of each row that is left, in bulk where the platform can, a group of rows at a time.

use super::index::Index;
use crate::config::meant::Several;
use crate::dispatch::ForRun;
use crate::outcome::{Code, Outcome, Problem};
use crate::platform::{Account, Finding};
use crate::row::{Change, Found, Target};

/// A change with its pass, or how its row ended without one.
pub enum Resolved {
    /// One change a pass: several only where the feed says `several = "all"`.
    Ready(Vec<Change>),
    Ended {
        row: u64,
        outcome: Outcome,
        problem: Problem,
    },
    /// The run is being stopped; the row stays to be done.
    NotAttempted {
        row: u64,
    },
}

/// Resolves a group. `column` is where the identifier stands, for the report. What the index of the run does not know is asked for.
pub fn resolve(
    changes: Vec<Change>,
    account: &Account,
    dispatch: &ForRun<'_>,
    index: Option<&Index>,
    several: Several,
    column: Option<usize>,
) -> anyhow::Result<Vec<Resolved>> {
    let (to_find, targets): (Vec<usize>, Vec<Target>) = changes
        .iter()
        .enumerate()
        .filter(|(_, change)| several == Several::All || account.needs_find(change))
        .map(|(index, change)| (index, change.target.clone()))
        .unzip();
    let mut findings: Vec<Option<Finding>> = changes.iter().map(|_| None).collect();
    let known = index.map(|index| index.find(&targets)).transpose()?.unwrap_or_else(|| vec![None; targets.len()]);
    let (mut unknown, mut to_ask) = (Vec::new(), Vec::new());
    for ((place, target), found) in to_find.into_iter().zip(targets).zip(known) {
        if found.is_none() {
            unknown.push(place);
            to_ask.push(target);
        }
        findings[place] = found.map(Finding::Found);
    }
    if !to_ask.is_empty() {
        for (place, finding) in unknown.into_iter().zip(dispatch.find(to_ask)) {
            findings[place] = Some(finding);
        }
    }
    let resolved = changes
        .into_iter()
        .zip(findings)
        .map(|(change, finding)| match finding {
            None => Resolved::Ready(vec![change]),
            Some(finding) => judge(change, finding, dispatch, several, column),
        })
        .collect();
    Ok(resolved)
}

fn judge(change: Change, finding: Finding, dispatch: &ForRun<'_>, several: Several, column: Option<usize>) -> Resolved {
    let row = change.row;
    let ended = |outcome, code, message: String| Resolved::Ended { row, outcome, problem: Problem::new(code, column, message) };
    match finding {
        Finding::Found(found) => Resolved::Ready(vec![with_pass(change, found)]),
        Finding::Absent if change.verb == crate::row::Verb::Upsert => Resolved::Ready(vec![change]),
        // Taking away what is not there has come true already. An identifier of the platform's own may be of a pass that is there and is not
        // this account's to take away.
        Finding::Absent if change.verb == crate::row::Verb::Void && matches!(change.target, Target::External(_)) => {
            Resolved::Ready(vec![change])
        }
        Finding::Absent => ended(Outcome::Unresolved, Code::PassNotFound, "no pass has this identifier".into()),
        Finding::Several(passes) if several == Several::All => {
            let count = passes.len();
            let targets: Vec<Target> = passes.into_iter().map(Target::Pass).collect();
            let mut ready = Vec::with_capacity(count);
            for finding in dispatch.find(targets) {
                match finding {
                    Finding::Found(found) => ready.push(with_pass(change.clone(), found)),
                    Finding::Absent => {}
                    other => return judge(change, other, dispatch, Several::Refuse, column),
                }
            }
            if ready.is_empty() {
                ended(Outcome::Unresolved, Code::PassNotFound, "its passes were deleted meanwhile".into())
            } else {
                Resolved::Ready(ready)
            }
        }
        Finding::Several(passes) => {
            ended(Outcome::Unresolved, Code::PassAmbiguous, format!("{} passes carry this identifier: {}", passes.len(), passes.join(", ")))
        }
        Finding::Failed { code, message } => ended(Outcome::Refused, code, message),
        Finding::NotAttempted => Resolved::NotAttempted { row },
    }
}

fn with_pass(mut change: Change, found: Found) -> Change {
    change.found = Some(found);
    change
}
