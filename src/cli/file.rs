//! A file named on the command line, or standard input, read as the road would read it.

use std::fs::File;
use std::io;
use std::path::{Path, PathBuf};

use anyhow::Context;
use tempfile::TempDir;

use super::{Exit, Failure};
use crate::config::meant::{DialectChoice, Limits};
use crate::ledger::run::show_name;
use crate::pipeline::decode::{DecodeError, FileFault, Reader};
use crate::spool::Spool;

/// The file, and a private place for what is unpacked from it. The place is gone when this is dropped.
pub struct InHand {
    path: PathBuf,
    text: PathBuf,
    pub spool: Spool,
    _folder: TempDir,
}

impl InHand {
    /// `-` is standard input.
    pub fn open(file: &Path) -> anyhow::Result<InHand> {
        let folder = tempfile::tempdir()?;
        let spool = Spool::open(folder.path())?;
        let path = if file.as_os_str() == "-" {
            let copy = spool.data("stdin");
            let mut into = crate::spool::create_private(&copy)?;
            io::copy(&mut io::stdin().lock(), &mut into).context("standard input")?;
            copy
        } else {
            let found =
                std::fs::metadata(file).map_err(|error| Failure::new(Exit::NoInput, format!("{}: {}", file.display(), words(&error))))?;
            if !found.is_file() {
                return Err(Failure::new(Exit::NoInput, format!("{} is not a file", file.display())).into());
            }
            file.to_owned()
        };
        Ok(InHand { path, text: spool.text("file"), spool, _folder: folder })
    }

    /// The outer error is this machine's, the inner one the file's.
    pub fn read(&self, choice: &DialectChoice, limits: &Limits) -> anyhow::Result<Result<Reader, FileFault>> {
        match Reader::open(&self.path, &self.text, choice, limits) {
            Ok(reader) => Ok(Ok(reader)),
            Err(DecodeError::Fault(fault)) => Ok(Err(fault)),
            Err(error) => Err(error).with_context(|| self.path.display().to_string()),
        }
    }

    /// SHA-256 of the file as given, in hex.
    pub fn sha256(&self) -> anyhow::Result<String> {
        crate::spool::sha256_of(&self.path).with_context(|| self.path.display().to_string())
    }

    /// Opens the text that a reader has decoded so far.
    pub fn text(reader: &Reader) -> anyhow::Result<File> {
        File::open(reader.text_path()).with_context(|| reader.text_path().display().to_string())
    }
}

/// How the file is called in what is printed.
pub fn shown(file: &Path) -> String {
    use std::os::unix::ffi::OsStrExt;
    if file.as_os_str() == "-" { "stdin".to_owned() } else { show_name(&file.as_os_str().as_bytes().into()) }
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
