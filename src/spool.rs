//! The local copy of a file in hand, and of the reports made from it.
//!
//! Local names are run ids, never names from a server. Folders are 0700 and files 0600: they hold personal data.

use std::fs::{self, DirBuilder, File, OpenOptions};
use std::io::{self, Write};
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

use sha2::{Digest, Sha256};

#[derive(Clone, Debug)]
pub struct Spool {
    folder: PathBuf,
}

impl Spool {
    /// Opens the spool of a state directory, making it if need be.
    pub fn open(state: &Path) -> io::Result<Spool> {
        let folder = state.join("spool");
        private_folder(&folder)?;
        Ok(Spool { folder })
    }

    /// The delivered bytes of a run. Under this name the file is complete and has the hash that the ledger says.
    pub fn data(&self, run: &str) -> PathBuf {
        self.folder.join(format!("{run}.data"))
    }

    /// The decoded text of a run whose delivered bytes were not plain text.
    pub fn text(&self, run: &str) -> PathBuf {
        self.folder.join(format!("{run}.text"))
    }

    /// A report before it is sent to its place.
    pub fn report(&self, run: &str, kind: &str) -> PathBuf {
        self.folder.join(format!("{run}.{kind}"))
    }

    /// Scratch files that vanish with the process.
    pub fn scratch(&self) -> io::Result<File> {
        tempfile::tempfile_in(&self.folder)
    }

    pub fn folder(&self) -> &Path {
        &self.folder
    }

    /// Begins a copy. An older half copy is thrown away.
    pub fn begin(&self, run: &str) -> io::Result<SpoolWriter> {
        let temporary = self.folder.join(format!("{run}.part"));
        remove(&temporary)?;
        Ok(SpoolWriter {
            file: create_private(&temporary)?,
            temporary: Some(temporary),
            final_name: self.data(run),
            folder: self.folder.clone(),
            hash: Sha256::new(),
            bytes: 0,
        })
    }

    /// All that is in the spool.
    pub fn entries(&self) -> io::Result<Vec<SpoolEntry>> {
        let mut entries = Vec::new();
        for entry in fs::read_dir(&self.folder)? {
            let path = entry?.path();
            let name = path.file_name().unwrap_or_default().to_string_lossy();
            let (run, kind) = match name.split_once('.') {
                // Names of scratch folders begin with a dot.
                Some(("", kind)) => (None, kind.to_owned()),
                Some((run, kind)) => (Some(run.to_owned()), kind.to_owned()),
                None => (None, String::new()),
            };
            entries.push(SpoolEntry { path, run, kind });
        }
        entries.sort_by(|a, b| a.path.cmp(&b.path));
        Ok(entries)
    }

    /// Makes the decoded text of a run durable: rows are read from it again after a power cut.
    pub fn keep_text(&self, run: &str) -> io::Result<()> {
        match File::open(self.text(run)) {
            Ok(text) => {
                text.sync_all()?;
                sync_folder(&self.folder)
            }
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
            Err(error) => Err(error),
        }
    }

    /// Are the delivered bytes of a run here, and are they those that the ledger says?
    pub fn is_whole(&self, run: &str, sha256: &str) -> io::Result<bool> {
        match sha256_of(&self.data(run)) {
            Ok(found) => Ok(found == sha256),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(false),
            Err(error) => Err(error),
        }
    }

    /// Removes what a stop left of work in hand: half copies and scratch folders. Only for whoever leads.
    pub fn sweep(&self) -> io::Result<()> {
        for entry in fs::read_dir(&self.folder)? {
            let entry = entry?;
            let name = entry.file_name();
            let name = name.as_encoded_bytes();
            if name.starts_with(b".tmp") && entry.file_type()?.is_dir() {
                fs::remove_dir_all(entry.path())?;
            } else if name.ends_with(b".part") || name.starts_with(b".tmp") {
                remove(&entry.path())?;
            }
        }
        Ok(())
    }

    /// Lets go of reports, which can be built again.
    pub fn remove_reports(&self, run: &str) -> io::Result<()> {
        ["errors.xlsx", "errors.csv", "problems.csv", "report.html", "report.json"]
            .into_iter()
            .try_for_each(|kind| remove(&self.report(run, kind)))
    }

    /// Lets go of all that can be made again from the delivered bytes: the decoded text, reports, half a copy.
    pub fn remove_derived(&self, run: &str) -> io::Result<()> {
        remove(&self.text(run))?;
        remove(&self.folder.join(format!("{run}.part")))?;
        self.remove_reports(run)
    }

    /// Removes all that is kept for a run.
    pub fn remove(&self, run: &str) -> io::Result<()> {
        remove(&self.data(run))?;
        self.remove_derived(run)
    }
}

/// A file in the spool.
#[derive(Clone, Debug)]
pub struct SpoolEntry {
    pub path: PathBuf,
    /// Whose it is; none of scratch.
    pub run: Option<String>,
    /// `data`, `text`, `part`, `errors.csv`, …
    pub kind: String,
}

/// Writes a copy and its hash. Dropped without `finish`, it removes the half copy; one that a stop left is removed by `begin`.
pub struct SpoolWriter {
    file: File,
    /// None once it has its final name.
    temporary: Option<PathBuf>,
    final_name: PathBuf,
    folder: PathBuf,
    hash: Sha256,
    bytes: u64,
}

impl SpoolWriter {
    pub fn write(&mut self, piece: &[u8]) -> io::Result<()> {
        self.hash.update(piece);
        self.bytes += piece.len() as u64;
        self.file.write_all(piece)
    }

    /// Makes the copy durable under its final name. Returns bytes and SHA-256 in hex.
    pub fn finish(mut self) -> io::Result<(u64, String)> {
        self.file.sync_all()?;
        if let Some(temporary) = self.temporary.take() {
            fs::rename(temporary, &self.final_name)?;
        }
        sync_folder(&self.folder)?;
        Ok((self.bytes, hex(&std::mem::take(&mut self.hash).finalize())))
    }
}

impl Drop for SpoolWriter {
    fn drop(&mut self) {
        if let Some(temporary) = self.temporary.take()
            && let Err(error) = remove(&temporary)
        {
            tracing::warn!(file = %temporary.display(), %error, "a half copy stays");
        }
    }
}

/// Hash of a whole file, in hex.
pub fn sha256_of(path: &Path) -> io::Result<String> {
    let mut hash = Sha256::new();
    let mut file = File::open(path)?;
    let mut buffer = vec![0; 1 << 20];
    loop {
        match io::Read::read(&mut file, &mut buffer)? {
            0 => return Ok(hex(&hash.finalize())),
            n => hash.update(&buffer[..n]),
        }
    }
}

/// SHA-256 of bytes, in hex.
pub fn sha256(bytes: &[u8]) -> String {
    hex(&Sha256::digest(bytes))
}

/// Bytes as lower-case hexadecimal digits.
pub fn hex(bytes: &[u8]) -> String {
    use std::fmt::Write as _;
    bytes.iter().fold(String::with_capacity(bytes.len() * 2), |mut text, byte| {
        let _ = write!(text, "{byte:02x}");
        text
    })
}

/// An empty file for this user only, whatever the umask. One that is there is emptied.
pub fn private_file(path: &Path) -> io::Result<File> {
    OpenOptions::new().write(true).create(true).truncate(true).mode(0o600).open(path)
}

/// Creates a file that must not exist, for this user only.
pub fn create_private(path: &Path) -> io::Result<File> {
    OpenOptions::new().write(true).create_new(true).mode(0o600).open(path)
}

/// Makes a folder, and its parents, for this user only. What is made lasts through a power cut: a ledger in a folder that is gone is gone.
pub fn private_folder(path: &Path) -> io::Result<()> {
    let missing: Vec<&Path> = path.ancestors().take_while(|folder| !folder.as_os_str().is_empty() && !folder.exists()).collect();
    DirBuilder::new().recursive(true).mode(0o700).create(path)?;
    for parent in missing.iter().filter_map(|folder| folder.parent()) {
        sync_folder(if parent.as_os_str().is_empty() { Path::new(".") } else { parent })?;
    }
    Ok(())
}

pub fn sync_folder(path: &Path) -> io::Result<()> {
    File::open(path)?.sync_all()
}

fn remove(path: &Path) -> io::Result<()> {
    match fs::remove_file(path) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => Err(error),
        _ => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_copy_has_its_final_name_only_when_it_is_whole() {
        let state = tempfile::tempdir().unwrap();
        let spool = Spool::open(state.path()).unwrap();
        let mut half = spool.begin("r1").unwrap();
        half.write(b"abc").unwrap();
        fs::write(spool.folder().join("r2.part"), "left by a stop").unwrap();
        fs::create_dir(spool.folder().join(".tmpX")).unwrap();
        spool.sweep().unwrap();
        drop(half);
        assert_eq!(fs::read_dir(spool.folder()).unwrap().count(), 0, "half a copy does not stay");
        let mut whole = spool.begin("r1").unwrap();
        whole.write(b"ab").unwrap();
        whole.write(b"c").unwrap();
        let (bytes, hash) = whole.finish().unwrap();
        assert_eq!((bytes, hash.as_str()), (3, "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad"));
        assert!(spool.is_whole("r1", &hash).unwrap());
        fs::write(spool.data("r1"), "abd").unwrap();
        assert!(!spool.is_whole("r1", &hash).unwrap());
        spool.remove("r1").unwrap();
        spool.remove("r1").unwrap();
        assert!(!spool.data("r1").exists() && !spool.is_whole("r1", &hash).unwrap());
    }
}
