//! From a row to the lock screen: the real binary hosts passes, and the simulated phone and the push service judge it
//! (contracts/apple-wallet.md section 13).

use std::net::TcpListener;
use std::time::Duration;

use openssl::pkey::PKey;
use openssl::x509::X509;
use passferry::sandbox::apple::{Apns, By, Certificates, Fate, Pair, Settings};
use serde_json::json;

use super::apple::{check, plan};
use crate::rig::apple::{AUTHORITY, PASS_TYPE, TEAM};
use crate::rig::harbour::{Harbour, Process, wait_until};
use crate::rig::phone::Phone;

const LIMIT: Duration = Duration::from_mins(1);

fn certificates() -> Certificates {
    let read = |name: &str| std::fs::read(AUTHORITY.path(name)).unwrap();
    let key = |name: &str| PKey::private_key_from_pem(&read(name)).unwrap();
    let pair = |name: &str| Pair { certificate: X509::from_pem(&read(&format!("{name}.pem"))).unwrap(), key: key(&format!("{name}.key")) };
    Certificates { root: pair("root"), wwdr: pair("wwdr"), server: pair("server"), token_key: key("push.p8") }
}

/// A daemon that hosts passes, the service it pushes to, and phones.
struct Stage {
    apns: Apns,
    harbour: Harbour,
    daemon: Process,
    root: X509,
    address: String,
}

impl Stage {
    fn start() -> Stage {
        let certificates = certificates();
        let settings = Settings { topics: vec![PASS_TYPE.to_owned()], team: TEAM.to_owned(), ..Settings::default() };
        let apns = Apns::start(settings, &certificates).unwrap();
        let port = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
        let plan = plan(&format!("https://{}", apns.address())).platform("listen", &format!("\"127.0.0.1:{port}\""));
        let harbour = plan.start();
        let daemon = harbour.start(&["run"]);
        wait_until("phones are served", || std::net::TcpStream::connect(("127.0.0.1", port)).is_ok());
        Stage { apns, harbour, daemon, root: certificates.root.certificate, address: format!("http://127.0.0.1:{port}") }
    }

    fn deliver(&self, name: &str, rows: &str) {
        self.harbour.deliver(name, format!("id,points,tier\n{rows}"));
        let over = || self.harbour.runs().iter().any(|run| run.name == name && run.state.is_over());
        wait_until("the file is done with", over);
    }

    /// A phone with these passes, as their holder got them, up to date.
    fn phone(&self, library: &str, serials: &[&str]) -> Phone {
        let phone = Phone::new(library, &self.root, &self.apns, &[PASS_TYPE]);
        let mut phone = phone.route("https://passes.example.com/apple", &self.address);
        for serial in serials {
            let to = self.harbour.home.path().join(format!("{library}-{serial}.pkpass"));
            self.harbour.run(&["package", serial, "--platform", "cards", "--out", to.to_str().unwrap()]).exits(0);
            phone.install(&std::fs::read(to).unwrap()).unwrap_or_else(|refusal| panic!("{refusal}"));
        }
        phone.update(PASS_TYPE);
        assert_eq!(phone.complaints(), &[] as &[String]);
        phone
    }

    #[track_caller]
    fn end(self, phones: &[Phone]) {
        for phone in phones {
            assert_eq!(phone.complaints(), &[] as &[String], "{:?}", phone.asked());
        }
        assert_eq!(self.daemon.terminate(), 0, "{}", self.harbour.said());
        check(&self.harbour);
    }
}

#[test]
fn a_row_reaches_the_lock_screen_of_every_phone_with_the_pass() {
    let stage = Stage::start();
    stage.deliver("1.csv", "C-1,10,Gold\nC-2,20,Gold\n");
    let mut one = stage.phone("one", &["C-1", "C-2"]);
    let mut two = stage.phone("two", &["C-1"]);
    stage.deliver("2.csv", "C-1,11,Gold\nC-2,20,Gold\n");
    for phone in [&mut one, &mut two] {
        assert!(phone.await_push(&stage.apns, LIMIT), "{}", stage.harbour.said());
        assert_eq!(phone.value(PASS_TYPE, "C-1", "points"), Some(json!(11)));
        assert_eq!(phone.notices().len(), 1, "{:?}", phone.notices());
        assert!(phone.notices()[0].text.contains("11"), "{:?}", phone.notices());
    }
    stage.deliver("3.csv", "C-1,12,Gold\nC-2,21,Gold\n");
    assert!(one.await_push(&stage.apns, LIMIT));
    assert_eq!((one.value(PASS_TYPE, "C-2", "points"), one.notices().len()), (Some(json!(21)), 3));
    let pushes = stage.apns.pushes();
    assert!(pushes.iter().all(|push| push.by == By::Certificate && push.status == Some(200) && push.topic == PASS_TYPE), "{pushes:?}");
    assert_eq!(stage.apns.heard(&one.token).len(), 2, "one push for two passes");
    stage.end(&[one, two]);
}

#[test]
fn a_push_that_fails_is_repeated_and_a_device_that_is_gone_is_not() {
    let stage = Stage::start();
    stage.deliver("1.csv", "C-1,0,Gold\n");
    let mut phone = stage.phone("one", &["C-1"]);
    let gone = stage.phone("two", &["C-1"]);
    stage.apns.script(&gone.token, Fate::Unregistered { timestamp: chrono::Utc::now().timestamp_millis() + 60_000 });
    let fates = [Fate::InternalServerError, Fate::Shutdown, Fate::DropBefore];
    for (fate, points) in fates.into_iter().zip(1..) {
        stage.apns.script_next(&phone.token, 1, fate.clone());
        stage.deliver(&format!("{}.csv", points + 1), &format!("C-1,{points},Gold\n"));
        assert!(phone.await_push(&stage.apns, LIMIT), "{fate:?}: {}", stage.harbour.said());
        assert_eq!(phone.value(PASS_TYPE, "C-1", "points"), Some(json!(points)), "{fate:?}");
    }
    let to_gone = stage.apns.pushes().iter().filter(|push| push.token == gone.token).count();
    assert_eq!(to_gone, 1, "a registration that is gone is pushed no more");
    stage.end(&[phone]);
}
