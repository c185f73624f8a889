//! Report: a pure function of the ledger and the spooled file, written under a temporary name and then renamed.

mod html;
pub mod json;
mod outlet;
pub mod rows;
mod workbook;

use std::fs::File;
use std::io::Write as _;
use std::path::Path;

use bstr::{BStr, BString, ByteSlice};

use super::archive::{NAME_BYTES_MAX, cut, stem_length};
use crate::config::meant::Feed;
use crate::ledger::run::ReportFile;
use crate::ledger::{Ledger, Run, State};
use crate::source::{Result as SourceResult, Source, SourceError, join};
use crate::spool::Spool;

use outlet::Outlet;

pub use json::Report;
pub use rows::RowSource;

/// Names of a run's reports, without their folder.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Names {
    pub stem: BString,
    pub errors: String,
    pub problems: String,
    pub report: String,
    /// What holds cells is in OpenPGP.
    pub sealed: bool,
}

impl Names {
    fn of(stem: BString, sealed: bool) -> Names {
        let with = |ending: &str| crate::ledger::run::show_name(&BString::from([stem.as_slice(), ending.as_bytes()].concat()));
        let [errors, problems] = if sealed { [".errors.csv.pgp", ".problems.csv.pgp"] } else { [".errors.csv", ".problems.csv"] };
        Names { errors: with(errors), problems: with(problems), report: with(".report.json"), stem, sealed }
    }

    /// The plain stem, the one that carries the run's id, and that one with a number: each decision about a row in doubt makes a report
    /// of its own. Cut where the longest name made from it would not fit. `sealed`: what holds cells is in OpenPGP.
    pub fn candidates(run: &Run, sealed: bool) -> impl Iterator<Item = Names> + use<> {
        let added = format!(".held-{id}-{REPORTS_MAX}.problems.csv.pgp.{id}.part.", id = run.id).len();
        let stem = &run.name[..stem_length(run.name.as_bstr())];
        let mut plain = BString::from(cut(stem, NAME_BYTES_MAX.saturating_sub(added)));
        if run.state == State::Held {
            plain.extend_from_slice(b".held");
        }
        let mut unique = plain.clone();
        unique.extend_from_slice(format!("-{}", run.id).as_bytes());
        let numbered = unique.clone();
        let numbered = (2..=REPORTS_MAX).map(move |number| {
            let mut stem = numbered.clone();
            stem.extend_from_slice(format!("-{number}").as_bytes());
            Names::of(stem, sealed)
        });
        [Names::of(plain, sealed), Names::of(unique, sealed)].into_iter().chain(numbered)
    }

    fn bytes(&self, ending: &str) -> BString {
        BString::from([self.stem.as_slice(), b".", ending.as_bytes()].concat())
    }
}

/// Reports that one run may have under names of their own.
const REPORTS_MAX: u32 = 9999;

pub use crate::spool::REPORTS as ENDINGS;

/// Chooses names that nothing has yet at the feed's report place.
pub fn choose_names(feed: &Feed, run: &Run, source: &mut dyn Source) -> SourceResult<Names> {
    let folder = feed.reports.folder.as_bstr();
    source.make_folder(folder)?;
    for names in Names::candidates(run, feed.seals_reports()) {
        if is_free(folder, &names, source)? {
            return Ok(names);
        }
    }
    Err(SourceError::Exists(format!("{REPORTS_MAX} reports of run {}", run.id)))
}

fn is_free(folder: &BStr, names: &Names, source: &mut dyn Source) -> SourceResult<bool> {
    for ending in ENDINGS {
        if source.stat(join(folder, names.bytes(ending).as_bstr()).as_bstr())?.is_some() {
            return Ok(false);
        }
    }
    Ok(true)
}

/// Writes the files into the spool. Rows are left out when the file could not be read as rows. What holds cells is encrypted where the
/// feed says so; the report itself tells counts, names and codes alone.
pub fn build(
    run: &Run,
    feed: &Feed,
    names: &Names,
    ledger: &dyn Ledger,
    rows: Option<&RowSource<'_>>,
    spool: &Spool,
) -> anyhow::Result<Vec<ReportFile>> {
    let mut outlet = Outlet::open(run, feed, names, spool)?;
    let mut told = Report::of(run, names);
    let mut examples = html::Examples::wanted(&told);
    if let Some(source) = rows {
        let errors = outlet.create("errors.csv")?;
        let problems = outlet.create("problems.csv")?;
        let plain = if feed.reports.xlsx && !source.dialect.is_sheet() { Some(spool.scratch()?) } else { None };
        let files = rows::Files { errors: &errors, problems: &problems, plain: plain.as_ref() };
        let written = rows::write(run, ledger, source, &files, &mut examples)?;
        told.warnings.extend(written.notes);
        if let Some(rows) = plain.as_ref().or(source.dialect.is_sheet().then_some(&errors)) {
            let book = || workbook::write(rows, run.detail.seen_at, spool.folder(), || outlet.create("errors.xlsx"));
            match if written.fits_sheet { book()? } else { Err(workbook::WORDS.to_owned()) } {
                Ok(book) => outlet.close("errors.xlsx", book)?,
                Err(note) => told.warnings.push(note),
            }
        }
        outlet.close("errors.csv", errors)?;
        outlet.close("problems.csv", problems)?;
    }
    told.files = outlet.told();
    if feed.reports.html {
        let siblings = html::siblings(names, |ending| ending == "report.json" || outlet.has(ending));
        let mut page = outlet.create("report.html")?;
        page.write_all(html::page(run, &told, feed, ledger, &examples, &siblings)?.as_bytes())?;
        outlet.close("report.html", page)?;
        told.files = outlet.told();
    }
    if names.sealed {
        // Of the files, this one is in plain text.
        told.moves.samples.clear();
    }
    outlet.finish(&serde_json::to_vec_pretty(&told)?)
}

/// Sends the files to their place. May be called again: what is there whole stays, what is half there is replaced.
pub fn publish(feed: &Feed, run: &Run, names: &Names, spool: &Spool, source: &mut dyn Source) -> SourceResult<()> {
    let folder = feed.reports.folder.as_bstr();
    source.make_folder(folder)?;
    for ending in ENDINGS {
        let local = spool.report(&run.id, ending);
        if local.exists() {
            let name = names.bytes(ending);
            publish_one(folder, name.as_bstr(), &run.id, &local, feed.report_mode, source)?;
        }
    }
    Ok(())
}

/// The run whose report has this name while it goes up, or none.
pub fn run_of_temporary(name: &BStr) -> Option<&str> {
    let inner = name.strip_prefix(b".")?.strip_suffix(b".part")?;
    let (rest, run) = inner.rsplit_once_str(".")?;
    ENDINGS.iter().any(|ending| rest.ends_with(ending.as_bytes())).then(|| run.to_str().ok()).flatten()
}

fn publish_one(folder: &BStr, name: &BStr, run: &str, local: &Path, mode: u32, source: &mut dyn Source) -> SourceResult<()> {
    let target = join(folder, name);
    let mut temporary_name = BString::from(".");
    temporary_name.extend_from_slice(name);
    temporary_name.extend_from_slice(format!(".{run}.part").as_bytes());
    let temporary = join(folder, temporary_name.as_bstr());
    source.remove(temporary.as_bstr())?;
    let mut content = File::open(local)?;
    if let Some(there) = source.stat(target.as_bstr())? {
        // The names were free when they were chosen: a restart in the middle of publishing finds its own file.
        let ours = there.size == content.metadata()?.len();
        return if ours { Ok(()) } else { Err(SourceError::Exists(target.to_string())) };
    }
    source.create(temporary.as_bstr(), &mut content, mode)?;
    source.rename(temporary.as_bstr(), target.as_bstr())
}
