//! From a row to the lock screen: a phone that was built from the contract alone takes passes, is pushed, asks, and complains of nothing
//! (contract, section 13).

use std::net::TcpListener;
use std::time::Duration;

use passferry::sandbox::apple::Apns;
use serde_json::json;

use super::apple::{check, plan};
use crate::rig::apple::{AUTHORITY, PASS_TYPE, apns};
use crate::rig::harbour::{Harbour, Process, wait_until};
use crate::rig::phone::Phone;

const LONG: Duration = Duration::from_mins(1);

struct Host {
    harbour: Harbour,
    daemon: Option<Process>,
    apns: Apns,
    port: u16,
}

impl Host {
    /// Serves and pushes; passes `C-1` and `C-2` are issued.
    fn start() -> Host {
        let apns = apns();
        let port = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
        let plan = plan(&apns.base_url()).platform("listen", &format!("\"127.0.0.1:{port}\""));
        let harbour = plan.platform("public_url", &format!("\"http://127.0.0.1:{port}/apple\"")).start();
        let mut host = Host { harbour, daemon: None, apns, port };
        host.run();
        host.deliver("0.csv", "C-1,10,Base\nC-2,20,Base\n");
        host
    }

    fn run(&mut self) {
        self.daemon = Some(self.harbour.start(&["run"]));
        wait_until("phones are served", || std::net::TcpStream::connect(("127.0.0.1", self.port)).is_ok());
    }

    fn deliver(&self, name: &str, rows: &str) {
        self.harbour.deliver(name, format!("id,points,tier\n{rows}"));
        wait_until("the file is done with", || self.harbour.runs().iter().any(|run| run.name == name && run.state.is_over()));
    }

    /// A phone with these passes, each given to it as a file.
    fn phone(&self, library: &str, serials: &[&str]) -> Phone {
        let mut phone = Phone::new(library, &AUTHORITY.certificates.root.certificate, &self.apns, &[PASS_TYPE]);
        for serial in serials {
            let file = self.harbour.home.path().join(format!("{library}-{serial}.pkpass"));
            self.harbour.run(&["package", serial, "--out", file.to_str().unwrap()]).exits(0);
            phone.install(&std::fs::read(file).unwrap()).unwrap();
        }
        phone
    }

    #[track_caller]
    fn follows(&self, phone: &mut Phone) {
        assert!(phone.await_push(&self.apns, LONG), "no push came\n{}", self.harbour.said());
    }

    #[track_caller]
    fn end(mut self, phones: &[&Phone]) {
        for phone in phones {
            assert_eq!(phone.complaints(), Vec::<String>::new());
        }
        assert_eq!(self.daemon.take().unwrap().terminate(), 0, "{}", self.harbour.said());
        check(&self.harbour);
    }
}

fn texts(phone: &Phone) -> Vec<&str> {
    phone.notices().iter().map(|notice| notice.text.as_str()).collect()
}

#[test]
fn a_row_reaches_the_lock_screen() {
    let host = Host::start();
    let mut phone = host.phone("phone", &["C-1", "C-2"]);
    assert_eq!(phone.register(PASS_TYPE, "C-1"), 200, "it is registered already");
    host.deliver("1.csv", "C-1,12,Base\nC-2,20,Base\n");
    host.follows(&mut phone);
    assert_eq!(texts(&phone), ["Your balance is now 12 points."]);
    host.deliver("2.csv", "C-1,12,Gold\nC-2,20,Base\n");
    host.follows(&mut phone);
    assert_eq!(texts(&phone)[1..], ["You are now Gold."]);
    assert_eq!(phone.value(PASS_TYPE, "C-2", "points"), Some(json!(20)));
    // The phone's own idea of when to ask: nothing changed, nothing is listed.
    phone.restart();
    assert_eq!(phone.asked().last().unwrap().status, 204);
    // A file that says what is there already reaches nobody.
    let before = host.apns.pushes().len();
    host.deliver("3.csv", "C-1,12,Gold\nC-2,20,Base\n\n");
    std::thread::sleep(Duration::from_millis(300));
    assert_eq!(host.apns.pushes().len(), before);
    assert_eq!(phone.remove(PASS_TYPE, "C-1"), 200);
    host.deliver("4.csv", "C-1,99,Gold\nC-2,20,Base\n");
    std::thread::sleep(Duration::from_millis(300));
    assert_eq!(host.apns.pushes().len(), before, "who gave the pass away is not told");
    host.end(&[&phone]);
}

#[test]
fn two_phones_of_one_pass_and_one_with_many_are_told_alike() {
    let host = Host::start();
    let (mut one, mut two) = (host.phone("one", &["C-1"]), host.phone("two", &["C-1", "C-2"]));
    host.deliver("1.csv", "C-1,11,Base\nC-2,21,Base\n");
    host.follows(&mut one);
    host.follows(&mut two);
    wait_until("both passes are there", || {
        two.follow(&host.apns);
        two.value(PASS_TYPE, "C-2", "points") == Some(json!(21))
    });
    assert_eq!(texts(&one), ["Your balance is now 11 points."]);
    assert_eq!((one.value(PASS_TYPE, "C-1", "points"), two.value(PASS_TYPE, "C-1", "points")), (Some(json!(11)), Some(json!(11))));
    // Another token: the old one hears no more.
    let old = one.token.clone();
    one.renew_token(&host.apns, &[PASS_TYPE]);
    let heard = host.apns.heard(&old).len();
    host.deliver("2.csv", "C-1,12,Base\nC-2,21,Base\n");
    host.follows(&mut one);
    assert_eq!((one.value(PASS_TYPE, "C-1", "points"), host.apns.heard(&old).len()), (Some(json!(12)), heard));
    host.end(&[&one, &two]);
}

/// Updates while Apple is away: the next list call, or a later push, brings them.
#[test]
fn what_no_push_told_of_is_there_when_the_phone_asks() {
    let mut host = Host::start();
    let mut phone = host.phone("phone", &["C-1"]);
    host.apns.set_down(true);
    assert_eq!(host.daemon.take().unwrap().terminate(), 0);
    host.run();
    for points in 11..14 {
        host.deliver(&format!("{points}.csv"), &format!("C-1,{points},Base\nC-2,20,Base\n"));
    }
    phone.restart();
    assert_eq!((phone.value(PASS_TYPE, "C-1", "points"), texts(&phone)), (Some(json!(13)), vec!["Your balance is now 13 points."]));
    host.deliver("14.csv", "C-1,14,Base\nC-2,20,Base\n");
    host.apns.set_down(false);
    host.follows(&mut phone);
    assert_eq!(phone.value(PASS_TYPE, "C-1", "points"), Some(json!(14)));
    host.end(&[&phone]);
}
