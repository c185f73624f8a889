//! `once --metrics-file`.

use std::fs;
use std::os::unix::fs::PermissionsExt;

use super::{Scraped, promtool};
use crate::rig::harbour::harbour;
use crate::rig::promises::check_promises;

/// A sweep is a process of its own: what it counted is added to what the sweeps before it counted.
#[test]
fn counters_go_on_from_sweep_to_sweep() {
    let harbour = harbour().folder().points_only().start();
    let path = harbour.home.path().join("passferry.prom");
    let sweep = |exit| {
        harbour.run(&["once", "--metrics-file", "passferry.prom"]).exits(exit);
        let text = fs::read_to_string(&path).unwrap();
        promtool(&["check", "metrics"], &text);
        Scraped::of(&text)
    };
    harbour.deliver("a.csv", "id,points,tier\nC-1,1,a\nC-2,2,a\n");
    let first = sweep(0);
    assert_eq!(first.count("passferry_rows_total", &["outcome=\"applied\""]), 2);
    assert_eq!(first.count("passferry_once_last_exit_code", &[]), 0);
    harbour.deliver("b.csv", "id,points,tier\nC-1,1,a\nC-2,3,a\nC-77,1,a\n");
    let second = sweep(1);
    assert_eq!(second.count("passferry_rows_total", &["outcome=\"applied\""]), 3);
    assert_eq!(second.count("passferry_rows_total", &["outcome=\"unresolved\""]), 1);
    assert_eq!(second.count("passferry_rows_total", &["outcome=\"unchanged\""]), 1);
    assert_eq!(second.count("passferry_once_last_exit_code", &[]), 1);
    assert_eq!(second.count("passferry_requests_total", &[]), harbour.sandbox.requests().total());
    assert_eq!(
        second.count("passferry_request_duration_seconds_bucket", &["le=\"+Inf\""]),
        second.count("passferry_request_duration_seconds_count", &[])
    );
    assert!(
        second.sum("passferry_source_last_listing_timestamp_seconds", &[])
            > first.sum("passferry_source_last_listing_timestamp_seconds", &[])
    );
    assert_eq!(second.count("passferry_platform_up", &[]), 1);
    assert_eq!(fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o644, "the collector is another user");
    let beside: Vec<_> = fs::read_dir(harbour.home.path()).unwrap().map(|entry| entry.unwrap().file_name()).collect();
    assert!(!beside.iter().any(|name| name.to_string_lossy().ends_with(".part")), "{beside:?}");
    check_promises(&harbour);
}

#[test]
fn a_file_that_no_collector_would_read_or_nobody_can_write_is_refused_before_anything_is_done() {
    let harbour = harbour().folder().start();
    harbour.deliver("a.csv", "id,points,tier\nC-1,1,a\n");
    harbour.run(&["once", "--metrics-file", "passferry.txt"]).exits(2).says("*.prom");
    harbour.run(&["once", "--metrics-file", "nowhere/passferry.prom"]).exits(74).says("cannot write to nowhere");
    assert!(harbour.runs().is_empty());
}
