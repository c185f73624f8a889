//! What libssh2 says, as what a caller branches on.

use std::time::Duration;

use libssh2_sys as raw;
use ssh2::ErrorCode;

use crate::source::SourceError;

/// What was going on, and its deadline.
#[derive(Clone, Copy, Debug)]
pub struct Phase {
    pub name: &'static str,
    pub limit: Duration,
}

/// Status codes of draft-ietf-secsh-filexfer-02 section 7. Only 2 and 3 are dependable: servers answer 4 for a name that is taken, a full
/// disk and much else.
pub fn from_ssh2(error: &ssh2::Error, phase: Phase, subject: &str) -> SourceError {
    let message = error.message();
    match error.code() {
        ErrorCode::SFTP(raw::LIBSSH2_FX_NO_SUCH_FILE | raw::LIBSSH2_FX_NO_SUCH_PATH) => SourceError::NotFound(subject.to_owned()),
        ErrorCode::SFTP(raw::LIBSSH2_FX_PERMISSION_DENIED | raw::LIBSSH2_FX_WRITE_PROTECT) => {
            SourceError::Permission(format!("{} {subject}: the server says: {message}", phase.name))
        }
        ErrorCode::SFTP(raw::LIBSSH2_FX_FILE_ALREADY_EXISTS) => SourceError::Exists(subject.to_owned()),
        ErrorCode::SFTP(raw::LIBSSH2_FX_NO_CONNECTION | raw::LIBSSH2_FX_CONNECTION_LOST) => {
            SourceError::Unreachable(format!("{}: {message}", phase.name))
        }
        ErrorCode::SFTP(code) => SourceError::Other(format!("cannot {} {subject}: the server says: {message} (status {code})", phase.name)),
        ErrorCode::Session(raw::LIBSSH2_ERROR_TIMEOUT | raw::LIBSSH2_ERROR_SOCKET_TIMEOUT) => {
            SourceError::Timeout { phase: phase.name, limit: phase.limit }
        }
        ErrorCode::Session(raw::LIBSSH2_ERROR_INVAL | raw::LIBSSH2_ERROR_BAD_USE) => {
            SourceError::Other(format!("cannot {} {subject}: {message}", phase.name))
        }
        // Whatever else goes wrong in a session leaves it in a state nobody knows.
        ErrorCode::Session(code) => SourceError::Unreachable(format!("{} {subject}: {message} (libssh2 error {code})", phase.name)),
    }
}

/// `Read` and `Write` of ssh2 lose the code. The session remembers its own, and a status of the server is known by ssh2's words for it.
pub fn from_io(error: &std::io::Error, session: &ssh2::Session, phase: Phase, subject: &str) -> SourceError {
    if error.kind() == std::io::ErrorKind::TimedOut {
        return SourceError::Timeout { phase: phase.name, limit: phase.limit };
    }
    match ssh2::Error::last_session_error(session) {
        Some(last) if last.code() == ErrorCode::Session(raw::LIBSSH2_ERROR_SFTP_PROTOCOL) => {
            let status = status_by_words(&error.to_string()).unwrap_or(raw::LIBSSH2_FX_FAILURE);
            from_ssh2(&ssh2::Error::from_errno(ErrorCode::SFTP(status)), phase, subject)
        }
        Some(last) => from_ssh2(&last, phase, subject),
        None => SourceError::Unreachable(format!("{} {subject}: {error}", phase.name)),
    }
}

fn status_by_words(words: &str) -> Option<i32> {
    (raw::LIBSSH2_FX_EOF..=raw::LIBSSH2_FX_LINK_LOOP).find(|&status| ssh2::Error::from_errno(ErrorCode::SFTP(status)).message() == words)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_status_survives_the_loss_of_its_code() {
        for status in [2, 3, 4, 8, 14] {
            let error: std::io::Error = ssh2::Error::from_errno(ErrorCode::SFTP(status)).into();
            assert_eq!(status_by_words(&error.to_string()), Some(status));
        }
        assert_eq!(status_by_words("anything"), None);
    }

    #[test]
    fn codes_become_what_a_caller_branches_on() {
        let phase = Phase { name: "read", limit: Duration::from_secs(30) };
        let mapped = |code| from_ssh2(&ssh2::Error::from_errno(code), phase, "\"a.csv\"");
        assert!(matches!(mapped(ErrorCode::SFTP(2)), SourceError::NotFound(_)));
        assert!(matches!(mapped(ErrorCode::SFTP(3)), SourceError::Permission(_)));
        assert!(matches!(mapped(ErrorCode::SFTP(4)), SourceError::Other(_)));
        assert!(matches!(mapped(ErrorCode::SFTP(-7)), SourceError::Other(_)));
        assert!(matches!(mapped(ErrorCode::Session(-9)), SourceError::Timeout { phase: "read", .. }));
        assert!(matches!(mapped(ErrorCode::Session(-43)), SourceError::Unreachable(_)));
        assert!(mapped(ErrorCode::Session(-13)).breaks_connection());
    }
}
