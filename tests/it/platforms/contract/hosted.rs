//! What is asked in a case's place where passes are hosted here (contracts/apple-wallet.md, sections 6 and 7).

use std::collections::BTreeMap;
use std::sync::LazyLock;

use passferry::ledger::State;
use passferry::sandbox::apple::{Apns, Fate};
use serde_json::json;

use super::cases::{all_hold, codes, file, held, holds, rows};
use super::{Entry, check_promises, start};
use crate::platforms::apple::{holds as registers, store};
use crate::rig::apple::{PASS_TYPE, apns, token};
use crate::rig::crash::{Mode, Moment, crash};
use crate::rig::harbour::{Harbour, wait_until};

/// One push service for all cases: each has phones of its own.
pub static APNS: LazyLock<Apns> = LazyLock::new(apns);

/// One that refuses whoever asks about a phone that nobody has, as `check --reach` does.
pub static REFUSING: LazyLock<Apns> = LazyLock::new(|| {
    let (apns, nobody) = (apns(), format!("{:0>64}", "ff"));
    apns.know(&nobody, &[PASS_TYPE]);
    apns.script(&nobody, Fate::Refuse { status: 403, reason: "BadCertificate".to_owned() });
    apns
});

fn names(passes: usize) -> Vec<String> {
    (1..=passes).map(|n| format!("C-{n}")).collect()
}

/// What becomes of pushes to the phone whose token begins so.
fn fate(front: &str, fate: Fate) {
    APNS.know(&token(front), &[PASS_TYPE]);
    APNS.script(&token(front), fate);
}

/// Every row is applied while pushes go wrong; when they go right again, the phone hears of it once.
fn pushes_go_wrong(entry: &Entry, front: &str, wrong: Fate) {
    let harbour = start(entry, 30, |plan| plan);
    registers(&harbour, "phone", front, names(30));
    fate(front, wrong);
    harbour.deliver("a.csv", file(30, 10));
    harbour.once().exits(75).says("1 phones are not told yet that their passes changed");
    assert_eq!((rows(&harbour, "a"), harbour.state_of("a.csv")), (json!({ "applied": 30 }), Some(State::Done)));
    all_hold(entry, &harbour, 30, 10);
    assert_eq!(APNS.heard(&token(front)).len(), 0);
    fate(front, Fate::Healthy);
    wait_until("the phone is told", || harbour.once().exit == 0);
    assert_eq!(APNS.heard(&token(front)).len(), 1);
    check_promises(entry, &harbour);
}

pub fn pushes_that_are_slowed_down_touch_no_row(entry: &Entry) {
    pushes_go_wrong(entry, "a429", Fate::TooMany { nth: 1, window_ms: 1 });
}

pub fn credentials_of_pushes_that_end_touch_no_row(entry: &Entry) {
    pushes_go_wrong(entry, "a403", Fate::Refuse { status: 403, reason: "ExpiredProviderToken".to_owned() });
}

fn sql(harbour: &Harbour, text: &str) {
    rusqlite::Connection::open(store(harbour).path()).unwrap().execute_batch(text).unwrap();
}

/// D4. Nothing is rejected, the run says why it waits, and it goes on by itself. An outage of the push service is nothing to it.
pub fn a_store_that_cannot_be_written_pauses_the_run(entry: &Entry) {
    let harbour = start(entry, 20, |plan| plan.platform("tries", "2"));
    sql(&harbour, "CREATE TRIGGER trouble BEFORE UPDATE ON pass BEGIN SELECT RAISE(ABORT, 'the hold is flooded'); END");
    harbour.deliver("a.csv", file(20, 10));
    harbour.run(&["once", "--patience", "300ms"]).exits(75);
    let run = harbour.run_of("a.csv");
    assert!(!run.state.is_over() && run.detail.tally.total() == 0, "{run:?}");
    let daemon = harbour.start(&["run"]);
    wait_until("the run is paused", || harbour.state_of("a.csv") == Some(State::Paused));
    assert!(harbour.run_of("a.csv").detail.cause.is_some_and(|cause| cause.contains("the hold is flooded")), "the reason is told");
    sql(&harbour, "DROP TRIGGER trouble");
    wait_until("the file is done", || harbour.state_of("a.csv") == Some(State::Done));
    assert_eq!(daemon.terminate(), 0);
    assert_eq!(rows(&harbour, "a"), json!({ "applied": 20 }));
    all_hold(entry, &harbour, 20, 10);
    check_promises(entry, &harbour);
    pushes_go_wrong(entry, "a503", Fate::DropBefore);
}

/// D7. A pass that was brought in from another host has the fields of its own template.
pub fn a_pass_without_the_field_harms_no_other(entry: &Entry) {
    let harbour = start(entry, 10, |plan| plan);
    let rename = |to: &str| {
        let data = format!("json_replace(data, '$.storeCard.headerFields[0].key', '{to}')");
        sql(&harbour, &format!("UPDATE pass SET data = {data} WHERE external_id = 'C-3'"));
    };
    rename("rank");
    let untouched = held(entry, &harbour, "C-3");
    harbour.deliver("a.csv", file(10, 10));
    harbour.once().exits(1);
    assert_eq!(rows(&harbour, "a"), json!({ "applied": 9, "refused": 1 }));
    assert_eq!(codes(&harbour, "a"), BTreeMap::from([("C-3".to_owned(), "update-rejected".to_owned())]));
    assert!(harbour.errors("a")[0]["_problems"].contains("this pass has no field \"tier\""), "{:?}", harbour.errors("a"));
    assert_eq!(held(entry, &harbour, "C-3"), untouched, "a change is whole or not at all");
    rename("tier");
    harbour.deliver("b.csv", file(10, 10) + "\n");
    harbour.once().exits(0);
    assert_eq!(rows(&harbour, "b"), json!({ "applied": 1, "unchanged": 9 }), "what was refused is not believed to be there");
    all_hold(entry, &harbour, 10, 10);
    check_promises(entry, &harbour);
}

/// Kills the program behind writes to the store, some of all of them, and starts it again; what is true then is the case's.
fn killed_behind_writes(ready: impl Fn() -> Harbour, then: impl Fn(&Harbour)) {
    const WRITES: &str = "cards.sqlite-wal";
    let calls = crash(&ready(), &["once"], &Moment { mode: Mode::Count, nth: 0, matching: WRITES.to_owned() }).calls.len() as u64;
    assert!(calls >= 2, "{calls} writes");
    for nth in (1..=calls).step_by((calls as usize / 5).max(1)) {
        let harbour = ready();
        let crashed = crash(&harbour, &["once"], &Moment { mode: Mode::After, nth, matching: WRITES.to_owned() });
        assert!(crashed.reached, "write {nth} of {calls}");
        harbour.once().exits(0);
        then(&harbour);
    }
}

/// A1, D1.
pub fn killed_behind_a_change_it_costs_nothing(entry: &Entry) {
    let ready = || {
        let harbour = start(entry, 12, |plan| plan);
        harbour.deliver("a.csv", file(12, 10));
        harbour
    };
    killed_behind_writes(ready, |harbour| {
        let tally = rows(harbour, "a");
        assert_eq!(tally["applied"].as_u64().unwrap_or(0) + tally["unchanged"].as_u64().unwrap_or(0), 12, "{tally}");
        all_hold(entry, harbour, 12, 10);
        check_promises(entry, harbour);
    });
}

/// D1, D5. The key of an add is in the transaction that adds.
pub fn killed_behind_an_add_it_never_adds_twice(entry: &Entry) {
    let adds = entry.adds.as_ref().unwrap();
    let rows = "C-1,5,a\nC-2,5,b\nC-3,5,c\nC-4,5,d\n";
    let ready = || {
        let harbour = start(entry, 4, |plan| (adds.plan)(plan).feed("content", "\"delta\"").feed("add.transaction_id", "\"tx\""));
        harbour.deliver("a.csv", format!("id,points,tx\n{rows}"));
        harbour
    };
    killed_behind_writes(ready, |harbour| {
        harbour.deliver("b.csv", format!("id,points,tx\n\n{rows}"));
        harbour.once().exits(0);
        for name in names(4) {
            assert_eq!((adds.effects)(harbour, &name), 1, "{name}\n{}", harbour.said());
            holds(entry, harbour, &name, "5", "");
        }
        check_promises(entry, harbour);
    });
}
