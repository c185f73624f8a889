//! E-mail, by a real server, read by another library.

use super::{BAD, start, telling};
use crate::rig::harbour::{wait_until, write_private};
use crate::rig::mail::{MailServer, PASSWORD, USER};
use crate::rig::promises::check_promises;

fn section(server: &MailServer, more: &str) -> String {
    format!(
        "[alert.office]\nkind = \"mail\"\nhost = \"127.0.0.1\"\nuser = \"{USER}\"\npassword = {{ file = \"mail\" }}\nca_file = {:?}\n\
         from = \"Fähre <ferry@example.com>\"\nprefix = \"passferry tést\"\n{more}\n",
        server.certificate().display().to_string(),
    )
}

#[test]
fn mail_goes_out_by_starttls_with_a_login_and_no_name_of_a_file_makes_a_header() {
    let server = MailServer::start();
    let more = format!("port = {}\nto = [\"ann@example.com\", \"gone@example.com\", \"Bob <bob@example.com>\"]", server.port);
    let harbour = start(telling(&section(&server, &more)));
    write_private(&harbour.home.path().join("mail"), PASSWORD);
    harbour.run(&["check", "--reach"]).exits(0);
    assert!(server.taken().is_empty(), "nothing is sent by looking");
    // A name with a control character is no delivery; what else may stand in one is told as it is, or shown for what it is.
    let name = "ä Bcc: victim@example.com =?utf-8?q?x?= \u{202e}.csv";
    harbour.deliver(name, BAD);
    server.be_busy();
    // Refused for one of three, and put off for another of them.
    let daemon = harbour.start(&["run"]);
    wait_until("two of three have it", || server.taken().len() >= 2);
    assert!(!server.is_busy(), "it was put off");
    wait_until("no more is to be sent", || harbour.ledger().letters_waiting(None).unwrap().is_empty());
    assert_eq!(daemon.terminate(), 0);
    let taken = server.taken();
    let told: Vec<_> = taken.iter().map(|mail| mail["to"][0].as_str().unwrap()).collect();
    assert_eq!(told, ["bob@example.com", "ann@example.com"], "{}", harbour.said());
    for mail in &taken {
        assert_eq!((&mail["tls"], &mail["user"]), (&true.into(), &USER.into()));
        let headers = mail["headers"].as_object().unwrap();
        assert!(!headers.keys().any(|name| name.eq_ignore_ascii_case("bcc")), "{headers:#?}");
        assert!(headers.values().all(|values| values.as_array().unwrap().len() == 1), "each once: {headers:#?}");
        assert_eq!(headers["Auto-Submitted"][0], "auto-generated");
        assert_eq!(headers["Message-ID"], taken[0]["headers"]["Message-ID"], "the same at each try and for each reader");
        let subject = mail["subject"].as_str().unwrap();
        assert!(subject.starts_with("[passferry tést] ä Bcc: victim@example.com = ?utf-8?q?x?= "), "{subject}");
        assert!(subject.contains("\\u{202e}.csv failed: "), "{subject}");
        assert!(mail["body"].as_str().unwrap().contains("passferry show "), "{mail:#}");
        assert_eq!(mail["defects"], serde_json::json!([]));
    }
    assert!(!harbour.said().contains(PASSWORD));
    check_promises(&harbour);
}

#[test]
fn a_mail_server_is_believed_with_its_certificate_and_takes_the_right_password_alone() {
    let server = MailServer::start();
    let more = format!("port = {}\ntls = \"tls\"\nto = \"ann@example.com\"", server.tls_port);
    let harbour = start(telling(&section(&server, &more)));
    let password = harbour.home.path().join("mail");
    write_private(&password, PASSWORD);
    harbour.run(&["alert", "--test", "office"]).exits(0);
    assert_eq!(server.taken()[0]["subject"], "[passferry tést] this is a test");
    write_private(&password, "planted-wrong-password-7Gh1");
    harbour.run(&["check", "--reach"]).exits(69);
    harbour.run(&["alert", "--test", "office"]).exits(69).says("535");
    write_private(&password, PASSWORD);
    harbour.change_config(|text| text.lines().filter(|line| !line.starts_with("ca_file")).collect::<Vec<_>>().join("\n"));
    harbour.run(&["alert", "--test", "office"]).exits(69).says("certificate");
    assert_eq!(server.taken().len(), 1);
    harbour.change_config(|text| text[..text.find("[alert.office]").unwrap()].to_owned());
    harbour.once().exits(0);
    assert!(!harbour.said().contains("planted-wrong") && !harbour.said().contains(PASSWORD));
    check_promises(&harbour);
}

/// A server that is asked too often with a wrong password locks the account.
#[test]
fn a_wrong_password_is_one_login_a_try_however_many_are_told() {
    let server = MailServer::start();
    let more = format!("port = {}\nto = [\"ann@example.com\", \"bob@example.com\", \"eve@example.com\"]", server.port);
    let harbour = start(telling(&section(&server, &more)));
    let password = harbour.home.path().join("mail");
    write_private(&password, "planted-wrong-password-7Gh1");
    harbour.run(&["check", "--reach"]).exits(69);
    let once = server.logins();
    assert!(once > 0);
    harbour.deliver("bad.csv", BAD);
    harbour.once().exits(65).says("535");
    assert_eq!(server.logins(), 2 * once, "as many for three readers as for a look");
    write_private(&password, PASSWORD);
    harbour.once().exits(0);
    let told: Vec<usize> = server.taken().iter().map(|mail| mail["to"].as_array().unwrap().len()).collect();
    assert_eq!(told, [3], "{}", harbour.said());
    check_promises(&harbour);
}
