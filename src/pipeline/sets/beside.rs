//! What stands beside data and says what it should be: checksums and control files.

use std::collections::HashSet;
use std::sync::Arc;

use bstr::{BStr, BString, ByteSlice};
use regex::bytes::Regex;

use super::{Around, Candidate, Look, Rules, base_name};
use crate::ledger::delivered::{Beside, Delivered};
use crate::ledger::run::show_name;
use crate::pipeline::archive::stem_length;
use crate::pipeline::checksum;
use crate::pipeline::discover::{Matcher, Observations};
use crate::source::{Entry, EntryKind, Result, join};

/// The name of a file beside another: `{}` stands for that one's own name, `{stem}` for it without its endings.
pub fn name_for(pattern: &str, name: &BStr) -> BString {
    // A name may itself hold what stands for one.
    let (place, text) =
        if pattern.contains("{stem}") { ("{stem}", &name.as_bytes()[..stem_length(name)]) } else { ("{}", name.as_bytes()) };
    BString::from(pattern.as_bytes().replace(place, text))
}

/// Does each file have one of its own?
pub fn is_own(pattern: &str) -> bool {
    pattern.contains("{}") || pattern.contains("{stem}")
}

/// Looks for a file beside a candidate, or near one of its parts, and reads it. None where that cannot be: the candidate then says what is missing.
fn find(
    candidate: &mut Candidate,
    around: &Around<'_>,
    look: &Look<'_>,
    observations: &mut Observations,
    name: &BStr,
    of: Option<usize>,
    what: &str,
) -> Result<Option<(Beside, Arc<[u8]>)>> {
    let shown = show_name(&name.to_owned());
    let whose = if candidate.alone { "its" } else { "the" };
    let folder = of.and_then(|part| candidate.parts[part].path.rsplit_once_str("/")).map(|(folder, _)| BString::from(folder));
    let found = folder.map_or_else(|| around.find(name), |folder| around.find_near(&folder, name));
    let Some(found) = found else {
        candidate.missing.push(format!("{whose} {what} {shown} has not come"));
        return Ok(None);
    };
    let entry = Entry { name: name.to_owned(), kind: EntryKind::File, size: found.size, mtime: found.mtime };
    let Some(text) = observations.text(look.link, &join(look.inbox, found.path.as_bstr()), &entry)? else {
        candidate.missing.push(format!("{whose} {what} {shown} changes while it is read, or is too large"));
        return Ok(None);
    };
    if candidate.alone && found.mtime < candidate.mtime() {
        candidate.old.push(format!("{whose} {what} {shown} is older than it, and may be of an earlier delivery"));
    }
    Ok(Some((found, text)))
}

/// The checksums of a candidate's parts.
pub(super) fn take_checksums(
    rules: &Rules,
    candidate: &mut Candidate,
    around: &Around<'_>,
    look: &Look<'_>,
    observations: &mut Observations,
) -> Result<()> {
    let Some(pattern) = &rules.checksum else { return Ok(()) };
    if is_own(pattern) {
        for index in 0..candidate.parts.len() {
            let part = base_name(candidate.parts[index].path.as_bstr()).to_owned();
            let name = name_for(pattern, part.as_bstr());
            let Some((found, text)) = find(candidate, around, look, observations, name.as_bstr(), Some(index), "checksum")? else {
                continue;
            };
            match checksum::of(&checksum::read(&text), part.as_bstr()) {
                Some(checksum) => candidate.parts[index].checksum = Some(checksum.clone()),
                None => candidate.missing.push(format!("{} says no checksum of {}", show_name(&name), show_name(&part))),
            }
            candidate.note_beside(found);
        }
        return Ok(());
    }
    let name = BString::from(pattern.as_str());
    let Some((found, text)) = find(candidate, around, look, observations, name.as_bstr(), None, "list of checksums")? else {
        return Ok(());
    };
    let listed = checksum::read(&text);
    for part in &mut candidate.parts {
        match checksum::of(&listed, base_name(part.path.as_bstr())) {
            Some(checksum) => part.checksum = Some(checksum.clone()),
            None => candidate.contradictions.push(format!("{} is there, and {} does not list it", part.shown(), show_name(&name))),
        }
    }
    // In a folder of their own, all that is listed is of this set.
    if candidate.in_folder && found.path != name {
        let here: HashSet<&BStr> = candidate.parts.iter().map(|part| base_name(part.path.as_bstr())).collect();
        let is_here = |of: &BString| here.contains(of.as_bstr()) || around.find(of.as_bstr()).is_some();
        let absent = listed.iter().filter_map(|(of, _)| of.as_ref()).filter(|of| !is_here(of));
        candidate.missing.extend(absent.map(|of| format!("{}, which {} lists, has not come", show_name(of), show_name(&name))));
        candidate.note_beside(found);
    }
    Ok(())
}

/// What a control file says of a candidate.
pub(super) fn take_control(
    rules: &Rules,
    candidate: &mut Candidate,
    around: &Around<'_>,
    look: &Look<'_>,
    observations: &mut Observations,
) -> Result<()> {
    let Some((pattern, regex)) = &rules.control else { return Ok(()) };
    let name = name_for(pattern, candidate.name.as_bstr());
    let is_old = candidate.old.len();
    let Some((found, text)) = find(candidate, around, look, observations, name.as_bstr(), None, "control file")? else { return Ok(()) };
    // A checksum proves a file whatever its age. A count that happens to be the same proves nothing.
    candidate.contradictions.extend_from_slice(&candidate.old[is_old..]);
    let counts = counts(regex, &text);
    let shown = show_name(&name);
    if counts == Counts::default() {
        candidate.missing.push(format!("{shown} says no number of records (control.pattern)"));
    }
    let there = candidate.parts.len() as u64;
    match counts.parts {
        Some(parts) if parts > there => candidate.missing.push(format!("{shown} tells of {parts} parts, and {there} have come")),
        Some(parts) if parts < there => {
            candidate.contradictions.push(format!("{shown} tells of {parts} parts, and there are {there}"));
        }
        _ => {}
    }
    if let Some(bytes) = counts.bytes.filter(|bytes| *bytes != candidate.size()) {
        candidate.contradictions.push(format!("{shown} tells of {bytes} bytes, and there are {}", candidate.size()));
    }
    candidate.records = counts.records.or(candidate.records);
    if is_own(pattern) || (candidate.in_folder && found.path != name) {
        candidate.note_beside(found);
    }
    Ok(())
}

/// What stands beside a file that is a delivery by itself.
pub enum OfFile {
    /// Nothing has to.
    Nothing,
    Fits(Box<Delivered>),
    /// It waits for what the words say. With a delivery: something stands there, and is old or does not fit.
    Waits {
        words: String,
        at_last: Option<Box<Delivered>>,
    },
}

/// Is all there that must stand beside a file? Senders write it behind the file, so that what is older may be of an earlier one. A server's
/// clock may count whole seconds: of the same one is not older.
pub fn of_file(matcher: &Matcher, entry: &Entry, look: &Look<'_>, observations: &mut Observations) -> Result<OfFile> {
    let rules = &matcher.rules;
    if rules.checksum.is_none() && rules.control.is_none() {
        return Ok(OfFile::Nothing);
    }
    let around = Around::new(BString::default(), &[], look.entries);
    let parts = vec![super::part_of(entry.name.clone(), entry)];
    let mut candidate = Candidate { name: entry.name.clone(), parts, alone: true, ..Candidate::default() };
    take_checksums(rules, &mut candidate, &around, look, observations)?;
    take_control(rules, &mut candidate, &around, look, observations)?;
    if !candidate.missing.is_empty() {
        return Ok(OfFile::Waits { words: candidate.missing.join("; "), at_last: None });
    }
    let mut words = candidate.old.clone();
    words.extend(candidate.contradictions.iter().filter(|words| !candidate.old.contains(words)).cloned());
    let delivered = Box::new(Delivered {
        beside: candidate.beside,
        records: candidate.records,
        checksum: candidate.parts.into_iter().next().and_then(|part| part.checksum),
        contradictions: candidate.contradictions,
        notes: candidate.old,
        ..Delivered::default()
    });
    Ok(if words.is_empty() { OfFile::Fits(delivered) } else { OfFile::Waits { words: words.join("; "), at_last: Some(delivered) } })
}

/// How much a control file says there is.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Counts {
    pub records: Option<u64>,
    pub parts: Option<u64>,
    pub bytes: Option<u64>,
}

fn counts(regex: &Regex, text: &[u8]) -> Counts {
    let mut counts = Counts::default();
    for found in regex.captures_iter(text) {
        let number = |name: &str| found.name(name)?.as_bytes().to_str().ok()?.parse().ok();
        counts.records = counts.records.or_else(|| number("records"));
        counts.parts = counts.parts.or_else(|| number("parts"));
        counts.bytes = counts.bytes.or_else(|| number("bytes"));
    }
    counts
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::meant::RECORDS;

    #[test]
    fn a_file_beside_another_is_named_after_it() {
        assert_eq!(name_for("{}.done", "a.csv.gz".into()), "a.csv.gz.done");
        assert_eq!(name_for("{stem}.ctl", "a.csv.gz".into()), "a.ctl");
        assert_eq!(name_for("SHA256SUMS", "a.csv".into()), "SHA256SUMS");
        assert_eq!(name_for("{stem}.ctl", "a{}{stem}.csv".into()), "a{}{stem}.ctl");
    }

    #[test]
    fn counts_are_found_in_the_usual_forms() {
        let regex = Regex::new(RECORDS).unwrap();
        for text in ["records=2", "file=x.csv\r\nrows : 2\r\n", "{\n  \"record_count\": 2\n}", "Count=\"2\"", "COUNT=2;"] {
            assert_eq!(counts(&regex, text.as_bytes()).records, Some(2), "{text:?}");
        }
        for text in ["bad_records=2", "2", "records=", "columns=2"] {
            assert_eq!(counts(&regex, text.as_bytes()), Counts::default(), "{text:?}");
        }
    }
}
