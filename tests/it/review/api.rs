//! The same as JSON: tokens, and what they may.

use std::process::Stdio;
#[cfg(feature = "json-schema")]
use std::sync::LazyLock;

use passferry::ledger::{RunKind, State};
use serde_json::{Value, json};

use super::{MIXED, folder};
use crate::rig::harbour::write_private;
use crate::rig::promises::check_promises;
use crate::rig::visitor::{APPROVER, Answer, Reviewed, people, reviewed};

/// A new token of somebody with this role, and the file of people with it.
fn token(rig: &Reviewed, name: &str, role: &str) -> String {
    let output =
        rig.command(&["review", "--add-token", name, "--role", role]).stdout(Stdio::piped()).stderr(Stdio::piped()).output().unwrap();
    let users = rig.home.path().join("users.toml");
    let (entry, said) = (String::from_utf8(output.stdout).unwrap(), String::from_utf8(output.stderr).unwrap());
    write_private(&users, &(std::fs::read_to_string(&users).unwrap() + &entry));
    let token = said.split_whitespace().find(|word| word.starts_with("pf_")).unwrap_or_else(|| panic!("{said}")).to_owned();
    assert!(!entry.contains(&token));
    token
}

fn ask(rig: &Reviewed, method: &str, path: &str, token: &str, body: &Value) -> Answer {
    let visitor = rig.visitor();
    let (host, authorization) = (visitor.host(), format!("Bearer {token}"));
    let body = if body.is_null() { String::new() } else { body.to_string() };
    let path = format!("/api/v1{path}");
    let headers = [("Host", host.as_str()), ("Authorization", &authorization), ("Content-Type", "application/json")];
    let answer = visitor.ask(method, &path, &headers, &body);
    #[cfg(feature = "json-schema")]
    is_as_described(method, &path, &answer);
    answer
}

/// Each answer to a call of the document is one that the document tells of.
#[cfg(feature = "json-schema")]
fn is_as_described(method: &str, path: &str, answer: &Answer) {
    static DOCUMENT: LazyLock<Value> = LazyLock::new(|| serde_json::from_str(include_str!("../../../schemas/openapi.json")).unwrap());
    let path = path.split('?').next().unwrap();
    let fits = |described: &str| {
        let (described, path): (Vec<&str>, Vec<&str>) = (described.split('/').collect(), path.split('/').collect());
        described.len() == path.len() && described.iter().zip(path).all(|(one, part)| one.starts_with('{') || *one == part)
    };
    let calls = DOCUMENT["paths"].as_object().unwrap();
    let Some((_, call)) = calls.iter().find(|(described, _)| fits(described)) else { return };
    let Some(call) = call.get(method.to_lowercase()) else { return };
    let told = &call["responses"][answer.status.to_string()];
    assert!(told.is_object(), "{method} {path} answers {}, which the document does not tell: {}", answer.status, answer.body);
    let mut schema = told["content"]["application/json"]["schema"].clone();
    if schema.is_null() {
        return;
    }
    schema["components"] = DOCUMENT["components"].clone();
    let errors: Vec<String> =
        jsonschema::validator_for(&schema).unwrap().iter_errors(&answer.json()).map(|error| error.to_string()).collect();
    assert!(errors.is_empty(), "{method} {path}: {errors:?}");
}

#[test]
fn a_program_reads_and_decides_as_people_do() {
    let rig = reviewed(folder().feed("guard.first_file", "true"), "");
    let (approver, viewer) = (token(&rig, "deploy", "approver"), token(&rig, "board", "viewer"));
    rig.deliver("a.csv", MIXED);
    rig.once().exits(1);
    let id = rig.run_of("a.csv").id;
    let _page = rig.page();
    let get = |path: &str, token: &str| ask(&rig, "GET", path, token, &Value::Null);
    let post = |path: &str, token: &str, body: Value| ask(&rig, "POST", path, token, &body);
    assert_eq!(get("/status", &viewer).is(200).json()["held"][0]["run"], json!(id));
    assert_eq!(get("/runs?state=held", &viewer).is(200).json()["runs"][0]["file"], "a.csv");
    let run = get(&format!("/runs/{id}"), &viewer).is(200).json();
    assert_eq!(run["state"], "held");
    post(&format!("/runs/{id}/approve"), &approver, json!({ "reason": "x", "seen": "something else" })).is(409);
    // Whatever is wrong is told as JSON, and as the document says.
    for (path, status) in [("/nothing", 404), ("/runs?before=x", 400), (&format!("/runs/{id}/rows/x"), 400), ("/runs/none/rows/1", 404)] {
        assert!(get(path, &viewer).is(status).json()["error"].is_string(), "{path}");
    }
    assert!(ask(&rig, "DELETE", "/status", &viewer, &Value::Null).is(405).json()["error"].is_string());
    assert!(post("/settle", &approver, json!("x".repeat(5 << 20))).is(413).json()["error"].is_string());
    post(&format!("/runs/{id}/approve"), &viewer, json!({ "reason": "x" })).is(403);
    post(&format!("/runs/{id}/approve"), &approver, json!({ "reason": " " })).is(400);
    post(&format!("/runs/{id}/approve"), &approver, json!({ "why": "x" })).is(400);
    assert_eq!(rig.ledger().peek_wish(&id).unwrap(), None);
    let noted = post(&format!("/runs/{id}/approve"), &approver, json!({ "reason": "checked", "seen": run["seen"] })).is(200).json();
    assert_eq!((noted["by"].as_str(), noted["running"].as_bool()), (Some("deploy (API token)"), Some(false)));
    rig.once();
    assert_eq!(rig.state_of("a.csv"), Some(State::Done), "{}", rig.said());
    post(&format!("/runs/{id}/approve"), &approver, json!({ "reason": "again" })).is(409);
    let rows = get(&format!("/runs/{id}/rows"), &viewer).is(200).json();
    let rows = rows["rows"].as_array().unwrap();
    assert_eq!(rows.len(), 3);
    let row = rows.iter().find(|row| row["line"] == 3).unwrap();
    let path = format!("/runs/{id}/rows/{}", row["number"]);
    let cell = |token: &str| get(&path, token).is(200).json()["cells"][3]["cell"].clone();
    assert_eq!((cell(&viewer), cell(&approver)), (json!("•••"), json!("c2@example.com")));
    get(&format!("/runs/{id}/reports/errors.csv"), &viewer).is(403);
    get(&format!("/runs/{id}/reports/errors.csv"), &approver).is(200).says("_key");
    let typed = |points: &str| json!({ "number": row["number"], "cells": ["C-2", points, "gold", "c2@example.com"] });
    assert_eq!(post(&format!("/runs/{id}/check"), &approver, typed("-1")).is(200).json()["problems"][0]["code"], "constraint-error");
    let wrong = post(&format!("/runs/{id}/corrections"), &approver, json!({ "rows": [typed("-1")] })).is(422);
    assert!(wrong.json()["error"].is_string());
    post(&format!("/runs/{id}/corrections"), &viewer, json!({ "rows": [typed("20")] })).is(403);
    let sent = post(&format!("/runs/{id}/corrections"), &approver, json!({ "rows": [typed("20")] })).is(200).json();
    let name = sent["file"].as_str().unwrap();
    rig.note_delivery(name.as_bytes(), &std::fs::read(rig.inbox().join(name)).unwrap());
    rig.once();
    assert!((rig.points("C-2") - 20.0).abs() < f64::EPSILON, "{}", rig.said());
    assert!(rig.runs().iter().any(|run| run.kind == RunKind::Correction));
    assert_eq!(post("/pass", &viewer, json!({ "id": "C-2" })).is(200).json()[0]["rows"].as_array().unwrap().len(), 2);
    assert_eq!(post("/feeds/points/pause", &approver, json!({ "reason": "x" })).is(200).json()["paused"], true);
    post("/feeds/points/resume", &approver, json!({ "reason": "x" })).is(200);
    post(&format!("/runs/{id}/retry"), &approver, json!({ "reason": "x" })).is(409);
    post("/settle", &approver, json!({ "key": format!("{id}:3"), "decision": "applied", "reason": "x" })).is(409);
    get("/runs/nothing", &viewer).is(404);
    // Every call of the document is there.
    let document = get("/openapi.json", &viewer).is(200).json();
    for (path, calls) in document["paths"].as_object().unwrap() {
        for call in calls.as_object().unwrap().values() {
            let told = call["responses"].as_object().unwrap();
            let wanted: &[&str] =
                if path.ends_with("/corrections") { &["403", "409", "413", "422", "502"] } else { &["400", "401", "421", "503"] };
            assert!(wanted.iter().all(|status| told.contains_key(*status)), "{path}: {told:?}");
        }
        let path = path.replace("{run}", "none").replace("{number}", "1").replace("{kind}", "report.json").replace("{feed}", "none");
        for method in calls.as_object().unwrap().keys() {
            let answer = ask(&rig, &method.to_uppercase(), path.strip_prefix("/api/v1").unwrap(), &viewer, &json!({ "id": "x" }));
            assert!(answer.status != 405 && !answer.body.contains("<html"), "{method} {path}: {answer:?}");
        }
    }
    check_promises(&rig);
}

#[test]
fn only_a_token_opens_the_api() {
    let rig = reviewed(folder(), "");
    let right = token(&rig, "ci", "viewer");
    rig.deliver("a.csv", "id,points\nC-1,1\n");
    rig.once();
    let _page = rig.page();
    ask(&rig, "GET", "/status", &right, &Value::Null).is(200);
    for wrong in ["", "pf_", &right[..right.len() - 1], &format!("{right}0"), APPROVER.1] {
        let answer = ask(&rig, "GET", "/status", wrong, &Value::Null).is(401);
        assert_eq!(answer.header("www-authenticate"), Some("Bearer"));
        assert!(!answer.body.contains("points"));
    }
    // What a browser sends by itself is nothing here, and a token is nothing at the page.
    let anna = rig.logged_in(APPROVER);
    anna.get("/api/v1/status").is(401);
    anna.get_with("/api/v1/status", &[("Authorization", "Basic YW5uYTpwdw==")]).is(401);
    rig.visitor().get_with("/", &[("Authorization", &format!("Bearer {right}"))]).is(303);
    let host = [("Host", "evil.example"), ("Authorization", &format!("Bearer {right}"))];
    rig.visitor().ask("GET", "/api/v1/status", &host, "").is(421);
    write_private(&rig.home.path().join("users.toml"), people());
    ask(&rig, "GET", "/status", &right, &Value::Null).is(401);
    assert!(!rig.said().contains(&right));
}

/// Through a proxy that names people, a program is who its token says and nobody else.
#[test]
fn behind_a_proxy_a_token_alone_opens_the_api() {
    let proxy = "hosts = [\"ferry.example.com\"]\nbehind_proxy = true\n[review.proxy]\nfrom = [\"127.0.0.2\"]\nheader = \"X-Remote-User\"\ngroups = \"X-Remote-Groups\"\napprovers = [\"ops\"]";
    let rig = reviewed(folder().feed("guard.first_file", "true"), proxy);
    let viewer = token(&rig, "board", "viewer");
    rig.deliver("a.csv", "id,points,tier,email\nC-1,1,gold,c1@example.com\n");
    rig.once().exits(1);
    let id = rig.run_of("a.csv").id;
    let _page = rig.page();
    let mut visitor = rig.visitor();
    visitor.from = Some("127.0.0.2:0".parse().unwrap());
    let bearer = format!("Bearer {viewer}");
    let named = [("Host", "ferry.example.com"), ("X-Remote-User", "carla"), ("X-Remote-Groups", "ops")];
    let by_token: Vec<(&str, &str)> = named.into_iter().chain([("Authorization", bearer.as_str())]).collect();
    visitor.ask("GET", "/api/v1/status", &named, "").is(401);
    assert_eq!(visitor.ask("GET", "/api/v1/status", &by_token, "").is(200).json()["held"][0]["run"], json!(id));
    let body = json!({ "reason": "x" }).to_string();
    visitor.ask("POST", &format!("/api/v1/runs/{id}/approve"), &by_token, &body).is(403);
    visitor.ask("POST", &format!("/api/v1/runs/{id}/approve"), &named, &body).is(401);
    assert_eq!(rig.ledger().peek_wish(&id).unwrap(), None);
}
