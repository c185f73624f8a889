//! The file that `once` leaves for `node_exporter`'s textfile collector.
//!
//! A sweep is a process of its own, and a collector takes a counter that begins again for one that was set back. So counters go on from
//! the file that is there: it holds the sum of all sweeps since it was begun.

use std::io::{self, Write};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use anyhow::Context;

use super::text::Families;
use super::{Board, look, names, upkeep};
use crate::stop::Stop;

/// How often durations are put into their buckets.
const UPKEEP: Duration = Duration::from_secs(5);

/// A file with the numbers of a sweep.
pub struct Leaves {
    path: PathBuf,
    board: Arc<Board>,
    over: Stop,
}

impl Leaves {
    /// Begins to count. Fails where the file could not be written at the end, before anything is done.
    pub fn begin(path: &Path, board: &Arc<Board>) -> anyhow::Result<Leaves> {
        let folder = folder(path);
        drop(tempfile::NamedTempFile::new_in(folder).with_context(|| format!("--metrics-file: cannot write to {}", folder.display()))?);
        super::begin()?;
        let over = Stop::new();
        let ended = over.clone();
        std::thread::Builder::new().name("metrics".into()).spawn(move || {
            while !ended.wait(UPKEEP) {
                upkeep();
            }
        })?;
        Ok(Leaves { path: path.to_owned(), board: Arc::clone(board), over })
    }

    /// Writes the file, whole or not at all. `exit` is how the sweep ended.
    pub fn write(self, exit: u8) -> anyhow::Result<()> {
        let mut families = self.board.families();
        families.set(names::ONCE_END, &[], look::since_1970());
        families.set(names::ONCE_EXIT, &[], f64::from(exit));
        // A daemon's, which takes up changed files.
        families.leave_out(names::CONFIG_ACCEPTED);
        families.go_on_from(&earlier(&self.path)?);
        write(&self.path, &families.render()).with_context(|| format!("--metrics-file: cannot write {}", self.path.display()))
    }
}

impl Drop for Leaves {
    fn drop(&mut self) {
        self.over.drain();
    }
}

fn folder(path: &Path) -> &Path {
    path.parent().filter(|folder| !folder.as_os_str().is_empty()).unwrap_or(Path::new("."))
}

/// What the file holds from before; nothing where there is none.
fn earlier(path: &Path) -> anyhow::Result<Families> {
    let mut families = Families::default();
    match std::fs::read(path) {
        Ok(bytes) => families.take(&String::from_utf8_lossy(&bytes)),
        Err(error) if error.kind() == io::ErrorKind::NotFound => {}
        Err(error) => return Err(error).with_context(|| format!("--metrics-file: cannot read {}", path.display())),
    }
    Ok(families)
}

/// The collector runs as another user, and reads whatever ends in `.prom`: the temporary file does not.
fn write(path: &Path, text: &str) -> io::Result<()> {
    use std::os::unix::fs::PermissionsExt;
    let mut file = tempfile::Builder::new().prefix(".passferry-").suffix(".part").tempfile_in(folder(path))?;
    file.write_all(text.as_bytes())?;
    file.as_file().set_permissions(std::fs::Permissions::from_mode(0o644))?;
    file.as_file().sync_all()?;
    file.persist(path)?;
    Ok(())
}
