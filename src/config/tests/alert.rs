//! Ways out for alerts: defaults, and faults with their cure.

use std::time::Duration;

use super::*;
use crate::config::meant::alert::{MailTls, Out, Tell, Way};

/// The configuration of these tests with one way out.
fn with(section: &str) -> Result<Way, String> {
    match load_good(|text| format!("{text}[alert.a]\n{section}\n")) {
        Ok(config) => Ok(Way::clone(&config.alerts["a"])),
        Err(faults) => Err(faults.to_string()),
    }
}

const MAIL: &str = "kind = \"mail\"\nhost = \"smtp.example.com\"\nfrom = \"a@example.com\"\nto = \"b@example.com\"";
const WEBHOOK: &str = "kind = \"webhook\"\nurl = \"https://example.com/h\"\nsecret = { env = \"S\" }";

#[test]
fn a_way_out_gets_every_default() {
    let way = with(MAIL).unwrap();
    assert_eq!((way.tell.len(), way.per_hour, way.remind), (Tell::ALL.len(), 20, Some(Duration::from_hours(24))));
    assert_eq!((way.unreachable_after, way.rejected_above, way.digest), (Duration::from_mins(15), None, None));
    let port = |more: &str| match with(&format!("{MAIL}\n{more}")).unwrap().out {
        Out::Mail(mail) => (mail.port, mail.tls),
        _ => panic!("another kind"),
    };
    assert_eq!(port(""), (587, MailTls::Start));
    assert_eq!(port("tls = \"tls\""), (465, MailTls::Whole));
    assert_eq!(port("tls = \"none\""), (25, MailTls::Never));
    assert_eq!(with(&format!("{MAIL}\nremind = \"0s\"")).unwrap().remind, None);
    assert!(load_good(str::to_owned).unwrap().alerts.is_empty(), "none is needed");
}

#[test]
fn faults_say_what_to_write() {
    for (section, says) in [
        ("tell = [\"held\"]", "a.kind  is missing"),
        ("kind = \"webhok\"", "did you mean \"webhook\"?"),
        ("kind = \"webhook\"\nurl = \"https://example.com\"", "a.secret  is missing"),
        ("kind = \"webhook\"\nurl = \"http://example.com\"\nsecret = { env = \"S\" }", "in clear"),
        ("kind = \"webhook\"\nurl = \"https://example.com/?code=1\"\nsecret = { env = \"S\" }", "keep it apart"),
        ("kind = \"slack\"\nurl = \"https://hooks.example.com/T0/B0\"", "is a secret"),
        (&format!("{WEBHOOK}\nhost = \"x\""), "is a key of alerts of kind \"mail\""),
        (&format!("{WEBHOOK}\ntell = [\"hold\"]"), "did you mean \"held\"?"),
        (&format!("{WEBHOOK}\ntell = []"), "is empty"),
        (&format!("{WEBHOOK}\nper_hour = 1"), "at least 2"),
        (&format!("{WEBHOOK}\nrejected_above = \"5\""), "write \"5%\""),
        (&format!("{WEBHOOK}\ndigest = {{ at = \"08:00\" }}"), "is not a time of five fields"),
        (&format!("{WEBHOOK}\ndigest = {{ at = \"0 8 * * *\", timezone = \"Europe/Pari\" }}"), "Europe/Paris"),
        (&format!("{WEBHOOK}\npage = \"ferry\""), "is not the address of a page"),
        (&format!("{MAIL}\nuser = \"u\""), "needs a password"),
        (&format!("{MAIL}\npassword = {{ env = \"P\" }}"), "belongs to a user"),
        (&format!("{MAIL}\ntls = \"none\"\nuser = \"u\"\npassword = {{ env = \"P\" }}"), "in clear"),
        (&MAIL.replace("b@example.com", "b@example.com\\r\\nBcc: c@d.e"), "is not a mail address"),
        (&MAIL.replace("\"b@example.com\"", "[]"), "is an empty list"),
    ] {
        let told = with(section).err().unwrap_or_else(|| panic!("accepted: {section}"));
        assert!(told.contains(says), "{section}: {told}");
    }
}

#[test]
fn a_secret_where_its_place_should_be_is_not_shown() {
    for section in [
        "kind = \"slack\"\nurl = \"https://hooks.example.com/hunter2\"",
        "kind = \"webhook\"\nurl = \"https://example.com/?code=hunter2\"\nsecret = { env = \"S\" }",
        "kind = \"webhook\"\nurl = \"https://example.com/\"\nsecret = \"hunter2\"",
        "kind = \"mail\"\npassword = \"hunter2\"",
    ] {
        let told = with(section).unwrap_err();
        assert!(!told.contains("hunter2"), "{told}");
    }
}

#[test]
fn a_collector_elsewhere_gets_secret_headers_by_tls_alone() {
    let faults = |endpoint: &str, headers: &str| {
        let loaded = load_good(|text| format!("{text}[traces]\nendpoint = \"{endpoint}\"\n{headers}\n"));
        loaded.err().map_or_else(String::new, |faults| faults.to_string())
    };
    let key = "headers = { \"x-api-key\" = { env = \"OTLP_KEY\" } }";
    let told = faults("http://collector.example.com:4318", key);
    assert!(told.contains("traces.endpoint") && told.contains("write https://"), "{told}");
    for (endpoint, headers) in [
        ("https://collector.example.com:4318", key),
        ("http://127.0.0.1:4318", key),
        ("http://localhost:4318", key),
        ("http://collector.example.com:4318", ""),
    ] {
        assert_eq!(faults(endpoint, headers), "", "{endpoint}");
    }
}
