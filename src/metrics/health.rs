//! Alive: the loop that makes progress does so. Ready: what it needs is there. In words, for whoever reads the probe's log.

use std::time::Duration;

use chrono::{DateTime, Utc};

use super::Board;
use crate::config::meant::{Source, Wake};
use crate::ledger::SourceNote;

/// Why the process must be taken for dead, or none.
pub fn dead(board: &Board) -> Option<String> {
    board.heart.silent().map(|silent| format!("the main loop has made no progress for {}", shown(silent)))
}

/// Why no file can be counted on to be taken at the moment; empty when all is well.
pub fn unready(board: &Board, stale_after: Duration) -> Vec<String> {
    let mut faults: Vec<String> = dead(board).into_iter().collect();
    if board.heart.rests() {
        faults.push("it is being stopped".to_owned());
    }
    let Some(road) = board.road() else {
        faults.push("it is being started".to_owned());
        return faults;
    };
    faults.extend(road.broken().map(|broken| format!("storage failed: {broken}")));
    faults.extend(road.room.alert());
    match board.figures() {
        Err(fault) => faults.push(format!("the ledger cannot be read: {fault:#}")),
        Ok(None) => {}
        Ok(Some(figures)) => {
            for note in &figures.sources {
                faults.extend(road.config.sources.get(&note.source).and_then(|source| stale(source, note, stale_after, figures.at)));
            }
        }
    }
    faults
}

/// What is wrong with a source that was not listed when it should have been.
fn stale(source: &Source, note: &SourceNote, stale_after: Duration, now: DateTime<Utc>) -> Option<String> {
    let name = &source.name;
    let trouble = note.trouble.as_ref().map(|trouble| format!(": {trouble}")).unwrap_or_default();
    let Some(listed) = note.listed_at else { return Some(format!("source {name} was never listed{trouble}")) };
    let late = match &source.wake {
        // A clock that was set back makes it no older.
        Wake::Every(poll) => (now - listed).to_std().unwrap_or_default() > poll.saturating_add(stale_after),
        Wake::Schedule { cron, timezone } => {
            let cron: croner::Cron = cron.parse().ok()?;
            let before = (now - stale_after).with_timezone(timezone);
            cron.find_previous_occurrence(&before, true).is_ok_and(|due| listed < due)
        }
    };
    let ago = shown((now - listed).to_std().unwrap_or_default());
    late.then(|| format!("source {name} was last listed {ago} ago{trouble}"))
}

fn shown(time: Duration) -> String {
    humantime::format_duration(Duration::from_secs(time.as_secs())).to_string()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::meant::SourceKind;

    const LATE: Duration = Duration::from_mins(5);

    fn judged(wake: Wake, listed: Option<&str>, now: &str) -> Option<String> {
        let source = Source { name: "warehouse".into(), kind: SourceKind::Folder { path: "/".into() }, wake };
        let listed_at = listed.map(|at| at.parse().unwrap());
        let note = SourceNote { source: "warehouse".into(), listed_at, trouble: Some("no route".into()), trouble_since: None };
        stale(&source, &note, LATE, now.parse().unwrap())
    }

    #[test]
    fn a_source_may_be_as_old_as_its_poll_and_a_little_more() {
        let every = || Wake::Every(Duration::from_mins(1));
        assert_eq!(judged(every(), Some("2026-11-20T10:00:00Z"), "2026-11-20T10:05:59Z"), None);
        let words = judged(every(), Some("2026-11-20T10:00:00Z"), "2026-11-20T10:06:01Z").unwrap();
        assert_eq!(words, "source warehouse was last listed 6m 1s ago: no route");
        assert!(judged(every(), None, "2026-11-20T10:00:00Z").unwrap().contains("never"));
        assert_eq!(judged(every(), Some("2026-11-20T10:00:00Z"), "2026-11-19T10:00:00Z"), None, "the clock was set back");
    }

    #[test]
    fn a_scheduled_source_must_have_been_listed_at_its_last_time() {
        let nightly = || Wake::Schedule { cron: "15 2 * * *".into(), timezone: crate::zone::Zone::Named(chrono_tz::Europe::Paris) };
        let listed = Some("2026-11-20T01:15:02Z");
        assert_eq!(judged(nightly(), listed, "2026-11-21T01:14:00Z"), None, "a day old, and not yet due");
        assert_eq!(judged(nightly(), listed, "2026-11-21T01:19:00Z"), None, "due, and not yet late");
        assert!(judged(nightly(), listed, "2026-11-21T01:21:00Z").is_some());
    }
}
