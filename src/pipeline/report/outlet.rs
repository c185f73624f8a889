//! Where reports are written: into the spool, from which they are published.
//!
//! Of a feed whose reports are encrypted, what holds cells goes to scratch files without a name, and only its encryption gets one: neither
//! the spool nor the server ever has the plain text.

use std::fs::File;
use std::io::{Seek as _, Write as _};

use anyhow::Context as _;

use super::json::ReportNote;
use super::{ENDINGS, Names};
use crate::config::meant::Feed;
use crate::ledger::Run;
use crate::ledger::run::{ReportFile, show_name};
use crate::spool::{Spool, create_private, sha256_from, sha256_of, sync_folder};

/// The reports of one run while they are written.
pub(super) struct Outlet<'a> {
    run: &'a Run,
    names: &'a Names,
    spool: &'a Spool,
    seal: Option<seal::Seal>,
    /// By their endings.
    written: Vec<(String, ReportFile)>,
}

impl<'a> Outlet<'a> {
    /// Fails where reports have to be encrypted and a key for that is missing: nothing is ever written in plain text instead.
    pub fn open(run: &'a Run, feed: &'a Feed, names: &'a Names, spool: &'a Spool) -> anyhow::Result<Outlet<'a>> {
        let pgp = feed.dialect.pgp.as_deref().filter(|_| feed.seals_reports());
        let seal = pgp.map(seal::Seal::of).transpose()?;
        for ending in ENDINGS {
            // An encrypted one may be there from before a restart, and perhaps published: it is kept while it is still right.
            if !ending.ends_with(SEALED) {
                let _ = std::fs::remove_file(spool.report(&run.id, ending));
            }
        }
        Ok(Outlet { run, names, spool, seal, written: Vec::new() })
    }

    /// A file for cells.
    pub fn create(&self, ending: &str) -> std::io::Result<File> {
        if self.seal.is_some() { self.spool.scratch() } else { create_private(&self.spool.report(&self.run.id, ending)) }
    }

    /// Ends one that [`Outlet::create`] gave.
    pub fn close(&mut self, ending: &str, mut file: File) -> anyhow::Result<()> {
        let Some(seal) = &self.seal else {
            file.sync_all()?;
            return self.note(ending.to_owned(), Vec::new(), None);
        };
        file.rewind()?;
        let plain = sha256_from(&mut file)?;
        file.rewind()?;
        let ending = format!("{ending}{SEALED}");
        let path = self.spool.report(&self.run.id, &ending);
        let is_same = |known: &&ReportFile| known.plain_sha256.as_ref() == Some(&plain) && known.encrypted_for == seal.ids();
        let known = self.run.detail.reports.iter().find(is_same);
        // Encrypted anew it would be other bytes, and a half published report could not be told from somebody else's.
        if !known.is_some_and(|known| sha256_of(&path).is_ok_and(|found| found == known.sha256)) {
            let _ = std::fs::remove_file(&path);
            let out = create_private(&path)?;
            seal.write(file, &out).with_context(|| format!("{ending} cannot be encrypted"))?;
            out.sync_all()?;
        }
        let ids = seal.ids();
        self.note(ending, ids, Some(plain))
    }

    fn note(&mut self, ending: String, encrypted_for: Vec<String>, plain_sha256: Option<String>) -> anyhow::Result<()> {
        let path = self.spool.report(&self.run.id, &ending);
        let name = show_name(&self.names.bytes(&ending));
        let file = ReportFile { name, bytes: std::fs::metadata(&path)?.len(), sha256: sha256_of(&path)?, encrypted_for, plain_sha256 };
        self.written.push((ending, file));
        Ok(())
    }

    /// Was one with this ending written?
    pub fn has(&self, ending: &str) -> bool {
        self.written.iter().any(|(written, _)| written == ending)
    }

    /// What stands beside the report, for the report.
    pub fn told(&self) -> Vec<ReportNote> {
        let place = |ending: &str| ENDINGS.iter().position(|known| *known == ending);
        let mut written: Vec<_> = self.written.iter().collect();
        written.sort_by_key(|(ending, _)| place(ending));
        written.into_iter().map(|(_, file)| ReportNote::of(file)).collect()
    }

    /// Writes the report itself, and gives all files in the order in which they are published.
    pub fn finish(mut self, report: &[u8]) -> anyhow::Result<Vec<ReportFile>> {
        let mut file = create_private(&self.spool.report(&self.run.id, "report.json"))?;
        file.write_all(report)?;
        file.sync_all()?;
        self.note("report.json".to_owned(), Vec::new(), None)?;
        let mut files = Vec::new();
        for ending in ENDINGS {
            match self.written.iter().find(|(written, _)| written == ending) {
                Some((_, file)) => files.push(file.clone()),
                // One from before, of a run whose rows cannot be read any more.
                None => drop(std::fs::remove_file(self.spool.report(&self.run.id, ending))),
            }
        }
        sync_folder(self.spool.folder())?;
        Ok(files)
    }
}

/// What a file's name gets when it is encrypted.
const SEALED: &str = ".pgp";

#[cfg(feature = "pgp")]
mod seal {
    use std::fs::File;
    use std::io;

    use crate::config::meant::{Pgp, PgpKey};
    use crate::openpgp::{Held, Recipient, encrypt, now, public_keys, recipients};
    use crate::source::SourceError;

    /// Keys to write with.
    pub struct Seal {
        to: Vec<Recipient>,
        sign_with: Option<PgpKey>,
    }

    impl Seal {
        pub fn of(pgp: &Pgp) -> Result<Seal, SourceError> {
            let mut to = Vec::new();
            for path in &pgp.encrypt_to {
                let keys = public_keys(path).and_then(|keys| recipients(keys, now()));
                let words = |fault| failed(format!("the public key {} of pgp.encrypt_to {fault}", path.display()));
                to.extend(keys.map_err(words)?);
            }
            Ok(Seal { to, sign_with: pgp.sign_with.clone() })
        }

        pub fn ids(&self) -> Vec<String> {
            self.to.iter().map(|recipient| recipient.id.clone()).collect()
        }

        pub fn write(&self, plain: File, out: &File) -> Result<(), SourceError> {
            let held = self.sign_with.as_ref().map(Held::read).transpose().map_err(SourceError::Local)?;
            let signer = held.as_ref().map(Held::signer).transpose().map_err(SourceError::Local)?;
            encrypt(plain, &self.to, signer, io::BufWriter::new(out)).map_err(|error| failed(error.to_string()))
        }
    }

    /// It waits, as for a place that cannot be reached: somebody has to see to the key.
    fn failed(words: String) -> SourceError {
        SourceError::Local(io::Error::other(words))
    }
}

/// A build without OpenPGP takes no configuration that asks for it.
#[cfg(not(feature = "pgp"))]
mod seal {
    use std::fs::File;

    use crate::config::meant::Pgp;
    use crate::source::SourceError;

    pub enum Seal {}

    impl Seal {
        pub fn of(_: &Pgp) -> Result<Seal, SourceError> {
            Err(SourceError::Local(std::io::Error::other("reports cannot be encrypted: this passferry was built without OpenPGP")))
        }

        pub fn ids(&self) -> Vec<String> {
            match *self {}
        }

        pub fn write(&self, _: File, _: &File) -> Result<(), SourceError> {
            match *self {}
        }
    }
}
