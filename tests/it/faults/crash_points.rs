//! Killed at every call that leaves a trace, and started again: the end must be as if nothing had happened.
//!
//! The suite takes a sample of the calls. `tests/run --long` takes all of them, or, for these tests alone,
//! `PASSFERRY_LONG=1 cargo test --test it crash_points`, which prints how many there were and how many passed.
//! `PASSFERRY_CRASH=before:57` takes one, as a failure names it, and `PASSFERRY_CRASH=every:5` each fifth.

use std::io::Write;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering};

use crate::rig::crash::{Call, Mode, Moment, crash};
use crate::rig::harbour::{Harbour, Plan, harbour};
use crate::rig::portrait::Portrait;
use crate::rig::promises::{check_promises, is_documented};

/// What goes wrong, and when.
struct Scene {
    name: &'static str,
    modes: &'static [Mode],
    /// Only calls that go to the SFTP server.
    to_server: bool,
    plan: fn() -> Plan,
    /// Up to the sweep that is killed.
    before: fn(&Harbour),
    /// After a kill everything ends as without one. Where the platform helps nobody, rows may stay in doubt.
    same_end: bool,
}

/// One moment of each mode in so many is taken in the quick part.
const SAMPLE: usize = 12;
/// Sweeps until a run that was killed must be over.
const SWEEPS_MAX: usize = 4;

const SETS: &str = "id,points,tier,email\nC-1,100,gold,a@example.com\nC-2,200,,b@example.com\nC-1,300,gold,a@example.com\n\
                    C-3,,silver,\nC-4,none,gold,\nC-99,5,gold,\n";

const MIXED: &str = "txn,action,id,points,tier,news\nT-1,earn,C-1,50,,50 for you\nT-2,earn,C-2,100,,\nT-3,burn,C-2,30,,\n\
                     T-4,earn,C-1,7,,\nT-1,earn,C-1,50,,50 for you\nT-5,update,C-3,12,gold,Now gold\nT-6,burn,C-4,5,,\n\
                     T-7,earn,C-99,5,,\nT-8,earn,C-5,none,,\n";

fn sets() -> Plan {
    harbour().folder().feed("quiet", "\"10ms\"")
}

fn adds() -> Plan {
    sets()
        .unmodelled()
        .feed("content", "\"delta\"")
        .feed("operation", "{ column = \"action\" }")
        .feed("add.transaction_id", "\"txn\"")
        .feed("fields.\"person.emailAddress\"", "")
        .feed("notify.message", "\"news\"")
        .feed("notify.field", "\"metaData.news\"")
        .feed("notify.kind", "\"transactional\"")
        .platform("sole_writer", "true")
        .platform("settling", "\"10ms\"")
        .schema(
            r#"{ "fieldsMatch": "superset", "fields": [
                { "name": "txn", "type": "string" }, { "name": "action", "type": "string" }, { "name": "id", "type": "string" },
                { "name": "points", "type": "integer", "constraints": { "minimum": 0 } }, { "name": "tier", "type": "string" },
                { "name": "news", "type": "string" } ] }"#,
        )
}

#[test]
fn a_file_of_sets_ends_as_if_it_had_never_been_killed() {
    enumerate(&Scene {
        name: "sets",
        modes: &Mode::KILLING,
        to_server: false,
        plan: sets,
        before: |harbour| harbour.deliver("points.csv", SETS),
        same_end: true,
    });
}

#[test]
fn a_file_of_adds_is_applied_once_where_the_platform_can_be_asked() {
    let plan = || adds().platform("read_back", "\"events\"");
    enumerate(&Scene {
        name: "adds, events",
        modes: &Mode::KILLING,
        to_server: false,
        plan,
        before: |harbour| harbour.deliver("points.csv", MIXED),
        same_end: true,
    });
}

#[test]
fn a_file_of_adds_is_never_applied_twice_where_the_platform_helps_nobody() {
    let plan = || adds().platform("read_back", "\"nothing\"");
    enumerate(&Scene {
        name: "adds, no help",
        modes: &Mode::KILLING,
        to_server: false,
        plan,
        before: |harbour| harbour.deliver("points.csv", MIXED),
        same_end: false,
    });
}

#[test]
fn a_correction_ends_as_if_it_had_never_been_killed() {
    let before = |harbour: &Harbour| {
        harbour.deliver("points.csv", SETS);
        harbour.once().exits(1);
        let report = String::from_utf8(harbour.read("reports/points.errors.csv")).unwrap();
        harbour.deliver("points.errors.csv", report.replace("C-4,none", "C-4,400"));
    };
    enumerate(&Scene { name: "correction", modes: &Mode::KILLING, to_server: false, plan: sets, before, same_end: true });
}

#[test]
fn a_compressed_file_ends_as_if_it_had_never_been_killed() {
    let before = |harbour: &Harbour| {
        harbour.deliver("older.csv", "id,points\nC-1,1\nC-2,200\nC-7,7\n");
        harbour.once().exits(0);
        let mut gzip = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::default());
        gzip.write_all(SETS.as_bytes()).unwrap();
        harbour.deliver("points.csv.gz", gzip.finish().unwrap());
    };
    enumerate(&Scene { name: "compressed", modes: &Mode::KILLING, to_server: false, plan: sets, before, same_end: true });
}

#[test]
fn a_file_from_a_server_ends_as_if_it_had_never_been_killed_between_requests_to_it() {
    let plan = || harbour().feed("quiet", "\"10ms\"");
    let before = |harbour: &Harbour| harbour.deliver("points.csv", SETS);
    enumerate(&Scene { name: "server", modes: &[Mode::Before, Mode::After], to_server: true, plan, before, same_end: true });
}

/// A14.
#[test]
fn a_file_that_is_stopped_in_order_at_any_call_ends_as_if_it_had_not_been() {
    let plan = || adds().platform("read_back", "\"events\"");
    let before = |harbour: &Harbour| harbour.deliver("points.csv", MIXED);
    enumerate(&Scene { name: "stopped", modes: &[Mode::Term], to_server: false, plan, before, same_end: true });
}

/// Kills a sweep at each of its calls, in each way, and looks at what becomes of it.
fn enumerate(scene: &Scene) {
    let whole = begin(scene);
    let calls = crash(&whole, &["once"], &Moment::any(Mode::Count, 0)).calls;
    check_promises(&whole);
    let clean = Portrait::of(&whole);
    let told = |call: &Call| !scene.to_server || call.line.contains(&format!("port:{}", whole.proxy.port()));

    let (moments, all) = moments(scene, &calls, told);
    drop(whole);
    let failures = Mutex::new(Vec::new());
    let (next, died) = (AtomicUsize::new(0), AtomicUsize::new(0));
    let workers = std::thread::available_parallelism().map_or(2, usize::from).min(moments.len());
    std::thread::scope(|scope| {
        for _ in 0..workers {
            scope.spawn(|| {
                while let Some(moment) = moments.get(next.fetch_add(1, Ordering::Relaxed)) {
                    let result = catch_unwind(AssertUnwindSafe(|| {
                        if survive(scene, moment, &clean) {
                            died.fetch_add(1, Ordering::Relaxed);
                        }
                    }));
                    if let Err(cause) = result {
                        let words = cause.downcast_ref::<String>().cloned().unwrap_or_default();
                        let call = calls.get(moment.nth as usize - 1).map_or("", |call| &call.line);
                        failures.lock().unwrap().push(format!("{}:{} near {call}\n{words}", moment.mode.as_str(), moment.nth));
                    }
                }
            });
        }
    });
    let (taken, died, failures) = (moments.len(), died.into_inner(), failures.into_inner().unwrap());
    // Straight to the terminal: the figures of the long run are wanted, and what a test prints is shown only when it fails.
    let figures =
        format!("{}: {} calls, {all} crash points, {taken} taken, {died} died, {} passed", scene.name, calls.len(), taken - failures.len());
    if taken > SAMPLE {
        let _ = writeln!(std::io::stderr(), "crash points of {figures}");
    } else {
        println!("{figures}");
    }
    assert!(failures.is_empty(), "{} of {taken} crash points of {:?} fail:\n\n{}", failures.len(), scene.name, failures.join("\n\n"));
    // Threads take turns as they like: a few calls may not come in one run that came in another.
    assert!(died * 10 >= taken * 9, "only {died} of {taken} died");
}

fn begin(scene: &Scene) -> Harbour {
    let harbour = (scene.plan)().start();
    (scene.before)(&harbour);
    harbour
}

/// The moments to take, and how many there are.
fn moments(scene: &Scene, calls: &[Call], is_wanted: impl Fn(&Call) -> bool) -> (Vec<Moment>, usize) {
    let asked = std::env::var("PASSFERRY_CRASH").ok();
    let asked = asked.as_deref().map(|asked| asked.split_once(':').expect("PASSFERRY_CRASH=MODE:NTH"));
    if let Some((mode, nth)) = asked.filter(|(mode, _)| *mode != "every") {
        let mode = scene.modes.iter().copied().find(|known| known.as_str() == mode).expect("before, half, after or term");
        return (vec![Moment::any(mode, nth.parse().unwrap())], 1);
    }
    let mut all = Vec::new();
    for &mode in scene.modes {
        for (index, call) in calls.iter().enumerate() {
            // Where the bytes go in one piece, and where nobody else can see a call, before the next is the same as after this.
            let told = match mode {
                Mode::Half => matches!(call.class.as_str(), "write" | "send") && !call.line.starts_with("connect"),
                Mode::After => call.class != "write",
                _ => true,
            };
            if told && is_wanted(call) {
                all.push(Moment::any(mode, index as u64 + 1));
            }
        }
    }
    let count = all.len();
    if std::env::var_os("PASSFERRY_LONG").is_none() {
        let step = asked.map_or(count.div_ceil(SAMPLE), |(_, step)| step.parse().unwrap()).max(1);
        all = all.into_iter().skip(step / 2).step_by(step).collect();
    }
    (all, count)
}

/// True when the moment came. Panics when a promise is broken.
fn survive(scene: &Scene, moment: &Moment, clean: &Portrait) -> bool {
    let harbour = begin(scene);
    let crashed = crash(&harbour, &["once"], moment);
    let reached = crashed.reached;
    // Before it listens to signals, one ends it as it ends any program.
    let ended = crashed.ran.exit == 128 + 15 || is_documented(crashed.ran.exit);
    assert!(moment.mode != Mode::Term || ended, "exit {}\n{}", crashed.ran.exit, crashed.ran.err);
    let mut sweeps = 0;
    loop {
        let exit = harbour.once().exit;
        sweeps += 1;
        if exit == 0 || exit == 1 {
            break;
        }
        assert!(exit == 75 && sweeps < SWEEPS_MAX, "exit {exit} of sweep {sweeps}\n{}", harbour.said());
    }
    assert!(harbour.runs().iter().all(|run| run.state.is_over()), "{}", harbour.said());
    check_promises(&harbour);
    let end = Portrait::of(&harbour);
    let differs = end.differs_from(clean);
    assert!(!scene.same_end || differs.is_empty(), "{differs}\n{}", harbour.said());
    reached
}
