//! `pause` and `resume`: a feed.

use std::io::Write;

use super::{Exit, Global, context, out};
use crate::decide::{self, Paused};

/// Options of both commands.
#[derive(clap::Args, Debug)]
pub struct Args {
    /// The feed
    feed: String,
    /// Why, for those who look at the feed
    #[arg(long, value_name = "TEXT")]
    reason: Option<String>,
}

pub fn run(global: &Global, args: &Args, pause: bool) -> anyhow::Result<Exit> {
    let config = context::config(global)?;
    let ledger = context::ledger(&config)?;
    let feed = &args.feed;
    let mut out = out::stdout();
    match decide::pause(&config, &*ledger, feed, pause, &context::who(), args.reason.as_deref())? {
        Paused::Already(by, at) => writeln!(out, "feed {feed} is paused already, by {by} {}", out::ago(at))?,
        Paused::WasNot => writeln!(out, "feed {feed} is not paused")?,
        Paused::Now => writeln!(out, "feed {feed} is paused: no file of it is begun. passferry resume {feed} goes on")?,
        Paused::GoesOn => writeln!(out, "feed {feed} goes on")?,
    }
    out.flush()?;
    Ok(Exit::Ok)
}
