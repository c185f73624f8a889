//! Mistakes of the people who run it, and what stands between them and the passes.

use std::process::Stdio;

use passferry::ledger::State;
use serde_json::{Value, json};

use super::delivery::snapshot;
use crate::rig::harbour::{Harbour, Plan, harbour};
use crate::rig::promises::check_promises;

fn guarded() -> Plan {
    harbour().members(100).feed("guard.floor", "10").feed("fields.\"person.emailAddress\"", "")
}

/// What `show RUN --json` tells.
fn shown(harbour: &Harbour, run: &str) -> Value {
    let out = harbour.command(&["show", run, "--json"]).stdout(Stdio::piped()).output().unwrap().stdout;
    serde_json::from_slice(&out).unwrap_or_else(|error| panic!("{error}: {}", String::from_utf8_lossy(&out)))
}

fn full(points: u32, tier: &str) -> String {
    let rows: String = (1..=100).map(|n| format!("C-{n},{},{tier}\n", points + n)).collect();
    format!("id,points,tier\n{rows}")
}

/// F1. Zeroed balances, cleared fields, passes taken away: each holds the file, and nothing is asked before somebody approves.
#[test]
fn a_file_that_would_wipe_passes_is_held_until_somebody_says_so() {
    let wipe = |cells: &str| -> String {
        let rows: String =
            (1..=100).map(|n| if n <= 30 { format!("C-{n},{cells}\n") } else { format!("C-{n},{},gold,keep\n", 10 + n) }).collect();
        format!("id,points,tier,action\n{rows}")
    };
    let schema = r#"{ "fieldsMatch": "superset", "fields": [
        { "name": "id", "type": "string" }, { "name": "points", "type": "integer" },
        { "name": "tier", "type": "string", "x-passferry": { "empty": "clear" } }, { "name": "action", "type": "string" }] }"#;
    let words = "{ column = \"action\", words = { keep = \"update\", gone = \"void\", over = \"expire\" } }";
    for (cells, guard) in [("0,gold,keep", "zeroed"), ("10,,keep", "cleared"), ("10,gold,gone", "cleared"), ("10,gold,over", "cleared")] {
        let harbour = guarded().schema(schema).feed("operation", words).start();
        let rows: String = (1..=100).map(|n| format!("C-{n},{},gold,keep\n", 10 + n)).collect();
        harbour.deliver("monday.csv", format!("id,points,tier,action\n{rows}"));
        harbour.once().exits(0);
        let requests = harbour.sandbox.requests().total();
        harbour.deliver("tuesday.csv", wipe(cells));
        for _ in 0..2 {
            harbour.once().exits(1);
            assert_eq!(harbour.state_of("tuesday.csv"), Some(State::Held), "{cells}");
        }
        assert_eq!(harbour.sandbox.requests().total(), requests, "{cells}: nothing is asked of the platform");
        let report = harbour.report("tuesday.held");
        let verdict = report["guards"].as_array().unwrap().iter().find(|verdict| verdict["guard"] == guard).unwrap();
        assert_eq!(verdict["held"], true, "{cells}: {report:#}");
        assert!(verdict["evidence"].as_str().unwrap().starts_with("30 of 100"), "{verdict}");
        harbour.run(&["approve", "tuesday.csv", "--reason", "the shop closed"]).exits(0);
        harbour.once().exits(0);
        assert_eq!(harbour.state_of("tuesday.csv"), Some(State::Done), "{cells}");
        check_promises(&harbour);
    }
}

/// F1.
#[test]
fn an_approval_is_kept_with_who_when_and_why() {
    let harbour = guarded().start();
    harbour.deliver("monday.csv", full(10, "gold"));
    harbour.once().exits(0);
    harbour.deliver(
        "tuesday.csv",
        full(10, "gold")
            .lines()
            .map(|line| match line.split_once(',') {
                Some((id, _)) if id.starts_with("C-") => format!("{id},0,gold\n"),
                _ => format!("{line}\n"),
            })
            .collect::<String>(),
    );
    harbour.once().exits(1);
    let before = chrono::Utc::now();
    harbour.run(&["approve", "tuesday.csv", "--reason", "season's end, see\nthe mail"]).exits(0);
    harbour.once().exits(0);
    let approval = harbour.run_of("tuesday.csv").detail.approval.unwrap();
    assert_eq!((approval.by.as_str(), approval.reason.as_deref()), ("pat", Some("season's end, see\nthe mail")));
    assert!(approval.at >= before && approval.at <= chrono::Utc::now());
    let report = harbour.report("tuesday");
    assert_eq!(
        (report["approval"]["by"].as_str(), report["approval"]["reason"].as_str()),
        (Some("pat"), Some("season's end, see\nthe mail"))
    );
    assert!(report["approval"]["at"].is_string());
    assert!(harbour.said().contains("approved") && harbour.said().contains("pat"), "{}", harbour.said());
    check_promises(&harbour);
}

/// F2. Off until three files are known; then half of the usual and twice as much, and nothing at all, are held.
#[test]
fn a_file_of_unusual_size_is_held_once_three_are_known() {
    for (passes, holds) in [(49, true), (50, false), (200, false), (201, true)] {
        let harbour = harbour().points_only().members(201).feed("guard.floor", "10").feed("guard.created", "false").start();
        for (day, rows) in (1..).zip([100, 5, 100]) {
            // Files that are as unusual pass while fewer than three are known.
            harbour.deliver(format!("{day}.csv"), snapshot(1..=rows, day * 10));
            harbour.once().exits(0);
        }
        harbour.deliver("4.csv", snapshot(1..=passes, 70));
        let exit = harbour.once().exit;
        assert_eq!((exit, harbour.state_of("4.csv")), if holds { (1, Some(State::Held)) } else { (0, Some(State::Done)) }, "{passes} rows");
        check_promises(&harbour);
    }
}

/// F2. What a person let through, what failed and what was delivered twice is no measure of what is usual.
#[test]
fn held_failed_and_repeated_files_are_no_history() {
    let harbour = harbour().points_only().members(100).feed("guard.floor", "10").start();
    for day in 1..=3 {
        harbour.deliver(format!("{day}.csv"), snapshot(1..=100, day * 10));
        harbour.once().exits(0);
    }
    for day in 4..=8 {
        let name = format!("{day}.csv");
        harbour.deliver(&name, snapshot(1..=20, day * 10));
        harbour.once().exits(1);
        assert_eq!(harbour.state_of(&name), Some(State::Held), "day {day}");
        harbour.run(&["approve", &name]).exits(0);
        harbour.once().exits(0);
        harbour.deliver(format!("{day}-again.csv"), snapshot(1..=20, day * 10));
        harbour.once();
    }
    check_promises(&harbour);
}

/// F3.
#[test]
fn the_first_file_of_a_new_and_of_a_changed_feed_is_held_with_samples() {
    let harbour = guarded().feed("guard.first_file", "true").start();
    harbour.deliver("1.csv", full(10, "gold"));
    harbour.once().exits(1);
    assert_eq!(harbour.sandbox.requests().total(), 0);
    let report = harbour.report("1.held");
    assert_eq!(report["guards"][0]["guard"], "first-file");
    let samples = report["moves"]["samples"].as_array().unwrap();
    assert_eq!(samples.len(), 20, "{report:#}");
    assert_eq!((samples[0]["field"].is_string(), samples[0]["to"].is_string(), samples[0]["line"].is_u64()), (true, true, true));
    assert_eq!(report["moves"]["requests"], 101, "one to find the passes, one for each");
    assert_eq!(shown(&harbour, "1.csv")["moves"]["samples"].as_array().map(Vec::len), Some(20));
    harbour.run(&["approve", "1.csv"]).exits(0);
    harbour.once().exits(0);
    harbour.deliver("2.csv", full(20, "gold"));
    harbour.once().exits(0);
    // Every change of what a feed means makes its next file a first one again.
    for (index, (from, to)) in [
        ("fields.points = \"points\"", "fields.points = \"points\"\nfields.\"metaData.copy\" = \"tier\""),
        ("operation = \"update\"", "operation = \"update\"\nseveral = \"all\""),
        ("operation = \"update\"", "operation = \"update\"\ntimezone = \"Europe/Paris\""),
    ]
    .into_iter()
    .enumerate()
    {
        harbour.change_config(|text| text.replacen(from, to, 1));
        let name = format!("changed-{index}.csv");
        let requests = harbour.sandbox.requests().total();
        harbour.deliver(&name, full(30 + index as u32, "gold"));
        harbour.once().exits(1);
        assert_eq!(harbour.state_of(&name), Some(State::Held), "{to}");
        assert_eq!(harbour.report(&format!("changed-{index}.held"))["guards"][0]["guard"], "changed-feed");
        assert_eq!(harbour.sandbox.requests().total(), requests);
        harbour.run(&["approve", &name]).exits(0);
        harbour.once().exits(0);
    }
    check_promises(&harbour);
}

/// F3. An approval counts for what was shown.
#[test]
fn an_approval_does_not_count_for_a_feed_that_changed_meanwhile() {
    let harbour = guarded().feed("guard.first_file", "true").start();
    harbour.deliver("1.csv", full(10, "gold"));
    harbour.once().exits(1);
    harbour.run(&["approve", "1.csv"]).exits(0);
    harbour.change_config(|text| text.replacen("fields.points = \"points\"", "fields.secondaryPoints = \"points\"", 1));
    harbour.once().exits(1);
    assert_eq!(harbour.state_of("1.csv"), Some(State::Held));
    assert_eq!(harbour.sandbox.requests().total(), 0);
    harbour.run(&["discard", "1.csv"]).exits(0);
    harbour.once();
    check_promises(&harbour);
}

/// F4.
#[test]
fn a_file_in_the_wrong_inbox_is_rejected_without_a_call() {
    let harbour = harbour().start();
    // Another export, the same columns under other names, another delimiter in the header, rows without their header.
    let wrong = [
        ("orders", "order,amount,currency\n1,2,EUR\n"),
        ("renamed", "customer_id,balance,level,mail\nC-1,1,gold,a@example.com\n"),
        ("pipes", "id,points|tier\nC-1,1|gold\n"),
        ("headless", "C-1,1,gold,a@example.com\nC-2,2,gold,b@example.com\n"),
    ];
    for (name, content) in wrong {
        harbour.deliver(format!("{name}.csv"), content);
        harbour.once().exits(65);
        let report = harbour.report(name);
        assert_eq!(report["state"], "failed", "{name}");
        let message = report["fault"]["message"].as_str().unwrap();
        assert!(message.contains("column") || message.contains("delimiter"), "{name}: {message}");
    }
    assert_eq!(harbour.sandbox.requests().total(), 0);
    check_promises(&harbour);
}

/// F7.
#[test]
fn test_and_production_never_mix() {
    for (feed, platform) in [("\"test\"", "\"production\""), ("\"production\"", "\"test\""), ("", "\"test\""), ("\"test\"", "")] {
        let harbour = harbour().feed("environment", feed).platform("environment", platform).start();
        harbour.deliver("points.csv", snapshot(1..=9, 10));
        for command in ["once", "run", "check"] {
            let ran = harbour.run(&[command]);
            assert_eq!(ran.exit, 78, "{command}: {}", ran.err);
        }
        let told = harbour.command(&["check"]).stdout(Stdio::piped()).stderr(Stdio::piped()).output().unwrap();
        let told = String::from_utf8_lossy(&[told.stdout, told.stderr].concat()).into_owned();
        assert!(told.contains("feed.points.environment"), "{told}");
        assert_eq!(harbour.sandbox.requests().total(), 0);
        assert!(harbour.inbox().join("points.csv").exists());
    }
}

/// F7. The files wait where they are while a feed is turned from test to production, and go to the account it then names.
#[test]
fn a_feed_that_goes_live_starts_with_a_held_file() {
    let harbour = harbour().feed("guard.first_file", "true").start();
    harbour.deliver("trial.csv", snapshot(1..=9, 10));
    harbour.once().exits(1);
    harbour.run(&["approve", "trial.csv"]).exits(0);
    harbour.once().exits(0);
    let production = passferry::sandbox::Sandbox::start(passferry::sandbox::Settings {
        key: crate::rig::harbour::KEY.into(),
        secret: crate::rig::harbour::SECRET.into(),
        ..passferry::sandbox::Settings::default()
    })
    .unwrap();
    harbour.change_config(|text| {
        text.replace("environment = \"test\"", "environment = \"production\"").replace(&harbour.sandbox.base_url(), &production.base_url())
    });
    harbour.deliver("live.csv", snapshot(1..=9, 20));
    harbour.once().exits(1);
    assert_eq!(harbour.state_of("live.csv"), Some(State::Held));
    assert_eq!(harbour.report("live.held")["guards"][0]["guard"], "changed-feed");
    assert_eq!(production.requests().total(), 0);
    assert_eq!(harbour.report("live.held")["rows"], json!({ "to-send": 9 }), "what the test account knew counts nothing here");
}
