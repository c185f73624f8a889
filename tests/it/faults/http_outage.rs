//! Table 4.4 of the failure model: what befalls the whole account. Nothing of it rejects a row.

use std::time::{Duration, Instant};

use passferry::ledger::State;
use passferry::sandbox::{Faults, Latency, Outage, Rule, Sandbox, Settings, Trouble};
use serde_json::json;

use super::delivery::snapshot;
use crate::rig::harbour::{Harbour, harbour, wait_until};
use crate::rig::promises::check_promises;

/// A sweep that gives up at once, tells why, and leaves the file for the next.
#[track_caller]
fn gives_up(harbour: &Harbour, reason: &str) {
    harbour.run(&["once", "--patience", "300ms"]).exits(75).says(reason);
    assert!(harbour.runs().iter().all(|run| !run.state.is_over()));
}

#[track_caller]
fn ends_applied(harbour: &Harbour, rows: u32) {
    harbour.sandbox.faults().clear();
    harbour.once().exits(0);
    assert_eq!(harbour.report("points")["rows"], json!({ "applied": rows }));
    check_promises(harbour);
}

/// D4. A total outage of some seconds: the breaker opens, single probes go out ever more rarely, and work resumes by itself.
#[test]
fn an_outage_costs_few_requests_and_no_row() {
    let rows = 250;
    let harbour = harbour().points_only().members(rows).start();
    harbour.sandbox.faults().set(Faults { outage: Some(Outage::Unavailable), ..Faults::default() });
    harbour.deliver("points.csv", snapshot(1..=rows, 10));
    let daemon = harbour.start(&["run"]);
    wait_until("the run is paused", || harbour.state_of("points.csv") == Some(State::Paused));
    let requests = harbour.sandbox.requests();
    let opened = requests.total();
    assert!(opened <= 60, "{opened} requests before the breaker opened");
    let begun = Instant::now();
    wait_until("the outage lasts", || begun.elapsed() > Duration::from_secs(4));
    let probes = requests.total() - opened;
    assert!((2..=12).contains(&probes), "{probes} probes in four seconds");
    harbour.sandbox.faults().clear();
    wait_until("the file is done", || harbour.state_of("points.csv") == Some(State::Done));
    assert_eq!(daemon.terminate(), 0);
    let sent = requests.total();
    assert!(sent <= u64::from(rows) * 12 / 10, "{sent} requests for {rows} rows");
    assert_eq!(harbour.report("points")["rows"], json!({ "applied": rows }));
    check_promises(&harbour);
}

/// D4. Half of all requests fail for as long as the run lasts.
#[test]
fn a_brown_out_rejects_no_row() {
    let harbour = harbour().points_only().members(80).start();
    harbour.sandbox.faults().add(Rule::new(Trouble::Status { code: 503, message: None }).share(0.5));
    harbour.deliver("points.csv", snapshot(1..=80, 10));
    harbour.run(&["once", "--patience", "1m"]).exits(0);
    assert_eq!(harbour.report("points")["rows"], json!({ "applied": 80 }));
    harbour.sandbox.faults().clear();
    check_promises(&harbour);
}

/// D9. A token that is refused in the middle of a run is signed again, once for all, and nobody notices.
#[test]
fn a_token_refused_in_mid_run_is_signed_again_and_refuses_no_row() {
    let harbour = harbour().points_only().members(60).start();
    harbour.sandbox.faults().set(Faults { latency: Latency::Fixed { ms: 5 }, ..Faults::default() });
    for pass in [5, 6, 7, 30] {
        harbour.sandbox.faults().add(Rule::new(Trouble::Status { code: 401, message: None }).id(&format!("C-{pass}")).next(1));
    }
    harbour.deliver("points.csv", snapshot(1..=60, 10));
    harbour.once().exits(0);
    assert_eq!(harbour.sandbox.requests().total(), 64);
    ends_well(&harbour, 60);
}

#[track_caller]
fn ends_well(harbour: &Harbour, rows: u32) {
    assert_eq!(harbour.report("points")["rows"], json!({ "applied": rows }));
    harbour.sandbox.faults().clear();
    check_promises(harbour);
}

/// D10. Reading is allowed and writing is not: the key lacks a right, which no row is to blame for.
#[test]
fn twenty_writes_refused_with_403_pause_the_run_although_reading_works() {
    let harbour = harbour().members(60).feed("fields.points", "").start();
    harbour.sandbox.faults().add(Rule::new(Trouble::Status { code: 403, message: Some("no right to write".into()) }).method("PUT"));
    let rows: String = (1..=60).map(|n| format!("C-{n},gold\n")).collect();
    harbour.deliver("points.csv", format!("id,tier\n{rows}"));
    gives_up(&harbour, "PassKit refuses every request");
    assert!(harbour.writes().len() < 40, "{}", harbour.writes().len());
    ends_applied(&harbour, 60);
}

/// D10. However few requests are sent at a time.
#[test]
fn no_row_is_refused_when_every_write_is_answered_with_403() {
    let harbour = harbour().points_only().members(60).platform("in_flight", "1").start();
    harbour.sandbox.faults().add(Rule::new(Trouble::Status { code: 403, message: Some("no right to write".into()) }).method("PUT"));
    harbour.deliver("points.csv", snapshot(1..=60, 10));
    harbour.run(&["once", "--patience", "3s"]).exits(75).says("PassKit refuses every request");
    assert!(harbour.runs().iter().all(|run| !run.state.is_over()));
    assert!(harbour.writes().len() < 40, "{}", harbour.writes().len());
    ends_applied(&harbour, 60);
}

/// D10. Of fewer rows than that, each is refused for itself: nothing says that it is not about them.
#[test]
fn a_403_to_each_of_a_few_rows_refuses_them() {
    let harbour = harbour().points_only().platform("tries", "2").start();
    harbour.sandbox.faults().add(Rule::new(Trouble::Status { code: 403, message: Some("not yours".into()) }).method("PUT"));
    harbour.deliver("points.csv", snapshot(1..=3, 10));
    harbour.once().exits(1);
    assert_eq!(harbour.report("points")["rows"], json!({ "refused": 3 }));
    assert!(harbour.errors("points").iter().all(|line| line["_codes"] == "update-rejected" && line["_problems"].contains("not yours")));
    harbour.sandbox.faults().clear();
    check_promises(&harbour);
}

/// D10.
#[test]
fn a_403_in_html_pauses_the_run_and_refuses_no_row() {
    let harbour = harbour().points_only().start();
    let wall = Trouble::Answer { code: 403, body: "<html>blocked</html>".into(), content_type: "text/html".into() };
    harbour.sandbox.faults().add(Rule::new(wall).method("PUT"));
    harbour.deliver("points.csv", snapshot(1..=9, 10));
    gives_up(&harbour, "a firewall or proxy");
    ends_applied(&harbour, 9);
}

/// D10. One row's own 403 stays its own, however many rows went well before.
#[test]
fn a_403_about_one_row_refuses_that_row() {
    let harbour = harbour().points_only().start();
    harbour.sandbox.faults().add(Rule::new(Trouble::Status { code: 403, message: None }).id("C-5"));
    harbour.deliver("points.csv", snapshot(1..=9, 10));
    harbour.once().exits(1);
    assert_eq!(harbour.report("points")["rows"], json!({ "applied": 8, "refused": 1 }));
    harbour.sandbox.faults().clear();
    check_promises(&harbour);
}

/// D3. Zero seconds is no licence to ask without a pause, and a word that is no time is none.
#[test]
fn a_429_with_no_seconds_at_all_still_makes_a_pause() {
    for word in [Some("0"), Some("Thu, 01 Jan 1970 00:00:00 GMT"), Some("soon"), Some("-5"), None] {
        let harbour = harbour().points_only().platform("in_flight", "1").start();
        harbour.sandbox.faults().add(Rule::new(Trouble::TooMany { retry_after: word.map(str::to_owned) }).next(2));
        harbour.deliver("points.csv", snapshot(1..=9, 10));
        harbour.once().exits(0);
        let asked = harbour.sandbox.requests().all();
        assert_eq!(asked.len(), 11, "{word:?}");
        for pair in asked[..3].windows(2) {
            assert!(pair[1].at_ms - pair[0].at_ms >= 200, "{word:?}: asked again after {} ms", pair[1].at_ms - pair[0].at_ms);
        }
        ends_well(&harbour, 9);
    }
}

/// D3.
#[test]
fn a_429_with_ten_years_pauses_the_run_and_refuses_no_row() {
    let date = httpdate::fmt_http_date(std::time::SystemTime::now() + Duration::from_hours(10 * 365 * 24));
    for word in ["315360000", &date, "99999999999999999999"] {
        let harbour = harbour().points_only().members(60).start();
        harbour.sandbox.faults().add(Rule::new(Trouble::TooMany { retry_after: Some(word.to_owned()) }));
        harbour.deliver("points.csv", snapshot(1..=60, 10));
        gives_up(&harbour, "429");
        assert!(harbour.sandbox.requests().total() <= 8, "nobody asks again: {}", harbour.sandbox.requests().total());
        // Nor the next process, until it is asked to look.
        let asked = harbour.sandbox.requests().total();
        harbour.sandbox.faults().clear();
        gives_up(&harbour, "429");
        assert_eq!(harbour.sandbox.requests().total(), asked, "{word}");
        harbour.run(&["check", "--reach"]).exits(0);
        ends_applied(&harbour, 60);
    }
}

/// D6. Everything that never ends does end, and the others do not wait for it.
#[test]
fn an_answer_without_end_ends_at_its_limits_and_memory_stays_small() {
    let harbour = harbour().points_only().members(40).platform("timeout", "\"1s\"").start();
    let huge = 10_u64 << 30;
    for (pass, trouble) in [
        ("C-1", Trouble::HugeBody { bytes: huge, gzip: false }),
        ("C-2", Trouble::HugeBody { bytes: huge, gzip: true }),
        ("C-3", Trouble::SlowDrip { bytes: 1, pause_ms: 300 }),
        ("C-4", Trouble::AnswerLate { ms: 60_000 }),
    ] {
        harbour.sandbox.faults().add(Rule::new(trouble).method("PUT").id(pass).next(1));
    }
    harbour.deliver("points.csv", snapshot(1..=40, 10));
    let mut sweep = harbour.start(&["once"]);
    let mut peak = 0;
    while sweep.is_running() {
        peak = peak.max(sweep.peak_kib());
        std::thread::sleep(Duration::from_millis(5));
    }
    assert_eq!(sweep.wait(), 0, "{}", harbour.said());
    assert!(peak < 200 << 10, "{peak} KiB");
    assert!(harbour.writes().len() <= 60, "{}", harbour.writes().len());
    ends_well(&harbour, 40);
}

/// D6. The same for reading: a listing that never ends.
#[test]
fn a_listing_without_end_refuses_no_row() {
    for gzip in [false, true] {
        let harbour = harbour().members(20).start();
        harbour.sandbox.faults().add(Rule::new(Trouble::HugeBody { bytes: 10 << 30, gzip }).path("/member/list").next(3));
        let rows: String = (1..=20).map(|n| format!("C-{n},{n},gold\n")).collect();
        harbour.deliver("points.csv", format!("id,points,tier\n{rows}"));
        harbour.once().exits(0);
        ends_well(&harbour, 20);
    }
}

/// D17. Whatever the call and the status, the other host hears nothing.
#[test]
fn redirects_are_followed_on_no_call_and_nobody_else_hears_of_us() {
    let elsewhere = Sandbox::start(Settings::default()).unwrap();
    let place = format!("http://localhost:{}/members/member", elsewhere.address().port());
    let harbour = harbour().feed("operation", "\"upsert\"").feed("guard.created", "false").platform("tier", "\"base\"").start();
    harbour.deliver("points.csv", "id,points,tier\nC-1,5,gold\nC-2,6,gold\nC-100,7,gold\n");
    let to = |code| Trouble::Redirect { to: place.clone(), code };
    for (method, path, code) in [
        ("POST", "/member/list", 301),
        ("GET", "/members/member/externalId", 302),
        ("PUT", "/members/member", 307),
        ("POST", "/members/member", 308),
        ("POST", "/members/member", 303),
    ] {
        let rule = Rule::new(to(code)).method(method).path(path);
        harbour.sandbox.faults().set(Faults { rules: vec![rule], ..Faults::default() });
        gives_up(&harbour, "it redirects to localhost");
    }
    harbour.sandbox.faults().set(Faults { rules: vec![Rule::new(to(301))], ..Faults::default() });
    harbour.run(&["check", "--reach"]).exits(69);
    // To a page of its own, too: a log-in form is no answer.
    harbour.sandbox.faults().set(Faults { rules: vec![Rule::new(Trouble::redirect("/login"))], ..Faults::default() });
    gives_up(&harbour, "it redirects to another address");
    assert!(harbour.sandbox.requests().select(|entry| entry.path.starts_with("/login")).is_empty());
    harbour.sandbox.faults().clear();
    harbour.once().exits(0);
    assert_eq!(elsewhere.requests().total(), 0, "{:?}", elsewhere.requests().all());
    check_promises(&harbour);
}

/// D17. A delete that is repeated elsewhere would be the worst.
#[test]
fn a_redirected_delete_is_not_followed() {
    let elsewhere = Sandbox::start(Settings::default()).unwrap();
    let harbour = harbour().feed("operation", "\"void\"").points_only().feed("fields.points", "").unmodelled().start();
    harbour.sandbox.faults().add(Rule::new(Trouble::redirect(&format!("{}/members/member", elsewhere.base_url()))).method("DELETE"));
    harbour.deliver("points.csv", "id\nC-1\n");
    gives_up(&harbour, "it redirects to 127.0.0.1");
    assert_eq!((elsewhere.requests().total(), harbour.sandbox.members()), (0, 9));
    harbour.sandbox.faults().clear();
    harbour.once().exits(0);
    assert_eq!(harbour.sandbox.members(), 8);
    check_promises(&harbour);
}

/// D20. D21. A paused run says what it waits for, today's reason and not yesterday's.
#[test]
fn a_paused_run_tells_the_reason_of_now() {
    let harbour = harbour().points_only().start();
    harbour.deliver("points.csv", snapshot(1..=9, 10));
    for (outage, reason) in [(Outage::Unavailable, "503"), (Outage::Unauthorized, "401"), (Outage::Close, "connection")] {
        harbour.sandbox.faults().set(Faults { outage: Some(outage), ..Faults::default() });
        harbour.run(&["once", "--patience", "1500ms"]).exits(75).says("it goes on at the next start").says(reason);
        let run = harbour.run_of("points.csv");
        assert_eq!(run.state, State::Paused);
        assert!(run.detail.cause.as_deref().unwrap_or_default().contains(reason), "{reason:?} is not in {:?}", run.detail.cause);
    }
    ends_applied(&harbour, 9);
}

/// D21.
#[test]
fn a_name_that_nobody_knows_pauses_the_run_and_refuses_no_row() {
    let harbour = harbour().points_only().start();
    let address = harbour.sandbox.base_url();
    harbour.change_config(|text| text.replace(&address, "https://no-such-platform.invalid"));
    harbour.deliver("points.csv", snapshot(1..=9, 10));
    gives_up(&harbour, "cannot connect");
    harbour.change_config(|text| text.replace("https://no-such-platform.invalid", &address));
    ends_applied(&harbour, 9);
}

/// D21. Where a name has two addresses and one leads nowhere, the other is taken.
#[test]
fn one_address_of_two_that_leads_nowhere_is_passed_over() {
    let harbour = harbour().points_only().start();
    let address = harbour.sandbox.base_url();
    // localhost is ::1 and 127.0.0.1, and the sandbox listens on the latter alone.
    harbour.change_config(|text| text.replace(&address, &address.replace("127.0.0.1", "localhost")));
    harbour.deliver("points.csv", snapshot(1..=9, 10));
    harbour.once().exits(0);
    ends_well(&harbour, 9);
}

/// D21. A proxy that is not there, refuses, or wants a login. It never hears what was meant for the platform.
#[test]
fn trouble_with_a_proxy_pauses_the_run_and_refuses_no_row() {
    use std::io::{Read, Write};
    use std::process::Stdio;
    use std::sync::{Arc, Mutex};
    let harbour = harbour().points_only().start();
    let address = harbour.sandbox.base_url();
    harbour.change_config(|text| text.replace(&address, "https://platform.invalid"));
    harbour.deliver("points.csv", snapshot(1..=9, 10));
    let answers: [&[u8]; 3] = [
        b"HTTP/1.1 407 Proxy Authentication Required\r\ncontent-length: 0\r\n\r\n",
        b"HTTP/1.1 502 Bad Gateway\r\ncontent-length: 0\r\n\r\n",
        b"",
    ];
    for answer in answers {
        let listener = std::net::TcpListener::bind(("127.0.0.1", 0)).unwrap();
        let proxy = format!("http://{}", listener.local_addr().unwrap());
        let heard: Arc<Mutex<Vec<u8>>> = Arc::default();
        let log = Arc::clone(&heard);
        std::thread::spawn(move || {
            for mut stream in listener.incoming().map_while(Result::ok) {
                let mut piece = [0; 4096];
                let count = stream.read(&mut piece).unwrap_or_default();
                log.lock().unwrap().extend_from_slice(&piece[..count]);
                let _ = stream.write_all(answer);
            }
        });
        let output = harbour
            .command(&["once", "--patience", "500ms"])
            .env("HTTPS_PROXY", &proxy)
            .stdout(Stdio::null())
            .stderr(Stdio::piped())
            .output()
            .unwrap();
        assert_eq!(output.status.code(), Some(75), "{}", String::from_utf8_lossy(&output.stderr));
        let heard = String::from_utf8_lossy(&heard.lock().unwrap()).to_lowercase();
        assert!(heard.starts_with("connect platform.invalid:443 "), "{heard}");
        assert!(!heard.contains("authorization") && !heard.contains("members"), "{heard}");
    }
    harbour.change_config(|text| text.replace("https://platform.invalid", &address));
    ends_applied(&harbour, 9);
}

/// D3. What a platform asks of the account, it asks of the next process too: one that crashes again and again, or that cron starts.
#[test]
fn a_pause_that_the_platform_asked_for_is_kept_by_the_next_process() {
    let harbour = harbour().points_only().start();
    harbour.sandbox.faults().add(Rule::new(Trouble::TooMany { retry_after: Some("4".to_owned()) }).next(1));
    harbour.deliver("points.csv", snapshot(1..=9, 10));
    let daemon = harbour.start(&["run"]);
    wait_until("the platform asked for a pause", || harbour.sandbox.requests().all().iter().any(|entry| entry.status == Some(429)));
    wait_until("it is written down", || harbour.said().contains("pause") || harbour.state().join("paused-platform-cards.json").exists());
    daemon.kill();
    harbour.once().exits(0);
    let asked = harbour.sandbox.requests().all();
    let refused = asked.iter().position(|entry| entry.status == Some(429)).unwrap();
    let refused_at = asked[refused].at_ms;
    // Requests that were on their way together were not told yet.
    let early: Vec<_> =
        asked[refused + 1..].iter().map(|entry| entry.at_ms - refused_at).filter(|&after| (200..3900).contains(&after)).collect();
    assert!(early.is_empty(), "asked again after {early:?} ms");
    ends_well(&harbour, 9);
}
