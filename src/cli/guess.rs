//! `guess`: a schema and a feed to begin with, from a sample.

use std::fs::{self, OpenOptions};
use std::io::Write;
use std::path::{Path, PathBuf};

use anyhow::Context;
use owo_colors::OwoColorize;
use serde::Serialize;

use super::file::{InHand, delimiter};
use super::validate::tell_fault;
use super::{Exit, Failure, out};
use crate::config::meant::{DialectChoice, Limits};
use crate::dialect::Charset;
use crate::guess::{self, Certainty, Guess};
use crate::ledger::delivered::Part;
use crate::ledger::run::{DialectFacts, show_name};
use crate::pipeline::sets::local::Local;

/// Propose a schema and a feed from a sample of a file
///
/// Says of each column what it holds, how sure that is and why; which column may name the pass; and how the file is written. With --out the
/// schema and the feed are written as files to keep; files that exist are never overwritten. Nothing is sent anywhere.
///
/// Example: passferry guess loyalty_20261120.csv --out .
#[derive(clap::Args, Debug)]
pub struct Args {
    /// The file, as it was delivered; the parts, folder or manifest of a set; - is standard input
    #[arg(required = true, value_name = "FILE")]
    files: Vec<PathBuf>,
    /// What to call the feed and the schema; else the file's name without its dates
    #[arg(long, value_name = "NAME")]
    name: Option<String>,
    /// Write NAME.json (the schema) and NAME.feed.toml (the feed) into this folder
    #[arg(long, value_name = "FOLDER")]
    out: Option<PathBuf>,
    /// Records to look at
    #[arg(long, short = 'n', default_value_t = 100_000, value_name = "N")]
    records: u64,
    /// What separates cells: auto, ',', ';', tab, '|' or another sign
    #[arg(long, value_name = "SIGN", value_parser = delimiter, default_value = "auto")]
    delimiter: Delimiter,
    /// Its character set, such as windows-1252; else that is found out
    #[arg(long, value_name = "NAME", value_parser = Charset::parse)]
    encoding: Option<Charset>,
    /// The first record is data already; else that is found out
    #[arg(long)]
    no_header: bool,
    /// One JSON object with everything
    #[arg(long)]
    json: bool,
}

/// Hidden from clap, which would take an option to mean that the argument may be missing.
type Delimiter = std::option::Option<String>;

#[derive(Serialize)]
struct Told<'a> {
    file: &'a str,
    name: &'a str,
    dialect: DialectFacts,
    #[serde(flatten)]
    guess: &'a Guess,
    schema: serde_json::Value,
    feed: &'a str,
}

pub fn run(args: &Args) -> anyhow::Result<Exit> {
    let hand = InHand::open(&args.files, None)?;
    let choice =
        DialectChoice { delimiter: args.delimiter.clone(), header: !args.no_header, charset: args.encoding, ..DialectChoice::default() };
    let open = |choice: &DialectChoice| hand.reader(choice, &Limits::default());
    let mut out = out::stdout();
    let mut found = match guess::find(&choice, args.records.max(1), &open)? {
        Ok(found) => found,
        Err(fault) => return tell_fault(&mut out, &hand.at_hand(), &fault, args.json),
    };
    found.guess.notes.extend(hand.notes());
    let set = hand.local();
    if let Some(local) = set {
        found.guess.notes.extend(local.missing.iter().chain(&local.delivered.contradictions).cloned());
    }
    let guess = &found.guess;
    let file = hand.shown.clone();
    // What the pattern of a feed names: the folder or manifest of a set, or its parts.
    let delivered = set.map_or_else(
        || base(&file).to_owned(),
        |local| match local.kind {
            Some("spark" | "manifest") => show_name(&local.name),
            _ => local.delivered.parts.first().map(Part::shown).unwrap_or_default(),
        },
    );
    let name = args.name.clone().unwrap_or_else(|| name_of(&delivered));
    let schema_file = format!("{name}.json");
    let schema = guess::schema(guess, &name);
    let feed = guess::feed(&found, &guess::Feed { name: &name, file: &delivered, set: of_set(set).as_deref(), schema: &schema_file });
    if args.json {
        out::json(
            &mut out,
            &Told { file: &file, name: &name, dialect: guess.dialect.facts(), guess, schema: serde_json::from_str(&schema)?, feed: &feed },
        )?;
    } else {
        tell(&mut out, &file, guess)?;
    }
    if let Some(folder) = &args.out {
        let written = [(folder.join(schema_file), schema), (folder.join(format!("{name}.feed.toml")), feed)];
        for (path, _) in &written {
            if path.exists() {
                return Err(Failure::new(Exit::Usage, format!("{} is there already; --name gives another name", path.display())).into());
            }
        }
        fs::create_dir_all(folder).with_context(|| format!("the folder {} cannot be made", folder.display()))?;
        for (path, text) in written {
            write_new(&path, &text)?;
            if !args.json {
                writeln!(out, "written: {}", path.display())?;
            }
        }
    } else if !args.json {
        writeln!(out, "\nWith --out FOLDER the schema and the feed are written as files.")?;
    }
    out.flush()?;
    Ok(Exit::Ok)
}

/// How a feed says that such files are one delivery, as its line in TOML.
fn of_set(set: Option<&Local>) -> Option<String> {
    let local = set?;
    let is_partitioned = local.delivered.parts.iter().any(|part| !part.partitions.is_empty());
    Some(match (local.kind, is_partitioned) {
        (Some(kind), true) => format!("set = {{ kind = \"{kind}\", partitions = true }}"),
        (Some(kind), false) => format!("set = \"{kind}\""),
        (None, _) => "# set = { kind = \"shards\", group = \"^(?P<set>…)…$\" }  # what have the names of the parts in common?".to_owned(),
    })
}

fn write_new(path: &Path, text: &str) -> anyhow::Result<()> {
    let mut file = OpenOptions::new().write(true).create_new(true).open(path).with_context(|| path.display().to_string())?;
    file.write_all(text.as_bytes()).with_context(|| path.display().to_string())
}

fn tell(out: &mut impl Write, file: &str, guess: &Guess) -> anyhow::Result<()> {
    let form = &guess.dialect.form;
    let delimiter = if form.delimiter == "\t" { "tab".to_owned() } else { format!("`{}`", form.delimiter) };
    writeln!(out, "{file}: {}, delimiter {delimiter} ({})", out::counted(guess.records, "record"), guess.dialect.evidence)?;
    if !guess.dialect.containers.is_empty() {
        writeln!(out, "packed in {}", guess.dialect.containers.join(", then "))?;
    }
    if !guess.dialect.charset.is_utf_8() {
        writeln!(out, "{} ({})", guess.dialect.charset.name(), guess.dialect.charset_evidence)?;
    }
    if !guess.dialect.header {
        writeln!(out, "no header: the columns are named by their place")?;
    }
    out::heading(out, "Columns")?;
    let mut table = out::table(&["column", "type", "", "why"]);
    for column in &guess.columns {
        let certainty = comfy_table::Cell::new(match column.certainty {
            Certainty::Sure => "sure",
            Certainty::Likely => "likely",
            Certainty::Open => "decide",
        });
        let certainty = match column.certainty {
            Certainty::Sure => certainty.fg(comfy_table::Color::Green),
            Certainty::Likely => certainty,
            Certainty::Open => certainty.fg(comfy_table::Color::Yellow),
        };
        table.add_row([
            comfy_table::Cell::new(&column.name),
            comfy_table::Cell::new(column.shown_form()),
            certainty,
            comfy_table::Cell::new(column.why.join("; ")),
        ]);
    }
    out::write_table(out, table)?;
    out::heading(out, "The pass")?;
    match &guess.key {
        Some(key) => {
            writeln!(out, "named by {}: {}", guess.columns[key.column].name.bold(), key.why)?;
            let others: Vec<&str> = key.others.iter().map(|&index| guess.columns[index].name.as_str()).collect();
            if !others.is_empty() {
                writeln!(out, "could be as well: {}", others.join(", "))?;
            }
        }
        None => writeln!(out, "no column is filled in every record; which one names the pass?")?,
    }
    if !guess.notes.is_empty() {
        out::heading(out, "Worth a look")?;
        for note in &guess.notes {
            writeln!(out, "{note}")?;
        }
    }
    Ok(())
}

/// The last part of a path.
fn base(file: &str) -> &str {
    file.rsplit('/').next().unwrap_or(file)
}

/// A name for the feed: the file's without extensions, dates and counters.
fn name_of(file: &str) -> String {
    let stem = base(file).split('.').next().unwrap_or_default();
    let mut name = String::new();
    for part in guess::pattern(stem).split(|letter: char| !letter.is_alphanumeric()).filter(|part| !part.is_empty()) {
        if !name.is_empty() {
            name.push('-');
        }
        name.extend(part.chars().flat_map(char::to_lowercase).filter(char::is_ascii_alphanumeric));
    }
    if name.is_empty() { "feed".to_owned() } else { name }
}
