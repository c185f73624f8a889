//! `codes`: what every code means.

use std::io::Write;

use serde::Serialize;

use super::{Exit, Failure, out};
use crate::mapping::did_you_mean;
use crate::outcome::Code;

/// What a code in a report means, and what to do about it
///
/// Codes are stable: scripts may depend on them.
///
/// Example: passferry codes pass-not-found
#[derive(clap::Args, Debug)]
pub struct Args {
    /// Only this code
    code: Option<String>,
    /// One JSON object a code
    #[arg(long)]
    json: bool,
}

#[derive(Serialize)]
struct Shown {
    code: &'static str,
    cause: &'static str,
    cure: &'static str,
    retryable: bool,
}

pub fn run(args: &Args) -> anyhow::Result<Exit> {
    let codes = match &args.code {
        None => Code::ALL.to_vec(),
        Some(name) => vec![Code::parse(name).ok_or_else(|| {
            let near = did_you_mean(name, Code::ALL.iter().map(|code| code.as_str()));
            Failure::new(Exit::NoInput, format!("no code {name:?}{near}; passferry codes lists them"))
        })?],
    };
    let mut out = out::stdout();
    for code in codes {
        let help = code.explain();
        if args.json {
            out::json(&mut out, &Shown { code: help.name, cause: help.cause, cure: help.cure, retryable: help.retryable })?;
        } else {
            use owo_colors::OwoColorize;
            writeln!(out, "{}{}", help.name.bold(), if help.retryable { " (the same row may succeed later)" } else { "" })?;
            writeln!(out, "  {}\n  {}", help.cause, help.cure)?;
        }
    }
    out.flush()?;
    Ok(Exit::Ok)
}
