//! A value that cannot be printed, in a process that cannot be dumped.

use std::fmt;
use std::path::{Path, PathBuf};

use secrecy::{ExposeSecret, SecretString};

/// No core file of this process is ever written, and nobody but root reads its memory or its environment: both hold secrets and personal
/// values.
pub fn forbid_dumps() {
    use rustix::process::{Resource, Rlimit, setrlimit};
    let none = Rlimit { current: Some(0), maximum: Some(0) };
    if let Err(error) = setrlimit(Resource::Core, none) {
        tracing::warn!("core files cannot be switched off: {error}");
    }
    // A handler of core files that the system starts (systemd-coredump) need not keep to the limit.
    #[cfg(target_os = "linux")]
    if let Err(error) = rustix::process::set_dumpable_behavior(rustix::process::DumpableBehavior::NotDumpable) {
        tracing::warn!("dumps of this process cannot be forbidden: {error}");
    }
}

/// Where a secret is kept. The configuration names the place, never the value.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum SecretPlace {
    Env(String),
    File(PathBuf),
    /// A systemd credential: the file of that name in `$CREDENTIALS_DIRECTORY`.
    Credential(String),
}

/// A secret and its place. It is read anew for each use that asks, so that a rotated one is taken up without a restart.
#[derive(Clone, PartialEq, Eq)]
pub struct Secret {
    pub place: SecretPlace,
}

impl Secret {
    pub fn new(place: SecretPlace) -> Secret {
        Secret { place }
    }

    /// Reads the value. One trailing line end is dropped. Fails when it is absent, empty or readable by others.
    pub fn read(&self) -> Result<SecretString, SecretError> {
        let text = match &self.place {
            SecretPlace::Env(name) => std::env::var(name).map_err(|_| SecretError::EnvUnset(name.clone()))?,
            SecretPlace::File(path) => read_private(path)?,
            SecretPlace::Credential(name) => {
                let folder = std::env::var_os("CREDENTIALS_DIRECTORY").ok_or(SecretError::NoCredentials)?;
                read_private(&Path::new(&folder).join(name))?
            }
        };
        let text = text.strip_suffix('\n').map_or(&*text, |t| t.strip_suffix('\r').unwrap_or(t));
        if text.is_empty() {
            return Err(SecretError::Empty(self.place.to_string()));
        }
        Ok(SecretString::from(text.to_owned()))
    }

    /// Reads the value and hands it to one use.
    pub fn with<T>(&self, use_it: impl FnOnce(&str) -> T) -> Result<T, SecretError> {
        Ok(use_it(self.read()?.expose_secret()))
    }
}

fn read_private(path: &Path) -> Result<String, SecretError> {
    use std::os::unix::fs::PermissionsExt;
    let unreadable = |source| SecretError::Unreadable { path: path.to_owned(), source };
    let mode = std::fs::metadata(path).map_err(unreadable)?.permissions().mode();
    if mode & 0o037 != 0 {
        return Err(SecretError::Exposed { path: path.to_owned(), mode: mode & 0o777 });
    }
    std::fs::read_to_string(path).map_err(unreadable)
}

impl fmt::Display for SecretPlace {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            SecretPlace::Env(name) => write!(out, "environment variable {name}"),
            SecretPlace::File(path) => write!(out, "file {}", path.display()),
            SecretPlace::Credential(name) => write!(out, "systemd credential {name}"),
        }
    }
}

impl fmt::Debug for Secret {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(out, "Secret({})", self.place)
    }
}

/// Why a secret could not be read. Never contains the value.
#[derive(Debug, thiserror::Error)]
pub enum SecretError {
    #[error("environment variable {0} is not set")]
    EnvUnset(String),
    #[error("cannot read {path}: {source}", path = path.display())]
    Unreadable { path: PathBuf, source: std::io::Error },
    #[error("{path} is open to others (mode {mode:o}); run: chmod 600 {path}", path = path.display())]
    Exposed { path: PathBuf, mode: u32 },
    #[error("no systemd credentials here ($CREDENTIALS_DIRECTORY is not set)")]
    NoCredentials,
    #[error("{0} is empty")]
    Empty(String),
    #[error("{0} holds a line end or another character that no header may hold")]
    Unfit(String),
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::fs::PermissionsExt;

    #[test]
    fn a_secret_is_read_from_a_private_file_and_never_shown() {
        let file = tempfile::NamedTempFile::new().unwrap();
        std::fs::write(file.path(), "hunter2\n").unwrap();
        let secret = Secret::new(SecretPlace::File(file.path().to_owned()));
        assert_eq!(secret.with(str::to_owned).unwrap(), "hunter2");
        assert!(!format!("{secret:?}").contains("hunter2"));
        std::fs::set_permissions(file.path(), std::fs::Permissions::from_mode(0o644)).unwrap();
        assert!(matches!(secret.read(), Err(SecretError::Exposed { mode: 0o644, .. })));
    }
}
