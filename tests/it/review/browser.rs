//! The page in a real browser: what people click, what it looks like, and what strangers' strings do in it: nothing.

use passferry::ledger::{KeyState, State};
use passferry::sandbox::{Faults, Latency, Rule, Trouble};

use super::{MIXED, folder};
use crate::rig::browser::{Browser, PHONE, Scheme, Tab};
use crate::rig::harbour::wait_until;
use crate::rig::promises::check_promises;
use crate::rig::visitor::{APPROVER, Reviewed, VIEWER, reviewed};

fn address(rig: &Reviewed, path: &str) -> String {
    format!("http://127.0.0.1:{}{path}", rig.port)
}

/// Somebody who came in by the form.
fn logged_in(browser: &mut Browser, rig: &Reviewed, (name, password): (&str, &str)) -> Tab {
    let mut tab = browser.tab();
    tab.open(&address(rig, "/"));
    assert_eq!(tab.text("h1"), "Log in");
    tab.type_into("#name", name);
    tab.type_into("#password", password);
    tab.follow("main form button");
    assert_eq!(tab.text("h1"), "Overview");
    tab
}

/// A page that people use: readable without eyes, in light and dark, on a phone.
fn is_good(tab: &mut Tab, name: &str) {
    tab.looks(Scheme::Light, PHONE);
    tab.fits();
    tab.pictures(&format!("review-{name}"));
    tab.is_accessible();
}

#[test]
fn a_held_file_is_approved_by_clicks() {
    let rig = reviewed(folder().points_only().feed("guard.first_file", "true"), "");
    let daemon = rig.serving("run");
    rig.deliver("monday.csv", "id,points\nC-1,10\nC-2,20\n");
    wait_until("it is held", || rig.ledger_is_there() && rig.state_of("monday.csv") == Some(State::Held));
    let run = rig.run_of("monday.csv").id;
    let mut browser = Browser::start();
    let mut door = browser.tab();
    door.open(&address(&rig, "/"));
    is_good(&mut door, "login");
    let mut tab = logged_in(&mut browser, &rig, APPROVER);
    is_good(&mut tab, "overview");
    tab.follow(&format!("a[href='/runs/{run}']"));
    is_good(&mut tab, "held");
    tab.follow(&format!("a[href='/runs/{run}/approve']"));
    is_good(&mut tab, "approve");
    tab.type_into("#reason", "looks right");
    tab.follow("main form button");
    wait_until("it is applied", || rig.state_of("monday.csv") == Some(State::Done));
    tab.open(&address(&rig, &format!("/runs/{run}")));
    assert_eq!(tab.text("#state"), "Done");
    is_good(&mut tab, "done");
    assert!((rig.points("C-2") - 20.0).abs() < f64::EPSILON);
    drop((door, tab, browser));
    assert_eq!(daemon.terminate(), 0, "{}", rig.said());
    check_promises(&rig);
}

/// Nothing but keys: the focus is seen wherever it comes by.
#[test]
fn a_held_file_is_approved_by_keyboard_alone() {
    let rig = reviewed(folder().points_only().feed("guard.first_file", "true"), "");
    let daemon = rig.serving("run");
    rig.deliver("monday.csv", "id,points\nC-1,10\n");
    wait_until("it is held", || rig.ledger_is_there() && rig.state_of("monday.csv") == Some(State::Held));
    let run = rig.run_of("monday.csv").id;
    let mut browser = Browser::start();
    let mut tab = browser.tab();
    tab.open(&address(&rig, "/"));
    tab.tab_to("#name");
    tab.write(APPROVER.0);
    tab.tab_to("#password");
    tab.write(APPROVER.1);
    tab.enter();
    assert_eq!(tab.text("h1"), "Overview");
    tab.tab_to("a[href='#main']");
    tab.tab_to(&format!("a[href='/runs/{run}']"));
    tab.enter();
    tab.tab_to(&format!("a[href='/runs/{run}/approve']"));
    tab.enter();
    tab.tab_to("#reason");
    tab.write("looks right");
    tab.tab_to("main form button");
    tab.enter();
    wait_until("it is applied", || rig.state_of("monday.csv") == Some(State::Done));
    assert!((rig.points("C-1") - 10.0).abs() < f64::EPSILON);
    drop((tab, browser));
    assert_eq!(daemon.terminate(), 0, "{}", rig.said());
    check_promises(&rig);
}

/// What is being applied moves on the page by itself, and the page says when it is done.
#[test]
fn progress_moves_without_a_reload() {
    let slow = Faults { latency: Latency::Fixed { ms: 130 }, ..Faults::default() };
    let rig = reviewed(folder().points_only().members(40).platform("in_flight", "1").faults(slow), "");
    let daemon = rig.serving("run");
    let mut browser = Browser::start();
    let mut tab = logged_in(&mut browser, &rig, APPROVER);
    rig.deliver("a.csv", (1..=40).fold("id,points\n".to_owned(), |text, n| format!("{text}C-{n},{n}\n")));
    wait_until("it is applied", || rig.ledger_is_there() && rig.state_of("a.csv") == Some(State::Applying));
    tab.open(&address(&rig, &format!("/runs/{}", rig.run_of("a.csv").id)));
    tab.evaluate("window.first = Number(document.querySelector('.done').textContent)");
    tab.wait("window.first !== undefined && Number(document.querySelector('.done').textContent) > window.first");
    assert!(tab.evaluate("document.querySelector('progress').value").as_f64().unwrap() > 0.0);
    tab.wait("document.readyState === 'complete' && document.querySelector('#state').textContent === 'Done'");
    tab.wait("window.first === undefined && !document.querySelector('progress')");
    drop((tab, browser));
    assert_eq!(daemon.terminate(), 0, "{}", rig.said());
    check_promises(&rig);
}

#[test]
fn an_add_in_doubt_is_settled_by_keys() {
    let faults = Faults { rules: vec![Rule::new(Trouble::DropBefore).path("/points/")], ..Faults::default() };
    let rig = reviewed(crate::faults::adds::movements().platform("read_back", "\"nothing\"").faults(faults), "");
    rig.deliver("a.csv", "txn,id,move,points\nT-1,C-1,earn,50\n");
    rig.once().exits(1);
    rig.sandbox.faults().clear();
    let run = rig.run_of("a.csv").id;
    let page = rig.page();
    let mut browser = Browser::start();
    let mut tab = logged_in(&mut browser, &rig, APPROVER);
    tab.open(&address(&rig, &format!("/runs/{run}/rows?outcome=in-doubt")));
    is_good(&mut tab, "rows");
    tab.follow("tbody th a");
    is_good(&mut tab, "row");
    tab.follow("a[href^='/settle/']");
    is_good(&mut tab, "settle");
    // By keyboard alone, from here on.
    tab.tab_to("#choice");
    assert_eq!(tab.evaluate("document.querySelector('#choice').value"), "", "nothing is chosen before somebody chooses");
    tab.press("ArrowDown");
    tab.press("ArrowDown");
    assert_eq!(tab.evaluate("document.querySelector('#choice').value"), "not-applied");
    tab.tab_to("#reason");
    tab.write("the portal shows nothing");
    tab.tab_to("main form button");
    tab.enter();
    tab.wait_for("h1");
    drop((tab, browser, page));
    rig.once();
    assert!(rig.ledger().keys_of(&run, KeyState::InDoubt).unwrap().is_empty(), "{}", rig.said());
    assert!(rig.points("C-1").abs() < f64::EPSILON);
    check_promises(&rig);
}

#[test]
fn rows_are_fixed_in_the_table_and_applied() {
    let rig = reviewed(folder(), "");
    rig.deliver("a.csv", MIXED);
    rig.once().exits(1);
    let run = rig.run_of("a.csv").id;
    let page = rig.page();
    let mut browser = Browser::start();
    let mut tab = logged_in(&mut browser, &rig, APPROVER);
    tab.open(&address(&rig, &format!("/runs/{run}")));
    is_good(&mut tab, "run");
    tab.follow(&format!("a[href='/runs/{run}/fix']"));
    is_good(&mut tab, "fix");
    let cell = "input[aria-label='points, line 3']";
    assert_eq!(tab.evaluate(&format!("document.querySelector(\"{cell}\").value")), "x");
    tab.type_into(cell, "-7");
    tab.wait("document.querySelector('tr:has(input[aria-label=\"points, line 3\"]) .said').textContent.includes('at least 0')");
    tab.type_into(cell, "20");
    tab.wait("document.querySelector('tr:has(input[aria-label=\"points, line 3\"]) .said').textContent === ''");
    tab.wait("document.querySelector('.card-place').textContent.includes('C-2')");
    tab.picture("review-fix-checked-light");
    tab.follow("form[data-check] button.main");
    assert_eq!(tab.text("h1"), "On its way");
    drop((tab, browser, page));
    let sent: Vec<String> = rig.tree().into_iter().filter(|name| name.contains("-fix-") && !name.contains('/')).collect();
    assert_eq!(sent.len(), 1, "{:?}", rig.tree());
    rig.note_delivery(sent[0].as_bytes(), &std::fs::read(rig.inbox().join(&sent[0])).unwrap());
    rig.once();
    rig.once();
    assert!((rig.points("C-2") - 20.0).abs() < f64::EPSILON, "{}", rig.said());
    check_promises(&rig);
}

/// Failure model, section 7: strings that are something else in HTML, wherever a stranger may put one.
#[test]
fn strings_that_are_something_else_in_html_do_nothing_on_any_page() {
    const NAUGHTY: &str = "\"'></textarea></script><script>alert(1)</script><img src=x onerror=alert(2)>";
    let label = NAUGHTY.replace('"', "");
    let schema = serde_json::json!({ "fieldsMatch": "superset", "fields": [{ "name": "id", "type": "string" },
        { "name": "points", "type": "integer" }, { "name": label, "type": "integer" }] });
    let rig = reviewed(folder().schema(&schema.to_string()).points_only(), "");
    rig.sandbox.faults().add(Rule::new(Trouble::Status { code: 422, message: Some(NAUGHTY.to_owned()) }).method("PUT").id("C-2"));
    let name = "<img src=x onerror=alert(3)>'{{7}}.csv";
    let cell = format!("\"{}\"", NAUGHTY.replace('"', "\"\""));
    rig.deliver(name, format!("id,points,{label}\nC-1,{cell},{cell}\n{cell},1,1\nC-2,2,2\n"));
    rig.once().exits(1);
    rig.sandbox.faults().clear();
    let run = rig.run_of(name).id;
    let page = rig.page();
    let mut browser = Browser::start();
    for person in [APPROVER, VIEWER] {
        let mut tab = logged_in(&mut browser, &rig, person);
        let mut paths = vec!["/".to_owned(), "/runs".into(), format!("/runs/{run}"), format!("/runs/{run}/rows")];
        tab.open(&address(&rig, &paths[3]));
        let rows = tab.evaluate("[...document.querySelectorAll('tbody th a')].map(it => it.getAttribute('href'))");
        let rows: Vec<String> = serde_json::from_value(rows).unwrap();
        assert_eq!(rows.len(), 3, "{rows:?}");
        paths.extend(rows);
        if person == APPROVER {
            paths.extend([format!("/runs/{run}/fix"), format!("/runs/{run}/retry"), "/pass".into()]);
        }
        for path in paths {
            tab.open(&address(&rig, &path));
            let bad =
                tab.evaluate("[...document.querySelectorAll('img, script:not([src^=\"/assets/\"]), [onerror]')].map(it => it.outerHTML)");
            assert_eq!(bad, serde_json::json!([]), "{path}");
        }
        tab.open(&address(&rig, &format!("/runs/{run}")));
        assert_eq!(tab.text("h1"), name);
        tab.open(&address(&rig, &format!("/runs?text={}", "%3Cscript%3Ealert(4)%3C/script%3E")));
    }
    drop((browser, page));
    check_promises(&rig);
}

/// The first page after the door: below 100 KB, and what it loads is named in its HTML.
#[test]
fn the_first_page_is_small_and_whole_after_one_more_round_trip() {
    let rig = reviewed(folder().points_only(), "");
    for day in 0..30 {
        rig.deliver(format!("day-{day:02}.csv"), format!("id,points\nC-1,{day}\n"));
    }
    rig.once();
    let page = rig.page();
    let mut browser = Browser::start();
    let mut tab = logged_in(&mut browser, &rig, APPROVER);
    let before = tab.loaded();
    tab.open(&address(&rig, "/"));
    tab.wait_for("h1");
    let after = tab.loaded();
    assert!(after.bytes - before.bytes < 100_000 && after.bytes > before.bytes, "{} bytes", after.bytes - before.bytes);
    for (url, initiator) in &after.requests[before.requests.len()..] {
        assert!(url.ends_with('/') || url.contains("/assets/icon.svg") || initiator == "parser", "{url} is asked for by {initiator}");
    }
    drop((tab, browser, page));
    check_promises(&rig);
}
