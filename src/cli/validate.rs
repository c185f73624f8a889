//! `validate`: every problem of a file, nothing sent.

use std::collections::BTreeMap;
use std::fs::File;
use std::io::Write;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use owo_colors::OwoColorize;
use serde::Serialize;

use super::file::InHand;
use super::{Exit, Failure, Global, context, out};
use crate::config::meant::{DialectChoice, Feed, Limits};
use crate::dialect::Charset;
use crate::format::shape;
use crate::outcome::Problem;
use crate::page::words::visible;
use crate::pipeline::decode::{DecodeError, Dialect, FileFault, read_record, split_cells};
use crate::pipeline::road::{Prepared, pool, prepare};
use crate::pipeline::validate::{Rejected, Rules, ValidateError, validate};
use crate::platform;
use crate::schema::{Columns, DialectDescriptor, HeaderFault, Schema, SchemaFault, read_descriptor};
use crate::told::is_personal;

/// Letters of a cell or a label that are shown.
pub(super) const SHOWN_MAX: usize = 200;

/// Check every cell of a file against a schema, or against a feed's schema and mapping
///
/// Lists every problem with physical line, data record, column and code, and ends with a summary. Works without network; with --schema
/// also without configuration. Exit code 0: the file is valid. 65: it is not.
///
/// Example: passferry validate loyalty_0611.csv --feed points
///
/// A folder of parts (Spark's), several part files or a manifest are read as the one delivery that they are: missing parts, counts and
/// checksums are problems too, and each problem names the part and the line in it.
///
/// Example: passferry validate out/loyalty.csv/ --feed balances
///
/// Example: zcat export.gz | passferry validate - --schema loyalty.json --json
#[derive(clap::Args, Debug)]
#[expect(clippy::struct_excessive_bools, reason = "each is a flag of the command line")]
#[command(group = clap::ArgGroup::new("against").required(true).args(["feed", "schema"]))]
pub struct Args {
    /// The file, plain or packed (gzip, zstd, bzip2, snappy, zip), or a workbook (.xlsx); the parts, folder or manifest of a set; - is
    /// standard input
    #[arg(required = true, value_name = "FILE")]
    files: Vec<PathBuf>,
    /// Check as files of this feed are checked: schema, dialect, limits and mapping
    #[arg(long, value_name = "FEED")]
    feed: Option<String>,
    /// Check against this Table Schema alone
    #[arg(long, value_name = "FILE")]
    schema: Option<PathBuf>,
    /// How the file is written, as a Table Dialect
    #[arg(long, value_name = "FILE", requires = "schema")]
    dialect: Option<PathBuf>,
    /// Its character set, such as windows-1252
    #[arg(long, value_name = "NAME", requires = "schema", value_parser = Charset::parse)]
    encoding: Option<Charset>,
    /// The first record names the columns (the default)
    #[arg(long, requires = "schema", conflicts_with = "no_header")]
    header: bool,
    /// The first record is data already
    #[arg(long, requires = "schema")]
    no_header: bool,
    /// One JSON object a problem, then one with the summary
    #[arg(long)]
    json: bool,
    /// Show cells of columns that are marked personal
    #[arg(long)]
    show_personal: bool,
}

/// What to check against.
struct Against {
    choice: DialectChoice,
    limits: Limits,
    rest: Rest,
}

enum Rest {
    Schema(Box<Schema>),
    Feed(Arc<Feed>),
}

/// The same, once the header is known.
enum Shaped {
    Schema(Box<Schema>),
    Feed(Box<Prepared>),
}

impl Shaped {
    fn schema(&self) -> &Schema {
        match self {
            Shaped::Schema(schema) => schema,
            Shaped::Feed(prepared) => &prepared.schema,
        }
    }
}

#[derive(Serialize)]
struct Shown<'a> {
    #[serde(rename = "type")]
    kind: &'static str,
    file: &'a str,
    line: u64,
    /// Of a set: the part and the line in it.
    #[serde(skip_serializing_if = "Option::is_none")]
    part: Option<String>,
    record: u64,
    /// The column's label.
    #[serde(skip_serializing_if = "Option::is_none")]
    column: Option<&'a str>,
    /// Of the column, from 1.
    #[serde(skip_serializing_if = "Option::is_none")]
    position: Option<u32>,
    code: &'static str,
    #[serde(skip_serializing_if = "Option::is_none")]
    constraint: Option<&'a str>,
    message: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    cell: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    suggestion: Option<&'a str>,
}

#[derive(Serialize)]
struct Summary<'a> {
    #[serde(rename = "type")]
    kind: &'static str,
    file: &'a str,
    valid: bool,
    /// Of a set: what it lacks, and what contradicts what was declared of it.
    #[serde(skip_serializing_if = "<[String]>::is_empty")]
    set_problems: &'a [String],
    records: u64,
    rejected: u64,
    problems: &'a BTreeMap<String, u64>,
    problems_by_column: &'a BTreeMap<String, BTreeMap<String, u64>>,
    warnings: &'a [String],
}

pub fn run(global: &Global, args: &Args) -> anyhow::Result<Exit> {
    let against = against(global, args)?;
    let hand = InHand::open(&args.files, against.feed())?;
    let mut out = out::stdout();
    let reader = match hand.read(&against.choice, &against.limits)? {
        Ok(reader) => reader,
        Err(fault) => return tell_fault(&mut out, &hand.at_hand(), &fault, args.json),
    };
    let labels = reader.header().map(|header| header.labels.clone());
    let shaped = match against.rest {
        Rest::Schema(schema) => Shaped::Schema(schema),
        // Nothing is compared with the ledger, so its numbers for fields do not matter.
        Rest::Feed(feed) => match shape(&feed, labels.as_deref().unwrap_or_default()) {
            Ok(feed) => Shaped::Feed(Box::new(prepare(&feed, &platform::open(&feed.platform), |_| Ok(0))?)),
            Err(faults) => {
                let line = reader.header().map_or(1, |header| header.line);
                return tell_header(&mut out, &hand.at_hand(), line, &faults, args.json);
            }
        },
    };
    let schema = shaped.schema();
    let columns = match schema.columns(labels.as_deref()) {
        Ok(columns) => columns,
        Err(faults) => {
            let line = reader.header().map_or(1, |header| header.line);
            return tell_header(&mut out, &hand.at_hand(), line, &faults, args.json);
        }
    };
    let name = hand.shown.clone();
    let labels = labels.unwrap_or_else(|| schema.fields().iter().map(|field| field.name.clone()).collect());
    let rules = Rules {
        schema,
        columns: &columns,
        mapping: match &shaped {
            Shaped::Feed(prepared) => Some(&prepared.mapping),
            Shaped::Schema(_) => None,
        },
        correction: None,
        file: "",
        picked: None,
    };
    let teller = Teller {
        hand: &hand,
        labels: &labels,
        schema,
        columns: &columns,
        dialect: reader.dialect().clone(),
        text: InHand::text(&reader).ok(),
        text_path: reader.text_path().to_owned(),
        json: args.json,
        show_personal: args.show_personal,
    };
    let notes = reader.notes().to_vec();
    let result = validate(reader, &rules, &hand.spool, &pool(0)?, &|_| (), &mut |rejected| teller.tell(&mut out, &rejected));
    let (validated, _) = match result {
        Ok(validated) => validated,
        Err(ValidateError::Decode(DecodeError::Fault(fault))) => return tell_fault(&mut out, &hand.at_hand(), &fault, args.json),
        Err(ValidateError::Sink(error)) => return Err(error),
        Err(error) => return Err(error.into()),
    };
    let mut warnings = [hand.notes(), notes].concat();
    warnings.extend_from_slice(&columns.warnings);
    warnings.extend_from_slice(schema.warnings());
    if !validated.facts.last_line_ended && validated.facts.records > 0 {
        warnings.push("the last line has no line end: the file may have been cut short".into());
    }
    let set_problems = hand.judge(validated.facts.records)?;
    let valid = validated.rejected == 0 && set_problems.is_empty();
    if args.json {
        let summary = Summary {
            kind: "summary",
            file: &name,
            valid,
            set_problems: &set_problems,
            records: validated.valid + validated.rejected,
            rejected: validated.rejected,
            problems: &validated.problems,
            problems_by_column: &validated.problems_by_column,
            warnings: &warnings,
        };
        out::json(&mut out, &summary)?;
    } else {
        for warning in &warnings {
            writeln!(out, "{name}: {} {warning}", "note:".yellow())?;
        }
        for problem in &set_problems {
            writeln!(out, "{name}: {} {problem}", "set:".red())?;
        }
        let records = out::counted(validated.valid + validated.rejected, "record");
        if valid {
            writeln!(out, "{name}: {}, {records}", "valid".green())?;
        } else {
            writeln!(out, "{name}: {}, {} of {records} rejected", "not valid".red(), out::count(validated.rejected))?;
            for (code, count) in &validated.problems {
                writeln!(out, "  {:>10}  {code}", out::count(*count))?;
            }
        }
    }
    out.flush()?;
    Ok(if valid { Exit::Ok } else { Exit::BadFile })
}

impl Against {
    fn feed(&self) -> Option<&Arc<Feed>> {
        match &self.rest {
            Rest::Feed(feed) => Some(feed),
            Rest::Schema(_) => None,
        }
    }
}

fn against(global: &Global, args: &Args) -> anyhow::Result<Against> {
    let Some(path) = &args.schema else {
        let config = context::config(global)?;
        let feed: &Arc<Feed> = context::feed(&config, args.feed.as_deref().unwrap_or_default())?;
        return Ok(Against { choice: feed.dialect.clone(), limits: feed.limits.clone(), rest: Rest::Feed(Arc::clone(feed)) });
    };
    let mut schema = Schema::parse(&read(path)?).map_err(|faults| descriptor_fault(path, &faults))?;
    if let Some(path) = &args.dialect {
        schema.set_dialect(descriptor(path)?);
    }
    let mut choice = schema.dialect().map(DialectChoice::of).unwrap_or_default();
    choice.header = if args.no_header { false } else { args.header || choice.header };
    choice.charset = args.encoding.or(choice.charset);
    Ok(Against { choice, limits: Limits::default(), rest: Rest::Schema(Box::new(schema)) })
}

fn read(path: &Path) -> anyhow::Result<String> {
    read_descriptor(path).map_err(|error| {
        let exit = if error.kind() == std::io::ErrorKind::PermissionDenied { Exit::Denied } else { Exit::NoInput };
        Failure::new(exit, format!("{}: {error}", path.display())).into()
    })
}

/// The Table Dialect in a file.
pub fn descriptor(path: &Path) -> anyhow::Result<DialectDescriptor> {
    Ok(DialectDescriptor::parse(&read(path)?).map_err(|faults| descriptor_fault(path, &faults))?)
}

fn descriptor_fault(path: &Path, faults: &[SchemaFault]) -> Failure {
    let lines: Vec<String> = faults.iter().map(|fault| format!("{}: {}: {fault}", path.display(), fault.code)).collect();
    Failure::new(Exit::Config, lines.join("\npassferry: "))
}

/// Prints problems with the cells they are about.
struct Teller<'a> {
    hand: &'a InHand,
    labels: &'a [String],
    schema: &'a Schema,
    columns: &'a Columns,
    dialect: Dialect,
    text: Option<File>,
    text_path: PathBuf,
    json: bool,
    show_personal: bool,
}

impl Teller<'_> {
    fn tell(&self, out: &mut impl Write, rejected: &Rejected) -> anyhow::Result<()> {
        let raw = match &self.text {
            Some(text) => read_record(text, rejected.offset, rejected.length),
            None => File::open(&self.text_path).and_then(|text| read_record(&text, rejected.offset, rejected.length)),
        };
        let raw = raw.unwrap_or_default();
        let mut cells = Vec::new();
        split_cells(&raw, &self.dialect, &mut cells);
        for problem in &rejected.problems {
            let index = problem.column.map(|column| column as usize);
            let cell = index.and_then(|index| cells.get(index)).map(|cell| {
                let hide = !self.show_personal && index.is_some_and(|index| is_personal(self.schema, self.columns, index));
                if hide && !cell.is_empty() { out::MASK } else { &**cell }
            });
            let column = index.and_then(|index| self.labels.get(index)).map(String::as_str);
            self.tell_one(out, rejected, problem, column, cell)?;
        }
        Ok(())
    }

    fn tell_one(
        &self,
        out: &mut impl Write,
        rejected: &Rejected,
        problem: &Problem,
        column: Option<&str>,
        cell: Option<&str>,
    ) -> anyhow::Result<()> {
        if self.json {
            let shown = Shown {
                kind: "problem",
                file: &self.hand.shown,
                line: rejected.line,
                part: self.hand.part(rejected.line),
                record: rejected.record,
                column,
                position: problem.column.map(|column| column + 1),
                code: problem.code.as_str(),
                constraint: problem.constraint.as_deref(),
                message: &problem.message,
                cell,
                suggestion: problem.suggestion.as_deref(),
            };
            return out::json(out, &shown);
        }
        let (file, line) = self.hand.place(rejected.line);
        write!(out, "{file}:{line} (record {})", rejected.record)?;
        if let Some(column) = column {
            write!(out, " {}", visible(column, SHOWN_MAX))?;
        }
        write!(out, ": {} {}", problem.code.red(), problem.message)?;
        if let Some(cell) = cell.filter(|cell| !cell.is_empty()) {
            write!(out, " [{}]", visible(cell, SHOWN_MAX))?;
        }
        if let Some(suggestion) = &problem.suggestion {
            write!(out, " (suggestion: {suggestion})")?;
        }
        writeln!(out)?;
        Ok(())
    }
}

/// The file is bad as a whole: one line, or one object, and the exit code that says so.
pub fn tell_fault(out: &mut impl Write, name: &str, fault: &FileFault, json: bool) -> anyhow::Result<Exit> {
    #[derive(Serialize)]
    struct Shown<'a> {
        #[serde(rename = "type")]
        kind: &'static str,
        file: &'a str,
        code: &'static str,
        line: Option<u64>,
        character: Option<u64>,
        offset: Option<u64>,
        message: &'a str,
        suggestion: Option<&'a str>,
    }
    let code = fault.code.as_str();
    if json {
        let (message, suggestion) = (&*fault.message, fault.suggestion.as_deref());
        let (line, character, offset) = (fault.line, fault.column, fault.offset);
        out::json(out, &Shown { kind: "file-problem", file: name, code, line, character, offset, message, suggestion })?;
    } else {
        let place = match (fault.line, fault.column) {
            (Some(line), Some(column)) => format!(":{line}:{column}"),
            (Some(line), None) => format!(":{line}"),
            _ => String::new(),
        };
        writeln!(out, "{name}{place}: {} {}", code.red(), fault.message)?;
        if let Some(suggestion) = &fault.suggestion {
            writeln!(out, "    {suggestion}")?;
        }
    }
    out.flush()?;
    Ok(Exit::BadFile)
}

pub fn tell_header(out: &mut impl Write, name: &str, line: u64, faults: &[HeaderFault], json: bool) -> anyhow::Result<Exit> {
    #[derive(Serialize)]
    struct Shown<'a> {
        #[serde(rename = "type")]
        kind: &'static str,
        file: &'a str,
        line: u64,
        position: Option<usize>,
        label: &'a str,
        code: &'static str,
        message: &'a str,
        suggestion: &'static str,
    }
    for fault in faults {
        let help = fault.code.explain();
        if json {
            let shown = Shown {
                kind: "header-problem",
                file: name,
                line,
                position: fault.column.map(|column| column + 1),
                label: &fault.label,
                code: help.name,
                message: &fault.message,
                suggestion: help.cure,
            };
            out::json(out, &shown)?;
        } else {
            writeln!(out, "{name}:{line} (header): {} {}", help.name.red(), fault.message)?;
        }
    }
    out.flush()?;
    Ok(Exit::BadFile)
}
