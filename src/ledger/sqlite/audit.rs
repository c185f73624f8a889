//! What in the ledger does not fit together.

use std::collections::{BTreeMap, HashSet};

use chrono::{DateTime, Utc};
use rusqlite::{Connection, params};

use super::super::keeping::{Audit, Finding};
use super::super::key::KeyState;
use super::super::{Result, Run, RunKind, State};
use super::{runs, storage};
use crate::outcome::{Outcome, Tally};
use crate::row::{AddKind, Verb};

const RESTORE: &str = "stop passferry and restore the ledger from a backup (README, \"Backup and restore\")";
const REPORT_IT: &str = "this is a defect in passferry: keep a backup of the ledger and report it";

/// Looks at everything through one transaction.
pub fn audit(connection: &Connection, keys_since: DateTime<Utc>) -> Result<Audit> {
    let mut findings = file(connection)?;
    if !findings.is_empty() {
        // What a damaged file says of itself proves nothing.
        return Ok(Audit { findings, ..Audit::default() });
    }
    let (mut readable, mut ids) = (Vec::new(), Vec::new());
    for (id, run) in runs::each(connection)? {
        match run {
            Ok(run) => readable.push(run),
            Err(error) => findings.push(finding("run-unreadable", Some(&id), format!("run {id}"), error.to_string(), RESTORE)),
        }
        ids.push(id);
    }
    let rows = rows(connection, &mut findings)?;
    let known: HashSet<&str> = ids.iter().map(String::as_str).collect();
    let none = Rows::default();
    for run in &readable {
        of_run(run, rows.get(run.id.as_str()).unwrap_or(&none), &known, &mut findings);
    }
    twice(&readable, &mut findings);
    baseline(connection, &mut findings)?;
    keys(connection, &readable, keys_since, &mut findings)?;
    Ok(Audit { runs: readable, ids, findings })
}

fn finding(name: &'static str, run: Option<&str>, place: String, what: impl Into<String>, cure: &str) -> Finding {
    Finding { finding: name, run: run.map(str::to_owned), place, what: what.into(), cure: cure.to_owned() }
}

fn file(connection: &Connection) -> Result<Vec<Finding>> {
    let mut findings = Vec::new();
    let mut check = connection.prepare("PRAGMA integrity_check(20)").map_err(storage)?;
    let lines = check.query_map([], |row| row.get::<_, String>(0)).map_err(storage)?;
    for line in lines.collect::<rusqlite::Result<Vec<_>>>().map_err(storage)? {
        if line != "ok" {
            findings.push(finding("ledger-damaged", None, "ledger".into(), line, RESTORE));
        }
    }
    let mut broken: BTreeMap<(String, String), u64> = BTreeMap::new();
    let mut check = connection.prepare("PRAGMA foreign_key_check").map_err(storage)?;
    let lines = check.query_map([], |row| Ok((row.get(0)?, row.get(2)?))).map_err(storage)?;
    for pair in lines.collect::<rusqlite::Result<Vec<_>>>().map_err(storage)? {
        *broken.entry(pair).or_default() += 1;
    }
    for ((table, parent), count) in broken {
        let what = format!("{count} entries belong to a {parent} that is not there");
        findings.push(finding("ledger-orphans", None, format!("table {table}"), what, RESTORE));
    }
    let leads: i64 = connection.query_row("SELECT count(*) FROM lead", [], |row| row.get(0)).map_err(storage)?;
    if leads != 1 {
        findings.push(finding("ledger-lead", None, "table lead".into(), format!("{leads} entries instead of one"), RESTORE));
    }
    Ok(findings)
}

/// What the rows of a run come to.
#[derive(Default)]
struct Rows {
    count: u64,
    /// Different records among them.
    records: u64,
    last_record: u64,
    pending: u64,
    tally: Tally,
    unreadable: u64,
}

fn rows(connection: &Connection, findings: &mut Vec<Finding>) -> Result<BTreeMap<String, Rows>> {
    let mut all: BTreeMap<String, Rows> = BTreeMap::new();
    let mut counts = connection
        .prepare(
            "SELECT run.id, count(*), count(DISTINCT record), max(record), sum(outcome IS NULL),
             sum(row.detail <> '' AND NOT json_valid(row.detail)) FROM row JOIN run ON run.seq = row.run GROUP BY row.run",
        )
        .map_err(storage)?;
    let mut found = counts.query([]).map_err(storage)?;
    while let Some(row) = found.next().map_err(storage)? {
        let number = |column| row.get::<_, i64>(column).map(|number| number as u64).map_err(storage);
        let rows = Rows {
            count: number(1)?,
            records: number(2)?,
            last_record: number(3)?,
            pending: number(4)?,
            unreadable: number(5)?,
            tally: Tally::default(),
        };
        all.insert(row.get(0).map_err(storage)?, rows);
    }
    let mut outcomes = connection
        .prepare("SELECT run.id, outcome, verb, count(*) FROM row JOIN run ON run.seq = row.run GROUP BY row.run, outcome, verb")
        .map_err(storage)?;
    let mut found = outcomes.query([]).map_err(storage)?;
    while let Some(row) = found.next().map_err(storage)? {
        let id: String = row.get(0).map_err(storage)?;
        let (outcome, verb): (Option<String>, String) = (row.get(1).map_err(storage)?, row.get(2).map_err(storage)?);
        let count = row.get::<_, i64>(3).map_err(storage)? as u64;
        let mut unknown = |what: &str, word: &str| {
            let what = format!("{count} rows have the {what} {word:?}, which this program does not know");
            findings.push(finding("row-unreadable", Some(&id), format!("run {id}"), what, RESTORE));
        };
        if Verb::parse(&verb).is_none() {
            unknown("operation", &verb);
        }
        if let Some(word) = outcome {
            match Outcome::parse(&word) {
                Some(outcome) => all.entry(id).or_default().tally.add(outcome, count),
                None => unknown("outcome", &word),
            }
        }
    }
    Ok(all)
}

/// One run and its rows.
fn of_run(run: &Run, rows: &Rows, known: &HashSet<&str>, findings: &mut Vec<Finding>) {
    let place = format!("run {} ({})", run.id, run.shown_name());
    let mut found = |name, what: String, cure: &str| findings.push(finding(name, Some(&run.id), place.clone(), what, cure));
    let detail = &run.detail;
    if rows.unreadable > 0 {
        found("row-unreadable", format!("{} rows have details that cannot be read", rows.unreadable), RESTORE);
    }
    if rows.records < rows.count {
        found("rows-twice", format!("{} rows stand for {} records", rows.count, rows.records), REPORT_IT);
    }
    if run.parent.as_ref().is_some_and(|parent| !known.contains(parent.as_str())) {
        let what = format!("continues run {}, which is not in the ledger", run.parent.as_deref().unwrap_or_default());
        found("parent-unknown", what, RESTORE);
    }
    if run.sha256.is_none() && run.kind != RunKind::Retry && is_past_fetch(run.state) {
        found("hash-missing", format!("is {} and has no hash of its file", run.state), REPORT_IT);
    }
    let records = detail.facts.as_ref().map(|facts| facts.records);
    if records.is_some_and(|records| rows.last_record > records) {
        found("record-beyond-file", format!("has a row of record {} of {}", rows.last_record, records.unwrap_or_default()), REPORT_IT);
    }
    if !run.state.is_over() {
        return;
    }
    if rows.pending > 0 {
        let what = format!("is {} and has {} rows without an outcome", run.state, rows.pending);
        found("over-with-rows-to-do", what, "look at them with passferry show RUN --rows, and retry or deliver them again");
    }
    if (run.state == State::Failed) != detail.fault.is_some() {
        let word = if detail.fault.is_some() { "a" } else { "no" };
        found("state-and-fault", format!("is {} and has {word} fault of the file as a whole", run.state), REPORT_IT);
    }
    let in_doubt = rows.tally.get(Outcome::InDoubt);
    if run.state == State::Done && in_doubt > 0 {
        found("state-and-doubt", format!("is done and has {in_doubt} rows in doubt"), REPORT_IT);
    }
    let mut sum = detail.counted.clone();
    sum.merge(&rows.tally);
    if sum.total() + rows.pending != detail.tally.total() {
        let what = format!("its rows come to {}, its tally says {}", sum.total() + rows.pending, detail.tally.total());
        found("tally", what, REPORT_IT);
    } else if rows.pending == 0 && sum != detail.tally {
        found("tally", format!("its rows are {}, its tally says {}", told(&sum), told(&detail.tally)), REPORT_IT);
    }
    let wanted = if detail.picked.is_empty() { records } else { Some(detail.picked.len() as u64) };
    if let Some(wanted) = wanted.filter(|wanted| detail.fault.is_none() && *wanted != detail.tally.total()) {
        found("records", format!("read {wanted} records and tells of {}", detail.tally.total()), REPORT_IT);
    }
}

/// Its bytes are here, or were.
const fn is_past_fetch(state: State) -> bool {
    matches!(state, State::Fetched | State::Checked | State::Held | State::Applying | State::Paused | State::Done | State::DoneInDoubt)
}

fn told(tally: &Tally) -> String {
    let parts: Vec<String> = tally.0.iter().filter(|(_, count)| **count > 0).map(|(outcome, count)| format!("{count} {outcome}")).collect();
    if parts.is_empty() { "none".into() } else { parts.join(", ") }
}

/// Two runs of one delivery would apply it twice.
fn twice(runs: &[Run], findings: &mut Vec<Finding>) {
    let mut seen = BTreeMap::new();
    for run in runs.iter().filter(|run| !run.state.is_over() && run.kind != RunKind::Retry) {
        let delivery = (&run.source, &run.folder, &run.name, run.size, run.mtime);
        if let Some(other) = seen.insert(delivery, &run.id) {
            let place = format!("run {} ({})", run.id, run.shown_name());
            let what = format!("is of the same delivery as run {other}, and neither is over");
            findings.push(finding("delivery-twice", Some(&run.id), place, what, "discard one of them, or stop it"));
        }
    }
}

fn baseline(connection: &Connection, findings: &mut Vec<Finding>) -> Result<()> {
    let mut odd = connection
        .prepare(
            "SELECT account.name, count(*) FROM baseline JOIN account ON account.id = baseline.account
             WHERE length(fields) % ?1 <> 0 GROUP BY baseline.account",
        )
        .map_err(storage)?;
    let found = odd.query_map([super::super::FieldState::BYTES as i64], |row| Ok((row.get::<_, String>(0)?, row.get::<_, i64>(1)?)));
    for (account, count) in found.and_then(Iterator::collect::<rusqlite::Result<Vec<_>>>).map_err(storage)? {
        let what = format!("{count} passes have a baseline that cannot be read");
        let cure = "forget those passes, or seed the baseline again: passferry baseline seed FEED";
        findings.push(finding("baseline-unreadable", None, format!("platform {account}"), what, cure));
    }
    Ok(())
}

/// Keys of adds against the rows they were sent for.
fn keys(connection: &Connection, runs: &[Run], since: DateTime<Utc>, findings: &mut Vec<Finding>) -> Result<()> {
    const LOOK: &str = "look at the pass's history on the platform; passferry show RUN --rows tells the rest";
    let by_id: BTreeMap<&str, &Run> = runs.iter().map(|run| (run.id.as_str(), run)).collect();
    let mut found = |name, id: &str, what: String, cure: &str| {
        let place = by_id.get(id).map_or_else(|| format!("run {id}"), |run| format!("run {id} ({})", run.shown_name()));
        findings.push(finding(name, Some(id), place, what, cure));
    };
    let mut words = connection.prepare("SELECT run, kind, state, count(*) FROM add_key GROUP BY run, kind, state").map_err(storage)?;
    let all = words.query_map([], |row| Ok((row.get(0)?, row.get(1)?, row.get(2)?, row.get(3)?))).map_err(storage)?;
    let all: Vec<(String, String, String, i64)> = all.collect::<rusqlite::Result<_>>().map_err(storage)?;
    for (run, kind, state, count) in all {
        let owner = by_id.get(run.as_str());
        if AddKind::parse(&kind).is_none() || KeyState::parse(&state).is_none() {
            found(
                "key-unreadable",
                &run,
                format!("{count} keys of adds are {kind:?} {state:?}, which this program does not know"),
                RESTORE,
            );
        } else if owner.is_none() {
            found("key-unknown-run", &run, format!("{count} keys of adds are of this run, which is not in the ledger"), RESTORE);
        } else if state == KeyState::Intended.as_str() && owner.is_some_and(|run| run.state.is_over()) {
            let what = format!("is over, and {count} adds may have been sent without anybody knowing what became of them");
            found("key-undecided", &run, what, REPORT_IT);
        }
    }
    // A row in doubt has an add in doubt, and the reverse, as long as its run has come to rest.
    let over: Vec<&str> = State::ALL.iter().filter(|state| state.is_over()).map(|state| state.as_str()).collect();
    let over = serde_json::to_string(&over).unwrap_or_default();
    let checks = [
        (
            "doubt-without-key",
            "rows are in doubt, and no add of theirs is",
            "SELECT run.id, count(*) FROM row JOIN run ON run.seq = row.run WHERE row.outcome = 'in-doubt' AND run.state IN
             (SELECT value FROM json_each(?1)) AND ?2 <> ''
             AND NOT EXISTS (SELECT 1 FROM add_key WHERE add_key.run = run.id AND add_key.line = row.line
             AND add_key.state = 'in-doubt') GROUP BY run.id",
        ),
        (
            "key-without-doubt",
            "adds are in doubt, and their rows are not",
            "SELECT run.id, count(*) FROM add_key JOIN run ON run.id = add_key.run WHERE add_key.state = 'in-doubt' AND run.state IN
             (SELECT value FROM json_each(?1)) AND ?2 <> ''
             AND NOT EXISTS (SELECT 1 FROM row WHERE row.run = run.seq AND row.line = add_key.line
             AND row.outcome = 'in-doubt') GROUP BY run.id",
        ),
        (
            "add-without-key",
            "rows that add were applied, and no key says so: the same file could add again",
            "SELECT run.id, count(*) FROM row JOIN run ON run.seq = row.run WHERE row.outcome = 'applied'
             AND row.verb IN ('earn', 'burn', 'redeem') AND row.adds & 1 <> 0
             AND instr(row.detail, 'duplicate') = 0 AND run.state IN (SELECT value FROM json_each(?1))
             AND CASE WHEN json_valid(run.detail) THEN julianday(json_extract(run.detail, '$.ended_at')) >= julianday(?2) END
             AND NOT EXISTS (SELECT 1 FROM add_key WHERE add_key.run = run.id AND add_key.line = row.line AND add_key.state = 'applied')
             GROUP BY run.id",
        ),
    ];
    for (name, what, query) in checks {
        let mut select = connection.prepare(query).map_err(storage)?;
        let all = select.query_map(params![over, since.to_rfc3339()], |row| Ok((row.get(0)?, row.get(1)?))).map_err(storage)?;
        let all: Vec<(String, i64)> = all.collect::<rusqlite::Result<_>>().map_err(storage)?;
        for (run, count) in all {
            found(name, &run, format!("{count} {what}"), LOOK);
        }
    }
    Ok(())
}
