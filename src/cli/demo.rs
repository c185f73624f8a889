//! `demo`: the whole job on this machine, told as it happens.

use std::collections::HashMap;
use std::io::{self, IsTerminal, Write};
use std::path::PathBuf;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use comfy_table::{CellAlignment, Table, presets};
use owo_colors::OwoColorize;

use super::{Exit, Failure, context, out, progress};
use crate::demo::{Fix, Options, Player, Stage, Teller, Told, USER, What, play};
use crate::dispatch::Health;
use crate::ledger::run::WishKind;
use crate::ledger::{Run, RunKind};
use crate::outcome::Outcome;
use crate::pipeline::{Progress, Station};

#[derive(clap::Args, Debug)]
pub struct Args {
    /// Leave both servers and the watcher running until Ctrl-C
    #[arg(long)]
    keep: bool,
    /// Where to put everything; must be empty. Default: a new temporary folder, which stays
    #[arg(long, value_name = "DIR")]
    folder: Option<PathBuf>,
    /// Loyalty passes to issue
    #[arg(long, hide = true, default_value_t = 10_000)]
    passes: u32,
}

pub fn run(args: &Args) -> anyhow::Result<Exit> {
    let started = Instant::now();
    let stop = context::stop_on_signals()?;
    let stage = Stage::set(&Options { folder: args.folder.clone(), passes: args.passes })?;
    let lead = context::Lead::take(&stage.config)?;
    let ledger = lead.ledger(&stage.config)?;
    let mut out = Out(anstream::stdout());
    out.introduce(&stage)?;
    let progress: Arc<dyn Progress> = if io::stderr().is_terminal() { progress::choose(true) } else { Arc::new(Plain::default()) };
    let player = Player::start(&stage, ledger, progress, stop.clone())?;
    play(&stage, &player, &mut out).map_err(|fault| {
        let folder = stage.folder.display();
        if stop.is_draining() {
            Failure::new(Exit::Later, format!("stopped before the end; what was made so far is in {folder}")).into()
        } else {
            fault.context(format!("the demonstration came out differently from what it claims (all of it is in {folder})"))
        }
    })?;
    writeln!(out.0, "\nEverything came out as told, in {:.1} s.", started.elapsed().as_secs_f64())?;
    out.what_next(&stage, args.keep)?;
    if args.keep {
        while !stop.wait(Duration::from_hours(1)) {}
    }
    player.end()?;
    Ok(Exit::Ok)
}

/// Shows the story on standard output.
struct Out(anstream::AutoStream<io::Stdout>);

impl Out {
    fn introduce(&mut self, stage: &Stage) -> io::Result<()> {
        let out = &mut self.0;
        writeln!(out, "folder    {}", stage.folder.display())?;
        writeln!(out, "sftp      {} (user {USER}, host key {})", stage.server.address(), stage.server.fingerprint())?;
        writeln!(out, "platform  {} (sandbox, {} loyalty passes)", stage.sandbox.base_url(), stage.passes)?;
        writeln!(out, "config    {}", stage.config_file().display())
    }

    fn held(&mut self, run: &Run) -> io::Result<()> {
        let out = &mut self.0;
        writeln!(out, "  {} {} before anything was sent (run {}):", run.shown_name(), "held".yellow().bold(), run.id)?;
        for verdict in run.detail.verdicts.iter().filter(|verdict| verdict.held) {
            writeln!(out, "    {}: {}", verdict.guard.bold(), verdict.evidence)?;
        }
        let moves = &run.detail.moves;
        writeln!(
            out,
            "    {} passes would change, {} of their balances, with at most {} requests",
            moves.passes, moves.balances, moves.requests
        )?;
        for sample in moves.samples.iter().filter(|sample| sample.field == "points").take(3) {
            writeln!(out, "    line {}: {} {} → {}", sample.line, sample.field, sample.from, sample.to)?;
        }
        Ok(())
    }

    fn over(&mut self, run: &Run) -> io::Result<()> {
        let out = &mut self.0;
        let name = run.shown_name();
        if let Some(fault) = &run.detail.fault {
            let line = fault.line.map(|line| format!(", line {line}")).unwrap_or_default();
            return writeln!(out, "  {name} {} as a whole: {}{line}: {}", run.state.red().bold(), fault.code, fault.message);
        }
        let nothing_new = if run.detail.nothing_new { ": nothing new" } else { "" };
        let counts: Vec<String> = run.detail.tally.0.iter().map(|(outcome, count)| format!("{count} {}", outcome.as_str())).collect();
        writeln!(out, "  {name} {}{nothing_new}: {}; {} requests", run.state.green().bold(), counts.join(", "), run.detail.requests)
    }

    fn fixed(&mut self, fix: &Fix) -> io::Result<()> {
        match &fix.what {
            What::Cell { column, from, to } => {
                let from = if from.is_empty() { "(empty)".to_owned() } else { shortened(from, 40) };
                writeln!(self.0, "  line {}: {column}: {} → {}", fix.line, from.red(), to.green())
            }
            What::Surplus { cells } => writeln!(self.0, "  line {}: {cells:?} taken off", fix.line),
            What::Remove { why } => writeln!(self.0, "  line {}: left out ({why})", fix.line),
        }
    }

    fn what_next(&mut self, stage: &Stage, keep: bool) -> io::Result<()> {
        let program = std::env::args().next().unwrap_or_else(|| "passferry".to_owned());
        let config = stage.config_file();
        let config = config.display();
        let folder = stage.folder.display();
        let out = &mut self.0;
        writeln!(out, "Reports and put-away inputs are in {folder}/server, the platform's log of requests in {folder}/requests.jsonl.")?;
        if keep {
            writeln!(out, "\nBoth servers and the watcher go on until Ctrl-C. Meanwhile, from another terminal:")?;
            let (key, hosts) = (stage.client_key(), stage.known_hosts());
            let port = stage.server.address().port();
            writeln!(out, "  sftp -P {port} -i {} -o UserKnownHostsFile={} {USER}@127.0.0.1", key.display(), hosts.display())?;
            writeln!(out, "  curl {}/sandbox/stats", stage.sandbox.base_url())?;
            writeln!(out, "  curl {}/sandbox/members/C-000001", stage.sandbox.base_url())?;
            writeln!(out, "  {program} status --config {config}")?;
        } else {
            writeln!(out, "\nTry next:")?;
            writeln!(out, "  {program} demo --keep")?;
            writeln!(out, "  {program} runs --config {config}")?;
            writeln!(out, "  {program} show loyalty_every-row-fault.csv --config {config}")?;
        }
        Ok(())
    }
}

impl Teller for Out {
    fn tell(&mut self, told: Told<'_>) -> anyhow::Result<()> {
        match told {
            Told::Chapter(title) => writeln!(self.0, "\n{}", title.bold())?,
            Told::Dropped { by, folder, name, bytes, rows } => {
                let rows = rows.map(|rows| format!("{rows} rows, ")).unwrap_or_default();
                writeln!(self.0, "  {by} drops {folder}/{name} ({rows}{bytes} bytes)")?;
            }
            Told::Held(run) => self.held(run)?,
            Told::Decided(run, what) => {
                let word = match what {
                    WishKind::Approve => "approved",
                    WishKind::Discard => "discarded",
                    WishKind::Stop => "stopped",
                };
                writeln!(self.0, "  a person says: {} {}", run.shown_name(), word.bold())?;
            }
            Told::Over(run) => self.over(run)?,
            Told::Report { folder, name, lines, more } => {
                writeln!(self.0, "  {folder}/{name}:")?;
                for line in lines {
                    writeln!(self.0, "    {}", shortened(line, WIDTH).dimmed())?;
                }
                writeln!(self.0, "    … and {more} lines more")?;
            }
            Told::Fixed(fix) => self.fixed(fix)?,
            Told::Proved(claim) => writeln!(self.0, "  {} {claim}", "✓".green())?,
            Told::Runs(runs) => writeln!(self.0, "\n{}\n{}", "All runs".bold(), table(runs))?,
        }
        Ok(self.0.flush()?)
    }
}

/// Characters of a line of a report that are shown.
const WIDTH: usize = 240;

fn shortened(text: &str, width: usize) -> String {
    if text.chars().count() <= width { text.to_owned() } else { text.chars().take(width - 1).chain(['…']).collect() }
}

/// A column for each outcome that occurs.
fn table(runs: &[Run]) -> Table {
    let outcomes: Vec<Outcome> =
        Outcome::ALL.into_iter().filter(|outcome| runs.iter().any(|run| run.detail.tally.get(*outcome) > 0)).collect();
    let mut table = Table::new();
    table.load_style(presets::NOTHING);
    let fixed = ["file", "run", "state", "rows"].map(str::to_owned);
    table.set_header(fixed.into_iter().chain(outcomes.iter().map(|outcome| outcome.as_str().to_owned())).chain(["requests".to_owned()]));
    for run in runs {
        let tally = &run.detail.tally;
        let name = match run.kind {
            RunKind::Correction => format!("{} (corrected)", run.shown_name()),
            RunKind::File | RunKind::Retry => run.shown_name(),
        };
        let counts =
            outcomes.iter().map(|outcome| tally.get(*outcome)).map(|count| if count == 0 { "·".to_owned() } else { count.to_string() });
        let start = [name, run.id.clone(), run.state.to_string(), tally.total().to_string()];
        table.add_row(start.into_iter().chain(counts).chain([run.detail.requests.to_string()]));
    }
    for column in table.column_iter_mut().skip(3) {
        column.set_cell_alignment(CellAlignment::Right);
    }
    table
}

/// Progress where no terminal shows a bar: a line for each quarter of the rows that are sent.
#[derive(Default)]
struct Plain {
    quarters: Mutex<HashMap<String, u64>>,
}

/// Fewer rows than this are sent before a line about them could be read.
const WORTH_TELLING: u64 = 1000;

impl Progress for Plain {
    fn at(&self, run: &Run, station: Station, done: u64, total: u64) {
        if station != Station::Apply || total < WORTH_TELLING {
            return;
        }
        let quarter = done * 4 / total;
        let mut quarters = self.quarters.lock().unwrap_or_else(PoisonError::into_inner);
        let told = quarters.entry(run.id.clone()).or_default();
        if quarter > *told {
            *told = quarter;
            out::progress(&format!("  {}: {done} of {total} rows sent", run.shown_name()));
        }
    }

    fn health(&self, run: &Run, health: &Health) {
        if let Health::Out { reason, .. } = health {
            out::progress(&format!("  {}: waits for the platform: {reason}", run.shown_name()));
        }
    }

    fn rested(&self, run: &Run) {
        self.quarters.lock().unwrap_or_else(PoisonError::into_inner).remove(&run.id);
    }
}
