//! Fix here: rows that need somebody, their cells to be changed in a table, and what is right sent as a correction into the feed's inbox.
//! It goes the road of every correction: nothing is applied from here.

use std::collections::BTreeMap;
use std::io::{Seek, SeekFrom};
use std::sync::Arc;

use askama::Template;
use axum::extract::{Path, Query, State as At};
use axum::response::IntoResponse;
use axum::{Form, Json};
use bstr::{BString, ByteSlice};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::Desk;
use super::answer::{Answer, Fault, work};
use super::card::Card;
use super::parts::{Choice, Frame, Here, LETTERS_MAX};
use super::rows::{read_behind, write_behind};
use super::visitor::Visitor;
use crate::config::meant::Config;
use crate::ledger::paged::{RowSearch, Which};
use crate::ledger::{Paged, RunKind, State};
use crate::ledger::{Row, Run};
use crate::outcome::{Outcome, Problem, Tally};
use crate::page::words::{count, visible};
use crate::pipeline::fix::{FIXABLE, Open};
use crate::pipeline::hand::FileInHand;
use crate::pipeline::looking::Looking;
use crate::pipeline::road::connector;
use crate::source::join;
use crate::source::link::Link;
use crate::source::refusals::Record;
use crate::told::names;

/// Rows on a page.
const ROWS: usize = 25;
/// Bytes of one cell: more is no correction made by hand.
const CELL_MAX: usize = 64 << 10;
/// What stands for a character that cannot be shown.
const UNREADABLE: &str = "\u{fffd}";

#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default)]
pub struct Wanted {
    outcome: String,
    after: String,
}

#[derive(Template)]
#[template(path = "review/fix.html", config = "src/page/askama.toml")]
struct FixPage<'a> {
    frame: Frame<'a>,
    run: &'a str,
    file: String,
    outcomes: Vec<Choice>,
    labels: Vec<String>,
    rows: Vec<RowView>,
    next: Option<String>,
    /// Why nothing was sent.
    refused: Option<String>,
    after: &'a str,
    outcome: &'a str,
    under_way: Option<String>,
}

struct RowView {
    number: u64,
    line: u64,
    cells: Vec<CellView>,
    /// What is wrong with the row as a whole.
    said: Vec<String>,
}

struct CellView {
    column: usize,
    label: String,
    value: String,
    /// It has several lines.
    long: bool,
    said: Vec<String>,
}

impl RowView {
    fn of(open: &Open, cells: &[String], problems: &[Problem], labels: &[String]) -> RowView {
        let said = |wanted: Option<u32>| {
            let mut said: Vec<String> = problems.iter().filter(|problem| problem.column == wanted).map(words).collect();
            said.dedup();
            said
        };
        let view = |(column, cell): (usize, &String)| CellView {
            column,
            label: labels.get(column).cloned().unwrap_or_default(),
            long: cell.contains(['\n', '\r']),
            value: cell.clone(),
            said: said(Some(column as u32)),
        };
        let notes = open.row.detail.operations.iter().filter(|note| note.code.is_some());
        let notes = notes.map(|note| visible(&format!("{}: {}", note.operation, note.message), LETTERS_MAX));
        RowView {
            number: open.row.number,
            line: open.row.line,
            cells: cells.iter().enumerate().map(view).collect(),
            said: said(None).into_iter().chain(notes).collect(),
        }
    }
}

fn words(problem: &Problem) -> String {
    let suggestion = problem.suggestion.as_deref().map(|text| format!(" ({text})")).unwrap_or_default();
    visible(&format!("{}{suggestion} ({})", problem.message, problem.code), LETTERS_MAX)
}

/// May rows of this run be corrected here? If not, why.
pub fn may_fix(config: &Config, run: &Run) -> Result<(), String> {
    if !run.state.is_over() || run.detail.fault.is_some() {
        return Err(format!("Run {} is {}: rows can be corrected once it is over.", run.id, run.state));
    }
    let Some(feed) = config.feeds.get(&run.feed) else { return Err(format!("Feed {} is no longer in the configuration.", run.feed)) };
    if feed.dialect.pgp.as_ref().is_some_and(|pgp| pgp.required) {
        let words =
            "This feed takes signed files alone, and nothing here can sign. Correct the rows in errors.csv, sign it and deliver it.";
        return Err(words.to_owned());
    }
    if feed.seals_reports() {
        let words = "The reports of this feed are encrypted, and a correction made here would lie in the inbox in plain text. Correct the \
                     rows in errors.csv.pgp, encrypt it and deliver it.";
        return Err(words.to_owned());
    }
    Ok(())
}

/// Rows that other cells may mend and that no later run took up.
pub fn left_to_fix(run: &Run) -> Tally {
    let mut left = Tally::default();
    for outcome in FIXABLE {
        left.add(outcome, run.detail.tally.get(outcome).saturating_sub(run.detail.taken_rows.get(outcome)));
    }
    left
}

/// A run's file, open for those who may correct it.
struct Bench {
    run: Run,
    hand: FileInHand,
}

impl Bench {
    fn open(desk: &Desk, visitor: &Visitor, id: &str) -> Result<Bench, Fault> {
        visitor.must_decide()?;
        let run = desk.run(id)?;
        let conflict = |words: String| Fault::Refused(axum::http::StatusCode::CONFLICT, words);
        let config = desk.config();
        may_fix(&config, &run).map_err(conflict)?;
        let looking = Looking::new(config, Arc::clone(&desk.ledger))?;
        match FileInHand::open(&looking, &run) {
            Ok(Ok(hand)) => Ok(Bench { run, hand }),
            Ok(Err(fault)) => Err(conflict(fault.message)),
            Err(error) => Err(conflict(format!("{error:#}"))),
        }
    }

    fn labels(&self) -> Vec<String> {
        self.hand.labels().iter().map(|label| visible(label, 80)).collect()
    }

    fn row(&self, desk: &Desk, number: u64) -> Result<Open, Fault> {
        let row = desk.ledger.row(&self.run.id, number)?.filter(is_fixable).ok_or_else(|| {
            Fault::Refused(
                axum::http::StatusCode::CONFLICT,
                "A row of this page is none that can be corrected any more. Look again.".into(),
            )
        })?;
        Ok(self.hand.open_row(row)?)
    }
}

fn is_fixable(row: &Row) -> bool {
    row.outcome.is_some_and(|outcome| FIXABLE.contains(&outcome)) && !row.taken
}

pub async fn page(At(desk): At<Arc<Desk>>, visitor: Visitor, Path(id): Path<String>, Query(wanted): Query<Wanted>) -> Answer {
    let html = work(move || Ok(shown(&desk, &visitor, &id, &wanted, &BTreeMap::new(), None)?.into_response())).await?;
    Ok(html)
}

/// The page, with cells that somebody typed instead of those of the file.
fn shown(
    desk: &Desk,
    visitor: &Visitor,
    id: &str,
    wanted: &Wanted,
    typed: &BTreeMap<u64, Vec<String>>,
    refused: Option<String>,
) -> Result<axum::response::Html<String>, Fault> {
    let bench = Bench::open(desk, visitor, id)?;
    let left = left_to_fix(&bench.run);
    let first = FIXABLE.into_iter().find(|outcome| left.get(*outcome) > 0).unwrap_or(Outcome::Rejected);
    let outcome = match wanted.outcome.as_str() {
        "" => first,
        name => FIXABLE
            .into_iter()
            .find(|outcome| outcome.as_str() == name)
            .ok_or_else(|| Fault::bad("Rows that ended so are not corrected here."))?,
    };
    let behind = Some(wanted.after.as_str()).filter(|after| !after.is_empty());
    let behind = behind.map(|after| read_behind(after).ok_or_else(|| Fault::bad("That is no place in the list of rows."))).transpose()?;
    let page = Paged::search_rows(&*desk.ledger, id, &RowSearch { which: Which::Open(outcome), code: None, behind, limit: ROWS })?;
    let labels = bench.labels();
    let rows = page.rows.into_iter().map(|row| {
        let open = bench.hand.open_row(row)?;
        Ok(match typed.get(&open.row.number) {
            Some(cells) => {
                let judged = bench.hand.judge(&*desk.ledger, &bench.run.account, &open, cells)?;
                RowView::of(&open, cells, &judged.problems, &labels)
            }
            None => RowView::of(&open, &open.cells, &open.row.detail.problems, &labels),
        })
    });
    let rows = rows.collect::<anyhow::Result<Vec<_>>>()?;
    let page = FixPage {
        frame: Frame::new("Fix rows", visitor, Here::Runs),
        run: id,
        file: visible(&bench.run.shown_name(), LETTERS_MAX),
        outcomes: FIXABLE
            .map(|known| Choice::new(known.as_str(), format!("{known} ({})", count(left.get(known))), outcome.as_str()))
            .into(),
        labels,
        rows,
        next: page.next.map(|behind| format!("outcome={outcome}&after={}", write_behind(behind))),
        refused,
        after: &wanted.after,
        outcome: outcome.as_str(),
        under_way: under_way(desk, &bench.run)?,
    };
    Ok(axum::response::Html(page.render()?))
}

/// A correction of the run that is on its way.
fn under_way(desk: &Desk, run: &Run) -> Result<Option<String>, Fault> {
    let open: Vec<State> = State::ALL.into_iter().filter(|state| !state.is_over()).collect();
    let filter = crate::ledger::RunFilter { feed: Some(run.feed.clone()), states: open, limit: None };
    let runs = desk.ledger.runs(&filter)?;
    let of_this = |other: &&Run| other.kind == RunKind::Correction && other.parent.as_ref() == Some(&run.id);
    Ok(runs.iter().find(of_this).map(|other| other.id.clone()))
}

/// A row's cells as somebody typed them.
#[derive(Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Typed {
    /// The row's number within its run.
    pub number: u64,
    /// All of them, in the order of columns.
    pub cells: Vec<String>,
}

/// What is said of them.
#[derive(Serialize, JsonSchema)]
pub struct Said {
    problems: Vec<SaidOf>,
    /// What the row would do to its pass, where nothing is wrong with it.
    card: Option<Card>,
}

#[derive(Serialize, JsonSchema)]
struct SaidOf {
    /// From 0; none where the row as a whole is meant.
    column: Option<u32>,
    code: &'static str,
    words: String,
}

/// Checks a row's cells. Nothing is kept.
pub async fn check(At(desk): At<Arc<Desk>>, visitor: Visitor, Path(id): Path<String>, Json(typed): Json<Typed>) -> Answer {
    Ok(Json(work(move || desk.check_cells(&visitor, &id, &typed)).await?).into_response())
}

/// The cells of a row after somebody changed some. A browser ends lines in its own way: what it did not change stays as it was.
fn fitting(open: &Open, typed: &[String]) -> Result<Vec<String>, Fault> {
    if typed.len() != open.cells.len() {
        return Err(Fault::bad("The row has another number of cells."));
    }
    if typed.iter().any(|cell| cell.len() > CELL_MAX) {
        return Err(Fault::bad(format!("A cell is longer than {} KiB.", CELL_MAX >> 10)));
    }
    let plain = |text: &str| text.replace("\r\n", "\n").replace('\r', "\n");
    // In HTML, U+0000 becomes U+FFFD.
    let shown = |text: &str| plain(text).replace('\0', UNREADABLE);
    let cell = |(was, is): (&String, &String)| {
        if shown(was) == shown(is) {
            return Ok(was.clone());
        }
        if is.contains('\0') || is.contains(UNREADABLE) {
            return Err(Fault::bad(format!(
                "A cell of line {} holds a character that cannot be read (shown as {UNREADABLE}): write the whole cell anew.",
                open.row.line
            )));
        }
        Ok(plain(is))
    };
    open.cells.iter().zip(typed).map(cell).collect()
}

/// Cells of a form by row, in the order of columns: fields named `cell.NUMBER.COLUMN`.
fn read_form(fields: &[(String, String)]) -> Result<BTreeMap<u64, Vec<String>>, Fault> {
    let mut rows: BTreeMap<u64, BTreeMap<usize, String>> = BTreeMap::new();
    for (name, value) in fields {
        let Some((number, column)) = name.strip_prefix("cell.").and_then(|rest| rest.split_once('.')) else { continue };
        let place = number.parse().ok().zip(column.parse().ok());
        let (number, column) = place.ok_or_else(|| Fault::bad("That is no form of this page."))?;
        rows.entry(number).or_default().insert(column, value.clone());
    }
    if rows.len() > ROWS {
        return Err(Fault::bad("Too many rows at once."));
    }
    let whole = |(number, cells): (u64, BTreeMap<usize, String>)| {
        let dense = cells.keys().copied().eq(0..cells.len());
        dense.then(|| (number, cells.into_values().collect())).ok_or_else(|| Fault::bad("Cells of a row are missing."))
    };
    rows.into_iter().map(whole).collect()
}

/// Takes what was changed, checks it, and sends it as a correction.
pub async fn submit(
    At(desk): At<Arc<Desk>>,
    visitor: Visitor,
    Path(id): Path<String>,
    Form(fields): Form<Vec<(String, String)>>,
) -> Answer {
    work(move || {
        let typed = read_form(&fields)?;
        let field = |name: &str| fields.iter().find(|(known, _)| known == name).map(|(_, value)| value.clone()).unwrap_or_default();
        match desk.correct(&visitor, &id, &typed)? {
            Corrected::Sent { name, rows } => Ok(sent(&visitor, &id, &name, rows)?.into_response()),
            Corrected::Wrong(words) => {
                let wanted = Wanted { outcome: field("outcome"), after: field("after") };
                let page = shown(&desk, &visitor, &id, &wanted, &typed, Some(words))?;
                Ok((axum::http::StatusCode::UNPROCESSABLE_ENTITY, page).into_response())
            }
        }
    })
    .await
}

#[derive(Template)]
#[template(path = "review/sent.html", config = "src/page/askama.toml")]
struct Sent<'a> {
    frame: Frame<'a>,
    run: &'a str,
    name: String,
    rows: usize,
}

fn sent(visitor: &Visitor, run: &str, name: &str, rows: usize) -> Result<axum::response::Html<String>, Fault> {
    let page = Sent { frame: Frame::new("On its way", visitor, Here::Runs), run, name: visible(name, LETTERS_MAX), rows };
    Ok(axum::response::Html(page.render()?))
}

/// What became of rows that somebody corrected.
pub enum Corrected {
    /// Under this name in the inbox.
    Sent { name: String, rows: usize },
    /// Nothing was sent, because of this.
    Wrong(String),
}

impl Desk {
    /// What schema and mapping say of a row's cells. Nothing is kept.
    pub fn check_cells(&self, visitor: &Visitor, id: &str, typed: &Typed) -> Result<Said, Fault> {
        let bench = Bench::open(self, visitor, id)?;
        let open = bench.row(self, typed.number)?;
        let cells = fitting(&open, &typed.cells)?;
        let judged = bench.hand.judge(&*self.ledger, &bench.run.account, &open, &cells)?;
        let said = |problem: &Problem| SaidOf { column: problem.column, code: problem.code.as_str(), words: words(problem) };
        Ok(Said { problems: judged.problems.iter().map(said).collect(), card: judged.change.map(|change| Card::of(&change, true)) })
    }

    /// Sends rows of a run with other cells into its feed's inbox. All of them are right, or nothing is sent.
    pub fn correct(&self, visitor: &Visitor, id: &str, typed: &BTreeMap<u64, Vec<String>>) -> Result<Corrected, Fault> {
        let bench = Bench::open(self, visitor, id)?;
        let mut rows = Vec::new();
        let mut wrong = Vec::new();
        for (&number, typed) in typed {
            let open = bench.row(self, number)?;
            let cells = fitting(&open, typed)?;
            if cells == open.cells {
                continue;
            }
            let judged = bench.hand.judge(&*self.ledger, &bench.run.account, &open, &cells)?;
            // No dialect has a way to write this character: such a row would be rejected again.
            let whole = !cells.iter().any(|cell| cell.contains('\0'));
            if judged.problems.is_empty() && whole {
                rows.push((open, cells));
            } else {
                wrong.push(open.row.line.to_string());
            }
        }
        if !wrong.is_empty() {
            return Ok(Corrected::Wrong(format!("Nothing was sent: something is still wrong in line {}.", wrong.join(", "))));
        }
        if rows.is_empty() {
            return Ok(Corrected::Wrong("Nothing was sent: no cell was changed.".to_owned()));
        }
        rows.sort_by_key(|(open, _)| open.row.record);
        let name = self.deliver(&bench, &rows)?;
        self.counts.forget();
        let lines: Vec<u64> = rows.iter().map(|(open, _)| open.row.line).collect();
        tracing::info!(by = visitor.by(), run = bench.run.id, file = %name, ?lines, "rows are corrected on the review page");
        Ok(Corrected::Sent { name: name.to_string(), rows: rows.len() })
    }

    /// Puts a correction into the inbox: under a name that nobody takes, then under its own.
    fn deliver(&self, bench: &Bench, rows: &[(Open, Vec<String>)]) -> Result<BString, Fault> {
        let run = &bench.run;
        let config = self.config();
        let feed =
            config.feeds.get(&run.feed).ok_or_else(|| Fault::bad(format!("Feed {} is no longer in the configuration.", run.feed)))?;
        let mut file = tempfile::tempfile_in(crate::spool::Spool::open(&config.state).map_err(anyhow::Error::from)?.folder())
            .map_err(anyhow::Error::from)?;
        bench.hand.write_correction(run, rows, &file)?;
        file.seek(SeekFrom::Start(0)).map_err(anyhow::Error::from)?;
        let mark = &super::people::random_hex()?[..8];
        let mut name = names(run).stem;
        name.extend_from_slice(format!("-fix-{mark}.errors.csv").as_bytes());
        let mut temporary = BString::from(".");
        temporary.extend_from_slice(&name);
        temporary.extend_from_slice(b".part");
        let unreachable = |error: crate::source::SourceError| {
            tracing::warn!(source = feed.source.name, "a correction cannot be delivered: {error}");
            let words = format!("The correction cannot be put into the inbox at source {}: {error}. Nothing was sent.", feed.source.name);
            Fault::Refused(axum::http::StatusCode::BAD_GATEWAY, words)
        };
        let inbox = feed.inbox.as_bstr();
        let (temporary, place) = (join(inbox, temporary.as_bstr()), join(inbox, name.as_bstr()));
        // As the daemon does: a server that refuses us is not asked again and again, or it shuts everybody here out.
        let link = Link::new(connector(&feed.source.kind)).remembering(Record::of(&config.state, &feed.source.name));
        let delivered = link.with(|source| {
            source.create(temporary.as_bstr(), &mut file, feed.report_mode)?;
            source.rename(temporary.as_bstr(), place.as_bstr()).inspect_err(|_| drop(source.remove(temporary.as_bstr())))
        });
        delivered.map_err(unreachable)?;
        Ok(name)
    }
}
