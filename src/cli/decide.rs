//! `approve`, `discard`, `stop`: a person's word about a run, for whoever leads to carry out.

use std::io::Write;
use std::time::Duration;

use serde::Serialize;

use super::{Exit, Failure, Global, context, out};
use crate::config::meant::Config;
use crate::decide;
use crate::ledger::run::WishKind;
use crate::ledger::{Ledger, Run, State};
use crate::told::needing_person;

/// Options of the three commands.
#[derive(clap::Args, Debug)]
pub struct Args {
    /// A run's id, or a file name
    #[arg(value_name = "RUN")]
    wanted: String,
    /// Why, for the report and the record of decisions
    #[arg(long, value_name = "TEXT")]
    reason: Option<String>,
    /// Wait until it was carried out and the run rests; the exit code is then the run's
    #[arg(long)]
    wait: bool,
    /// One JSON object
    #[arg(long)]
    json: bool,
}

#[derive(Serialize)]
struct Answer {
    run: String,
    file: String,
    asked: WishKind,
    by: String,
    /// Is somebody there to carry it out now?
    running: bool,
    state: State,
}

const LOOK: Duration = Duration::from_millis(200);

pub fn run(global: &Global, args: &Args, what: WishKind) -> anyhow::Result<Exit> {
    let config = context::config(global)?;
    let ledger = context::ledger(&config)?;
    let by = context::who();
    let run = decide::word(&*ledger, &args.wanted, what, &by, args.reason.as_deref())?;
    let running = context::somebody_leads(&config.state);
    let ended = if args.wait { wait(&config, &*ledger, &run)? } else { run };
    let mut out = out::stdout();
    if args.json {
        let answer = Answer { run: ended.id.clone(), file: ended.shown_name(), asked: what, by, running, state: ended.state };
        out::json(&mut out, &answer)?;
    } else if args.wait {
        writeln!(out, "run {} ({}): {}", ended.id, ended.shown_name(), ended.state)?;
    } else {
        let mut who =
            if running { "the running passferry carries it out" } else { "the next passferry once or run carries it out" }.to_owned();
        if what == WishKind::Approve && decide::is_paused(&*ledger, &ended.feed)? {
            who = format!("feed {} is paused: nothing is sent before passferry resume {}", ended.feed, ended.feed);
        }
        writeln!(out, "run {} ({}): {} noted; {who}", ended.id, ended.shown_name(), noun(what))?;
    }
    out.flush()?;
    Ok(if args.wait { exit_of(&ended) } else { Exit::Ok })
}

fn noun(what: WishKind) -> &'static str {
    match what {
        WishKind::Approve => "approval",
        WishKind::Discard => "discard",
        WishKind::Stop => "stop",
    }
}

/// Until the word was taken and the run is over or held again. Fails when nobody is there to do it.
fn wait(config: &Config, ledger: &dyn Ledger, run: &Run) -> anyhow::Result<Run> {
    let stop = context::stop_on_signals()?;
    loop {
        let now = context::find_run(ledger, &run.id)?;
        let taken = ledger.peek_wish(&run.id)?.is_none();
        if now.state.is_over() || (taken && now.state == State::Held) {
            return Ok(now);
        }
        if !context::somebody_leads(&config.state) {
            let words = format!("noted, but no passferry runs that could carry it out; run {} is {}", now.id, now.state);
            return Err(Failure::new(Exit::Later, words).into());
        }
        if stop.wait(LOOK) {
            return Err(Failure::new(Exit::Later, format!("no longer waiting; run {} is {}", now.id, now.state)).into());
        }
    }
}

fn exit_of(run: &Run) -> Exit {
    match run.state {
        State::Failed => Exit::BadFile,
        State::Held => Exit::NeedsPerson,
        State::Discarded | State::Stopped => Exit::Ok,
        _ if needing_person(run) > 0 => Exit::NeedsPerson,
        _ => Exit::Ok,
    }
}
