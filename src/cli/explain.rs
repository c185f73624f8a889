//! `explain`: the history of one pass.

use std::io::{BufRead, Write};

use chrono::{DateTime, Utc};
use owo_colors::OwoColorize;
use serde::Serialize;

use super::show::write_row;
use super::told::{Cells, RowLine};
use super::{Exit, Failure, Global, context, out};
use crate::config::meant::Config;
use crate::ledger::{Ledger, Touch};
use crate::row::Target;

/// Explain a pass: every row that touched it, newest first, and what is known of its fields
///
/// Rows that changed nothing are counted in their run and not kept, so they are not listed. The identifier may come on standard input,
/// where it does not end up in the shell's history.
///
/// Example: echo C-1001 | passferry explain -
#[derive(clap::Args, Debug)]
pub struct Args {
    /// The pass's external ID, or the platform's own; - reads it from standard input
    #[arg(value_name = "EXTERNAL_ID")]
    id: String,
    /// Only passes of this platform account
    #[arg(long, value_name = "PLATFORM")]
    platform: Option<String>,
    /// At most this many rows
    #[arg(long, short = 'n', default_value_t = 50, value_name = "N")]
    limit: u64,
    /// One JSON object a platform account
    #[arg(long)]
    json: bool,
    /// Show cells of columns that are marked personal
    #[arg(long)]
    show_personal: bool,
}

#[derive(Serialize)]
struct Explained {
    platform: String,
    baseline: Vec<KnownField>,
    rows: Vec<Touched>,
}

/// What was last applied to a field. Text and personal values are kept as digests only.
#[derive(Serialize)]
struct KnownField {
    field: String,
    value: String,
    sent_on: String,
}

#[derive(Serialize)]
struct Touched {
    file: String,
    feed: String,
    at: DateTime<Utc>,
    #[serde(flatten)]
    row: RowLine,
}

pub fn run(global: &Global, args: &Args) -> anyhow::Result<Exit> {
    let config = context::config(global)?;
    let ledger = context::Reading::open(&config)?;
    let id = if args.id == "-" {
        let mut line = String::new();
        std::io::stdin().lock().read_line(&mut line)?;
        line.trim_end_matches(['\r', '\n']).to_owned()
    } else {
        args.id.clone()
    };
    if let Some(name) = &args.platform
        && !config.platforms.contains_key(name)
    {
        return Err(Failure::new(Exit::NoInput, format!("no platform {name:?} in the configuration")).into());
    }
    let mut out = out::stdout();
    let mut known = false;
    for platform in config.platforms.keys().filter(|name| args.platform.as_ref().is_none_or(|wanted| wanted == *name)) {
        let explained = explain(&config, &*ledger, platform, &id, args)?;
        known |= !explained.rows.is_empty() || !explained.baseline.is_empty();
        if args.json {
            out::json(&mut out, &explained)?;
        } else if !explained.rows.is_empty() || !explained.baseline.is_empty() {
            write_explained(&mut out, &explained)?;
        }
    }
    out.flush()?;
    if known {
        return Ok(Exit::Ok);
    }
    Err(Failure::new(Exit::NoInput, "no row has touched a pass with this identifier, and nothing is known of it").into())
}

fn explain(config: &Config, ledger: &dyn Ledger, platform: &str, id: &str, args: &Args) -> anyhow::Result<Explained> {
    let keys = [Target::External(id.to_owned()).key(), Target::Pass(id.to_owned()).key()];
    let names = ledger.field_names(platform)?;
    let mut baseline = Vec::new();
    for known in ledger.baseline_of(platform, &keys)? {
        for state in known.fields {
            let name = names.iter().find(|(number, _)| *number == state.field);
            let at = DateTime::from_timestamp(i64::from(state.day) * 86_400, 0).unwrap_or_default();
            baseline.push(KnownField {
                field: name.map_or_else(|| format!("field {}", state.field), |(_, name)| name.clone()),
                value: if state.mark.is_digest() { "known by its digest".to_owned() } else { state.mark.show() },
                sent_on: at.format("%Y-%m-%d").to_string(),
            });
        }
    }
    baseline.sort_by(|a, b| a.field.cmp(&b.field));
    let mut rows = Vec::new();
    for key in keys {
        for Touch { run, row } in ledger.touches(platform, key, args.limit)? {
            let Some(run) = ledger.run(&run)? else { continue };
            let cells = Cells::of(config, ledger, &run, args.show_personal);
            rows.push(Touched {
                file: run.shown_name(),
                feed: run.feed.clone(),
                at: run.detail.ended_at.unwrap_or(run.detail.seen_at),
                row: RowLine::of(&run.id, row.clone(), cells.as_ref(), ledger.keys_of_line(&run.id, row.line)?).of_set(&run),
            });
        }
    }
    rows.sort_by_key(|touched| std::cmp::Reverse((touched.at, touched.row.line)));
    rows.truncate(args.limit as usize);
    Ok(Explained { platform: platform.to_owned(), baseline, rows })
}

fn write_explained(out: &mut impl Write, explained: &Explained) -> anyhow::Result<()> {
    writeln!(out, "{} {}", "platform".dimmed(), explained.platform.bold())?;
    if !explained.baseline.is_empty() {
        out::heading(out, "last applied")?;
        let mut table = out::table(&["field", "value", "sent"]);
        for field in &explained.baseline {
            table.add_row([&field.field, &field.value, &field.sent_on]);
        }
        out::write_table(out, table)?;
    }
    out::heading(out, "rows, newest first")?;
    for touched in &explained.rows {
        write!(out, "{}  {} {} ", out::time(touched.at), touched.row.run, touched.file)?;
        write_row(out, &touched.row, false)?;
    }
    Ok(())
}
