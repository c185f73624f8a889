//! Somebody at the review page: a browser as far as a server sees one, and as much of a liar as a test wants.

use std::cell::RefCell;
use std::io::{Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::sync::OnceLock;
use std::time::Duration;

use passferry::review::people::{Role, user_entry};

use super::harbour::{Harbour, Plan, Process, wait_until, write_private};

/// Passwords of the people of every test.
pub const APPROVER: (&str, &str) = ("anna", "an approver's password");
pub const VIEWER: (&str, &str) = ("victor", "a viewer's password");

/// The file of people: `anna` decides, `victor` looks.
pub fn people() -> &'static str {
    static PEOPLE: OnceLock<String> = OnceLock::new();
    PEOPLE.get_or_init(|| {
        let entry = |(name, password), role| user_entry(name, role, password).unwrap();
        entry(APPROVER, Role::Approver) + &entry(VIEWER, Role::Viewer)
    })
}

/// A harbour whose configuration has a review page.
pub struct Reviewed {
    pub harbour: Harbour,
    pub port: u16,
}

/// With these keys of `[review]` beside address and people.
pub fn reviewed(plan: Plan, more: &str) -> Reviewed {
    let port = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
    let harbour = plan.more(&format!("[review]\nlisten = \"127.0.0.1:{port}\"\nusers = \"users.toml\"\n{more}\n")).start();
    write_private(&harbour.home.path().join("users.toml"), people());
    Reviewed { harbour, port }
}

impl std::ops::Deref for Reviewed {
    type Target = Harbour;

    fn deref(&self) -> &Harbour {
        &self.harbour
    }
}

impl Reviewed {
    /// Starts the page alone.
    pub fn page(&self) -> Process {
        self.serving("review")
    }

    /// Starts a command that serves the page.
    pub fn serving(&self, command: &str) -> Process {
        let mut process = self.harbour.start(&[command]);
        wait_until("the page is served", || {
            assert!(process.is_running(), "{}", self.harbour.said());
            TcpStream::connect(("127.0.0.1", self.port)).is_ok()
        });
        process
    }

    pub fn visitor(&self) -> Visitor {
        Visitor::at(self.port)
    }

    #[track_caller]
    pub fn logged_in(&self, (name, password): (&str, &str)) -> Visitor {
        let visitor = self.visitor();
        visitor.log_in(name, password).is(303);
        visitor.get("/").is(200);
        visitor
    }
}

/// A browser.
pub struct Visitor {
    port: u16,
    /// Address that it comes from, where it matters.
    pub from: Option<SocketAddr>,
    pub cookie: RefCell<Option<String>>,
    /// As the last page had it.
    pub csrf: RefCell<String>,
}

#[derive(Debug)]
pub struct Answer {
    pub status: u16,
    pub head: String,
    pub body: String,
}

impl Answer {
    #[track_caller]
    pub fn is(self, status: u16) -> Answer {
        assert_eq!(self.status, status, "{}\n{}", self.head, self.body);
        self
    }

    #[track_caller]
    pub fn says(self, words: &str) -> Answer {
        assert!(self.body.contains(words), "{words:?} is not in\n{}", self.body);
        self
    }

    pub fn header(&self, name: &str) -> Option<&str> {
        let mut lines = self.head.lines().filter_map(|line| line.split_once(':'));
        lines.find(|(known, _)| known.eq_ignore_ascii_case(name)).map(|(_, value)| value.trim())
    }

    pub fn json(&self) -> serde_json::Value {
        serde_json::from_str(&self.body).unwrap_or_else(|error| panic!("{error}: {}", self.body))
    }
}

/// As a form sends it.
pub fn form(fields: &[(&str, &str)]) -> String {
    url::form_urlencoded::Serializer::new(String::new()).extend_pairs(fields).finish()
}

impl Visitor {
    /// Somebody who has not been here before.
    pub fn at(port: u16) -> Visitor {
        Visitor { port, from: None, cookie: RefCell::default(), csrf: RefCell::default() }
    }

    pub fn host(&self) -> String {
        format!("127.0.0.1:{}", self.port)
    }

    /// Exactly these headers, beside the length of the body.
    pub fn ask(&self, method: &str, path: &str, headers: &[(&str, &str)], body: &str) -> Answer {
        let mut stream = self.connect();
        stream.set_read_timeout(Some(Duration::from_mins(1))).unwrap();
        let headers = headers.iter().map(|(name, value)| format!("{name}: {value}\r\n")).collect::<Vec<_>>().concat();
        let length = body.len();
        // Refused before all of it was read, the connection may be gone.
        let _ = write!(stream, "{method} {path} HTTP/1.1\r\n{headers}Content-Length: {length}\r\nConnection: close\r\n\r\n{body}");
        let mut all = Vec::new();
        let _ = stream.read_to_end(&mut all);
        read_answer(&all)
    }

    fn connect(&self) -> TcpStream {
        let to = SocketAddr::from(([127, 0, 0, 1], self.port));
        let Some(from) = self.from else { return TcpStream::connect(to).unwrap() };
        let socket = socket2::Socket::new(socket2::Domain::IPV4, socket2::Type::STREAM, None).unwrap();
        socket.bind(&from.into()).unwrap();
        socket.connect(&to.into()).unwrap();
        socket.into()
    }

    fn with_cookie<'a>(&self, headers: &[(&'a str, String)], more: &[(&'a str, &str)]) -> Vec<(&'a str, String)> {
        let cookie = self.cookie.borrow().clone().map(|cookie| ("Cookie", cookie));
        let more = more.iter().map(|(name, value)| (*name, (*value).to_owned()));
        headers.iter().cloned().chain(cookie).chain(more).collect()
    }

    pub fn get(&self, path: &str) -> Answer {
        self.get_with(path, &[])
    }

    /// Remembers the cookie and what its forms must send back.
    pub fn get_with(&self, path: &str, more: &[(&str, &str)]) -> Answer {
        let headers = self.with_cookie(&[("Host", self.host())], more);
        let headers: Vec<(&str, &str)> = headers.iter().map(|(name, value)| (*name, value.as_str())).collect();
        let answer = self.ask("GET", path, &headers, "");
        if let Some((_, rest)) = answer.body.split_once("<meta name=\"csrf\" content=\"") {
            rest.split('"').next().unwrap_or_default().clone_into(&mut self.csrf.borrow_mut());
        }
        self.keep_cookie(&answer);
        answer
    }

    fn keep_cookie(&self, answer: &Answer) {
        if let Some(cookie) = answer.header("set-cookie") {
            *self.cookie.borrow_mut() = cookie.split(';').next().map(str::to_owned);
        }
    }

    /// As a form of the last page.
    pub fn post(&self, path: &str, fields: &[(&str, &str)]) -> Answer {
        let csrf = self.csrf.borrow().clone();
        let fields: Vec<(&str, &str)> = fields.iter().copied().chain([("csrf", csrf.as_str())]).collect();
        self.post_body(path, &form(&fields), &[("Origin", &format!("http://{}", self.host())), ("Sec-Fetch-Site", "same-origin")])
    }

    /// As a form, and gone before there is an answer.
    pub fn post_and_hang_up(&self, path: &str, fields: &[(&str, &str)]) {
        let (body, host) = (form(fields), self.host());
        let mut stream = self.connect();
        let head = format!("Host: {host}\r\nOrigin: http://{host}\r\nContent-Type: application/x-www-form-urlencoded");
        write!(stream, "POST {path} HTTP/1.1\r\n{head}\r\nContent-Length: {}\r\n\r\n{body}", body.len()).unwrap();
        std::thread::sleep(Duration::from_millis(30));
    }

    /// As a form, with these headers.
    pub fn post_body(&self, path: &str, body: &str, more: &[(&str, &str)]) -> Answer {
        let headers = self.with_cookie(&[("Host", self.host()), ("Content-Type", "application/x-www-form-urlencoded".to_owned())], more);
        let headers: Vec<(&str, &str)> = headers.iter().map(|(name, value)| (*name, value.as_str())).collect();
        let answer = self.ask("POST", path, &headers, body);
        self.keep_cookie(&answer);
        answer
    }

    pub fn log_in(&self, name: &str, password: &str) -> Answer {
        self.post("/login", &[("name", name), ("password", password)])
    }
}

fn read_answer(all: &[u8]) -> Answer {
    let split = all.windows(4).position(|window| window == b"\r\n\r\n").unwrap_or(all.len());
    let head = String::from_utf8_lossy(&all[..split]).into_owned();
    let mut body = all.get(split + 4..).unwrap_or_default().to_vec();
    if head.to_ascii_lowercase().contains("transfer-encoding: chunked") {
        body = unchunked(&body);
    }
    let status = head.split(' ').nth(1).and_then(|status| status.parse().ok()).unwrap_or(0);
    Answer { status, head, body: String::from_utf8_lossy(&body).into_owned() }
}

fn unchunked(mut rest: &[u8]) -> Vec<u8> {
    let mut body = Vec::new();
    while let Some(line) = rest.windows(2).position(|window| window == b"\r\n") {
        let length = usize::from_str_radix(std::str::from_utf8(&rest[..line]).unwrap().trim(), 16).unwrap();
        let piece = &rest[line + 2..];
        if length == 0 || piece.len() < length {
            break;
        }
        body.extend_from_slice(&piece[..length]);
        rest = piece.get(length + 2..).unwrap_or_default();
    }
    body
}
