//! Which libssh2 is compiled in.

use std::io::{self, BufRead, BufReader};
use std::net::Shutdown;
use std::os::unix::net::UnixStream;
use std::time::Duration;

use ssh2::Session;

const PREFIX: &str = "SSH-2.0-libssh2_";
const PATIENCE: Duration = Duration::from_secs(1);

/// The version of libssh2 at work in this process, as it greets servers; `unknown` when it greets nobody.
///
/// The greeting is what there is to ask without unsafe code, and it is the library's own word: a lock file says only what was meant to be
/// compiled in.
pub fn libssh2_version() -> String {
    greeting().ok().and_then(|line| line.strip_prefix(PREFIX).map(|rest| rest.trim_end().to_owned())).unwrap_or_else(|| "unknown".into())
}

fn greeting() -> io::Result<String> {
    let (ours, theirs) = UnixStream::pair()?;
    theirs.shutdown(Shutdown::Write)?;
    theirs.set_read_timeout(Some(PATIENCE))?;
    let mut session = Session::new().map_err(io::Error::other)?;
    session.set_timeout(PATIENCE.as_millis() as u32);
    session.set_tcp_stream(ours);
    // It greets, and then nobody answers.
    let _ = session.handshake();
    drop(session);
    let mut line = String::new();
    BufReader::new(theirs).read_line(&mut line)?;
    Ok(line)
}

#[cfg(test)]
mod tests {
    /// Below 1.11.2 a server can corrupt memory before the login (CVE-2026-55200).
    #[test]
    fn the_library_at_work_has_this_years_fixes() {
        let version = super::libssh2_version();
        let number = version.split('_').next().unwrap_or_default();
        let parts: Vec<u32> = number.split('.').filter_map(|part| part.parse().ok()).collect();
        assert!(parts.len() == 3 && parts >= vec![1, 11, 2], "{version}");
    }
}
