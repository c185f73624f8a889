//! `preview`: the records of a file as they are read.

use std::io::Write;
use std::path::PathBuf;
use std::sync::Arc;

use serde::Serialize;

use super::file::{InHand, delimiter, shown};
use super::validate::{descriptor, tell_fault};
use super::{Exit, Global, context, out};
use crate::config::meant::{DialectChoice, Limits};
use crate::dialect::{Charset, Form};
use crate::format::shape;
use crate::ledger::run::DialectFacts;
use crate::outcome::Problem;
use crate::pipeline::decode::DecodeError;
use crate::schema::Schema;
use crate::told::is_personal;

/// Show the records of a file as they are read, cell by cell
///
/// First how the file is written and why that was concluded, then each record as a JSON array with its physical line. Records whose
/// form is broken are shown with what is wrong. With --feed, cells of personal columns are masked.
///
/// Example: passferry preview loyalty_0611.csv.gz --records 5
#[derive(clap::Args, Debug)]
pub struct Args {
    /// The file, plain or packed (gzip, zstd, bzip2, snappy, zip), or a workbook (.xlsx); - is standard input
    file: PathBuf,
    /// Read it as files of this feed are read
    #[arg(long, value_name = "FEED", conflicts_with_all = ["delimiter", "no_header", "dialect", "encoding"])]
    feed: Option<String>,
    /// How the file is written, as a Table Dialect
    #[arg(long, value_name = "FILE")]
    dialect: Option<PathBuf>,
    /// Its character set, such as windows-1252
    #[arg(long, value_name = "NAME", value_parser = Charset::parse)]
    encoding: Option<Charset>,
    /// What separates cells: auto, ',', ';', tab, '|' or another sign, or several
    #[arg(long, value_name = "SIGN", value_parser = delimiter, default_value = "auto")]
    delimiter: Delimiter,
    /// The first record is data already
    #[arg(long)]
    no_header: bool,
    /// How many records to show
    #[arg(long, short = 'n', default_value_t = 20, value_name = "N")]
    records: u64,
    /// One JSON object a line
    #[arg(long)]
    json: bool,
    /// Show cells of columns that are marked personal
    #[arg(long)]
    show_personal: bool,
}

/// Hidden from clap, which would take an option to mean that the argument may be missing.
type Delimiter = std::option::Option<String>;

#[derive(Serialize)]
struct Dialect<'a> {
    file: String,
    #[serde(flatten)]
    facts: DialectFacts,
    #[serde(skip_serializing_if = "Option::is_none")]
    labels: Option<&'a [String]>,
    #[serde(skip_serializing_if = "<[String]>::is_empty")]
    notes: &'a [String],
}

#[derive(Serialize)]
struct Shown<'a> {
    line: u64,
    record: u64,
    cells: Vec<&'a str>,
    #[serde(skip_serializing_if = "<[Problem]>::is_empty")]
    problems: &'a [Problem],
}

pub fn run(global: &Global, args: &Args) -> anyhow::Result<Exit> {
    let hand = InHand::open(&args.file)?;
    let (choice, limits, feed) = if let Some(name) = &args.feed {
        let config = context::config(global)?;
        let feed = context::feed(&config, name)?;
        (feed.dialect.clone(), feed.limits.clone(), Some(Arc::clone(feed)))
    } else {
        let mut choice = match &args.dialect {
            Some(path) => DialectChoice::of(&descriptor(path)?),
            None => DialectChoice::default(),
        };
        choice.delimiter = args.delimiter.clone().or(choice.delimiter);
        choice.header &= !args.no_header;
        choice.charset = args.encoding;
        (choice, Limits::default(), None)
    };
    let mut out = out::stdout();
    let mut reader = match hand.read(&choice, &limits)? {
        Ok(reader) => reader,
        Err(fault) => return tell_fault(&mut out, &args.file, &fault, args.json),
    };
    let labels = reader.header().map(|header| header.labels.clone());
    let notes = reader.notes().to_vec();
    let dialect = Dialect { file: shown(&args.file), facts: reader.dialect().facts(), labels: labels.as_deref(), notes: &notes };
    if args.json {
        out::json(&mut out, &dialect)?;
    } else {
        tell(&mut out, &dialect)?;
    }
    let shaped = feed.as_ref().and_then(|feed| shape(feed, labels.as_deref().unwrap_or_default()).ok());
    let schema = shaped.and_then(|feed| Schema::parse(&feed.schema_text).ok());
    // Without a feed nothing is known of the columns; with one, a column that no field describes counts as personal.
    let masking = schema.as_ref().filter(|_| !args.show_personal);
    let columns = masking.and_then(|schema| schema.columns(labels.as_deref()).ok());
    let unknown = feed.is_some() && schema.is_none() && !args.show_personal;
    let hidden = |column: usize| {
        unknown || masking.is_some_and(|schema| columns.as_ref().is_none_or(|columns| is_personal(schema, columns, column)))
    };
    let mut left = args.records;
    while left > 0 {
        let chunk = match reader.next_chunk() {
            Ok(Some(chunk)) => chunk,
            Ok(None) => break,
            Err(DecodeError::Fault(fault)) => return tell_fault(&mut out, &args.file, &fault, args.json),
            Err(error) => return Err(error.into()),
        };
        for record in chunk.records().take(left.try_into().unwrap_or(usize::MAX)) {
            left -= 1;
            let mut cells = Vec::new();
            record.cells(&mut cells);
            let cells = cells.iter().enumerate().map(|(index, cell)| if hidden(index) && !cell.is_empty() { out::MASK } else { &**cell });
            let shown = Shown { line: record.line, record: record.number, cells: cells.collect(), problems: record.faults };
            if args.json {
                out::json(&mut out, &shown)?;
            } else {
                writeln!(out, "{}: {}", shown.line, serde_json::to_string(&shown.cells)?)?;
                for problem in shown.problems {
                    writeln!(out, "    {}: {}", problem.code, problem.message)?;
                }
            }
        }
    }
    out.flush()?;
    Ok(Exit::Ok)
}

/// How the file is written and why that was concluded.
fn tell(out: &mut impl Write, dialect: &Dialect<'_>) -> anyhow::Result<()> {
    let facts = &dialect.facts;
    let usual = ["as the feed or the command says".to_owned(), facts.evidence.clone()];
    let why = if facts.pinned && facts.evidence == "named by the feed" { &usual[0] } else { &usual[1] };
    writeln!(out, "{}: delimiter {} ({why})", dialect.file, Form::shown(&facts.delimiter))?;
    if facts.quote != "\"" {
        writeln!(out, "quote: {}", Form::shown(&facts.quote))?;
    }
    if !facts.escape.is_empty() {
        writeln!(out, "escape: {}", Form::shown(&facts.escape))?;
    }
    if facts.encoding != Charset::UTF_8.name() {
        writeln!(out, "encoding: {} ({})", facts.encoding, facts.encoding_evidence)?;
    }
    if !facts.containers.is_empty() {
        writeln!(out, "unpacked from: {}", facts.containers.join(", in it "))?;
    }
    for note in dialect.notes {
        writeln!(out, "note: {note}")?;
    }
    if let Some(labels) = dialect.labels {
        writeln!(out, "header: {}", serde_json::to_string(labels)?)?;
    }
    Ok(())
}
