//! Paths of the server onto paths of this machine, never outside one folder.

use std::ffi::OsStr;
use std::io;
use std::path::{Path, PathBuf};

use russh_sftp::protocol::StatusCode;
use russh_sftp::server::StatusReply;

/// The folder that clients see as `/`.
#[derive(Clone)]
pub(super) struct Jail {
    root: PathBuf,
}

impl Jail {
    /// Fails when the folder does not exist.
    pub fn new(root: &Path) -> io::Result<Jail> {
        Ok(Jail { root: root.canonicalize()? })
    }

    /// The path as the client would see it: absolute, without `.`, `..` or doubled slashes. `..` at the top stays there.
    pub fn virtual_path(path: &str) -> String {
        let mut parts: Vec<&str> = Vec::new();
        for part in path.split('/') {
            match part {
                "" | "." => {}
                ".." => {
                    parts.pop();
                }
                name => parts.push(name),
            }
        }
        format!("/{}", parts.join("/"))
    }

    /// The place on this machine of the name itself: links on the way are followed as long as they stay inside, the last name is not.
    pub fn name(&self, path: &str) -> Result<PathBuf, StatusReply> {
        let path = Jail::virtual_path(path);
        if path.contains('\0') {
            return Err(StatusCode::BadMessage.with_message("A name contains NUL"));
        }
        let (folder, name) = path.rsplit_once('/').unwrap_or(("", &path));
        let folder = self.inside(&self.root.join(folder.trim_start_matches('/')))?;
        Ok(if name.is_empty() { folder } else { folder.join(name) })
    }

    /// The place on this machine of what the name stands for, links followed. It must exist.
    pub fn target(&self, path: &str) -> Result<PathBuf, StatusReply> {
        self.inside(&self.name(path)?)
    }

    /// The place for a file to be opened, which may not exist yet. A link that leads nowhere is refused, as it could lead outside.
    pub fn file(&self, path: &str) -> Result<PathBuf, StatusReply> {
        let place = self.name(path)?;
        if place.symlink_metadata().is_ok() { self.inside(&place) } else { Ok(place) }
    }

    fn inside(&self, place: &Path) -> Result<PathBuf, StatusReply> {
        let real = place.canonicalize().map_err(status)?;
        if real.starts_with(&self.root) { Ok(real) } else { Err(StatusCode::PermissionDenied.with_message("Outside the served folder")) }
    }

    /// Is this the served folder itself? It can be neither removed nor renamed.
    pub fn is_root(&self, place: &Path) -> bool {
        place == self.root
    }
}

/// The name alone, for a listing. The protocol library carries text only; bytes that are none are shown as U+FFFD.
pub(super) fn shown(name: &OsStr) -> String {
    name.to_string_lossy().into_owned()
}

/// The status OpenSSH's server gives for the same error (`errno_to_portable` in its sftp-server.c).
#[expect(clippy::needless_pass_by_value, reason = "map_err hands it over")]
pub(super) fn status(error: io::Error) -> StatusReply {
    use io::ErrorKind as Is;
    match error.kind() {
        Is::NotFound | Is::NotADirectory => StatusCode::NoSuchFile.into(),
        Is::PermissionDenied => StatusCode::PermissionDenied.into(),
        Is::InvalidFilename | Is::InvalidInput => StatusCode::BadMessage.into(),
        Is::Unsupported => StatusCode::OpUnsupported.into(),
        _ => StatusCode::Failure.with_message(error.kind().to_string()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn dots_never_climb_out() {
        for (asked, seen) in
            [("", "/"), (".", "/"), ("/", "/"), ("a//b/./c", "/a/b/c"), ("/../../etc", "/etc"), ("a/../../b", "/b"), ("/a/..", "/")]
        {
            assert_eq!(Jail::virtual_path(asked), seen, "{asked}");
        }
    }

    #[test]
    fn links_are_followed_inside_only() {
        let outside = tempfile::tempdir().unwrap();
        std::fs::write(outside.path().join("secret"), "x").unwrap();
        let inside = tempfile::tempdir().unwrap();
        let at = |name: &str| inside.path().join(name);
        std::fs::create_dir(at("in")).unwrap();
        std::fs::write(at("in/file"), "x").unwrap();
        std::os::unix::fs::symlink(outside.path(), at("out")).unwrap();
        std::os::unix::fs::symlink(outside.path().join("secret"), at("leak")).unwrap();
        std::os::unix::fs::symlink(outside.path().join("new"), at("dangling")).unwrap();
        std::os::unix::fs::symlink(at("in"), at("alias")).unwrap();

        let jail = Jail::new(inside.path()).unwrap();
        assert!(jail.target("/alias/file").is_ok());
        assert!(jail.name("/leak").is_ok(), "the link itself may be looked at");
        for path in ["/out/secret", "/out/new", "/leak", "/dangling"] {
            assert!(jail.file(path).is_err(), "{path}");
        }
        assert!(jail.file("/in/new").is_ok());
        assert!(jail.is_root(&jail.target("/in/..").unwrap()));
    }
}
