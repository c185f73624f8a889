//! A run's rows, page by page, and one row's story.

use std::sync::Arc;

use askama::Template;
use axum::extract::{Path, Query, State as At};
use serde::Deserialize;

use super::Desk;
use super::answer::{Answer, Fault, page as show, work};
use super::card::Card;
use super::parts::{Choice, Frame, Here, LETTERS_MAX, zone};
use super::visitor::Visitor;
use crate::ledger::paged::{Behind, RowPage, RowSearch, Which};
use crate::ledger::{KeyState, Paged, Row, Run, Settlement};
use crate::outcome::{Code, Outcome};
use crate::page::words::{Instant, Tone, outcome_tone, visible};
use crate::told::{AddLine, RowLine, Rows};

/// Rows on a page.
pub const ROWS: usize = 50;
/// Other rows of a pass that its story names.
const TOUCHES: u64 = 30;

/// Which rows of a run, as a form of the page or a program asks for them.
#[derive(Clone, Debug, Default, Deserialize, schemars::JsonSchema)]
#[serde(default)]
pub struct Wanted {
    /// An outcome, `to-send`, `all`, or nothing: those that need a person.
    pub outcome: String,
    /// Only rows with this code.
    pub code: String,
    /// The row that begins on this line of the file.
    pub line: String,
    /// `next` of the page before.
    pub after: String,
}

impl Wanted {
    pub fn search(&self) -> Result<RowSearch, Fault> {
        let which = match self.outcome.as_str() {
            "" => Which::NeedPerson,
            "all" => Which::All,
            "to-send" => Which::ToSend,
            name => Which::Ended(Outcome::parse(name).ok_or_else(|| Fault::bad(format!("There is no outcome {name:?}.")))?),
        };
        let code = Some(self.code.as_str()).filter(|code| !code.is_empty());
        let code = code.map(|name| Code::parse(name).ok_or_else(|| Fault::bad(format!("There is no code {name:?}.")))).transpose()?;
        let behind = Some(self.after.as_str()).filter(|after| !after.is_empty());
        let behind =
            behind.map(|after| read_behind(after).ok_or_else(|| Fault::bad("That is no place in the list of rows."))).transpose()?;
        Ok(RowSearch { which, code, behind, limit: ROWS })
    }
}

/// `refused.17` or `17`: where a page ended.
pub fn write_behind(behind: Behind) -> String {
    behind.outcome.map_or_else(|| behind.at.to_string(), |outcome| format!("{outcome}.{}", behind.at))
}

pub fn read_behind(text: &str) -> Option<Behind> {
    Some(match text.split_once('.') {
        Some((outcome, at)) => Behind { outcome: Some(Outcome::parse(outcome)?), at: at.parse().ok()? },
        None => Behind { outcome: None, at: text.parse().ok()? },
    })
}

/// A page of rows as they are told, each with its number; and where the next begins.
pub type Found = (Vec<(u64, RowLine)>, Option<Behind>);

pub fn found(desk: &Desk, run: &Run, wanted: &Wanted, show_personal: bool) -> Result<Found, Fault> {
    let page = if wanted.line.trim().is_empty() {
        Paged::search_rows(&*desk.ledger, &run.id, &wanted.search()?)?
    } else {
        let line = wanted.line.trim().parse().map_err(|_| Fault::bad("A line is a number."))?;
        RowPage { rows: desk.ledger.row_of_line(&run.id, line)?.into_iter().collect(), ..RowPage::default() }
    };
    let rows = Rows::of(&desk.config(), &desk.ledger, run, show_personal)?;
    let told = page.rows.into_iter().map(|row| Ok((row.number, rows.line(row)?)));
    Ok((told.collect::<anyhow::Result<_>>()?, page.next))
}

#[derive(Template)]
#[template(path = "review/rows.html", config = "src/page/askama.toml")]
struct RowsPage<'a> {
    frame: Frame<'a>,
    run: &'a str,
    file: String,
    outcomes: Vec<Choice>,
    codes: Vec<Choice>,
    line: &'a str,
    rows: Vec<RowView>,
    next: Option<String>,
    begins: bool,
}

struct RowView {
    number: u64,
    line: u64,
    part: Option<String>,
    record: u64,
    operation: &'static str,
    outcome: &'static str,
    tone: Tone,
    words: Vec<String>,
}

impl RowView {
    fn of(number: u64, told: &RowLine) -> RowView {
        RowView {
            number,
            line: told.line,
            part: told.part.as_deref().map(|part| visible(part, LETTERS_MAX)),
            record: told.record,
            operation: told.operation,
            outcome: told.outcome,
            tone: Outcome::parse(told.outcome).map_or(Tone::Plain, outcome_tone),
            words: told.words().iter().map(|words| visible(words, LETTERS_MAX)).collect(),
        }
    }
}

pub async fn page(At(desk): At<Arc<Desk>>, visitor: Visitor, Path(id): Path<String>, Query(wanted): Query<Wanted>) -> Answer {
    let approver = visitor.is_approver();
    let (run, rows, next) = {
        let wanted = wanted.clone();
        work(move || {
            let run = desk.run(&id)?;
            let (rows, next) = found(&desk, &run, &wanted, approver)?;
            Ok((run, rows, next))
        })
        .await?
    };
    let outcomes = [("", "that need a person"), ("all", "all that are kept"), ("to-send", "still to be sent")].into_iter();
    let outcomes = outcomes.chain(Outcome::ALL.map(|outcome| (outcome.as_str(), outcome.as_str())));
    let codes = run.detail.problems.keys().map(|code| Choice::new(code, code.as_str(), &wanted.code));
    let query = |behind: Behind| format!("outcome={}&code={}&after={}", wanted.outcome, wanted.code, write_behind(behind));
    show(&RowsPage {
        frame: Frame::new(format!("Rows of {}", visible(&run.shown_name(), 80)), &visitor, Here::Runs),
        run: &run.id,
        file: visible(&run.shown_name(), LETTERS_MAX),
        outcomes: outcomes.map(|(value, words)| Choice::new(value, words, &wanted.outcome)).collect(),
        codes: std::iter::once(Choice::new("", "any", &wanted.code)).chain(codes).collect(),
        line: wanted.line.trim(),
        rows: rows.iter().map(|(number, row)| RowView::of(*number, row)).collect(),
        next: next.map(query),
        begins: wanted.after.is_empty(),
    })
}

#[derive(Template)]
#[template(path = "review/story.html", config = "src/page/askama.toml")]
struct Story<'a> {
    frame: Frame<'a>,
    run: &'a str,
    file: String,
    row: RowView,
    cells: Vec<CellView>,
    /// Why no cells are shown.
    no_cells: bool,
    problems: Vec<ProblemView>,
    operations: Vec<OperationView>,
    adds: Vec<AddView>,
    others: Vec<OtherView>,
    /// What it would do to its pass, or did.
    card: Option<Card>,
}

struct CellView {
    label: String,
    cell: String,
    masked: bool,
    bad: bool,
}

struct ProblemView {
    code: &'static str,
    column: String,
    message: String,
    suggestion: Option<String>,
    cause: &'static str,
    cure: &'static str,
}

struct OperationView {
    operation: String,
    outcome: &'static str,
    tone: Tone,
    message: String,
    code: &'static str,
}

struct AddView {
    key: String,
    amount: String,
    state: &'static str,
    at: Instant,
    evidence: String,
    settled: Option<String>,
    /// A decision that waits.
    asked: Option<String>,
    /// May the visitor settle it?
    settle: bool,
}

/// Another row about the same pass.
struct OtherView {
    run: String,
    number: u64,
    file: String,
    line: u64,
    outcome: &'static str,
    tone: Tone,
    at: Instant,
    here: bool,
}

pub async fn story(At(desk): At<Arc<Desk>>, visitor: Visitor, Path((id, number)): Path<(String, u64)>) -> Answer {
    let html = work(move || Ok(Story::of(&desk, &visitor, &id, number)?.render()?)).await?;
    Ok(axum::response::IntoResponse::into_response(axum::response::Html(html)))
}

impl<'a> Story<'a> {
    fn of(desk: &Desk, visitor: &'a Visitor, id: &'a str, number: u64) -> Result<Story<'a>, Fault> {
        let (config, ledger) = (desk.config(), &*desk.ledger);
        let run = desk.run(id)?;
        let row = ledger.row(&run.id, number)?.ok_or(Fault::NotFound)?;
        let rows = Rows::of(&config, &desk.ledger, &run, visitor.is_approver())?;
        let read = rows.cells(&row);
        let bad: Vec<u32> = row.detail.problems.iter().filter_map(|problem| problem.column).collect();
        let view = |(index, cell): (usize, String)| CellView {
            label: rows.label(index).map_or_else(|| format!("column {}", index + 1), |label| visible(label, 80)),
            masked: cell == crate::page::words::MASK,
            cell: visible(&cell, LETTERS_MAX),
            bad: bad.contains(&(index as u32)),
        };
        let zone = zone(&config, &run.feed);
        let touches = row.pass.map(|pass| ledger.touches(&run.account, pass, TOUCHES)).transpose()?.unwrap_or_default();
        let mut others = Vec::new();
        for touch in touches {
            if let Some(other) = ledger.run(&touch.run)? {
                others.push(OtherView::of(&other, &touch.row, zone, run.id == touch.run && touch.row.number == number));
            }
        }
        let card = card(desk, visitor, &run, &rows, &row);
        let mut told = rows.line(row)?;
        let adds = std::mem::take(&mut told.adds).into_iter();
        Ok(Story {
            frame: Frame::new(format!("Line {} of {}", told.line, visible(&run.shown_name(), 80)), visitor, Here::Runs),
            run: id,
            file: visible(&run.shown_name(), LETTERS_MAX),
            row: RowView::of(number, &told),
            no_cells: read.is_none(),
            cells: read.into_iter().flatten().enumerate().map(view).collect(),
            problems: told.problems.iter().map(ProblemView::of).collect(),
            operations: told.operations.iter().map(OperationView::of).collect(),
            adds: adds.map(|add| AddView::of(add, zone, visitor)).collect(),
            others,
            card,
        })
    }
}

/// What is kept of the row may be gone, or its feed: then there is no card.
pub fn card(desk: &Desk, visitor: &Visitor, run: &Run, rows: &Rows<'_>, row: &Row) -> Option<Card> {
    let hand = rows.hand()?;
    let open = hand.open_row(row.clone()).ok()?;
    let judged = hand.judge(&*desk.ledger, &run.account, &open, &open.cells).ok()?;
    judged.change.map(|change| Card::of(&change, visitor.is_approver()))
}

impl ProblemView {
    fn of(problem: &crate::told::ProblemLine) -> ProblemView {
        let help = Code::parse(problem.code).map(Code::explain);
        ProblemView {
            code: problem.code,
            column: problem.column.as_deref().map(|column| visible(column, 80)).unwrap_or_default(),
            message: visible(&problem.message, LETTERS_MAX),
            suggestion: problem.suggestion.as_deref().map(|words| visible(words, LETTERS_MAX)),
            cause: help.as_ref().map_or("", |help| help.cause),
            cure: help.as_ref().map_or("", |help| help.cure),
        }
    }
}

impl OperationView {
    fn of(note: &crate::ledger::OperationNote) -> OperationView {
        OperationView {
            operation: visible(&note.operation, 80),
            outcome: note.outcome.as_str(),
            tone: outcome_tone(note.outcome),
            message: visible(&note.message, LETTERS_MAX),
            code: note.code.map_or("", Code::as_str),
        }
    }
}

impl AddView {
    fn of(add: AddLine, zone: crate::zone::Zone, visitor: &Visitor) -> AddView {
        let told = |settled: &Settlement| {
            let at = Instant::new(settled.at, zone).plain();
            format!(
                "settled {} by {}, {at}: {}",
                settled.decision.as_str(),
                visible(&settled.by, 80),
                visible(&settled.reason, LETTERS_MAX)
            )
        };
        AddView {
            settle: visitor.is_approver() && add.state == KeyState::InDoubt && add.asked.is_none(),
            settled: add.settled.as_ref().map(told),
            asked: add.asked.as_ref().map(told),
            key: add.key,
            amount: visible(&add.amount, 80),
            state: add.state.as_str(),
            at: Instant::new(add.at, zone),
            evidence: visible(&add.evidence, LETTERS_MAX),
        }
    }
}

impl OtherView {
    fn of(run: &Run, row: &Row, zone: crate::zone::Zone, here: bool) -> OtherView {
        OtherView {
            run: run.id.clone(),
            number: row.number,
            file: visible(&run.shown_name(), 80),
            line: row.line,
            outcome: crate::told::outcome(row),
            tone: row.outcome.map_or(Tone::Plain, outcome_tone),
            at: Instant::new(run.detail.ended_at.unwrap_or(run.detail.seen_at), zone),
            here,
        }
    }
}
