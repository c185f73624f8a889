//! People with access of some kind who mean harm: to the machine, to the inbox, to the platform's words. Section 7 of the failure model.

use std::fs;
use std::os::unix::fs::{MetadataExt, PermissionsExt, symlink};
use std::path::Path;
use std::process::Stdio;

use passferry::ledger::State;
use passferry::sandbox::{Faults, Issue, Latency, Rule, Trouble};
use serde_json::json;

use super::delivery::snapshot;
use crate::rig::harbour::{Harbour, KEY, SECRET, harbour, wait_until};
use crate::rig::promises::check_promises;

/// Every file under a folder.
fn files(folder: &Path) -> Vec<std::path::PathBuf> {
    let mut all = Vec::new();
    for entry in fs::read_dir(folder).into_iter().flatten().flatten() {
        if entry.file_type().unwrap().is_dir() { all.extend(files(&entry.path())) } else { all.push(entry.path()) }
    }
    all
}

fn holds(content: &[u8], word: &str) -> bool {
    bstr::ByteSlice::contains_str(content, word)
}

/// Section 7, local user: arguments, environment, ledger, spool and reports.
#[test]
fn planted_secrets_are_found_nowhere_but_where_they_were_planted() {
    let harbour = harbour().platform("tries", "2").start();
    harbour.sandbox.faults().set(Faults {
        latency: Latency::Fixed { ms: 20 },
        rules: vec![Rule::new(Trouble::Status { code: 400, message: Some("no".into()) }).method("PUT").id("C-2")],
        ..Faults::default()
    });
    harbour.deliver(
        "points.csv",
        "id,points,tier,email\nC-1,1,gold,ann@private.example\nC-2,2,gold,bob@private.example\nC-3,x,gold,cyd@private.example\n",
    );
    let daemon = harbour.start(&["run", "--log-level", "trace"]);
    wait_until("the file is over", || harbour.state_of("points.csv").is_some_and(State::is_over));
    let arguments = fs::read(format!("/proc/{}/cmdline", daemon.id())).unwrap();
    assert_eq!(daemon.terminate(), 0);
    harbour.run(&["show", "points.csv", "--rows"]);
    let out = harbour.command(&["show", "points.csv", "--rows"]).stdout(Stdio::piped()).output().unwrap().stdout;
    let status = harbour.command(&["status", "--json"]).stdout(Stdio::piped()).output().unwrap().stdout;
    for secret in [KEY, SECRET] {
        assert!(!holds(&arguments, secret) && !holds(&out, secret) && !holds(&status, secret), "{secret} is told");
        for file in files(harbour.home.path()) {
            let planted = file.ends_with("secret");
            assert!(planted || !holds(&fs::read(&file).unwrap(), secret), "{secret} is in {}", file.display());
        }
        assert!(!harbour.said().contains(secret));
    }
    assert!(!holds(&out, "@private.example"), "personal cells are masked");
    check_promises(&harbour);
}

/// Section 7, local user: what the state directory holds is closed to others, whatever the umask.
#[test]
fn the_state_is_closed_to_others_whatever_the_umask() {
    let harbour = harbour().start();
    harbour.deliver("points.csv", snapshot(1..=9, 10) + "C-1,many\n");
    let mut gzip = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
    std::io::Write::write_all(&mut gzip, b"id,points\nC-1,many\n").unwrap();
    harbour.deliver("packed.csv.gz", gzip.finish().unwrap());
    let program = env!("CARGO_BIN_EXE_passferry");
    let ran = harbour.command(&[]);
    let mut shell = std::process::Command::new("sh");
    shell.arg("-c").arg(format!("umask 000; exec {program} once")).current_dir(harbour.home.path()).env_clear();
    shell.envs(ran.get_envs().filter_map(|(name, value)| Some((name, value?))));
    let status = shell.stdout(Stdio::null()).stderr(Stdio::null()).status().unwrap();
    assert_eq!(status.code(), Some(1));
    let mode = |path: &Path| fs::metadata(path).unwrap().permissions().mode() & 0o777;
    for folder in [harbour.state(), harbour.state().join("spool")] {
        assert_eq!(mode(&folder), 0o700, "{}", folder.display());
    }
    let all = files(&harbour.state());
    assert!(
        all.iter().any(|file| file.ends_with("ledger.sqlite"))
            && all.iter().any(|file| file.extension().is_some_and(|ending| ending == "text")),
        "{all:?}"
    );
    for file in all {
        assert_eq!(mode(&file) & 0o077, 0, "{}", file.display());
    }
    check_promises(&harbour);
}

/// Section 7, local user: core files, memory and environment.
#[test]
fn no_core_file_is_written_and_nobody_looks_into_the_process() {
    let harbour = harbour().start();
    let daemon = harbour.start(&["run"]);
    wait_until("it works", || passferry::watcher::in_use(&harbour.state()).is_some());
    let process = format!("/proc/{}", daemon.id());
    let limits = fs::read_to_string(format!("{process}/limits")).unwrap();
    let core = limits.lines().find(|line| line.starts_with("Max core file size")).unwrap();
    let numbers: Vec<&str> = core.split_whitespace().skip(4).take(2).collect();
    assert_eq!(numbers, ["0", "0"], "{core}");
    // The memory of a process that must not be dumped belongs to root, and so do its environment and its open files.
    let environ = fs::metadata(format!("{process}/environ")).unwrap();
    assert_eq!((environ.uid(), environ.mode() & 0o077), (0, 0));
    let dump = fs::read_to_string(format!("{process}/coredump_filter"));
    assert!(dump.is_err() || numbers == ["0", "0"]);
    assert_eq!(daemon.terminate(), 0);
    // A crash leaves nothing behind, however it comes.
    fs::remove_file(harbour.state().join("in-use.json")).unwrap();
    let crashing = harbour.start(&["run"]);
    wait_until("it works again", || passferry::watcher::in_use(&harbour.state()).is_some());
    let killed = std::process::Command::new("kill").args(["-ABRT", &crashing.id().to_string()]).status().unwrap();
    assert!(killed.success());
    let mut crashing = crashing;
    assert_eq!(crashing.wait(), -6);
    let left: Vec<_> =
        files(harbour.home.path()).into_iter().filter(|file| file.file_name().unwrap().to_string_lossy().contains("core")).collect();
    assert!(left.is_empty(), "{left:?}");
    check_promises(&harbour);
}

/// Section 7, local user: a secret has no place in the configuration.
#[test]
fn a_configuration_with_a_secret_in_it_is_refused_and_the_secret_not_shown() {
    const INLINE: &str = "hunter2-inline-secret";
    for (from, to) in [
        ("secret = { file = \"secret\" }", format!("secret = \"{INLINE}\"")),
        ("secret = { file = \"secret\" }", format!("secret = {{ value = \"{INLINE}\" }}")),
        ("secret = { file = \"secret\" }", format!("secret = {{ env = \"{INLINE}\" }}")),
        ("poll = \"1s\"", format!("poll = \"1s\"\npassword = \"{INLINE}\"")),
        ("poll = \"1s\"", format!("poll = \"1s\"\npassphrase = [\"{INLINE}\"]")),
        ("[source.port]", format!("secret = \"{INLINE}\"\n[source.port]")),
    ] {
        let harbour = harbour().start();
        harbour.change_config(|text| text.replacen(from, &to, 1));
        harbour.once().exits(78);
        assert!(!harbour.said().contains(INLINE), "{to}: {}", harbour.said());
        assert!(!harbour.ledger_is_there(), "nothing was begun");
    }
}

/// Section 7, local user: a secret that others may read is not used.
#[test]
fn a_secret_that_others_may_read_is_refused() {
    let harbour = harbour().start();
    harbour.deliver("points.csv", snapshot(1..=3, 10));
    fs::set_permissions(harbour.home.path().join("secret"), fs::Permissions::from_mode(0o644)).unwrap();
    let ran = harbour.run(&["once", "--patience", "1s"]);
    assert_ne!(ran.exit, 0);
    assert!(harbour.said().contains("chmod 600"), "{}", harbour.said());
    assert_eq!(harbour.writes().len(), 0);
    fs::set_permissions(harbour.home.path().join("secret"), fs::Permissions::from_mode(0o600)).unwrap();
    harbour.once().exits(0);
    check_promises(&harbour);
}

/// Section 7, local user: links in the state directory and in a shared folder.
#[test]
fn a_link_that_somebody_planted_is_not_written_through() {
    let harbour = harbour().start();
    let victim = harbour.home.path().join("victim");
    fs::write(&victim, "untouched").unwrap();
    harbour.once().exits(0);
    harbour.deliver("points.csv", "id,points\nC-1,1\nC-2,bad\n");
    fs::create_dir_all(harbour.inbox().join("reports")).unwrap();
    for name in ["points.errors.csv", "points.problems.csv", "points.report.json"] {
        symlink(&victim, harbour.inbox().join("reports").join(name)).unwrap();
    }
    harbour.once().exits(1);
    assert_eq!(fs::read_to_string(&victim).unwrap(), "untouched");
    for name in ["points.errors.csv", "points.problems.csv", "points.report.json"] {
        fs::remove_file(harbour.inbox().join("reports").join(name)).unwrap();
    }
    check_promises(&harbour);
}

/// Control characters that drive terminals, forge lines, or end records.
const EVIL: &str = "\u{1b}[2J\u{1b}]0;owned\u{7}\u{9b}31m\u{202e}x\u{8}y\u{c}z";

fn raw_control(text: &[u8]) -> Option<u8> {
    text.iter().copied().find(|&byte| (byte < 0x20 && byte != b'\n') || byte == 0x7f)
}

/// Section 7, malicious uploader and malicious platform: log injection.
#[test]
fn no_word_of_others_reaches_a_log_or_a_terminal_raw() {
    let harbour = harbour().feed("fields.\"person.emailAddress\"", "").start();
    let says = format!("{EVIL}\r\n2026-01-01T00:00:00Z  INFO forged");
    let rule = |code, pass: &str| Rule::new(Trouble::Status { code, message: Some(says.clone()) }).method("PUT").id(pass);
    harbour.sandbox.faults().set(Faults { rules: vec![rule(400, "C-2"), rule(422, "C-3")], ..Faults::default() });
    let evil_id = format!("E{EVIL}");
    harbour.sandbox.issue(std::iter::once(Issue { external_id: "C-100".into(), ..Issue::default() })).unwrap();
    harbour.deliver(
        "points.csv",
        format!("id,points,tier\nC-1,1,\"{EVIL}\"\nC-2,2,\"a\r\nb\"\nC-3,3,gold\n\"{evil_id}\",4,gold\nC-4,\"{EVIL}\",gold\n"),
    );
    for (format, exit) in [("text", 1), ("json", 0)] {
        let ran = harbour.run(&["once", "--log", format, "--log-level", "trace"]);
        assert_eq!(ran.exit, exit, "{}", ran.err);
    }
    harbour.deliver("again.csv", format!("id,points,{EVIL}\nC-1,1,x\n"));
    harbour.run(&["once", "--log", "json", "--log-level", "trace"]).exits(65);
    harbour.sandbox.faults().clear();
    let log = harbour.log.lock().unwrap().clone();
    assert_eq!(raw_control(&log), None, "{:?}", String::from_utf8_lossy(&log));
    assert!(!String::from_utf8_lossy(&log).contains('\u{9b}'), "C1 controls drive terminals too");
    assert!(!String::from_utf8_lossy(&log).lines().any(|line| line.starts_with("2026-01-01T00:00:00Z  INFO forged")));
    for command in [vec!["show", "points.csv", "--rows"], vec!["show", "again.csv"], vec!["runs"], vec!["status"], vec!["explain", "C-2"]] {
        let out = harbour.command(&command).stdout(Stdio::piped()).stderr(Stdio::null()).output().unwrap().stdout;
        assert!(!out.is_empty(), "{command:?}");
        assert_eq!(raw_control(&out), None, "{command:?} prints {:?}", String::from_utf8_lossy(&out));
        assert!(!String::from_utf8_lossy(&out).contains('\u{9b}'), "{command:?}");
    }
    check_promises(&harbour);
}

/// Section 7, malicious uploader: passes of others.
#[test]
fn an_identifier_of_another_program_changes_nothing() {
    let harbour = harbour().points_only().start();
    // A path, a wildcard, an empty name, an identifier that is not of this program.
    let ids = ["../C-1", "C-1/points", "C-1%2Fpoints", "*", "%", "C-1?x=", "C-1#", "..", ".", "C-1;C-2", "other-program-pass", "C\\-1"];
    let rows: String = ids.iter().enumerate().map(|(index, id)| format!("{id},{}\n", 900 + index)).collect();
    harbour.deliver("points.csv", format!("id,points\n{rows}C-9,9\n"));
    harbour.once().exits(1);
    let told = harbour.report("points")["rows"].clone();
    assert_eq!(told["applied"], 1, "{told}");
    assert_eq!(harbour.points("C-1"), 0.0);
    assert_eq!(harbour.points("C-9"), 9.0);
    // Whatever was asked for by such a name was asked of our own programme, and not one of these requests did anything.
    for entry in harbour.sandbox.requests().select(|entry| entry.external_id.as_deref() != Some("C-9")) {
        assert!(!entry.path.contains("C-1"), "{entry:?}");
        let body = entry.body.clone().unwrap_or_default();
        assert!(body.is_empty() || body.contains("sandbox-program"), "{entry:?}");
        let reading = entry.method == "GET" || entry.path.contains("/list");
        assert!(reading || entry.status == Some(404), "{entry:?}");
    }
    check_promises(&harbour);
}

/// Section 7, malicious uploader: column names and addresses in cells.
#[test]
fn addresses_in_cells_are_never_fetched_and_templates_in_cells_never_filled() {
    let bait = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    bait.set_nonblocking(true).unwrap();
    let address = format!("http://{}/x", bait.local_addr().unwrap());
    let harbour = harbour().feed("fields.\"metaData.label\"", "\"{{ tier | upper }}\"").feed("fields.\"person.emailAddress\"", "").start();
    harbour.deliver(
        "points.csv",
        format!("id,points,tier\nC-1,1,{address}\nC-2,2,{{{{ 7 * 7 }}}}\nC-3,3,{{% for i in range(1000000000) %}}x{{% endfor %}}\n"),
    );
    harbour.once().exits(0);
    assert!(bait.accept().is_err(), "somebody called");
    let label = |pass: &str| harbour.sandbox.member(pass).unwrap()["metaData"]["label"].clone();
    assert_eq!(label("C-1"), json!(address.to_uppercase()));
    assert_eq!(label("C-2"), json!("{{ 7 * 7 }}"));
    check_promises(&harbour);
}

/// Section 7, supply chain: the version at work is told, and the lock file keeps the floor.
#[test]
fn the_bundled_libssh2_is_told_and_not_below_the_floor() {
    let rig = crate::rig::ferry::Rig::start();
    let told = rig.run(&["--version"]).exits(0).out;
    let version = told.lines().find_map(|line| line.strip_prefix("libssh2 ")).unwrap_or_else(|| panic!("{told}"));
    assert!(version.starts_with("1.11.2") || version > "1.11.2", "{version}");
    let lock: toml::Table = include_str!("../../../Cargo.lock").parse().unwrap();
    let packages = lock["package"].as_array().unwrap();
    let of = |name: &str| -> Vec<Vec<u64>> {
        let parts = |package: &toml::Value| {
            package["version"].as_str().unwrap().split(['.', '-', '+']).filter_map(|part| part.parse().ok()).collect()
        };
        packages.iter().filter(|package| package["name"].as_str() == Some(name)).map(parts).collect()
    };
    // Below these a server, a file name or a client can do harm: CVE-2026-55200, CVE-2025-58160, CVE-2026-46673.
    for (name, floor) in [("libssh2-sys", [0, 3, 4]), ("tracing-subscriber", [0, 3, 20]), ("russh", [0, 60, 3])] {
        let found = of(name);
        assert!(!found.is_empty() && found.iter().all(|version| version[..] >= floor[..]), "{name} {found:?}");
    }
}

/// Section 7, malicious uploader: what is personal in a file whose every row fails is in no log either.
#[test]
fn names_of_files_and_columns_are_told_escaped_in_reports() {
    let harbour: Harbour = harbour().feed("pattern", "\"*\"").start();
    harbour.deliver("a<script>alert(1)&.csv", "id,points\nC-1,x\n");
    harbour.once().exits(1);
    let names: Vec<String> = harbour.tree();
    assert!(names.iter().any(|name| name.contains("report.json")), "{names:?}");
    let report: serde_json::Value = {
        let name = names.iter().find(|name| name.ends_with(".report.json")).unwrap();
        serde_json::from_slice(&harbour.read(name)).unwrap()
    };
    assert_eq!(report["rows"], json!({ "rejected": 1 }));
    check_promises(&harbour);
}

/// I8. What a template makes of a number in a cell stays small: text is not repeated as often as a cell says.
#[test]
fn a_template_that_repeats_text_by_a_cell_is_refused_with_the_configuration() {
    for template in [
        "{{ tier * points }}",
        "{{ \"x\" * points }}",
        "{{ points * \"x\" }}",
        "{{ (points ~ \"\") * points }}",
        "{% set x = [1] * points %}{{ x }}",
    ] {
        let harbour = harbour().folder().feed("fields.\"metaData.label\"", &format!("'{template}'")).start();
        harbour.run(&["check"]).exits(78).says("repeat");
    }
    let harbour = harbour()
        .folder()
        .feed("fields.\"metaData.label\"", "\"{{ points * 2 }}{{ '-' * 3 }}{{ (points // 10) * points }}\"")
        .unmodelled()
        .start();
    harbour.deliver("points.csv", "id,points\nC-1,21\n");
    harbour.once().exits(0);
    assert_eq!(harbour.sandbox.member("C-1").unwrap()["metaData"]["label"], json!("42---42"));
    check_promises(&harbour);
}

/// I8. A schema is a small file: nothing else is read.
#[test]
fn a_schema_that_is_no_regular_file_or_is_too_large_is_refused() {
    let harbour = harbour().folder().start();
    let schema = harbour.home.path().join("schema.json");
    std::fs::remove_file(&schema).unwrap();
    std::fs::File::create(&schema).unwrap().set_len(10 << 30).unwrap();
    harbour.run(&["check"]).exits(78).says("larger than");
    std::fs::remove_file(&schema).unwrap();
    assert!(std::process::Command::new("mkfifo").arg(&schema).status().unwrap().success());
    for args in [&["check"][..], &["once"][..]] {
        harbour.run(args).exits(78).says("not a regular file");
    }
    harbour.run(&["validate", "passferry.toml", "--schema", "schema.json"]).exits(66);
}
