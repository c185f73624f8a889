//! Files named on the command line, or standard input, read as the road would read them: one file, or the parts of a set.

use std::cell::RefCell;
use std::fs::File;
use std::io::{self, Read as _};
use std::ops::Range;
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use anyhow::Context;
use tempfile::TempDir;

use super::{Exit, Failure};
use crate::config::meant::{DialectChoice, Feed, Limits};
use crate::ledger::delivered::{Algorithm, Part};
use crate::ledger::run::show_name;
use crate::pipeline::check::delivered::{contradictions, note_parts, pieces};
use crate::pipeline::checksum::Digesting;
use crate::pipeline::decode::{DecodeError, FileFault, Opened, PartFacts, Reader, Series};
use crate::pipeline::sets::local::{self, Local};
use crate::schema::Schema;
use crate::spool::Spool;

/// What to read, and a private place for what is unpacked from it. The place is gone when this is dropped.
pub struct InHand {
    /// As it is called in what is printed.
    pub shown: String,
    path: PathBuf,
    set: Option<Set>,
    text: PathBuf,
    pub spool: Spool,
    _folder: TempDir,
}

/// Several files that are one delivery.
struct Set {
    local: Local,
    header_in_each: bool,
    schema: Option<Schema>,
    /// What was read of each part so far.
    found: RefCell<Vec<PartFacts>>,
}

impl InHand {
    /// `-` is standard input. Several files, a folder and a manifest are a set: the feed's, or one as their names show it.
    pub fn open(files: &[PathBuf], feed: Option<&Arc<Feed>>) -> anyhow::Result<InHand> {
        let folder = tempfile::tempdir()?;
        let spool = Spool::open(folder.path())?;
        let text = spool.text("file");
        let first = files.first().context("no file is named")?;
        let shown = match files {
            [one] => shown(one),
            _ => format!("{} and {} more", shown(first), files.len() - 1),
        };
        if first.as_os_str() == "-" && files.len() == 1 {
            let path = spool.data("stdin");
            let mut into = crate::spool::create_private(&path)?;
            io::copy(&mut io::stdin().lock(), &mut into).context("standard input")?;
            return Ok(InHand { shown, path, set: None, text, spool, _folder: folder });
        }
        for file in files {
            let found = std::fs::metadata(file).map_err(|error| no_input(file, words(&error)))?;
            if !found.is_file() && !found.is_dir() {
                return Err(no_input(file, "it is not a file").into());
            }
        }
        let local = local::of(files, feed).map_err(|error| Failure::new(Exit::NoInput, format!("{error:#}")))?;
        let set = local.map(|local| Set {
            local,
            header_in_each: feed.and_then(|feed| feed.set.as_ref()).is_none_or(|set| set.header_in_each),
            schema: feed.and_then(|feed| Schema::parse(&feed.schema_text).ok()),
            found: RefCell::default(),
        });
        if let Some(set) = &set
            && set.local.delivered.parts.is_empty()
        {
            let words = [set.local.missing.clone(), set.local.delivered.contradictions.clone()].concat().join("; ");
            return Err(no_input(first, words).into());
        }
        Ok(InHand { shown, path: first.clone(), set, text, spool, _folder: folder })
    }

    /// The outer error is this machine's, the inner one the file's.
    pub fn read(&self, choice: &DialectChoice, limits: &Limits) -> anyhow::Result<Result<Opened<'_>, FileFault>> {
        match self.reader(choice, limits) {
            Ok(reader) => Ok(Ok(reader)),
            Err(DecodeError::Fault(fault)) => Ok(Err(fault)),
            Err(error) => Err(error).with_context(|| self.shown.clone()),
        }
    }

    /// The same, with both kinds of error in one.
    pub fn reader(&self, choice: &DialectChoice, limits: &Limits) -> Result<Opened<'_>, DecodeError> {
        let Some(set) = &self.set else {
            return Ok(Opened::One(Box::new(Reader::open(&self.path, &self.text, choice, limits)?)));
        };
        let place = |part: &Part| -> (PathBuf, Range<u64>) { (set.path(part), 0..part.size) };
        let pieces = pieces(&set.local.delivered.parts, set.schema.as_ref(), place);
        Ok(Opened::Set(Box::new(Series::open(pieces, set.header_in_each, &self.text, choice, limits, &set.found)?)))
    }

    /// SHA-256 of what is read, in hex: of a set, as its run has it.
    pub fn sha256(&self) -> anyhow::Result<String> {
        let Some(set) = &self.set else {
            return crate::spool::sha256_of(&self.path).with_context(|| self.path.display().to_string());
        };
        let mut whole = Digesting::new(Algorithm::Sha256);
        for part in &set.local.delivered.parts {
            digest(&set.path(part), &mut whole)?;
        }
        Ok(whole.finish())
    }

    /// Opens the text that a reader has decoded so far.
    pub fn text(reader: &Opened<'_>) -> anyhow::Result<File> {
        File::open(reader.text_path()).with_context(|| reader.text_path().display().to_string())
    }

    /// The file that a line of the whole stands in, and its line there.
    pub fn place(&self, line: u64) -> (String, u64) {
        let part = self.set.as_ref().and_then(|set| {
            let found = set.found.borrow();
            let after = found.partition_point(|part| part.lines_before < line);
            let at = after.checked_sub(1)?;
            let part = set.local.delivered.parts.get(at)?;
            Some((shown(&set.path(part)), line - found[at].lines_before))
        });
        part.unwrap_or_else(|| (self.shown.clone(), line))
    }

    /// The part of a set that a line of the whole stands in, with its line there; none where there is one file.
    pub fn part(&self, line: u64) -> Option<String> {
        self.set.as_ref()?;
        let (file, line) = self.place(line);
        Some(format!("{file}:{line}"))
    }

    /// The file that is being read.
    pub fn at_hand(&self) -> String {
        let part = self.set.as_ref().and_then(|set| {
            let last = set.found.borrow().len().checked_sub(1)?;
            Some(shown(&set.path(set.local.delivered.parts.get(last)?)))
        });
        part.unwrap_or_else(|| self.shown.clone())
    }

    pub fn local(&self) -> Option<&Local> {
        self.set.as_ref().map(|set| &set.local)
    }

    /// What a person should know of how a set was put together.
    pub fn notes(&self) -> Vec<String> {
        self.set.as_ref().map(|set| set.local.delivered.notes.clone()).unwrap_or_default()
    }

    /// What a set lacks and what contradicts what was declared of it, in words. After it was read.
    pub fn judge(&self, records: u64) -> anyhow::Result<Vec<String>> {
        let Some(set) = &self.set else { return Ok(Vec::new()) };
        let mut delivered = set.local.delivered.clone();
        note_parts(&mut delivered, &set.found.borrow());
        let mut all = set.local.missing.clone();
        for part in &delivered.parts {
            let Some(declared) = &part.checksum else { continue };
            let mut found = Digesting::new(declared.algorithm);
            digest(&set.path(part), &mut found)?;
            all.extend(declared.mismatch(&found.finish(), &part.shown()));
        }
        all.extend(contradictions(&delivered, records));
        Ok(all)
    }
}

impl Set {
    fn path(&self, part: &Part) -> PathBuf {
        let below = Path::new(std::ffi::OsStr::from_bytes(&part.path));
        if self.local.root.as_os_str() == "." { below.to_owned() } else { self.local.root.join(below) }
    }
}

fn no_input(file: &Path, words: impl std::fmt::Display) -> Failure {
    Failure::new(Exit::NoInput, format!("{}: {words}", file.display()))
}

/// How the file is called in what is printed.
pub fn shown(file: &Path) -> String {
    if file.as_os_str() == "-" { "stdin".to_owned() } else { show_name(&file.as_os_str().as_bytes().into()) }
}

fn digest(path: &Path, into: &mut Digesting) -> anyhow::Result<()> {
    let mut file = File::open(path).with_context(|| path.display().to_string())?;
    let mut piece = vec![0; 1 << 16];
    loop {
        match file.read(&mut piece).with_context(|| path.display().to_string())? {
            0 => return Ok(()),
            read => into.update(&piece[..read]),
        }
    }
}

fn words(error: &io::Error) -> String {
    match error.kind() {
        io::ErrorKind::NotFound => "no such file".to_owned(),
        _ => error.to_string(),
    }
}

/// A delimiter as an argument: `auto` detects.
pub fn delimiter(text: &str) -> Result<Option<String>, String> {
    crate::dialect::delimiter(text)
}
