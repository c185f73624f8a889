//! What phones rely on: tags and times that rise, registrations that are their own, pushes that are not lost.

use serde_json::json;

use super::*;

struct Rig {
    _folder: tempfile::TempDir,
    store: Store,
}

impl std::ops::Deref for Rig {
    type Target = Store;

    fn deref(&self) -> &Store {
        &self.store
    }
}

/// A store with the passes `a` and `b`, made at 1.5 s past 1970.
fn rig() -> Rig {
    let folder = tempfile::tempdir().unwrap();
    let store = Store::open(&folder.path().join("deep/passes.sqlite")).unwrap();
    for serial in ["a", "b"] {
        let data = json!({ "storeCard": {}, "z": 1, "n": 0 });
        assert!(store.write(|work| work.insert(serial, Some(serial), "token-of-this-pass", &data, 1_500)).unwrap());
    }
    Rig { _folder: folder, store }
}

impl Rig {
    fn change(&self, serial: &str, now: i64) -> Pass {
        self.write(|work| {
            let mut pass = work.pass(serial)?.unwrap();
            pass.data["n"] = json!(pass.data["n"].as_i64().unwrap() + 1);
            work.change(&pass, now)?;
            Ok(work.pass(serial)?.unwrap())
        })
        .unwrap()
    }

    fn register(&self, device: &str, serial: &str, token: &str, now: i64) -> Registered {
        self.write(|work| work.register(device, serial, token, |token| token == "token-of-this-pass", now)).unwrap()
    }

    fn owed(&self) -> Vec<(String, i64)> {
        let owed = self.read(|work| work.owed(i64::MAX, i64::MAX, 100)).unwrap();
        let mut owed: Vec<_> = owed.into_iter().map(|owed| (owed.token, owed.tag)).collect();
        owed.sort();
        owed
    }

    #[track_caller]
    fn fits(&self) {
        assert_eq!(self.read(|work| work.faults()).unwrap(), Vec::<String>::new());
    }

    fn tokens(&self) -> Vec<String> {
        self.owed().into_iter().map(|(token, _)| token).collect()
    }
}

#[test]
fn a_pass_keeps_its_keys_in_their_order() {
    let rig = rig();
    let pass = rig.read(|work| work.pass("a")).unwrap().unwrap();
    assert_eq!(pass.data.to_string(), r#"{"storeCard":{},"z":1,"n":0}"#);
    assert!(!rig.write(|work| work.insert("a", None, "other", &json!({}), 2_000)).unwrap(), "a number is given once");
    assert_eq!(rig.read(|work| work.pass("a")).unwrap().unwrap().token, "token-of-this-pass");
}

/// Contract 6.3, 6.4. Whatever the clock does.
#[test]
fn tags_rise_with_every_change_and_dates_by_a_second() {
    let rig = rig();
    let mut last = rig.read(|work| work.pass("b")).unwrap().unwrap();
    assert_eq!(last.modified, 2, "rounded up");
    for now in [1_600, 1_600, 1_601, 900, 60_000, 60_999, 60_001] {
        let next = rig.change("b", now);
        assert!(next.tag > last.tag && next.modified > last.modified, "{now}");
        assert!(next.modified * 1000 >= now && next.tag >= now);
        last = next;
    }
    assert!(rig.change("a", 61_000).modified < last.modified + 60, "another pass has times of its own");
}

#[test]
fn a_device_is_told_of_its_own_passes_alone() {
    let rig = rig();
    assert_eq!(rig.register("one", "a", "t1", 1), Registered::New);
    assert_eq!(rig.register("one", "a", "t1", 1), Registered::Known);
    let wrong = rig.write(|work| work.register("two", "a", "t2", |token| token == "wrong", 1)).unwrap();
    assert_eq!((wrong, rig.register("one", "nobody", "t1", 1)), (Registered::Denied, Registered::Denied));
    let changed = |since| rig.read(|work| work.changed("one", since)).unwrap();
    let all = changed(None).unwrap();
    assert_eq!((all.serials, changed(Some(all.tag))), (vec!["a".to_owned()], None));
    rig.change("b", 2_000);
    assert_eq!(changed(Some(all.tag)), None, "the pass of somebody else");
    let pass = rig.change("a", 2_000);
    assert_eq!(changed(Some(all.tag)).unwrap().tag, pass.tag);
}

#[test]
fn one_push_is_owed_a_token_until_what_was_sent_is_the_newest() {
    let rig = rig();
    for (device, serial, token) in [("one", "a", "t1"), ("one", "b", "t1"), ("two", "a", "t2"), ("three", "a", "t2")] {
        rig.register(device, serial, token, 1);
    }
    rig.change("a", 2_000);
    let tag = rig.change("b", 2_000).tag;
    assert_eq!(rig.tokens(), ["t1", "t2"]);
    let sent = rig.read(|work| work.owed(i64::MAX, tag, 100)).unwrap();
    // While they are on their way, another change comes.
    rig.change("b", 2_000);
    rig.write(|work| sent.iter().try_for_each(|owed| work.pushed(owed))).unwrap();
    assert_eq!(rig.tokens(), ["t1"]);
    let owed = rig.read(|work| work.owed(5_000, i64::MAX, 100)).unwrap();
    rig.write(|work| work.put_off(&owed[0], 9_000)).unwrap();
    assert!(rig.read(|work| work.owed(8_999, i64::MAX, 100)).unwrap().is_empty());
    assert_eq!(rig.read(|work| work.owed(9_000, i64::MAX, 100)).unwrap()[0].tries, 1);
}

#[test]
fn another_token_takes_over_what_was_owed_and_who_leaves_is_owed_nothing() {
    let rig = rig();
    rig.register("one", "a", "t1", 1);
    rig.register("one", "b", "t1", 1);
    rig.change("a", 2_000);
    rig.register("one", "b", "t9", 2);
    assert_eq!(rig.tokens(), ["t9"]);
    let unregister = |serial| rig.write(|work| work.unregister("one", serial, |_| true)).unwrap();
    assert_eq!(unregister("a"), Unregistered::Done);
    assert_eq!(rig.tokens(), ["t9"], "the device has another pass");
    assert_eq!((unregister("b"), unregister("b")), (Unregistered::Done, Unregistered::Done));
    assert_eq!(rig.tokens(), Vec::<String>::new());
    rig.fits();
}

#[test]
fn a_token_that_is_gone_takes_older_registrations_with_it() {
    let rig = rig();
    rig.register("one", "a", "t1", 1_000);
    rig.register("one", "b", "t1", 3_000);
    rig.change("a", 4_000);
    assert_eq!(rig.write(|work| work.gone("t1", 2_000)).unwrap(), 1);
    let (a, b) = rig.read(|work| Ok((work.devices_of("a")?, work.devices_of("b")?))).unwrap();
    assert_eq!((a, b, rig.tokens().len()), (0, 1, 0));
    rig.fits();
}

/// Devices under ever new names do not grow a pass without end.
#[test]
fn the_oldest_registrations_of_a_pass_go_first() {
    let rig = rig();
    rig.write(|work| {
        for n in 0..250 {
            work.register(&format!("device-{n}"), "a", &format!("t{n}"), |_| true, n)?;
        }
        Ok(())
    })
    .unwrap();
    assert_eq!(rig.read(|work| work.devices_of("a")).unwrap(), 200);
    assert!(rig.read(|work| work.changed("device-0", None)).unwrap().is_none());
    assert!(rig.read(|work| work.changed("device-249", None)).unwrap().is_some());
    rig.fits();
}

#[test]
fn what_is_forgotten_is_gone_with_who_held_it() {
    let rig = rig();
    rig.register("one", "a", "t1", 1);
    rig.change("a", 2_000);
    let forgotten = rig.write(|work| work.forget(&["a".to_owned(), "nobody".to_owned()])).unwrap();
    assert_eq!((forgotten.passes, forgotten.registrations), (1, 1));
    assert_eq!((rig.tokens().len(), rig.read(|work| work.count()).unwrap()), (0, 1));
}

/// What was deleted is gone from the log as well; a reader who keeps it there is told of.
#[test]
fn the_file_is_not_called_clean_while_its_log_is_kept() {
    let rig = rig();
    let log = || std::fs::metadata(rig.path().with_extension("sqlite-wal")).unwrap().len();
    let reader = Connection::open(rig.path()).unwrap();
    reader.execute_batch("BEGIN; SELECT count(*) FROM pass").unwrap();
    rig.lock().busy_timeout(Duration::ZERO).unwrap();
    let fault = rig.compact().unwrap_err();
    assert!(fault.to_string().contains("another program keeps reading") && log() > 0, "{fault}");
    reader.execute_batch("COMMIT").unwrap();
    rig.compact().unwrap();
    assert_eq!(log(), 0);
}
