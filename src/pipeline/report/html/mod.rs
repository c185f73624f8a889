//! `STEM.report.html`: the run on one page for people. The numbers are those of `report.json`; nothing is loaded, nothing runs, and its
//! size is bounded whatever the file holds: each list is cut and says where the rest is.

mod examples;
mod groups;
mod headline;
mod past;

use std::borrow::Cow;

use askama::Template;
use askama::filters::HtmlSafe;

use super::{Names, Report};
use crate::config::meant::Feed;
use crate::dialect::Form;
use crate::ledger::run::{DialectFacts, MoveSample, Verdict};
use crate::ledger::{Ledger, Run, RunKind, State};
use crate::page::chart::{Bar, Slice, slices};
use crate::page::style;
use crate::page::words::{self, Instant, visible};

pub use examples::Examples;
use examples::Worst;
use groups::{Group, KeptBack, Rest};
use headline::Headline;
use past::Past;

/// Entries of a list; the rest is in `report.json`.
const LIST_MAX: usize = 20;
/// Characters of a stranger's words.
const WORDS_MAX: usize = 600;
const NAME_MAX: usize = 300;
const VALUE_MAX: usize = 100;

/// A report that was written beside this one.
pub struct Sibling {
    pub name: String,
    pub ending: &'static str,
}

impl Sibling {
    fn purpose(&self) -> &'static str {
        match self.ending.trim_end_matches(".pgp") {
            "errors.csv" => "the rows that need a person, as they came: correct them and drop this file back",
            "errors.xlsx" => "the same rows as a workbook",
            "problems.csv" => "every problem: line, column, code, what to write instead",
            _ => "all numbers, for programs",
        }
    }
}

/// Entries as far as they are shown, and how many more there are.
struct Cut<T> {
    shown: Vec<T>,
    more: usize,
}

impl<T> Cut<T> {
    fn of(all: impl ExactSizeIterator<Item = T>) -> Cut<T> {
        let more = all.len().saturating_sub(LIST_MAX);
        Cut { shown: all.take(LIST_MAX).collect(), more }
    }
}

struct PartLine {
    name: String,
    records: String,
    bytes: String,
    sha256: String,
}

struct Approved {
    by: String,
    at: Instant,
    reason: Option<String>,
}

#[derive(Template)]
#[template(path = "pipeline/report/html/page.html", config = "src/page/askama.toml")]
struct Page<'a> {
    policy: String,
    report: &'a Report,
    headline: Headline,
    file: String,
    parent: Option<&'a str>,
    seen: Instant,
    ended: Option<Instant>,
    slices: Vec<Slice>,
    bar: Bar,
    next: Vec<String>,
    fault: Option<FaultTold<'a>>,
    cause: Option<String>,
    guards: Cut<(&'a Verdict, String)>,
    approved: Option<Approved>,
    moves: Vec<(String, String)>,
    samples: Cut<[String; 4]>,
    groups: Vec<Group<'a>>,
    rest: Rest,
    kept_back: Vec<KeptBack>,
    worst: &'a [Worst],
    operations: Cut<(String, String)>,
    past: Option<Past>,
    form: Vec<(&'static str, String)>,
    parts: Cut<PartLine>,
    beside: Cut<String>,
    warnings: Cut<String>,
    timings: Vec<(&'static str, String)>,
    siblings: &'a [Sibling],
    problems_file: Option<&'a str>,
}

/// Why the file failed as a whole.
struct FaultTold<'a> {
    code: &'a str,
    place: String,
    message: String,
    cause: &'a str,
}

/// The whole page. `report` is what `report.json` says; `examples` were noted while the rows were written.
pub fn page(
    run: &Run,
    report: &Report,
    feed: &Feed,
    ledger: &dyn Ledger,
    examples: &Examples,
    siblings: &[Sibling],
) -> anyhow::Result<String> {
    let slices = slices(&report.rows);
    let (groups, rest) = groups::of(report, examples);
    let told = |at| Instant::new(at, feed.times.zone);
    let facts = report.file.facts.as_ref();
    let page = Page {
        policy: style::policy(),
        headline: Headline::of(run, report),
        file: visible(&report.file.name, NAME_MAX),
        parent: report.parent.as_deref(),
        seen: told(report.seen_at),
        ended: report.ended_at.map(told),
        bar: Bar::of(&slices),
        slices,
        next: report.next.iter().map(|step| words::cut(step, 2 * WORDS_MAX).into_owned()).collect(),
        fault: report.fault.as_ref().map(|fault| FaultTold {
            code: &fault.code,
            place: match (fault.line, fault.column) {
                (Some(line), Some(column)) => format!("Line {}, character {}", words::count(line), words::count(column)),
                (Some(line), None) => format!("Line {}", words::count(line)),
                _ => String::new(),
            },
            message: visible(&fault.message, WORDS_MAX),
            cause: report.codes.get(&fault.code).map_or("", |help| &help.cause),
        }),
        cause: report.cause.as_ref().map(|cause| visible(cause, WORDS_MAX)),
        guards: Cut::of(report.guards.iter().map(|verdict| (verdict, visible(&verdict.evidence, WORDS_MAX)))),
        approved: report.approval.as_ref().map(|approval| Approved {
            by: visible(&approval.by, VALUE_MAX),
            at: told(approval.at),
            reason: approval.reason.as_ref().map(|reason| visible(reason, WORDS_MAX)),
        }),
        moves: moves(report),
        samples: samples(&report.moves.samples),
        groups,
        rest,
        kept_back: groups::kept_back(report),
        worst: examples.worst(),
        operations: Cut::of(report.operations.iter().map(|(name, tally)| {
            let counts: Vec<String> = tally.iter().map(|(outcome, count)| format!("{} {outcome}", words::count(*count))).collect();
            (visible(name, VALUE_MAX), counts.join(", "))
        })),
        past: Past::of(run, ledger, feed.times.zone)?,
        form: report.file.dialect.as_ref().map(form).unwrap_or_default(),
        parts: Cut::of(report.file.parts.iter().map(|part| PartLine {
            name: visible(&part.name, NAME_MAX),
            records: words::count(part.records),
            bytes: crate::space::shown(part.bytes),
            sha256: part.sha256.clone().unwrap_or_default(),
        })),
        beside: Cut::of(report.file.beside.iter().map(|name| visible(name, NAME_MAX))),
        warnings: Cut::of(report.warnings.iter().map(|warning| visible(warning, WORDS_MAX))),
        timings: timings(report, facts.map_or(0, |facts| facts.records)),
        siblings,
        problems_file: siblings.iter().find(|sibling| sibling.ending.starts_with("problems.csv")).map(|sibling| sibling.name.as_str()),
        report,
    };
    Ok(page.render()?)
}

impl Page<'_> {
    fn kind(&self) -> &'static str {
        match self.report.kind {
            RunKind::File => "file",
            RunKind::Correction => "correction",
            RunKind::Retry => "retry",
        }
    }

    fn is_held(&self) -> bool {
        self.report.state == State::Held
    }

    /// Where the lists that are cut here are whole.
    fn elsewhere(&self) -> &str {
        self.problems_file.unwrap_or("report.json")
    }
}

/// The style sheet, as it is: nothing of it comes from outside.
struct Css;

impl std::fmt::Display for Css {
    fn fmt(&self, out: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        out.write_str(style::CSS)
    }
}

impl HtmlSafe for Css {}

fn moves(report: &Report) -> Vec<(String, String)> {
    let moves = &report.moves;
    let adds = moves.adds.iter().map(|(kind, count)| (format!("rows that {kind}"), *count));
    let numbers = [
        ("passes with something to do", moves.passes),
        ("balances that move", moves.balances),
        ("balances that go to nothing", moves.zeroed),
        ("passes with a field cleared", moves.cleared),
        ("passes that expire or are taken away", moves.ended),
        ("passes that may be created", moves.perhaps_created),
        ("passes with more alerts than the platform shows in a day", moves.over_alerts),
        ("requests, at most", moves.requests),
    ];
    let numbers = numbers.into_iter().map(|(what, count)| (what.to_owned(), count));
    numbers.chain(adds).filter(|(_, count)| *count > 0).map(|(what, count)| (what, words::count(count))).collect()
}

fn samples(samples: &[MoveSample]) -> Cut<[String; 4]> {
    let mut by_line: Vec<&MoveSample> = samples.iter().collect();
    by_line.sort_by_key(|sample| sample.line);
    Cut::of(by_line.into_iter().map(|sample| {
        let [field, from, to] = [&sample.field, &sample.from, &sample.to].map(|text| visible(text, VALUE_MAX));
        [words::count(sample.line), field, from, to]
    }))
}

/// How the file is written.
fn form(dialect: &DialectFacts) -> Vec<(&'static str, String)> {
    let delimiter = if dialect.delimiter.is_empty() { Cow::Borrowed("") } else { Form::named(&dialect.delimiter) };
    let how = if dialect.pinned { "set by the feed or the file" } else { &dialect.evidence };
    let because = |why: &str| if why.is_empty() { String::new() } else { format!(" ({why})") };
    let form = [
        ("Delimiter", if delimiter.is_empty() { String::new() } else { format!("{delimiter}{}", because(how)) }),
        ("Character set", format!("{}{}", dialect.encoding, because(&dialect.encoding_evidence))),
        ("Header line", if dialect.header { "yes" } else { "none: the schema names the columns" }.to_owned()),
        ("Unpacked from", dialect.containers.join(", in it ")),
    ];
    form.into_iter().filter(|(_, value)| !value.is_empty()).map(|(name, value)| (name, visible(&value, WORDS_MAX))).collect()
}

fn timings(report: &Report, records: u64) -> Vec<(&'static str, String)> {
    let station = |name: &str| report.timings_ms.get(name).copied();
    let rate = |ms: u64, number: u64, what: &str| {
        let fast = ms >= 100 && number > 0;
        if fast {
            format!(" ({} {what} a second)", words::count((number as f64 / ms as f64 * 1000.0).round() as u64))
        } else {
            String::new()
        }
    };
    let mut told = Vec::new();
    if let Some(ms) = station("fetch") {
        told.push(("Fetching", words::milliseconds(ms)));
    }
    if let Some(ms) = station("check") {
        told.push(("Checking and comparing", format!("{}{}", words::milliseconds(ms), rate(ms, records, "rows"))));
    }
    if let Some(ms) = station("apply") {
        told.push(("Sending", format!("{}{}", words::milliseconds(ms), rate(ms, report.requests, "requests"))));
    }
    told.push(("Requests sent", words::count(report.requests)));
    if let Some(ended) = report.ended_at {
        let whole = (ended - report.seen_at).num_milliseconds().max(0) as u64;
        told.push(("From arrival to end", words::milliseconds(whole)));
    }
    told
}

/// Names of the files that were written beside this one.
pub fn siblings(names: &Names, is_there: impl Fn(&str) -> bool) -> Vec<Sibling> {
    let beside = super::ENDINGS.into_iter().filter(|&ending| !ending.starts_with("report.html") && is_there(ending));
    beside.map(|ending| Sibling { name: crate::ledger::run::show_name(&names.bytes(ending)), ending }).collect()
}
