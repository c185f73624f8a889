//! `alert`: ways out for alerts, what waits for them, and a test.

use std::io::Write;
use std::sync::Arc;

use chrono::Utc;

use super::{Exit, Failure, Global, context, out};
use crate::alert::{Message, Outlet, desk};
use crate::config::meant::alert::Way;
use crate::stop::Stop;
use crate::told::alerts::{WayStatus, ways};

/// Show the ways out for alerts and what waits for them; with --test try one
///
/// A test goes out at once, whatever waits and however many an hour are allowed. Works beside a running daemon.
///
/// Example: passferry alert --test ops
#[derive(clap::Args, Debug)]
pub struct Args {
    /// Send a test message this way
    #[arg(long, value_name = "NAME")]
    test: Option<String>,
    /// One JSON object
    #[arg(long)]
    json: bool,
}

pub fn run(global: &Global, args: &Args) -> anyhow::Result<Exit> {
    let config = context::config(global)?;
    let mut out = out::stdout();
    if let Some(name) = &args.test {
        let way = config.alerts.get(name).ok_or_else(|| {
            let near = crate::mapping::did_you_mean(name, config.alerts.keys().map(String::as_str));
            Failure::new(Exit::NoInput, format!("no alert {name:?}{near}; a section [alert.{name}] would make one"))
        })?;
        test(way).map_err(|words| Failure::new(Exit::Unavailable, format!("alert {name}: {words}")))?;
        if args.json {
            out::json(&mut out, &serde_json::json!({ "alert": name, "sent": true }))?;
        } else {
            writeln!(out, "alert {name}: a test message was taken")?;
        }
        out.flush()?;
        return Ok(Exit::Ok);
    }
    let ledger = context::Reading::open(&config)?;
    let ways = ways(&config, &*ledger)?;
    if args.json {
        out::json(&mut out, &serde_json::json!({ "alerts": ways }))?;
    } else if ways.is_empty() {
        writeln!(out, "nobody is told: there is no section [alert.NAME]; passferry config sample shows one")?;
    } else {
        write_ways(&mut out, &ways)?;
    }
    out.flush()?;
    Ok(Exit::Ok)
}

pub fn write_ways(out: &mut impl Write, ways: &[WayStatus]) -> anyhow::Result<()> {
    let mut table = out::table(&["alert", "by", ""]);
    for way in ways {
        let colour = if way.is_troubled() { comfy_table::Color::Red } else { comfy_table::Color::Green };
        let plain = comfy_table::Cell::new;
        table.add_row([plain(way.alert.clone()), plain(way.kind.to_owned()), plain(way.words()).fg(colour)]);
    }
    out::write_table(out, table)
}

/// Sends a test message, once.
pub fn test(way: &Arc<Way>) -> Result<(), String> {
    let message = Message::test();
    let letter = desk::letter(way, &message, Utc::now());
    let outlet = Outlet::open(Arc::clone(way)).map_err(|error| format!("{error:#}"))?;
    outlet.send(&letter, &message, &Stop::new()).map_err(|fault| fault.words().to_owned())
}
