//! Deliveries that come when they should not: a part behind its set, a file whose name is older than the feed takes.

use std::collections::HashSet;

use bstr::{BStr, ByteSlice};
use chrono::{Days, Utc};

use super::base_name;
use crate::config::meant::{Feed, SetKind};
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
    verdicts.extend(late_part(feed, run, ledger)?.map(|evidence| held("late-part", evidence)));
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
/// taken for what came too late for it: a new set begins with the same numbers as the last one.
fn late_part(feed: &Feed, run: &Run, ledger: &dyn Ledger) -> anyhow::Result<Option<String>> {
    if let Some(words) = taken_before(feed, run, ledger)? {
        return Ok(Some(words));
    }
    let is_shards = feed.set.as_ref().is_some_and(|set| matches!(set.kind, SetKind::Shards { .. }));
    if !is_shards || run.parts().is_empty() {
        return Ok(None);
    }
    let filter = RunFilter { feed: Some(feed.name.clone()), states: Vec::new(), limit: Some(LOOK_BACK) };
    let last = ledger
        .runs(&filter)?
        .into_iter()
        .find(|past| past.id != run.id && past.kind == RunKind::File && past.name == run.name && past.detail.order < run.detail.order);
    let Some(last) = last.filter(|last| !last.parts().is_empty()) else { return Ok(None) };
    let before: HashSet<&BStr> = last.parts().iter().map(|part| base_name(part.path.as_bstr())).collect();
    let is_new = run.parts().iter().all(|part| !before.contains(base_name(part.path.as_bstr())));
    Ok(is_new.then(|| {
        let names: Vec<String> = run.parts().iter().take(3).map(crate::ledger::delivered::Part::shown).collect();
        format!(
            "none of its parts ({}) was in the set of this name that run {} took: they may have come too late for it",
            names.join(", "),
            last.id
        )
    }))
}

/// A set that has parts in common with one that was applied, and others beside them, where rows add: those would be added again.
fn taken_before(feed: &Feed, run: &Run, ledger: &dyn Ledger) -> anyhow::Result<Option<String>> {
    if run.parts().is_empty() || !feed.may_add() {
        return Ok(None);
    }
    let filter = RunFilter { feed: Some(feed.name.clone()), states: Vec::new(), limit: Some(LOOK_BACK) };
    for past in ledger.runs(&filter)? {
        if past.id == run.id || past.kind != RunKind::File || past.detail.order >= run.detail.order || !past.detail.may_have_sent() {
            continue;
        }
        let before: HashSet<(&BStr, u64, i64)> = past.parts().iter().map(|part| (part.path.as_bstr(), part.size, part.mtime)).collect();
        let same = run.parts().iter().filter(|part| before.contains(&(part.path.as_bstr(), part.size, part.mtime))).count();
        if same > 0 && same < run.parts().len() {
            let all = run.parts().len();
            return Ok(Some(format!(
                "{same} of its {all} parts were in the set that run {} took, and what they add would be added again",
                past.id
            )));
        }
    }
    Ok(None)
}
