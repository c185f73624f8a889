//! A run and the room on this machine's disk: where it waits for it, and what it lets go of meanwhile.

use tracing::{debug, warn};

use super::{Rest, Road};
use crate::ledger::{Run, State};
use crate::space::Trouble;

/// What processing came to, with faults of storage taken for what they mean: a run that waits, or the end of everything.
pub fn judge(road: &Road, run: &mut Run, rest: anyhow::Result<Rest>) -> anyhow::Result<Rest> {
    match rest {
        // Its outcomes went into the reserve; what is left of it waits.
        Ok(Rest::Stopping | Rest::Later) if road.room.is_short() => Ok(wait(road, run, Trouble::Full)),
        Ok(rest) => Ok(rest),
        Err(fault) => match road.trouble(&fault) {
            None => Err(fault),
            Some(Trouble::Broken | Trouble::Unsure) => {
                road.break_off(&fault);
                Err(fault)
            }
            Some(trouble) => {
                debug!("{fault:#}");
                if trouble == Trouble::Full {
                    tidy(road, run);
                }
                let rest = wait(road, run, trouble);
                // The station came back: no start died there.
                if let Err(error) = road.save(run) {
                    debug!("the ledger was not told that a station came back: {error:#}");
                }
                Ok(rest)
            }
        },
    }
}

/// Lets a run wait until storage is as it should be.
pub fn wait(road: &Road, run: &mut Run, trouble: Trouble) -> Rest {
    wait_for(road, run, trouble.words(road.room.state()))
}

pub fn wait_for(road: &Road, run: &mut Run, words: String) -> Rest {
    if run.detail.waits.as_ref() != Some(&words) {
        warn!(file = run.shown_name(), "{words}");
        run.detail.wait_for(words);
        // Where even this finds no room, the log and the state's own disk tell it.
        if let Err(error) = road.save(run) {
            debug!("the ledger was not told what the run waits for: {error:#}");
        }
    }
    Rest::Later
}

/// Gives back the room that a station took and did not finish with. The ledger's rows of a file that is checked again are replaced then.
fn tidy(road: &Road, run: &Run) {
    // Rows that were checked are read from the decoded text.
    let removed = match run.state {
        State::Complete | State::Fetched => road.spool.remove_derived(&road.spool_owner(run)),
        State::Reporting => road.spool.remove_reports(&run.id),
        _ => Ok(()),
    };
    if let Err(error) = removed {
        warn!("left in the spool: {error}");
    }
}

/// Files whose text is larger than they are.
pub fn is_compressed(run: &Run) -> bool {
    let is_packed = |name: &[u8]| {
        let name = name.to_ascii_lowercase();
        [&b".gz"[..], b".zip", b".zst", b".bz2", b".sz", b".xlsx"].iter().any(|ending| name.ends_with(ending))
    };
    is_packed(&run.name) || run.parts().iter().any(|part| is_packed(&part.path))
}
