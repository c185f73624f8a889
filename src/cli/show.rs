//! `show`: all that is known of a run.

use std::io::Write;

use owo_colors::OwoColorize;

use super::{Exit, Global, context, out};
use crate::dialect::{Charset, Form};
use crate::ledger::Run;
use crate::ledger::keeping::Removed;
use crate::outcome::Outcome;
use crate::pipeline::report::Report;
use crate::told::shown::Shown;
use crate::told::{RowLine, Rows, by_outcome};

/// Show all that is known of a run: counts, guards, moves, reports, what to do next
///
/// RUN is a run's id or a file name (of several runs of a name, the newest). With --rows also the rows that need a person, with what is
/// wrong with each; --outcome chooses others. Cells of personal columns are masked.
///
/// Example: passferry show loyalty_0611.csv --rows
#[derive(clap::Args, Debug)]
pub struct Args {
    /// A run's id, or a file name
    #[arg(value_name = "RUN")]
    wanted: String,
    /// Also its rows that need a person
    #[arg(long)]
    rows: bool,
    /// Rows that ended so, instead; may be given several times
    #[arg(long, value_name = "OUTCOME", value_parser = outcome)]
    outcome: Vec<Outcome>,
    /// Only the row that begins on this line of the file; may be given several times
    #[arg(long, value_name = "N")]
    line: Vec<u64>,
    /// One JSON object, then one a row
    #[arg(long)]
    json: bool,
    /// Show cells of columns that are marked personal
    #[arg(long)]
    show_personal: bool,
}

fn outcome(text: &str) -> Result<Outcome, String> {
    Outcome::parse(text).ok_or_else(|| format!("write one of {}", Outcome::ALL.map(Outcome::as_str).join(", ")))
}

pub fn run(global: &Global, args: &Args) -> anyhow::Result<Exit> {
    let config = context::config(global)?;
    let ledger = context::Reading::open(&config)?;
    let shown = Shown::of(&config, context::find_run(&*ledger, &args.wanted)?, &*ledger)?;
    let mut out = out::stdout();
    if args.json {
        out::json(&mut out, &shown)?;
    } else {
        write_run(&mut out, &shown)?;
    }
    let run = shown.of;
    if args.rows || !args.outcome.is_empty() || !args.line.is_empty() {
        let rows = Rows::of(&config, &ledger.shared(), &run, args.show_personal)?;
        let needing = args.outcome.is_empty() && args.line.is_empty();
        if !args.json {
            out::heading(&mut out, "rows")?;
        }
        let outcomes = match (&args.outcome[..], &args.line[..]) {
            ([], []) => Outcome::ALL.into_iter().filter(|outcome| outcome.needs_person()).collect(),
            (chosen, _) => chosen.to_vec(),
        };
        ledger.rows(&run.id, &outcomes, &mut |row| {
            if (!args.line.is_empty() && !args.line.contains(&row.line)) || (needing && row.taken) {
                return Ok(());
            }
            write_row(&mut out, &rows.line(row)?, args.json)
        })?;
    }
    out.flush()?;
    Ok(Exit::Ok)
}

pub fn write_row(out: &mut impl Write, row: &RowLine, json: bool) -> anyhow::Result<()> {
    if json {
        return out::json(out, row);
    }
    let part = row.part.as_ref().map(|part| format!(", {}", part.escape_debug())).unwrap_or_default();
    writeln!(out, "line {} (record {}{part}): {} {}", row.line, row.record, row.operation, row.outcome.bold())?;
    for words in row.words() {
        writeln!(out, "    {words}")?;
    }
    Ok(())
}

/// Names of a set's parts, as far as a line holds them.
fn parts(run: &Run) -> String {
    const SHOWN: usize = 4;
    let names: Vec<String> = run.parts().iter().take(SHOWN).map(|part| part.shown().escape_debug().to_string()).collect();
    match run.parts().len().saturating_sub(SHOWN) {
        0 => names.join(", "),
        more => format!("{} and {more} more", names.join(", ")),
    }
}

fn write_run(out: &mut impl Write, shown: &Shown) -> anyhow::Result<()> {
    let (run, report, wish) = (&shown.of, &shown.report, shown.wish.as_ref());
    let detail = &run.detail;
    writeln!(out, "{}  {}  {}", run.id.bold(), run.state.bold(), run.shown_name())?;
    let mut facts = out::table(&[]);
    let mut fact = |name: &str, value: String| {
        if !value.is_empty() {
            facts.add_row([name.to_owned(), value]);
        }
    };
    fact("feed", run.feed.clone());
    fact(
        "kind",
        match &run.parent {
            Some(parent) => format!("{} of {parent}", run.kind.as_str()),
            None => run.kind.as_str().to_owned(),
        },
    );
    fact("source", format!("{} {}", run.source, run.folder.to_string().escape_debug()));
    fact("seen", format!("{} ({})", out::time(detail.seen_at), detail.proof));
    fact("ended", detail.ended_at.map(out::time).unwrap_or_default());
    fact("waits for", detail.waits.clone().unwrap_or_default());
    fact("cause", detail.cause.clone().unwrap_or_default());
    fact("continued by", detail.continued_by.join(", "));
    fact("parts", parts(run));
    fact("size", format!("{} bytes", out::count(run.size)));
    fact("sha-256", run.sha256.clone().unwrap_or_default());
    fact("moved to", detail.archived.as_ref().map(crate::ledger::run::show_name).unwrap_or_default());
    fact("file", detail.removed.as_ref().map(Removed::told).unwrap_or_default());
    if let Some(dialect) = &detail.dialect {
        let delimiter = Form::named(&dialect.delimiter);
        fact("delimiter", format!("{delimiter} ({})", if dialect.pinned { "set" } else { &dialect.evidence }));
        if dialect.encoding != Charset::UTF_8.name() {
            fact("encoding", format!("{} ({})", dialect.encoding, dialect.encoding_evidence));
        }
        fact("unpacked from", dialect.containers.join(", in it "));
    }
    if let Some(approval) = &detail.approval {
        let reason = approval.reason.as_deref().map(|reason| format!(": {reason}")).unwrap_or_default();
        fact("approved", format!("by {} {}{reason}", approval.by, out::time(approval.at)));
    }
    if let Some(wish) = wish {
        fact("asked for", format!("{:?} by {} {}", wish.what, wish.by, out::ago(wish.at)).to_lowercase());
    }
    fact("requests", out::count(detail.requests));
    fact(
        "time",
        detail.timings.iter().map(|(station, ms)| format!("{station} {:.1} s", *ms as f64 / 1000.0)).collect::<Vec<_>>().join(", "),
    );
    out::write_table(out, facts)?;

    if let Some(fault) = &detail.fault {
        out::heading(out, "the file is bad as a whole")?;
        let place = match (fault.line, fault.column) {
            (Some(line), Some(column)) => format!("line {line}, character {column}: "),
            (Some(line), None) => format!("line {line}: "),
            _ => String::new(),
        };
        writeln!(out, "{} {place}{}", fault.code.red(), fault.message)?;
    }
    out::heading(out, &out::counted(report.records, "record"))?;
    let mut counts = out::table(&[]);
    for (outcome, count) in report.rows.iter().filter(|(_, count)| **count > 0) {
        counts.add_row([outcome.clone(), out::count(*count)]);
    }
    out::write_table(out, counts)?;
    write_problems(out, report)?;
    write_guards(out, report)?;
    if let Some(pace) = &shown.pace {
        writeln!(out, "{}", pace.words())?;
    }
    if !detail.reports.is_empty() {
        out::heading(out, "reports")?;
        for file in &detail.reports {
            writeln!(out, "{} ({} bytes)", file.name, out::count(file.bytes))?;
        }
    }
    if !detail.operations.is_empty() {
        out::heading(out, "operations")?;
        for (name, tally) in &detail.operations {
            let counts: Vec<String> = by_outcome(tally).iter().map(|(outcome, count)| format!("{count} {outcome}")).collect();
            writeln!(out, "{name}: {}", counts.join(", "))?;
        }
    }
    for warning in &detail.warnings {
        writeln!(out, "\n{} {warning}", "note:".yellow())?;
    }
    if !report.next.is_empty() {
        out::heading(out, "next")?;
        for step in &report.next {
            writeln!(out, "{step}")?;
        }
    }
    Ok(())
}

fn write_problems(out: &mut impl Write, report: &Report) -> anyhow::Result<()> {
    if report.problems.is_empty() {
        return Ok(());
    }
    out::heading(out, "problems")?;
    for (code, count) in &report.problems {
        let columns: Vec<String> = report
            .problems_by_column
            .iter()
            .filter_map(|(column, codes)| codes.get(code).map(|count| format!("{} {count}", column.escape_debug())))
            .collect();
        let columns = if columns.is_empty() { String::new() } else { format!(" ({})", columns.join(", ")) };
        writeln!(out, "{:>10}  {code}{columns}", out::count(*count))?;
        if let Some(help) = report.codes.get(code) {
            writeln!(out, "            {} {}", help.cause, help.cure)?;
        }
    }
    Ok(())
}

/// What the guards say and how values move, for `show` and `plan`.
pub fn write_guards(out: &mut impl Write, report: &Report) -> anyhow::Result<()> {
    if !report.guards.is_empty() {
        out::heading(out, "guards")?;
        for verdict in &report.guards {
            let sign = if verdict.held { "holds".red().to_string() } else { "ok".green().to_string() };
            writeln!(out, "{} {sign}: {}", verdict.guard, verdict.evidence)?;
        }
    }
    write_moves(out, &report.moves)
}

pub fn write_moves(out: &mut impl Write, moves: &crate::ledger::run::Moves) -> anyhow::Result<()> {
    if moves.passes == 0 {
        return Ok(());
    }
    out::heading(out, &format!("changes of {}", passes(moves.passes)))?;
    for (count, what) in moves.told() {
        writeln!(out, "{:>10}  {what}", out::count(count))?;
    }
    for sample in &moves.samples {
        writeln!(out, "  line {}: {}: {} → {}", sample.line, sample.field, sample.from, sample.to)?;
    }
    Ok(())
}

fn passes(count: u64) -> String {
    format!("{} {}", out::count(count), if count == 1 { "pass" } else { "passes" })
}
