//! `plan`: what a file would change, with nothing sent.

use std::collections::BTreeMap;
use std::io::Write;
use std::path::PathBuf;

use chrono::Utc;
use owo_colors::OwoColorize;
use serde::Serialize;

use super::file::InHand;
use super::show::write_moves;
use super::validate::{SHOWN_MAX, tell_fault, tell_header};
use super::{Exit, Failure, Global, context, out};
use crate::config::meant::{Feed, Mode};
use crate::format::shape;
use crate::ledger::run::{Moves, Verdict};
use crate::ledger::{Ledger, Row, Run, RunFilter, RunKind};
use crate::mapping::Place;
use crate::outcome::{Outcome, Tally};
use crate::page::words::visible;
use crate::pipeline::check::delivered::GUARD;
use crate::pipeline::correction::reserved_columns;
use crate::pipeline::decode::{DecodeError, Dialect, Facts, literal_cells, read_record, split_cells};
use crate::pipeline::diff::{Against, Diffed, diff};
use crate::pipeline::fix::FieldChange;
use crate::pipeline::guard::{self, Totals};
use crate::pipeline::index::Choice;
use crate::pipeline::pending::PendingPasses;
use crate::pipeline::road::{Prepared, pool, prepare};
use crate::pipeline::sent::Sent;
use crate::pipeline::validate::{Rules, ValidateError, Validated, validate};
use crate::platform;
use crate::row::Verb;
use crate::schema::Columns;
use crate::told::by_outcome;
use crate::told::shown::Pace;

/// Show what a file would change, sending nothing
///
/// Checks the file as it would be checked on delivery, compares it with what was last applied, and tells what would be sent, what the
/// guards would say, and how long it would take. Works beside a running daemon and writes nothing. The exit code is 0 whatever the plan
/// says (`held` and `rows` of --json tell scripts), and 65 where the file is bad as a whole.
///
/// Example: passferry plan loyalty_0611.csv --feed points --rows 10
#[derive(clap::Args, Debug)]
pub struct Args {
    /// The file, plain or packed (gzip, zstd, bzip2, snappy, zip), or a workbook (.xlsx); the parts, folder or manifest of a set; - is
    /// standard input
    #[arg(required = true, value_name = "FILE")]
    files: Vec<PathBuf>,
    /// The feed it would be delivered to
    #[arg(long, value_name = "FEED")]
    feed: String,
    /// Show the first N changes, field by field
    #[arg(long, default_value_t = 0, value_name = "N")]
    rows: usize,
    /// As if run with --force: send what is unchanged too
    #[arg(long)]
    force: bool,
    /// One JSON object; with --rows, the changes are in it
    #[arg(long)]
    json: bool,
    /// Show values of columns that are marked personal
    #[arg(long)]
    show_personal: bool,
}

#[derive(Serialize)]
struct Plan {
    file: String,
    feed: String,
    mode: &'static str,
    records: u64,
    /// Rows by outcome; those to be sent are `to-send`.
    rows: BTreeMap<&'static str, u64>,
    problems: BTreeMap<String, u64>,
    guards: Vec<Verdict>,
    held: bool,
    moves: Moves,
    /// How the passes of its rows are found, where that takes requests.
    #[serde(skip_serializing_if = "Option::is_none")]
    finding: Option<Finding>,
    #[serde(flatten)]
    pace: Pace,
    warnings: Vec<String>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    changes: Vec<ChangeLine>,
}

#[derive(Serialize)]
struct Finding {
    /// Rows whose pass must be found.
    rows: u64,
    /// Requests that ask for them.
    asks: u64,
    /// The whole list is read instead if the account has fewer passes than this; none where it never is.
    list_below: Option<u64>,
}

/// What one row would do to one pass.
#[derive(Serialize)]
struct ChangeLine {
    line: u64,
    /// Of a set: the part and the line in it.
    #[serde(skip_serializing_if = "Option::is_none")]
    part: Option<String>,
    record: u64,
    pass: String,
    operation: &'static str,
    fields: Vec<FieldLine>,
}

#[derive(Serialize)]
struct FieldLine {
    field: String,
    from: String,
    to: String,
}

/// What runs of the account have not finished with.
fn pending_of(ledger: &dyn Ledger, account: &str) -> anyhow::Result<PendingPasses> {
    let placed = |run: Run| (run.account == account && run.is_placed()).then_some(run.id);
    let before: Vec<String> = ledger.runs(&RunFilter::default())?.into_iter().filter_map(placed).collect();
    let mut pending = PendingPasses::default();
    ledger.pending_passes(&before, &mut |row| pending.insert(row.pass, Verb::Void, std::iter::empty()))?;
    Ok(pending)
}

pub fn run(global: &Global, args: &Args) -> anyhow::Result<Exit> {
    let config = context::config(global)?;
    let feed = context::feed(&config, &args.feed)?;
    let ledger = context::Reading::open(&config)?;
    let account = platform::open(&feed.platform);
    let known = ledger.field_names(&feed.platform.name)?;
    // A field that the ledger has not seen has no baseline; giving it a number is left to a real run.
    let number = |name: &str| known.iter().find(|(_, known)| known == name).map_or(u16::MAX, |(number, _)| *number);
    let hand = InHand::open(&args.files, Some(feed))?;
    let mut out = out::stdout();
    let reader = match hand.read(&feed.dialect, &feed.limits)? {
        Ok(reader) => reader,
        Err(fault) => return tell_fault(&mut out, &hand.at_hand(), &fault, args.json),
    };
    let (labels, line) = reader.header().map(|header| (header.labels.clone(), header.line)).unzip();
    let line = line.unwrap_or(1);
    is_data(labels.as_deref().unwrap_or_default())?;
    let feed = &match shape(feed, labels.as_deref().unwrap_or_default()) {
        Ok(shaped) => shaped,
        Err(faults) => return tell_header(&mut out, &hand.at_hand(), line, &faults, args.json),
    };
    let prepared = prepare(feed, &account, |name| Ok(number(name)))?;
    let columns = match prepared.schema.columns(labels.as_deref()) {
        Ok(columns) => columns,
        Err(faults) => return tell_header(&mut out, &hand.at_hand(), line, &faults, args.json),
    };
    let (dialect, text_path, notes) = (reader.dialect().clone(), reader.text_path().to_owned(), reader.notes().to_vec());
    let file = hand.sha256()?;
    let rules = Rules {
        schema: &prepared.schema,
        columns: &columns,
        mapping: Some(&prepared.mapping),
        correction: None,
        file: &file,
        picked: None,
    };
    let pool = pool(config.workers)?;
    let (validated, duplicated) = match validate(reader, &rules, &hand.spool, &pool, &|_| (), &mut |_| Ok(())) {
        Ok(both) => both,
        Err(ValidateError::Decode(DecodeError::Fault(fault))) => return tell_fault(&mut out, &hand.at_hand(), &fault, args.json),
        Err(error) => return Err(error.into()),
    };
    let pending = pending_of(&*ledger, &feed.platform.name)?;
    let against = Against {
        ledger: &*ledger,
        run: "",
        account: &feed.platform.name,
        mapping: &prepared.mapping,
        field_ids: &prepared.field_ids,
        clock: prepared.clock,
        duplicates: feed.duplicates,
        today: (Utc::now().timestamp() / 86_400) as u16,
        max_age_days: feed.unchanged_max_age.map(|age| (age.as_secs() / 86_400) as u16),
        force: args.force,
        pending: &pending,
        sent: &Sent::default(),
        declines: false,
        forgotten: false,
        meet: None,
        stale: None,
    };
    let mut first = First { rows: Vec::new(), wanted: args.rows };
    let diffed = diff(&validated, &duplicated, &against, &pool, &mut |rows| {
        first.take(rows);
        Ok(())
    })?;
    let guards = guards(feed, &hand, &validated, &diffed, &*ledger)?;
    let rows = counts(&diffed, validated.rejected);
    let finding = finding(&*account, diffed.moves.finds);
    let text = std::fs::File::open(&text_path)?;
    let changes = first.in_order().into_iter().map(|row| {
        change(
            &row,
            &Told { hand: &hand, text: &text, dialect: &dialect, columns: &columns, prepared: &prepared, ledger: &*ledger, feed, args },
        )
    });
    let holds = |verdict: &Verdict| verdict.held && (diffed.pending > 0 || guard::is_of_delivery(&verdict.guard));
    let held = guards.iter().any(holds) && feed.mode != Mode::Plan;
    let plan = Plan {
        file: hand.shown.clone(),
        feed: feed.name.clone(),
        mode: feed.mode.as_str(),
        records: validated.valid + validated.rejected,
        rows,
        problems: validated.problems,
        held,
        guards,
        pace: Pace::of(&feed.platform, diffed.moves.requests),
        finding,
        moves: diffed.moves,
        warnings: warnings([hand.notes(), notes].concat(), &columns, &validated.facts),
        changes: changes.collect::<anyhow::Result<_>>()?,
    };
    if args.json {
        out::json(&mut out, &plan)?;
    } else {
        write_plan(&mut out, &plan)?;
    }
    out.flush()?;
    Ok(Exit::Ok)
}

/// What would hold it.
fn guards(feed: &Feed, hand: &InHand, validated: &Validated, diffed: &Diffed, ledger: &dyn Ledger) -> anyhow::Result<Vec<Verdict>> {
    let records = validated.valid + validated.rejected;
    let totals = Totals { records, rejected: validated.rejected, ragged: validated.ragged, moves: &diffed.moves, kind: RunKind::File };
    let mut guards = guard::judge(feed, &totals, ledger)?;
    let of_set = hand.judge(validated.facts.records)?;
    if !of_set.is_empty() {
        guards.insert(0, Verdict { guard: GUARD.into(), held: true, evidence: of_set.join("; ") });
    }
    Ok(guards)
}

/// How the passes of so many rows are found; none where nothing must be.
fn finding(platform: &dyn platform::Platform, rows: u64) -> Option<Finding> {
    let asks = rows.div_ceil(platform.limits().find_batch.max(1) as u64);
    let list_below = Choice::of(platform, rows).map(|choice| choice.below);
    (rows > 0).then_some(Finding { rows, asks, list_below })
}

fn is_data(labels: &[String]) -> Result<(), Failure> {
    let words = "this is an error report: dropped back into the inbox it is a correction; plan takes data files";
    reserved_columns(labels).map_or(Ok(()), |_| Err(Failure::new(Exit::Usage, words)))
}

/// What is worth a second look.
fn warnings(notes: Vec<String>, columns: &Columns, facts: &Facts) -> Vec<String> {
    let mut warnings = [notes, columns.warnings.clone()].concat();
    if !facts.last_line_ended && facts.records > 0 {
        warnings.push("the last line has no line end: the file may have been cut short".into());
    }
    warnings
}

/// How the file's rows would end.
fn counts(diffed: &Diffed, rejected: u64) -> BTreeMap<&'static str, u64> {
    let mut tally: Tally = diffed.ended.clone();
    tally.add(Outcome::Unchanged, diffed.unchanged);
    tally.add(Outcome::Rejected, rejected);
    let mut rows = by_outcome(&tally);
    rows.insert("to-send", diffed.pending);
    rows.retain(|_, count| *count > 0);
    rows
}

/// Rows to be sent come in the order of passes; of them the first by record are kept.
struct First {
    rows: Vec<Row>,
    wanted: usize,
}

impl First {
    fn take(&mut self, rows: Vec<Row>) {
        if self.wanted == 0 {
            return;
        }
        self.rows.extend(rows.into_iter().filter(|row| row.outcome.is_none()));
        if self.rows.len() > self.wanted.saturating_mul(4).max(10_000) {
            self.cut();
        }
    }

    fn cut(&mut self) {
        self.rows.sort_unstable_by_key(|row| row.record);
        self.rows.truncate(self.wanted);
    }

    fn in_order(mut self) -> Vec<Row> {
        self.cut();
        self.rows
    }
}

/// What is needed to tell a change.
struct Told<'a> {
    hand: &'a InHand,
    text: &'a std::fs::File,
    dialect: &'a Dialect,
    columns: &'a Columns,
    prepared: &'a Prepared,
    ledger: &'a dyn Ledger,
    feed: &'a Feed,
    args: &'a Args,
}

fn change(row: &Row, told: &Told<'_>) -> anyhow::Result<ChangeLine> {
    let Prepared { schema, mapping, .. } = told.prepared;
    let raw = read_record(told.text, row.offset, row.length)?;
    let (mut cells, mut values, mut problems) = (Vec::new(), Vec::new(), Vec::new());
    split_cells(&raw, told.dialect, &mut cells);
    let mut literal = Vec::new();
    literal_cells(&raw, told.dialect, &mut literal);
    schema.strip(told.columns, &mut cells);
    schema.read(told.columns, &cells, &literal, &mut values, &mut problems);
    // Identities of adds are not shown, so the file's does not matter here.
    let place = Place { record: row.record, ..Place::default() };
    let update = mapping.update(told.columns, &cells, &values, &place, &mut problems);
    let Some(update) = update else { anyhow::bail!("line {} changed while it was looked at", row.line) };
    let known = told.ledger.baseline_of(&told.feed.platform.name, &[update.target.key()])?.pop();
    let hide = |personal: bool| personal && !told.args.show_personal;
    let fields = update.wanted.iter().filter(|wanted| row.mask & (1 << wanted.field) != 0).map(|wanted| {
        let FieldChange { field, personal, before, after, .. } = FieldChange::of(wanted, told.prepared, known.as_ref());
        FieldLine {
            field,
            from: before.unwrap_or_else(|| "unknown".to_owned()),
            to: match after {
                None => "nothing".to_owned(),
                Some(_) if hide(personal) => out::MASK.to_owned(),
                Some(after) => after,
            },
        }
    });
    let hidden = hide(schema.fields()[mapping.pass_field()].personal);
    Ok(ChangeLine {
        line: row.line,
        part: told.hand.part(row.line),
        record: row.record,
        pass: if hidden { out::MASK.to_owned() } else { update.target.text().to_owned() },
        operation: row.verb.as_str(),
        fields: fields.collect(),
    })
}

fn write_plan(out: &mut impl Write, plan: &Plan) -> anyhow::Result<()> {
    writeln!(out, "{} as a file of feed {} ({} mode): {}", plan.file.bold(), plan.feed, plan.mode, out::counted(plan.records, "record"))?;
    for (outcome, count) in &plan.rows {
        writeln!(out, "{:>10}  {outcome}", out::count(*count))?;
    }
    if !plan.problems.is_empty() {
        out::heading(out, "problems")?;
        for (code, count) in &plan.problems {
            writeln!(out, "{:>10}  {code}", out::count(*count))?;
        }
        writeln!(out, "passferry validate {} --feed {} lists them", plan.file, plan.feed)?;
    }
    write_moves(out, &plan.moves)?;
    if let Some(Finding { rows, asks, list_below: Some(below) }) = &plan.finding {
        let (rows, asks, below) = (out::counted(*rows, "row"), out::counted(*asks, "request"), out::count(*below));
        writeln!(
            out,
            "the passes of {rows} are found by reading the account's whole list once if it has fewer than {below} passes, and otherwise asked for \
             with {asks}: that is learnt when the file is applied"
        )?;
    }
    if plan.moves.requests > 0 {
        writeln!(out, "{}", plan.pace.words())?;
    }
    if !plan.guards.is_empty() {
        out::heading(out, "guards")?;
        for verdict in &plan.guards {
            let sign = if verdict.held { "would hold it".red().to_string() } else { "ok".green().to_string() };
            writeln!(out, "{} {sign}: {}", verdict.guard, verdict.evidence)?;
        }
    }
    for warning in &plan.warnings {
        writeln!(out, "{} {warning}", "note:".yellow())?;
    }
    if !plan.changes.is_empty() {
        out::heading(out, "first changes")?;
        for change in &plan.changes {
            let place = change.part.clone().unwrap_or_else(|| format!("line {}", change.line));
            writeln!(out, "{place}: {} {}", change.operation, visible(&change.pass, SHOWN_MAX))?;
            for field in &change.fields {
                writeln!(out, "    {}: {} → {}", field.field, field.from, visible(&field.to, SHOWN_MAX))?;
            }
        }
    }
    Ok(())
}
