//! From being noted to being taken: signed, tried again, never lost, never too many, and one day given up.

use std::time::Duration;

use passferry::ledger::State;

use super::{BAD, SIGNING, nothing_is_given_away, start, telling, webhook};
use crate::rig::harbour::wait_until;
use crate::rig::promises::check_promises;
use crate::rig::receiver::{Next, Receiver, free_port};

#[test]
fn a_message_is_signed_and_keeps_its_name_until_it_is_taken() {
    let receiver = Receiver::start();
    receiver.then(&[Next::Answer(500), Next::Hang]);
    let section = webhook(&receiver.url(), "rejected_above = \"10%\"\npage = \"https://ferry.example.com\"");
    let plan = telling(&section).feed("guard.first_file", "true").feed("fields.\"person.emailAddress\"", "\"email\"").unmodelled();
    let harbour = start(plan);
    let rows = "id,points,email\nC-1,5,ann@planted.example\nC-2,none-of-it,bob@planted.example\n";
    harbour.deliver("held.csv", rows);
    let daemon = harbour.start(&["run"]);
    wait_until("it is taken", || !receiver.taken().is_empty());
    let calls = receiver.calls();
    assert_eq!(calls.len(), 3, "500, no answer within a second, taken");
    assert!(calls.iter().all(|call| call.id() == calls[0].id() && call.body == calls[0].body), "{calls:#?}");
    let body = calls[0].json();
    let run = harbour.run_of("held.csv");
    assert_eq!(
        (&body["type"], &body["data"]["run"], &body["data"]["feed"]),
        (&"passferry.held".into(), &run.id.clone().into(), &"points".into())
    );
    assert_eq!(body["data"]["title"], "held.csv is held: first-file");
    assert_eq!(body["data"]["commands"][1], format!("passferry approve {}", run.id));
    assert_eq!(body["data"]["page"], format!("https://ferry.example.com/runs/{}", run.id));
    assert_eq!(body["data"]["counts"]["records"], 2);
    harbour.run(&["approve", "held.csv"]).exits(0);
    wait_until("the rejected row is told", || receiver.about().contains(&"rejected raised".to_owned()));
    harbour.deliver("bad.csv", BAD);
    wait_until("the failure is told", || receiver.about().contains(&"failed raised".to_owned()));
    // Some looks later nothing is told again.
    std::thread::sleep(Duration::from_millis(2500));
    assert_eq!(receiver.about(), ["held raised", "rejected raised", "failed raised"]);
    let failed = receiver.taken().pop().unwrap().json();
    assert!(failed["data"]["title"].as_str().unwrap().starts_with("bad.csv failed: "), "{failed:#}");
    receiver.check_signatures(SIGNING);
    assert_eq!(daemon.terminate(), 0);
    nothing_is_given_away(&harbour, &receiver, &["planted.example", "none-of-it", "C-2"]);
    check_promises(&harbour);
    assert_eq!(receiver.about().len(), 3, "nor by another sweep");
}

#[cfg(feature = "json-schema")]
#[test]
fn what_a_webhook_gets_is_what_the_schema_says() {
    let receiver = Receiver::start();
    let harbour = start(telling(&webhook(&receiver.url(), "")));
    harbour.deliver("bad.csv", BAD);
    harbour.once().exits(65);
    harbour.run(&["alert", "--test", "desk"]).exits(0);
    let schema = include_str!("../../../schemas/alert.json");
    let validator = jsonschema::validator_for(&serde_json::from_str(schema).unwrap()).unwrap();
    let calls = receiver.taken();
    assert_eq!(receiver.about(), ["failed raised", "test report"]);
    for call in &calls {
        let errors: Vec<String> = validator.iter_errors(&call.json()).map(|error| error.to_string()).collect();
        assert!(errors.is_empty(), "{errors:?}");
    }
    assert!(!validator.is_valid(&serde_json::json!({ "type": "passferry.held" })));
    check_promises(&harbour);
}

/// Killed after it was noted, and in the middle of being sent.
#[test]
fn a_kill_loses_no_message_and_sends_none_under_another_name() {
    let port = free_port();
    let harbour = start(telling(&webhook(&format!("http://127.0.0.1:{port}/hook"), "")).feed("guard.first_file", "true"));
    harbour.deliver("held.csv", "id,points\nC-1,5\n");
    let daemon = harbour.start(&["run"]);
    wait_until("it is noted", || {
        harbour.ledger_is_there() && harbour.ledger().letters_waiting(None).is_ok_and(|letters| !letters.is_empty())
    });
    daemon.kill();
    let noted = harbour.ledger().letters_waiting(None).unwrap();
    assert_eq!((noted.len(), harbour.state_of("held.csv")), (1, Some(State::Held)));
    let receiver = Receiver::at(port);
    receiver.then(&[Next::Hang]);
    let daemon = harbour.start(&["run"]);
    wait_until("it is on its way", || receiver.calls().len() == 1);
    daemon.kill();
    harbour.once().exits(1);
    harbour.once().exits(1);
    let calls = receiver.calls();
    assert_eq!(calls.len(), 2, "once without an answer, once taken: {calls:#?}");
    assert!(calls.iter().all(|call| call.id() == noted[0].id), "{calls:#?}");
    receiver.check_signatures(SIGNING);
    check_promises(&harbour);
}

#[test]
fn what_is_too_much_for_an_hour_is_one_message_that_counts_it() {
    let receiver = Receiver::start();
    let harbour = start(telling(&webhook(&receiver.url(), "per_hour = 3")));
    for number in 0..17 {
        harbour.deliver(format!("bad-{number:02}.csv"), format!("{BAD}{number}"));
    }
    harbour.once().exits(65);
    assert_eq!(receiver.about(), ["failed raised", "failed raised", "summary report"]);
    let summary = receiver.taken().pop().unwrap().json();
    assert_eq!(summary["data"]["counts"]["messages"], 15);
    let lines = summary["data"]["sections"][0]["lines"].as_array().unwrap();
    assert_eq!((lines.len(), lines[10].as_str().unwrap()), (11, "and 5 more"));
    harbour.deliver("late.csv", format!("{BAD}late"));
    harbour.once().exits(65);
    assert_eq!(receiver.taken().len(), 3, "until the hour is over");
    assert_eq!(harbour.told(&["alert", "--json"])["alerts"][0]["waiting"], 1);
    check_promises(&harbour);
}

/// What was refused is tried again for a day. The others are counted all the same.
#[test]
fn a_message_that_was_refused_keeps_no_others_from_being_one() {
    let receiver = Receiver::start();
    receiver.then(&[Next::Answer(422)]);
    let harbour = start(telling(&webhook(&receiver.url(), "per_hour = 2")));
    for number in 0..6 {
        harbour.deliver(format!("bad-{number}.csv"), format!("{BAD}{number}"));
    }
    harbour.once().exits(65);
    assert_eq!(receiver.about(), ["failed raised", "summary report"], "{}", harbour.said());
    assert_eq!(receiver.taken()[1].json()["data"]["counts"]["messages"], 4);
    check_promises(&harbour);
}

#[test]
fn a_message_that_nobody_takes_is_given_up_and_status_says_so() {
    let nobody = free_port();
    let harbour = start(telling(&webhook(&format!("http://127.0.0.1:{nobody}/hook"), "give_up_after = \"1s\"")));
    harbour.deliver("bad.csv", BAD);
    harbour.once().exits(65).says("a message is not delivered yet: cannot connect");
    let waiting = harbour.told(&["status", "--json"])["told"][0].clone();
    assert!(waiting["waiting"] == 1 && waiting["fault"].as_str().unwrap().contains("cannot connect"), "{waiting}");
    std::thread::sleep(Duration::from_millis(1100));
    harbour.once().exits(0).says("ERROR").says("a message is given up after 1s: cannot connect");
    let lost = harbour.told(&["status", "--json"])["told"][0].clone();
    assert_eq!((&lost["waiting"], &lost["given_up"]), (&0.into(), &1.into()), "{lost}");
    harbour.run(&["alert", "--test", "desk"]).exits(69).says("cannot connect");
    harbour.run(&["alert", "--test", "dsk"]).exits(66).says("did you mean");
    check_promises(&harbour);
}

#[test]
fn one_way_out_that_hangs_holds_up_neither_files_nor_others() {
    let (slow, quick) = (Receiver::start(), Receiver::start());
    slow.then(&[Next::Hang; 50]);
    let others =
        format!("{}[alert.channel]\nkind = \"slack\"\nurl = {{ file = \"channel\" }}\ntell = [\"failed\"]\n", webhook(&slow.url(), ""));
    let harbour = start(telling(&others));
    crate::rig::harbour::write_private(&harbour.home.path().join("channel"), &quick.url());
    harbour.deliver("<!channel>&.csv", BAD);
    let daemon = harbour.start(&["run"]);
    wait_until("the channel is told", || quick.taken().len() == 1);
    harbour.deliver("points.csv", "id,points\nC-1,5\n");
    wait_until("files go their road", || harbour.state_of("points.csv") == Some(State::Done));
    assert_eq!(daemon.terminate(), 0);
    let said = quick.taken()[0].json();
    let text = said["text"].as_str().unwrap();
    assert!(text.starts_with("passferry: &lt;!channel&gt;&amp;.csv failed: "), "{text}");
    assert!(said["blocks"][0]["text"]["text"].as_str().unwrap().contains("<!channel>&.csv"), "a header is no markup: {said:#}");
    assert!(slow.taken().is_empty() && !slow.calls().is_empty());
    harbour.run(&["check", "--reach"]).exits(0);
    assert_eq!(quick.taken().len(), 1, "nothing is sent by looking");
    harbour.run(&["check", "--reach", "--send-test"]).exits(69);
    assert_eq!(quick.taken().len(), 2);
    harbour.change_config(|text| text[..text.find("[alert.desk]").unwrap()].to_owned() + &text[text.find("[alert.channel]").unwrap()..]);
    check_promises(&harbour);
}
