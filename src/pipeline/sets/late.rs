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
    let zone = feed.expected.as_ref().map_or(feed.timezone, |expected| expected.timezone);
    let today = Utc::now().with_timezone(&zone).date_naive();
    let oldest = today.checked_sub_days(Days::new(age.as_secs() / 86_400))?;
    (date < oldest).then(|| format!("its name says {date}; the feed takes files of {oldest} and later (never_older_than)"))
}

/// Parts with a name in common bear no sign of the run that they are of. Where none of them was in the last set of that name, they are
/// taken for what came too late for it: a new set begins with the same numbers as the last one.
fn late_part(feed: &Feed, run: &Run, ledger: &dyn Ledger) -> anyhow::Result<Option<String>> {
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
