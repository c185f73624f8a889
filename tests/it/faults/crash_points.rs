//! Killed at every call that leaves a trace, and started again.

use crate::rig::crash::{Mode, Moment, crash};
use crate::rig::harbour::harbour;
use crate::rig::promises::check_promises;

const FILE: &str = "id,points,tier,email\nC-1,100,gold,a@example.com\nC-2,200,,b@example.com\nC-1,300,gold,a@example.com\nC-3,,silver,\nC-4,none,gold,\nC-99,5,gold,\n";

#[test]
fn probe() {
    let harbour = harbour().folder().feed("quiet", "\"10ms\"").start();
    harbour.deliver("points.csv", FILE);
    let t = std::time::Instant::now();
    let crashed = crash(&harbour, &["once"], &Moment::any(Mode::Count, 0));
    eprintln!("took {:?} exit {}", t.elapsed(), crashed.ran.exit);
    for call in &crashed.calls {
        eprintln!("{} {}", call.class, call.line);
    }
    check_promises(&harbour);
    panic!("{}", crashed.calls.len());
}
