//! PassKit's list of passes in place of many questions, and what an update leaves alone (contract 2.1 and 4.4).

use passferry::sandbox::{PASSKIT, Rule, Trouble};
use serde_json::{Value, json};

use crate::rig::harbour::{Harbour, Plan, harbour};
use crate::rig::promises::check_promises;

/// Members `C-1` to `C-600`, a list of whom is read from 50 on.
fn plan() -> Plan {
    harbour().folder().unmodelled().members(600).platform("index_from", "50").feed("guard.unresolved", "false")
}

fn rows(numbers: impl Iterator<Item = u32>, tier: &str) -> String {
    let lines: String = numbers.map(|n| format!("C-{n},{n},{tier}\n")).collect();
    format!("id,points,tier\n{lines}")
}

/// Requests whose path has this part.
fn asked(harbour: &Harbour, part: &str) -> usize {
    harbour.sandbox.requests().select(|entry| entry.path.contains(part)).len()
}

fn meta(harbour: &Harbour, id: &str) -> Value {
    harbour.sandbox.member(id).unwrap()["metaData"].clone()
}

#[test]
fn a_large_file_reads_the_list_once_and_a_small_one_asks() {
    let harbour = plan().start();
    harbour.deliver("small.csv", rows(1..=40, "a"));
    harbour.once().exits(0);
    assert_eq!((asked(&harbour, "/members/count/"), asked(&harbour, "/members/member/list/")), (0, 1), "one search names all forty");
    // 500 passes are five searches; six hundred members are one page, an empty one behind it, and the count before.
    harbour.deliver("large.csv", rows(1..=500, "b") + "NOBODY,1,b\n");
    let plan = harbour.told(&["plan", "server/in/large.csv", "--feed", "points", "--json"]);
    assert_eq!(plan["finding"], json!({ "rows": 501, "asks": 6, "list_below": 4000 }));
    harbour.once().exits(1);
    assert_eq!((asked(&harbour, "/members/count/"), asked(&harbour, "/members/member/list/")), (1, 3), "{}", harbour.said());
    assert!(harbour.said().contains("reads the list of 600 passes once"), "{}", harbour.said());
    assert_eq!(harbour.report("large")["rows"], json!({ "applied": 500, "unresolved": 1 }));
    assert_eq!(harbour.errors("large")[0]["_codes"], "pass-not-found", "one that is not in the list is asked for by name");
    assert!([1, 250, 500].iter().all(|n| meta(&harbour, &format!("C-{n}"))["tier"] == "b"));
    check_promises(&harbour);
}

#[test]
fn more_passes_than_the_list_is_worth_are_asked_for() {
    // Two searches cost less than a count, a page and the empty one behind it.
    let harbour = plan().start();
    harbour.deliver("a.csv", rows(1..=200, "a"));
    harbour.once().exits(0);
    assert_eq!((asked(&harbour, "/members/count/"), asked(&harbour, "/members/member/list/")), (0, 2));
    check_promises(&harbour);
}

/// D17: the list breaks off by an error line for as long as it is asked for.
#[test]
fn a_list_that_breaks_off_is_no_list_and_passes_are_asked_for() {
    let harbour = plan().start();
    let first = |faults: &mut passferry::sandbox::Faults| {
        faults.rules.push(Rule::new(Trouble::ListError { rows: 7 }).path("/members/member/list/").next(3));
    };
    harbour.sandbox.faults().change(first);
    harbour.deliver("a.csv", rows(1..=500, "a"));
    harbour.once().exits(0).says("the list of passes cannot be read");
    assert_eq!(harbour.report("a")["rows"], json!({ "applied": 500 }));
    check_promises(&harbour);
}

/// What was listed is gone, or was issued, before its turn comes.
#[test]
fn a_pass_that_was_deleted_after_it_was_listed_is_told() {
    let harbour = plan().start();
    harbour.sandbox.faults().change(|faults| faults.rules.push(Rule::new(Trouble::DeleteMember).id("C-77").method("PUT").next(1)));
    harbour.deliver("a.csv", rows(1..=500, "a"));
    harbour.once().exits(1);
    assert_eq!(harbour.report("a")["rows"], json!({ "applied": 499, "unresolved": 1 }));
    assert_eq!((harbour.errors("a")[0]["id"].as_str(), harbour.errors("a")[0]["_codes"].as_str()), ("C-77", "pass-gone"));
    check_promises(&harbour);
}

/// Two records of one pass, found together, change different keys: the second must not write back what the first read.
#[test]
fn records_of_one_pass_keep_each_others_keys() {
    for index_from in ["0", "1"] {
        let harbour = plan()
            .platform("index_from", index_from)
            .feed("fields.\"metaData.town\"", "\"email\"")
            .feed("fields.\"person.emailAddress\"", "")
            .start();
        let lines: String = (1..=30).map(|n| format!("C-{n},,t{n},\nC-{n},,,town{n}\n")).collect();
        harbour.deliver("a.csv", format!("id,points,tier,email\n{lines}"));
        harbour.once().exits(1);
        assert!(harbour.report("a")["rows"]["rejected"].as_u64() == Some(30), "a town is no e-mail address in this schema");
        harbour.deliver("b.csv", format!("id,points,tier,email\n{}", lines.replace("town", "a@town.example")));
        harbour.once().exits(0);
        for n in [1, 17, 30] {
            let held = meta(&harbour, &format!("C-{n}"));
            assert_eq!((&held["tier"], held["town"].as_str().is_some()), (&json!(format!("t{n}")), true), "{held}");
        }
    }
}

/// Segments are filters over what members hold (contract 4.2, M16). What a feed does not map stays as it was, to the letter, and no call
/// that takes a filter instead of a pass is ever sent.
#[test]
fn an_update_leaves_what_segments_go_by_alone() {
    let harbour = harbour().folder().unmodelled().members(0).platform("index_from", "1").feed("fields.optOut", "\"points\"");
    let harbour = harbour.feed("fields.points", "").schema(
        r#"{ "fields": [{ "name": "id", "type": "string" }, { "name": "points", "type": "boolean" }, { "name": "tier", "type": "string" },
            { "name": "email", "type": "string" }] }"#,
    );
    let harbour = harbour.start();
    let member = |n: u32| {
        json!({ "externalId": format!("C-{n}"), "tierId": "base", "metaData": { "segment": format!("s{n}"), "tier": "x" }, "points": 40 + n,
            "person": { "surname": format!("Byron {n}"), "emailAddress": format!("old{n}@x.example") } })
    };
    harbour.sandbox.seed(PASSKIT, (1..=9).map(member)).unwrap();
    let before: Vec<Value> = (1..=9).map(|n| harbour.sandbox.member(&format!("C-{n}")).unwrap()).collect();
    // Keys and a person by a partial update, and false by the replacement of the whole member.
    let lines: String = (1..=8).map(|n| format!("C-{n},{},new,new{n}@x.example\n", if n % 2 == 0 { "false" } else { "" })).collect();
    harbour.deliver("a.csv", format!("id,points,tier,email\n{lines}"));
    harbour.once().exits(0);
    for (n, mut before) in (1..=9).zip(before) {
        let mut after = harbour.sandbox.member(&format!("C-{n}")).unwrap();
        for member in [&mut before, &mut after] {
            member["metaData"]["tier"] = Value::Null;
            member["person"]["emailAddress"] = Value::Null;
            member["updated"] = Value::Null;
        }
        assert_eq!(after, before, "C-{n}");
    }
    for forbidden in ["/segment", "/bulk", "/members/member/expiry", "/orderNumber"] {
        assert_eq!(asked(&harbour, forbidden), 0, "{forbidden}");
    }
    check_promises(&harbour);
}

/// Coupons and tickets, whose passes are asked for singly or not at all.
#[test]
fn tickets_and_coupons_have_lists_too() {
    let schema = r#"{ "fields": [{ "name": "id", "type": "string" }, { "name": "note", "type": "string" }] }"#;
    let kinds = [
        ("campaign", "\"sandbox-campaign\"", "externalId", "/coupon/singleUse/coupons/list/", 350),
        ("production", "\"sandbox-production\"", "ticketNumber", "/eventTickets/tickets/list", 30),
    ];
    for (setting, class, name, list, count) in kinds {
        let plan =
            harbour().folder().members(0).schema(schema).platform("program", "").platform(setting, class).platform("index_from", "20");
        let plan = plan.points_only().feed("fields.points", "").feed("fields.\"metaData.note\"", "\"note\"");
        let harbour = plan.start();
        let pass = |n: u32| {
            let mut pass = json!({ "metaData": { "kept": "yes" } });
            pass[name] = format!("P-{n}").into();
            if setting == "campaign" {
                pass["campaignId"] = "sandbox-campaign".into();
            }
            pass
        };
        harbour.sandbox.seed(PASSKIT, (1..=400).map(pass)).unwrap();
        let lines: String = (1..=count).map(|n| format!("P-{n},n{n}\n")).collect();
        harbour.deliver("a.csv", format!("id,note\n{lines}"));
        harbour.once().exits(0);
        let (last, held) = (format!("P-{count}"), json!({ "kept": "yes", "note": format!("n{count}") }));
        assert_eq!(harbour.sandbox.pass(PASSKIT, &last).unwrap()["metaData"], held);
        let reads = harbour.sandbox.requests().select(|entry| entry.method == "GET").len();
        if setting == "campaign" {
            assert_eq!(asked(&harbour, list), 2, "a page, and the empty one behind it\n{}", harbour.said());
            assert!(reads <= 3, "passes were asked for by themselves: {reads}");
        } else {
            // The list's shorter tickets do not have what must be written back.
            assert_eq!((asked(&harbour, list), reads), (1, count as usize), "{}", harbour.said());
        }
        check_promises(&harbour);
    }
}
