//! `explain`: the history of one pass.

use std::io::{BufRead, Write};

use owo_colors::OwoColorize;

use super::show::write_row;
use super::{Exit, Failure, Global, context, out};
use crate::told::explained::{Explained, explain};

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
        let explained = explain(&config, &ledger.shared(), platform, &id, args.limit, args.show_personal)?;
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
