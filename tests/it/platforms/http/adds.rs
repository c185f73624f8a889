//! What must not be repeated, and what is proved of it when its answer is lost.

use std::collections::BTreeSet;
use std::time::Duration;

use passferry::ledger::State;
use serde_json::json;

use super::described;
use crate::rig::harbour::{Harbour, wait_until};
use crate::rig::promises::check_promises;
use crate::rig::vendor::{Asked, Reply, Vendor, World, reply};

/// What takes adds and, where `keeps`, knows a key again.
fn till(keeps: bool) -> impl Fn(&mut World, &Asked) -> Reply {
    move |world, asked| {
        if let Some(reference) = asked.behind("/events?reference=") {
            let there = world.effects.contains_key(&reference);
            let events = if there { json!([{ "reference": "other" }, { "reference": reference }]) } else { json!([]) };
            return reply(200, &json!({ "events": events }));
        }
        let Some(id) = asked.behind("/earn/") else { return reply(200, &json!({})) };
        let key = asked.header("idempotency-key").to_owned();
        if let (true, Some((body, first))) = (keeps, world.answered.get(&key)) {
            return if *body == asked.raw { first.clone() } else { reply(409, &json!({ "error": "another body" })) };
        }
        if id == "C-2" {
            return reply(422, &json!({ "error": "closed" }));
        }
        *world.effects.entry(asked.body["key"].as_str().unwrap().to_owned()).or_default() += 1;
        let answer = reply(200, &json!({ "ref": id }));
        world.answered.insert(key, (asked.raw.clone(), answer.clone()));
        world.count += 1;
        // Every first answer is lost: the effect is there, and nobody is told.
        match world.count % 3 {
            0 => answer.cut(),
            1 => reply(500, &json!({})),
            _ => answer.text("{ \"ref\": "),
        }
    }
}

const EARN: &str = "[platform.cards.update]\nrequest = \"PATCH /passes/{{ id }}\"\n\
    [platform.cards.earn]\nrequest = \"POST /earn/{{ external_id }}\"\nbody = '{ \"delta\": \"{{ amount }}\", \"key\": \"{{ key }}\" }'\nexternal_id = \"/ref\"\n";

fn earning(vendor: &Vendor, more: &str) -> Harbour {
    let plan = described(vendor, &format!("{EARN}{more}")).feed("content", "\"delta\"").feed("operation", "\"earn\"");
    plan.feed("fields.tier", "").feed("add.transaction_id", "\"tx\"").start()
}

const EARNED: &str = "id,tx,points\nC-1,a,5\nC-2,b,6\nC-3,c,7\nC-4,d,8\n";

/// D1, D5: a key makes an add repeatable, so that nothing is left in doubt.
#[test]
fn an_add_whose_answer_was_lost_is_repeated_under_its_key_and_has_one_effect() {
    let vendor = Vendor::start(till(true));
    let harbour = earning(&vendor, "headers = { \"Idempotency-Key\" = \"{{ uuid }}\" }\nkey_lifetime = \"24h\"\n");
    harbour.deliver("one.csv", EARNED);
    harbour.once().exits(1);
    let errors = harbour.errors("one");
    assert_eq!(errors.len(), 1, "{errors:?}");
    assert_eq!((errors[0]["id"].as_str(), errors[0]["_outcome"].as_str()), ("C-2", "refused"));
    harbour.elsewhere.replace(vendor.effects());
    let world = vendor.world();
    assert!(world.effects.len() == 3 && world.effects.values().all(|times| *times == 1), "{:?}", world.effects);
    let bodies: BTreeSet<(&str, &str)> = world.writes().iter().map(|asked| (asked.header("idempotency-key"), asked.raw.as_str())).collect();
    assert_eq!(bodies.len(), 4, "a key never comes with another body: {bodies:?}");
    drop(world);
    check_promises(&harbour);
}

/// A7: killed while the answer was awaited. The key still stands for the same add after the restart.
#[test]
fn an_add_that_was_on_its_way_when_the_program_was_killed_is_repeated_under_its_key() {
    let slow = till(true);
    let vendor = Vendor::start(move |world, asked| {
        let mut answer = slow(world, asked);
        let first = world.writes().len() == 1;
        answer.delay = Duration::from_secs(u64::from(first));
        answer
    });
    let harbour = earning(&vendor, "headers = { \"Idempotency-Key\" = \"{{ uuid }}\" }\nkey_lifetime = \"24h\"\n");
    harbour.deliver("one.csv", "id,tx,points\nC-1,a,5\n");
    let running = harbour.start(&["once"]);
    wait_until("the add is on its way", || !vendor.world().writes().is_empty());
    running.kill();
    harbour.once().exits(0);
    assert_eq!(harbour.state_of("one.csv"), Some(State::Done));
    let world = vendor.world();
    assert!(world.effects.len() == 1 && world.effects.values().all(|times| *times == 1), "{:?}", world.effects);
    assert!(world.writes().len() >= 2);
    drop(world);
    harbour.elsewhere.replace(vendor.effects());
    check_promises(&harbour);
}

/// Section 6, negative control: without a key and without events every lost answer is in doubt, and nothing is sent twice.
#[test]
fn without_a_key_and_without_events_a_lost_add_is_in_doubt() {
    let vendor = Vendor::start(till(false));
    let harbour = earning(&vendor, "");
    harbour.deliver("one.csv", EARNED);
    harbour.once().exits(1);
    let doubts = harbour.errors("one").iter().filter(|line| line["_outcome"] == "in-doubt").count();
    assert_eq!(doubts, 3);
    assert_eq!(vendor.world().writes().len(), 4, "each was sent once");
    harbour.elsewhere.replace(vendor.effects());
    check_promises(&harbour);
}

/// Section 6 b: a list of events tells what became of it.
#[test]
fn an_event_with_our_key_proves_that_a_lost_add_was_applied() {
    let vendor = Vendor::start(till(false));
    let look = "read_back = { request = \"GET /events?reference={{ key }}\", list = \"/events\", key = \"/reference\", absent = \"not-applied\" }\n";
    let harbour = earning(&vendor, look);
    harbour.deliver("one.csv", EARNED);
    harbour.once().exits(1);
    let errors = harbour.errors("one");
    assert_eq!(errors.len(), 1, "{errors:?}");
    assert_eq!(vendor.world().writes().len(), 4, "each was sent once");
    harbour.elsewhere.replace(vendor.effects());
    check_promises(&harbour);
}
