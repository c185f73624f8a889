//! `pause` and `resume`: a feed.

use std::io::Write;

use super::{Exit, Global, context, out};

/// Options of both commands.
#[derive(clap::Args, Debug)]
pub struct Args {
    /// The feed
    feed: String,
}

pub fn run(global: &Global, args: &Args, pause: bool) -> anyhow::Result<Exit> {
    let config = context::config(global)?;
    let ledger = context::ledger(&config)?;
    let paused = ledger.paused()?;
    let known = paused.iter().find(|(feed, ..)| *feed == args.feed);
    // A feed that left the configuration while it was paused can still be resumed.
    if pause || known.is_none() {
        context::feed(&config, &args.feed)?;
    }
    let mut out = out::stdout();
    match (pause, known) {
        (true, Some((_, by, at))) => writeln!(out, "feed {} is paused already, by {by} {}", args.feed, out::ago(*at))?,
        (false, None) => writeln!(out, "feed {} is not paused", args.feed)?,
        (true, None) => {
            ledger.set_paused(&args.feed, Some(&context::who()))?;
            let feed = &args.feed;
            writeln!(out, "feed {feed} is paused: no file of it is begun. passferry resume {feed} goes on")?;
        }
        (false, Some(_)) => {
            ledger.set_paused(&args.feed, None)?;
            writeln!(out, "feed {} goes on", args.feed)?;
        }
    }
    out.flush()?;
    Ok(Exit::Ok)
}
