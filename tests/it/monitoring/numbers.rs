//! `/metrics`: right, readable, and of few series.

use std::collections::BTreeMap;
use std::fs;
use std::process::Command;

use passferry::ledger::{KeyState, State};
use passferry::sandbox::{Faults, Latency, Outage, Rule, Trouble};
use passferry::watcher::in_use;

use super::{LISTEN, Scraped, get, listener, promtool, scrape};
use crate::faults::adds::{keys, movements};
use crate::rig::harbour::{Harbour, harbour, wait_until};
use crate::rig::promises::check_promises;

fn rows(passes: u32) -> String {
    let rows: Vec<String> = (1..=passes).map(|n| format!("C-{n},{n},gold\n")).collect();
    format!("id,points,tier\n{}", rows.concat())
}

fn over(harbour: &Harbour, count: usize) {
    wait_until("all runs are over", || {
        let runs = harbour.runs();
        runs.len() == count && runs.iter().all(|run| run.state.is_over())
    });
}

/// All reports of the harbour.
fn reports(harbour: &Harbour) -> Vec<serde_json::Value> {
    let paths = harbour.files().into_iter().filter(|path| path.to_string_lossy().ends_with(".report.json"));
    paths.map(|path| serde_json::from_slice(&fs::read(path).unwrap()).unwrap()).collect()
}

/// Counts of the same name in all reports together.
fn summed(reports: &[serde_json::Value], part: &str) -> BTreeMap<String, u64> {
    let mut sums = BTreeMap::new();
    for (name, count) in reports.iter().flat_map(|report| report[part].as_object().unwrap()) {
        *sums.entry(name.clone()).or_default() += count.as_u64().unwrap();
    }
    sums
}

/// After files with every kind of row, a platform that fails now and then, and names that try to break the format.
#[test]
fn the_numbers_agree_with_reports_platform_and_ledger_after_faults() {
    const HOSTILE: &str = "x\"} 1 passferry_rows_total{feed=\"forged\"} 9.csv";
    let harbour = harbour().more(LISTEN).platform("tries", "2").start();
    harbour.sandbox.faults().set(Faults {
        rules: vec![
            Rule::new(Trouble::Status { code: 400, message: None }).method("PUT").id("C-2"),
            Rule::new(Trouble::Status { code: 500, message: None }).method("PUT").id("C-4"),
            Rule::new(Trouble::DropAfter).method("PUT").id("C-5").next(1),
            Rule::new(Trouble::TooMany { retry_after: Some("0".into()) }).method("PUT").id("C-6").next(1),
        ],
        ..Faults::default()
    });
    let daemon = harbour.start(&["run"]);
    let address = listener(&harbour);
    harbour.deliver("a.csv", format!("{}C-1,99,gold\nC-99,1,gold\nC-3,-1,gold\n,5,gold\n", rows(9)));
    over(&harbour, 1);
    harbour.deliver("b.csv", "id,points\n\"C-1,2\n");
    over(&harbour, 2);
    harbour.deliver(HOSTILE, "id,points,tier,email\nC-7,70,silver,personal@private.example\n");
    over(&harbour, 3);
    wait_until("the file is no longer among those under way", || scrape(&address).0.count("passferry_files", &[]) == 0);
    let (scraped, text) = scrape(&address);
    promtool(&["check", "metrics"], &text);
    for private in ["private.example", "forged", "C-7", "a.csv", "x\\\""] {
        assert!(!text.contains(private), "{private} is told:\n{text}");
    }

    let reports = reports(&harbour);
    assert_eq!(reports.len(), 3);
    let by_outcome = summed(&reports, "rows");
    assert!(by_outcome.len() >= 5, "every kind of row: {by_outcome:?}");
    for (outcome, count) in &by_outcome {
        let told = scraped.count("passferry_rows_total", &["feed=\"points\"", &format!("outcome=\"{outcome}\"")]);
        assert_eq!(told, *count, "rows told and reported as {outcome}");
    }
    let ledger: u64 = harbour.runs().iter().map(|run| run.detail.tally.total()).sum();
    assert_eq!(scraped.count("passferry_rows_total", &[]), ledger);
    let problems = summed(&reports, "problems");
    for (code, count) in &problems {
        let told = scraped.count("passferry_problems_total", &[&format!("code=\"{code}\"")]);
        assert_eq!(told, *count, "problems told and reported as {code}");
    }
    assert_eq!(scraped.count("passferry_problems_total", &[]), problems.values().sum::<u64>());
    assert_eq!(scraped.count("passferry_runs_total", &["end=\"done\""]), 2);
    assert_eq!(scraped.count("passferry_runs_total", &["end=\"failed\""]), 1);
    assert_eq!(scraped.count("passferry_file_faults_total", &["code=\"unterminated-quote\""]), 1);

    let sent = harbour.sandbox.requests().total();
    assert_eq!(scraped.count("passferry_requests_total", &["platform=\"cards\""]), sent);
    assert_eq!(scraped.count("passferry_request_duration_seconds_count", &[]), sent);
    let mut answers: BTreeMap<&str, u64> = BTreeMap::new();
    for entry in harbour.sandbox.requests().all() {
        let class = match entry.status {
            Some(200..300) => "2xx",
            Some(429) => "429",
            Some(400..500) => "4xx",
            Some(500..600) => "5xx",
            Some(other) => panic!("status {other}"),
            None => "lost",
        };
        *answers.entry(class).or_default() += 1;
    }
    assert_eq!(answers.len(), 5, "every kind of answer: {answers:?}");
    for (class, count) in answers {
        assert_eq!(scraped.count("passferry_requests_total", &[&format!("answer=\"{class}\"")]), count, "{class}");
    }
    assert_eq!(scraped.count("passferry_request_slowdowns_total", &[]), 1);
    assert!(scraped.sum("passferry_request_repeats_total", &[]) >= 3.0);
    assert!(scraped.count("passferry_platform_allowance_used_total", &[]) + 1 >= sent, "a probe asks for no leave");
    assert_eq!(scraped.count("passferry_platform_allowance_requests_per_second", &[]), 5000);
    for station in ["fetch", "check", "apply", "report", "archive"] {
        let ended = scraped.sum("passferry_station_duration_seconds_count", &[&format!("station=\"{station}\"")]);
        assert!(ended >= 2.0, "{station}: {ended}");
    }
    for family in ["passferry_build_info", "passferry_ledger_last_commit_duration_seconds", "passferry_spool_size_bytes"] {
        assert!(scraped.has(family), "{family} is not in\n{text}");
    }
    let on_disk = fs::metadata(harbour.state().join("ledger.sqlite")).unwrap().len() as f64;
    assert!(scraped.sum("passferry_ledger_size_bytes", &[]) >= on_disk && on_disk > 0.0);
    assert!(scraped.0.len() < 250, "{} series for one feed", scraped.0.len());
    assert_eq!(daemon.terminate(), 0);
    harbour.sandbox.faults().clear();
    check_promises(&harbour);
}

#[test]
fn a_run_under_way_shows_how_far_it_is() {
    const PASSES: u32 = 120;
    let slow = Faults { latency: Latency::Fixed { ms: 60 }, ..Faults::default() };
    let harbour = harbour().folder().more(LISTEN).points_only().members(PASSES).faults(slow).platform("in_flight", "4").start();
    harbour.deliver("a.csv", rows(PASSES));
    let daemon = harbour.start(&["run"]);
    let address = listener(&harbour);
    let mut seen = Scraped::default();
    wait_until("the run shows itself", || {
        seen = scrape(&address).0;
        seen.sum("passferry_running_rows_per_second", &[]) > 0.0
    });
    assert_eq!(seen.count("passferry_files", &["feed=\"points\"", "state=\"applying\""]), 1, "{seen:?}");
    let waiting = seen.sum("passferry_rows_waiting", &["feed=\"points\""]);
    assert!(waiting > 0.0 && waiting < f64::from(PASSES), "{waiting} rows wait");
    let progress = seen.sum("passferry_running_progress_ratio", &["station=\"apply\""]);
    assert!(progress > 0.0 && progress < 1.0, "{progress}");
    let in_flight = seen.sum("passferry_requests_in_flight", &["platform=\"cards\""]);
    assert!((1.0..=4.0).contains(&in_flight), "{in_flight}");
    assert!(seen.sum("passferry_oldest_waiting_file_age_seconds", &[]) > 0.0);
    harbour.sandbox.faults().set(Faults { outage: Some(Outage::Unavailable), ..Faults::default() });
    wait_until("the platform is seen to be out", || scrape(&address).0.count("passferry_platform_up", &[]) == 0);
    harbour.sandbox.faults().clear();
    over(&harbour, 1);
    wait_until("nothing is shown any more", || {
        seen = scrape(&address).0;
        seen.count("passferry_files", &[]) == 0
    });
    assert_eq!(seen.count("passferry_platform_up", &[]), 1);
    assert_eq!(seen.count("passferry_requests_in_flight", &[]), 0);
    assert_eq!(seen.count("passferry_rows_waiting", &[]), 0);
    assert!(!seen.has("passferry_running_progress_ratio"));
    assert_eq!(seen.count("passferry_rows_total", &["outcome=\"applied\""]), u64::from(PASSES));
    assert_eq!(daemon.terminate(), 0);
    check_promises(&harbour);
}

/// The row ended once in doubt and once as somebody decided; nothing else is counted twice, not by another process either.
#[test]
fn a_settled_row_is_counted_as_what_it_became() {
    let lost = Faults { rules: vec![Rule::new(Trouble::DropBefore).path("/points/")], ..Faults::default() };
    let harbour = movements().platform("read_back", "\"nothing\"").more(LISTEN).faults(lost).start();
    harbour.deliver("a.csv", "txn,id,move,points\nT-1,C-1,earn,50\nT-2,C-2,fly,1\n");
    let daemon = harbour.start(&["run"]);
    let address = listener(&harbour);
    over(&harbour, 1);
    wait_until("the doubt is told", || scrape(&address).0.count("passferry_rows_in_doubt", &["feed=\"points\""]) == 1);
    let (scraped, _) = scrape(&address);
    assert_eq!(scraped.count("passferry_rows_total", &["outcome=\"in-doubt\""]), 1);
    assert_eq!(scraped.count("passferry_runs_total", &["end=\"done-in-doubt\""]), 1);
    assert_eq!(daemon.terminate(), 0);

    harbour.sandbox.faults().clear();
    let daemon = harbour.start(&["run"]);
    wait_until("the second listener is told of", || listener(&harbour) != address);
    let address = listener(&harbour);
    assert_eq!(keys(&harbour, KeyState::InDoubt), 1);
    harbour.run(&["settle", "a.csv:2", "not-applied", "--reason", "the portal shows nothing"]).exits(0);
    wait_until("it is settled", || harbour.state_of("a.csv") == Some(State::Done));
    wait_until("the doubt is gone", || scrape(&address).0.count("passferry_rows_in_doubt", &[]) == 0);
    let (scraped, text) = scrape(&address);
    assert_eq!(scraped.count("passferry_rows_total", &["outcome=\"refused\""]), 1, "{text}");
    assert_eq!(scraped.count("passferry_rows_total", &[]), 1, "the rejected row was told by the process before");
    assert_eq!(scraped.count("passferry_runs_total", &[]), 1);
    assert_eq!(daemon.terminate(), 0);
    check_promises(&harbour);
}

/// All of a changed configuration or nothing: who watches must not lose sight by it.
#[test]
fn a_listener_that_cannot_have_its_new_address_keeps_its_old_one_and_the_configuration() {
    let harbour = harbour().folder().more(LISTEN).start();
    let daemon = harbour.start(&["run"]);
    let address = listener(&harbour);
    let hang_up = || assert!(Command::new("kill").args(["-HUP", &daemon.id().to_string()]).status().unwrap().success());
    let taken = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let other = taken.local_addr().unwrap().to_string();
    harbour.change_config(|text| text.replace("listen = \"127.0.0.1:0\"", &format!("listen = \"{other}\"")));
    hang_up();
    wait_until("it is refused", || in_use(&harbour.state()).is_some_and(|in_use| in_use.refused.is_some()));
    assert!(in_use(&harbour.state()).unwrap().refused.unwrap().why.contains("metrics.listen: cannot listen at"));
    assert_eq!(get(&address, "/healthz").0, 200);
    drop(taken);
    harbour.change_config(|text| text + "[traces]\nendpoint = \"http://127.0.0.1:9\"\n");
    hang_up();
    wait_until("it is taken up", || in_use(&harbour.state()).is_some_and(|in_use| in_use.refused.is_none()));
    assert_eq!(get(&other, "/healthz").0, 200);
    assert!(std::net::TcpStream::connect(&address).is_err());
    assert!(harbour.said().contains("[traces] changed, which is taken up at the next start"));
    harbour.change_config(|text| text.replace("stale_after = \"600ms\"", "stale_after = \"1m\""));
    hang_up();
    wait_until("it is taken up at the same address", || harbour.said().matches("configuration read again").count() == 2);
    assert_eq!(get(&other, "/readyz").0, 200);
    assert_eq!(daemon.terminate(), 0);
    check_promises(&harbour);
}

#[test]
fn the_listener_follows_the_configuration_and_is_for_this_machine_alone() {
    let harbour = harbour().folder().start();
    harbour.deliver("a.csv", rows(3));
    let daemon = harbour.start(&["run"]);
    over(&harbour, 1);
    harbour.change_config(|text| text + LISTEN);
    assert!(Command::new("kill").args(["-HUP", &daemon.id().to_string()]).status().unwrap().success());
    let address = listener(&harbour);
    let (scraped, _) = scrape(&address);
    assert_eq!(scraped.count("passferry_rows_total", &["outcome=\"applied\""]), 3, "counted before anybody could ask");
    assert_eq!(scraped.count("passferry_config_last_reload_successful", &[]), 1);
    assert!(scraped.has("passferry_file_faults_total"), "there from the start, so that the first one is an increase");
    assert_eq!(get(&address, "/nothing").0, 404);

    harbour.change_config(|text| text.replace("127.0.0.1:0", "0.0.0.0:9187"));
    harbour.run(&["check"]).exits(78).says("can be reached from other machines");
    assert!(Command::new("kill").args(["-HUP", &daemon.id().to_string()]).status().unwrap().success());
    wait_until("the refusal is told", || scrape(&address).0.count("passferry_config_last_reload_successful", &[]) == 0);
    harbour.change_config(|text| text.replace("0.0.0.0:9187", "0.0.0.0:9187\"\nallow_remote = true\n#\""));
    harbour.run(&["check"]).exits(0);
    harbour.change_config(|text| text.replace("0.0.0.0:9187", "127.0.0.1"));
    harbour.run(&["check"]).exits(78).says("is no address with a port");
    assert_eq!(daemon.terminate(), 0);
    harbour.change_config(|text| text.replace("listen = \"127.0.0.1\"", "listen = \"127.0.0.1:0\""));
    check_promises(&harbour);
}
