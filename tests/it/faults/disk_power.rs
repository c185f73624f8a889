//! The power goes at any moment. What is on the block device then, and nothing else, is what the next start finds.
//!
//! State and inbox are on one ext4 image. A copy of the image file is what was flushed to it: written and not flushed, a file comes back
//! empty or not at all (asserted below). The copy is mounted, which replays the file system's journal, and the program started on it,
//! against the platform as it was left.

use std::collections::BTreeMap;
use std::fs;
use std::os::unix::fs::symlink;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicUsize, Ordering};

use passferry::outcome::Outcome;
use passferry::spool::sha256_of;

use super::delivery::snapshot;
use crate::rig::crash::{Call, Mode, Moment, calls, traced};
use crate::rig::disk::{Disk, without_flushes};
use crate::rig::harbour::{Harbour, harbour};
use crate::rig::promises::check_promises;

/// `C-1` to `C-30` are set, `C-31` to `C-60` earn.
const SETS: u32 = 30;
const PASSES: u32 = 60;
const EARNED: u32 = 7;

/// Calls that make something last.
const FLUSHES: &str = "sync /";

/// A harbour whose state and inbox are on one disk, with a file of sets and a file of adds in it.
struct Ship {
    disk: Option<Disk>,
    harbour: Harbour,
}

impl Ship {
    fn launch() -> Ship {
        let earned = "[feed.earned]\nsource = \"port\"\ninbox = \"earned\"\npattern = \"*.csv\"\ncontent = \"delta\"\nschema = \"schema.json\"\n\
                      platform = \"cards\"\nenvironment = \"test\"\npass = { external_id = \"id\" }\noperation = \"earn\"\nquiet = \"150ms\"\n\
                      add = { dedupe = \"file\" }\nguard.first_file = false\nguard.rejects = false\nfields.points = \"points\"\n";
        let plan = harbour().folder().points_only().unmodelled().members(PASSES).more(earned);
        let harbour = plan.platform("read_back", "\"events\"").platform("settling", "\"200ms\"").start();
        let place = harbour.home.path().join("disk");
        let disk = Disk::image(&place, &harbour.home.path().join("image"), 24);
        fs::remove_dir_all(&harbour.root).unwrap();
        for folder in ["server/in", "server/earned", "state"] {
            fs::create_dir_all(place.join(folder)).unwrap();
        }
        symlink(place.join("server"), &harbour.root).unwrap();
        symlink(place.join("state"), harbour.state()).unwrap();
        // A reserve would be copied each time.
        harbour.change_config(|text| format!("reserve = 0\n{text}"));
        harbour.deliver("points.csv", snapshot(1..=SETS, 1000) + "C-1,none\nC-9999,5\n");
        let rows: String = (SETS + 1..=PASSES).map(|n| format!("C-{n},{EARNED}\n")).collect();
        harbour.deliver_to("earned", "earned.csv", format!("id,points\n{rows}"));
        flush(&place);
        Ship { disk: Some(disk), harbour }
    }

    fn place(&self) -> PathBuf {
        self.harbour.home.path().join("disk")
    }

    /// Runs a sweep up to a moment. True when it came.
    fn sail(&self, moment: &Moment, flushes: bool) -> (bool, Vec<Call>) {
        let log = self.harbour.home.path().join("calls");
        let (program, args) = traced(&log, moment, &["once"]);
        let args: Vec<&str> = args.iter().map(String::as_str).collect();
        let command = self.harbour.command_of(&program, &args);
        let exit = self.harbour.start_command(if flushes { command } else { without_flushes(command) }).wait();
        let calls = calls(&log);
        let reached = exit == 128 + 9;
        assert!(reached || exit == 1, "{moment:?}: exit {exit}\n{}", self.harbour.said());
        (reached, calls)
    }

    /// The power goes: what is in memory is lost.
    fn lose_power(&mut self) {
        let copy = self.harbour.home.path().join("copy");
        let disk = self.disk.take().unwrap();
        disk.pull_the_plug(&copy);
        drop(disk);
        self.disk = Some(Disk::attach(&self.place(), &copy));
    }
}

fn flush(place: &Path) {
    rustix::fs::syncfs(fs::File::open(place).unwrap()).unwrap();
}

/// How rows ended, by file and record, as far as the ledger knows.
fn known(harbour: &Harbour) -> BTreeMap<(String, u64), Outcome> {
    let mut known = BTreeMap::new();
    for run in harbour.runs() {
        let keep = &mut |row: passferry::ledger::Row| {
            known.extend(row.outcome.map(|outcome| ((run.shown_name(), row.record), outcome)));
            Ok(())
        };
        harbour.ledger().rows(&run.id, &[], keep).unwrap();
    }
    known
}

/// Runs that the log said were over: whoever read it relies on it.
fn said_to_be_over(harbour: &Harbour) -> Vec<String> {
    let said = harbour.said();
    let words: Vec<&str> = said.split_whitespace().collect();
    let over = |words: &&[&str]| {
        words[0] == "run" && words[2] == "is" && ["done", "done-in-doubt", "failed"].iter().any(|end| words[3].starts_with(end))
    };
    words.windows(4).filter(over).map(|words| words[1].to_owned()).collect()
}

/// Sails up to a moment, loses power, starts again, and asserts every promise.
fn cut(moment: &Moment, flushes: bool) {
    let mut ship = Ship::launch();
    let (reached, calls) = ship.sail(moment, flushes);
    let last = calls.last().map(|call| call.line.clone()).unwrap_or_default();
    let told = format!("{moment:?} ({last})");
    let over = said_to_be_over(&ship.harbour);
    let copy = ship.harbour.home.path().join("copy-of-now");
    ship.disk.as_ref().unwrap().pull_the_plug(&copy);
    // The flush of a commit was done and heard of, or all was: what the ledger showed then was acknowledged.
    let committed = moment.mode == Mode::After && last.contains("sync ") && last.contains("ledger");
    let acknowledged = if committed || !reached { known(&ship.harbour) } else { BTreeMap::new() };
    drop(ship.disk.take());
    ship.disk = Some(Disk::attach(&ship.place(), &copy));

    let harbour = &ship.harbour;
    let kept = known(harbour);
    for (row, outcome) in &acknowledged {
        assert_eq!(kept.get(row), Some(outcome), "{told}: an acknowledged outcome of {row:?} is lost");
    }
    let runs = harbour.runs();
    for id in over {
        let run = runs.iter().find(|run| run.id == id);
        assert!(run.is_some_and(|run| run.state.is_over()), "{told}: run {id} was said to be over");
    }
    for run in &runs {
        let data = harbour.state().join(format!("spool/{}.data", run.id));
        if let (Some(sha256), true) = (&run.sha256, data.exists()) {
            assert_eq!(&sha256_of(&data).unwrap(), sha256, "{told}: the copy in the spool");
        }
    }
    if reached {
        let ran = harbour.once();
        assert!(matches!(ran.exit, 0 | 1), "{told}: exit {}\n{}", ran.exit, ran.err);
    }
    for n in 1..=PASSES {
        let wanted = if n <= SETS { 1000 + n } else { EARNED };
        assert!(
            (harbour.points(&format!("C-{n}")) - f64::from(wanted)).abs() < 0.5,
            "{told}: C-{n} has {}",
            harbour.points(&format!("C-{n}"))
        );
    }
    check_promises(harbour);
}

/// Cuts the power at each of these moments, some at a time.
fn cut_at(moments: &[Moment]) {
    let next = AtomicUsize::new(0);
    std::thread::scope(|scope| {
        for _ in 0..3 {
            scope.spawn(|| {
                while let Some(moment) = moments.get(next.fetch_add(1, Ordering::Relaxed)) {
                    cut(moment, true);
                }
            });
        }
    });
}

fn moment(mode: Mode, nth: usize, matching: &str) -> Moment {
    Moment { mode, nth: nth as u64, matching: matching.to_owned() }
}

/// B1.
#[test]
fn what_is_not_flushed_is_gone_after_a_power_cut_and_what_is_flushed_is_there() {
    let mut ship = Ship::launch();
    let place = ship.place();
    fs::write(place.join("flushed"), "here").unwrap();
    flush(&place);
    fs::write(place.join("written"), "gone").unwrap();
    fs::rename(place.join("flushed"), place.join("renamed")).unwrap();
    ship.lose_power();
    assert_eq!(fs::read_to_string(place.join("flushed")).unwrap(), "here");
    assert!(!place.join("renamed").exists());
    assert_ne!(fs::read_to_string(place.join("written")).unwrap_or_default(), "gone");
}

/// B1.
#[test]
fn a_power_cut_at_any_moment_loses_nothing_acknowledged_and_repeats_nothing() {
    let (_, flushes) = Ship::launch().sail(&moment(Mode::Count, 0, FLUSHES), true);
    let count = flushes.len();
    assert!(count > 20, "{count} flushes");
    // Evenly over the road, before and after, and once at its very end.
    let mut moments: Vec<Moment> =
        (0..7).map(|step| moment(if step % 2 == 0 { Mode::After } else { Mode::Before }, 3 + step * (count - 4) / 7, FLUSHES)).collect();
    moments.push(moment(Mode::After, count + 1000, FLUSHES));
    cut_at(&moments);
}

/// B1: at every flush, before and after, and at calls between them. Long: `PASSFERRY_LONG=1`.
#[test]
fn a_power_cut_at_every_flush_loses_nothing_acknowledged_and_repeats_nothing() {
    if std::env::var_os("PASSFERRY_LONG").is_none() {
        return;
    }
    let (_, flushes) = Ship::launch().sail(&moment(Mode::Count, 0, FLUSHES), true);
    let (_, all) = Ship::launch().sail(&moment(Mode::Count, 0, ""), true);
    let mut moments: Vec<Moment> =
        (1..=flushes.len()).flat_map(|nth| [moment(Mode::Before, nth, FLUSHES), moment(Mode::After, nth, FLUSHES)]).collect();
    moments.extend((1..=all.len()).step_by(7).map(|nth| moment(Mode::Before, nth, "")));
    println!("{} power cuts: {} flushes, {} calls", moments.len(), flushes.len(), all.len());
    cut_at(&moments);
}

/// B1. A suite that finds nothing when nothing is flushed would find nothing at all.
#[test]
fn without_flushes_the_same_power_cuts_are_found_to_break_promises() {
    let (_, calls) = Ship::launch().sail(&moment(Mode::Count, 0, "port:"), true);
    let sends = calls.len();
    let moments = [
        moment(Mode::Before, sends / 2, "port:"),
        moment(Mode::Before, sends * 4 / 5, "port:"),
        moment(Mode::After, sends + 1000, "port:"),
    ];
    let broken: Vec<bool> = std::thread::scope(|scope| {
        let cuts: Vec<_> =
            moments.iter().map(|moment| scope.spawn(|| catch_unwind(AssertUnwindSafe(|| cut(moment, false))).is_err())).collect();
        cuts.into_iter().map(|cut| cut.join().unwrap()).collect()
    });
    // What a sweep said at its end is lost for certain; in its middle, what was written down by then.
    assert!(broken[2] && (broken[0] || broken[1]), "{broken:?}");
}
