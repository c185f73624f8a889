//! A whole harbour: a real OpenSSH server behind a network that can misbehave (or a folder), the sandbox platform, and the real binary
//! between them.

use std::cell::{Cell, RefCell};
use std::collections::BTreeMap;
use std::ffi::OsStr;
use std::fs;
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::Arc;
use std::thread;
use std::time::{Duration, Instant};

use passferry::ledger::{self, Ledger, Run, RunFilter, State};
use passferry::sandbox::{Entry, Faults, Issue, Sandbox, Settings};
use tempfile::TempDir;

use super::proxy::TcpProxy;
use super::sshd::{Options, Sshd};

/// Planted where credentials go; must never be seen again.
pub const KEY: &str = "planted-platform-key-5Jq2";
pub const SECRET: &str = "planted-platform-secret-8Xw4";

/// The schema that harbours use unless told otherwise. `email` and `name` are personal.
pub const SCHEMA: &str = r#"{
  "fieldsMatch": "superset",
  "fields": [
    { "name": "id", "type": "string", "constraints": { "required": true, "pattern": "[^ ]+" } },
    { "name": "points", "type": "integer", "constraints": { "minimum": 0, "maximum": 16777216 } },
    { "name": "tier", "type": "string" },
    { "name": "email", "type": "string", "format": "email", "x-passferry": { "personal": true } }
  ]
}
"#;

/// How long anything may take on a loaded machine.
pub const PATIENCE: Duration = Duration::from_secs(90);

/// What is different about a harbour. Values are TOML.
pub struct Plan {
    feed: BTreeMap<String, String>,
    platform: BTreeMap<String, String>,
    more: String,
    schema: String,
    server: Options,
    faults: Faults,
    tiers: Vec<String>,
    members: u32,
    modelled: bool,
    folder: bool,
}

/// What only a harbour with a server has. A test that asks for it in another has a mistake.
pub struct Only<T>(Option<T>);

impl<T> std::ops::Deref for Only<T> {
    type Target = T;

    fn deref(&self) -> &T {
        self.0.as_ref().expect("a harbour on a folder has no server")
    }
}

impl<T> std::ops::DerefMut for Only<T> {
    fn deref_mut(&mut self) -> &mut T {
        self.0.as_mut().expect("a harbour on a folder has no server")
    }
}

fn pairs(pairs: &[(&str, &str)]) -> BTreeMap<String, String> {
    pairs.iter().map(|(key, value)| ((*key).to_owned(), (*value).to_owned())).collect()
}

impl Plan {
    /// Sets a key of the feed, dotted keys too: `.feed("guard.first_file", "true")`. An empty value takes the key away.
    pub fn feed(mut self, key: &str, value: &str) -> Plan {
        self.feed.insert(key.to_owned(), value.to_owned());
        self
    }

    /// Points alone: then each row is exactly one write.
    pub fn points_only(self) -> Plan {
        self.feed("fields.\"metaData.tier\"", "").feed("fields.\"person.emailAddress\"", "")
    }

    pub fn platform(mut self, key: &str, value: &str) -> Plan {
        self.platform.insert(key.to_owned(), value.to_owned());
        self
    }

    /// Appends to the configuration.
    pub fn more(mut self, toml: &str) -> Plan {
        self.more.push_str(toml);
        self
    }

    /// Another schema; what passes hold is then left to the test.
    pub fn schema(mut self, json: &str) -> Plan {
        json.clone_into(&mut self.schema);
        self.modelled = false;
        self
    }

    /// What passes hold is left to the test.
    pub fn unmodelled(mut self) -> Plan {
        self.modelled = false;
        self
    }

    pub fn server(mut self, options: Options) -> Plan {
        self.server = options;
        self
    }

    /// The same files from a folder of this machine: no server is started. For tests that begin hundreds of times.
    pub fn folder(mut self) -> Plan {
        self.folder = true;
        self
    }

    pub fn faults(mut self, faults: Faults) -> Plan {
        self.faults = faults;
        self
    }

    pub fn tiers(mut self, tiers: &[&str]) -> Plan {
        self.tiers = tiers.iter().map(|tier| (*tier).to_owned()).collect();
        self
    }

    /// Members issued at the start: `C-1` to `C-n`.
    pub fn members(mut self, members: u32) -> Plan {
        self.members = members;
        self
    }

    pub fn start(self) -> Harbour {
        let home = tempfile::tempdir().unwrap();
        let root = home.path().join("server");
        fs::create_dir_all(root.join("in")).unwrap();
        let sshd = Only((!self.folder).then(|| Sshd::with(&root, &self.server)));
        let proxy = Only(sshd.0.as_ref().map(|sshd| TcpProxy::start(sshd.port)));
        let thewalletcrew = passferry::sandbox::thewalletcrew::Settings { key: KEY.into(), ..Default::default() };
        let settings = Settings { key: KEY.into(), secret: SECRET.into(), faults: self.faults, thewalletcrew, ..Settings::default() };
        let settings = if self.tiers.is_empty() { settings } else { Settings { tiers: self.tiers, ..settings } };
        let sandbox = Sandbox::start(settings).unwrap();
        sandbox.issue((1..=self.members).map(|n| Issue { external_id: format!("C-{n}"), ..Issue::default() })).unwrap();
        fs::write(home.path().join("schema.json"), &self.schema).unwrap();
        let secret = home.path().join("secret");
        write_private(&secret, SECRET);

        let source = if self.folder {
            pairs(&[("kind", "\"folder\""), ("path", &format!("{:?}", root.display().to_string())), ("poll", "\"1s\"")])
        } else {
            pairs(&[
                ("kind", "\"sftp\""),
                ("host", "\"127.0.0.1\""),
                ("port", &proxy.port().to_string()),
                ("user", &format!("{:?}", sshd.user)),
                ("key", &format!("{{ file = \"{}\" }}", sshd.client_key("ed25519").display())),
                ("host_key", &format!("{:?}", sshd.fingerprint("ed25519"))),
                ("poll", "\"1s\""),
            ])
        };
        let mut platform = pairs(&[
            ("kind", "\"passkit\""),
            ("environment", "\"test\""),
            ("base_url", &format!("{:?}", sandbox.base_url())),
            ("key", "{ env = \"PLANTED_KEY\" }"),
            ("secret", "{ file = \"secret\" }"),
            ("program", "\"sandbox-program\""),
            ("allowance", "\"5000/s\""),
            ("timeout", "\"5s\""),
        ]);
        platform.extend(self.platform);
        let mut feed = pairs(&[
            ("source", "\"port\""),
            ("inbox", "\"in\""),
            ("pattern", "\"*.csv{,.gz}\""),
            ("content", "\"snapshot\""),
            ("schema", "\"schema.json\""),
            ("platform", "\"cards\""),
            ("environment", "\"test\""),
            ("pass", "{ external_id = \"id\" }"),
            ("operation", "\"update\""),
            ("quiet", "\"150ms\""),
            ("guard.first_file", "false"),
            ("guard.rejects", "false"),
            ("guard.ragged", "false"),
            ("fields.points", "\"points\""),
            ("fields.\"metaData.tier\"", "\"tier\""),
            ("fields.\"person.emailAddress\"", "\"email\""),
        ]);
        feed.extend(self.feed);
        let table = |keys: &BTreeMap<String, String>| {
            keys.iter().filter(|(_, value)| !value.is_empty()).map(|(key, value)| format!("{key} = {value}")).collect::<Vec<_>>().join("\n")
        };
        let config = format!(
            "state = \"state\"\ndrain = \"5s\"\nworkers = 2\n\n[source.port]\n{}\n\n[platform.cards]\n{}\n\n[feed.points]\n{}\n\n{}",
            table(&source),
            table(&platform),
            table(&feed),
            self.more
        );
        fs::write(home.path().join("passferry.toml"), config).unwrap();
        Harbour {
            home,
            root,
            sshd,
            proxy,
            sandbox,
            modelled: self.modelled,
            quiet_after: Cell::new(true),
            elsewhere: RefCell::default(),
            delivered: RefCell::default(),
            log: Arc::default(),
        }
    }
}

/// A file as a test delivered it.
pub struct Delivered {
    pub name: Vec<u8>,
    pub content: Vec<u8>,
}

/// Everything in a temporary folder; gone when dropped.
pub struct Harbour {
    pub home: TempDir,
    /// The server's files.
    pub root: PathBuf,
    pub sshd: Only<Sshd>,
    /// The network between the program and the SFTP server.
    pub proxy: Only<TcpProxy>,
    pub sandbox: Sandbox,
    /// Rows of the default schema: what passes must hold follows from the files.
    pub modelled: bool,
    /// Another sweep at the end must find nothing to do.
    pub quiet_after: Cell<bool>,
    /// Effects of adds at another platform than the sandbox: the key, and how often it took effect.
    pub elsewhere: RefCell<Vec<(String, u64)>>,
    pub delivered: RefCell<Vec<Delivered>>,
    /// All that the program wrote to standard error so far.
    pub log: Arc<std::sync::Mutex<Vec<u8>>>,
}

/// How a command ended.
#[derive(Debug)]
pub struct Ran {
    pub exit: i32,
    pub err: String,
}

impl Ran {
    /// Asserts the exit code, showing all that was said when it differs.
    #[track_caller]
    pub fn exits(self, exit: i32) -> Ran {
        assert_eq!(self.exit, exit, "\n--- stderr\n{}", self.err);
        self
    }

    #[track_caller]
    pub fn says(self, words: &str) -> Ran {
        assert!(self.err.contains(words), "{words:?} is not in\n{}", self.err);
        self
    }
}

pub fn harbour() -> Plan {
    Harbour::plan()
}

impl Harbour {
    /// One feed `points` from an SFTP server to the sandbox, without the guards for first files and for bad rows.
    pub fn plan() -> Plan {
        Plan {
            feed: BTreeMap::new(),
            platform: BTreeMap::new(),
            more: String::new(),
            schema: SCHEMA.to_owned(),
            server: Options::default(),
            faults: Faults::default(),
            tiers: Vec::new(),
            members: 9,
            modelled: true,
            folder: false,
        }
    }

    pub fn inbox(&self) -> PathBuf {
        self.root.join("in")
    }

    pub fn state(&self) -> PathBuf {
        self.home.path().join("state")
    }

    /// Puts a file into the inbox, whole.
    pub fn deliver(&self, name: impl AsRef<[u8]>, content: impl AsRef<[u8]>) {
        self.deliver_to("in", name, content);
    }

    pub fn deliver_to(&self, folder: &str, name: impl AsRef<[u8]>, content: impl AsRef<[u8]>) {
        let (name, content) = (name.as_ref(), content.as_ref());
        let temporary = self.root.join(folder).join(".being-delivered.part");
        fs::write(&temporary, content).unwrap();
        fs::rename(temporary, self.root.join(folder).join(OsStr::from_bytes(name))).unwrap();
        self.note_delivery(name, content);
    }

    /// A file that the test put there by itself.
    pub fn note_delivery(&self, name: &[u8], content: &[u8]) {
        self.delivered.borrow_mut().push(Delivered { name: name.to_vec(), content: content.to_vec() });
    }

    /// Changes the text of the configuration.
    pub fn change_config(&self, change: impl FnOnce(String) -> String) {
        let path = self.home.path().join("passferry.toml");
        fs::write(&path, change(fs::read_to_string(&path).unwrap())).unwrap();
    }

    pub fn command(&self, args: &[&str]) -> Command {
        self.command_of(Path::new(env!("CARGO_BIN_EXE_passferry")), args)
    }

    /// As [`Harbour::command`], of a program that runs the program.
    pub fn command_of(&self, program: &Path, args: &[&str]) -> Command {
        let mut command = Command::new(program);
        command
            .args(args)
            .current_dir(self.home.path())
            .env_clear()
            .env("PATH", std::env::var_os("PATH").unwrap_or_default())
            .env("USER", "pat")
            .env("PLANTED_KEY", KEY)
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::piped());
        command
    }

    /// Runs the program to its end. A program that does not end is killed and fails the test.
    #[track_caller]
    pub fn run(&self, args: &[&str]) -> Ran {
        let ran = self.run_program(Path::new(env!("CARGO_BIN_EXE_passferry")), args);
        assert!(super::promises::is_documented(ran.exit), "exit {} is not documented\n{}", ran.exit, self.said());
        ran
    }

    /// As [`Harbour::run`], of a program that runs the program and may end it in its own way.
    #[track_caller]
    pub fn run_program(&self, program: &Path, args: &[&str]) -> Ran {
        let from = self.log.lock().unwrap().len();
        let exit = self.start_command(self.command_of(program, args)).wait();
        Ran { exit, err: String::from_utf8_lossy(&self.log.lock().unwrap()[from..]).into_owned() }
    }

    /// One sweep.
    #[track_caller]
    pub fn once(&self) -> Ran {
        self.run(&["once"])
    }

    /// Starts the program beside the test; it is killed when the answer is dropped.
    pub fn start(&self, args: &[&str]) -> Process {
        self.start_command(self.command(args))
    }

    pub fn start_command(&self, mut command: Command) -> Process {
        let mut child = command.spawn().unwrap();
        let mut stderr = child.stderr.take().unwrap();
        let log = Arc::clone(&self.log);
        let reader = thread::spawn(move || {
            let mut piece = [0; 8192];
            while let Ok(count) = std::io::Read::read(&mut stderr, &mut piece) {
                if count == 0 {
                    break;
                }
                log.lock().unwrap().extend_from_slice(&piece[..count]);
            }
        });
        Process { child: Some(child), reader: Some(reader), log: Arc::clone(&self.log) }
    }

    /// What a reading command answers as JSON.
    #[track_caller]
    pub fn told(&self, args: &[&str]) -> serde_json::Value {
        let output = self.command(args).stdout(Stdio::piped()).output().unwrap();
        serde_json::from_slice(&output.stdout).unwrap_or_else(|error| panic!("{error}: {}", String::from_utf8_lossy(&output.stderr)))
    }

    pub fn said(&self) -> String {
        String::from_utf8_lossy(&self.log.lock().unwrap()).into_owned()
    }

    pub fn ledger(&self) -> Arc<dyn Ledger> {
        ledger::open(&self.state()).unwrap()
    }

    pub fn ledger_is_there(&self) -> bool {
        self.state().join("ledger.sqlite").exists()
    }

    /// All runs, oldest first.
    pub fn runs(&self) -> Vec<Run> {
        if !self.ledger_is_there() {
            return Vec::new();
        }
        let mut runs = self.ledger().runs(&RunFilter::default()).unwrap();
        runs.reverse();
        runs
    }

    /// The newest run of a file.
    #[track_caller]
    pub fn run_of(&self, name: &str) -> Run {
        let runs = self.runs();
        let found = runs.iter().rev().find(|run| run.name == name);
        found
            .unwrap_or_else(|| panic!("no run of {name} among {:?}\n{}", runs.iter().map(|run| &run.name).collect::<Vec<_>>(), self.said()))
            .clone()
    }

    pub fn state_of(&self, name: &str) -> Option<State> {
        self.runs().iter().rev().find(|run| run.name == name).map(|run| run.state)
    }

    /// A file under the inbox.
    #[track_caller]
    pub fn read(&self, path: &str) -> Vec<u8> {
        fs::read(self.inbox().join(path)).unwrap_or_else(|error| panic!("{path}: {error}; there is {:?}\n{}", self.tree(), self.said()))
    }

    #[track_caller]
    pub fn report(&self, stem: &str) -> serde_json::Value {
        serde_json::from_slice(&self.read(&format!("reports/{stem}.report.json"))).unwrap()
    }

    /// Lines of an error report behind its header, by column name.
    #[track_caller]
    pub fn errors(&self, stem: &str) -> Vec<BTreeMap<String, String>> {
        let content = self.read(&format!("reports/{stem}.errors.csv"));
        let first = content.split(|byte| *byte == b'\n').next().unwrap_or_default();
        let delimiter = b",;|".iter().max_by_key(|sign| memchr::memchr_iter(**sign, first).count()).copied().unwrap_or(b',');
        let mut reader = csv::ReaderBuilder::new().flexible(true).delimiter(delimiter).from_reader(&content[..]);
        reader.deserialize().map(Result::unwrap).collect()
    }

    /// Every file of the server, by path from its root.
    pub fn files(&self) -> Vec<PathBuf> {
        let mut all = Vec::new();
        walk(&self.root, &mut all);
        all.sort();
        all
    }

    /// Every file under the inbox, sorted, for people.
    pub fn tree(&self) -> Vec<String> {
        let inbox = self.inbox();
        self.files().iter().filter_map(|path| path.strip_prefix(&inbox).ok()).map(|path| path.display().to_string()).collect()
    }

    /// Points of a member at the sandbox.
    #[track_caller]
    pub fn points(&self, external_id: &str) -> f64 {
        let member = self.sandbox.member(external_id).unwrap_or_else(|| panic!("no member {external_id}"));
        member["points"].as_f64().unwrap_or_default()
    }

    /// Requests that would change something at the platform.
    pub fn writes(&self) -> Vec<Entry> {
        self.sandbox.requests().select(is_write)
    }

    /// How often a change was sent to each pass.
    pub fn writes_by_pass(&self) -> BTreeMap<String, usize> {
        let mut counts = BTreeMap::new();
        for entry in self.writes() {
            *counts.entry(entry.external_id.unwrap_or_default()).or_default() += 1;
        }
        counts
    }
}

fn is_write(entry: &Entry) -> bool {
    entry.method != "GET" && !entry.path.contains("/list") && !entry.path.contains("/count")
}

fn walk(folder: &Path, into: &mut Vec<PathBuf>) {
    for entry in fs::read_dir(folder).into_iter().flatten().flatten() {
        if entry.file_type().is_ok_and(|kind| kind.is_dir()) {
            walk(&entry.path(), into);
        } else {
            into.push(entry.path());
        }
    }
}

/// A file that only its owner may read.
pub fn write_private(path: &Path, text: &str) {
    use std::os::unix::fs::PermissionsExt;
    fs::write(path, text).unwrap();
    fs::set_permissions(path, fs::Permissions::from_mode(0o600)).unwrap();
}

/// Waits, for as long as a slow machine may need, until something is so.
#[track_caller]
pub fn wait_until(what: &str, so: impl FnMut() -> bool) {
    wait_at_most(PATIENCE, what, so);
}

/// The same for what takes minutes where others are at work.
#[track_caller]
pub fn wait_at_most(limit: Duration, what: &str, mut so: impl FnMut() -> bool) {
    let end = Instant::now() + limit;
    while !so() {
        assert!(Instant::now() < end, "never: {what}");
        thread::sleep(Duration::from_millis(5));
    }
}

/// The program beside the test.
pub struct Process {
    child: Option<Child>,
    reader: Option<thread::JoinHandle<()>>,
    log: Arc<std::sync::Mutex<Vec<u8>>>,
}

impl Process {
    pub fn id(&self) -> u32 {
        self.child.as_ref().unwrap().id()
    }

    /// Peak of resident memory so far, in KiB.
    pub fn peak_kib(&self) -> u64 {
        let status = fs::read_to_string(format!("/proc/{}/status", self.id())).unwrap_or_default();
        let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:")).unwrap_or_default();
        line.trim().trim_end_matches(" kB").parse().unwrap_or_default()
    }

    pub fn is_running(&mut self) -> bool {
        self.child.as_mut().is_some_and(|child| child.try_wait().unwrap().is_none())
    }

    /// Ends it at once, as a power failure would.
    pub fn kill(mut self) {
        self.end();
    }

    /// Asks it to drain, and waits. Answers its exit code.
    #[track_caller]
    pub fn terminate(mut self) -> i32 {
        self.ask_to_stop();
        self.wait()
    }

    pub fn ask_to_stop(&self) {
        let sent = Command::new("kill").args(["-TERM", &self.id().to_string()]).status().unwrap();
        assert!(sent.success());
    }

    /// Waits for its end. Answers its exit code, or minus the signal that ended it.
    #[track_caller]
    pub fn wait(&mut self) -> i32 {
        use std::os::unix::process::ExitStatusExt;
        let end = Instant::now() + PATIENCE;
        while self.is_running() {
            assert!(Instant::now() < end, "the program does not end: {}", String::from_utf8_lossy(&self.log.lock().unwrap()));
            thread::sleep(Duration::from_millis(5));
        }
        let status = self.child.take().unwrap().wait().unwrap();
        self.reader.take().unwrap().join().unwrap();
        status.code().unwrap_or_else(|| -status.signal().unwrap_or_default())
    }

    fn end(&mut self) {
        if let Some(mut child) = self.child.take() {
            let _ = child.kill();
            let _ = child.wait();
        }
        if let Some(reader) = self.reader.take() {
            let _ = reader.join();
        }
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        self.end();
    }
}
