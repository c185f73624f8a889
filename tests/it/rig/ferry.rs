//! The program itself on a folder of its own: configuration, inbox, sandbox platform, and the real binary.

use std::collections::BTreeMap;
use std::fs;
use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use passferry::sandbox::{Faults, Issue, Sandbox, Settings};
use tempfile::TempDir;

/// Members by default: `C-1` to `C-9`, without points.
const MEMBERS: u32 = 9;

/// The schema that rigs use unless told otherwise. `email` is personal.
pub const SCHEMA: &str = r#"{
  "fieldsMatch": "superset",
  "fields": [
    { "name": "id", "type": "string", "constraints": { "required": true } },
    { "name": "points", "type": "number", "constraints": { "minimum": 0 } },
    { "name": "tier", "type": "string" },
    { "name": "email", "type": "string", "format": "email", "x-passferry": { "personal": true } }
  ]
}
"#;

/// What is different about a rig. Values are TOML.
pub struct Plan {
    feed: BTreeMap<String, String>,
    platform: BTreeMap<String, String>,
    top: String,
    schema: String,
    faults: Faults,
    members: u32,
}

impl Plan {
    /// Sets a key of the feed, dotted keys too: `.feed("guard.first_file", "true")`. An empty value takes the key away.
    pub fn feed(mut self, key: &str, value: &str) -> Plan {
        self.feed.insert(key.to_owned(), value.to_owned());
        self
    }

    pub fn schema(mut self, json: &str) -> Plan {
        json.clone_into(&mut self.schema);
        self
    }

    /// Members issued at the start: `C-1` to `C-n`.
    pub fn members(mut self, members: u32) -> Plan {
        self.members = members;
        self
    }

    pub fn start(self) -> Rig {
        let home = tempfile::tempdir().unwrap();
        let sandbox = Sandbox::start(Settings { faults: self.faults, ..Settings::default() }).unwrap();
        sandbox.issue((1..=self.members).map(|n| Issue { external_id: format!("C-{n}"), ..Issue::default() })).unwrap();
        let inbox = home.path().join("files/in");
        fs::create_dir_all(&inbox).unwrap();
        fs::write(home.path().join("schema.json"), &self.schema).unwrap();
        let table = |keys: &BTreeMap<String, String>| {
            let lines = keys.iter().filter(|(_, value)| !value.is_empty()).map(|(key, value)| format!("{key} = {value}\n"));
            lines.collect::<Vec<_>>().concat()
        };
        let config = format!(
            "state = \"state\"\ndrain = \"5s\"\nworkers = 2\n\n[source.files]\nkind = \"folder\"\npath = \"{path}\"\npoll = \"1s\"\n\n\
             [platform.cards]\n{platform}base_url = \"{url}\"\n\n[feed.points]\n{feed}\n{more}",
            path = home.path().join("files").display(),
            url = sandbox.base_url(),
            platform = table(&self.platform),
            feed = table(&self.feed),
            more = self.top,
        );
        fs::write(home.path().join("passferry.toml"), config).unwrap();
        Rig { home, inbox, sandbox }
    }
}

/// A temporary folder with everything in it. Gone when dropped.
pub struct Rig {
    pub home: TempDir,
    pub inbox: PathBuf,
    pub sandbox: Sandbox,
}

/// How a command ended.
#[derive(Debug)]
pub struct Ran {
    pub exit: i32,
    pub out: String,
    pub err: String,
}

impl Ran {
    /// Asserts the exit code, showing all that was said when it differs.
    #[track_caller]
    pub fn exits(self, exit: i32) -> Ran {
        assert_eq!(self.exit, exit, "\n--- stdout\n{}\n--- stderr\n{}", self.out, self.err);
        self
    }

    /// Standard output as one JSON value.
    #[track_caller]
    pub fn json(&self) -> serde_json::Value {
        serde_json::from_str(&self.out).unwrap_or_else(|error| panic!("{error}: {}\n{}", self.out, self.err))
    }

    /// Standard output as one JSON value a line.
    #[track_caller]
    pub fn json_lines(&self) -> Vec<serde_json::Value> {
        self.out.lines().map(|line| serde_json::from_str(line).unwrap_or_else(|error| panic!("{error}: {line}"))).collect()
    }
}

impl Rig {
    /// One feed `points` from a folder to the sandbox, without the guard for first files.
    pub fn plan() -> Plan {
        let pairs = |pairs: &[(&str, &str)]| pairs.iter().map(|(key, value)| ((*key).to_owned(), (*value).to_owned())).collect();
        Plan {
            feed: pairs(&[
                ("source", "\"files\""),
                ("inbox", "\"in\""),
                ("pattern", "\"*.csv\""),
                ("content", "\"snapshot\""),
                ("schema", "\"schema.json\""),
                ("platform", "\"cards\""),
                ("environment", "\"test\""),
                ("pass", "{ external_id = \"id\" }"),
                ("operation", "\"update\""),
                ("quiet", "\"1s\""),
                ("guard.first_file", "false"),
                ("dialect.delimiter", "\",\""),
                ("fields.points", "\"points\""),
                ("fields.\"metaData.tier\"", "\"tier\""),
                ("fields.\"person.emailAddress\"", "\"email\""),
            ]),
            platform: pairs(&[
                ("kind", "\"passkit\""),
                ("environment", "\"test\""),
                ("key", "{ env = \"RIG_KEY\" }"),
                ("secret", "{ env = \"RIG_SECRET\" }"),
                ("program", "\"sandbox-program\""),
                ("allowance", "\"2000/s\""),
            ]),
            top: String::new(),
            schema: SCHEMA.to_owned(),
            faults: Faults::default(),
            members: MEMBERS,
        }
    }

    pub fn start() -> Rig {
        Rig::plan().start()
    }

    /// Puts a file into the inbox, whole.
    pub fn deliver(&self, name: &str, content: impl AsRef<[u8]>) {
        let temporary = self.inbox.join(format!(".{name}.part"));
        fs::write(&temporary, content).unwrap();
        fs::rename(temporary, self.inbox.join(name)).unwrap();
    }

    /// Writes a file beside the configuration and gives its path.
    pub fn file(&self, name: &str, content: impl AsRef<[u8]>) -> String {
        let path = self.home.path().join(name);
        fs::write(&path, content).unwrap();
        path.display().to_string()
    }

    /// Changes the text of the configuration.
    pub fn change_config(&self, change: impl FnOnce(String) -> String) {
        let path = self.home.path().join("passferry.toml");
        fs::write(&path, change(fs::read_to_string(&path).unwrap())).unwrap();
    }

    pub fn command(&self, args: &[&str]) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_passferry"));
        command
            .args(args)
            .current_dir(self.home.path())
            .env_clear()
            .env("PATH", std::env::var_os("PATH").unwrap_or_default())
            .env("USER", "pat")
            .env("RIG_KEY", "sandbox-key")
            .env("RIG_SECRET", "sandbox-secret")
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped());
        command
    }

    /// Runs the program to its end.
    pub fn run(&self, args: &[&str]) -> Ran {
        ended(self.command(args).spawn().unwrap())
    }

    /// As [`Rig::run`], with something on standard input.
    pub fn run_with(&self, args: &[&str], input: &[u8]) -> Ran {
        let mut child = self.command(args).stdin(Stdio::piped()).spawn().unwrap();
        child.stdin.take().unwrap().write_all(input).unwrap();
        ended(child)
    }

    /// One sweep.
    pub fn once(&self) -> Ran {
        self.run(&["once"])
    }

    /// Starts the daemon; it is killed when the answer is dropped.
    pub fn daemon(&self) -> Daemon {
        Daemon(Some(self.command(&["run"]).stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap()))
    }

    /// Runs, newest first, as `runs --json` tells them.
    pub fn runs(&self) -> Vec<serde_json::Value> {
        self.run(&["runs", "--json"]).exits(0).json_lines()
    }

    /// A file under the inbox: `reports/points.report.json`.
    pub fn read(&self, path: &str) -> String {
        let path = self.inbox.join(path);
        fs::read_to_string(&path).unwrap_or_else(|error| panic!("{}: {error}; there is {:?}", path.display(), self.tree()))
    }

    pub fn report(&self, stem: &str) -> serde_json::Value {
        serde_json::from_str(&self.read(&format!("reports/{stem}.report.json"))).unwrap()
    }

    /// Every file under the inbox, sorted.
    pub fn tree(&self) -> Vec<String> {
        fn walk(folder: &Path, base: &Path, into: &mut Vec<String>) {
            for entry in fs::read_dir(folder).into_iter().flatten().flatten() {
                if entry.path().is_dir() {
                    walk(&entry.path(), base, into);
                } else {
                    into.push(entry.path().strip_prefix(base).unwrap().display().to_string());
                }
            }
        }
        let mut all = Vec::new();
        walk(&self.inbox, &self.inbox, &mut all);
        all.sort();
        all
    }

    /// Points of a member at the sandbox.
    pub fn points(&self, external_id: &str) -> f64 {
        self.sandbox.member(external_id).and_then(|member| member["points"].as_f64()).unwrap_or_default()
    }

    /// Requests that would change something at the platform.
    pub fn writes(&self) -> usize {
        let reading = |entry: &passferry::sandbox::Entry| entry.method == "GET" || entry.path.contains("/list");
        self.sandbox.requests().select(|entry| !reading(entry)).len()
    }
}

/// Waits, for as long as a slow machine may need, until something is so.
#[track_caller]
pub fn wait_until(what: &str, mut so: impl FnMut() -> bool) {
    let end = Instant::now() + Duration::from_mins(1);
    while !so() {
        assert!(Instant::now() < end, "never: {what}");
        std::thread::sleep(Duration::from_millis(20));
    }
}

/// A running daemon.
pub struct Daemon(Option<Child>);

impl Daemon {
    /// Asks it to drain, and waits. Answers its exit code.
    pub fn terminate(mut self) -> i32 {
        let mut child = self.0.take().unwrap();
        let sent = Command::new("kill").args(["-TERM", &child.id().to_string()]).status().unwrap();
        assert!(sent.success());
        child.wait().unwrap().code().unwrap_or(-1)
    }

    fn end(&mut self) {
        if let Some(mut child) = self.0.take() {
            let _ = child.kill();
            let _ = child.wait();
        }
    }
}

impl Drop for Daemon {
    fn drop(&mut self) {
        self.end();
    }
}

fn ended(child: Child) -> Ran {
    let output = child.wait_with_output().unwrap();
    Ran {
        exit: output.status.code().unwrap_or(-1),
        out: String::from_utf8(output.stdout).unwrap(),
        err: String::from_utf8_lossy(&output.stderr).into_owned(),
    }
}
