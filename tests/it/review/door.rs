//! Attacks on the page (failure model, section 7), each through real HTTP.

use std::fs;
use std::time::Duration;

use passferry::ledger::State;
use passferry::sandbox::{Faults, Rule, Trouble};

use super::{MIXED, folder};
use crate::rig::harbour::{wait_until, write_private};
use crate::rig::promises::check_promises;
use crate::rig::visitor::{APPROVER, Reviewed, VIEWER, form, reviewed};

/// With a file that waits for a decision.
fn held(more: &str) -> (Reviewed, String) {
    let rig = reviewed(folder().feed("guard.first_file", "true"), more);
    rig.deliver("monday.csv", "id,points\nC-1,10\nC-2,20\n");
    rig.once().exits(1);
    let id = rig.run_of("monday.csv").id;
    (rig, id)
}

/// Nobody has decided anything.
#[track_caller]
fn nothing_is_asked_for(rig: &Reviewed, id: &str) {
    assert_eq!(rig.ledger().peek_wish(id).unwrap(), None);
    assert_eq!(rig.state_of("monday.csv"), Some(State::Held));
}

#[test]
fn nobody_sees_anything_who_did_not_come_in() {
    let (rig, id) = held("");
    let _page = rig.page();
    let stranger = rig.visitor();
    for path in ["/", "/runs", &format!("/runs/{id}"), &format!("/runs/{id}/rows"), &format!("/runs/{id}/live"), "/pass", "/assets/nothing"]
    {
        let answer = stranger.get(path);
        assert!(matches!(answer.status, 303 | 404), "{path}: {}", answer.status);
        assert!(!answer.body.contains("monday") && !answer.body.contains(&id), "{path}");
    }
    stranger.get(&format!("/runs/{id}/reports/report.json")).is(303);
    stranger.post(&format!("/runs/{id}/approve"), &[("reason", "x")]).is(303);
    stranger.log_in("anna", "wrong").is(401).says("do not fit");
    let unknown = stranger.log_in("nobody", "wrong").is(401);
    assert_eq!(unknown.body, stranger.log_in("anna", "wrong").body, "an unknown name is answered alike");
    let answer = stranger.log_in(APPROVER.0, APPROVER.1).is(303);
    let cookie = answer.header("set-cookie").unwrap();
    assert!(cookie.contains("; HttpOnly") && cookie.contains("; SameSite=Lax") && !cookie.contains("anna"), "{cookie}");
    let page = stranger.get("/").is(200).says("monday.csv");
    let policy = page.header("content-security-policy").unwrap();
    for part in
        ["default-src 'none'", "script-src 'self'", "style-src 'self'", "form-action 'self'", "frame-ancestors 'none'", "base-uri 'none'"]
    {
        assert!(policy.contains(part), "{policy}");
    }
    assert!(!policy.contains("unsafe") && !page.body.contains(" style=") && !page.body.contains(" onclick="));
    for (name, value) in [("x-content-type-options", "nosniff"), ("referrer-policy", "no-referrer"), ("cache-control", "no-store")] {
        assert_eq!(page.header(name), Some(value), "{name}");
    }
    stranger.post("/logout", &[]).is(303);
    // Whoever kept the cookie has nothing.
    stranger.cookie.replace(Some(cookie.split(';').next().unwrap().to_owned()));
    stranger.get("/").is(303);
    nothing_is_asked_for(&rig, &id);
}

#[test]
fn a_form_that_our_page_did_not_make_is_refused() {
    let (rig, id) = held("");
    let _page = rig.page();
    let anna = rig.logged_in(APPROVER);
    let (path, own) = (format!("/runs/{id}/discard"), format!("http://{}", anna.host()));
    let csrf = anna.csrf.borrow().clone();
    let right = form(&[("reason", "x"), ("csrf", &csrf)]);
    for headers in [
        &[("Origin", "https://evil.example"), ("Sec-Fetch-Site", "cross-site")][..],
        &[("Origin", "https://evil.example")],
        &[("Origin", "null")],
        &[("Origin", own.as_str()), ("Sec-Fetch-Site", "cross-site")],
        &[("Origin", own.as_str()), ("Sec-Fetch-Site", "same-site")],
        &[("Origin", "null"), ("Sec-Fetch-Site", "cross-site")],
        &[("Origin", own.as_str()), ("Origin", "https://evil.example")],
        &[],
    ] {
        let status = anna.post_body(&path, &right, headers).status;
        assert!(matches!(status, 400 | 403), "{headers:?}: {status}");
    }
    let ours = [("Origin", own.as_str()), ("Sec-Fetch-Site", "same-origin")];
    let victor = rig.logged_in(VIEWER);
    let of_another = victor.csrf.borrow().clone();
    for fields in [&[("reason", "x")][..], &[("reason", "x"), ("csrf", "")], &[("reason", "x"), ("csrf", &of_another)]] {
        anna.post_body(&path, &form(fields), &ours).is(403);
    }
    anna.post_body(&path, &format!("{{\"csrf\":\"{csrf}\"}}"), &ours).is(403);
    // A link changes nothing, and neither does another method.
    anna.get(&format!("{path}?reason=x&csrf={csrf}")).is(200);
    for method in ["PUT", "DELETE", "PATCH"] {
        anna.ask(method, &path, &[("Host", &anna.host()), ("Cookie", &anna.cookie.borrow().clone().unwrap())], "").is(405);
    }
    nothing_is_asked_for(&rig, &id);
    anna.post(&path, &[("reason", "")]).is(400).says("Say why");
    nothing_is_asked_for(&rig, &id);
    anna.post(&path, &[("reason", "half an export")]).is(303);
    assert_eq!(rig.ledger().peek_wish(&id).unwrap().unwrap().by, "anna (review page)");
}

#[test]
fn a_name_that_somebody_points_at_this_machine_is_refused() {
    let (rig, id) = held("hosts = [\"ferry.example.com\"]");
    let _page = rig.page();
    let anna = rig.logged_in(APPROVER);
    let cookie = anna.cookie.borrow().clone().unwrap();
    let port = rig.port;
    for host in [
        "evil.example".to_owned(),
        format!("evil.example:{port}"),
        "127.0.0.1:1".to_owned(),
        "127.0.0.1".to_owned(),
        format!("localhost.evil.example:{port}"),
        String::new(),
    ] {
        let answer = anna.ask("GET", "/", &[("Host", &host), ("Cookie", &cookie)], "");
        assert!(matches!(answer.status, 400 | 421), "{host:?}: {}", answer.status);
        assert!(!answer.body.contains("monday"), "{host:?}");
    }
    anna.ask("GET", "/", &[("Host", &anna.host()), ("Host", "evil.example"), ("Cookie", &cookie)], "").is(400);
    let answer = anna.ask("GET", "http://evil.example/", &[("Host", &anna.host()), ("Cookie", &cookie)], "");
    assert!(matches!(answer.status, 400 | 421), "{}", answer.status);
    anna.ask("GET", "/", &[("Cookie", &cookie)], "").is(400);
    for host in [format!("localhost:{port}"), "ferry.example.com".to_owned(), format!("Ferry.Example.com:{port}")] {
        anna.ask("GET", "/", &[("Host", &host), ("Cookie", &cookie)], "").is(200);
    }
    nothing_is_asked_for(&rig, &id);
}

#[test]
fn a_viewer_looks_and_decides_nothing() {
    let (rig, id) = held("");
    rig.deliver("tuesday.csv", MIXED);
    let _page = rig.page();
    let victor = rig.logged_in(VIEWER);
    victor.get(&format!("/runs/{id}")).is(200).says("Waits for a decision");
    for decision in ["approve", "discard", "stop", "retry"] {
        victor.get(&format!("/runs/{id}/{decision}")).is(403);
        victor.post(&format!("/runs/{id}/{decision}"), &[("reason", "x")]).is(403);
    }
    victor.post("/feeds/points/pause", &[("reason", "x")]).is(403);
    assert!(rig.ledger().paused().unwrap().is_empty());
    nothing_is_asked_for(&rig, &id);
    assert!(!victor.get(&format!("/runs/{id}")).body.contains("/approve"), "what cannot be done is not offered");
    rig.run(&["discard", &id]).exits(0);
    rig.once();
    rig.run(&["approve", "tuesday.csv"]);
    rig.once();
    let run = rig.run_of("tuesday.csv");
    assert_eq!(run.state, State::Done, "{}", rig.said());
    let anna = rig.logged_in(APPROVER);
    for (visitor, sees) in [(&victor, false), (&anna, true)] {
        let rows = visitor.get(&format!("/runs/{}/rows", run.id)).is(200).says("not-an-address".split('-').next().unwrap());
        let link = rows.body.split(&format!("/runs/{}/rows/", run.id)).nth(3).unwrap();
        let number = link.split('"').next().unwrap();
        let story = visitor.get(&format!("/runs/{}/rows/{number}", run.id)).is(200);
        assert_eq!(story.body.contains("not-an-address") || story.body.contains("private@example.com"), sees, "{}", story.body);
        let errors = visitor.get(&format!("/runs/{}/reports/errors.csv", run.id));
        assert_eq!(errors.status, if sees { 200 } else { 403 });
        let problems = visitor.get(&format!("/runs/{}/reports/problems.csv", run.id)).is(200);
        assert!(!problems.body.contains("not-an-address"));
    }
    drop(victor);
    check_promises(&rig);
}

/// A platform says again what it was sent: viewers do not read a personal cell there either.
#[test]
fn what_a_platform_repeats_of_a_personal_cell_is_masked_for_viewers() {
    let says = "c1@example.com is no address".to_owned();
    let refuses = Rule::new(Trouble::Status { code: 400, message: Some(says) }).id("C-1");
    let rig = reviewed(folder().faults(Faults { rules: vec![refuses], ..Faults::default() }), "");
    rig.deliver("a.csv", "id,points,tier,email\nC-1,10,gold,c1@example.com\n");
    rig.once().exits(1);
    let run = rig.run_of("a.csv");
    let _page = rig.page();
    let rows = format!("/runs/{}/rows", run.id);
    let (victor, anna) = (rig.logged_in(VIEWER), rig.logged_in(APPROVER));
    assert!(anna.get(&rows).is(200).body.contains("c1@example.com is no address"), "{}", rig.said());
    let body = victor.get(&rows).is(200).says("is no address").body;
    assert!(!body.contains("c1@example.com"), "{body}");
    let number = body.split(&format!("{rows}/")).nth(1).unwrap().split('"').next().unwrap().to_owned();
    let story = victor.get(&format!("{rows}/{number}")).is(200).body;
    assert!(!story.contains("c1@example.com"), "{story}");
    let problems = victor.get(&format!("/runs/{}/reports/problems.csv", run.id)).is(200).says("is no address").body;
    assert!(!problems.contains("c1@example.com"), "{problems}");
    // Where it is not known any more what the cells held, nothing of it is told.
    let spool = rig.state().join("spool");
    for copy in fs::read_dir(&spool).unwrap().flatten().filter(|copy| copy.file_name().to_string_lossy().contains(&run.id)) {
        fs::remove_file(copy.path()).unwrap();
    }
    let body = victor.get(&rows).is(200).says("•••").body;
    assert!(!body.contains("c1@example.com") && !body.contains("is no address"), "{body}");
    assert!(anna.get(&rows).is(200).body.contains("c1@example.com is no address"));
}

#[test]
fn a_session_ends_by_itself_and_with_its_person() {
    let (rig, _) = held("idle = \"2s\"\nsession = \"4s\"");
    let _page = rig.page();
    let anna = rig.logged_in(APPROVER);
    let began = std::time::Instant::now();
    while began.elapsed() < Duration::from_millis(3500) {
        anna.get("/").is(200);
        std::thread::sleep(Duration::from_millis(300));
    }
    std::thread::sleep(Duration::from_millis(700));
    anna.get("/").is(303);
    let anna = rig.logged_in(APPROVER);
    let began = std::time::Instant::now();
    while began.elapsed() < Duration::from_millis(2100) {
        anna.get_with("/runs", &[("X-By-Itself", "1")]);
        std::thread::sleep(Duration::from_millis(300));
    }
    anna.get("/").is(303);
    let anna = rig.logged_in(APPROVER);
    let others = crate::rig::visitor::people().split("[user.").find(|entry| entry.starts_with("\"victor")).unwrap();
    write_private(&rig.home.path().join("users.toml"), &format!("[user.{others}"));
    anna.get("/").is(303);
    // Another password ends what began with the one before.
    let victor = rig.logged_in(VIEWER);
    let anew =
        passferry::review::people::user_entry(VIEWER.0, passferry::review::people::Role::Viewer, "another, since that one got about")
            .unwrap();
    write_private(&rig.home.path().join("users.toml"), &anew);
    victor.get("/").is(303);
    write_private(&rig.home.path().join("users.toml"), crate::rig::visitor::people());
    let victor = rig.logged_in(VIEWER);
    write_private(&rig.home.path().join("users.toml"), "nonsense");
    assert_eq!(victor.get("/").status, 500, "nobody is in by a file that cannot be read");
}

#[test]
fn passwords_are_not_guessed_without_end() {
    let rig = reviewed(folder(), "");
    let _page = rig.page();
    let guesser = rig.visitor();
    for _ in 0..10 {
        guesser.log_in(VIEWER.0, "a guess").is(401);
    }
    let answer = guesser.log_in(VIEWER.0, VIEWER.1).is(429);
    assert!(answer.header("retry-after").unwrap().parse::<u64>().unwrap() > 60);
    rig.logged_in(APPROVER);
    for number in 0..20 {
        guesser.log_in(&format!("name-{number}"), "a guess").is(401);
    }
    guesser.log_in("one-more", "a guess").is(429);
    assert!(!rig.said().contains("a guess") && !rig.said().contains("name-1"), "{}", rig.said());
}

/// Who hangs up before the answer has guessed all the same.
#[test]
fn a_guess_that_nobody_waits_for_counts() {
    let rig = reviewed(folder(), "");
    let _page = rig.page();
    let guesser = rig.visitor();
    for guess in 1..=10 {
        guesser.post_and_hang_up("/login", &[("name", VIEWER.0), ("password", "a guess")]);
        wait_until("it is counted", || rig.said().matches("a login to the review page failed").count() == guess);
    }
    guesser.log_in(VIEWER.0, VIEWER.1).is(429);
}

/// Other people, taken up as a daemon takes up another configuration.
#[test]
fn another_file_of_people_is_taken_up_on_request() {
    let rig = reviewed(folder(), "");
    for command in ["run", "review"] {
        rig.change_config(|text| text.replace("users = \"others.toml\"", "users = \"users.toml\""));
        let serving = rig.serving(command);
        let anna = rig.logged_in(APPROVER);
        let zoe = passferry::review::people::user_entry("zoe", passferry::review::people::Role::Viewer, "a password of her own").unwrap();
        write_private(&rig.home.path().join("others.toml"), &zoe);
        rig.change_config(|text| text.replace("users = \"users.toml\"", "users = \"others.toml\""));
        anna.get("/").is(200);
        let served = rig.said().matches("the review page is served").count();
        assert!(std::process::Command::new("kill").args(["-HUP", &serving.id().to_string()]).status().unwrap().success());
        wait_until("the page is served anew", || rig.said().matches("the review page is served").count() > served);
        rig.visitor().log_in("zoe", "a password of her own").is(303);
        anna.get("/").is(303);
        assert_eq!(serving.terminate(), 0, "{}", rig.said());
    }
}

#[test]
fn what_is_downloaded_is_named_by_its_run_and_kind_alone() {
    let rig = reviewed(folder(), "");
    rig.deliver("a.csv", MIXED);
    rig.once().exits(1);
    let id = rig.run_of("a.csv").id;
    fs::write(rig.home.path().join("treasure.txt"), "treasure").unwrap();
    let _page = rig.page();
    let anna = rig.logged_in(APPROVER);
    let up = "..%2f..%2f..%2f";
    for path in [
        format!("/runs/{id}/reports/{up}treasure.txt"),
        format!("/runs/{id}/reports/../../../treasure.txt"),
        format!("/runs/{up}/reports/report.json"),
        format!("/runs/{up}treasure.txt/reports/report.json"),
        format!("/runs/{id}/reports/data"),
        format!("/runs/{id}/reports/report.json%00"),
        format!("/runs/{id}%2freports/report.json"),
        "/runs/a.csv/reports/report.json".to_owned(),
        format!("/assets/{up}treasure.txt"),
        "/assets/../treasure.txt".to_owned(),
    ] {
        let answer = anna.get(&path);
        assert!(matches!(answer.status, 400 | 404), "{path}: {}", answer.status);
        assert!(!answer.body.contains("treasure\n") && !answer.body.contains("C-2"), "{path}");
    }
    let errors = anna.get(&format!("/runs/{id}/reports/errors.csv")).is(200);
    assert_eq!(errors.body.as_bytes(), rig.read("reports/a.errors.csv"), "what was published");
    assert!(errors.header("content-disposition").unwrap().starts_with("attachment;"));
    let report = anna.get(&format!("/runs/{id}/reports/report.json")).is(200);
    assert_eq!(report.json()["rows"], rig.report("a")["rows"]);
    check_promises(&rig);
}

#[test]
fn a_header_says_who_somebody_is_only_where_the_proxy_sends_it() {
    let proxy = "[review.proxy]\nfrom = [\"127.0.0.2\"]\nheader = \"X-Remote-User\"\ngroups = \"X-Remote-Groups\"\napprovers = [\"ops\"]\nviewers = [\"staff\"]";
    let (rig, id) = held(proxy);
    let _page = rig.page();
    let named = [("X-Remote-User", "mallory"), ("X-Remote-Groups", "ops")];
    let mallory = rig.visitor();
    mallory.get_with("/", &named).is(303);
    assert_eq!(mallory.cookie.borrow().clone(), None);
    let mut carla = rig.visitor();
    carla.from = Some("127.0.0.2:0".parse().unwrap());
    carla.get("/").is(303);
    carla.get_with("/", &[("X-Remote-User", "carla"), ("X-Remote-Groups", "guests")]).is(403);
    carla.get_with("/", &[("X-Remote-User", "carla"), ("X-Remote-User", "anna"), ("X-Remote-Groups", "ops")]).is(400);
    carla.get_with("/", &[("X-Remote-User", "carla"), ("X-Remote-Groups", "staff, ops")]).is(200).says("approver");
    // The session is nothing without the proxy, and nobody else's with it.
    let stolen = rig.visitor();
    stolen.cookie.replace(carla.cookie.borrow().clone());
    stolen.get("/").is(303);
    let path = format!("/runs/{id}/discard");
    let (csrf, own) = (carla.csrf.borrow().clone(), format!("http://{}", carla.host()));
    let body = form(&[("reason", "x"), ("csrf", &csrf)]);
    let from_us = |name| [("Origin", own.as_str()), ("X-Remote-User", name), ("X-Remote-Groups", "ops")];
    carla.post_body(&path, &body, &from_us("dave")).is(403);
    let as_viewer = [("Origin", own.as_str()), ("X-Remote-User", "carla"), ("X-Remote-Groups", "staff")];
    carla.post_body(&path, &body, &as_viewer).is(403);
    nothing_is_asked_for(&rig, &id);
    carla.post_body(&path, &body, &from_us("carla")).is(303);
    assert_eq!(rig.ledger().peek_wish(&id).unwrap().unwrap().by, "carla (review page)");
}

#[test]
fn what_is_too_long_is_not_read() {
    let rig = reviewed(folder(), "");
    let _page = rig.page();
    let anna = rig.logged_in(APPROVER);
    anna.post("/logout", &[("x", &"y".repeat(5 << 20))]).is(413);
    anna.log_in("anna", &"p".repeat(5000)).is(400);
    rig.visitor().log_in("anna", &"p".repeat(5000)).is(400);
    anna.get(&format!("/runs?text={}", "%".repeat(3))).is(200);
    anna.get("/runs?before=x").is(400);
    anna.get("/runs?from=yesterday").is(400).says("write it as");
}
