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

/// A sweep that cannot even begin must not look like the one of yesterday.
#[test]
fn a_sweep_that_fails_early_says_so_and_nothing_of_a_daemon() {
    let harbour = harbour().folder().points_only().start();
    harbour.deliver("a.csv", "id,points\nC-1,1\n");
    let read = || Scraped::of(&fs::read_to_string(harbour.home.path().join("passferry.prom")).unwrap());
    harbour.run(&["once", "--metrics-file", "passferry.prom"]).exits(0);
    let well = read();
    assert!(well.has("passferry_ledger_readable") && !well.has("passferry_config_last_reload_successful"));
    let ledger = rusqlite::Connection::open(harbour.state().join("ledger.sqlite")).unwrap();
    let format: i64 = ledger.query_row("PRAGMA user_version", [], |row| row.get(0)).unwrap();
    ledger.execute_batch("PRAGMA user_version = 4711").unwrap();
    let ran = harbour.run(&["once", "--metrics-file", "passferry.prom"]).says("4711");
    let failed = read();
    assert!(ran.exit > 1 && failed.count("passferry_once_last_exit_code", &[]) == ran.exit as u64, "{:?}", failed.0);
    let ended = |scraped: &Scraped| scraped.sum("passferry_once_last_end_timestamp_seconds", &[]);
    assert!(ended(&failed) > ended(&well));
    assert_eq!(failed.count("passferry_rows_total", &["outcome=\"applied\""]), 1, "counters go on");
    ledger.execute_batch(&format!("PRAGMA user_version = {format}")).unwrap();
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
