//! Somebody else's SFTP client: drops files as a warehouse does, and reads reports as their reviewer does. A connection of its own.

use bstr::{BString, ByteSlice};

use super::stage::Stage;
use crate::config::meant::SourceKind;
use crate::source::sftp::SftpConnect;
use crate::source::{Connect, Source, join};

/// Larger than any file of the demonstration.
const BYTES_MAX: u64 = 1 << 30;

pub struct Visitor {
    connection: Box<dyn Source>,
}

impl Visitor {
    pub fn connect(stage: &Stage) -> anyhow::Result<Visitor> {
        let source = stage.config.sources.values().next().map(|source| &source.kind);
        let Some(SourceKind::Sftp(sftp)) = source else { anyhow::bail!("the demonstration's configuration has no SFTP source") };
        Ok(Visitor { connection: SftpConnect::new(sftp).connect()? })
    }

    /// Uploads under a temporary name, then renames: a file has its name only when it is whole.
    pub fn drop_file(&mut self, inbox: &str, name: &str, content: &[u8]) -> anyhow::Result<()> {
        let temporary = path(inbox, &format!("{name}.part"));
        self.connection.create(temporary.as_bstr(), &mut &*content, 0o640)?;
        Ok(self.connection.rename(temporary.as_bstr(), path(inbox, name).as_bstr())?)
    }

    pub fn read(&mut self, folder: &str, name: &str) -> anyhow::Result<Vec<u8>> {
        let mut content = Vec::new();
        self.connection.read(path(folder, name).as_bstr(), BYTES_MAX, &mut |bytes| {
            content.extend_from_slice(bytes);
            Ok(())
        })?;
        Ok(content)
    }
}

fn path(folder: &str, name: &str) -> BString {
    join(folder.into(), name.into())
}
