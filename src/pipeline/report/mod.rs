//! Report: a pure function of the ledger and the spooled file, written under a temporary name and then renamed.

mod html;
pub mod json;
pub mod rows;
mod workbook;

use std::fs::File;
use std::io::Write;
use std::path::Path;

use bstr::{BStr, BString, ByteSlice};

use super::archive::{NAME_BYTES_MAX, cut, stem_length};
use crate::config::meant::Feed;
use crate::ledger::run::ReportFile;
use crate::ledger::{Ledger, Run, State};
use crate::source::{Result as SourceResult, Source, SourceError, join};
use crate::spool::{Spool, sha256_of, sync_folder};

pub use json::Report;
pub use rows::RowSource;

/// Names of a run's reports, without their folder.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Names {
    pub stem: BString,
    pub errors: String,
    pub problems: String,
    pub report: String,
}

impl Names {
    fn of(stem: BString) -> Names {
        let with = |ending: &str| crate::ledger::run::show_name(&BString::from([stem.as_slice(), ending.as_bytes()].concat()));
        Names { errors: with(".errors.csv"), problems: with(".problems.csv"), report: with(".report.json"), stem }
    }

    /// The plain stem, the one that carries the run's id, and that one with a number: each decision about a row in doubt makes a report
    /// of its own. Cut where the longest name made from it would not fit.
    pub fn candidates(run: &Run) -> impl Iterator<Item = Names> + use<> {
        let added = format!(".held-{id}-{REPORTS_MAX}.problems.csv.{id}.part.", id = run.id).len();
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
            Names::of(stem)
        });
        [Names::of(plain), Names::of(unique)].into_iter().chain(numbered)
    }

    fn bytes(&self, ending: &str) -> BString {
        BString::from([self.stem.as_slice(), b".", ending.as_bytes()].concat())
    }
}

/// Reports that one run may have under names of their own.
const REPORTS_MAX: u32 = 9999;

/// Endings of the files, in the order in which they are published: whoever sees the last has them all. The workbook is there where the
/// input was one, the page unless the feed does not want it.
pub const ENDINGS: [&str; 5] = ["errors.xlsx", "errors.csv", "problems.csv", "report.html", "report.json"];

/// Chooses names that nothing has yet at the feed's report place.
pub fn choose_names(feed: &Feed, run: &Run, source: &mut dyn Source) -> SourceResult<Names> {
    let folder = feed.reports.folder.as_bstr();
    source.make_folder(folder)?;
    for names in Names::candidates(run) {
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

/// Writes the files into the spool. Rows are left out when the file could not be read as rows.
pub fn build(
    run: &Run,
    feed: &Feed,
    names: &Names,
    ledger: &dyn Ledger,
    rows: Option<&RowSource<'_>>,
    spool: &Spool,
) -> anyhow::Result<Vec<ReportFile>> {
    let path = |ending: &str| spool.report(&run.id, ending);
    for ending in ENDINGS {
        let _ = std::fs::remove_file(path(ending));
    }
    let mut told = Report::of(run, names);
    let mut examples = html::Examples::wanted(&told);
    if let Some(source) = rows {
        let errors = crate::spool::create_private(&path("errors.csv"))?;
        let problems = crate::spool::create_private(&path("problems.csv"))?;
        told.warnings.extend(rows::write(run, ledger, source, &errors, &problems, &mut examples)?);
        if source.dialect.is_sheet() {
            told.warnings.extend(workbook::write(&path("errors.csv"), &path("errors.xlsx"), spool.folder())?);
        }
    }
    write_whole(&path("report.json"), &serde_json::to_vec_pretty(&told)?)?;
    if feed.reports.html {
        let siblings = html::siblings(names, |ending| path(ending).exists());
        write_whole(&path("report.html"), html::page(run, &told, feed, ledger, &examples, &siblings)?.as_bytes())?;
    }
    sync_folder(spool.folder())?;
    let mut files = Vec::new();
    for ending in ENDINGS {
        let path = path(ending);
        if path.exists() {
            let name = crate::ledger::run::show_name(&names.bytes(ending));
            files.push(ReportFile { name, bytes: std::fs::metadata(&path)?.len(), sha256: sha256_of(&path)? });
        }
    }
    Ok(files)
}

fn write_whole(path: &Path, content: &[u8]) -> anyhow::Result<()> {
    let mut file = crate::spool::create_private(path)?;
    file.write_all(content)?;
    Ok(file.sync_all()?)
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
