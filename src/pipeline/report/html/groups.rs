//! Problems by code and column, most frequent first.

use super::super::Report;
use super::super::json::{CodeHelp, KEPT_BACK};
use super::super::rows::is_about_a_cell;
use super::examples::{Example, Examples, LABEL_MAX, Place};
use crate::outcome::Code;
use crate::page::words::{self, visible};

/// Codes that are shown with examples.
const GROUPS_MAX: usize = 10;
/// Lines of the list of all the others.
const REST_MAX: usize = 30;

/// A code, and what to do about it.
pub struct Group<'a> {
    pub code: &'a str,
    pub help: &'a CodeHelp,
    pub count: String,
    pub places: Vec<Column<'a>>,
    /// Columns of this code without examples.
    pub more: Option<String>,
}

/// A code in one column, or about rows as a whole.
pub struct Column<'a> {
    pub label: String,
    /// Not known where the file has no header.
    pub count: Option<String>,
    pub examples: &'a [Example],
}

/// What there was no room for.
#[derive(Default)]
pub struct Rest {
    /// Code, column (empty for none) and count.
    pub lines: Vec<(String, String, String)>,
    pub more: usize,
}

/// Rows that a setting or a decision kept back.
pub struct KeptBack {
    pub code: &'static str,
    pub cause: &'static str,
    pub cure: &'static str,
    pub count: String,
}

/// The groups that are shown, and the rest.
pub fn of<'a>(report: &'a Report, examples: &'a Examples) -> (Vec<Group<'a>>, Rest) {
    let is_kept_back = |name: &str| Code::parse(name).is_some_and(|code| KEPT_BACK.contains(&code));
    let mut codes: Vec<(&str, u64)> =
        report.problems.iter().map(|(name, &count)| (name.as_str(), count)).filter(|(name, _)| !is_kept_back(name)).collect();
    codes.sort_by_key(|&(name, count)| (std::cmp::Reverse(count), name));
    let mut groups = Vec::new();
    let mut rest = Vec::new();
    for (name, count) in codes {
        let by_column = report.problems_by_column.iter().filter_map(|(label, codes)| Some((label.as_str(), *codes.get(name)?)));
        // What is wrong with a record as a whole is counted in each of its columns.
        let columns: Vec<(&str, u64)> = by_column.filter(|_| Code::parse(name).is_some_and(is_about_a_cell)).collect();
        let (Some(code), Some(help), true) = (Code::parse(name), report.codes.get(name), groups.len() < GROUPS_MAX) else {
            rest.push((name, "", count));
            continue;
        };
        let shown: Vec<&Place> = examples.of(code).iter().collect();
        let counted = |place: &Place| columns.iter().find(|(label, _)| *label == place.label).map(|(_, count)| *count);
        let mut places: Vec<(Option<u64>, Column<'_>)> = shown
            .iter()
            .map(|place| {
                let count = counted(place);
                let column = Column { label: visible(&place.label, LABEL_MAX), count: count.map(times), examples: &place.examples };
                (count, column)
            })
            .collect();
        places.sort_by_key(|(count, _)| std::cmp::Reverse(*count));
        let left: Vec<&(&str, u64)> = columns.iter().filter(|(label, _)| !shown.iter().any(|place| place.label == *label)).collect();
        rest.extend(left.iter().map(|(label, count)| (name, *label, *count)));
        groups.push(Group {
            code: name,
            help,
            count: times(count),
            places: places.into_iter().map(|(_, column)| column).collect(),
            more: (!left.is_empty()).then(|| words::counted(left.len() as u64, "more column")),
        });
    }
    rest.sort_by_key(|&(code, label, count)| (std::cmp::Reverse(count), code, label));
    let more = rest.len().saturating_sub(REST_MAX);
    let lines = rest.into_iter().take(REST_MAX);
    let lines = lines.map(|(code, label, count)| (code.to_owned(), visible(label, LABEL_MAX), words::count(count)));
    (groups, Rest { lines: lines.collect(), more })
}

fn times(count: u64) -> String {
    if count == 1 { "once".to_owned() } else { format!("{} times", words::count(count)) }
}

pub fn kept_back(report: &Report) -> Vec<KeptBack> {
    let told = KEPT_BACK.into_iter().filter_map(|code| {
        let (help, count) = (code.explain(), *report.problems.get(code.as_str())?);
        Some(KeptBack { code: help.name, cause: help.cause, cure: help.cure, count: words::counted(count, "row") })
    });
    told.collect()
}
