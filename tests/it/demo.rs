//! `passferry demo`: the first command of the README.

use std::io::{BufRead, BufReader, Read, Write};
use std::net::TcpStream;
use std::path::Path;
use std::process::{Child, Command, Stdio};

/// The fewest passes that the demonstration takes.
const PASSES: &str = "200";

fn demo(folder: &Path) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_passferry"));
    command.args(["demo", "--passes", PASSES, "--folder"]).arg(folder).env_remove("PASSFERRY_LOG");
    command
}

/// What differs from one run to the next: ports, keys, run ids, times, sizes of reports.
fn redacted(text: &str, folder: &Path) -> String {
    let mut text = text.replace(&folder.display().to_string(), "FOLDER").replace(env!("CARGO_BIN_EXE_passferry"), "passferry");
    for (pattern, instead) in [
        (r"127\.0\.0\.1:\d+", "127.0.0.1:PORT"),
        (r"SHA256:[A-Za-z0-9+/]+", "SHA256:KEY"),
        (r"\(run [a-z0-9]{6}\)", "(run RUN)"),
        (r",[a-z0-9]{6},(\d+,\d+,(?:rejected|unresolved))", ",RUN,$1"),
        (r"(?m)^( \S+(?: \(corrected\))? +)[a-z0-9]{6}  ", "${1}RUN     "),
        (r"in \d+\.\d s", "in TIME"),
        (r"\d+ bytes", "SIZE bytes"),
        // Passes are found in lists whose length depends on what is ready when.
        (r"\b[1-9]\d* requests\b", "REQUESTS requests"),
        (r" +[1-9]\d* \n", " REQUESTS\n"),
        (r"(?m)^    line \d+: points \w+ → \d+\n", ""),
    ] {
        text = regex::Regex::new(pattern).unwrap().replace_all(&text, instead).into_owned();
    }
    text
}

#[test]
fn the_demonstration_tells_its_story_and_ends_well() {
    let folder = tempfile::tempdir().unwrap();
    let folder = folder.path().canonicalize().unwrap();
    let output = demo(&folder).output().unwrap();
    let (told, errors) = (String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
    assert!(output.status.success(), "{}\n{told}\n{errors}", output.status);
    insta::assert_snapshot!(redacted(&told, &folder));

    let names = |at: &str| {
        let mut names: Vec<String> = std::fs::read_dir(folder.join("server").join(at))
            .unwrap()
            .map(|entry| entry.unwrap().file_name().into_string().unwrap())
            .collect();
        names.sort();
        names
    };
    let reports = names("warehouse/reports");
    for name in [
        "loyalty_2026-11-20.report.json",
        "loyalty_2026-11-22.held.report.json",
        "loyalty_every-row-fault.errors.csv",
        "loyalty_every-row-fault.problems.csv",
        "loyalty_every-row-fault.report.json",
        "loyalty_unclosed-quote.report.json",
    ] {
        assert!(reports.iter().any(|known| known == name), "{name} is not among {reports:?}");
    }
    assert!(names("warehouse/.error").contains(&"loyalty_unclosed-quote.csv".to_owned()));
    assert!(names("warehouse/.processed").contains(&"loyalty_every-row-fault.csv".to_owned()));
    let left: Vec<String> = names("warehouse").into_iter().filter(|name| name.contains(".csv")).collect();
    assert!(left.is_empty(), "still in the inbox: {left:?}");
}

#[test]
fn a_folder_in_use_is_refused() {
    let folder = tempfile::tempdir().unwrap();
    std::fs::write(folder.path().join("mine"), "precious").unwrap();
    let output = demo(folder.path()).output().unwrap();
    assert!(!output.status.success());
    assert!(String::from_utf8_lossy(&output.stderr).contains("is not empty"));
    assert_eq!(std::fs::read_dir(folder.path()).unwrap().count(), 1);
}

/// Ends the child even when an assertion fails.
struct Kept(Child);

impl Drop for Kept {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

#[test]
fn kept_servers_answer_until_a_signal() {
    let folder = tempfile::tempdir().unwrap();
    let mut kept = Kept(demo(folder.path()).arg("--keep").stdout(Stdio::piped()).spawn().unwrap());
    let mut told = String::new();
    let mut lines = BufReader::new(kept.0.stdout.take().unwrap());
    while !told.contains("passferry status --config") {
        assert_ne!(lines.read_line(&mut told).unwrap(), 0, "ended too early:\n{told}");
    }
    let after = |text: &str| told.split(text).nth(1).unwrap().split_whitespace().next().unwrap().to_owned();

    let stats = after("curl http://");
    let (address, path) = stats.split_once('/').unwrap();
    let mut http = TcpStream::connect(address).unwrap();
    write!(http, "GET /{path} HTTP/1.1\r\nHost: {address}\r\nConnection: close\r\n\r\n").unwrap();
    let mut answer = String::new();
    http.read_to_string(&mut answer).unwrap();
    assert!(answer.contains("\"members\":200"), "{answer}");

    let (port, key, hosts) = (after("sftp -P "), after(" -i "), after("UserKnownHostsFile="));
    let listed = Command::new("sftp")
        .args(["-b", "-", "-P", &port, "-i", &key, "-o", &format!("UserKnownHostsFile={hosts}"), "demo@127.0.0.1"])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .and_then(|mut sftp| {
            sftp.stdin.take().unwrap().write_all(b"ls warehouse/reports\n")?;
            sftp.wait_with_output()
        })
        .expect("tests/run installs OpenSSH's client");
    assert!(String::from_utf8_lossy(&listed.stdout).contains("loyalty_every-row-fault.errors.csv"), "{listed:?}");

    assert!(Command::new("kill").arg(kept.0.id().to_string()).status().unwrap().success());
    assert_eq!(kept.0.wait().unwrap().code(), Some(0));
}
