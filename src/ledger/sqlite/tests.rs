use super::*;
use crate::ledger::key::Decision;
use crate::ledger::run::{State, WishKind};
use crate::ledger::{Ended, FieldState, Keeping, Mark};
use crate::row::Verb;

fn ledger() -> (tempfile::TempDir, Sqlite, Fence) {
    let folder = tempfile::tempdir().unwrap();
    let ledger = Sqlite::open(&folder.path().join("ledger.sqlite")).unwrap();
    let fence = ledger.lead().unwrap();
    (folder, ledger, fence)
}

pub(super) fn run(name: &str) -> Run {
    Run {
        id: String::new(),
        feed: "points".into(),
        account: "loyalty".into(),
        source: "warehouse".into(),
        size: 10,
        mtime: 20,
        state: State::Applying,
        ..Run::example(name)
    }
}

pub(super) fn row(number: u64, pass: u128) -> Row {
    Row {
        number,
        record: number + 1,
        line: number + 2,
        offset: 0,
        length: 0,
        pass: Some(PassKey(pass)),
        verb: Verb::Update,
        mask: 1 << 63 | 1,
        adds: 0,
        deferred: false,
        taken: false,
        stamp: None,
        outcome: None,
        detail: RowDetail::default(),
    }
}

fn end(number: u64, pass: u128, outcome: Outcome, known: &[u16]) -> RowEnd {
    let known = known.iter().map(|&field| FieldState { field, mark: Mark::EMPTY, day: 1 }).collect();
    RowEnd {
        number,
        outcome: Ended::As(outcome),
        detail: RowDetail::default(),
        pass: Some(PassKey(pass)),
        known,
        unknown: vec![],
        forget: false,
    }
}

#[test]
fn an_old_fence_writes_nothing() {
    let (_folder, ledger, old) = ledger();
    let run = ledger.open_run(old, run("a.csv")).unwrap();
    let new = ledger.lead().unwrap();
    assert!(matches!(ledger.add_rows(old, &run.id, &[row(0, 1)]), Err(LedgerError::Fenced)));
    assert!(ledger.pending_rows(&run.id, 0, 10).unwrap().is_empty());
    ledger.add_rows(new, &run.id, &[row(0, 1)]).unwrap();
    assert_eq!(ledger.pending_rows(&run.id, 0, 10).unwrap(), vec![row(0, 1)]);
}

#[test]
fn outcomes_and_baseline_are_one() {
    let (_folder, ledger, fence) = ledger();
    let run = ledger.open_run(fence, run("a.csv")).unwrap();
    let high = u128::MAX - 5;
    ledger.add_rows(fence, &run.id, &[row(0, 1), row(1, high), row(2, 7)]).unwrap();
    ledger.end_rows(fence, &run.id, "loyalty", &[end(0, 1, Outcome::Applied, &[0, 1]), end(1, high, Outcome::Applied, &[2])], &[]).unwrap();
    assert_eq!(ledger.tally(&run.id).unwrap().get(Outcome::Applied), 2);
    assert_eq!(ledger.pending_rows(&run.id, 0, 10).unwrap().len(), 1);
    let mut seen = Vec::new();
    ledger.baseline_range("loyalty", PassKey(0), PassKey(u128::MAX), &mut |known| seen.push((known.pass, known.fields.len()))).unwrap();
    assert_eq!(seen, vec![(PassKey(1), 2), (PassKey(high), 1)]);
    assert_eq!(ledger.baseline_of("loyalty", &[PassKey(1), PassKey(2)]).unwrap().len(), 1);
    assert_eq!(ledger.touches("loyalty", PassKey(high), 10).unwrap()[0].row.outcome, Some(Outcome::Applied));
}

#[test]
fn passes_that_may_have_been_sent_are_distrusted() {
    let (_folder, ledger, fence) = ledger();
    let first = ledger.open_run(fence, run("a.csv")).unwrap();
    ledger.add_rows(fence, &first.id, &[row(0, 1), row(1, 2)]).unwrap();
    ledger.end_rows(fence, &first.id, "loyalty", &[end(0, 1, Outcome::Applied, &[0]), end(1, 2, Outcome::Applied, &[0])], &[]).unwrap();
    let second = ledger.open_run(fence, run("b.csv")).unwrap();
    ledger.add_rows(fence, &second.id, &[row(0, 2)]).unwrap();
    let mut pending = Vec::new();
    ledger
        .pending_passes(std::slice::from_ref(&second.id), &mut |row| pending.push((row.feed.to_owned(), row.pass, row.verb, row.mask)))
        .unwrap();
    assert_eq!(pending, vec![("points".to_owned(), PassKey(2), Verb::Update, 1 << 63 | 1)]);
    assert_eq!(ledger.distrust_pending(fence, &second.id, "loyalty").unwrap(), 1);
    assert_eq!(ledger.baseline_count("loyalty").unwrap(), 1);
}

#[test]
fn runs_are_found_again_and_wishes_taken_once() {
    let (folder, ledger, fence) = ledger();
    let first = ledger.open_run(fence, run("a.csv")).unwrap();
    let second = ledger.open_run(fence, run("caf\u{e9}.csv")).unwrap();
    assert_ne!(first.id, second.id);
    let found = ledger.run_of_delivery("warehouse", "in".into(), "a.csv".into(), 10, 20).unwrap().unwrap();
    assert_eq!(found.id, first.id);
    assert!(ledger.run_of_delivery("warehouse", "in".into(), "a.csv".into(), 10, 21).unwrap().is_none());
    assert_eq!(ledger.runs(&RunFilter { limit: Some(1), ..RunFilter::default() }).unwrap()[0].id, second.id);
    assert!(ledger.runs(&RunFilter { states: vec![State::Held], ..RunFilter::default() }).unwrap().is_empty());
    // A command in another process.
    let command = Sqlite::open(&folder.path().join("ledger.sqlite")).unwrap();
    let wish = Wish { what: WishKind::Approve, by: "somebody".into(), reason: None, at: Utc::now() };
    command.wish(&first.id, Some(wish.clone())).unwrap();
    assert_eq!(ledger.take_wish(fence, &first.id).unwrap(), Some(wish.clone()));
    assert_eq!(ledger.take_wish(fence, &first.id).unwrap(), None);
    // What follows from a wish is written with it, and only while it is that wish.
    let fetched = Run { state: State::Fetched, ..first.clone() };
    assert!(!ledger.save_answered(fence, &fetched, &wish).unwrap());
    command.wish(&first.id, Some(wish.clone())).unwrap();
    assert!(!ledger.save_answered(fence, &fetched, &Wish { what: WishKind::Discard, ..wish.clone() }).unwrap());
    assert_eq!(ledger.run(&first.id).unwrap().unwrap().state, State::Applying);
    assert!(ledger.save_answered(fence, &fetched, &wish).unwrap());
    assert_eq!(ledger.run(&first.id).unwrap().unwrap().state, State::Fetched);
    assert_eq!(ledger.peek_wish(&first.id).unwrap(), None);
    assert!(matches!(command.wish("nope", None), Err(LedgerError::NoRun(_))));
}

#[test]
fn field_names_keep_their_numbers() {
    let (_folder, ledger, _fence) = ledger();
    let points = ledger.field_id("loyalty", "points").unwrap();
    let tier = ledger.field_id("loyalty", "tierId").unwrap();
    assert_ne!(points, tier);
    assert_eq!(ledger.field_id("loyalty", "points").unwrap(), points);
    assert_eq!(ledger.field_names("loyalty").unwrap().len(), 2);
}

#[test]
fn a_newer_or_damaged_ledger_is_refused() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("ledger.sqlite");
    drop(Sqlite::open(&path).unwrap());
    Connection::open(&path).unwrap().execute_batch("PRAGMA user_version = 99").unwrap();
    assert!(matches!(Sqlite::open(&path), Err(LedgerError::TooNew { found: 99, .. })));
    std::fs::write(&path, b"not a ledger at all, whatever its name may say; it is long enough to be looked at").unwrap();
    assert!(matches!(Sqlite::open(&path), Err(LedgerError::Damaged { .. })));
}

#[test]
fn a_ledger_of_an_older_format_is_copied_before_it_is_changed() {
    let (folder, ledger, fence) = ledger();
    ledger.open_run(fence, run("a.csv")).unwrap();
    drop(ledger);
    let path = folder.path().join("ledger.sqlite");
    let known: u32 = Connection::open(&path).unwrap().query_row("PRAGMA user_version", [], |row| row.get(0)).unwrap();
    let steps = |last: &'static str| [vec![""; known as usize], vec![last]].concat();
    let copy = schema::old_format(&path, known);

    // A step that fails leaves the ledger as it was.
    let mut connection = Connection::open(&path).unwrap();
    assert!(schema::migrate_by(&mut connection, &path, &steps("CREATE TABLE more(x INTEGER) STRICT; SELECT nonsense;")).is_err());
    assert_eq!(Sqlite::open(&path).unwrap().runs(&RunFilter::default()).unwrap().len(), 1);
    assert!(connection.prepare("SELECT * FROM more").is_err(), "not half");

    schema::migrate_by(&mut connection, &path, &steps("CREATE TABLE more(x INTEGER) STRICT")).unwrap();
    assert!(connection.prepare("SELECT * FROM more").is_ok());
    assert!(matches!(Sqlite::open(&path), Err(LedgerError::TooNew { .. })), "the older program refuses the newer ledger");
    let old = Sqlite::open(&copy).unwrap();
    assert_eq!(old.runs(&RunFilter::default()).unwrap().len(), 1, "and goes on with the copy");
    assert_eq!(
        std::fs::read_dir(folder.path())
            .unwrap()
            .filter(|entry| entry.as_ref().unwrap().path().extension().is_some_and(|ending| ending == "new"))
            .count(),
        0
    );
}

#[test]
fn what_is_removed_leaves_the_file() {
    let (folder, ledger, fence) = ledger();
    let run = ledger.open_run(fence, run("a.csv")).unwrap();
    let quoting = |number: u64| Row {
        detail: RowDetail::problem(Problem::new(crate::outcome::Code::TypeError, None, format!("PRIVATE-{number} is not a number"))),
        outcome: Some(if number == 7 { Outcome::InDoubt } else { Outcome::Rejected }),
        ..row(number, u128::from(number))
    };
    for first in [0, 2000] {
        // Written twice in another order, so that pages are split and rows moved about.
        ledger.add_rows(fence, &run.id, &(first..first + 2000).map(|number| row(number, 1)).collect::<Vec<_>>()).unwrap();
        ledger.add_rows(fence, &run.id, &(first..first + 2000).rev().map(quoting).collect::<Vec<_>>()).unwrap();
    }
    let mut changed = Vec::new();
    while changed.last() != Some(&0) {
        changed.push(ledger.remove_details(fence, &run.id, 1500).unwrap());
    }
    assert_eq!(changed, [1500, 1500, 999, 0], "in small transactions, and the row in doubt keeps what it needs");
    ledger.compact().unwrap();
    drop(ledger);
    let content = std::fs::read(folder.path().join("ledger.sqlite")).unwrap();
    let left = memchr::memmem::find_iter(&content, b"PRIVATE-").count();
    assert_eq!(left, 1);
    let log = std::fs::read(folder.path().join("ledger.sqlite-wal")).unwrap_or_default();
    assert_eq!(memchr::memmem::find_iter(&log, b"PRIVATE-").count(), 0);
}

#[test]
fn a_decision_outlives_the_try_that_it_asked_for() {
    let (_folder, ledger, fence) = ledger();
    let run = ledger.open_run(fence, run("a.csv")).unwrap();
    let key = AddKey { row: crate::row::RowKey(7), kind: crate::row::AddKind::Earn };
    let intent = Intent { key, pass: PassKey(1), line: 2, amount: "points 5".into(), print: 3, before: None, earlier: Vec::new() };
    let write_down = || ledger.intend(fence, "loyalty", &run.id, std::slice::from_ref(&intent)).unwrap();
    assert_eq!(write_down(), [Intended::Send]);
    let doubt = KeyEnd { key, state: KeyState::InDoubt, evidence: "lost".into() };
    assert_eq!(ledger.in_doubt_by_run().unwrap(), []);
    ledger.end_rows(fence, &run.id, "loyalty", &[], &[doubt]).unwrap();
    assert_eq!(ledger.in_doubt_by_run().unwrap(), [(run.id.clone(), 1)]);
    let settlement = |decision| Settlement { decision, by: "pat".into(), reason: "seen".into(), at: chrono::Utc::now() };
    let settle = |decision, state| {
        let settlement = settlement(decision);
        ledger.ask_to_settle(&run.id, 2, key, &settlement).unwrap();
        let asked = ledger.to_settle().unwrap().pop().unwrap();
        assert_eq!((asked.key, &asked.settlement), (Some(key), &settlement));
        ledger.settle(fence, &asked, "loyalty", &[(key, state)], None).unwrap();
        ledger.answer_settling(fence, &asked).unwrap();
    };
    let note = || ledger.keys(&[key]).unwrap().remove(0).unwrap();
    settle(Decision::NotApplied, KeyState::NotApplied);
    assert!(note().is_declined());
    settle(Decision::Resend, KeyState::NotApplied);
    assert!(!note().is_declined());
    assert_eq!(write_down(), [Intended::SendAgain]);
    assert_eq!(note().settled.map(|settled| (settled.decision, settled.reason)), Some((Decision::Resend, "seen".into())));
    // What an earlier version asked for is about all adds of the row.
    let old = serde_json::to_string(&settlement(Decision::Applied)).unwrap();
    ledger
        .write_unfenced(|work| Ok(work.execute("INSERT INTO settling(run, line, settlement) VALUES ('x', 2, ?1)", [&old]).unwrap()))
        .unwrap();
    assert_eq!(ledger.to_settle().unwrap().pop().unwrap().key, None);
}

#[test]
fn an_end_is_noted_with_the_run_and_a_message_with_what_it_tells() {
    use crate::ledger::telling::{Letter, Noting, Passage, Standing, Telling};
    let (_folder, ledger, fence) = ledger();
    let mut run = ledger.open_run(fence, run("a.csv")).unwrap();
    for state in [State::Reporting, State::Reporting, State::Failed, State::Failed] {
        run.state = state;
        ledger.save_run(fence, &run).unwrap();
    }
    let endings = ledger.endings().unwrap();
    assert_eq!(endings.iter().map(|ending| (&*ending.run, ending.state)).collect::<Vec<_>>(), [(&*run.id, State::Failed)], "once");
    let at = "2026-11-20T06:00:00Z".parse().unwrap();
    let letter = Letter {
        id: "msg_1".into(),
        way: "ops".into(),
        at,
        body: "{}".into(),
        passage: Passage::Waiting,
        tries: 0,
        next: at,
        fault: None,
        ended: None,
    };
    let standing = Standing { way: "ops".into(), key: "held:x".into(), mark: String::new(), since: at, told: Some(at) };
    let noting = Noting {
        stands: vec![standing.clone()],
        letters: vec![letter.clone()],
        digested: vec![("ops".into(), at)],
        endings_to: Some(endings[0].number),
        fell: vec![],
        met: vec![("ops".into(), at)],
        left: vec![],
    };
    assert!(matches!(ledger.note_alerts(Fence(fence.0 + 1), &noting), Err(LedgerError::Fenced)));
    assert_eq!(ledger.endings().unwrap().len(), 1, "all of it or nothing");
    ledger.note_alerts(fence, &noting).unwrap();
    assert_eq!((ledger.endings().unwrap(), ledger.standing().unwrap()), (vec![], vec![standing]));
    assert_eq!(ledger.met().unwrap(), [("ops".to_owned(), at)]);
    ledger.note_alerts(fence, &Noting { left: vec!["ops".into()], ..Noting::default() }).unwrap();
    assert_eq!(ledger.met().unwrap(), []);
    assert_eq!(ledger.letters_waiting(Some("ops")).unwrap(), std::slice::from_ref(&letter));
    let summary = Letter { id: "msg_2".into(), ..letter.clone() };
    ledger.fold_letters(fence, &["msg_1".into()], &summary).unwrap();
    let sent = Letter { passage: Passage::Sent, tries: 1, ended: Some(at), ..summary };
    ledger.save_letter(fence, &sent).unwrap();
    assert_eq!((ledger.letters_waiting(None).unwrap(), ledger.count_sent("ops", at).unwrap()), (vec![], 1));
    ledger.forget_letters(fence, at + chrono::TimeDelta::seconds(1)).unwrap();
    assert_eq!(ledger.count_sent("ops", at).unwrap(), 0);
}

#[test]
fn rows_are_taken_up_once_and_a_retry_is_made_once() {
    let (_folder, ledger, fence) = ledger();
    let parent = ledger.open_run(fence, Run { state: State::Done, ..run("a.csv") }).unwrap();
    let ended = |number, outcome| Row { outcome: Some(outcome), ..row(number, u128::from(number)) };
    let kept_back = RowDetail::problem(Problem::new(Code::PlanOnly, None, "plan"));
    let rows = [
        ended(0, Outcome::Refused),
        ended(1, Outcome::Rejected),
        ended(2, Outcome::Applied),
        Row { detail: kept_back, ..ended(3, Outcome::NotAttempted) },
    ];
    ledger.add_rows(fence, &parent.id, &rows).unwrap();
    let again = |records: &[u64]| ledger.request_retry(parent.again(records.to_vec(), String::new())).unwrap();
    let Requested::Made(first) = again(&[1, 2]) else { panic!("nothing is on its way") };
    assert!(matches!(again(&[1, 2]), Requested::UnderWay(id) if id == first.id));
    ledger.save_run(fence, &Run { state: State::Done, ..first.clone() }).unwrap();
    for _ in 0..2 {
        ledger.take_up(fence, &parent.id, &first.id, &[1, 3, 4], &[Code::PlanOnly]).unwrap();
    }
    ledger.take_up(fence, &parent.id, "other", &[1], &[]).unwrap();
    let known = ledger.run(&parent.id).unwrap().unwrap().detail;
    assert_eq!((known.taken_up, known.taken_rows.total(), known.taken_rows.get(Outcome::Refused)), (1, 2, 1));
    assert_eq!(known.continued_by, [first.id, "other".to_owned()]);
    let Requested::Made(second) = again(&[1, 2]) else { panic!("one record is left") };
    assert_eq!(second.detail.picked, [2]);
    ledger.save_run(fence, &Run { state: State::Done, ..second }).unwrap();
    assert!(matches!(again(&[1]), Requested::NothingLeft));
}

#[test]
fn a_feed_tells_who_paused_it_and_why() {
    let (_folder, ledger, _fence) = ledger();
    for (paused, reason) in [(true, "maintenance"), (true, "again"), (false, "done")] {
        ledger.set_paused("points", paused, "anna", Some(reason)).unwrap();
        let last = &ledger.pausings().unwrap()[0];
        assert_eq!((last.paused, ledger.paused().unwrap().len()), (paused, usize::from(paused)));
    }
    assert_eq!(ledger.pausings().unwrap()[0].reason.as_deref(), Some("done"));
}
