//! Telling holders: consent, windows, seeds, and nobody told twice.

use passferry::ledger::State;
use passferry::sandbox::{Rule, Trouble};
use serde_json::json;

use super::adds::{movements, only};
use crate::rig::harbour::{Harbour, Plan, wait_until};
use crate::rig::promises::check_promises;

/// A feed that tells holders, with `opt_in` as consent.
fn telling() -> Plan {
    movements()
        .feed("operation", "\"update\"")
        .feed("fields.points", "")
        .feed("fields.\"metaData.store\"", "\"store\"")
        .feed("consent", "{ column = \"opt_in\", fields = [\"metaData.store\"] }")
        .feed("notify.message", "\"news\"")
        .feed("notify.field", "\"metaData.news\"")
        .feed("notify.kind", "\"marketing\"")
}

/// A feed that tells holders and does nothing else.
fn only_telling() -> Plan {
    telling().feed("fields.\"metaData.store\"", "").feed("consent", "").feed("notify.kind", "\"transactional\"")
}

fn shown(harbour: &Harbour, pass: &str, key: &str) -> String {
    harbour.sandbox.member(pass).unwrap()["metaData"][key].as_str().unwrap_or_default().to_owned()
}

/// D24. Without consent the field and the notification are withheld, and the rest of the row is applied; nobody is told twice.
#[test]
fn without_consent_nothing_is_told_and_the_rest_is_applied() {
    let harbour = telling().feed("fields.\"metaData.tier\"", "\"move\"").start();
    let file = "txn,id,move,store,news,opt_in\nN-1,C-1,earn,Lyon,Hello,true\nN-2,C-2,earn,Paris,Hello,false\nN-3,C-3,earn,Nice,,\n";
    harbour.deliver("a.csv", file);
    harbour.once().exits(0);
    let report = harbour.report("a");
    assert_eq!(report["rows"], json!({ "applied": 3 }), "{report}");
    assert_eq!(report["operations"]["notify"], json!({ "applied": 1, "withheld": 1 }), "{report}");
    assert_eq!(report["operations"]["fields"]["withheld"], 2, "{report}");
    assert_eq!((shown(&harbour, "C-1", "news"), shown(&harbour, "C-1", "store")), ("Hello".into(), "Lyon".into()));
    assert_eq!((shown(&harbour, "C-2", "news"), shown(&harbour, "C-2", "store")), (String::new(), String::new()));
    assert_eq!(shown(&harbour, "C-2", "tier"), "earn", "the rest of the row is applied");
    // The same campaign in another file: nobody is told again, though the pass shows something else meanwhile.
    harbour.deliver("b.csv", "txn,id,move,store,news,opt_in\nN-4,C-1,earn,Lyon,Bye,true\n");
    harbour.once().exits(0);
    harbour.deliver("c.csv", file.replace("N-3", "N-9"));
    harbour.once().exits(0);
    assert_eq!(harbour.sandbox.alerts("C-1", "news"), ["Hello", "Bye"]);
    check_promises(&harbour);
}

/// D24. A notification whose answer was lost is looked for on the pass and not told twice.
#[test]
fn a_notification_whose_answer_was_lost_is_not_told_twice() {
    let update = |trouble, pass: &str| Rule::new(trouble).method("PUT").path("/members/member").id(pass).next(1);
    let faults = only(vec![update(Trouble::DropAfter, "C-1"), update(Trouble::DropBefore, "C-2")]);
    let harbour = only_telling().platform("sole_writer", "true").faults(faults).start();
    harbour.deliver("a.csv", "txn,id,news\nN-1,C-1,One\nN-2,C-2,Two\n");
    harbour.once().exits(0);
    assert_eq!(harbour.report("a")["rows"], json!({ "applied": 2 }));
    assert_eq!(
        (harbour.sandbox.alerts("C-1", "news"), harbour.sandbox.alerts("C-2", "news")),
        (vec!["One".to_owned()], vec!["Two".to_owned()])
    );
    check_promises(&harbour);
}

/// D24. A notification leaves no event: that the pass shows another text proves nothing where others write, and nobody is told twice.
#[test]
fn a_text_that_somebody_wrote_over_is_no_proof_that_nobody_was_told() {
    let lost = Rule::new(Trouble::DropAfter).method("PUT").path("/members/member").id("C-1").next(1);
    let harbour = only_telling().platform("settling", "\"60s\"").faults(only(vec![lost])).start();
    harbour.deliver("a.csv", "txn,id,news\nN-1,C-1,hello\n");
    let daemon = harbour.start(&["run"]);
    wait_until("the holder is told", || !harbour.sandbox.alerts("C-1", "news").is_empty());
    daemon.kill();
    // The till writes its receipt into the same field.
    let config = std::fs::read_to_string(harbour.home.path().join("passferry.toml")).unwrap();
    let (head, _) = config.split_once("[feed.points]").unwrap();
    let feed = "[feed.till]\nsource = \"port\"\ninbox = \"till\"\npattern = \"*.csv\"\ncontent = \"delta\"\nschema = \"schema.json\"\nplatform = \"cards\"\nenvironment = \"test\"\npass = { external_id = \"id\" }\nquiet = \"20ms\"\nguard = { first_file = false }\nfields = { \"metaData.news\" = \"news\" }\n";
    std::fs::write(harbour.home.path().join("till.toml"), head.replace("state = \"state\"", "state = \"till\"") + feed).unwrap();
    std::fs::create_dir_all(harbour.root.join("till")).unwrap();
    std::fs::write(harbour.root.join("till/o.csv"), "txn,id,news\nX,C-1,your receipt\n").unwrap();
    harbour.run(&["once", "-c", "till.toml"]).exits(0);
    std::fs::remove_dir_all(harbour.root.join("till")).unwrap();
    harbour.change_config(|text| text.replace("settling = \"60s\"", "settling = \"200ms\""));
    harbour.once().exits(1);
    assert_eq!(harbour.sandbox.alerts("C-1", "news"), ["hello", "your receipt"], "{}", harbour.said());
    assert_eq!(harbour.report("a")["rows"], json!({ "in-doubt": 1 }));
    check_promises(&harbour);
}

/// Outside its window a notification waits, while the rest of its row does not; too old, it is dropped.
#[test]
fn notifications_wait_for_their_window_and_are_dropped_when_too_old() {
    let now = chrono::Utc::now().time();
    let hour = |offset: i64| (now + chrono::TimeDelta::hours(offset)).format("%H:%M").to_string();
    let shut = format!("\"{}..{} UTC\"", hour(2), hour(3));
    let harbour = telling().feed("notify.window", &shut).start();
    harbour.deliver("a.csv", "txn,id,store,news,opt_in\nN-1,C-1,Lyon,Hello,true\nN-2,C-2,Nice,,true\n");
    harbour.once().exits(75);
    assert_eq!(harbour.state_of("a.csv"), Some(State::Paused));
    assert_eq!((shown(&harbour, "C-1", "store"), shown(&harbour, "C-1", "news")), ("Lyon".into(), String::new()));
    let writes = harbour.writes().len();
    harbour.once().exits(75);
    assert_eq!(harbour.writes().len(), writes, "what was set is not set again while the rest waits");
    let open = format!("\"{}..{} UTC\"", hour(-1), hour(1));
    harbour.change_config(|text| text.replace(&shut, &open));
    harbour.once().exits(0);
    assert_eq!(shown(&harbour, "C-1", "news"), "Hello");
    assert_eq!(harbour.report("a")["rows"], json!({ "applied": 2 }));
    check_promises(&harbour);

    let harbour = telling().feed("notify.window", &shut).feed("notify.expires", "\"1s\"").start();
    harbour.deliver("a.csv", "txn,id,store,news,opt_in\nN-1,C-1,Lyon,Hello,true\n");
    harbour.once().exits(75);
    std::thread::sleep(std::time::Duration::from_secs(1));
    harbour.change_config(|text| text.replace(&shut, &open));
    harbour.once().exits(0);
    assert_eq!((shown(&harbour, "C-1", "store"), shown(&harbour, "C-1", "news")), ("Lyon".into(), String::new()));
    assert_eq!(harbour.report("a")["problems"]["notification-expired"], 1);
    check_promises(&harbour);
}

/// Seeds are told first; when one of them cannot be told, the run is held and nobody else is.
#[test]
fn when_a_seed_cannot_be_told_nobody_else_is() {
    let refuse =
        Rule::new(Trouble::Status { code: 400, message: Some("no such field".into()) }).method("PUT").path("/members/member").id("C-2");
    let harbour = telling()
        .feed("fields.\"metaData.store\"", "")
        .feed("consent", "")
        .feed("notify.kind", "\"transactional\"")
        .feed("notify.seeds", "[\"C-2\", \"C-3\"]")
        .faults(only(vec![refuse]))
        .start();
    harbour.deliver("a.csv", "txn,id,news\nN-1,C-1,One\nN-2,C-2,Two\nN-3,C-3,Three\nN-4,C-4,Four\n");
    harbour.once().exits(1);
    assert_eq!(harbour.state_of("a.csv"), Some(State::Held));
    assert_eq!((shown(&harbour, "C-1", "news"), shown(&harbour, "C-3", "news")), (String::new(), "Three".into()));
    let report = harbour.report("a.held");
    assert_eq!(report["rows"], json!({ "applied": 1, "refused": 1, "to-send": 2 }), "{report:#}");
    assert_eq!(report["problems"], json!({ "update-rejected": 1 }), "what was refused on the way counts");
    assert!(report["codes"]["update-rejected"]["cure"].is_string(), "{report:#}");
    assert!(report["next"][0].as_str().unwrap().contains("and 1 of its rows reached their passes before (seeds)"), "{report:#}");
    let page = String::from_utf8(harbour.read("reports/a.held.report.html")).unwrap();
    assert!(page.contains("1 row reached its pass before. 2 of 4 rows would be sent") && !page.contains("Nothing was sent"), "{page}");
    let told = harbour.run(&["stop", "a.csv"]);
    assert!(told.err.contains("nothing more of it is sent"), "{}", told.err);
    harbour.run(&["approve", "a.csv", "--reason", "C-2 has left"]).exits(0);
    harbour.once().exits(1);
    assert_eq!((shown(&harbour, "C-1", "news"), shown(&harbour, "C-4", "news")), ("One".into(), "Four".into()));
    assert_eq!(harbour.sandbox.alerts("C-3", "news"), ["Three"]);
    check_promises(&harbour);
}
