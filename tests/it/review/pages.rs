//! What people find, and what follows from what they decide.

use passferry::ledger::{KeyState, State};
use passferry::sandbox::{Faults, Rule, Trouble};

use super::folder;
use crate::rig::harbour::wait_until;
use crate::rig::promises::check_promises;
use crate::rig::visitor::{APPROVER, reviewed};

/// The first number of a row in a page of rows.
fn first_row(body: &str, run: &str) -> String {
    let link = body.split(&format!("/runs/{run}/rows/")).nth(1).unwrap_or_else(|| panic!("no row in {body}"));
    link.split('"').next().unwrap().to_owned()
}

#[test]
fn a_held_file_is_approved_on_the_page_of_the_daemon() {
    let rig = reviewed(folder().feed("guard.first_file", "true"), "");
    let daemon = rig.serving("run");
    rig.deliver("monday.csv", "id,points\nC-1,10\nC-2,20\n");
    wait_until("it is held", || rig.ledger_is_there() && rig.state_of("monday.csv") == Some(State::Held));
    let id = rig.run_of("monday.csv").id;
    let anna = rig.logged_in(APPROVER);
    wait_until("the overview tells", || anna.get("/").is(200).body.contains("Held: approve or discard"));
    anna.get(&format!("/runs/{id}")).is(200).says("first-file").says(&format!("/runs/{id}/approve"));
    let asked = anna.get(&format!("/runs/{id}/approve")).is(200).says("first-file");
    let seen = asked.body.split("name=\"seen\" value=\"").nth(1).unwrap().split('"').next().unwrap().to_owned();
    anna.post(&format!("/runs/{id}/approve"), &[("reason", "looks right"), ("seen", &"0".repeat(64))])
        .is(409)
        .says("changed since you looked");
    anna.post(&format!("/runs/{id}/approve"), &[("reason", "looks right"), ("seen", &seen)]).is(303);
    wait_until("it is applied", || rig.state_of("monday.csv") == Some(State::Done));
    assert!((rig.points("C-2") - 20.0).abs() < f64::EPSILON);
    let report = rig.report("monday");
    assert_eq!(
        (report["approval"]["by"].as_str(), report["approval"]["reason"].as_str()),
        (Some("anna (review page)"), Some("looks right"))
    );
    anna.post(&format!("/runs/{id}/approve"), &[("reason", "again")]).is(409).says("not held");
    assert_eq!(anna.get(&format!("/runs/{id}/live")).is(200).json()["done"], 2);
    anna.get("/runs?state=done&text=MONDAY").is(200).says("monday.csv");
    anna.get("/runs?state=held").is(200).says("No runs");
    assert!(rig.said().contains("approved on the review page") && rig.said().contains("looks right"), "{}", rig.said());
    assert_eq!(daemon.terminate(), 0, "{}", rig.said());
    check_promises(&rig);
}

#[test]
fn rows_are_leafed_through_and_told_one_by_one() {
    let rig = reviewed(folder().points_only(), "");
    let rows = (1..=130).map(|n| format!("X-{n},bad{n}\n")).collect::<Vec<_>>().concat();
    rig.deliver("a.csv", format!("id,points\n{rows}C-1,5\nX-999,1\n"));
    rig.once().exits(1);
    let run = rig.run_of("a.csv");
    let _page = rig.page();
    let anna = rig.logged_in(APPROVER);
    let (mut seen, mut path) = (0, format!("/runs/{}/rows", run.id));
    for page in 0.. {
        assert!(page < 10, "it ends");
        let body = anna.get(&path).is(200).body;
        let rows = body.matches("<th scope=\"row\" class=\"num\">").count();
        assert!(rows <= 50);
        seen += rows;
        let Some(next) = body.split("rel=\"next\" href=\"").nth(1) else { break };
        path = next.split('"').next().unwrap().replace("&amp;", "&").replace("&#38;", "&");
    }
    assert_eq!(seen, 131);
    anna.get(&format!("/runs/{}/rows?outcome=unresolved", run.id)).is(200).says("pass-not-found");
    anna.get(&format!("/runs/{}/rows?code=pass-not-found", run.id)).is(200).says("pass-not-found");
    anna.get(&format!("/runs/{}/rows?outcome=nonsense", run.id)).is(400);
    anna.get(&format!("/runs/{}/rows?after=nonsense", run.id)).is(400);
    let body = anna.get(&format!("/runs/{}/rows?line=3", run.id)).is(200).body;
    anna.get(&format!("/runs/{}/rows/{}", run.id, first_row(&body, &run.id))).is(200).says("Line 3").says("bad2").says("type-error");
    anna.get(&format!("/runs/{}/rows/123456", run.id)).is(404);
    anna.get(&format!("/runs/{}", run.id)).is(200).says("type-error").says("130");
    anna.post(&format!("/runs/{}/retry", run.id), &[("reason", "issued now"), ("choice", "pass-not-found")]).is(303);
    assert_eq!(rig.runs().len(), 2);
    rig.once();
    check_promises(&rig);
}

#[test]
fn an_add_in_doubt_is_settled_on_the_page() {
    let faults = Faults { rules: vec![Rule::new(Trouble::DropBefore).path("/points/")], ..Faults::default() };
    let plan = crate::faults::adds::movements().platform("read_back", "\"nothing\"").faults(faults);
    let rig = reviewed(plan, "");
    rig.deliver("a.csv", "txn,id,move,points\nT-1,C-1,earn,50\n");
    rig.once().exits(1);
    rig.sandbox.faults().clear();
    let run = rig.run_of("a.csv");
    let _page = rig.page();
    let anna = rig.logged_in(APPROVER);
    anna.get("/").is(200).says("Rows in doubt");
    let body = anna.get(&format!("/runs/{}/rows?outcome=in-doubt", run.id)).is(200).body;
    let story = anna.get(&format!("/runs/{}/rows/{}", run.id, first_row(&body, &run.id))).is(200).body;
    let settle = story.split("href=\"/settle/").nth(1).unwrap().split('"').next().unwrap().to_owned();
    anna.get(&format!("/settle/{settle}")).is(200).says("Resend".to_lowercase().as_str());
    anna.post(&format!("/settle/{settle}"), &[("choice", "resend")]).is(400).says("Say why");
    anna.post(&format!("/settle/{settle}"), &[("reason", "x"), ("choice", "perhaps")]).is(400);
    anna.post(&format!("/settle/{settle}"), &[("reason", "the portal shows nothing"), ("choice", "resend")]).is(303);
    rig.once().exits(0);
    assert!((rig.points("C-1") - 50.0).abs() < f64::EPSILON, "{}", rig.said());
    assert!(rig.ledger().keys_of(&run.id, KeyState::InDoubt).unwrap().is_empty());
    anna.post(&format!("/settle/{settle}"), &[("reason", "x"), ("choice", "resend")]).is(409);
    check_promises(&rig);
}

#[test]
fn a_feed_is_paused_and_goes_on() {
    let rig = reviewed(folder().points_only(), "");
    let _page = rig.page();
    let anna = rig.logged_in(APPROVER);
    anna.get("/feeds/points/pause").is(200);
    anna.post("/feeds/points/pause", &[("reason", "maintenance")]).is(303);
    rig.deliver("a.csv", "id,points\nC-1,1\n");
    rig.once();
    assert!(rig.points("C-1").abs() < f64::EPSILON);
    anna.get("/").is(200).says("anna (review page)");
    anna.post("/feeds/points/resume", &[("reason", "done")]).is(303);
    anna.get("/feeds/other/pause").is(404);
    rig.once().exits(0);
    assert!((rig.points("C-1") - 1.0).abs() < f64::EPSILON);
    check_promises(&rig);
}

/// Whatever strangers write is shown as it is and does nothing.
#[test]
fn script_in_any_field_is_text() {
    const EVIL: &str = "<script>alert(1)</script><img src=x onerror=alert(2)>\"'`";
    let schema = r#"{ "fieldsMatch": "superset", "fields": [
        { "name": "id", "type": "string" }, { "name": "points", "type": "integer" },
        { "name": "<script>alert(3)</script>", "type": "string", "constraints": { "enum": ["<script>alert(4)</script>"] } } ] }"#;
    let faults =
        Faults { rules: vec![Rule::new(Trouble::Status { code: 400, message: Some(EVIL.to_owned()) }).id("C-1")], ..Faults::default() };
    let plan = folder().schema(schema).feed("fields.\"metaData.tier\"", "").feed("fields.\"person.emailAddress\"", "").faults(faults);
    let rig = reviewed(plan.feed("pattern", "\"*\""), "");
    let name = "<script>alert(5)<b>\u{202e}.csv";
    let cell = EVIL.replace('"', "\"\"");
    rig.deliver(name, format!("id,points,<script>alert(3)</script>\n\"{cell}\",x,\"{cell}\"\nC-1,5,<script>alert(4)</script>\n"));
    rig.once();
    let run = rig.run_of(name);
    let _page = rig.page();
    let anna = rig.logged_in(APPROVER);
    let rows = anna.get(&format!("/runs/{}/rows", run.id)).is(200).body;
    let mut paths: Vec<String> = rows
        .split(&format!("/runs/{}/rows/", run.id))
        .skip(1)
        .map(|link| format!("/runs/{}/rows/{}", run.id, link.split('"').next().unwrap()))
        .collect();
    assert!(!paths.is_empty());
    paths.extend([
        "/".to_owned(),
        "/runs".to_owned(),
        "/runs?text=%3Cscript%3Ealert(6)%3C/script%3E%22".to_owned(),
        "/%3Cscript%3E".to_owned(),
    ]);
    paths.extend(["", "/rows", "/retry", "/fix"].map(|page| format!("/runs/{}{page}", run.id)));
    for path in paths {
        let body = anna.get(&path).body;
        let without_ours = body.replace("<script src=\"/assets/page.js?", "");
        assert!(!without_ours.contains("<script") && !without_ours.contains("<img") && !without_ours.contains("<b>"), "{path}: {body}");
        assert!(!body.contains('\u{202e}'), "{path}");
    }
    assert!(rows.contains("alert"), "it is shown: {rows}");
}

#[test]
fn check_tells_of_a_file_of_people_that_lets_nobody_in() {
    let rig = reviewed(folder(), "");
    rig.run(&["check"]).exits(0);
    let users = rig.home.path().join("users.toml");
    std::fs::set_permissions(&users, std::os::unix::fs::PermissionsExt::from_mode(0o644)).unwrap();
    rig.run(&["check"]).exits(78).says("open to others");
    std::fs::remove_file(&users).unwrap();
    rig.run(&["check"]).exits(78).says("review.users");
    rig.run(&["review"]);
    let out = rig
        .command(&["review", "--add-user", "zoe", "--role", "viewer"])
        .stdin(std::process::Stdio::piped())
        .stdout(std::process::Stdio::piped())
        .spawn();
    let mut child = out.unwrap();
    std::io::Write::write_all(&mut child.stdin.take().unwrap(), b"a long password\n").unwrap();
    let entry = String::from_utf8(child.wait_with_output().unwrap().stdout).unwrap();
    assert!(entry.contains("[user.\"zoe\"]") && entry.contains("$argon2id$") && !entry.contains("a long password"), "{entry}");
}
