//! Parts that have something in common: Snowflake's, BigQuery's, Redshift's without a manifest (contracts/exports.md, sections 1 to 3).

use std::collections::BTreeMap;

use bstr::{BStr, BString, ByteSlice};
use regex::Regex;

use super::{Candidate, Look, part_of};
use crate::config::meant::SHARDS;
use crate::ledger::run::show_name;
use crate::pipeline::discover::{Matcher, Observations, is_temporary};
use crate::source::{Entry, EntryKind, name_fault};

/// The inbox's parts, by what they share.
pub(super) fn candidates(matcher: &Matcher, group: &Regex, look: &Look<'_>, observations: &mut Observations) -> Vec<Candidate> {
    let mut found: BTreeMap<BString, (Candidate, Vec<Option<u64>>)> = BTreeMap::new();
    let mut coming: Vec<(BString, String)> = Vec::new();
    for entry in look.entries {
        let name = entry.name.as_bstr();
        if entry.kind == EntryKind::File && is_temporary(name) && name_fault(name).is_none() {
            coming.extend(upload_of(matcher, group, entry));
        }
        if !super::is_data(&matcher.rules, entry) || !matcher.matches(name) {
            continue;
        }
        let Some((set, number)) = part(group, &matcher.feed.name, name) else {
            observations.warn_once(look.inbox, name, "its name has no form that set.group knows");
            continue;
        };
        let (candidate, numbers) = found.entry(set.clone()).or_default();
        candidate.name = set;
        candidate.parts.push(part_of(entry.name.clone(), entry));
        numbers.push(number);
    }
    for (set, shown) in coming {
        if let Some((candidate, _)) = found.get_mut(&set) {
            candidate.missing.push(format!("{shown} is still being uploaded"));
        }
    }
    let numbered = |(mut candidate, numbers): (Candidate, Vec<Option<u64>>)| {
        candidate.missing.extend(gap(group, numbers));
        candidate
    };
    found.into_values().map(numbered).collect()
}

/// The set that a part belongs to, and its number where the form has one. `nameless` is the set of names that are counters alone.
pub(super) fn part(group: &Regex, nameless: &str, name: &BStr) -> Option<(BString, Option<u64>)> {
    let found = group.captures(name.to_str().ok()?)?;
    let set = found.name("set")?.as_str();
    // It becomes the name of a folder.
    if !set.is_empty() && name_fault(set.into()).is_some() {
        return None;
    }
    let number = found.name("number").and_then(|number| number.as_str().parse().ok());
    // Nothing is left of names that are counters alone.
    Some((if set.is_empty() { nameless } else { set }.into(), number))
}

/// The set that an upload in progress will be a part of.
fn upload_of(matcher: &Matcher, group: &Regex, entry: &Entry) -> Option<(BString, String)> {
    let name = entry.name.strip_prefix(b".").unwrap_or(&entry.name).as_bstr();
    let ends = name.iter().enumerate().filter(|(_, byte)| matches!(byte, b'.' | b'~')).map(|(at, _)| at);
    let mut known = ends.filter_map(|end| Some(name[..end].as_bstr()).filter(|name| matcher.matches(name)));
    let (set, _) = known.find_map(|name| part(group, &matcher.feed.name, name))?;
    Some((set, show_name(&entry.name)))
}

/// The first number that is left out, in words. Numbers count from 0; those of a form that a feed names itself, from 1 as well.
pub(super) fn gap(group: &Regex, numbers: Vec<Option<u64>>) -> Option<String> {
    let mut numbers: Vec<u64> = numbers.into_iter().collect::<Option<_>>()?;
    numbers.sort_unstable();
    let first = *numbers.first()?;
    let expected = u64::from(first == 1 && group.as_str() != SHARDS);
    let missing = (expected..).zip(&numbers).find(|(expected, number)| expected != *number).map(|(expected, _)| expected)?;
    Some(format!("part number {missing} has not come"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_forms_of_warehouses_are_known() {
        let regex = Regex::new(SHARDS).unwrap();
        let set = |name: &str| {
            let found = regex.captures(name)?;
            Some((found["set"].to_owned(), found.name("number").map(|number| number.as_str().to_owned())))
        };
        let known = |name: &str, is: &str, number: Option<&str>| {
            assert_eq!(set(name), Some((is.to_owned(), number.map(str::to_owned))), "{name}");
        };
        known("data_0_0_0.csv.gz", "data", None);
        known("loyalty_20261120_0_12_3.csv.gz", "loyalty_20261120", None);
        known("members_000000000001.csv", "members", Some("000000000001"));
        known("members000000000001", "members", Some("000000000001"));
        known("000000000000.csv", "", Some("000000000000"));
        known("loyalty_0000_part_00.gz", "loyalty", None);
        known("venue_pipe_0013_part_112", "venue_pipe", None);
        for other in ["loyalty.csv", "loyalty_20261120.csv", "data_0_0.csv", "manifest"] {
            assert_eq!(set(other), None, "{other}");
        }
    }

    #[test]
    fn a_number_that_is_left_out_is_noticed() {
        let own = Regex::new("^(?P<set>.*)-(?P<number>[0-9]+)$").unwrap();
        let shards = Regex::new(SHARDS).unwrap();
        let of = |group, numbers: &[u64]| gap(group, numbers.iter().copied().map(Some).collect());
        let gap = |numbers: &[u64]| of(&shards, numbers);
        assert_eq!(gap(&[0, 1, 2]), None);
        assert_eq!(gap(&[3, 1, 2]).as_deref(), Some("part number 0 has not come"));
        assert_eq!(of(&own, &[3, 1, 2]), None);
        assert_eq!(of(&own, &[3, 1]).as_deref(), Some("part number 2 has not come"));
        assert_eq!(of(&own, &[2, 3]).as_deref(), Some("part number 0 has not come"));
        assert_eq!(gap(&[0, 2]).as_deref(), Some("part number 1 has not come"));
        assert_eq!(gap(&[2, 3]).as_deref(), Some("part number 0 has not come"));
        assert_eq!(super::gap(&shards, vec![Some(0), None]), None, "without numbers nothing is left out");
    }
}
