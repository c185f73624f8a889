//! Rows that a later run took up.

use rusqlite::{Connection, params};

use super::super::run::{RunKind, State};
use super::super::{LedgerError, Requested, Result, Run};
use super::paged::NEED_PERSON;
use super::rows::read_detail;
use super::{runs, storage};
use crate::outcome::{Code, Outcome};

/// Registers a retry, unless another of the same run is on its way.
pub fn request(work: &Connection, mut run: Run) -> Result<Requested> {
    let parent = run.parent.clone().unwrap_or_default();
    let open: Vec<String> = State::ALL.iter().filter(|state| !state.is_over()).map(|state| format!("'{state}'")).collect();
    let other = format!("WHERE state IN ({}) AND kind = ?1 AND parent = ?2 LIMIT 1", open.join(", "));
    if let Some(other) = runs::select(work, &other, &[&RunKind::Retry.as_str(), &parent])?.pop() {
        return Ok(Requested::UnderWay(other.id));
    }
    let seq = runs::seq(work, &parent)?;
    let mut select =
        work.prepare_cached(&format!("SELECT record FROM row WHERE run = ?1 AND {NEED_PERSON} AND taken = 1")).map_err(storage)?;
    let taken = select.query_map([seq], |row| row.get::<_, i64>(0)).map_err(storage)?;
    let taken: std::collections::HashSet<i64> = taken.collect::<rusqlite::Result<_>>().map_err(storage)?;
    run.detail.picked.retain(|record| !taken.contains(&(*record as i64)));
    if run.detail.picked.is_empty() { Ok(Requested::NothingLeft) } else { runs::open(work, run).map(|run| Requested::Made(Box::new(run))) }
}

/// Rows of a record that ended in one way, along the index of those that need a person, which is not chosen unless it is named.
pub fn by_record() -> String {
    format!(
        "SELECT number, detail FROM row INDEXED BY row_person WHERE run = ?1 AND {NEED_PERSON} AND outcome = ?2 AND record = ?3 AND taken = 0"
    )
}

/// Marks the rows of these records, and counts them with their run, once for each later run.
pub fn take_up(work: &Connection, run: &str, by: &str, records: &[u64], kept_back: &[Code]) -> Result<()> {
    let mut parent = runs::by_id(work, run)?.ok_or_else(|| LedgerError::NoRun(run.to_owned()))?;
    if parent.detail.continued_by.iter().any(|known| known == by) {
        return Ok(());
    }
    parent.detail.continued_by.push(by.to_owned());
    let seq = runs::seq(work, run)?;
    let mut select = work.prepare_cached(&by_record()).map_err(storage)?;
    let mut mark = work.prepare_cached("UPDATE row SET taken = 1 WHERE run = ?1 AND number = ?2").map_err(storage)?;
    let needing = Outcome::ALL.into_iter().filter(|outcome| outcome.needs_person());
    for (outcome, record) in needing.flat_map(|outcome| records.iter().map(move |record| (outcome, *record as i64))) {
        let found = select.query_map(params![seq, outcome.as_str(), record], |row| Ok((row.get(0)?, row.get(1)?))).map_err(storage)?;
        let found: Vec<(i64, String)> = found.collect::<rusqlite::Result<_>>().map_err(storage)?;
        for (number, detail) in found {
            mark.execute(params![seq, number]).map_err(storage)?;
            parent.detail.taken_rows.add(outcome, 1);
            let codes = read_detail(&detail).codes();
            parent.detail.taken_up += u64::from(!codes.iter().any(|code| kept_back.contains(code)));
        }
    }
    runs::save(work, &parent)
}
