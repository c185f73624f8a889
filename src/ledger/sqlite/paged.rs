//! Runs and rows a page at a time in SQLite.

use bstr::ByteSlice;
use rusqlite::{Connection, OptionalExtension, Row as SqlRow, params};

use super::super::paged::{Behind, LOOKED_MAX, Paged, RowPage, RowSearch, RunSearch, Which};
use super::super::{Result, Row, Run};
use super::rows::{COLUMNS, read};
use super::{Sqlite, runs, storage};
use crate::outcome::Outcome;

/// What the index of rows that need a person is restricted to: word for word as the index was made.
pub const NEED_PERSON: &str = "outcome IN ('rejected', 'unresolved', 'refused', 'in-doubt', 'not-attempted')";

impl Paged for Sqlite {
    fn search_runs(&self, search: &RunSearch) -> Result<Vec<Run>> {
        runs::search(&*self.reader()?, search)
    }

    fn search_rows(&self, run: &str, search: &RowSearch) -> Result<RowPage> {
        let reader = self.reader()?;
        rows(&reader, runs::seq(&reader, run)?, search, LOOKED_MAX)
    }

    fn row(&self, run: &str, number: u64) -> Result<Option<Row>> {
        let reader = self.reader()?;
        one(&reader, runs::seq(&reader, run)?, "number", number)
    }

    fn row_of_line(&self, run: &str, line: u64) -> Result<Option<Row>> {
        let reader = self.reader()?;
        one(&reader, runs::seq(&reader, run)?, "line", line)
    }
}

fn one(connection: &Connection, run: i64, column: &str, wanted: u64) -> Result<Option<Row>> {
    connection
        .prepare_cached(&format!("SELECT {COLUMNS} FROM row WHERE run = ?1 AND {column} = ?2 LIMIT 1"))
        .and_then(|mut select| select.query_row(params![run, wanted as i64], |row| read(row, 0)).optional())
        .map_err(storage)
}

/// Reads at most `looked_max` rows.
fn rows(connection: &Connection, run: i64, search: &RowSearch, looked_max: usize) -> Result<RowPage> {
    let mut page = RowPage::default();
    let need_person: Vec<Outcome> = match search.which {
        Which::NeedPerson => Outcome::ALL.into_iter().filter(|outcome| outcome.needs_person()).collect(),
        Which::Ended(outcome) | Which::Open(outcome) if outcome.needs_person() => vec![outcome],
        _ => {
            let from = search.behind.map_or(-1, |behind| behind.at as i64);
            walk(connection, &by_number(), params![run, from], search, looked_max, None, &mut page)?;
            return Ok(page);
        }
    };
    let begun = search.behind.and_then(|behind| behind.outcome);
    let first = begun.and_then(|outcome| need_person.iter().position(|known| *known == outcome)).unwrap_or(0);
    for (index, &outcome) in need_person.iter().enumerate().skip(first) {
        let from = search.behind.filter(|_| index == first && begun.is_some()).map_or(-1, |behind| behind.at as i64);
        walk(connection, &by_outcome(), params![run, outcome.as_str(), from], search, looked_max, Some(outcome), &mut page)?;
        if page.next.is_some() {
            break;
        }
    }
    Ok(page)
}

fn by_number() -> String {
    format!("SELECT {COLUMNS} FROM row WHERE run = ?1 AND number > ?2 ORDER BY number")
}

fn by_outcome() -> String {
    format!("SELECT {COLUMNS} FROM row WHERE run = ?1 AND {NEED_PERSON} AND outcome = ?2 AND record > ?3 ORDER BY record")
}

/// Goes on until the page is full, or as many rows were read as it may read.
fn walk(
    connection: &Connection,
    query: &str,
    values: &[&dyn rusqlite::ToSql],
    search: &RowSearch,
    looked_max: usize,
    outcome: Option<Outcome>,
    page: &mut RowPage,
) -> Result<()> {
    let mut select = connection.prepare_cached(query).map_err(storage)?;
    let mut found = select.query(values).map_err(storage)?;
    let mut last = search.behind;
    while let Some(row) = found.next().map_err(storage)? {
        if page.rows.len() >= search.limit || page.looked >= looked_max {
            // Of the next outcome none was taken yet: it begins at its first row.
            let begins = Behind { outcome, at: 0 };
            page.next = Some(last.filter(|last| last.outcome == outcome).unwrap_or(begins));
            return Ok(());
        }
        page.looked += 1;
        let at = row.get::<_, i64>(usize::from(outcome.is_some())).map_err(storage)? as u64;
        last = Some(Behind { outcome, at });
        if is_wanted(row, search).map_err(storage)? {
            page.rows.push(read(row, 0).map_err(storage)?);
        }
    }
    Ok(())
}

/// Looks at the text of a row, before anything is made of it.
fn is_wanted(row: &SqlRow<'_>, search: &RowSearch) -> rusqlite::Result<bool> {
    let outcome = row.get_ref(11)?.as_str_or_null()?;
    let fits = match search.which {
        Which::NeedPerson => !row.get::<_, bool>(13)?,
        Which::All => true,
        Which::ToSend => outcome.is_none(),
        Which::Ended(wanted) => outcome == Some(wanted.as_str()),
        Which::Open(wanted) => outcome == Some(wanted.as_str()) && !row.get::<_, bool>(13)?,
    };
    let Some(code) = search.code.filter(|_| fits) else { return Ok(fits) };
    let detail = row.get_ref(12)?.as_str_or_null()?.unwrap_or_default();
    Ok(detail.as_bytes().contains_str(format!("\"code\":\"{}\"", code.as_str())))
}

#[cfg(test)]
mod tests {
    use super::super::tests;
    use super::*;
    use crate::ledger::run::Detail;
    use crate::ledger::{Ledger, RowDetail, State};
    use crate::outcome::{Code, Problem};

    fn run() -> Run {
        let seen_at = "2026-06-11T02:00:00Z".parse().unwrap();
        Run { state: State::Done, detail: Detail { seen_at, ..Detail::default() }, ..tests::run("Points_0611.csv") }
    }

    fn row(number: u64, outcome: Outcome) -> Row {
        let code = if number.is_multiple_of(2) { Code::TypeError } else { Code::ConstraintError };
        let detail =
            if outcome == Outcome::Rejected { RowDetail::problem(Problem::new(code, Some(0), "bad")) } else { RowDetail::default() };
        Row { outcome: Some(outcome), detail, ..tests::row(number, u128::from(number)) }
    }

    fn ledger_with(rows: impl Iterator<Item = Row>) -> (tempfile::TempDir, Sqlite, String) {
        let folder = tempfile::tempdir().unwrap();
        let ledger = Sqlite::open(&folder.path().join("ledger.sqlite")).unwrap();
        let fence = ledger.lead().unwrap();
        let run = ledger.open_run(fence, run()).unwrap();
        ledger.add_rows(fence, &run.id, &rows.collect::<Vec<_>>()).unwrap();
        (folder, ledger, run.id)
    }

    /// All pages one after another: the rows, how many pages there were, and the most rows that one of them read.
    fn leaf_through(
        ledger: &Sqlite,
        id: &str,
        which: Which,
        code: Option<Code>,
        limit: usize,
        looked_max: usize,
    ) -> (Vec<u64>, usize, usize) {
        let reader = ledger.reader().unwrap();
        let seq = runs::seq(&reader, id).unwrap();
        let (mut records, mut pages, mut most, mut behind) = (Vec::new(), 0, 0, None);
        loop {
            let page = rows(&reader, seq, &RowSearch { which, code, behind, limit }, looked_max).unwrap();
            records.extend(page.rows.iter().map(|row| row.record));
            pages += 1;
            most = most.max(page.looked);
            assert!(pages < 1000, "it ends");
            behind = page.next;
            if behind.is_none() {
                return (records, pages, most);
            }
        }
    }

    #[test]
    fn every_row_is_on_one_page_and_no_page_reads_many() {
        let outcomes = [Outcome::Applied, Outcome::Rejected, Outcome::Refused, Outcome::Rejected, Outcome::InDoubt];
        let (_folder, ledger, id) = ledger_with((0..1000).map(|number| row(number, outcomes[number as usize % 5])));
        let (records, _, most) = leaf_through(&ledger, &id, Which::All, None, 30, 64);
        assert_eq!(records, (1..=1000).collect::<Vec<_>>());
        assert!(most <= 64);
        let (records, pages, most) = leaf_through(&ledger, &id, Which::Ended(Outcome::Applied), None, 30, 64);
        assert_eq!(records, (0..200).map(|number| number * 5 + 1).collect::<Vec<_>>());
        assert!(most <= 64 && pages >= 1000 / 64, "{pages} pages");
        // Those that need a person stand behind an index: only they are read.
        let (records, pages, most) = leaf_through(&ledger, &id, Which::Ended(Outcome::Refused), None, 50, 64);
        assert_eq!((records.len(), pages, most), (200, 4, 50));
        let (records, ..) = leaf_through(&ledger, &id, Which::NeedPerson, None, 7, 64);
        assert_eq!(records.len(), 800);
        assert!(records[..400].is_sorted() && records[400..600].is_sorted() && records[600..].is_sorted(), "by outcome, then record");
        let (records, ..) = leaf_through(&ledger, &id, Which::NeedPerson, Some(Code::TypeError), 7, 64);
        assert_eq!(records.len(), 200);
    }

    #[test]
    fn pages_are_read_along_an_index() {
        let (_folder, ledger, _) = ledger_with(std::iter::empty());
        let reader = ledger.reader().unwrap();
        let plan = |query: &str, values: &[&dyn rusqlite::ToSql]| {
            let mut explain = reader.prepare(&format!("EXPLAIN QUERY PLAN {query}")).unwrap();
            let lines = explain.query_map(values, |row| row.get::<_, String>(3)).unwrap();
            lines.collect::<rusqlite::Result<Vec<_>>>().unwrap().join("; ")
        };
        let numbers = plan(&by_number(), params![1, 0]);
        assert!(numbers.contains("PRIMARY KEY (run=? AND number>?)") && !numbers.contains("TEMP B-TREE"), "{numbers}");
        let outcomes = plan(&by_outcome(), params![1, "refused", 0]);
        assert!(outcomes.contains("row_person (run=? AND outcome=? AND record>?)") && !outcomes.contains("TEMP B-TREE"), "{outcomes}");
        let (rest, values) = runs::clauses(&RunSearch { feed: Some("points".into()), before: Some(9), limit: 10, ..RunSearch::default() });
        let values: Vec<&dyn rusqlite::ToSql> = values.iter().map(|value| value as &dyn rusqlite::ToSql).collect();
        let feeds = plan(&format!("SELECT id FROM run {rest}"), &values);
        assert!(feeds.contains("run_feed (feed=? AND seq<?)") && !feeds.contains("TEMP B-TREE"), "{feeds}");
        let (rest, _) = runs::clauses(&RunSearch { states: vec![State::Held, State::Applying], limit: 10, ..RunSearch::default() });
        let states = plan(&format!("SELECT id FROM run {rest}"), &[]);
        assert!(states.contains("run_state (state=?)"), "{states}");
        let records = plan(&super::super::continued::by_record(), params![1, "refused", 2]);
        assert!(records.contains("row_person (run=? AND outcome=? AND record=?)"), "{records}");
    }

    #[test]
    fn runs_are_found_by_feed_state_time_and_text() {
        let (_folder, ledger, id) = ledger_with(std::iter::empty());
        let found = |search: RunSearch| ledger.search_runs(&RunSearch { limit: 10, ..search }).unwrap().len();
        let text = |text: &str| found(RunSearch { text: Some(text.into()), ..RunSearch::default() });
        assert_eq!((text("POINTS"), text("_06"), text(&id), text("%"), text("other")), (1, 1, 1, 0, 0));
        let at = |text: &str| Some(text.parse().unwrap());
        assert_eq!(found(RunSearch { from: at("2026-06-11T00:00:00Z"), until: at("2026-06-12T00:00:00Z"), ..RunSearch::default() }), 1);
        assert_eq!(found(RunSearch { from: at("2026-06-12T00:00:00Z"), ..RunSearch::default() }), 0);
        assert_eq!(found(RunSearch { until: at("2026-06-11T02:00:00Z"), ..RunSearch::default() }), 0);
        assert_eq!(found(RunSearch { states: vec![State::Done, State::Held], feed: Some("points".into()), ..RunSearch::default() }), 1);
        assert_eq!(found(RunSearch { states: vec![State::Held], ..RunSearch::default() }), 0);
        assert_eq!(found(RunSearch { before: Some(1), ..RunSearch::default() }), 0);
    }
}
