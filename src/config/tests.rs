use std::path::Path;

use super::meant::{After, Complete, Login, OperationChoice, SourceKind, Wake};
use super::*;
use crate::row::Verb;

mod alert;
mod apple;
mod arrival;
mod faults;
mod http;
mod review;
mod sample;

/// A folder with a schema `cards.json` of the columns `id`, `points`, `tier`, `action`.
fn base() -> tempfile::TempDir {
    let folder = tempfile::tempdir().unwrap();
    let schema = r#"{ "fields": [{ "name": "id" }, { "name": "points" }, { "name": "tier" }, { "name": "action" }] }"#;
    std::fs::write(folder.path().join("cards.json"), schema).unwrap();
    folder
}

const GOOD: &str = r#"
state = "state"

[source.in]
kind = "sftp"
host = "127.0.0.1"
user = "acme"
key = { file = "id" }
host_key = "SHA256:AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA"

[platform.loyalty]
kind = "passkit"
region = "pub2"
key = { env = "K" }
secret = { env = "S" }
program = "abc"

[feed.points]
source = "in"
inbox = "./out//points/"
pattern = "p_*.csv"
content = "snapshot"
schema = "cards.json"
platform = "loyalty"
pass = { external_id = "id" }

[feed.points.fields]
"points" = "points"
"metaData.label" = "{{ tier | upper }} member"
"#;

fn load_good(change: impl FnOnce(&str) -> String) -> std::result::Result<meant::Config, Faults> {
    let folder = base();
    load_text(&change(GOOD), folder.path())
}

#[test]
fn a_small_file_gets_every_default() {
    let folder = base();
    let config = load_text(GOOD, folder.path()).unwrap_or_else(|faults| panic!("{faults}"));
    assert_eq!(config.state, folder.path().join("state"));
    assert_eq!(config.hash.len(), 64);
    let feed = &config.feeds["points"];
    assert_eq!(feed.inbox, "out/points");
    assert_eq!(feed.reports.folder, "out/points/reports");
    assert_eq!(feed.after, After::Move { processed: ".processed".into(), error: ".error".into() });
    assert_eq!(feed.complete, Complete::Quiet(std::time::Duration::from_secs(30)));
    assert_eq!(feed.operation, OperationChoice::Always(Verb::Update));
    assert_eq!(feed.guard.rows, Some((0.5, 2.0)));
    assert_eq!(feed.guard.rejects, Some(0.05));
    assert_eq!(feed.report_mode, 0o640);
    assert_eq!(feed.fields[0].0, "points", "in the order of the file");
    assert_eq!(feed.source.wake, Wake::Every(std::time::Duration::from_mins(1)));
    let SourceKind::Sftp(sftp) = &feed.source.kind else { panic!("an sftp source") };
    assert!(matches!(&sftp.login, Login::Key { passphrase: None, .. }));
    assert_eq!(sftp.port, 22);
    let meant::PlatformKind::Passkit(passkit) = &feed.platform.kind else { panic!("another kind") };
    assert_eq!(passkit.base_url, "https://api.pub2.passkit.io");
    assert!(matches!(passkit.credential, meant::PasskitCredential::Pair { bearer: true, .. }));
}

#[test]
fn guards_can_be_switched_off_one_by_one() {
    let config = load_good(|text| format!("{text}[feed.points.guard]\nrejects = false\nrows = false\nzeroed = \"1%\"\n")).unwrap();
    let guard = &config.feeds["points"].guard;
    assert_eq!((guard.rejects, guard.rows, guard.zeroed), (None, None, Some(0.01)));
}

#[test]
fn a_fingerprint_follows_the_meaning_and_nothing_else() {
    let print =
        |change: &dyn Fn(&str) -> String| load_good(change).unwrap_or_else(|faults| panic!("{faults}")).feeds["points"].fingerprint.clone();
    let plain = print(&str::to_owned);
    assert_eq!(plain, print(&|text| text.replace("p_*.csv", "q_*.csv")), "the pattern is not the meaning");
    assert_eq!(plain, print(&|text| text.replace("key = { env = \"K\" }", "key = { env = \"K2\" }")), "a rotated key is not the meaning");
    let swapped = "\"metaData.label\" = \"{{ tier | upper }} member\"\n\"points\" = \"points\"\n";
    assert_eq!(plain, print(&|text| text[..text.find("\"points\" = ").unwrap()].to_owned() + swapped), "nor is the order of the mapping");
    for (from, to) in [
        ("\"points\" = \"points\"", "\"points\" = \"tier\""),
        ("{ external_id = \"id\" }", "{ pass_id = \"id\" }"),
        ("program = \"abc\"", "program = \"abd\""),
        ("pub2", "pub1"),
        ("\"snapshot\"", "\"delta\""),
        ("pass = {", "operation = \"expire\"\npass = {"),
        ("pass = {", "operation = { column = \"action\" }\npass = {"),
        ("pass = {", "dialect = { delimiter = \";\" }\npass = {"),
        ("pass = {", "timezone = \"Europe/Paris\"\npass = {"),
    ] {
        assert_ne!(plain, print(&|text| text.replace(from, to)), "{to}");
    }
}

#[test]
fn a_named_file_is_not_looked_for_elsewhere() {
    let error = find(Some(Path::new("/nowhere/passferry.toml"))).unwrap_err();
    assert!(error.to_string().contains("/nowhere/passferry.toml"), "{error}");
    let folder = base();
    let path = folder.path().join("mine.toml");
    std::fs::write(&path, GOOD).unwrap();
    assert_eq!(find(Some(&path)).unwrap(), path);
    assert!(load(&path).is_ok(), "the schema is found beside the file");
}

#[test]
fn a_file_saved_on_windows_reads_the_same() {
    let config = load_good(|text| format!("\u{feff}{}", text.replace('\n', "\r\n"))).unwrap_or_else(|faults| panic!("{faults}"));
    assert_eq!(config.feeds["points"].fingerprint, load_good(str::to_owned).unwrap().feeds["points"].fingerprint);
    let faults = load_good(|text| text.replace("p_*.csv", "a/b").replace('\n', "\r\n")).unwrap_err();
    assert!(faults.to_string().contains("21 | pattern = \"a/b\"\n"), "{faults:?}");
}

#[test]
fn a_passkit_account_has_one_kind_of_passes_and_of_credentials() {
    const PROGRAM: &str = "program = \"abc\"";
    let faults = |to: &str| load_good(|text| text.replace(PROGRAM, to)).map_or_else(|faults| faults.to_string(), |_| "none".to_owned());
    for (to, words) in [
        ("", "production = \"ID\" for event tickets"),
        ("program = \"a\"\ncampaign = \"b\"", "of one kind"),
        ("program = \"a\"\noffer = \"b\"", "nothing that members have"),
        ("campaign = \"a\"\nread_back = \"balance\"", "these passes have none"),
        ("production = \"a b\"", "is not an identifier"),
        ("program = \"a\"\ntoken = { env = \"T\" }", "stands beside token"),
        ("program = \"a\"\ntoken_ends = \"2027-01-31\"", "there is none"),
    ] {
        let told = faults(to);
        assert!(told.contains(words), "{to}: {told}");
    }
    let tokened = |end: &str| {
        let credentials = "key = { env = \"K\" }\nsecret = { env = \"S\" }";
        load_good(|text| text.replace(credentials, &format!("token = {{ env = \"T\" }}\ntoken_ends = \"{end}\"")))
    };
    assert!(tokened("2027-02-30").unwrap_err().to_string().contains("is not a day"));
    let config = tokened("2027-02-28").unwrap();
    let meant::PlatformKind::Passkit(passkit) = &config.feeds["points"].platform.kind else { panic!("another kind") };
    assert!(matches!(passkit.credential, meant::PasskitCredential::Token { ends: Some(_), .. }));
    assert_eq!(passkit.index_from, Some(2000));
}
