//! Deliveries that come when they should not: a part behind its set, a file whose name is older than the feed takes.

use std::collections::HashSet;

use bstr::{BStr, ByteSlice};
use chrono::{Days, Utc};

use super::base_name;
use crate::config::meant::{Feed, SetKind};
use crate::ledger::delivered::Part;
use crate::ledger::run::Verdict;
use crate::ledger::{Ledger, Run, RunFilter, RunKind};
use crate::pipeline::date::NameDate;

/// Runs looked back at for the last set of a name.
const LOOK_BACK: u64 = 200;

/// What a delivery's time says against it.
pub fn judge(feed: &Feed, run: &Run, ledger: &dyn Ledger) -> anyhow::Result<Vec<Verdict>> {
    if run.kind != RunKind::File {
        return Ok(Vec::new());
    }
    let held = |guard: &str, evidence: String| Verdict { guard: guard.into(), held: true, evidence };
    let mut verdicts: Vec<Verdict> = too_old(feed, run).map(|evidence| held("too-old", evidence)).into_iter().collect();
    if !run.parts().is_empty() {
        let filter = RunFilter { feed: Some(feed.name.clone()), states: Vec::new(), limit: Some(LOOK_BACK) };
        let mut before = ledger.runs(&filter)?;
        before.retain(|past| past.id != run.id && past.kind == RunKind::File && past.detail.order < run.detail.order);
        let evidence = taken_before(feed, run, &before).or_else(|| late_part(feed, run, &before));
        verdicts.extend(evidence.map(|evidence| held("late-part", evidence)));
    }
    Ok(verdicts)
}

fn too_old(feed: &Feed, run: &Run) -> Option<String> {
    let (age, format) = (feed.never_older_than?, feed.date.as_ref()?);
    let date = NameDate::new(format)?.read(run.name.as_bstr())?;
    let zone = feed.expected.as_ref().map_or(feed.times.zone, |expected| expected.timezone);
    let today = Utc::now().with_timezone(&zone).date_naive();
    let oldest = today.checked_sub_days(Days::new(age.as_secs() / 86_400))?;
    (date < oldest).then(|| format!("its name says {date}; the feed takes files of {oldest} and later (never_older_than)"))
}

/// Parts with a name in common bear no sign of the run that they are of. Where none of them was in the last set of that name, they are
/// taken for what came too late for it: a new set begins with the same numbers as the last one. `before` is newest first.
fn late_part(feed: &Feed, run: &Run, before: &[Run]) -> Option<String> {
    if !feed.set.as_ref().is_some_and(|set| matches!(set.kind, SetKind::Shards { .. })) {
        return None;
    }
    let last = before.iter().find(|past| past.name == run.name).filter(|last| !last.parts().is_empty())?;
    let known: HashSet<&BStr> = last.parts().iter().map(|part| base_name(part.path.as_bstr())).collect();
    let is_new = run.parts().iter().all(|part| !known.contains(base_name(part.path.as_bstr())));
    is_new.then(|| {
        let names: Vec<String> = run.parts().iter().take(3).map(Part::shown).collect();
        format!(
            "none of its parts ({}) was in the set of this name that run {} took: they may have come too late for it",
            names.join(", "),
            last.id
        )
    })
}

/// A set that has parts in common with one that was applied: with others beside them, where rows add, since those would be added again; and
/// where another manifest listed them.
fn taken_before(feed: &Feed, run: &Run, before: &[Run]) -> Option<String> {
    let by_manifest = feed.set.as_ref().is_some_and(|set| matches!(set.kind, SetKind::Manifest { .. }));
    let all = run.parts().len();
    before.iter().filter(|past| past.detail.may_have_sent()).find_map(|past| {
        let known: HashSet<(&BStr, u64, i64)> = past.parts().iter().map(|part| (part.path.as_bstr(), part.size, part.mtime)).collect();
        let same = run.parts().iter().filter(|part| known.contains(&(part.path.as_bstr(), part.size, part.mtime))).count();
        let is_other = by_manifest && past.name != run.name;
        let why = if feed.may_add() { "what they add would be added again" } else { "another manifest listed them" };
        let is_taken = same > 0 && (is_other || (feed.may_add() && same < all));
        is_taken.then(|| format!("{same} of its {all} parts were in the set that run {} took ({}), and {why}", past.id, past.shown_name()))
    })
}
