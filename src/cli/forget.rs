//! `forget`: what is known of a person goes.

use std::io::{BufRead, Write};

use super::{Exit, Failure, Global, context, out};
use crate::keeping::forget::{Answer, StillNeeded, forget};
use crate::spool::Spool;

/// Forget passes: delete what is known of them here
///
/// Reads the passes' identifiers on standard input, one a line, as files write them; never as arguments, which others can see. Rows lose
/// what says which pass they were about and what was wrong with them, and keep their outcome, so that counts stay right. The baseline
/// loses its entries. Copies of files that name one of the passes are deleted as a whole: rows of them can then no longer be tried again.
/// Keys of adds stay without saying whose they are; they keep a file from adding twice. Inputs and reports on servers,
/// backups and the pass itself are not deleted: the answer lists the files. A pass that is hosted here is deleted, with the phones that
/// hold it; on those it stays as it is and is never updated again.
///
/// Cannot work beside a running daemon: stop it first. Refused while a run that is not over names one of the passes.
///
/// Example: passferry forget < identifiers.txt
#[derive(clap::Args, Debug)]
pub struct Args {
    /// One JSON object
    #[arg(long)]
    json: bool,
}

pub fn run(global: &Global, args: &Args) -> anyhow::Result<Exit> {
    let config = context::config(global)?;
    let identifiers = read()?;
    let lead = context::Lead::take(&config)?;
    let ledger = lead.ledger(&config)?;
    let fence = ledger.lead()?;
    let answer = forget(&config, &*ledger, fence, &Spool::open(&config.state)?, &identifiers).map_err(|error| {
        if error.is::<StillNeeded>() { Failure::new(Exit::Later, format!("nothing was deleted:\n{error}")).into() } else { error }
    })?;
    let mut out = out::stdout();
    if args.json {
        out::json(&mut out, &answer)?;
    } else {
        write_answer(&mut out, &answer)?;
    }
    out.flush()?;
    Ok(Exit::Ok)
}

/// What people paste: an identifier a line, with or without a line end; blanks around one may belong to it and are kept.
fn read() -> anyhow::Result<Vec<String>> {
    use std::io::IsTerminal;
    let stdin = std::io::stdin();
    if stdin.is_terminal() {
        out::progress("identifiers, one a line; end with Ctrl-D");
    }
    let mut identifiers = Vec::new();
    for line in stdin.lock().lines() {
        let line = line.map_err(|error| Failure::new(Exit::Usage, format!("standard input: {error}")))?;
        let line = line.strip_suffix('\r').unwrap_or(&line);
        if !line.trim().is_empty() && !identifiers.iter().any(|known| known == line) {
            identifiers.push(line.to_owned());
        }
    }
    if identifiers.is_empty() {
        return Err(Failure::new(Exit::Usage, "write the identifiers to standard input, one a line").into());
    }
    Ok(identifiers)
}

fn write_answer(out: &mut impl Write, answer: &Answer) -> anyhow::Result<()> {
    let ledger = &answer.ledger;
    let mut counts = out::table(&[]);
    for (what, count) in [
        ("identifiers", answer.identifiers),
        ("rows that no longer say whom they were about", ledger.rows),
        ("runs that no longer name them in words", ledger.runs),
        ("baselines deleted", ledger.baselines),
        ("copies of files deleted", answer.copies),
        ("passes hosted here deleted; on phones they stay as they are", answer.hosted_passes),
        ("phones that held them forgotten", answer.registrations),
        ("keys of adds that no longer say whom they were about; the keys stay, so that nothing adds twice", ledger.keys),
    ] {
        counts.add_row([out::count(count), what.to_owned()]);
    }
    out::write_table(out, counts)?;
    if !answer.elsewhere.is_empty() {
        out::heading(out, "not deleted, because it is not here: look at these, older inputs, backups, and the passes themselves")?;
        for left in &answer.elsewhere {
            writeln!(out, "{}: {} at source {}", left.run, left.path, left.source)?;
        }
    }
    Ok(())
}
