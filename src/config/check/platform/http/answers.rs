//! What answers of a described platform mean.

use std::ops::RangeInclusive;

use super::super::super::{Check, Key};
use crate::config::meant::http::{Answers, Class, Codes};
use crate::config::value::quoted;
use crate::config::written::{self, OneOrMany};
use crate::platform::http::pointer::Pointer;

type Ranges = Vec<RangeInclusive<u16>>;

/// Classes by their keys, with the statuses they have unless the configuration says otherwise (RFC 9110).
const CLASSES: [(&str, Class, &str); 8] = [
    ("applied", Class::Applied, "200..299"),
    ("refused", Class::Refused, "400, 402, 403, 405, 406, 415, 422"),
    ("too_large", Class::TooLarge, "413"),
    ("not_found", Class::NotFound, "404"),
    ("gone", Class::Gone, "410"),
    ("conflict", Class::Conflict, "409, 412, 428"),
    ("retry", Class::Retry, "408, 425, 499, 500, 502..504, 506..599"),
    ("slow_down", Class::SlowDown, "429"),
];

impl Check<'_> {
    pub(super) fn answers(&mut self, key: &Key, written: Option<&written::Table<written::Answers>>) -> Answers {
        let empty = written::Answers::default();
        let written = written.map_or(&empty, |table| &table.0);
        let mut statuses: Vec<(Class, Ranges)> = Vec::new();
        // What the configuration names comes first, so that a status it names counts for nothing else.
        for (name, class, _) in CLASSES {
            let Some(text) = of_class(written, class) else { continue };
            let Some(ranges) = self.good(&key.child(name), ranges(&text.0)) else { continue };
            let both = |range: &RangeInclusive<u16>| {
                let (start, end) = (*range.start(), *range.end());
                statuses.iter().find(|(_, others)| others.iter().any(|other| *other.start() <= end && start <= *other.end()))
            };
            if let Some((other, _)) = ranges.iter().find_map(both) {
                let other = CLASSES.iter().find(|(_, class, _)| class == other).map_or("", |(name, ..)| name);
                self.fault(&key.child(name), format!("{} has a status of {other}; write each status once", quoted(&text.0)));
            }
            statuses.push((class, ranges));
        }
        for (_, class, text) in CLASSES {
            if of_class(written, class).is_none() {
                statuses.push((class, ranges(text).unwrap_or_default()));
            }
        }
        let success = written.success.as_ref().and_then(|said| self.said(&key.child("success"), said));
        let codes = written.code.as_ref().and_then(|codes| self.codes(&key.child("code"), codes));
        let messages = many(written.message.as_ref()).iter().filter_map(|text| self.inner_place(&key.child("message"), text)).collect();
        Answers { statuses, success, codes, messages }
    }

    /// Words at a place.
    pub(super) fn said(&mut self, key: &Key, said: &written::Said) -> Option<(Pointer, Vec<String>)> {
        let at = self.required(&key.child("at"), said.at.as_ref(), "at = \"/success\"");
        let words = self.required(&key.child("is"), said.is.as_ref(), "is = \"true\"");
        let at = at.and_then(|text| self.inner_place(&key.child("at"), &text));
        Some((at?, many(Some(&words?))))
    }

    fn codes(&mut self, key: &Key, codes: &written::Codes) -> Option<(Pointer, Codes)> {
        let at = self.required(&key.child("at"), codes.at.as_ref(), "at = \"/error/code\"");
        let at = at.and_then(|text| self.inner_place(&key.child("at"), &text));
        let classes = [
            (Class::Applied, &codes.applied),
            (Class::Refused, &codes.refused),
            (Class::TooLarge, &codes.too_large),
            (Class::NotFound, &codes.not_found),
            (Class::Gone, &codes.gone),
            (Class::Conflict, &codes.conflict),
            (Class::Retry, &codes.retry),
            (Class::SlowDown, &codes.slow_down),
        ];
        let words: Codes = classes.into_iter().filter_map(|(class, words)| Some((class, many(Some(words.as_ref()?))))).collect();
        if words.is_empty() && !self.document.pruned_within(key) {
            self.fault(key, "names no code; write such as not_found = \"PASS_NOT_FOUND\"".into());
        }
        Some((at?, words))
    }
}

fn of_class(answers: &written::Answers, class: Class) -> Option<&written::Statuses> {
    match class {
        Class::Applied => answers.applied.as_ref(),
        Class::Refused => answers.refused.as_ref(),
        Class::TooLarge => answers.too_large.as_ref(),
        Class::NotFound => answers.not_found.as_ref(),
        Class::Gone => answers.gone.as_ref(),
        Class::Conflict => answers.conflict.as_ref(),
        Class::Retry => answers.retry.as_ref(),
        Class::SlowDown => answers.slow_down.as_ref(),
        Class::Unlisted => None,
    }
}

fn many(texts: Option<&OneOrMany>) -> Vec<String> {
    match texts {
        None => Vec::new(),
        Some(OneOrMany::One(text)) => vec![text.clone()],
        Some(OneOrMany::Many(texts)) => texts.clone(),
    }
}

/// `404, 500..599`; nothing for an empty text.
fn ranges(text: &str) -> Result<Ranges, String> {
    let wrong = || format!("{} has no statuses; write such as 404 or \"404, 500..599\"", quoted(text));
    let status = |text: &str| text.trim().parse::<u16>().ok().filter(|status| (200..=599).contains(status)).ok_or_else(wrong);
    let mut all = Vec::new();
    for part in text.split(',').filter(|part| !part.trim().is_empty()) {
        let range = match part.split_once("..") {
            Some((first, last)) => status(first)?..=status(last)?,
            None => status(part)?..=status(part)?,
        };
        if range.is_empty() {
            return Err(format!("{} has its last status before its first; write the smaller one first", quoted(text)));
        }
        let taken = [401, 407].iter().any(|status| range.contains(status)) || (*range.start() < 400 && *range.end() >= 300);
        if taken {
            let message = "has a status whose meaning is fixed: a redirect (3xx) is never followed, and 401 and 407 are about credentials; leave them out";
            return Err(format!("{} {message}", quoted(text)));
        }
        all.push(range);
    }
    Ok(all)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn statuses_are_numbers_and_ranges() {
        assert_eq!(ranges("404, 500..599").unwrap(), [404..=404, 500..=599]);
        assert_eq!(ranges("").unwrap(), []);
        for (bad, words) in [
            ("4xx", "has no statuses"),
            ("600", "has no statuses"),
            ("500..400", "smaller one first"),
            ("400..410", "fixed"),
            ("302", "fixed"),
            ("200..599", "fixed"),
        ] {
            assert!(ranges(bad).unwrap_err().contains(words), "{bad}");
        }
    }

    #[test]
    fn no_status_has_two_meanings_by_default() {
        let all: Vec<RangeInclusive<u16>> = CLASSES.iter().flat_map(|(.., text)| ranges(text).unwrap()).collect();
        for status in 200..=599_u16 {
            assert!(all.iter().filter(|range| range.contains(&status)).count() <= 1, "{status}");
        }
    }
}
