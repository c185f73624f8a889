//! The digest: what came, what did not, and what waits for whom.

use chrono::{DateTime, Utc};

use super::message::{Event, Message, Own, Topic};
use super::runs;
use super::stands::{self, Stands, What};
use crate::config::meant::Config;
use crate::config::meant::alert::{Digest, Tell, Way};
use crate::ledger::{Ledger, Run, RunFilter, RunKind, State};
use crate::page::words::counted;
use crate::pipeline::report::json::needing_person;
use crate::zone::Zone;

/// Runs looked back at.
const LOOK_BACK: u64 = 1000;
/// Lines under one heading.
const LINES: usize = 25;

/// The last time that a digest was to be told, by the wall clock of its zone.
pub fn due(digest: &Digest, now: DateTime<Utc>) -> Option<DateTime<Utc>> {
    let cron: croner::Cron = digest.at.parse().ok()?;
    Some(cron.find_previous_occurrence(&now.with_timezone(&digest.timezone), true).ok()?.to_utc())
}

/// Tells of runs that ended after `from` and up to `to`, and of what waits now.
pub fn message(
    config: &Config,
    ledger: &dyn Ledger,
    way: &Way,
    from: DateTime<Utc>,
    to: DateTime<Utc>,
    now: DateTime<Utc>,
) -> anyhow::Result<Message> {
    let zone = way.digest.as_ref().map_or(Zone::UTC, |digest| digest.timezone);
    let recent = ledger.runs(&RunFilter { limit: Some(LOOK_BACK), ..RunFilter::default() })?;
    let came = |run: &&Run| run.state.is_over() && run.detail.ended_at.is_some_and(|ended| ended > from && ended <= to);
    let came: Vec<&Run> = recent.iter().filter(came).collect();
    let mut stand: Vec<Stands> = stands::all(config, ledger, None)?;
    stand.extend(stands::missing(config, ledger, now)?);
    stand.extend(stands::stuck(config, ledger)?);
    stand.extend(stands::pushes(config));
    let words = |wanted: &dyn Fn(Tell) -> bool| -> Vec<String> {
        let lines = stand.iter().filter(|one| wanted(one.tell)).filter_map(|one| match &one.what {
            What::Held(_) | What::InDoubt(..) => None,
            What::Words { title, words, .. } => Some(words.first().map_or_else(|| title.clone(), |first| format!("{title}: {first}"))),
        });
        lines.collect()
    };
    let missing = words(&|tell| tell == Tell::Missing);
    let servers = words(&|tell| matches!(tell, Tell::Source | Tell::Platform | Tell::Stuck | Tell::Disk | Tell::Push));
    let waiting = for_a_person(config, ledger, way, &recent)?;
    let files = came.iter().filter(|run| run.kind == RunKind::File).count();
    let title = format!(
        "digest: {} came, {} did not, {} for a person",
        counted(files as u64, "file"),
        missing.len(),
        if waiting.len() == 1 { "1 waits".to_owned() } else { format!("{} wait", waiting.len()) }
    );
    let mut message = Message::new(Topic::Own(Own::Digest), Event::Report, &title);
    let shown = |at: DateTime<Utc>| at.with_timezone(&zone).format("%Y-%m-%d %H:%M %Z");
    message.say("", [format!("From {} to {}.", shown(from), shown(to))]);
    message.say("What came", some(came.iter().map(|run| runs::line(run)).collect()));
    message.say("What did not come", some(missing));
    message.say("What waits for a person", some(waiting));
    message.say("What waits for a server, or for room", some(servers));
    message.page.clone_from(&way.page);
    message.commands = vec!["passferry status".into()];
    message.counts.insert("files".into(), files as u64);
    Ok(message)
}

fn for_a_person(config: &Config, ledger: &dyn Ledger, way: &Way, recent: &[Run]) -> anyhow::Result<Vec<String>> {
    let mut lines = Vec::new();
    let line = |run: &Run, what: String, how: String| {
        let page = runs::page(way, &run.id).map(|page| format!(" ({page})")).unwrap_or_default();
        format!("{} {}: {what}: {how}{page}", run.feed, runs::name(run))
    };
    for run in stands::held(ledger)? {
        lines.push(line(&run, format!("held by {}", runs::guards(&run)), format!("passferry approve {id}, or discard {id}", id = run.id)));
    }
    for (run, rows) in stands::in_doubt(ledger)? {
        lines.push(line(&run, format!("{} in doubt", runs::rows_of(rows)), format!("passferry settle {}:LINE …", run.id)));
    }
    for (feed, by, at) in ledger.paused()?.into_iter().filter(|(feed, ..)| config.feeds.contains_key(feed)) {
        lines.push(format!("feed {feed} was paused by {by} on {}: passferry resume {feed}", at.format("%Y-%m-%d")));
    }
    for run in recent.iter().filter(|run| matches!(run.state, State::Done | State::Stopped) && needing_person(run) > 0) {
        let what = format!("{} need a person", runs::rows_of(needing_person(run)));
        lines.push(line(run, what, format!("passferry show {} --rows, and its errors report", run.id)));
    }
    Ok(lines)
}

fn some(mut lines: Vec<String>) -> Vec<String> {
    let more = lines.len().saturating_sub(LINES);
    if lines.is_empty() {
        return vec!["nothing".into()];
    }
    if more > 0 {
        lines.truncate(LINES);
        lines.push(format!("and {more} more"));
    }
    lines
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_digest_keeps_its_hour_over_daylight_saving_and_comes_once() {
        let daily = Digest { at: "30 2 * * *".into(), timezone: Zone::Named(chrono_tz::Europe::Paris) };
        let due = |now: &str| due(&daily, now.parse().unwrap()).unwrap().to_rfc3339();
        assert_eq!(due("2026-07-02T12:00:00Z"), "2026-07-02T00:30:00+00:00");
        assert_eq!(due("2026-12-02T12:00:00Z"), "2026-12-02T01:30:00+00:00");
        // 02:30 does not exist on the day on which clocks go forward, and is there twice on the day on which they go back.
        let spring: std::collections::BTreeSet<String> = (0..24).map(|hour| due(&format!("2026-03-29T{hour:02}:45:00Z"))).collect();
        assert_eq!(spring.len(), 2, "that of the day before and one of the day: {spring:?}");
        let autumn: std::collections::BTreeSet<String> = (0..24).map(|hour| due(&format!("2026-10-25T{hour:02}:45:00Z"))).collect();
        assert!(autumn.len() <= 2, "{autumn:?}");
    }

    #[test]
    fn long_lists_are_cut_and_counted() {
        let lines = some((0..30).map(|n| n.to_string()).collect());
        assert_eq!((lines.len(), &*lines[25]), (26, "and 5 more"));
        assert_eq!(some(Vec::new()), ["nothing"]);
    }
}
