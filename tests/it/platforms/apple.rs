//! Passes that are hosted here: rows become passes, passes become packages that independent software opens.

use std::path::{Path, PathBuf};

use passferry::apple::store::{Store, now_ms};
use passferry::sandbox::apple::{By, Fate};
use serde_json::{Value, json};

use crate::rig::apple::{AUTHORITY, Opened, PASS_TYPE, TEAM, apns, open, token};
use crate::rig::harbour::{Harbour, Plan, harbour, write_private};
use crate::rig::promises::check_promises;

pub fn template() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("samples/apple/loyalty.pass")
}

/// A feed that issues and changes passes of the sample template.
pub fn plan(apns: &str) -> Plan {
    let plan = hosted(harbour().folder().unmodelled(), apns).feed("operation", "\"upsert\"");
    let plan = plan.feed("fields.\"metaData.tier\"", "").feed("fields.\"person.emailAddress\"", "");
    plan.feed("fields.tier", "\"tier\"").feed("fields.\"barcode.message\"", "\"{{ id }}\"")
}

/// Makes the platform one that hosts passes of the sample template here.
pub fn hosted(plan: Plan, apns: &str) -> Plan {
    let own = |name: &str| format!("{:?}", AUTHORITY.path(name));
    let plan = plan.platform("secret", "").platform("program", "").platform("allowance", "");
    let plan =
        plan.platform("kind", "\"apple_wallet\"").platform("pass_type", &format!("{PASS_TYPE:?}")).platform("team", &format!("{TEAM:?}"));
    let plan = plan.platform("template", &format!("{:?}", template().display().to_string()));
    let plan = plan.platform("certificate", &own("pass.pem")).platform("intermediate", &own("wwdr.pem"));
    let plan = plan.platform("key", &format!("{{ file = {} }}", own("pass.key")));
    let plan = plan.platform("public_url", "\"https://passes.example.com/apple\"").platform("base_url", &format!("{apns:?}"));
    plan.platform("ca_file", &own("root.pem")).platform("push_every", "\"50ms\"").platform("push_retry", "\"200ms\"")
}

pub fn store(harbour: &Harbour) -> Store {
    Store::open(&harbour.state().join("apple/cards.sqlite")).unwrap()
}

/// A phone that registered for these passes, with the push token that begins so.
pub fn holds(harbour: &Harbour, device: &str, front: &str, serials: impl IntoIterator<Item = impl AsRef<str>>) {
    let (store, token) = (store(harbour), token(front));
    store
        .write(|work| {
            for serial in serials {
                work.register(device, serial.as_ref(), &token, |_| true, now_ms())?;
            }
            Ok(())
        })
        .unwrap();
}

/// Adds as the store counts them.
pub fn added(harbour: &Harbour) -> Vec<(String, u64)> {
    let path = harbour.state().join("apple/cards.sqlite");
    if !path.exists() {
        return Vec::new();
    }
    let store = rusqlite::Connection::open(path).unwrap();
    let mut keys = store.prepare("SELECT key FROM added").unwrap();
    let keys = keys.query_map([], |row| row.get::<_, String>(0)).unwrap().map(Result::unwrap);
    keys.filter(|key| !key.ends_with("-notify")).map(|key| (key, 1)).collect()
}

#[track_caller]
pub fn check(harbour: &Harbour) {
    harbour.elsewhere.replace(added(harbour));
    check_promises(harbour);
}

/// The package of a pass, opened by everybody.
#[track_caller]
pub fn package(harbour: &Harbour, id: &str) -> Opened {
    let to = harbour.home.path().join(format!("{}.pkpass", id.len() + harbour.files().len() + rand::random::<u16>() as usize));
    harbour.run(&["package", id, "--platform", "cards", "--out", to.to_str().unwrap()]).exits(0);
    open(&std::fs::read(to).unwrap())
}

fn values(opened: &Opened) -> (Value, Value, Value) {
    (opened.field("points").clone(), opened.field("tier").clone(), opened.pass["barcodes"][0]["message"].clone())
}

#[test]
fn rows_become_passes_that_openssl_and_passkit_generator_open() {
    let apns = apns();
    let harbour = plan(&apns.base_url()).start();
    harbour.deliver("1.csv", "id,points,tier\nC-1,1240,Gold\nC-2,7,Silver é\n");
    harbour.once().exits(0);
    assert_eq!(harbour.report("1")["rows"], json!({ "created": 2 }));
    let first = package(&harbour, "C-1");
    assert_eq!(values(&first), (json!(1240), json!("Gold"), json!("C-1")));
    assert_eq!(first.pass["webServiceURL"], "https://passes.example.com/apple");
    assert_eq!(first.files.len(), 10, "{:?}", first.files);
    assert!(first.files.contains(&"fr.lproj/pass.strings".to_owned()));
    let keys: Vec<&String> = first.pass.as_object().unwrap().keys().collect();
    assert_eq!(keys[..3], ["formatVersion", "organizationName", "description"], "the template's order stays");

    harbour.deliver("2.csv", "id,points,tier\nC-1,1250,Gold\nC-2,7,Silver é\nC-3,1,New\n");
    harbour.once().exits(0);
    assert_eq!(harbour.report("2")["rows"], json!({ "applied": 1, "created": 1, "unchanged": 1 }));
    let again = package(&harbour, "C-1");
    assert_eq!(values(&again), (json!(1250), json!("Gold"), json!("C-1")));
    for same in ["serialNumber", "authenticationToken"] {
        assert_eq!(again.pass[same], first.pass[same], "an update never changes the {same}");
    }
    assert!(apns.pushes().is_empty(), "no phone holds a pass");
    let token = again.pass["authenticationToken"].as_str().unwrap().to_owned();
    assert!(!harbour.said().contains(&token), "a token is in the log");
    check(&harbour);
}

#[test]
fn values_that_a_pass_cannot_hold_are_rejected_before_anything_is_changed() {
    let plan = plan("https://127.0.0.1:9").feed("fields.expirationDate", "\"until\"").feed("fields.backgroundColor", "\"colour\"");
    let schema = r#"{ "fieldsMatch": "superset", "fields": [{ "name": "id" }, { "name": "points" }, { "name": "tier" }, { "name": "until" }, { "name": "colour" }] }"#;
    let harbour = plan.schema(schema).start();
    let rows = [
        "C-1,many,Gold,,",
        "C/2,1,Gold,,",
        "C-3 €,1,Gold,,",
        "C-4,1,Gold,tomorrow,",
        "C-5,1,Gold,,#ffffff",
        "C-6,1,Gold,2027-12-31T23:59:00+01:00,\"rgb(1, 2, 3)\"",
    ];
    harbour.deliver("1.csv", format!("id,points,tier,until,colour\n{}\n", rows.join("\n")));
    harbour.once().exits(1);
    assert_eq!(harbour.report("1")["rows"], json!({ "rejected": 5, "created": 1 }));
    let pass = package(&harbour, "C-6").pass;
    assert_eq!((&pass["expirationDate"], &pass["backgroundColor"]), (&json!("2027-12-31T22:59:00Z"), &json!("rgb(1, 2, 3)")));
    assert_eq!(store(&harbour).read(|work| work.count()).unwrap(), 1);
    check(&harbour);
}

#[test]
fn a_mapping_to_a_field_that_the_template_lacks_is_told_with_those_it_has() {
    let harbour = plan("https://127.0.0.1:9").feed("fields.point", "\"points\"").start();
    harbour.run(&["check"]).exits(78).says("did you mean \"points\"").says("tier");
}

#[test]
fn every_operation_does_what_it_says_and_adds_are_carried_out_once() {
    let plan = plan("https://127.0.0.1:9").feed("content", "\"delta\"").feed("operation", "{ column = \"op\" }");
    let plan = plan.feed("add.transaction_id", "\"tx\"").feed("fields.voided", "\"voided\"").feed("fields.\"barcode.message\"", "");
    let plan = plan.feed("notify.message", "\"text\"").feed("notify.field", "\"message\"").feed("notify.kind", "\"transactional\"");
    let columns = ["id", "tier", "op", "tx", "text"].map(|name| json!({ "name": name }));
    let fields: Vec<Value> = columns
        .into_iter()
        .chain([json!({ "name": "points", "type": "number" }), json!({ "name": "voided", "type": "boolean" })])
        .collect();
    let harbour = plan.schema(&json!({ "fieldsMatch": "superset", "fields": fields }).to_string()).start();
    let deliver = |name: &str, rows: &[&str]| harbour.deliver(name, format!("id,points,tier,op,tx,text,voided\n{}\n", rows.join("\n")));
    deliver("1.csv", &["C-1,10,Gold,upsert,t0,,", "C-2,10,Gold,upsert,t1,,", "C-3,1,Gold,upsert,t2,,", "C-4,1,Gold,upsert,t3,,"]);
    harbour.once().exits(0);
    let rows = [
        "C-1,2.5,,earn,t4,,",
        "C-1,4,Silver,burn,t5,You used 4 points.,",
        "C-2,99,,burn,t6,,",
        "C-2,,,void,t7,,",
        "C-3,,,redeem,t8,,",
        "C-3,,,redeem,t9,,",
        "C-4,,,expire,t10,,",
        "C-5,1,,update,t11,,",
    ];
    deliver("2.csv", &rows);
    harbour.once().exits(1);
    let ends: Vec<(String, String)> =
        harbour.errors("2").into_iter().map(|line| (line["tx"].clone(), format!("{} {}", line["_outcome"], line["_codes"]))).collect();
    let end = |tx: &str, end: &str| (tx.to_owned(), end.to_owned());
    assert_eq!(ends, [end("t6", "refused update-rejected"), end("t9", "refused update-rejected"), end("t11", "unresolved pass-not-found")]);
    let one = package(&harbour, "C-1");
    assert_eq!(
        (one.field("points"), one.field("tier"), one.field("message")),
        (&json!(8.5), &json!("Silver"), &json!("You used 4 points."))
    );
    assert_eq!(package(&harbour, "C-2").pass["voided"], true);
    assert_eq!(package(&harbour, "C-3").pass["voided"], true);
    assert!(package(&harbour, "C-4").pass["expirationDate"].as_str().unwrap() < "2099");

    // The same file under another name adds nothing; what is voided is brought back by an update.
    deliver("3.csv", &[rows[0], rows[1], "C-2,,,update,t12,,false"]);
    harbour.once().exits(0);
    assert_eq!(package(&harbour, "C-1").field("points"), &json!(8.5));
    assert_eq!(package(&harbour, "C-2").pass["voided"], false);
    check(&harbour);
}

#[test]
fn passes_of_another_host_are_brought_in_with_their_numbers_tokens_and_unknown_keys() {
    let old = plan("https://127.0.0.1:9").start();
    old.deliver("1.csv", "id,points,tier\nC-1,5,Gold\n");
    old.once().exits(0);
    store(&old)
        .write(|work| {
            let mut pass = work.pass("C-1")?.unwrap();
            pass.data["x-newer-key"] = json!({ "b": 1, "a": [2] });
            work.change(&pass, now_ms())
        })
        .unwrap();
    let folder = old.home.path().join("packages");
    std::fs::create_dir(&folder).unwrap();
    let file = folder.join("one.pkpass");
    old.run(&["package", "C-1", "--out", file.to_str().unwrap()]).exits(0);
    let before = open(&std::fs::read(&file).unwrap());
    std::fs::write(folder.join("broken.pkpass"), "no zip").unwrap();

    let new = plan("https://127.0.0.1:9").feed("operation", "\"update\"").start();
    let told = new.told(&["package", "--import", folder.to_str().unwrap(), "--json"]);
    assert_eq!((&told["imported"], told["refused"].as_array().unwrap().len()), (&json!(1), 1), "{told}");
    assert_eq!(new.told(&["package", "--import", file.to_str().unwrap(), "--json"])["known"], 1);
    new.deliver("1.csv", "id,points,tier\nC-1,6,Gold\n");
    new.once().exits(0);
    let after = package(&new, "C-1");
    assert_eq!(after.field("points"), &json!(6));
    for same in ["serialNumber", "authenticationToken", "x-newer-key"] {
        assert_eq!(after.pass[same].to_string(), before.pass[same].to_string(), "{same}");
    }
    check(&new);
}

/// The store is part of what is kept: it is copied, looked at and deleted from.
#[test]
fn backup_verify_and_forget_know_the_passes() {
    let harbour = plan("https://127.0.0.1:9").start();
    harbour.deliver("1.csv", "id,points,tier\nC-1,5,Gold\nC-2,5,Planted-7Zq\n");
    harbour.once().exits(0);
    holds(&harbour, "phone", "aa11", ["C-1", "C-2"]);
    let copy = harbour.home.path().join("copy.sqlite");
    harbour.run(&["backup", copy.to_str().unwrap()]).exits(0);
    let stored = Store::open(&harbour.home.path().join("copy.sqlite.cards-passes")).unwrap();
    assert_eq!(stored.read(|work| work.count()).unwrap(), 2);
    harbour.run(&["verify"]).exits(0);

    write_private(&harbour.home.path().join("ids"), "C-2\n");
    let input = std::fs::File::open(harbour.home.path().join("ids")).unwrap();
    let output = harbour.command(&["forget", "--json"]).stdin(input).stdout(std::process::Stdio::piped()).output().unwrap();
    let told: Value = serde_json::from_slice(&output.stdout).unwrap();
    assert_eq!((&told["hosted_passes"], &told["registrations"]), (&json!(1), &json!(1)), "{told}");
    harbour.run(&["package", "C-2", "--out", "gone.pkpass"]).exits(66);
    let path = harbour.state().join("apple/cards.sqlite");
    assert!(!std::fs::read(&path).unwrap().windows(11).any(|window| window == b"Planted-7Zq"), "bytes of the pass are left");
    assert_eq!(store(&harbour).read(|work| work.devices_of("C-1")).unwrap(), 1);

    let broken = rusqlite::Connection::open(&path).unwrap();
    broken.execute("INSERT INTO registration VALUES ('phone', 'nobody', 1)", []).unwrap();
    drop(broken);
    harbour.run(&["verify"]).exits(1);
    rusqlite::Connection::open(&path).unwrap().execute("DELETE FROM registration WHERE serial = 'nobody'", []).unwrap();
    harbour.quiet_after.set(false);
    check(&harbour);
}

#[test]
fn reach_tells_what_is_wrong_with_certificate_template_and_pushes() {
    let apns = apns();
    let own = |name: &str| format!("{:?}", AUTHORITY.path(name));
    let reach = |change: &dyn Fn(Plan) -> Plan| {
        let harbour = change(plan(&apns.base_url())).start();
        let told = harbour.told(&["check", "--reach", "--json"]);
        let all = told["reach"].as_array().unwrap_or_else(|| panic!("{told}")).clone();
        let platform = all.into_iter().find(|one| one["what"] == "platform cards").unwrap();
        (platform["ok"].as_bool().unwrap(), platform["message"].as_str().unwrap().to_owned())
    };
    let (ok, said) = reach(&|plan| plan);
    assert!(ok && said.contains("takes the certificate") && said.contains("Not proved") && said.contains("days"), "{said}");
    let pushed = apns.pushes().pop().unwrap();
    assert_eq!((pushed.by, pushed.topic.as_str(), pushed.body.as_str(), pushed.status), (By::Certificate, PASS_TYPE, "{}", Some(200)));
    let locked = format!("{{ file = {} }}", own("passphrase"));
    let (ok, said) = reach(&|plan| plan.platform("certificate", &own("pass.p12")).platform("key", "").platform("passphrase", &locked));
    assert!(ok, "{said}");
    let pair = |plan: Plan, name: &str| {
        plan.platform("certificate", &own(&format!("{name}.pem"))).platform("key", &format!("{{ file = {} }}", own(&format!("{name}.key"))))
    };
    let (ok, said) = reach(&|plan| pair(plan, "other"));
    assert!(!ok && said.contains("pass.com.example.other"), "{said}");
    let (ok, said) = reach(&|plan| pair(plan, "stranger"));
    assert!(!ok && said.contains("was not issued by"), "{said}");
    let (ok, said) = reach(&|plan| plan.platform("certificate", &own("other.pem")).platform("check_subject", "false"));
    assert!(!ok && said.contains("private key is not the one"), "{said}");
    let (ok, said) = reach(&|plan| pair(plan, "soon"));
    assert!(ok && said.contains("renew it now"), "{said}");
    let (ok, said) = reach(&|plan| pair(plan, "over"));
    assert!(!ok && said.contains("the certificate ended on"), "{said}");
    apns.know(&pushed.token, &[PASS_TYPE]);
    apns.script_next(&pushed.token, 1, Fate::BadDeviceToken);
    assert!(reach(&|plan| plan).0, "Apple says of a token that nobody has that nobody has it");
    apns.script(&pushed.token, Fate::Refuse { status: 403, reason: "BadCertificate".to_owned() });
    let (ok, said) = reach(&|plan| plan);
    assert!(!ok && said.contains("refuses the certificate: 403 BadCertificate"), "{said}");
    let (ok, said) = reach(&|plan| plan.platform("base_url", "\"https://127.0.0.1:9\""));
    assert!(!ok && said.contains("no answer"), "{said}");
    let stray = tempfile::tempdir().unwrap();
    for name in ["pass.json", "icon.png"] {
        std::fs::copy(template().join(name), stray.path().join(name)).unwrap();
    }
    std::fs::write(stray.path().join(".DS_Store"), "x").unwrap();
    let (ok, said) = reach(&|plan| plan.platform("template", &format!("{:?}", stray.path().display().to_string())));
    assert!(!ok && said.contains(".DS_Store has no place in a pass"), "{said}");
}
