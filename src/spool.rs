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
            temporary,
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

    /// Removes all that is kept for a run.
    pub fn remove(&self, run: &str) -> io::Result<()> {
        for suffix in ["data", "text", "part", "errors.csv", "problems.csv", "report.json"] {
            remove(&self.folder.join(format!("{run}.{suffix}")))?;
        }
        Ok(())
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

/// Writes a copy and its hash. Dropped without `finish`, it leaves a half copy that `begin` removes.
pub struct SpoolWriter {
    file: File,
    temporary: PathBuf,
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
    pub fn finish(self) -> io::Result<(u64, String)> {
        self.file.sync_all()?;
        fs::rename(&self.temporary, &self.final_name)?;
        sync_folder(&self.folder)?;
        Ok((self.bytes, hex(&self.hash.finalize())))
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

/// Creates a file that must not exist, for this user only.
pub fn create_private(path: &Path) -> io::Result<File> {
    OpenOptions::new().write(true).create_new(true).mode(0o600).open(path)
}

/// Makes a folder, and its parents, for this user only.
pub fn private_folder(path: &Path) -> io::Result<()> {
    DirBuilder::new().recursive(true).mode(0o700).create(path)
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
        drop(half);
        assert!(!spool.data("r1").exists());
        let mut whole = spool.begin("r1").unwrap();
        whole.write(b"ab").unwrap();
        whole.write(b"c").unwrap();
        let (bytes, hash) = whole.finish().unwrap();
        assert_eq!((bytes, hash.as_str()), (3, "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad"));
        assert_eq!(sha256_of(&spool.data("r1")).unwrap(), hash);
        spool.remove("r1").unwrap();
        spool.remove("r1").unwrap();
        assert!(!spool.data("r1").exists());
    }
}
