//! The web service that phones ask, as it runs in the daemon (contract, section 6).

use std::collections::BTreeSet;
use std::net::TcpListener;

use passferry::sandbox::apple::Apns;
use serde_json::{Value, json};

use super::apple::{check, package, plan, store};
use crate::rig::apple::{Answered, PASS_TYPE, apns, ask, open, token};
use crate::rig::harbour::{Harbour, Process, wait_until};

/// A daemon that serves phones.
struct Served {
    harbour: Harbour,
    port: u16,
    daemon: Option<Process>,
    /// Takes what the daemon pushes.
    _apns: Apns,
}

impl Served {
    fn start() -> Served {
        let apns = apns();
        let port = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
        let harbour = plan(&apns.base_url()).platform("listen", &format!("\"127.0.0.1:{port}\"")).start();
        let daemon = harbour.start(&["run"]);
        wait_until("phones are served", || std::net::TcpStream::connect(("127.0.0.1", port)).is_ok());
        Served { harbour, port, daemon: Some(daemon), _apns: apns }
    }

    /// Delivers and waits until every row has its outcome.
    fn deliver(&self, name: &str, rows: &str) {
        self.harbour.deliver(name, format!("id,points,tier\n{rows}"));
        let over = || self.harbour.runs().iter().any(|run| run.name == name && run.state.is_over());
        wait_until("the file is done with", over);
    }

    fn token(&self, serial: &str) -> String {
        store(&self.harbour).read(|work| work.pass(serial)).unwrap().unwrap().token
    }

    fn call(&self, method: &str, path: &str, token: &str, body: &str) -> Answered {
        let authorization = format!("ApplePass {token}");
        let headers: &[(&str, &str)] = if token.is_empty() { &[] } else { &[("Authorization", &authorization)] };
        ask(self.port, method, path, headers, body)
    }

    fn register(&self, device: &str, serial: &str, front: &str) -> u16 {
        let path = format!("/v1/devices/{device}/registrations/{PASS_TYPE}/{serial}");
        self.call("POST", &path, &self.token(serial), &json!({ "pushToken": token(front) }).to_string()).status
    }

    /// What changed for a device; the tag to go on with.
    fn list(&self, device: &str, since: &str) -> (Vec<String>, String) {
        let answer = self.call("GET", &format!("/v1/devices/{device}/registrations/{PASS_TYPE}{since}"), "", "");
        if answer.status == 204 {
            assert_eq!(answer.body, b"");
            return (Vec::new(), String::new());
        }
        assert_eq!((answer.status, answer.header("content-type")), (200, "application/json"));
        let body = answer.json();
        let serials = body["serialNumbers"].as_array().unwrap().iter().map(|serial| serial.as_str().unwrap().to_owned()).collect();
        (serials, body["lastUpdated"].as_str().unwrap().to_owned())
    }

    fn download(&self, serial: &str, since: &str) -> Answered {
        let authorization = format!("ApplePass {}", self.token(serial));
        let mut headers = vec![("Authorization", authorization.as_str())];
        if !since.is_empty() {
            headers.push(("If-Modified-Since", since));
        }
        ask(self.port, "GET", &format!("/v1/passes/{PASS_TYPE}/{serial}"), &headers, "")
    }

    #[track_caller]
    fn end(mut self) {
        assert_eq!(self.daemon.take().unwrap().terminate(), 0, "{}", self.harbour.said());
        check(&self.harbour);
    }
}

#[test]
fn a_phone_registers_lists_downloads_and_leaves() {
    let served = Served::start();
    served.deliver("1.csv", "C-1,10,Gold\nC+é%1,20,Gold\n");
    assert_eq!((served.register("phone", "C-1", "aa11"), served.register("phone", "C-1", "aa11")), (201, 200));
    let (serials, tag) = served.list("phone", "");
    assert_eq!(serials, ["C-1"]);
    assert_eq!(served.list("phone", &format!("?passesUpdatedSince={tag}")).0, Vec::<String>::new());
    assert_eq!(served.list("phone", "?passesUpdatedSince=garbage").0, ["C-1"], "what is unreadable is absent");
    assert_eq!(served.list("nobody", "").0, Vec::<String>::new());

    let got = served.download("C-1", "");
    assert_eq!((got.status, got.header("content-type")), (200, "application/vnd.apple.pkpass"));
    assert_eq!(open(&got.body).field("points"), &json!(10));
    let modified = got.header("last-modified").to_owned();
    assert_eq!(served.download("C-1", &modified).status, 304);
    let head = served.call("HEAD", &format!("/v1/passes/{PASS_TYPE}/C-1"), &served.token("C-1"), "");
    assert_eq!((head.status, head.header("last-modified"), head.body.len()), (200, &*modified, 0));

    // Behind a proxy that leaves the path of the public address, and with a serial number that must be encoded.
    let path = format!("/apple/v1/passes/{PASS_TYPE}/C%2B%C3%A9%251");
    let other = served.call("GET", &path, &served.token("C+é%1"), "");
    assert_eq!(open(&other.body).pass["serialNumber"], "C+é%1");

    let gone = |served: &Served| {
        served.call("DELETE", &format!("/v1/devices/phone/registrations/{PASS_TYPE}/C-1"), &served.token("C-1"), "").status
    };
    assert_eq!((gone(&served), gone(&served)), (200, 200));
    assert_eq!(served.list("phone", "").0, Vec::<String>::new());
    served.end();
}

#[test]
fn who_does_not_hold_the_pass_learns_nothing() {
    let served = Served::start();
    served.deliver("1.csv", "C-1,10,Gold\nC-2,20,Gold\n");
    let (right, other) = (served.token("C-1"), served.token("C-2"));
    let body = r#"{"pushToken":"aa11"}"#;
    for token in ["", "wrong", &other, &right[1..]] {
        for (method, path) in [
            ("POST", format!("/v1/devices/phone/registrations/{PASS_TYPE}/C-1")),
            ("DELETE", format!("/v1/devices/phone/registrations/{PASS_TYPE}/C-1")),
            ("GET", format!("/v1/passes/{PASS_TYPE}/C-1")),
        ] {
            let answer = served.call(method, &path, token, body);
            assert_eq!((answer.status, answer.body.len()), (401, 0), "{method} {path} {token:?}");
        }
    }
    for path in [format!("/v1/passes/{PASS_TYPE}/nobody"), "/v1/passes/pass.com.example.other/C-1".to_owned()] {
        assert_eq!(served.call("GET", &path, &right, "").status, 401, "{path}");
    }
    let register =
        |device: &str, body: &str| served.call("POST", &format!("/v1/devices/{device}/registrations/{PASS_TYPE}/C-1"), &right, body).status;
    for body in ["", "{}", r#"{"pushToken":""}"#, r#"{"pushToken":"../../x"}"#, r#"{"pushToken":7}"#] {
        assert_eq!(register("phone", body), 400, "{body}");
    }
    assert_eq!(register(&"d".repeat(300), body), 400);
    assert_eq!(register("phone", &format!("{{\"pushToken\":\"{}\"}}", "a".repeat(70_000))), 413);
    assert_eq!(store(&served.harbour).read(|work| work.devices_of("C-1")).unwrap(), 0);
    served.end();
}

/// Anybody can write to the log: nothing of what they write is in ours.
#[test]
fn complaints_of_phones_are_told_by_their_kind_and_not_without_end() {
    let served = Served::start();
    let text = format!(
        "[x] Web service error for {PASS_TYPE}: Server requested update to serial number 'planted-3Kx', but the pass was unchanged."
    );
    let body = json!({ "logs": vec![text; 500] }).to_string();
    for body in [&body, "{", "[]", r#"{"logs":[7,{}]}"#] {
        let answer = served.call("POST", "/v1/log", "", body);
        assert_eq!((answer.status, answer.body.len()), (200, 0), "{}", body.len());
    }
    let few = json!({ "logs": vec!["serial number 'planted-3Kx', but the pass was unchanged."; 15] }).to_string();
    for _ in 0..20 {
        assert_eq!(served.call("POST", "/v1/log", "", &few).status, 200);
    }
    let said = served.harbour.said();
    let lines = said.matches("a phone complains").count();
    assert!((1..=30).contains(&lines) && said.contains("had not changed") && !said.contains("planted"), "{lines} lines\n{said}");
    served.end();
}

/// Contract 6.3, 6.4: tags rise with every change, and dates by a second.
#[test]
fn two_changes_of_one_second_both_arrive() {
    let served = Served::start();
    served.deliver("1.csv", "C-1,1,Gold\nC-2,1,Gold\n");
    served.register("phone", "C-1", "aa11");
    served.register("phone", "C-2", "aa11");
    let (mut tag, mut modified) = (served.list("phone", "").1, String::new());
    let mut dates = BTreeSet::new();
    for points in 2..7 {
        // The change is made while the phone is between its list call and its download.
        served.deliver(&format!("{points}.csv"), &format!("C-1,{points},Gold\nC-2,1,Gold\n"));
        let (serials, next) = served.list("phone", &format!("?passesUpdatedSince={tag}"));
        assert_eq!(serials, ["C-1"], "an unchanged pass is never listed");
        assert!(next.parse::<u64>().unwrap() > tag.parse::<u64>().unwrap());
        let got = served.download("C-1", &modified);
        assert_eq!(got.status, 200, "since {modified}: it changed");
        assert_eq!(open(&got.body).field("points"), &json!(points));
        modified = got.header("last-modified").to_owned();
        assert!(dates.insert(httpdate::parse_http_date(&modified).unwrap()), "{modified} twice");
        tag = next;
    }
    // What is committed between list and download is listed the next time.
    let (_, listed) = served.list("phone", "");
    served.deliver("8.csv", "C-1,8,Gold\nC-2,2,Gold\n");
    assert_eq!(open(&served.download("C-1", "").body).field("points"), &json!(8));
    let again: BTreeSet<String> = served.list("phone", &format!("?passesUpdatedSince={listed}")).0.into_iter().collect();
    assert_eq!(again, BTreeSet::from(["C-1".to_owned(), "C-2".to_owned()]));
    served.end();
}

#[test]
fn rows_that_change_nothing_move_no_tag() {
    let served = Served::start();
    served.deliver("1.csv", "C-1,1,Gold\n");
    served.register("phone", "C-1", "aa11");
    let (_, tag) = served.list("phone", "");
    let Served { harbour, daemon, _apns, .. } = served;
    assert_eq!(daemon.unwrap().terminate(), 0);
    harbour.deliver("2.csv", "id,points,tier\nC-1,1,Gold\n\n");
    harbour.run(&["once", "--force"]).exits(0);
    assert_eq!(harbour.report("2")["rows"], json!({ "applied": 1 }));
    let pass = store(&harbour).read(|work| work.pass("C-1")).unwrap().unwrap();
    assert_eq!(pass.tag.to_string(), tag);
    check(&harbour);
}

/// A changed configuration is taken up; an address that is in use is told, and ends nothing that runs.
#[test]
fn the_service_follows_the_configuration() {
    let served = Served::start();
    served.deliver("1.csv", "C-1,1,Gold\n");
    let port = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
    served.harbour.change_config(|text| text.replace(&format!(":{}\"", served.port), &format!(":{port}\"")));
    let id = served.daemon.as_ref().unwrap().id().to_string();
    assert!(std::process::Command::new("kill").args(["-HUP", &id]).status().unwrap().success());
    wait_until("phones are served at the new address", || std::net::TcpStream::connect(("127.0.0.1", port)).is_ok());
    wait_until("and not at the old one", || std::net::TcpStream::connect(("127.0.0.1", served.port)).is_err());
    assert_eq!(package(&served.harbour, "C-1").field("points"), &Value::from(1));
    served.end();
}
