//! Behaviour towards servers that behave, and ones that do not.

mod stub;

use std::collections::HashMap;
use std::io::{Read as _, Write as _};
use std::net::TcpListener;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use super::*;
use crate::outcome::{Code, Outcome};
use crate::platform::ChangeResult;
use stub::{Reply, Rig, Seen, Stub, points, rig, rig_at};

/// Sends one change a name and gives the results by row.
fn apply(dispatch: &Dispatch, stop: &Stop, names: &[String]) -> HashMap<u64, ChangeResult> {
    let (sender, receiver) = dispatch.for_run(stop).changes();
    std::thread::scope(|scope| {
        scope.spawn(move || {
            for (row, name) in names.iter().enumerate() {
                let (change, key) = points(row as u64, name);
                sender.send(change, key);
            }
        });
        std::iter::from_fn(|| receiver.receive()).map(changed).collect()
    })
}

fn changed(came: Came) -> (u64, ChangeResult) {
    match came {
        Came::Change(row, result) => (row, result),
        Came::Add(..) => panic!("no add was sent: {came:?}"),
    }
}

fn names(count: usize) -> Vec<String> {
    (0..count).map(|n| format!("C-{n}")).collect()
}

fn outcomes(results: &HashMap<u64, ChangeResult>, outcome: Outcome) -> usize {
    results.values().filter(|result| result.operations[0].outcome == outcome).count()
}

fn wait_until(mut condition: impl FnMut() -> bool) {
    let end = Instant::now() + Duration::from_secs(20);
    while !condition() {
        assert!(Instant::now() < end, "it never happened");
        std::thread::sleep(Duration::from_millis(1));
    }
}

#[test]
fn changes_of_one_pass_go_in_order_and_different_passes_in_parallel() {
    let stub = Stub::start(|seen| {
        std::thread::sleep(Duration::from_millis(2));
        Reply::done(seen)
    });
    let Rig { dispatch, secret: _secret, .. } = rig(stub.address, |_| {});
    let names: Vec<_> = (0..200).map(|n| format!("C-{}", n % 10)).collect();
    let results = apply(&dispatch, &Stop::new(), &names);
    assert_eq!((results.len(), outcomes(&results, Outcome::Applied)), (200, 200));
    let seen = stub.seen();
    let most = seen.iter().map(|seen| seen.at_once).max().unwrap();
    assert!((2..=8).contains(&most), "{most} at once");
    let mut last: HashMap<&str, i64> = HashMap::new();
    for request in &seen {
        let points = request.body["points"].as_i64().unwrap();
        assert!(last.insert(request.external(), points).is_none_or(|before| before < points));
    }
}

#[test]
fn two_streams_of_an_account_share_the_lanes() {
    let stub = Stub::start(|seen| {
        std::thread::sleep(Duration::from_millis(2));
        Reply::done(seen)
    });
    let Rig { dispatch, secret: _secret, .. } = rig(stub.address, |_| {});
    let stop = Stop::new();
    let (first, second) = (dispatch.for_run(&stop).changes(), dispatch.for_run(&stop).changes());
    for row in 0..20 {
        let (change, key) = points(row, "C");
        if row % 2 == 0 { &first.0 } else { &second.0 }.send(change, key);
    }
    drop((first.0, second.0));
    assert_eq!(std::iter::from_fn(|| first.1.receive()).count() + std::iter::from_fn(|| second.1.receive()).count(), 20);
    let order: Vec<_> = stub.seen().iter().map(|seen| seen.body["points"].as_i64().unwrap()).collect();
    assert_eq!(order, (1..=20).collect::<Vec<_>>());
    assert!(stub.seen().iter().all(|seen| seen.at_once == 1));
}

#[test]
fn a_pause_is_obeyed_by_all_and_refuses_nothing() {
    let told = AtomicUsize::new(0);
    let stub = Stub::start(move |seen| {
        if seen.external() == "C-20" && told.fetch_add(1, Ordering::SeqCst) == 0 {
            return Reply::Answer(429, "retry-after: 1\r\n".to_owned(), "{}".to_owned());
        }
        Reply::done(seen)
    });
    let Rig { dispatch, secret: _secret, .. } = rig(stub.address, |limits| limits.in_flight = 4);
    let results = apply(&dispatch, &Stop::new(), &names(60));
    assert_eq!(outcomes(&results, Outcome::Applied), 60);
    let mut arrivals: Vec<_> = stub.seen().iter().map(|seen| seen.at).collect();
    arrivals.sort();
    let silence = arrivals.windows(2).map(|pair| pair[1] - pair[0]).max().unwrap();
    assert!(silence >= Duration::from_millis(800), "{silence:?} without a request, where a second was asked for");
    assert_eq!((dispatch.counters().slowed, dispatch.counters().repeats), (1, 1));
}

#[test]
fn a_pause_of_ten_years_is_an_outage_and_leaves_the_rows_undone() {
    let stub = Stub::start(|_| Reply::Answer(429, "retry-after: 315360000\r\n".to_owned(), "{}".to_owned()));
    let Rig { dispatch, secret: _secret, .. } = rig(stub.address, |_| {});
    let stop = Stop::new();
    let (sender, receiver) = dispatch.for_run(&stop).changes();
    for (row, name) in names(10).iter().enumerate() {
        let (change, key) = points(row as u64, name);
        sender.send(change, key);
    }
    wait_until(|| matches!(dispatch.health(), Health::Out { reason, .. } if reason.contains("years")));
    stop.drain();
    for _ in 0..10 {
        let (_, result) = changed(receiver.receive().unwrap());
        assert_eq!((result.operations[0].outcome, result.operations[0].code), (Outcome::NotAttempted, Some(Code::RunStopped)));
    }
    assert!(stub.seen().len() <= 8);
}

#[test]
fn a_burst_of_errors_opens_the_breaker_and_everything_ends_applied() {
    let failing = Arc::new(AtomicU64::new(u64::MAX));
    let left = failing.clone();
    let stub = Stub::start(move |seen| match left.fetch_update(Ordering::SeqCst, Ordering::SeqCst, |left| left.checked_sub(1)) {
        Ok(_) => Reply::status(503, "{}"),
        Err(_) => Reply::done(seen),
    });
    let Rig { dispatch, secret: _secret, .. } = rig(stub.address, |_| {});
    let rows = 500;
    let results = std::thread::scope(|scope| {
        let results = scope.spawn(|| apply(&dispatch, &Stop::new(), &names(rows)));
        wait_until(|| matches!(dispatch.health(), Health::Out { .. }));
        let opened_after = dispatch.counters().requests;
        assert!(opened_after <= 70, "{opened_after} requests before the breaker opened");
        failing.store(3, Ordering::SeqCst);
        results.join().unwrap()
    });
    assert_eq!(outcomes(&results, Outcome::Applied), rows);
    let sent = dispatch.counters().requests as usize;
    assert!(sent <= rows + rows / 5, "{sent} requests for {rows} rows");
    assert_eq!(dispatch.health(), Health::Up);
}

/// D4. Ten minutes of outage at a two-hundredth of all pauses.
#[test]
fn ten_minutes_of_outage_cost_a_fifth_more_requests_than_rows_and_refuse_none() {
    let up = Arc::new(std::sync::atomic::AtomicBool::new(false));
    let is_up = up.clone();
    let stub = Stub::start(move |seen| if is_up.load(Ordering::SeqCst) { Reply::done(seen) } else { Reply::status(503, "{}") });
    let Rig { dispatch, secret: _secret, .. } = rig(stub.address, |limits| {
        limits.backoff_min = Duration::from_millis(250) / 200;
        limits.backoff_max = Duration::from_secs(8) / 200;
    });
    let rows = 500;
    let results = std::thread::scope(|scope| {
        let results = scope.spawn(|| apply(&dispatch, &Stop::new(), &names(rows)));
        std::thread::sleep(Duration::from_mins(10) / 200);
        assert!(matches!(dispatch.health(), Health::Out { .. }));
        let probes = dispatch.counters().requests;
        assert!((30..100).contains(&probes), "{probes} requests while it was out");
        up.store(true, Ordering::SeqCst);
        results.join().unwrap()
    });
    assert_eq!(outcomes(&results, Outcome::Applied), rows);
    let sent = dispatch.counters().requests as usize;
    assert!(sent <= rows + rows / 5, "{sent} requests for {rows} rows");
}

#[test]
fn a_row_that_fails_alone_is_refused_and_holds_up_nobody() {
    let stub = Stub::start(|seen| match seen.external() {
        "C-3" => Reply::status(500, r#"{"message":"broken\u0007 record"}"#),
        _ => Reply::done(seen),
    });
    let Rig { dispatch, secret: _secret, .. } = rig(stub.address, |_| {});
    let results = apply(&dispatch, &Stop::new(), &names(100));
    assert_eq!(outcomes(&results, Outcome::Applied), 99);
    let refused = &results[&3].operations[0];
    assert_eq!((refused.outcome, refused.code), (Outcome::Refused, Some(Code::RetriesExhausted)));
    assert_eq!(refused.message, "status 500: “broken  record”");
}

#[test]
fn a_lone_bad_row_is_told_from_a_bad_platform_by_asking_it() {
    let stub = Stub::start(|seen| match seen.path.as_str() {
        "/user/profile" | "/members/program/prog" => Reply::status(200, "{}"),
        _ => Reply::status(500, "{}"),
    });
    let Rig { dispatch, secret: _secret, .. } = rig(stub.address, |_| {});
    let results = apply(&dispatch, &Stop::new(), &names(1));
    assert_eq!(results[&0].operations[0].code, Some(Code::RetriesExhausted));
    assert_eq!(dispatch.health(), Health::Up);
}

#[test]
fn a_rotated_secret_is_taken_up_after_a_401_and_no_row_is_refused() {
    let good: Arc<Mutex<Option<String>>> = Arc::default();
    let known = good.clone();
    let stub = Stub::start(move |seen: &Seen| match &*known.lock().unwrap() {
        Some(old) if *old == seen.authorization => Reply::status(401, r#"{"error":"revoked"}"#),
        _ => Reply::done(seen),
    });
    let Rig { dispatch, secret, .. } = rig(stub.address, |_| {});
    assert_eq!(outcomes(&apply(&dispatch, &Stop::new(), &names(5)), Outcome::Applied), 5);
    *good.lock().unwrap() = Some(stub.seen()[0].authorization.clone());
    std::fs::write(secret.path(), "second").unwrap();
    assert_eq!(outcomes(&apply(&dispatch, &Stop::new(), &names(50)), Outcome::Applied), 50);
    let mut tokens: Vec<_> = stub.seen().into_iter().map(|seen| seen.authorization).collect();
    tokens.sort();
    tokens.dedup();
    assert_eq!(tokens.len(), 2, "signed again once, for all");
}

#[test]
fn credentials_that_stay_refused_are_an_outage() {
    let stub = Stub::start(|_| Reply::status(401, r#"{"error":"no such key"}"#));
    let Rig { dispatch, secret: _secret, .. } = rig(stub.address, |_| {});
    let stop = Stop::new();
    let results = std::thread::scope(|scope| {
        let results = scope.spawn(|| apply(&dispatch, &stop, &names(30)));
        wait_until(|| matches!(dispatch.health(), Health::Out { reason, .. } if reason.contains("no such key")));
        stop.drain();
        results.join().unwrap()
    });
    assert_eq!(outcomes(&results, Outcome::NotAttempted), 30);
}

#[test]
fn a_server_that_is_down_is_waited_for() {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    drop(listener);
    let Rig { dispatch, secret: _secret, .. } = rig(address, |_| {});
    let results = std::thread::scope(|scope| {
        let results = scope.spawn(|| apply(&dispatch, &Stop::new(), &names(40)));
        wait_until(|| matches!(dispatch.health(), Health::Out { reason, .. } if reason.contains("refused")));
        let _stub = Stub::on(TcpListener::bind(address).unwrap(), Reply::done);
        results.join().unwrap()
    });
    assert_eq!(outcomes(&results, Outcome::Applied), 40);
}

#[test]
fn a_server_without_tls_is_an_outage_and_gets_no_credentials() {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    let heard: Arc<Mutex<Vec<u8>>> = Arc::default();
    let log = heard.clone();
    std::thread::spawn(move || {
        for mut stream in listener.incoming().map_while(Result::ok) {
            let mut hello = [0; 4096];
            let length = stream.read(&mut hello).unwrap_or(0);
            log.lock().unwrap().extend_from_slice(&hello[..length]);
            let _ = stream.write_all(b"HTTP/1.1 400 Bad Request\r\n\r\n");
        }
    });
    let Rig { dispatch, secret: _secret, .. } = rig_at(format!("https://{address}"), |_| {});
    let stop = Stop::new();
    std::thread::scope(|scope| {
        let results = scope.spawn(|| apply(&dispatch, &stop, &names(3)));
        wait_until(|| matches!(dispatch.health(), Health::Out { reason, .. } if reason.contains("cannot connect")));
        stop.drain();
        assert_eq!(outcomes(&results.join().unwrap(), Outcome::NotAttempted), 3);
    });
    let heard = heard.lock().unwrap();
    assert!(!heard.is_empty() && !heard.windows(13).any(|window| window.eq_ignore_ascii_case(b"authorization")));
}

/// A16.
#[test]
fn a_panic_at_one_row_refuses_that_row_and_the_lane_of_its_pass_goes_on() {
    let stub = Stub::start(Reply::done);
    let Rig { dispatch, secret: _secret, .. } = rig(stub.address, |_| {});
    let mut names = names(20);
    names[4] = stub::PANICS.to_owned();
    names.push(stub::PANICS.to_owned());
    let results = apply(&dispatch, &Stop::new(), &names);
    assert_eq!((results.len(), outcomes(&results, Outcome::Applied)), (21, 19));
    let refused = &results[&4].operations[0];
    assert_eq!((refused.outcome, refused.code, &refused.fields[..]), (Outcome::Refused, Some(Code::InternalError), &[0][..]));
    assert_eq!(results[&20].operations[0].code, Some(Code::InternalError));
    assert_eq!(outcomes(&apply(&dispatch, &Stop::new(), &names[..3]), Outcome::Applied), 3, "the account goes on");
}

/// A16.
#[test]
fn a_panic_while_passes_are_found_fails_what_panicked_alone() {
    let stub = Stub::start(Reply::done);
    let Rig { dispatch, secret: _secret, .. } = rig(stub.address, |_| {});
    let targets = vec![Target::External("C-1".to_owned()), Target::External(stub::PANICS.to_owned())];
    let findings = dispatch.for_run(&Stop::new()).find(targets);
    assert!(!matches!(findings[0], Finding::Failed { code: Code::InternalError, .. }), "{findings:?}");
    assert!(matches!(findings[1], Finding::Failed { code: Code::InternalError, .. }), "{findings:?}");
}

#[test]
fn a_lost_answer_is_asked_for_again() {
    let dropped = AtomicUsize::new(0);
    let stub = Stub::start(move |seen| match seen.external() {
        "C-7" if dropped.fetch_add(1, Ordering::SeqCst) < 2 => Reply::Drop,
        _ => Reply::done(seen),
    });
    let Rig { dispatch, secret: _secret, .. } = rig(stub.address, |_| {});
    assert_eq!(outcomes(&apply(&dispatch, &Stop::new(), &names(20)), Outcome::Applied), 20);
    assert_eq!(stub.seen().iter().filter(|seen| seen.external() == "C-7").count(), 3);
}

#[test]
fn answers_that_are_too_large_or_too_slow_end_at_their_limits() {
    let stub = Stub::start(|seen| match seen.external() {
        "C-1" => Reply::status(200, &"x".repeat(5000)),
        "C-2" => Reply::Stall,
        _ => {
            std::thread::sleep(Duration::from_millis(1));
            Reply::done(seen)
        }
    });
    let Rig { dispatch, secret: _secret, .. } = rig(stub.address, |limits| {
        limits.timeout = Duration::from_millis(300);
        limits.tries = 2;
    });
    let results = apply(&dispatch, &Stop::new(), &names(400));
    assert!(results[&1].operations[0].message.contains("larger than 4096 bytes"), "{:?}", results[&1]);
    assert!(results[&2].operations[0].message.contains("no complete answer within 300ms"), "{:?}", results[&2]);
    assert_eq!(outcomes(&results, Outcome::Applied), 398);
}

#[test]
fn a_redirect_is_not_followed_and_nobody_else_sees_the_credentials() {
    let elsewhere = Stub::start(Reply::done);
    let place = elsewhere.address;
    let stub = Stub::start(move |_| Reply::Answer(307, format!("location: http://{place}/x\r\n"), String::new()));
    let Rig { dispatch, secret: _secret, .. } = rig(stub.address, |_| {});
    let stop = Stop::new();
    std::thread::scope(|scope| {
        let results = scope.spawn(|| apply(&dispatch, &stop, &names(3)));
        wait_until(|| matches!(dispatch.health(), Health::Out { reason, .. } if reason.contains("redirects to 127.0.0.1")));
        stop.now();
        assert_eq!(outcomes(&results.join().unwrap(), Outcome::NotAttempted), 3);
    });
    assert!(elsewhere.seen().is_empty());
}

#[test]
fn draining_finishes_what_is_under_way_and_begins_nothing() {
    let (reached, release) = (Arc::new(AtomicUsize::new(0)), Arc::new(Mutex::new(())));
    let (count, gate) = (reached.clone(), release.clone());
    let stub = Stub::start(move |seen| {
        count.fetch_add(1, Ordering::SeqCst);
        drop(gate.lock());
        Reply::done(seen)
    });
    let Rig { dispatch, secret: _secret, .. } = rig(stub.address, |limits| limits.in_flight = 3);
    let stop = Stop::new();
    let held = release.lock().unwrap();
    let results = std::thread::scope(|scope| {
        let results = scope.spawn(|| apply(&dispatch, &stop, &names(30)));
        wait_until(|| reached.load(Ordering::SeqCst) == 3);
        stop.drain();
        drop(held);
        results.join().unwrap()
    });
    assert_eq!((outcomes(&results, Outcome::Applied), outcomes(&results, Outcome::NotAttempted)), (3, 27));
    assert_eq!(stub.seen().len(), 3);
}

#[test]
fn stopping_now_abandons_what_is_under_way_and_says_so() {
    let stub = Stub::start(|_| Reply::Stall);
    let Rig { dispatch, secret: _secret, .. } = rig(stub.address, |limits| limits.timeout = Duration::from_hours(1));
    let stop = Stop::new();
    let results = std::thread::scope(|scope| {
        let results = scope.spawn(|| apply(&dispatch, &stop, &names(1)));
        wait_until(|| stub.seen().len() == 1);
        stop.drain();
        stop.now();
        results.join().unwrap()
    });
    assert!(results[&0].operations[0].message.contains("stopped while the answer was awaited"));
}

#[test]
fn findings_come_in_the_order_asked_from_batches_in_parallel() {
    let stub = Stub::start(|seen| {
        let filters = seen.body["filters"]["filterGroups"][0]["fieldFilters"].as_array().cloned().unwrap_or_default();
        let wanted = filters.iter().filter_map(|filter| filter["filterValue"].as_str());
        let lines: Vec<_> =
            wanted.rev().map(|name| format!("{{\"result\":{{\"id\":\"id-{name}\",\"externalId\":\"{name}\"}}}}\n")).collect();
        Reply::status(200, &lines.concat())
    });
    let Rig { dispatch, secret: _secret, .. } = rig(stub.address, |limits| limits.find_batch = 10);
    let targets: Vec<_> = names(95).into_iter().map(Target::External).collect();
    let findings = dispatch.for_run(&Stop::new()).find(targets);
    for (index, finding) in findings.iter().enumerate() {
        assert!(matches!(finding, Finding::Found(found) if found.pass_id == format!("id-C-{index}")), "{index}: {finding:?}");
    }
    assert_eq!(stub.seen().len(), 10);
    let stop = Stop::new();
    stop.drain();
    assert_eq!(dispatch.for_run(&stop).find(vec![Target::External("x".to_owned())]), [Finding::NotAttempted]);
}

#[test]
fn a_probe_reports_instead_of_waiting() {
    let stub = Stub::start(|_| Reply::status(503, r#"{"message":"maintenance"}"#));
    let Rig { dispatch, secret: _secret, .. } = rig(stub.address, |_| {});
    let reach = dispatch.probe();
    assert!(!reach.ok && reach.message.contains("maintenance"), "{reach:?}");
    assert!(dispatch.page(0).fault.is_some_and(|fault| fault.contains("maintenance")));
}

#[test]
fn the_allowance_is_kept() {
    let stub = Stub::start(Reply::done);
    let Rig { dispatch, secret: _secret, .. } = rig(stub.address, |limits| limits.per_second = 100.0);
    let start = Instant::now();
    apply(&dispatch, &Stop::new(), &names(40));
    let last = stub.seen().iter().map(|seen| seen.at).max().unwrap();
    // A burst of 5, then 35 requests, one every 10 ms: never faster, however slow the machine.
    assert!(last - start >= Duration::from_millis(345), "{:?}", last - start);
}

#[test]
fn changes_of_different_passes_travel_together_and_those_of_one_pass_in_turn() {
    let stub = Stub::start(Reply::done);
    let Rig { dispatch, secret: _secret, batches } = rig(stub.address, |limits| limits.change_batch = 10);
    let stop = Stop::new();
    let (sender, receiver) = dispatch.for_run(&stop).changes();
    for row in 0..40 {
        let (change, key) = points(row, &format!("C-{}", row % 20));
        sender.send(change, key);
    }
    drop(sender);
    let mut came: Vec<u64> = Vec::new();
    while let Some(Came::Change(row, result)) = receiver.receive() {
        assert_eq!(result.operations[0].outcome, Outcome::Applied, "{result:?}");
        came.push(row);
    }
    for pass in 0..20 {
        let turns = came.iter().filter(|row| **row % 20 == pass).count();
        let first = came.iter().position(|row| *row == pass).unwrap();
        assert!(turns == 2 && came.iter().position(|row| *row == pass + 20).unwrap() > first);
    }
    let batches = batches.load(std::sync::atomic::Ordering::Relaxed);
    assert!((4..=8).contains(&batches), "{batches} batches for 40 changes, ten at most in each");
}

#[test]
fn a_panic_in_a_batch_ends_its_rows_and_no_others() {
    let stub = Stub::start(Reply::done);
    let Rig { dispatch, secret: _secret, .. } = rig(stub.address, |limits| limits.change_batch = 4);
    let stop = Stop::new();
    let (sender, receiver) = dispatch.for_run(&stop).changes();
    for row in 0..8 {
        let (change, key) = points(row, &if row == 1 { stub::PANICS.to_owned() } else { format!("C-{row}") });
        sender.send(change, key);
    }
    drop(sender);
    let mut outcomes = std::collections::BTreeMap::new();
    while let Some(Came::Change(row, result)) = receiver.receive() {
        outcomes.insert(row, result.operations[0].code);
    }
    assert_eq!(outcomes.len(), 8);
    assert_eq!(outcomes[&1], Some(Code::InternalError));
    assert!((4..8).all(|row| outcomes[&row].is_none()), "{outcomes:?}");
}
