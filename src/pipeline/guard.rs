//! Guard: the totals of a checked file against the feed's limits and history. Nothing was sent yet.

use crate::config::meant::{Feed, Guard};
use crate::ledger::run::{Moves, Verdict};
use crate::ledger::{Ledger, Run, RunFilter, RunKind, State};
use crate::outcome::Outcome;

/// What the guards look at.
pub struct Totals<'a> {
    pub records: u64,
    pub rejected: u64,
    pub ragged: u64,
    pub moves: &'a Moves,
    pub kind: RunKind,
}

/// Clean files needed before the row count is compared, and how many are looked back at.
const HISTORY_MIN: usize = 3;
const HISTORY_MAX: usize = 10;

/// Guards that judge how a file was delivered, whatever it would change.
pub fn is_of_delivery(guard: &str) -> bool {
    matches!(guard, "rows" | "ragged" | "set" | "beside" | "late-part" | "too-old")
}

/// All verdicts, those that hold the file first.
pub fn judge(feed: &Feed, totals: &Totals<'_>, ledger: &dyn Ledger) -> anyhow::Result<Vec<Verdict>> {
    let history = clean_history(feed, ledger)?;
    let mut verdicts = shares(&feed.guard, totals);
    if totals.kind == RunKind::File {
        verdicts.extend(row_count(&feed.guard, totals.records, &history));
        if feed.guard.first_file {
            verdicts.extend(first_file(feed, ledger)?);
        }
    }
    verdicts.sort_by_key(|verdict| !verdict.held);
    Ok(verdicts)
}

fn shares(guard: &Guard, totals: &Totals<'_>) -> Vec<Verdict> {
    let moves = totals.moves;
    // A correction is the rest of a file already judged by its size.
    let checks = [
        ("rejects", guard.rejects.filter(|_| totals.kind == RunKind::File), totals.rejected, "records rejected"),
        ("ragged", guard.ragged.filter(|_| totals.kind == RunKind::File), totals.ragged, "records with too many or too few cells"),
        ("zeroed", guard.zeroed, moves.zeroed, "balances would go to nothing"),
        ("cleared", guard.cleared, moves.cleared + moves.ended, "passes would have a field cleared, expire or be taken away"),
        ("created", guard.created, moves.perhaps_created, "passes may be created"),
    ];
    checks
        .into_iter()
        .filter_map(|(name, limit, count, what)| {
            let limit = limit?;
            let share = if totals.records == 0 { 0.0 } else { count as f64 / totals.records as f64 };
            (count > 0).then(|| Verdict {
                guard: name.to_owned(),
                held: share > limit && count >= guard.floor,
                evidence: format!(
                    "{count} of {} {what} ({}; limit {}, from {} rows on)",
                    totals.records,
                    percent(share),
                    percent(limit),
                    guard.floor
                ),
            })
        })
        .collect()
}

fn row_count(guard: &Guard, records: u64, history: &[u64]) -> Option<Verdict> {
    let (least, most) = guard.rows?;
    if history.len() < HISTORY_MIN {
        return None;
    }
    let median = median(history.iter().map(|&records| records as f64))?;
    let share = if median == 0.0 { f64::INFINITY } else { records as f64 / median };
    let outside = if median == 0.0 { records > 0 } else { share < least || share > most };
    let difference = (records as f64 - median).abs();
    Some(Verdict {
        guard: "rows".into(),
        held: outside && difference >= guard.floor as f64,
        evidence: format!(
            "{records} records against a median of {median} in the last {} clean files (allowed {} to {}, from a difference of {} on)",
            history.len(),
            percent(least),
            percent(most),
            guard.floor
        ),
    })
}

fn first_file(feed: &Feed, ledger: &dyn Ledger) -> anyhow::Result<Option<Verdict>> {
    let past = ledger.runs(&RunFilter { feed: Some(feed.name.clone()), states: vec![State::Done, State::DoneInDoubt], limit: Some(50) })?;
    // A file that had nothing to send, a correction and a retry vouch for nothing.
    let vouches = |run: &&Run| {
        let tally = &run.detail.tally;
        let used = tally.get(Outcome::Applied) + tally.get(Outcome::Created) + tally.get(Outcome::Unchanged) > 0;
        run.kind == RunKind::File && !run.detail.nothing_new && (used || run.detail.approval.is_some())
    };
    Ok(match past.iter().find(vouches) {
        None => Some(Verdict {
            guard: "first-file".into(),
            held: true,
            evidence: "no file of this feed was applied before: look at what would be sent, then approve".into(),
        }),
        Some(run) if run.detail.fingerprint != feed.fingerprint => Some(Verdict {
            guard: "changed-feed".into(),
            held: true,
            evidence: format!("the feed's schema, mapping or platform changed since run {}", run.id),
        }),
        Some(_) => None,
    })
}

/// A file that is older than the keys that are kept: what it adds may have been added before, and nothing would tell.
pub fn older_than_keys(kept: std::time::Duration) -> Verdict {
    Verdict {
        guard: "older-than-keys".into(),
        held: true,
        evidence: format!(
            "the file's time is more than {} ago, and keys of adds are kept no longer (key_retention): what it adds may have been added \
             before; approve it only when you know that it was not",
            humantime::format_duration(kept)
        ),
    }
}

/// Record counts of the last files that ended without needing a person; corrections, held and repeated files are not history.
fn clean_history(feed: &Feed, ledger: &dyn Ledger) -> anyhow::Result<Vec<u64>> {
    let runs = ledger.runs(&RunFilter { feed: Some(feed.name.clone()), states: vec![State::Done], limit: Some(100) })?;
    let clean = |run: &Run| {
        run.kind == RunKind::File && !run.detail.nothing_new && run.detail.approval.is_none() && run.detail.tally.needing_person() == 0
    };
    Ok(runs.iter().filter(|run| clean(run)).take(HISTORY_MAX).map(|run| run.detail.tally.total()).collect())
}

/// The value in the middle, or between the two that are; none where there are no values.
pub fn median(values: impl Iterator<Item = f64>) -> Option<f64> {
    let mut sorted: Vec<f64> = values.collect();
    sorted.sort_by(f64::total_cmp);
    let upper = *sorted.get(sorted.len() / 2)?;
    let lower = sorted[(sorted.len() - 1) / 2];
    Some(f64::midpoint(lower, upper))
}

/// A share as people write it.
pub fn percent(share: f64) -> String {
    let percent = share * 100.0;
    if (percent - percent.round()).abs() < 0.05 { format!("{percent:.0}%") } else { format!("{percent:.1}%") }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn guard() -> Guard {
        Guard {
            rejects: Some(0.05),
            rows: Some((0.5, 2.0)),
            zeroed: Some(0.2),
            cleared: None,
            created: None,
            unresolved: None,
            ragged: None,
            floor: 50,
            first_file: true,
        }
    }

    fn held(records: u64, rejected: u64, zeroed: u64) -> Vec<String> {
        let moves = Moves { zeroed, ..Moves::default() };
        let totals = Totals { records, rejected, ragged: 0, moves: &moves, kind: RunKind::File };
        shares(&guard(), &totals).into_iter().filter(|verdict| verdict.held).map(|verdict| verdict.guard).collect()
    }

    #[test]
    fn a_share_counts_from_the_floor_on() {
        assert_eq!(held(1000, 51, 0), ["rejects"]);
        assert_eq!(held(1000, 50, 0), [""; 0], "five percent is allowed");
        assert_eq!(held(100, 49, 0), [""; 0], "below the floor");
        assert_eq!(held(1000, 0, 1000), ["zeroed"]);
    }

    #[test]
    fn the_row_count_is_compared_with_the_median_once_three_files_are_known() {
        let verdict = |records, history: &[u64]| row_count(&guard(), records, history).map(|verdict| verdict.held);
        assert_eq!(verdict(10, &[1000, 1000]), None);
        assert_eq!(verdict(499, &[1000, 900, 1100]), Some(true));
        assert_eq!(verdict(2001, &[1000, 1000, 1000]), Some(true));
        assert_eq!(verdict(1500, &[1000, 1000, 1000]), Some(false));
        assert_eq!(verdict(2, &[10, 10, 10]), Some(false), "below the floor");
    }
}
