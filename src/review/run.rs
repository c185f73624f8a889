//! One run: what it is, what happened, what holds it, what there is to do.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant as Clock};

use askama::Template;
use axum::Json;
use axum::extract::{Path, State as At};
use axum::response::IntoResponse;
use serde::Serialize;

use super::Desk;
use super::answer::{Answer, Fault, page as show, work};
use super::downloads::{Kind, kinds};
use super::fix::{left_to_fix, may_fix};
use super::parts::{Frame, Here, LETTERS_MAX, kind, zone};
use super::visitor::Visitor;
use crate::config::meant::Config;
use crate::decide::may;
use crate::dialect::Form;
use crate::ledger::run::{DialectFacts, WishKind};
use crate::ledger::{Ledger, Run, State};
use crate::outcome::Tally;
use crate::page::chart::{Bar, Slice, slices};
use crate::page::words::{self, Instant, Tone, count, milliseconds, visible};
use crate::told::records;
use crate::told::shown::{Pace, Shown, is_live, live_counts};
use crate::told::status::Status;

/// What takes reading many rows is read once for all who look within this time.
const FRESH: Duration = Duration::from_secs(2);

/// Counts of runs that are being applied, and the overview: shared by all who look.
#[derive(Default)]
pub struct LiveCounts {
    runs: Mutex<HashMap<String, (Clock, Tally)>>,
    status: Mutex<Option<(Clock, Arc<Status>)>>,
}

impl LiveCounts {
    pub fn of(&self, run: &Run, ledger: &dyn Ledger) -> anyhow::Result<Tally> {
        let mut runs = self.runs.lock().unwrap_or_else(PoisonError::into_inner);
        runs.retain(|_, (at, _)| at.elapsed() < FRESH);
        if let Some((_, tally)) = runs.get(&run.id) {
            return Ok(tally.clone());
        }
        let tally = live_counts(run, ledger)?;
        runs.insert(run.id.clone(), (Clock::now(), tally.clone()));
        Ok(tally)
    }

    pub fn status(&self, look: impl FnOnce() -> anyhow::Result<Status>) -> anyhow::Result<Arc<Status>> {
        let mut known = self.status.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some((_, status)) = known.as_ref().filter(|(at, _)| at.elapsed() < FRESH) {
            return Ok(Arc::clone(status));
        }
        let status = Arc::new(look()?);
        *known = Some((Clock::now(), Arc::clone(&status)));
        Ok(status)
    }

    /// Somebody decided: what was seen before is old.
    pub fn forget(&self) {
        *self.status.lock().unwrap_or_else(PoisonError::into_inner) = None;
        self.runs.lock().unwrap_or_else(PoisonError::into_inner).clear();
    }
}

impl Desk {
    /// A run by its id, and by nothing else: names are chosen by strangers.
    pub fn run(&self, id: &str) -> Result<Run, Fault> {
        self.ledger.run(id)?.ok_or(Fault::NotFound)
    }

    pub fn shown(&self, id: &str) -> Result<Shown, Fault> {
        let run = self.run(id)?;
        let live = if is_live(&run) { Some(self.counts.of(&run, &*self.ledger)?) } else { None };
        Ok(Shown::with(&self.config(), run, live, &*self.ledger)?)
    }
}

#[derive(Template)]
#[template(path = "review/run.html", config = "src/page/askama.toml")]
struct RunPage<'a> {
    frame: Frame<'a>,
    id: &'a str,
    file: String,
    feed: &'a str,
    kind: &'static str,
    parent: Option<&'a str>,
    state: &'static str,
    tone: Tone,
    live: Option<Live>,
    wish: Option<String>,
    cause: Option<String>,
    fault: Option<FaultWords>,
    bar: Bar,
    slices: Vec<Slice>,
    records: String,
    need: u64,
    may: May,
    problems: Vec<ProblemGroup>,
    guards: Vec<(String, bool, String)>,
    moves: Vec<(String, String)>,
    /// How long it takes.
    pace: Option<String>,
    samples: Vec<[String; 4]>,
    facts: Vec<(&'static str, String)>,
    seen: Instant,
    ended: Option<Instant>,
    warnings: Vec<String>,
    continued: &'a [String],
    reports: Vec<Kind>,
}

/// What the visitor may do with it now.
#[expect(clippy::struct_excessive_bools, reason = "each is a button")]
struct May {
    approve: bool,
    discard: bool,
    stop: bool,
    retry: bool,
    fix: bool,
}

struct FaultWords {
    code: &'static str,
    place: String,
    message: String,
    cure: String,
}

struct ProblemGroup {
    code: String,
    count: String,
    columns: Vec<(String, String)>,
    cause: String,
    cure: String,
}

/// How far a run is, for a script that looks again.
#[derive(Serialize, schemars::JsonSchema)]
pub struct Live {
    pub state: State,
    /// The state in words.
    pub words: &'static str,
    pub done: u64,
    pub records: u64,
    /// Nothing more happens to it by itself, or it waits for somebody.
    pub rests: bool,
}

impl Live {
    pub fn of(run: &Run) -> Live {
        Live {
            state: run.state,
            words: words::state_words(run.state),
            done: run.detail.tally.total(),
            records: records(run),
            rests: run.state.is_over() || run.state == State::Held,
        }
    }
}

pub async fn page(At(desk): At<Arc<Desk>>, visitor: Visitor, Path(id): Path<String>) -> Answer {
    let config = desk.config();
    let shown = work(move || desk.shown(&id)).await?;
    show(&RunPage::of(&config, &shown, &visitor))
}

pub async fn live(At(desk): At<Arc<Desk>>, _: Visitor, Path(id): Path<String>) -> Answer {
    let shown = work(move || desk.shown(&id)).await?;
    Ok(Json(Live::of(&shown.of)).into_response())
}

impl<'a> RunPage<'a> {
    fn of(config: &Config, shown: &'a Shown, visitor: &'a Visitor) -> RunPage<'a> {
        let (run, report) = (&shown.of, &shown.report);
        let zone = zone(config, &run.feed);
        let slices = slices(&report.rows);
        let live = Live::of(run);
        let detail = &run.detail;
        RunPage {
            frame: Frame::new(visible(&run.shown_name(), 80), visitor, Here::Runs),
            id: &run.id,
            file: visible(&run.shown_name(), LETTERS_MAX),
            feed: &run.feed,
            kind: kind(run.kind),
            parent: run.parent.as_deref(),
            state: words::state_words(run.state),
            tone: words::state_tone(run.state),
            live: (!live.rests).then_some(live),
            wish: shown.wish.as_ref().map(|wish| format!("{:?}", wish.what).to_lowercase() + " by " + &visible(&wish.by, LETTERS_MAX)),
            cause: detail.waits.as_deref().or(shown.cause.as_deref()).map(|words| visible(words, LETTERS_MAX)),
            fault: detail.fault.as_ref().map(|fault| FaultWords {
                code: fault.code.as_str(),
                place: fault.line.map(|line| format!("Line {line}. ")).unwrap_or_default(),
                message: visible(&fault.message, LETTERS_MAX),
                cure: visible(fault.suggestion.as_deref().unwrap_or(fault.code.explain().cure), LETTERS_MAX),
            }),
            bar: Bar::of(&slices),
            slices,
            records: count(report.records),
            need: if run.state == State::Held { 0 } else { shown.needs_person },
            may: May::of(config, run, shown.needs_person, visitor),
            problems: problems(shown),
            guards: report
                .guards
                .iter()
                .map(|verdict| (verdict.guard.clone(), verdict.held, visible(&verdict.evidence, LETTERS_MAX)))
                .collect(),
            moves: moves(shown),
            pace: shown.pace.as_ref().map(Pace::words),
            samples: report
                .moves
                .samples
                .iter()
                .map(|sample| [sample.line.to_string(), visible(&sample.field, 80), visible(&sample.from, 80), visible(&sample.to, 80)])
                .collect(),
            facts: facts(run, shown),
            seen: Instant::new(detail.seen_at, zone),
            ended: detail.ended_at.map(|at| Instant::new(at, zone)),
            warnings: report.warnings.iter().map(|words| visible(words, LETTERS_MAX)).collect(),
            continued: &detail.continued_by,
            reports: kinds(run, visitor),
        }
    }
}

impl May {
    fn of(config: &Config, run: &Run, need: u64, visitor: &Visitor) -> May {
        let can = |what| visitor.is_approver() && may(run, what).is_ok();
        let again = visitor.is_approver() && run.state.is_over() && run.detail.fault.is_none() && run.detail.removed.is_none();
        May {
            approve: can(WishKind::Approve),
            discard: can(WishKind::Discard),
            stop: can(WishKind::Stop),
            retry: again && need > 0,
            fix: again && left_to_fix(run).total() > 0 && may_fix(config, run).is_ok(),
        }
    }
}

fn problems(shown: &Shown) -> Vec<ProblemGroup> {
    let report = &shown.report;
    let mut groups: Vec<(&String, &u64)> = report.problems.iter().collect();
    groups.sort_by(|a, b| b.1.cmp(a.1).then(a.0.cmp(b.0)));
    groups
        .into_iter()
        .map(|(code, number)| {
            let mut columns: Vec<(&String, u64)> =
                report.problems_by_column.iter().filter_map(|(column, codes)| Some((column, *codes.get(code)?))).collect();
            columns.sort_by(|a, b| b.1.cmp(&a.1).then(a.0.cmp(b.0)));
            let help = report.codes.get(code);
            ProblemGroup {
                code: code.clone(),
                count: count(*number),
                columns: columns.into_iter().map(|(column, number)| (visible(column, 80), count(number))).collect(),
                cause: help.map(|help| help.cause.clone()).unwrap_or_default(),
                cure: help.map(|help| help.cure.clone()).unwrap_or_default(),
            }
        })
        .collect()
}

/// What a run does to passes: how many, and what.
pub fn moves(shown: &Shown) -> Vec<(String, String)> {
    let moves = &shown.report.moves;
    let passes = Some((moves.passes, "passes with something to do".into())).filter(|(passes, _)| *passes > 0);
    passes.into_iter().chain(moves.told()).map(|(number, words)| (count(number), words.into_owned())).collect()
}

fn facts(run: &Run, shown: &Shown) -> Vec<(&'static str, String)> {
    let detail = &run.detail;
    let mut facts = vec![
        ("Source", format!("{} {}", run.source, run.folder)),
        ("Complete because", detail.proof.clone()),
        ("Size", format!("{} bytes", count(run.size))),
        ("SHA-256", run.sha256.clone().unwrap_or_default()),
        ("Moved to", shown.archived.clone().unwrap_or_default()),
        ("Copy", shown.removed.as_ref().map(crate::ledger::keeping::Removed::told).unwrap_or_default()),
        ("Written as", detail.dialect.as_ref().map(dialect).unwrap_or_default()),
        ("Requests", count(detail.requests)),
        ("Time", detail.timings.iter().map(|(station, ms)| format!("{station} {}", milliseconds(*ms))).collect::<Vec<_>>().join(", ")),
    ];
    if let Some(approval) = &detail.approval {
        let reason = approval.reason.as_deref().map(|reason| format!(": {reason}")).unwrap_or_default();
        facts.push(("Approved", format!("by {}{reason}", approval.by)));
    }
    let parts: Vec<String> = run.parts().iter().map(crate::ledger::delivered::Part::shown).collect();
    facts.push(("Parts", parts.join(", ")));
    facts.retain(|(_, value)| !value.is_empty());
    facts.into_iter().map(|(name, value)| (name, visible(&value, LETTERS_MAX))).collect()
}

fn dialect(dialect: &DialectFacts) -> String {
    let delimiter = Form::named(&dialect.delimiter);
    let packed = if dialect.containers.is_empty() { String::new() } else { format!(", from {}", dialect.containers.join(", in it ")) };
    format!("cells divided by {delimiter}, {}{packed}", dialect.encoding)
}
