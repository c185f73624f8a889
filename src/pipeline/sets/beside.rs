//! What stands beside data and says what it should be: checksums and control files.

use std::sync::Arc;
use std::time::Duration;

use bstr::{BStr, BString, ByteSlice};
use regex::bytes::Regex as BytesRegex;

use super::{Around, Candidate, Look, base_name};
use crate::ledger::delivered::{Checksum, Delivered};
use crate::ledger::run::show_name;
use crate::pipeline::archive::stem_length;
use crate::pipeline::checksum;
use crate::pipeline::discover::{Matcher, Observations};
use crate::source::{Entry, Result, join};

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

/// What a file beside others says of them, or what keeps it from saying so.
type Said<T> = Result<std::result::Result<T, String>>;

fn text(
    around: &Around<'_>,
    look: &Look<'_>,
    observations: &mut Observations,
    name: &BStr,
    what: &str,
) -> Said<(super::Beside, Arc<[u8]>)> {
    let shown = show_name(&name.to_owned());
    let Some(found) = around.find(name) else { return Ok(Err(format!("{what} {shown} has not come"))) };
    let entry = Entry { name: name.to_owned(), kind: crate::source::EntryKind::File, size: found.size, mtime: found.mtime };
    let text = observations.text(look.link, &join(look.inbox, found.path.as_bstr()), &entry)?;
    Ok(text.map(|text| (found, text)).ok_or_else(|| format!("{what} {shown} changes while it is read, or is too large")))
}

/// The checksums of a set's parts.
pub(super) fn take_checksums(
    matcher: &Matcher,
    candidate: &mut Candidate,
    around: &Around<'_>,
    look: &Look<'_>,
    observations: &mut Observations,
) -> Result<()> {
    let Some(pattern) = &matcher.feed.checksum else { return Ok(()) };
    if is_own(pattern) {
        for index in 0..candidate.parts.len() {
            let part = base_name(candidate.parts[index].path.as_bstr()).to_owned();
            let name = name_for(pattern, part.as_bstr());
            match text(around, look, observations, name.as_bstr(), "the checksum")? {
                Err(words) => candidate.missing.push(words),
                Ok((found, text)) => {
                    match checksum::of(&checksum::read(&text), part.as_bstr()) {
                        Some(checksum) => candidate.parts[index].checksum = Some(checksum.clone()),
                        None => candidate.missing.push(format!("{} says no checksum of {}", show_name(&name), show_name(&part))),
                    }
                    candidate.note_beside(found);
                }
            }
        }
        return Ok(());
    }
    let name = BString::from(pattern.as_str());
    let (found, text) = match text(around, look, observations, name.as_bstr(), "the checksums")? {
        Err(words) => {
            candidate.missing.push(words);
            return Ok(());
        }
        Ok(both) => both,
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
        let is_here = |of: &BString| around.find(of.as_bstr()).is_some();
        let absent = listed.iter().filter_map(|(of, _)| of.as_ref()).filter(|of| !is_here(of));
        candidate.missing.extend(absent.map(|of| format!("{}, which {} lists, has not come", show_name(of), show_name(&name))));
        candidate.note_beside(found);
    }
    Ok(())
}

/// What a control file says of a set.
pub(super) fn take_control(
    matcher: &Matcher,
    candidate: &mut Candidate,
    around: &Around<'_>,
    look: &Look<'_>,
    observations: &mut Observations,
) -> Result<()> {
    let Some(control) = &matcher.feed.control else { return Ok(()) };
    let name = name_for(&control.file, candidate.name.as_bstr());
    match text(around, look, observations, name.as_bstr(), "the control file")? {
        Err(words) => candidate.missing.push(words),
        Ok((found, text)) => {
            let counts = matcher.rules.counts(&text);
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
            if is_own(&control.file) || (candidate.in_folder && found.path != name) {
                candidate.note_beside(found);
            }
        }
    }
    Ok(())
}

/// How much a control file says there is.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Counts {
    pub records: Option<u64>,
    pub parts: Option<u64>,
    pub bytes: Option<u64>,
}

impl super::Rules {
    fn counts(&self, text: &[u8]) -> Counts {
        let mut counts = Counts::default();
        // A control file may be in any character set: what is looked for is not.
        let Some(regex) = self.control.as_ref().and_then(|regex| BytesRegex::new(regex.as_str()).ok()) else { return counts };
        for found in regex.captures_iter(text) {
            let number = |name: &str| found.name(name)?.as_bytes().to_str().ok()?.parse().ok();
            counts.records = counts.records.or_else(|| number("records"));
            counts.parts = counts.parts.or_else(|| number("parts"));
            counts.bytes = counts.bytes.or_else(|| number("bytes"));
        }
        counts
    }
}

/// What stands beside a file that is a delivery by itself. `Err`: what has not come, in words, and none for what a look again may show.
pub fn of_file(matcher: &Matcher, entry: &Entry, look: &Look<'_>, observations: &mut Observations) -> Said<Option<Delivered>> {
    let feed = &matcher.feed;
    if feed.checksum.is_none() && feed.control.is_none() {
        return Ok(Ok(None));
    }
    let around = Around::new(BString::default(), &[], look.entries);
    let mut delivered = Delivered::default();
    let name = entry.name.as_bstr();
    if let Some(pattern) = &feed.checksum {
        let beside = name_for(pattern, name);
        let (found, text) = match text(&around, look, observations, beside.as_bstr(), "its checksum")? {
            Err(words) => return Ok(Err(words)),
            Ok(both) => both,
        };
        let said: Option<Checksum> = checksum::of(&checksum::read(&text), name).cloned();
        let Some(said) = said else { return Ok(Err(format!("{} says no checksum of it", show_name(&beside)))) };
        delivered.checksum = Some(said);
        if is_own(pattern) {
            delivered.beside.push(found);
        }
    }
    if let Some(control) = &feed.control {
        let beside = name_for(&control.file, name);
        let (found, text) = match text(&around, look, observations, beside.as_bstr(), "its control file")? {
            Err(words) => return Ok(Err(words)),
            Ok(both) => both,
        };
        let counts = matcher.rules.counts(&text);
        if counts == Counts::default() {
            return Ok(Err(format!("{} says no number of records (control.pattern)", show_name(&beside))));
        }
        if let Some(bytes) = counts.bytes.filter(|bytes| *bytes != entry.size) {
            return Ok(Err(format!("{} tells of {bytes} bytes, and it has {}", show_name(&beside), entry.size)));
        }
        delivered.records = counts.records;
        if is_own(&control.file) && !delivered.beside.contains(&found) {
            delivered.beside.push(found);
        }
    }
    Ok(Ok(Some(delivered)))
}

/// How long what stands beside a file may be missing before somebody should look, where it is no set.
pub const PATIENCE: Duration = Duration::from_hours(1);

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
        let regex = regex::Regex::new(RECORDS).unwrap();
        let rules = super::super::Rules { kind: None, sidecars: Vec::new(), control: Some(regex) };
        for text in ["records=2", "file=x.csv\r\nrows : 2\r\n", "{\n  \"record_count\": 2\n}", "Count=\"2\"", "COUNT=2;"] {
            assert_eq!(rules.counts(text.as_bytes()).records, Some(2), "{text:?}");
        }
        for text in ["bad_records=2", "2", "records=", "columns=2"] {
            assert_eq!(rules.counts(text.as_bytes()), Counts::default(), "{text:?}");
        }
    }
}
