//! A platform that a test invents: what it answers is a function of what it has and what it is asked.

use std::collections::BTreeMap;
use std::io::{BufRead, BufReader, Read, Write};
use std::net::{TcpListener, TcpStream};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread;
use std::time::Duration;

use serde_json::Value;

/// A request as it came.
#[derive(Clone, Debug)]
pub struct Asked {
    pub method: String,
    /// Path and query as sent.
    pub path: String,
    /// By lower-case name.
    pub headers: BTreeMap<String, String>,
    pub raw: String,
    pub bytes: Vec<u8>,
    /// None where the body is no JSON.
    pub body: Value,
}

impl Asked {
    pub fn header(&self, name: &str) -> &str {
        self.headers.get(name).map_or("", String::as_str)
    }

    /// What stands behind this beginning of the path, percent-decoded; none where it begins otherwise.
    pub fn behind(&self, beginning: &str) -> Option<String> {
        let text = self.path.strip_prefix(beginning)?.as_bytes();
        let (mut out, mut at) = (Vec::new(), 0);
        while at < text.len() {
            let hex = (text[at] == b'%').then(|| std::str::from_utf8(&text[at + 1..at + 3]).unwrap());
            out.push(hex.map_or(text[at], |hex| u8::from_str_radix(hex, 16).unwrap()));
            at += if hex.is_some() { 3 } else { 1 };
        }
        Some(String::from_utf8(out).unwrap())
    }
}

/// What is answered.
#[derive(Clone, Debug)]
pub struct Reply {
    pub status: u16,
    pub body: String,
    /// Nothing is answered: the connection is cut.
    pub cut: bool,
    pub delay: Duration,
}

pub fn reply(status: u16, body: &Value) -> Reply {
    Reply { status, body: body.to_string(), cut: false, delay: Duration::ZERO }
}

impl Reply {
    pub fn cut(mut self) -> Reply {
        self.cut = true;
        self
    }

    pub fn text(mut self, body: &str) -> Reply {
        body.clone_into(&mut self.body);
        self
    }
}

/// All that the platform has.
#[derive(Default)]
pub struct World {
    pub passes: BTreeMap<String, Value>,
    /// Every request, in the order in which they came.
    pub seen: Vec<Asked>,
    /// Effects of adds, by the key that came with them.
    pub effects: BTreeMap<String, u64>,
    /// The first answer to each key, and the body it was for.
    pub answered: BTreeMap<String, (String, Reply)>,
    /// Whatever else the test counts.
    pub count: u64,
}

impl World {
    pub fn writes(&self) -> Vec<&Asked> {
        self.seen.iter().filter(|asked| asked.method != "GET" && asked.path != "/token").collect()
    }

    /// The pass's value, which must be there.
    pub fn pass(&mut self, id: &str) -> Option<&mut Value> {
        self.passes.get_mut(id)
    }
}

/// Listens until the test ends.
pub struct Vendor {
    port: u16,
    world: Arc<Mutex<World>>,
}

impl Vendor {
    pub fn start(answer: impl Fn(&mut World, &Asked) -> Reply + Send + Sync + 'static) -> Vendor {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let port = listener.local_addr().unwrap().port();
        let world = Arc::new(Mutex::new(World::default()));
        let (shared, answer) = (world.clone(), Arc::new(answer));
        thread::spawn(move || {
            for stream in listener.incoming().flatten() {
                let (world, answer) = (shared.clone(), answer.clone());
                thread::spawn(move || drop(serve(&stream, &world, &*answer)));
            }
        });
        Vendor { port, world }
    }

    pub fn url(&self) -> String {
        format!("http://127.0.0.1:{}", self.port)
    }

    pub fn world(&self) -> MutexGuard<'_, World> {
        self.world.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Effects of adds for [`super::promises::check_promises`].
    pub fn effects(&self) -> Vec<(String, u64)> {
        self.world().effects.clone().into_iter().collect()
    }
}

fn serve(stream: &TcpStream, world: &Mutex<World>, answer: &impl Fn(&mut World, &Asked) -> Reply) -> std::io::Result<()> {
    let mut reader = BufReader::new(stream);
    loop {
        let mut line = String::new();
        if reader.read_line(&mut line)? == 0 {
            return Ok(());
        }
        let mut words = line.split_whitespace().map(str::to_owned);
        let (method, path) = (words.next().unwrap_or_default(), words.next().unwrap_or_default());
        let mut headers = BTreeMap::new();
        loop {
            let mut line = String::new();
            reader.read_line(&mut line)?;
            let Some((name, value)) = line.trim_end().split_once(':') else { break };
            headers.insert(name.to_lowercase(), value.trim().to_owned());
        }
        let length = headers.get("content-length").and_then(|length| length.parse().ok()).unwrap_or(0);
        let mut body = vec![0; length];
        reader.read_exact(&mut body)?;
        let raw = String::from_utf8_lossy(&body).into_owned();
        let asked = Asked { method, path, headers, body: serde_json::from_str(&raw).unwrap_or(Value::Null), raw, bytes: body };
        let reply = {
            let mut world = world.lock().unwrap_or_else(PoisonError::into_inner);
            world.seen.push(asked.clone());
            answer(&mut world, &asked)
        };
        thread::sleep(reply.delay);
        if reply.cut {
            return stream.shutdown(std::net::Shutdown::Both);
        }
        let head = format!("HTTP/1.1 {} X\r\ncontent-type: application/json\r\ncontent-length: {}\r\n\r\n", reply.status, reply.body.len());
        let mut out = stream;
        out.write_all(format!("{head}{}", reply.body).as_bytes())?;
    }
}
