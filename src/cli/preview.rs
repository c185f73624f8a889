//! `preview`: the records of a file as they are read.

use std::io::Write;
use std::path::PathBuf;
use std::sync::Arc;

use serde::Serialize;

use super::file::{InHand, delimiter, shown};
use super::validate::tell_fault;
use super::{Exit, Global, context, out};
use crate::config::meant::{DialectChoice, Limits};
use crate::format::shape;
use crate::outcome::Problem;
use crate::pipeline::decode::DecodeError;
use crate::schema::Schema;

/// Show the records of a file as they are read, cell by cell
///
/// First how the file is written and why that was concluded, then each record as a JSON array with its physical line. Records whose
/// form is broken are shown with what is wrong. With --feed, cells of personal columns are masked.
///
/// Example: passferry preview loyalty_0611.csv.gz --records 5
#[derive(clap::Args, Debug)]
pub struct Args {
    /// The file, plain or gzip; - is standard input
    file: PathBuf,
    /// Read it as files of this feed are read
    #[arg(long, value_name = "FEED", conflicts_with_all = ["delimiter", "no_header"])]
    feed: Option<String>,
    /// What separates cells: auto, ',', ';', tab, '|' or another sign
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
type Delimiter = std::option::Option<u8>;

#[derive(Serialize)]
struct Dialect<'a> {
    file: String,
    delimiter: String,
    pinned: bool,
    evidence: &'a str,
    header: bool,
    #[serde(skip_serializing_if = "Option::is_none")]
    labels: Option<&'a [String]>,
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
        let choice = DialectChoice { delimiter: args.delimiter, header: !args.no_header, ..DialectChoice::default() };
        (choice, Limits::default(), None)
    };
    let mut out = out::stdout();
    let mut reader = match hand.read(&choice, &limits)? {
        Ok(reader) => reader,
        Err(fault) => return tell_fault(&mut out, &args.file, &fault, args.json),
    };
    let labels = reader.header().map(|header| header.labels.clone());
    let dialect = Dialect {
        file: shown(&args.file),
        delimiter: char::from(reader.dialect().delimiter).to_string(),
        pinned: reader.dialect().pinned,
        evidence: &reader.dialect().evidence,
        header: reader.dialect().header,
        labels: labels.as_deref(),
    };
    if args.json {
        out::json(&mut out, &dialect)?;
    } else {
        let name = if dialect.delimiter == "\t" { "tab".to_owned() } else { format!("`{}`", dialect.delimiter) };
        let why = if dialect.pinned { "as the feed or the command says" } else { dialect.evidence };
        writeln!(out, "{}: delimiter {name} ({why})", dialect.file)?;
        if let Some(labels) = &labels {
            writeln!(out, "header: {}", serde_json::to_string(labels)?)?;
        }
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

/// Columns that no field describes may hold anything, so they count as personal.
pub fn is_personal(schema: &Schema, columns: &crate::schema::Columns, column: usize) -> bool {
    columns.field_of_column.get(column).copied().flatten().is_none_or(|field| schema.fields()[field].personal)
}
