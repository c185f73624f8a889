//! A server that answers as a test says, and the account that talks to it.

use std::io::{BufRead, BufReader, Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use reqwest::header::HeaderMap;

use crate::config::meant;
use crate::dispatch::Dispatch;
use crate::platform::passkit::Passkit;
use crate::platform::{
    AddEnd, ChangeResult, Conversation, FieldRule, Finding, Limits, Page, Platform, Proof, RawAnswer, Reach, Request, ValueFault, Verdict,
};
use crate::row::{Addition, Change, FieldChange, PassKey, Target, Verb};
use crate::schema::value::Value;
use crate::secret::{Secret, SecretError, SecretPlace};

/// A request as it arrived.
#[derive(Clone, Debug)]
pub struct Seen {
    pub path: String,
    pub authorization: String,
    pub body: serde_json::Value,
    pub at: Instant,
    /// Requests being answered at that moment, this one included.
    pub at_once: usize,
}

impl Seen {
    pub fn external(&self) -> &str {
        self.body["externalId"].as_str().unwrap_or_default()
    }
}

/// What to do with a request.
pub enum Reply {
    /// Status, further header lines, body.
    Answer(u16, String, String),
    /// Header lines and part of a body, then nothing until the client goes away.
    Stall,
    /// Close the connection without a word.
    Drop,
}

impl Reply {
    /// The answer that a write expects.
    pub fn done(seen: &Seen) -> Reply {
        Reply::status(200, &format!(r#"{{"id":"id-{0}","externalId":"{0}"}}"#, seen.external()))
    }

    pub fn status(status: u16, body: &str) -> Reply {
        Reply::Answer(status, String::new(), body.to_owned())
    }
}

pub type Handler = dyn Fn(&Seen) -> Reply + Send + Sync;

pub struct Stub {
    pub address: SocketAddr,
    log: Arc<Mutex<Vec<Seen>>>,
}

impl Stub {
    pub fn start(handler: impl Fn(&Seen) -> Reply + Send + Sync + 'static) -> Stub {
        Stub::on(TcpListener::bind("127.0.0.1:0").unwrap(), handler)
    }

    pub fn on(listener: TcpListener, handler: impl Fn(&Seen) -> Reply + Send + Sync + 'static) -> Stub {
        let address = listener.local_addr().unwrap();
        let log = Arc::new(Mutex::new(Vec::new()));
        let (handler, busy): (Arc<Handler>, Arc<Mutex<usize>>) = (Arc::new(handler), Arc::default());
        let seen = log.clone();
        std::thread::spawn(move || {
            for stream in listener.incoming().map_while(Result::ok) {
                let (handler, busy, log) = (handler.clone(), busy.clone(), seen.clone());
                std::thread::spawn(move || drop(talk(&stream, &*handler, &busy, &log)));
            }
        });
        Stub { address, log }
    }

    /// The writes seen so far.
    pub fn seen(&self) -> Vec<Seen> {
        self.log.lock().unwrap().clone()
    }
}

fn talk(stream: &TcpStream, handler: &Handler, busy: &Mutex<usize>, log: &Mutex<Vec<Seen>>) -> std::io::Result<()> {
    let mut reader = BufReader::new(stream.try_clone()?);
    let mut stream = stream.try_clone()?;
    loop {
        let mut line = String::new();
        if reader.read_line(&mut line)? == 0 {
            return Ok(());
        }
        let path = line.split(' ').nth(1).unwrap_or_default().to_owned();
        let (mut length, mut authorization) = (0, String::new());
        loop {
            let mut header = String::new();
            reader.read_line(&mut header)?;
            let Some((name, value)) = header.trim().split_once(':') else { break };
            match name.to_ascii_lowercase().as_str() {
                "content-length" => length = value.trim().parse().unwrap(),
                "authorization" => value.trim().clone_into(&mut authorization),
                _ => {}
            }
        }
        let mut body = vec![0; length];
        reader.read_exact(&mut body)?;
        let at_once = {
            let mut busy = busy.lock().unwrap();
            *busy += 1;
            *busy
        };
        let seen = Seen { path, authorization, body: serde_json::from_slice(&body).unwrap_or_default(), at: Instant::now(), at_once };
        log.lock().unwrap().push(seen.clone());
        let reply = handler(&seen);
        *busy.lock().unwrap() -= 1;
        match reply {
            Reply::Answer(status, headers, body) => {
                let answer = format!("HTTP/1.1 {status} X\r\ncontent-length: {}\r\n{headers}\r\n{body}", body.len());
                stream.write_all(answer.as_bytes())?;
            }
            Reply::Stall => {
                write!(stream, "HTTP/1.1 200 OK\r\ncontent-length: 100\r\n\r\n{{\"id\"")?;
                reader.read_line(&mut String::new())?;
                return Ok(());
            }
            Reply::Drop => return Ok(()),
        }
    }
}

/// The pass whose adapter panics.
pub const PANICS: &str = "C-PANICS";

fn may_panic(target: &Target) {
    assert!(target.text() != PANICS, "as the test wants it");
}

/// PassKit with limits that suit tests.
pub struct Quick {
    passkit: Passkit,
    limits: Limits,
    batches: Arc<std::sync::atomic::AtomicUsize>,
}

impl Platform for Quick {
    fn kind(&self) -> &'static str {
        self.passkit.kind()
    }
    fn base_url(&self) -> &str {
        self.passkit.base_url()
    }
    fn limits(&self) -> Limits {
        self.limits.clone()
    }
    fn verbs(&self) -> &[Verb] {
        self.passkit.verbs()
    }
    fn field(&self, name: &str) -> Result<FieldRule, String> {
        self.passkit.field(name)
    }
    fn required_to_create(&self) -> Vec<String> {
        self.passkit.required_to_create()
    }
    fn check_value(&self, name: &str, value: &Value<'_>) -> Result<(), ValueFault> {
        self.passkit.check_value(name, value)
    }
    fn authorize(&self, headers: &mut HeaderMap, now: std::time::SystemTime) -> Result<(), SecretError> {
        self.passkit.authorize(headers, now)
    }
    fn judge(&self, request: &Request, answer: &RawAnswer<'_>) -> Verdict {
        self.passkit.judge(request, answer)
    }
    fn needs_find(&self, change: &Change) -> bool {
        self.passkit.needs_find(change)
    }
    fn find(&self, targets: &[Target]) -> Box<dyn Conversation<Vec<Finding>>> {
        targets.iter().for_each(may_panic);
        self.passkit.find(targets)
    }
    fn apply(&self, change: Change) -> Box<dyn Conversation<ChangeResult>> {
        may_panic(&change.target);
        self.passkit.apply(change)
    }
    fn apply_batch(&self, changes: Vec<Change>) -> Box<dyn Conversation<Vec<ChangeResult>>> {
        self.batches.fetch_add(1, std::sync::atomic::Ordering::Relaxed);
        for change in &changes {
            may_panic(&change.target);
        }
        self.passkit.apply_batch(changes)
    }
    fn notifies(&self, field: &str) -> Result<(), String> {
        self.passkit.notifies(field)
    }
    fn adds_need_state(&self) -> bool {
        self.passkit.adds_need_state()
    }
    fn add(&self, add: &Addition) -> Box<dyn Conversation<AddEnd>> {
        self.passkit.add(add)
    }
    fn read_back(&self, add: &Addition) -> Option<Box<dyn Conversation<Proof>>> {
        self.passkit.read_back(add)
    }
    fn requests(&self, change: &Change) -> u32 {
        self.passkit.requests(change)
    }
    fn probe(&self) -> Box<dyn Conversation<Reach>> {
        self.passkit.probe()
    }
    fn pages(&self, offset: u64) -> Box<dyn Conversation<Page>> {
        self.passkit.pages(offset)
    }
}

/// A dispatch, and the file its secret is read from.
pub struct Rig {
    pub dispatch: Dispatch,
    pub secret: tempfile::NamedTempFile,
    /// Batches of changes that were begun.
    pub batches: Arc<std::sync::atomic::AtomicUsize>,
}

pub fn rig(address: SocketAddr, adjust: impl FnOnce(&mut Limits)) -> Rig {
    rig_at(format!("http://{address}"), adjust)
}

pub fn rig_at(base_url: String, adjust: impl FnOnce(&mut Limits)) -> Rig {
    // A temporary file is its owner's alone, as a secret must be.
    let secret = tempfile::NamedTempFile::new().unwrap();
    std::fs::write(secret.path(), "first").unwrap();
    let place = || Secret::new(SecretPlace::File(secret.path().to_owned()));
    let passkit = meant::Passkit {
        base_url,
        credential: meant::PasskitCredential::Pair { key: place(), secret: place(), bearer: false },
        passes: meant::PasskitPasses::Members { program: "prog".to_owned(), tier: None },
        read_back: meant::ReadBack::Events,
        sole_writer: false,
        index_from: None,
    };
    let mut limits = Limits {
        per_second: 1e6,
        in_flight: 8,
        find_batch: 100,
        change_batch: 1,
        tries: 4,
        timeout: Duration::from_secs(5),
        backoff_min: Duration::from_millis(2),
        backoff_max: Duration::from_millis(10),
        answer_bytes_max: 4096,
        settling: Duration::from_millis(20),
    };
    adjust(&mut limits);
    let batches: Arc<std::sync::atomic::AtomicUsize> = Arc::default();
    let account = Arc::new(Quick { passkit: Passkit::new(&passkit), limits: limits.clone(), batches: batches.clone() });
    let settings = meant::Platform {
        name: "test".to_owned(),
        kind: meant::PlatformKind::Passkit(passkit),
        environment: meant::Environment::Test,
        allowance: None,
        in_flight: None,
        timeout: None,
        tries: None,
        settling: Some(limits.settling),
        ca_file: None,
    };
    Rig { dispatch: Dispatch::start(account, &settings).unwrap(), secret, batches }
}

/// Sets the points of a pass: one request.
pub fn points(row: u64, external: &str) -> (Change, PassKey) {
    let target = Target::External(external.to_owned());
    let key = target.key();
    let field = FieldChange { field: 0, name: "points".into(), value: Some(Value::Integer(row.cast_signed() + 1)) };
    (Change { row, target, verb: Verb::Update, fields: vec![field], found: None, reference: format!("run:{row}") }, key)
}
