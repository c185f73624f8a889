//! What README.md tells people to type works as it stands, and what it says of exit codes is what the program does.

use std::path::Path;
use std::process::{Command, Stdio};

use passferry::cli::Exit;

const README: &str = include_str!("../../README.md");

/// Blocks marked `sh`, in order. Those marked `sh demo`, `sh tests` and `sh build` have tests of their own: the demonstration's, this
/// suite itself, and the build that made the binary under test.
fn commands() -> String {
    let mut script = String::from("set -eu\n");
    let mut inside = false;
    for line in README.lines() {
        if line == "```" {
            inside = false;
        } else if line == "```sh" {
            inside = true;
        } else if inside {
            script += line;
            script.push('\n');
        }
    }
    script
}

fn link(from: &Path, to: &Path) {
    std::os::unix::fs::symlink(from, to).unwrap();
}

#[test]
fn the_tour_works_as_written() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let folder = tempfile::tempdir().unwrap();
    for name in ["samples", "schemas"] {
        let status = Command::new("cp").arg("-r").arg(root.join(name)).arg(folder.path()).status().unwrap();
        assert!(status.success());
    }
    let bin = folder.path().join("bin");
    std::fs::create_dir(&bin).unwrap();
    link(Path::new(env!("CARGO_BIN_EXE_passferry")), &bin.join("passferry"));
    // A port of its own, so that nothing else on the machine is in the way; the sandbox ends with the script.
    let port = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
    let config = folder.path().join("samples/tour.toml");
    std::fs::write(&config, std::fs::read_to_string(&config).unwrap().replace(":8910", &format!(":{port}"))).unwrap();
    let script = commands().replace("passferry sandbox ", &format!("passferry sandbox --listen 127.0.0.1:{port} ")) + "kill %1\n";
    assert!(script.contains("passferry approve monday.csv"), "the tour was not found in README.md");
    let path = format!("{}:{}", bin.display(), std::env::var("PATH").unwrap());
    let output = Command::new("bash")
        .args(["-m", "-c", &script])
        .current_dir(folder.path())
        .env("PATH", path)
        .env("HOME", folder.path())
        .stdin(Stdio::null())
        .output()
        .unwrap();
    let (out, err) = (String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
    assert!(output.status.success(), "the tour failed:\n{out}\n{err}");
    assert!(out.contains("exit code 65"), "the faulty sample is said to be faulty:\n{out}");
    assert!(out.contains("_outcome"), "the error report is shown:\n{out}");
    let reports = folder.path().join("tour/inbox/reports");
    for name in ["monday.report.json", "tuesday.errors.csv", "tuesday.problems.csv", "tuesday.report.json"] {
        assert!(reports.join(name).exists(), "{name} is missing:\n{out}\n{err}");
    }
}

#[test]
fn the_exit_codes_are_those_of_the_program() {
    for (exit, meaning) in Exit::ALL {
        let row = README.lines().find(|line| line.starts_with(&format!("| {} |", exit as u8)));
        let row = row.unwrap_or_else(|| panic!("exit code {} is not in README.md", exit as u8));
        assert!(row.contains(meaning), "{row} does not say {meaning:?}");
    }
}
