//! The story: two nights of a shop's deliveries, and what becomes of each.

use std::sync::Arc;
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use anyhow::{Context, bail, ensure};
use bstr::{BStr, ByteSlice};
use chrono::Utc;

use super::exports::{CAMPAIGN, EVERY_ROW_FAULT, Export, UNCLOSED_QUOTE, members};
use super::proof::Expected;
use super::review::{Fix, review};
use super::stage::{MARKETING, Stage, WAREHOUSE};
use super::visitor::Visitor;
use crate::ledger::run::WishKind;
use crate::ledger::{Ledger, Run, RunFilter, State, Wish};
use crate::metrics::Board;
use crate::outcome::Outcome;
use crate::pipeline::{Progress, Road};
use crate::stop::Stop;
use crate::watcher;

const FIRST: &str = "loyalty_2026-11-20.csv";
const SECOND: &str = "loyalty_2026-11-21.csv.gz";
const WIPED: &str = "loyalty_2026-11-22.csv";
const FAULTY: &str = "loyalty_every-row-fault.csv";
const CORRECTED: &str = "loyalty_every-row-fault.errors.csv";
const UNCLOSED: &str = "loyalty_unclosed-quote.csv";
const TEXTS: &str = "campaign_double-points.csv";

/// Where the story's feeds put their reports.
pub const REPORTS: &str = "reports";
/// A run that takes longer has met something that the story does not know of.
const PATIENCE: Duration = Duration::from_mins(2);
const LOOK: Duration = Duration::from_millis(50);
/// Lines of a report that are shown.
const EXCERPT: usize = 6;

/// What the story tells as it goes. Whoever listens shows it.
pub enum Told<'a> {
    /// A new part begins.
    Chapter(&'a str),
    /// Somebody dropped a file.
    Dropped { by: &'a str, folder: &'a str, name: &'a str, bytes: u64, rows: Option<u64> },
    /// A guard stopped a file.
    Held(&'a Run),
    /// A person decided about a held file.
    Decided(&'a Run, WishKind),
    /// A run is over.
    Over(&'a Run),
    /// The first lines of a report as it lies on the server.
    Report { folder: &'a str, name: &'a str, lines: &'a [String], more: u64 },
    /// The reviewer changed the report.
    Fixed(&'a Fix),
    /// A claim that was checked and holds.
    Proved(String),
    /// All runs, oldest first.
    Runs(&'a [Run]),
}

pub trait Teller {
    /// Fails when nobody can hear any more.
    fn tell(&mut self, told: Told<'_>) -> anyhow::Result<()>;
}

/// The watcher at work on a stage. Dropping it drains what it has in hand.
pub struct Player {
    stop: Stop,
    ledger: Arc<dyn Ledger>,
    watcher: Option<JoinHandle<anyhow::Result<()>>>,
}

impl Player {
    /// Starts the real watcher over the stage's configuration, until `stop`.
    pub fn start(stage: &Stage, ledger: Arc<dyn Ledger>, progress: Arc<dyn Progress>, stop: Stop) -> anyhow::Result<Player> {
        let board = Board::new(progress);
        let road = Arc::new(Road::new(Arc::clone(&stage.config), Arc::clone(&ledger), board.progress())?);
        let watching = stop.clone();
        let work = move || watcher::watch(&road, &board, &watching, None);
        let watcher = std::thread::Builder::new().name("demo-watcher".to_owned()).spawn(work)?;
        Ok(Player { stop, ledger, watcher: Some(watcher) })
    }

    /// The newest run of a file, once it has come to one of these states.
    fn run(&self, name: &str, wanted: &[State]) -> anyhow::Result<Run> {
        let deadline = Instant::now() + PATIENCE;
        loop {
            let run = self.ledger.runs_named(BStr::new(name))?.into_iter().next();
            match run {
                Some(run) if wanted.contains(&run.state) => return Ok(run),
                Some(run) if run.state.is_over() => bail!("{name} ended {} where the story expected {}", tale(&run), words(wanted)),
                Some(run) if run.state == State::Held => bail!("{name} is held where the story expected {}: {}", words(wanted), tale(&run)),
                Some(run) if Instant::now() > deadline => bail!("{name} is still {} after {PATIENCE:?}", tale(&run)),
                None if Instant::now() > deadline => bail!("{name} was not taken up within {PATIENCE:?}"),
                _ => {}
            }
            ensure!(self.watcher.as_ref().is_some_and(|watcher| !watcher.is_finished()), "the watcher ended by itself");
            ensure!(!self.stop.wait(LOOK), "stopped before the end of the story");
        }
    }

    /// The run of a file that was dropped again, after `earlier`.
    fn run_after(&self, name: &str, earlier: &Run) -> anyhow::Result<Run> {
        let deadline = Instant::now() + PATIENCE;
        while self.ledger.runs_named(BStr::new(name))?.first().is_none_or(|run| run.id == earlier.id) {
            ensure!(Instant::now() < deadline, "{name} was not taken up again within {PATIENCE:?}");
            ensure!(!self.stop.wait(LOOK), "stopped before the end of the story");
        }
        self.run(name, &[State::Done])
    }

    fn decide(&self, run: &Run, what: WishKind, reason: &str) -> anyhow::Result<()> {
        let wish = Wish { what, by: "demo".to_owned(), reason: Some(reason.to_owned()), at: Utc::now() };
        Ok(self.ledger.wish(&run.id, Some(wish))?)
    }

    /// Waits until the watcher ended.
    fn join(&mut self) -> anyhow::Result<()> {
        match self.watcher.take().map(JoinHandle::join) {
            Some(Ok(result)) => result,
            Some(Err(_)) => bail!("the watcher panicked"),
            None => Ok(()),
        }
    }

    /// Ends the watcher: what it has in hand goes to a safe point. Fails when the watcher had failed.
    pub fn end(mut self) -> anyhow::Result<()> {
        self.stop.drain();
        self.join()
    }
}

impl Drop for Player {
    fn drop(&mut self) {
        self.stop.drain();
        if let Err(fault) = self.join() {
            tracing::error!("{fault:#}");
        }
    }
}

/// State and cause, for a message about a run that went astray.
fn tale(run: &Run) -> String {
    let fault = run.detail.fault.as_ref().map(|fault| fault.message.clone());
    let verdict = run.detail.verdicts.iter().find(|verdict| verdict.held).map(|verdict| verdict.evidence.clone());
    match fault.or(verdict).or_else(|| run.detail.cause.clone()) {
        Some(cause) => format!("{} ({cause})", run.state),
        None => run.state.to_string(),
    }
}

fn words(states: &[State]) -> String {
    states.iter().map(|state| state.as_str()).collect::<Vec<_>>().join(" or ")
}

/// Plays the whole story. Fails when anything comes out differently from what it claims.
pub fn play(stage: &Stage, player: &Player, teller: &mut dyn Teller) -> anyhow::Result<()> {
    let mut scene = Scene {
        stage,
        player,
        visitor: Visitor::connect(stage)?,
        teller,
        first: Export::first_day(stage.passes)?,
        expected: Expected::default(),
    };
    let first = scene.first_night()?;
    scene.second_night(&first)?;
    scene.bad_files()?;
    scene.wiped_balances()?;
    scene.correction()?;
    let mut runs = player.ledger.runs(&RunFilter::default())?;
    runs.reverse();
    scene.teller.tell(Told::Runs(&runs))?;
    let passes = scene.expected.compare(&stage.sandbox)?;
    scene.proved(format!("all {passes} passes, read back one by one, hold what the files say, and kept the value that no feed maps"))?;
    Ok(())
}

struct Scene<'a> {
    stage: &'a Stage,
    player: &'a Player,
    visitor: Visitor,
    teller: &'a mut dyn Teller,
    first: Export,
    expected: Expected,
}

impl Scene<'_> {
    fn first_night(&mut self) -> anyhow::Result<Run> {
        self.chapter("The first export of every card")?;
        self.drop_export(FIRST, &self.first.bytes()?)?;
        let held = self.player.run(FIRST, &[State::Held])?;
        ensure!(
            held.detail.verdicts.iter().any(|verdict| verdict.held && verdict.guard == "first-file"),
            "no first-file verdict: {}",
            tale(&held)
        );
        self.teller.tell(Told::Held(&held))?;
        ensure!(self.writes_since(0).is_empty(), "a held file sent requests");
        self.proved("nothing was sent to the platform so far".to_owned())?;
        self.player.decide(&held, WishKind::Approve, "looked at the moves")?;
        self.teller.tell(Told::Decided(&held, WishKind::Approve))?;
        let run = self.over(FIRST, State::Done)?;
        expect(&run, Outcome::Applied, u64::from(self.stage.passes))?;
        self.expected.members(self.first.members()?);
        self.expected.compare(&self.stage.sandbox)?;
        Ok(run)
    }

    fn second_night(&mut self, first: &Run) -> anyhow::Result<()> {
        self.chapter("Texts from the marketing tool, the same file again, and the next export (gzip)")?;
        let second = self.first.second_day()?;
        let from = self.stage.sandbox.requests().total();
        self.drop_sample("marketing tool", MARKETING, TEXTS, CAMPAIGN)?;
        self.drop_export(FIRST, &self.first.bytes()?)?;
        let again = self.player.run_after(FIRST, first)?;
        self.teller.tell(Told::Over(&again))?;
        ensure!(
            again.detail.nothing_new && again.detail.requests == 0,
            "a file that was delivered again sent {} requests",
            again.detail.requests
        );
        let texts = campaign_texts()?;
        let campaign = self.over(TEXTS, State::Done)?;
        expect(&campaign, Outcome::Applied, texts.len() as u64)?;

        // Only now: while another feed's rows are on their way to a pass, all rows about it are sent, changed or not.
        self.drop_export(SECOND, &second.gzip()?)?;
        let run = self.over(SECOND, State::Done)?;
        expect(&run, Outcome::Applied, self.first.used())?;
        expect(&run, Outcome::Unchanged, self.first.rows() - self.first.used())?;

        let writes = self.writes_since(from).len() as u64;
        ensure!(writes == self.first.used() + texts.len() as u64, "{writes} write requests for {} changed rows", self.first.used());
        self.proved(format!(
            "{writes} write requests for {} + {} changed rows; the {} rows that say nothing new cost none",
            self.first.used(),
            texts.len(),
            2 * self.first.rows() - self.first.used()
        ))?;
        self.expected.members(second.members()?);
        self.expected.texts(texts);
        self.expected.compare(&self.stage.sandbox)?;
        self.first = second;
        Ok(())
    }

    fn bad_files(&mut self) -> anyhow::Result<()> {
        self.chapter("A file with every kind of row fault, and one that fails as a whole")?;
        self.drop_sample("warehouse", WAREHOUSE, FAULTY, EVERY_ROW_FAULT)?;
        self.drop_sample("warehouse", WAREHOUSE, UNCLOSED, UNCLOSED_QUOTE)?;
        let faulty = self.over(FAULTY, State::Done)?;
        ensure!(faulty.detail.tally.get(Outcome::Rejected) > 0, "no row of {FAULTY} was rejected");
        expect(&faulty, Outcome::Unresolved, 1)?;
        let unclosed = self.over(UNCLOSED, State::Failed)?;
        let line = unclosed.detail.fault.as_ref().and_then(|fault| fault.line);
        ensure!(line.is_some() && unclosed.detail.requests == 0, "{UNCLOSED}: {}", tale(&unclosed));

        let report = self.visitor.read(&reports(WAREHOUSE), CORRECTED)?;
        self.show(&reports(WAREHOUSE), CORRECTED, &report)?;
        let lines = review(&report)?.lines;
        ensure!(lines.len() as u64 == faulty.detail.tally.needing_person(), "the report has {} lines: {}", lines.len(), tale(&faulty));
        self.proved(format!("the report has one line for each of the {} rows that need a person, with its original cells", lines.len()))?;
        let mut good = csv::ReaderBuilder::new().flexible(true).from_reader(EVERY_ROW_FAULT.as_bytes());
        let header = good.headers()?.clone();
        let good = good.records().filter(|row| !row.as_ref().is_ok_and(|row| row.position().is_some_and(|at| lines.contains(&at.line()))));
        self.expected.members(members(&header, good)?);
        self.expected.compare(&self.stage.sandbox)?;
        Ok(())
    }

    fn wiped_balances(&mut self) -> anyhow::Result<()> {
        self.chapter("An export whose balances all read 0")?;
        let from = self.stage.sandbox.requests().total();
        self.drop_export(WIPED, &self.first.wiped()?.bytes()?)?;
        let held = self.player.run(WIPED, &[State::Held])?;
        ensure!(held.detail.verdicts.iter().any(|verdict| verdict.held && verdict.guard == "zeroed"), "no zeroed verdict: {}", tale(&held));
        self.teller.tell(Told::Held(&held))?;
        self.player.decide(&held, WishKind::Discard, "the join with the balances failed")?;
        self.teller.tell(Told::Decided(&held, WishKind::Discard))?;
        self.over(WIPED, State::Discarded)?;
        ensure!(self.writes_since(from).is_empty(), "a discarded file sent requests");
        self.expected.compare(&self.stage.sandbox)?;
        self.proved("nothing was sent; every balance is as it was".to_owned())?;
        Ok(())
    }

    fn correction(&mut self) -> anyhow::Result<()> {
        self.chapter("The report, corrected and dropped back")?;
        let report = self.visitor.read(&reports(WAREHOUSE), CORRECTED)?;
        let reviewed = review(&report)?;
        for fix in &reviewed.fixes {
            self.teller.tell(Told::Fixed(fix))?;
        }
        let from = self.stage.sandbox.requests().total();
        let rows = reviewed.members.len() as u64;
        self.drop("reviewer", WAREHOUSE, CORRECTED, &reviewed.content, Some(rows))?;
        let run = self.over(CORRECTED, State::Done)?;
        expect(&run, Outcome::Applied, rows)?;
        let mut written = self.writes_since(from);
        written.sort();
        let mut fixed: Vec<String> = reviewed.members.iter().map(|member| member.external_id.clone()).collect();
        fixed.sort();
        ensure!(written == fixed, "the correction wrote to {written:?} instead of {fixed:?}");
        self.proved(format!("{} write requests, one for each corrected row and none besides", written.len()))?;
        self.expected.members(reviewed.members);
        self.expected.compare(&self.stage.sandbox)?;
        Ok(())
    }

    fn chapter(&mut self, title: &str) -> anyhow::Result<()> {
        self.teller.tell(Told::Chapter(title))
    }

    fn proved(&mut self, claim: String) -> anyhow::Result<()> {
        self.teller.tell(Told::Proved(claim))
    }

    fn drop_export(&mut self, name: &str, content: &[u8]) -> anyhow::Result<()> {
        let rows = self.first.rows();
        self.drop("warehouse", WAREHOUSE, name, content, Some(rows))
    }

    fn drop_sample(&mut self, by: &str, inbox: &str, name: &str, content: &str) -> anyhow::Result<()> {
        self.drop(by, inbox, name, content.as_bytes(), None)
    }

    fn drop(&mut self, by: &str, folder: &str, name: &str, content: &[u8], rows: Option<u64>) -> anyhow::Result<()> {
        self.visitor.drop_file(folder, name, content).with_context(|| format!("cannot upload {folder}/{name}"))?;
        self.teller.tell(Told::Dropped { by, folder, name, bytes: content.len() as u64, rows })?;
        Ok(())
    }

    fn over(&mut self, name: &str, state: State) -> anyhow::Result<Run> {
        // A held run that was just decided about is still held until the watcher looks.
        let deadline = Instant::now() + PATIENCE;
        while self.player.ledger.runs_named(name.into())?.first().is_some_and(|run| run.state == State::Held && Instant::now() < deadline) {
            ensure!(!self.player.stop.wait(LOOK), "stopped before the end of the story");
        }
        let run = self.player.run(name, &[state])?;
        self.teller.tell(Told::Over(&run))?;
        Ok(run)
    }

    fn show(&mut self, folder: &str, name: &str, content: &[u8]) -> anyhow::Result<()> {
        let lines: Vec<String> = content.lines().map(|line| line.to_str_lossy().into_owned()).collect();
        let more = lines.len().saturating_sub(EXCERPT) as u64;
        self.teller.tell(Told::Report { folder, name, lines: &lines[..lines.len().min(EXCERPT)], more })
    }

    /// External IDs of the passes that the platform was asked to change since its request number `from`.
    fn writes_since(&self, from: u64) -> Vec<String> {
        let entries = self.stage.sandbox.requests().select(|entry| entry.sequence >= from && entry.method == "PUT");
        entries.into_iter().map(|entry| entry.external_id.unwrap_or_default()).collect()
    }
}

fn reports(inbox: &str) -> String {
    format!("{inbox}/{REPORTS}")
}

fn expect(run: &Run, outcome: Outcome, rows: u64) -> anyhow::Result<()> {
    let counted = run.detail.tally.get(outcome);
    ensure!(counted == rows, "{}: {counted} rows are {}, the story expected {rows}", run.shown_name(), outcome.as_str());
    Ok(())
}

fn campaign_texts() -> anyhow::Result<Vec<(String, String)>> {
    let mut reader = csv::ReaderBuilder::new().delimiter(b';').from_reader(CAMPAIGN.as_bytes());
    let rows = reader.records().map(|row| row.map(|row| (row[0].to_owned(), row[1].to_owned())));
    Ok(rows.collect::<Result<_, _>>()?)
}
