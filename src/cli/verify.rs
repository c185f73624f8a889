//! `verify`: does it all fit together?

use std::io::Write;
use std::time::Duration;

use serde::Serialize;

use super::{Exit, Global, context, out};
use crate::keeping::ago;
use crate::keeping::verify::{Elsewhere, elsewhere, here};
use crate::ledger::keeping::Finding;

/// Check ledger, spool, reports and inputs against each other
///
/// Says what does not fit, one line each: where, what, what to do. Without --reach only this machine is looked at: the ledger itself,
/// counts against rows, states against each other, copies of files against their hashes. With --reach also reports and inputs on the
/// servers. Changes nothing, and works beside a running daemon. Ends with 0 when all fits, 1 when something does not, 69 when all that
/// could be looked at fits and a server could not be reached, 74 when the ledger cannot be read.
///
/// Example: passferry verify --reach
#[derive(clap::Args, Debug)]
pub struct Args {
    /// Also look at reports and inputs on the servers
    #[arg(long)]
    reach: bool,
    /// With --reach: only of runs that ended within this time; people tidy older files away
    #[arg(long, value_name = "TIME", default_value = "30d", value_parser = humantime::parse_duration)]
    since: Duration,
    /// One JSON object a finding, then one with the counts
    #[arg(long)]
    json: bool,
}

#[derive(Serialize)]
struct Counts {
    runs: usize,
    findings: usize,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    unreachable: Vec<String>,
}

pub fn run(global: &Global, args: &Args) -> anyhow::Result<Exit> {
    let config = context::config(global)?;
    let ledger = context::Reading::open(&config)?;
    let (audit, mut findings) = here(&config, &*ledger, &|| context::somebody_leads(&config.state))?;
    let mut reached = Elsewhere::default();
    if args.reach {
        reached = elsewhere(&config, &*ledger, &audit.runs, ago(args.since));
        findings.append(&mut reached.findings);
    }
    let mut out = out::stdout();
    for finding in &findings {
        if args.json { out::json(&mut out, finding)? } else { write_finding(&mut out, finding)? }
    }
    let counts = Counts { runs: audit.ids.len(), findings: findings.len(), unreachable: reached.unreachable };
    if args.json {
        out::json(&mut out, &counts)?;
    } else {
        for place in &counts.unreachable {
            writeln!(out, "not looked at: {place}")?;
        }
        let runs = out::counted(counts.runs as u64, "run");
        match counts.findings {
            0 => writeln!(out, "{runs}: everything fits")?,
            found => writeln!(out, "{runs}: {}", out::counted(found as u64, "finding"))?,
        }
    }
    out.flush()?;
    Ok(match (counts.findings, counts.unreachable.len()) {
        (0, 0) => Exit::Ok,
        (0, _) => Exit::Unavailable,
        _ => Exit::NeedsPerson,
    })
}

fn write_finding(out: &mut impl Write, finding: &Finding) -> anyhow::Result<()> {
    use owo_colors::OwoColorize;
    // Names of files and words of a database are not ours: nothing of them may steer the terminal.
    let plain = |text: &str| text.chars().map(|c| if c.is_control() { ' ' } else { c }).collect::<String>();
    writeln!(out, "{} {}: {}: {}", finding.finding.red(), plain(&finding.place), plain(&finding.what), plain(&finding.cure))?;
    Ok(())
}
