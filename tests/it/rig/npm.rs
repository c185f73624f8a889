//! Packages of npm, at one version each, installed once below the target directory.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

/// The folder whose `node_modules` hold the package.
pub fn installed(name: &str, version: &str) -> PathBuf {
    let folder = Path::new(env!("CARGO_TARGET_TMPDIR")).join(format!("{name}-{version}"));
    let done = folder.join("node_modules").join(name).join("package.json");
    if !done.exists() {
        // Beside its place, so that one that was broken off is not taken for whole.
        let scratch = tempfile::tempdir_in(env!("CARGO_TARGET_TMPDIR")).unwrap();
        let mut npm = Command::new("npm");
        npm.args(["install", "--no-audit", "--no-fund", "--ignore-scripts", "--no-package-lock", "--prefix"]).arg(scratch.path());
        let said = npm.arg(format!("{name}@{version}")).output().expect("npm is needed: install the package npm");
        assert!(said.status.success(), "npm cannot install {name}: {}", String::from_utf8_lossy(&said.stderr));
        let _ = fs::remove_dir_all(&folder);
        if let Err(problem) = fs::rename(scratch.path(), &folder) {
            assert!(done.exists(), "{problem}");
        }
    }
    folder
}
