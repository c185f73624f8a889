//! Accounts of passes that are hosted here.

use super::*;
use crate::config::meant::apple::{PushProof, Serials};

const ACCOUNT: &str = r#"
[source.files]
kind = "folder"
path = "files"
[platform.own]
kind = "apple_wallet"
pass_type = "pass.com.example.loyalty"
team = "ABCDE12345"
template = "apple/loyalty.pass"
certificate = "pass.p12"
intermediate = "wwdr.cer"
public_url = "https://passes.example.com/apple/"
[feed.points]
source = "files"
pattern = "*.csv"
content = "snapshot"
schema = "platforms/passes.json"
platform = "own"
pass = { external_id = "id" }
operation = "upsert"
fields = { "points" = "points" }
"#;

/// From the folder of the samples, where the template is.
fn load_with(from: &str, to: &str) -> Result<meant::Config, Faults> {
    assert!(ACCOUNT.contains(from), "{from}");
    load_text(&ACCOUNT.replacen(from, to, 1), &Path::new(env!("CARGO_MANIFEST_DIR")).join("samples"))
}

#[test]
fn an_account_says_what_it_signs_with_and_where_phones_reach_it() {
    let config = load_with("\n[feed", "state = \"x\"\n[feed").map(drop);
    assert!(config.is_err(), "state belongs to the file");
    let config = load_text(&format!("state = \"here\"\n{ACCOUNT}"), &Path::new(env!("CARGO_MANIFEST_DIR")).join("samples")).unwrap();
    let meant::PlatformKind::AppleWallet(own) = &config.platforms["own"].kind else { panic!("another kind") };
    assert!(own.store.ends_with("samples/here/apple/own.sqlite"), "{}", own.store.display());
    assert_eq!((own.public_url.as_str(), own.listen, own.serials), ("https://passes.example.com/apple", None, Serials::ExternalId));
    assert_eq!(
        (own.push.url.as_str(), &own.push.proof, own.push.body.as_str()),
        ("https://api.push.apple.com", &PushProof::Certificate, "{}")
    );
    assert!(own.signing.check_subject && own.signing.key.is_none());
}

#[test]
fn what_phones_or_apple_would_refuse_is_a_fault_of_the_file() {
    let cases = [
        ("team = \"ABCDE12345\"\n", "", "own.team"),
        ("pass.com.example.loyalty", "pass com/example", "own.pass_type"),
        ("https://passes", "http://passes", "own.public_url"),
        ("apple/loyalty.pass", "apple/nothing", "own.template"),
        ("team = ", "listen = \"8080\"\nteam = ", "own.listen"),
        ("team = ", "base_url = \"http://127.0.0.1:1\"\nteam = ", "own.base_url"),
        ("team = ", "base_url = \"https://api.sandbox.push.apple.com\"\nteam = ", "own.base_url"),
        ("team = ", "base_url = \"https://API.development.push.apple.com:2197\"\nteam = ", "own.base_url"),
        ("team = ", "push_key_id = \"X\"\nteam = ", "own.push_key"),
        ("team = ", "push_key = { env = \"K\" }\nteam = ", "own.push_key_id"),
        ("team = ", "push_body = \"[]\"\nteam = ", "own.push_body"),
        ("team = ", "push_priority = 7\nteam = ", "own.push_priority"),
        ("team = ", "program = \"x\"\nteam = ", "own.program"),
        ("\"points\" = \"points\"", "\"pionts\" = \"points\"", "pionts"),
        (
            "operation = \"upsert\"",
            "notify = { message = \"message\", field = \"points\", kind = \"transactional\" }\nadd = { dedupe = \"file\" }",
            "notify.field",
        ),
    ];
    for (from, to, key) in cases {
        let faults = load_with(from, to).expect_err(to);
        assert!(faults.faults.iter().all(|fault| fault.key.contains(key)), "{to:?}: {faults}");
    }
}
