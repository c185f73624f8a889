//! A simulated phone: takes passes in after every check, registers them with the issuer's web service, follows pushes, and complains of
//! what a phone complains of (contracts/apple-wallet.md sections 6, 8 and 13).

pub mod generator;
pub mod package;
mod pass;
mod wallet;

use std::collections::BTreeMap;
use std::time::Duration;

use openssl::x509::X509;
use passferry::sandbox::apple::Apns;
use reqwest::header::{AUTHORIZATION, CONTENT_TYPE, HeaderMap, IF_MODIFIED_SINCE, LAST_MODIFIED};
use reqwest::{Client, Method, Response};
use serde::Deserialize;
use serde_json::{Value, json};
use tokio::runtime::Runtime;

use package::{Package, Refusal, verified};
use wallet::{Installed, Key};

/// Waits between tries, a thousandth of a real phone's.
const WAITS: [Duration; 3] = [Duration::from_millis(20), Duration::from_millis(60), Duration::from_millis(180)];
const PACKAGE: &str = "application/vnd.apple.pkpass";

pub struct Phone {
    /// The device library identifier.
    pub library: String,
    /// The push token.
    pub token: String,
    root: X509,
    client: Client,
    runtime: Runtime,
    passes: BTreeMap<Key, Installed>,
    /// The newest `lastUpdated` by pass type.
    tags: BTreeMap<String, String>,
    /// Pushes that were already followed.
    heard: usize,
    notices: Vec<Notice>,
    complaints: Vec<String>,
    asked: Vec<Asked>,
}

/// A text on the lock screen.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Notice {
    pub serial: String,
    pub text: String,
}

/// A request the phone made, and how it was answered; 0 when it was not.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Asked {
    pub method: String,
    /// After the base address.
    pub path: String,
    pub status: u16,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Changed {
    serial_numbers: Vec<String>,
    last_updated: String,
}

impl Phone {
    /// One that trusts this root, and whose push token the push service knows for these pass types.
    pub fn new(library: &str, root: &X509, apns: &Apns, pass_types: &[&str]) -> Phone {
        let trusted = reqwest::Certificate::from_pem(&root.to_pem().unwrap()).unwrap();
        let client = Client::builder().no_proxy().tls_certs_merge([trusted]).redirect(reqwest::redirect::Policy::none());
        Phone {
            library: library.to_owned(),
            token: apns.device(pass_types),
            root: root.clone(),
            client: client.timeout(Duration::from_secs(30)).build().unwrap(),
            runtime: tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap(),
            passes: BTreeMap::new(),
            tags: BTreeMap::new(),
            heard: 0,
            notices: Vec::new(),
            complaints: Vec::new(),
            asked: Vec::new(),
        }
    }

    /// Takes a package in, and registers it where it can be updated. One of the same type and serial number is replaced.
    pub fn install(&mut self, package: &[u8]) -> Result<(), Refusal> {
        let package = verified(package, &self.root)?;
        let key = Key::of(&package.pass);
        let updatable = package.pass.get("webServiceURL").is_some();
        self.passes.insert(key.clone(), Installed { package, last_modified: None });
        if updatable {
            self.register(&key.pass_type, &key.serial);
        }
        Ok(())
    }

    /// Registers a pass and answers the status: 201 for a new registration, 200 for one that is there.
    pub fn register(&mut self, pass_type: &str, serial: &str) -> u16 {
        let key = Key::new(pass_type, serial);
        let path = self.registration(&key);
        let body = json!({"pushToken": self.token});
        let (status, _) = self.send(&key, &Method::POST, &path, true, Some(&body), HeaderMap::new());
        if status != 201 && status != 200 {
            self.task(&key, "Register", status);
        }
        status
    }

    /// Takes a pass away and answers the status.
    pub fn remove(&mut self, pass_type: &str, serial: &str) -> u16 {
        let key = Key::new(pass_type, serial);
        let path = self.registration(&key);
        let (status, _) = self.send(&key, &Method::DELETE, &path, true, None, HeaderMap::new());
        if status != 200 {
            self.task(&key, "Unregister", status);
        }
        self.passes.remove(&key);
        status
    }

    /// Takes another push token, as phones do now and then, and tells every issuer.
    pub fn renew_token(&mut self, apns: &Apns, pass_types: &[&str]) {
        self.token = apns.device(pass_types);
        self.heard = 0;
        let keys: Vec<Key> = self.passes.keys().cloned().collect();
        for key in keys {
            self.register(&key.pass_type, &key.serial);
        }
    }

    /// Follows the pushes that came since the last time, and answers how many there were.
    pub fn follow(&mut self, apns: &Apns) -> usize {
        let heard = apns.heard(&self.token);
        let new: Vec<String> = heard.into_iter().skip(self.heard).collect();
        self.heard += new.len();
        for pass_type in &new {
            self.update(pass_type);
        }
        new.len()
    }

    /// Waits for a push and follows it; false when none came in time.
    pub fn await_push(&mut self, apns: &Apns, limit: Duration) -> bool {
        let (token, seen) = (self.token.clone(), self.heard);
        let came = apns.wait(limit, |pushes| pushes.iter().filter(|push| push.accepted && push.token == token).count() > seen);
        came && self.follow(apns) > 0
    }

    /// Asks after every pass type, as after a restart.
    pub fn restart(&mut self) {
        let mut types: Vec<String> = self.passes.keys().map(|key| key.pass_type.clone()).collect();
        types.dedup();
        for pass_type in types {
            self.update(&pass_type);
        }
    }

    /// Asks which passes of a type changed, and fetches them.
    pub fn update(&mut self, pass_type: &str) {
        let serials = self.changed(pass_type);
        for serial in serials {
            self.fetch(pass_type, &serial, true);
        }
    }

    /// Asks which passes of a type changed, and takes the new tag.
    pub fn changed(&mut self, pass_type: &str) -> Vec<String> {
        let Some(key) = self.passes.keys().find(|key| key.pass_type == pass_type).cloned() else { return Vec::new() };
        let since = self.tags.get(pass_type).map(|tag| {
            let query: String = url::form_urlencoded::byte_serialize(tag.as_bytes()).collect();
            format!("?passesUpdatedSince={query}")
        });
        let path = format!("/v1/devices/{}/registrations/{}{}", self.library, segment(pass_type), since.unwrap_or_default());
        let (status, answer) = self.send(&key, &Method::GET, &path, false, None, HeaderMap::new());
        let list: Option<Changed> = match (status, &answer) {
            (204, _) => return Vec::new(),
            (200, Some(answer)) if answer.is("application/json") => serde_json::from_slice(&answer.body).ok(),
            _ => None,
        };
        let Some(list) = list else {
            self.task(&key, "Get serial numbers", status);
            return Vec::new();
        };
        if list.serial_numbers.is_empty() {
            self.complain(&key, "Server sent an empty list of serial numbers");
        }
        if self.tags.insert(pass_type.to_owned(), list.last_updated.clone()).is_some_and(|before| before == list.last_updated) {
            self.complain(&key, "Server sent the same lastUpdated for another change");
        }
        list.serial_numbers
    }

    /// Fetches one pass; `listed` when the server said that it changed.
    pub fn fetch(&mut self, pass_type: &str, serial: &str, listed: bool) {
        let key = Key::new(pass_type, serial);
        let Some(installed) = self.passes.get(&key) else {
            return self.complain(&key, &format!("Update requested for unregistered serial number {serial}"));
        };
        let mut headers = HeaderMap::new();
        if let Some(since) = &installed.last_modified {
            headers.insert(IF_MODIFIED_SINCE, since.parse().unwrap());
        }
        let conditional = installed.last_modified.is_some();
        let path = format!("/v1/passes/{}/{}", segment(pass_type), segment(serial));
        let (status, answer) = self.send(&key, &Method::GET, &path, true, None, headers);
        let unchanged = format!("Server requested update to serial number '{serial}', but the pass was unchanged.");
        match (status, answer) {
            (304, _) if listed => self.complain(&key, &unchanged),
            (304, _) => {}
            (200, Some(answer)) => match self.take(&key, &answer) {
                // The first answer to a phone that never asked before may tell it nothing new.
                Ok(another) if another || !conditional => {}
                Ok(_) => {
                    self.complain(&key, "Server ignored the 'if-modified-since' header and returned the full unchanged pass data");
                    if listed {
                        self.complain(&key, &unchanged);
                    }
                }
                Err(problem) => self.complain(&key, &format!("Get pass task (serial number {serial}) encountered error: {problem}")),
            },
            (status, _) => self.task(&key, "Get pass", status),
        }
    }

    /// Puts what was fetched in place of what is there, and answers whether it is another.
    fn take(&mut self, key: &Key, answer: &Answer) -> Result<bool, String> {
        if !answer.is(PACKAGE) {
            return Err(format!("Unexpected content type {:?}", answer.headers.get(CONTENT_TYPE)));
        }
        let modified = answer.headers.get(LAST_MODIFIED).and_then(|value| value.to_str().ok()).map(str::to_owned);
        let modified = modified.filter(|date| httpdate::parse_http_date(date).is_ok());
        let package = verified(&answer.body, &self.root).map_err(|refusal| format!("Invalid data: {refusal}"))?;
        let Some(installed) = self.passes.get_mut(key) else { return Ok(false) };
        for name in ["passTypeIdentifier", "serialNumber", "authenticationToken"] {
            if package.pass.get(name) != installed.package.pass.get(name) {
                return Err(format!("{name} is not what it was"));
            }
        }
        let another = package != installed.package;
        if another {
            let text = wallet::notice(&installed.package, &package);
            self.notices.extend(text.map(|text| Notice { serial: key.serial.clone(), text }));
        }
        *installed = Installed { package, last_modified: modified.clone() };
        if modified.is_none() { Err("Missing Last-Modified".to_owned()) } else { Ok(another) }
    }

    /// What is shown of a pass.
    pub fn pass(&self, pass_type: &str, serial: &str) -> Option<&Package> {
        self.passes.get(&Key::new(pass_type, serial)).map(|installed| &installed.package)
    }

    /// The value of a field of a pass.
    pub fn value(&self, pass_type: &str, serial: &str, field: &str) -> Option<Value> {
        let pass = &self.pass(pass_type, serial)?.pass;
        pass::fields(pass).into_iter().find(|(_, found)| found["key"] == field).map(|(_, field)| field["value"].clone())
    }

    /// Texts on the lock screen, oldest first.
    pub fn notices(&self) -> &[Notice] {
        &self.notices
    }

    /// What it sent to the issuer's log, oldest first.
    pub fn complaints(&self) -> &[String] {
        &self.complaints
    }

    /// Every request it made, oldest first.
    pub fn asked(&self) -> &[Asked] {
        &self.asked
    }

    fn registration(&self, key: &Key) -> String {
        format!("/v1/devices/{}/registrations/{}/{}", self.library, segment(&key.pass_type), segment(&key.serial))
    }

    fn task(&mut self, key: &Key, task: &str, status: u16) {
        let what = match status {
            401 => "Authentication failure".to_owned(),
            0 => "The network connection was lost.".to_owned(),
            other => format!("Unexpected response code {other}"),
        };
        let Key { pass_type, serial } = key;
        self.complain(key, &format!("{task} task (for pass type {pass_type}, serial number {serial}) encountered error: {what}"));
    }

    /// Remembers a complaint and sends it to the issuer's log, whose answer is a matter of its own.
    fn complain(&mut self, key: &Key, what: &str) {
        self.complaints.push(what.to_owned());
        let time = chrono::Local::now().format("%Y-%m-%d %H:%M:%S %z");
        let base = self.base(key).unwrap_or_default();
        let line = format!("[{time}] Web service error for {} ({base}): {what}", key.pass_type);
        let (status, answer) = self.send(key, &Method::POST, "/v1/log", false, Some(&json!({"logs": [line]})), HeaderMap::new());
        if status != 200 || answer.is_some_and(|answer| !answer.body.is_empty()) {
            self.complaints.push(format!("the log answers {status}"));
        }
    }

    fn base(&self, key: &Key) -> Option<String> {
        let of_type = self.passes.iter().find(|(other, _)| *other == key || other.pass_type == key.pass_type);
        Some(of_type?.1.package.pass["webServiceURL"].as_str()?.trim_end_matches('/').to_owned())
    }

    /// Sends a request, again when the server fails; status 0 when it was not answered.
    fn send(
        &mut self,
        key: &Key,
        method: &Method,
        path: &str,
        authorized: bool,
        body: Option<&Value>,
        mut headers: HeaderMap,
    ) -> (u16, Option<Answer>) {
        let Some(base) = self.base(key) else { return (0, None) };
        if authorized {
            let token = self.passes.get(key).and_then(|installed| installed.package.pass["authenticationToken"].as_str()).unwrap_or("");
            headers.insert(AUTHORIZATION, format!("ApplePass {token}").parse().unwrap());
        }
        let mut last = (0, None);
        for wait in WAITS {
            let mut request = self.client.request(method.clone(), format!("{base}{path}")).headers(headers.clone());
            if let Some(body) = body {
                request = request.json(body);
            }
            let answer = self.runtime.block_on(async { Answer::read(request.send().await?).await });
            last = answer.map_or((0, None), |answer| (answer.status, Some(answer)));
            self.asked.push(Asked { method: method.to_string(), path: path.to_owned(), status: last.0 });
            if last.0 != 0 && last.0 < 500 {
                break;
            }
            std::thread::sleep(wait);
        }
        last
    }
}

struct Answer {
    status: u16,
    headers: HeaderMap,
    body: Vec<u8>,
}

impl Answer {
    async fn read(response: Response) -> reqwest::Result<Answer> {
        let (status, headers) = (response.status().as_u16(), response.headers().clone());
        Ok(Answer { status, headers, body: response.bytes().await?.to_vec() })
    }

    fn is(&self, media_type: &str) -> bool {
        let given = self.headers.get(CONTENT_TYPE).and_then(|value| value.to_str().ok()).unwrap_or("");
        given.split(';').next().is_some_and(|given| given.trim().eq_ignore_ascii_case(media_type))
    }
}

/// One segment of a path, percent-encoded (RFC 3986 section 3.3).
fn segment(text: &str) -> String {
    let keep = |byte: u8| byte.is_ascii_alphanumeric() || b"-._~".contains(&byte);
    let encoded = |byte: u8| if keep(byte) { char::from(byte).to_string() } else { format!("%{byte:02X}") };
    text.bytes().map(encoded).collect()
}
