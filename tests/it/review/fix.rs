//! Rows that are corrected on the page: checked as they are typed, sent as a correction, applied once.

use std::fs;

use passferry::ledger::{Run, RunKind, State};

use super::{MIXED, folder};
use crate::rig::harbour::{Plan, Process, harbour};
use crate::rig::promises::check_promises;
use crate::rig::visitor::{APPROVER, Reviewed, VIEWER, Visitor, reviewed};

/// Fields of a page's table with their values.
pub fn fields(body: &str) -> Vec<(String, String)> {
    let plain = |text: &str| {
        text.replace("&quot;", "\"")
            .replace("&#34;", "\"")
            .replace("&#39;", "'")
            .replace("&#x27;", "'")
            .replace("&#60;", "<")
            .replace("&lt;", "<")
            .replace("&amp;", "&")
            .replace("&#38;", "&")
    };
    let field = |piece: &str| {
        let (name, rest) = piece.split_once("\" value=\"")?;
        Some((format!("cell.{name}"), plain(rest.split('"').next()?)))
    };
    body.split("<input name=\"cell.").skip(1).filter_map(field).collect()
}

/// The fields of a row with one cell changed, by the text that the row has somewhere.
pub fn changed(all: &[(String, String)], row_has: &str, column: usize, to: &str) -> Vec<(String, String)> {
    let number = |name: &str| name.split('.').nth(1).unwrap().to_owned();
    let row =
        all.iter().find(|(_, value)| value == row_has).map_or_else(|| panic!("{row_has} is not in {all:?}"), |(name, _)| number(name));
    let of_row = all.iter().filter(|(name, _)| number(name) == row);
    of_row.map(|(name, value)| (name.clone(), if name.ends_with(&format!(".{column}")) { to.to_owned() } else { value.clone() })).collect()
}

pub fn send(visitor: &Visitor, run: &str, rows: &[Vec<(String, String)>]) -> crate::rig::visitor::Answer {
    let fields: Vec<(&str, &str)> = rows.iter().flatten().map(|(name, value)| (name.as_str(), value.as_str())).collect();
    visitor.post(&format!("/runs/{run}/fix"), &fields)
}

/// What lies in the inbox and was put there by the page; noted as a delivery.
pub fn corrections(rig: &Reviewed) -> Vec<String> {
    let names = rig.tree().into_iter().filter(|name| !name.contains('/') && name.contains("-fix-"));
    let names: Vec<String> = names.collect();
    for name in &names {
        if rig.delivered.borrow().iter().any(|delivered| delivered.name == name.as_bytes()) {
            continue;
        }
        rig.note_delivery(name.as_bytes(), &fs::read(rig.inbox().join(name)).unwrap());
    }
    names
}

/// A harbour with a file whose rows need somebody, its run, the page, and an approver at it.
fn opened(plan: Plan, content: impl AsRef<[u8]>) -> (Reviewed, Run, Process, Visitor) {
    let rig = reviewed(plan, "");
    rig.deliver("a.csv", content);
    rig.once().exits(1);
    let (run, page) = (rig.run_of("a.csv"), rig.page());
    let anna = rig.logged_in(APPROVER);
    (rig, run, page, anna)
}

#[test]
fn rows_are_corrected_on_the_page_and_applied_once() {
    let (rig, run, _page, anna) = opened(folder(), MIXED);
    let body = anna.get(&format!("/runs/{}/fix", run.id)).is(200).says("not-an-address").body;
    let all = fields(&body);
    assert_eq!(all.len(), 3 * 4, "{body}");
    let right = [changed(&all, "C-2", 1, "20"), changed(&all, "C-4", 3, "c4@example.com")];
    // What is still wrong keeps everything back, and what was typed.
    let wrong = [right[0].clone(), changed(&all, "C-4", 3, "still-wrong")];
    send(&anna, &run.id, &wrong).is(422).says("still wrong in line 5").says("still-wrong").says("value=\"20\"");
    send(&anna, &run.id, &[changed(&all, "C-2", 1, "x")]).is(422).says("no cell was changed");
    assert!(corrections(&rig).is_empty(), "{:?}", rig.tree());
    send(&anna, &run.id, &right).is(200).says("2 corrected rows are in the inbox");
    assert_eq!(corrections(&rig).len(), 1);
    // Somebody's impatience adds nothing.
    send(&anna, &run.id, &right).is(200);
    assert_eq!(corrections(&rig).len(), 2);
    rig.once();
    rig.once();
    assert!((rig.points("C-2") - 20.0).abs() < f64::EPSILON && (rig.points("C-4") - 7.0).abs() < f64::EPSILON, "{}", rig.said());
    let runs = rig.runs();
    let made: Vec<_> = runs.iter().filter(|run| run.kind == RunKind::Correction).collect();
    assert!(made.iter().all(|made| made.parent.as_ref() == Some(&run.id) && made.state == State::Done), "{}", rig.said());
    assert_eq!(made.len(), 2);
    assert_eq!(rig.writes_by_pass().get("C-2"), Some(&1), "{}", rig.said());
    assert!(rig.points("C-3").abs() < f64::EPSILON, "the row that nobody touched");
    assert!(rig.said().contains("rows are corrected on the review page"));
    check_promises(&rig);
}

#[test]
fn an_add_that_is_corrected_twice_adds_once() {
    let (rig, run, _page, anna) = opened(crate::faults::adds::movements(), "txn,id,move,points\nT-1,C-1,earn,fifty\n");
    let all = fields(&anna.get(&format!("/runs/{}/fix", run.id)).is(200).body);
    for _ in 0..2 {
        send(&anna, &run.id, &[changed(&all, "C-1", 3, "50")]).is(200);
    }
    assert_eq!(corrections(&rig).len(), 2);
    rig.once();
    rig.once();
    assert!((rig.points("C-1") - 50.0).abs() < f64::EPSILON, "{}", rig.said());
    check_promises(&rig);
}

#[test]
fn cells_are_checked_while_they_are_typed_and_the_pass_is_shown() {
    let (rig, run, _page, anna) = opened(folder(), MIXED);
    let all = fields(&anna.get(&format!("/runs/{}/fix", run.id)).is(200).body);
    let number: u64 = changed(&all, "C-2", 1, "")[0].0.split('.').nth(1).unwrap().parse().unwrap();
    let (path, own) = (format!("/runs/{}/check", run.id), format!("http://{}", anna.host()));
    let check = |points: &str, csrf: &str| {
        let body = serde_json::json!({ "number": number, "cells": ["C-2", points, "gold", "c2@example.com"] }).to_string();
        let cookie = anna.cookie.borrow().clone().unwrap();
        let headers = [
            ("Host", anna.host()),
            ("Cookie", cookie),
            ("Origin", own.clone()),
            ("Content-Type", "application/json".into()),
            ("X-Csrf", csrf.into()),
        ];
        let headers: Vec<(&str, &str)> = headers.iter().map(|(name, value)| (*name, value.as_str())).collect();
        anna.ask("POST", &path, &headers, &body)
    };
    let csrf = anna.csrf.borrow().clone();
    check("20", "").is(403);
    let said = check("-1", &csrf).is(200).json();
    assert_eq!(
        (said["problems"][0]["code"].as_str(), said["problems"][0]["column"].as_u64()),
        (Some("constraint-error"), Some(1)),
        "{said}"
    );
    assert!(said["card"].is_null());
    let said = check("20", &csrf).is(200).json();
    assert_eq!(said["problems"], serde_json::json!([]));
    assert_eq!(said["card"]["pass"], "C-2");
    let points = said["card"]["fields"].as_array().unwrap().iter().find(|field| field["field"] == "points").unwrap().clone();
    assert_eq!((points["after"].as_str(), points.get("before")), (Some("20"), None), "{said}");
    assert!(corrections(&rig).is_empty());
    // Of a row that was applied, the card tells what the pass has now.
    let body = anna.get(&format!("/runs/{}/rows?outcome=applied", run.id)).is(200).body;
    let row = body.split(&format!("/runs/{}/rows/", run.id)).nth(1).unwrap().split('"').next().unwrap().to_owned();
    let story = anna.get(&format!("/runs/{}/rows/{row}", run.id)).is(200).says("The pass").says("as it is").body;
    assert!(story.contains("@example.com"));
    let victor = rig.logged_in(VIEWER);
    let story = victor.get(&format!("/runs/{}/rows/{row}", run.id)).is(200).says("The pass").body;
    assert!(!story.contains("@example.com"), "{story}");
    victor.get(&format!("/runs/{}/fix", run.id)).is(403);
    send(&victor, &run.id, &[changed(&all, "C-2", 1, "20")]).is(403);
    assert!(corrections(&rig).is_empty());
    check_promises(&rig);
}

#[test]
fn a_form_that_is_none_of_ours_corrects_nothing() {
    let (rig, run, _page, anna) = opened(folder().points_only(), "id,points\nC-1,x\nC-2,5\n");
    let path = format!("/runs/{}/fix", run.id);
    let all = fields(&anna.get(&path).is(200).body);
    let number = all[0].0.split('.').nth(1).unwrap().to_owned();
    let cell = |number: &str, column: &str| format!("cell.{number}.{column}");
    // Without a cell, with one too many, of a row that is none, of a row that was applied.
    anna.post(&path, &[(&cell(&number, "0"), "C-1")]).is(400);
    anna.post(&path, &[(&cell(&number, "0"), "C-1"), (&cell(&number, "1"), "1"), (&cell(&number, "2"), "1")]).is(400);
    anna.post(&path, &[(&cell(&number, "1"), "1")]).is(400);
    anna.post(&path, &[("cell.x.0", "C-1")]).is(400);
    anna.post(&path, &[(&cell("99999", "0"), "C-1"), (&cell("99999", "1"), "1")]).is(409);
    anna.post(&path, &[(&cell(&number, "0"), "C-1"), (&cell(&number, "1"), &"9".repeat(70_000))]).is(400);
    let many: Vec<(String, String)> = (0..30).map(|number| (cell(&number.to_string(), "0"), "C-1".to_owned())).collect();
    send(&anna, &run.id, &[many]).is(400);
    anna.get(&format!("{path}?outcome=applied")).is(400);
    assert!(corrections(&rig).is_empty());
    check_promises(&rig);
}

/// What a browser cannot show it sends back as something else: no cell becomes that.
#[test]
fn a_cell_that_cannot_be_shown_is_not_changed_by_looking_at_it() {
    let (rig, run, _page, anna) = opened(folder(), "id,points,tier,email\nC-1,x,go\0ld,c1@example.com\nC-2,x,gold,c2@example.com\n");
    let all = fields(&anna.get(&format!("/runs/{}/fix", run.id)).is(200).body);
    let of_row = changed(&all, "C-1", 1, "10");
    let as_browser: Vec<(String, String)> = of_row.iter().map(|(name, value)| (name.clone(), value.replace('\0', "\u{fffd}"))).collect();
    assert!(as_browser.iter().any(|(_, value)| value == "go\u{fffd}ld"), "{as_browser:?}");
    send(&anna, &run.id, &[as_browser.clone()]).is(422).says("still wrong in line 2");
    let partly: Vec<(String, String)> =
        as_browser.iter().map(|(name, value)| (name.clone(), value.replace("go\u{fffd}ld", "gol\u{fffd}d"))).collect();
    send(&anna, &run.id, &[partly]).is(400).says("cannot be read");
    assert!(corrections(&rig).is_empty());
    let anew: Vec<(String, String)> =
        as_browser.iter().map(|(name, value)| (name.clone(), value.replace("go\u{fffd}ld", "gold"))).collect();
    send(&anna, &run.id, &[anew]).is(200);
    assert_eq!(corrections(&rig).len(), 1);
    rig.once();
    assert!((rig.points("C-1") - 10.0).abs() < f64::EPSILON, "{}", rig.said());
    check_promises(&rig);
}

/// Over SFTP, and with the protection against being shut out that the daemon has.
#[test]
fn a_correction_goes_into_the_inbox_of_a_server() {
    let (rig, run, page, anna) = opened(harbour().points_only(), "id,points\nC-1,x\nC-2,5\n");
    let all = fields(&anna.get(&format!("/runs/{}/fix", run.id)).is(200).body);
    send(&anna, &run.id, &[changed(&all, "C-1", 1, "7")]).is(200).says("1 corrected row");
    assert_eq!(corrections(&rig).len(), 1, "{:?}", rig.tree());
    rig.once().exits(0);
    assert!((rig.points("C-1") - 7.0).abs() < f64::EPSILON, "{}", rig.said());
    drop(page);
    // A server that does not let us in is not asked again at once.
    rig.deliver("b.csv", "id,points\nC-3,x\n");
    rig.once().exits(1);
    let right = fs::read_to_string(rig.home.path().join("passferry.toml")).unwrap();
    rig.change_config(|text| text.replacen("user = \"", "user = \"not-", 1));
    let page = rig.page();
    let anna = rig.logged_in(APPROVER);
    let run = rig.run_of("b.csv");
    let all = fields(&anna.get(&format!("/runs/{}/fix", run.id)).is(200).body);
    let record = rig.state().join("refused-logins-port.json");
    assert!(!record.exists());
    send(&anna, &run.id, &[changed(&all, "C-3", 1, "7")]).is(502).says("Nothing was sent");
    assert!(record.exists(), "{}", rig.said());
    send(&anna, &run.id, &[changed(&all, "C-3", 1, "7")]).is(502);
    drop(page);
    fs::remove_file(record).unwrap();
    rig.change_config(|_| right);
    check_promises(&rig);
}
