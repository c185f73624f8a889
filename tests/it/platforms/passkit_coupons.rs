//! PassKit's single-use coupons, against the stand-in that was written from the contract alone (section 5).

use std::collections::BTreeMap;

use passferry::ledger::State;
use passferry::sandbox::{Faults, LongLived, Outage, PASSKIT, RetryAfter, Rule, Throttle, Trouble};
use serde_json::{Value, json};

use crate::rig::harbour::{Harbour, Plan, harbour, wait_until, write_private};
use crate::rig::promises::check_promises;

const TOKEN: &str = "sandbox-long-lived-token";

const SCHEMA: &str = r#"{ "fieldsMatch": "superset", "fields": [
    { "name": "code", "type": "string", "constraints": { "required": true } },
    { "name": "sku", "type": "string" }, { "name": "shop", "type": "string", "x-passferry": { "empty": "clear" } },
    { "name": "email", "type": "string", "x-passferry": { "personal": true } }, { "name": "txn", "type": "string" } ] }"#;

/// Coupons `C-1` to `C-9` of one campaign.
fn plan() -> Plan {
    let plan = harbour().folder().schema(SCHEMA).platform("program", "").platform("campaign", "\"sandbox-campaign\"");
    let plan =
        plan.platform("offer", "\"sandbox-offer\"").feed("pass", "{ external_id = \"code\" }").points_only().feed("fields.points", "");
    let plan = plan.feed("fields.sku", "\"sku\"").feed("fields.\"metaData.shop\"", "\"shop\"");
    plan.feed("fields.\"person.emailAddress\"", "\"email\"").feed("operation", "\"upsert\"").feed("guard.created", "false")
}

/// Rows that redeem, each by its transaction.
fn redeeming(plan: Plan) -> Plan {
    let plan = plan.feed("operation", "\"redeem\"").feed("content", "\"delta\"").feed("add", "{ transaction_id = \"txn\" }");
    let plan = plan.feed("fields.sku", "").feed("fields.\"metaData.shop\"", "").feed("fields.\"person.emailAddress\"", "");
    plan.platform("settling", "\"20ms\"").platform("timeout", "\"1s\"")
}

fn start(plan: Plan) -> Harbour {
    let harbour = plan.members(0).start();
    let coupon = |n| {
        json!({ "externalId": format!("C-{n}"), "campaignId": "sandbox-campaign", "sku": "old", "metaData": { "shop": "1", "kept": "yes" },
            "person": { "surname": "Byron" } })
    };
    harbour.sandbox.seed(PASSKIT, (1..=9).map(coupon)).unwrap();
    harbour
}

fn coupon(harbour: &Harbour, code: &str) -> Value {
    harbour.sandbox.coupon(code).unwrap_or_else(|| panic!("no coupon {code}\n{}", harbour.said()))
}

fn codes(harbour: &Harbour, stem: &str) -> BTreeMap<String, String> {
    harbour.errors(stem).into_iter().map(|line| (line["code"].clone(), line["_codes"].clone())).collect()
}

#[test]
fn coupons_are_issued_changed_and_told_from_unknown_ones() {
    let harbour = start(plan());
    harbour.deliver("a.csv", "code,sku,shop,email\nC-1,new,2,ada@x.example\nNEW-1,first,7,\n");
    harbour.once().exits(0);
    let (old, new) = (coupon(&harbour, "C-1"), coupon(&harbour, "NEW-1"));
    assert_eq!((&old["sku"], &old["metaData"]), (&json!("new"), &json!({ "shop": "2", "kept": "yes" })));
    assert_eq!((&old["person"]["surname"], &old["person"]["emailAddress"]), (&json!("Byron"), &json!("ada@x.example")));
    assert_eq!(
        (&new["offerId"], &new["metaData"], &new["status"]),
        (&json!("sandbox-offer"), &json!({ "shop": "7" }), &json!("UNREDEEMED"))
    );
    assert_eq!(harbour.report("a")["rows"], json!({ "applied": 1, "created": 1 }));

    harbour.change_config(|text| text.replace("operation = \"upsert\"", "operation = \"update\""));
    harbour.deliver("b.csv", "code,sku,shop\nC-2,x,3\nNOBODY,x,3\n..,x,3\n");
    harbour.once().exits(1);
    assert_eq!(codes(&harbour, "b"), BTreeMap::from([("NOBODY".into(), "pass-not-found".into()), ("..".into(), "pass-not-found".into())]));
    assert!(harbour.sandbox.coupon("NOBODY").is_none());
    check_promises(&harbour);
}

#[test]
fn an_issue_whose_answer_is_lost_makes_one_coupon() {
    let harbour = start(plan());
    harbour
        .sandbox
        .faults()
        .change(|faults| faults.rules.push(Rule::new(Trouble::DropAfter).method("POST").path("/coupon/singleUse/coupon").next(2)));
    harbour.deliver("a.csv", "code,sku,shop\nNEW-1,a,1\nNEW-2,b,2\n");
    harbour.once().exits(0);
    assert_eq!(coupon(&harbour, "NEW-1")["sku"], "a");
    assert_eq!(harbour.sandbox.count(PASSKIT), 11, "nine, and the two new ones");
    check_promises(&harbour);
}

#[test]
fn a_coupon_is_voided_and_stays_so() {
    let harbour = start(plan().feed("operation", "\"void\"").feed("content", "\"delta\""));
    harbour.sandbox.faults().change(|faults| faults.rules.push(Rule::new(Trouble::DropAfter).id("C-1").method("DELETE").next(1)));
    harbour.deliver("v.csv", "code\nC-1\nC-2\n");
    harbour.once().exits(0);
    assert_eq!(harbour.report("v")["rows"], json!({ "applied": 2 }));
    assert!(harbour.sandbox.coupon("C-1").is_none() && harbour.sandbox.coupon("C-2").is_none() && harbour.sandbox.coupon("C-3").is_some());
    check_promises(&harbour);
}

/// An identifier of PassKit's own reaches any pass of the account: only the pass tells whose it is.
#[test]
fn a_coupon_of_another_campaign_is_never_touched_by_its_identifier() {
    for operation in ["\"void\"", "\"update\""] {
        let plan = plan().feed("pass", "{ pass_id = \"code\" }").feed("operation", operation).feed("content", "\"delta\"");
        let harbour = start(plan);
        harbour.sandbox.seed(PASSKIT, [json!({ "externalId": "F-1", "campaignId": "another-campaign", "sku": "old" })]).unwrap();
        let id = |code: &str| coupon(&harbour, code)["id"].as_str().unwrap().to_owned();
        let (ours, foreign) = (id("C-1"), id("F-1"));
        harbour.deliver("v.csv", format!("code,sku\n{foreign},new\n{ours},new\n"));
        harbour.once().exits(1);
        assert_eq!(codes(&harbour, "v"), BTreeMap::from([(foreign, "pass-not-found".to_owned())]), "{operation}");
        assert_eq!(coupon(&harbour, "F-1")["sku"], "old", "{operation}");
        let ours = harbour.sandbox.coupon("C-1");
        assert_eq!(ours.map(|coupon| coupon["sku"].clone()), (operation == "\"update\"").then(|| json!("new")));
        check_promises(&harbour);
    }
}

/// D1, D9: the answer is lost before and after the redemption, is cut, or says 500. Each coupon is redeemed once.
#[test]
fn a_coupon_is_redeemed_once_whatever_becomes_of_the_answer() {
    let harbour = start(redeeming(plan()));
    harbour.sandbox.faults().change(|faults| {
        faults.rules.push(Rule::new(Trouble::DropBefore).id("C-1").path("redeem").next(1));
        faults.rules.push(Rule::new(Trouble::DropAfter).id("C-2").path("redeem").next(1));
        faults.rules.push(Rule::new(Trouble::TruncatedBody).id("C-3").path("redeem").next(1));
        faults.rules.push(Rule::new(Trouble::answer(500, "{}")).id("C-4").path("redeem").next(1));
    });
    harbour.deliver("r.csv", "code,txn\nC-1,t1\nC-2,t2\nC-3,t3\nC-4,t4\nC-5,t5\nNOBODY,t6\n");
    harbour.once().exits(1);
    assert_eq!(harbour.report("r")["rows"], json!({ "applied": 5, "unresolved": 1 }), "{}", harbour.said());
    for n in 1..=5 {
        let coupon = coupon(&harbour, &format!("C-{n}"));
        assert_eq!(coupon["status"], "REDEEMED", "C-{n}");
        assert!(coupon["redemptionDetails"]["redemptionSource"].as_str().unwrap().starts_with("passferry "), "{coupon}");
    }
    assert_eq!(coupon(&harbour, "C-6")["status"], "UNREDEEMED");
    // The same transactions again, in another file.
    harbour.deliver("again.csv", "code,txn\nC-1,t1\nC-2,t2\nC-6,t7\n");
    harbour.once().exits(0);
    assert_eq!(harbour.report("again")["rows"], json!({ "applied": 1, "duplicate": 2 }));
    check_promises(&harbour);
}

/// Whatever the platform would say to a second redemption.
#[test]
fn a_coupon_that_a_till_redeemed_is_refused_with_its_reference() {
    for second in [None, Some(409), Some(200)] {
        let harbour = start(redeeming(plan()));
        harbour.sandbox.faults().change(|faults| faults.second_redeem = second);
        let used = json!({ "externalId": "USED", "campaignId": "sandbox-campaign", "status": "REDEEMED",
            "redemptionDetails": { "redemptionDate": "2026-11-01T10:00:00Z", "redemptionReference": "till 4" } });
        harbour.sandbox.seed(PASSKIT, [used]).unwrap();
        harbour.deliver("r.csv", "code,txn\nUSED,t1\nC-2,t2\n");
        harbour.once().exits(1);
        let errors = harbour.errors("r");
        assert_eq!((errors.len(), errors[0]["_outcome"].as_str()), (1, "refused"), "{errors:?}");
        assert!(
            errors[0]["_problems"].contains("redeemed already on 2026-11-01") && errors[0]["_problems"].contains("till 4"),
            "{errors:?}"
        );
        assert_eq!(coupon(&harbour, "USED")["redemptionDetails"]["redemptionReference"], "till 4");
        check_promises(&harbour);
    }
}

#[test]
fn what_is_too_large_or_wrong_is_refused_before_or_by_the_platform_and_the_rest_goes_on() {
    let harbour = start(plan());
    harbour.sandbox.faults().change(|faults| {
        faults.rules.push(Rule::new(Trouble::Status { code: 400, message: Some("validation err: no".into()) }).id("C-4").method("PUT"));
    });
    let long = "x".repeat(10_001);
    let fits_alone = "y".repeat(9_950);
    let rows = format!("code,sku,shop,email\nC-1,{long},,\nC-2,,{fits_alone},\nC-3,a,,not-an-address\nC-4,a,,\nC-5,good,,\n");
    harbour.deliver("big.csv", rows);
    harbour.once().exits(1);
    let expected = [("C-1", "value-too-large"), ("C-2", "value-too-large"), ("C-3", "mapping-error"), ("C-4", "update-rejected")];
    assert_eq!(codes(&harbour, "big"), expected.map(|(code, why)| (code.to_owned(), why.to_owned())).into());
    assert_eq!(coupon(&harbour, "C-5")["sku"], "good");
    assert!(harbour.sandbox.requests().all().iter().all(|entry| entry.body.as_ref().is_none_or(|body| body.len() <= 10_000)));
    check_promises(&harbour);
}

/// D3, D4: asked to slow down, then gone for a while; every row arrives.
#[test]
fn a_throttle_and_an_outage_refuse_no_coupon() {
    let throttle = Throttle { per_second: 40.0, burst: 4.0, retry_after: RetryAfter::None };
    let harbour = start(plan().faults(Faults { throttle: Some(throttle), ..Faults::default() }).platform("in_flight", "4"));
    let rows: String = (1..=9).map(|n| format!("C-{n},s{n},\n")).collect();
    harbour.sandbox.faults().change(|faults| faults.outage = Some(Outage::Unavailable));
    harbour.deliver("t.csv", format!("code,sku,shop\n{rows}"));
    let process = harbour.start(&["run"]);
    wait_until("the run stands still", || harbour.state_of("t.csv") == Some(State::Paused));
    harbour.sandbox.faults().change(|faults| faults.outage = None);
    wait_until("all is done", || harbour.state_of("t.csv") == Some(State::Done));
    assert_eq!(process.terminate(), 0);
    assert!((1..=9).all(|n| coupon(&harbour, &format!("C-{n}"))["sku"] == format!("s{n}")));
    check_promises(&harbour);
}

/// Contract 1.2. The token ends in mid-run: the run stands still, says what to do, and goes on with another without a restart.
#[test]
fn a_long_lived_token_that_ends_pauses_the_run_until_another_is_there() {
    let harbour = start(plan().platform("key", "").platform("secret", "").platform("token", "{ file = \"token\" }"));
    let token = harbour.home.path().join("token");
    write_private(&token, TOKEN);
    harbour.deliver("first.csv", "code,sku\nC-1,one\n");
    harbour.once().exits(0);
    assert_eq!(coupon(&harbour, "C-1")["sku"], "one");

    harbour.sandbox.faults().change(|faults| faults.long_lived_token = LongLived::Expired);
    harbour.deliver("second.csv", "code,sku\nC-2,two\nC-3,three\n");
    let process = harbour.start(&["run"]);
    wait_until("the run stands still", || harbour.state_of("second.csv") == Some(State::Paused));
    let status = harbour.told(&["status", "--json"]).to_string();
    assert!(status.contains("does not accept our token (401") && status.contains("portal shows in the project"), "{status}");
    write_private(&token, &harbour.sandbox.long_lived_token());
    harbour.sandbox.faults().change(|faults| faults.long_lived_token = LongLived::Good);
    wait_until("the run goes on", || harbour.state_of("second.csv") == Some(State::Done));
    assert_eq!(process.terminate(), 0);
    assert_eq!((&coupon(&harbour, "C-2")["sku"], &coupon(&harbour, "C-3")["sku"]), (&json!("two"), &json!("three")));
    assert!(!harbour.said().contains(TOKEN));
    check_promises(&harbour);
}

/// `check --reach` in both regions, with a token that ends, and with one that is refused.
#[test]
fn reach_tells_the_region_and_the_end_of_the_token() {
    let soon = (chrono::Utc::now() + chrono::TimeDelta::days(9)).format("%Y-%m-%d").to_string();
    let plan = plan().platform("key", "").platform("secret", "").platform("token", "{ file = \"token\" }");
    let harbour = start(plan.platform("token_ends", &format!("{soon:?}")));
    write_private(&harbour.home.path().join("token"), TOKEN);
    let told = |exit: i32| {
        let output = harbour.command(&["check", "--reach"]).stdout(std::process::Stdio::piped()).output().unwrap();
        let text = String::from_utf8_lossy(&output.stdout).into_owned() + &String::from_utf8_lossy(&output.stderr);
        assert_eq!(output.status.code(), Some(exit), "{text}");
        text
    };
    let good = told(0);
    assert!(good.contains("accepts the token and knows the campaign sandbox-campaign (9 passes)"), "{good}");
    assert!(good.contains(&format!("the token ends on {soon}, in 9 days")), "{good}");

    let here = harbour.sandbox.base_url();
    harbour.change_config(|text| text.replace(&format!("{here:?}"), &format!("{:?}", harbour.sandbox.other_region_url())));
    let elsewhere = told(69);
    assert!(
        elsewhere.contains("no campaign sandbox-campaign") && elsewhere.contains("the region: the wrong one answers so"),
        "{elsewhere}"
    );
    harbour.change_config(|text| text.replace(&harbour.sandbox.other_region_url(), &here));

    harbour.sandbox.faults().change(|faults| faults.long_lived_token = LongLived::Revoked);
    let refused = told(77);
    assert!(refused.contains("token was revoked") && refused.contains("portal"), "{refused}");
    assert_eq!(harbour.writes().len(), 0);
}
