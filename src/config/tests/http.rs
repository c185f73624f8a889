//! Descriptions of platforms: every fault at its place, with its cure.

use super::*;

const CLUB: &str = r#"
[platform.loyalty]
kind = "http"
base_url = "https://api.example.com"
auth = { bearer = { env = "K" } }
headers = { "Api-Version" = "2" }

[platform.loyalty.fields]
"points" = { kind = "integer", balance = true }
"metaData.label" = { length_max = 20 }
"news" = { alert = true }

[platform.loyalty.find]
request = "GET /passes/{{ external_id }}"
pass_id = "/id"

[platform.loyalty.update]
request = "PATCH /passes/{{ pass_id }}"
body = '{ "note": "{{ reference }}" }'

[platform.loyalty.earn]
request = "POST /passes/{{ external_id }}/earn"
headers = { "Idempotency-Key" = "{{ key }}" }
key_lifetime = "24h"

[platform.loyalty.batch]
request = "POST /batch"
items = "/items"
item = '{ "id": "{{ external_id }}" }'
item_id = "/id"
results = "/results"
result_id = "/id"

[platform.loyalty.answers]
not_found = 404
success = { at = "/ok", is = "true" }
"#;

/// The good file with a described platform in place of PassKit.
fn described() -> String {
    let (before, rest) = GOOD.split_once("[platform.loyalty]").unwrap();
    let feed = &rest[rest.find("[feed.points]").unwrap()..];
    format!("{before}{}{feed}", CLUB.trim_start())
}

fn load_described(from: &str, to: &str) -> std::result::Result<meant::Config, Faults> {
    let text = described();
    assert!(text.contains(from), "{from}");
    load_text(&text.replacen(from, to, 1), base().path())
}

#[track_caller]
fn one(from: &str, to: &str, begins: &str) {
    let faults: Vec<String> = match load_described(from, to) {
        Ok(_) => Vec::new(),
        Err(faults) => faults.faults.into_iter().map(|fault| format!("{} {}", fault.key, fault.message)).collect(),
    };
    assert!(faults.len() == 1 && faults[0].starts_with(begins), "{to:?} gives {faults:#?}, not {begins:?}");
}

#[test]
fn a_described_platform_is_read() {
    let config = load_described("", "").unwrap_or_else(|faults| panic!("{faults}"));
    let meant::PlatformKind::Http(http) = &config.platforms["loyalty"].kind else { panic!("a described platform") };
    assert_eq!(http.fields.len(), 3);
    assert!(http.update.is_some() && http.earn.is_some() && http.batch.is_some() && http.create.is_none());
}

#[test]
fn faults_of_a_description_name_what_to_write() {
    one("base_url = \"https://api.example.com\"\n", "", "platform.loyalty.base_url is missing");
    one(
        "\"PATCH /passes/{{ pass_id }}\"",
        "\"PATCH passes\"",
        "platform.loyalty.update.request \"PATCH passes\" has an address that does not begin",
    );
    one(
        "{{ pass_id }}",
        "{{ passid }}",
        "platform.loyalty.update.request has {{ passid }}, which this request does not have; did you mean \"pass_id\"?",
    );
    one(
        "\"PATCH /passes/{{ pass_id }}\"",
        "\"GET /passes/{{ pass_id }}\"",
        "platform.loyalty.update.request is a GET, which changes nothing",
    );
    one("'{ \"note\": \"{{ reference }}\" }'", "'{ \"note\": {{ reference }} }'", "platform.loyalty.update.body is not JSON");
    one("'{ \"note\": \"{{ reference }}\" }'", "'[1]'", "platform.loyalty.update.body is no JSON object");
    one("body = '{ \"note\"", "whole = \"pass\"\nbody = '{ \"note\"", "platform.loyalty.update.whole \"pass\" is no place in JSON");
    one("body = '{ \"note\"", "negative = true\nbody = '{ \"note\"", "platform.loyalty.update.negative belongs to earn and burn");
    one(
        "pass_id = \"/id\"\n",
        "pass_id = \"$.id\"\n",
        "platform.loyalty.find.pass_id \"$.id\" is no place in JSON: it does not begin with \"/\"; write \"/id\"",
    );
    one("\"GET /passes/{{ external_id }}\"", "\"PUT /passes/{{ external_id }}\"", "platform.loyalty.find.request changes something");
    one("\"GET /passes/{{ external_id }}\"", "\"GET /passes\"", "platform.loyalty.find.request asks for no pass in particular");
    one(
        "headers = { \"Idempotency-Key\" = \"{{ key }}\" }\n",
        "",
        "platform.loyalty.earn.key_lifetime says that the platform knows a request again",
    );
    one("\"24h\"", "\"5s\"", "platform.loyalty.earn.key_lifetime \"5s\" is too short");
    one(", balance = true", "", "platform.loyalty.earn moves a balance, and no field is one");
    one(
        "kind = \"integer\"",
        "kind = \"integer\", length_max = 3",
        "platform.loyalty.fields.points.length_max belongs to fields of kind text or json",
    );
    one("kind = \"integer\"", "kind = \"integer\", least = 2, most = 1", "platform.loyalty.fields.points.least is above most");
    one("kind = \"integer\"", "kind = \"integer\", at = \"/metaData\"", "platform.loyalty.fields.\"metaData.label\".at stands at");
    one("\"news\" = ", "\"x.*\" = { at = \"/x\" }\n\"news\" = ", "platform.loyalty.fields.\"x.*\".at is the same place for every field");
    one("length_max = 20", "cleared = \"nil\"", "platform.loyalty.fields.\"metaData.label\".cleared \"nil\" is not JSON");
    one(
        "length_max = 20",
        "kind = \"date\", format = \"%Q\"",
        "platform.loyalty.fields.\"metaData.label\".format \"%Q\" is no form of a date",
    );
    one("not_found = 404", "not_found = \"4xx\"", "platform.loyalty.answers.not_found \"4xx\" has no statuses");
    one("not_found = 404", "retry = 302", "platform.loyalty.answers.retry \"302\" has a status whose meaning is fixed");
    one("not_found = 404", "not_found = 404\nrefused = \"400..404\"", "platform.loyalty.answers");
    one("item_id = \"/id\"\n", "", "platform.loyalty.batch.item_id is missing");
    one(
        "headers = { \"Api-Version\" = \"2\" }",
        "headers = { \"X-Api-Key\" = \"hunter2\" }",
        "platform.loyalty.headers.X-Api-Key looks like a secret",
    );
    one("headers = { \"Api-Version\" = \"2\" }", "tier = \"x\"", "platform.loyalty.tier is a key of platforms of kind \"passkit\"");
    one("{ bearer = { env = \"K\" } }", "{ bearer = { env = \"K\" }, user = \"u\" }", "platform.loyalty.auth needs the keys of one way");
    one("{ bearer = { env = \"K\" } }", "{ user = \"u\" }", "platform.loyalty.auth.password is missing");
    one(
        "{ bearer = { env = \"K\" } }",
        "{ token_url = \"http://login.example.com\", client_id = \"i\", client_secret = { env = \"S\" } }",
        "platform.loyalty.auth.token_url would send credentials in clear",
    );
}

/// A feed that asks what the description does not offer is told when the file is read, not when a row comes.
#[test]
fn a_feed_that_asks_for_more_is_told() {
    one(
        "\"points\" = \"points\"",
        "\"point\" = \"points\"",
        "feed.points.fields.point the platform's fields do not declare \"point\"; did you mean \"points\"?",
    );
    one("pass = {", "operation = \"void\"\npass = {", "feed.points.operation is \"void\", which platform \"loyalty\" cannot do");
    one("\"points\" = \"points\"", "\"news\" = \"points\"", "feed.points.fields maps \"news\", whose change alerts the holder");
    one(
        "{ external_id = \"id\" }",
        "{ pass_id = \"id\" }",
        "feed.points.pass names passes by pass_id, and the platform's requests need {{ external_id }}",
    );
    one(
        "[platform.loyalty.find]\nrequest = \"GET /passes/{{ external_id }}\"\npass_id = \"/id\"\n",
        "",
        "feed.points.pass names passes by external_id, and the platform's requests need {{ pass_id }}",
    );
}

#[test]
fn no_secret_of_a_description_is_shown() {
    for (from, to) in [
        ("{ bearer = { env = \"K\" } }", "{ bearer = \"hunter2\" }"),
        ("{ bearer = { env = \"K\" } }", "{ bearer = { value = \"hunter2\" } }"),
        ("{ bearer = { env = \"K\" } }", "{ bearer = { env = \"hunter2-is-no-name!\" } }"),
        ("{ bearer = { env = \"K\" } }", "{ user = \"u\", password = \"hunter2\" }"),
        ("{ bearer = { env = \"K\" } }", "{ token = \"hunter2\" }"),
        ("{ bearer = { env = \"K\" } }", "{ token_url = \"https://l.example/t\", client_id = \"i\", client_secret = \"hunter2\" }"),
        ("{ \"Api-Version\" = \"2\" }", "{ \"Authorization\" = \"Bearer hunter2\" }"),
        ("{ \"Api-Version\" = \"2\" }", "{ \"X-Api-Key\" = \"hunter2\" }"),
    ] {
        let faults = load_described(from, to).unwrap_err().to_string();
        assert!(!faults.contains("hunter2"), "{to}: {faults}");
    }
    let told = load_described("{ bearer = { env = \"K\" } }", "{ bearer = \"hunter2\" }").unwrap_err().to_string();
    assert!(told.contains("write bearer = { env = \"LOYALTY_BEARER\" }"), "{told}");
}

#[test]
fn what_a_change_means_there_is_part_of_the_fingerprint() {
    let print =
        |from: &str, to: &str| load_described(from, to).unwrap_or_else(|faults| panic!("{faults}")).feeds["points"].fingerprint.clone();
    let plain = print("", "");
    assert_eq!(plain, print("env = \"K\"", "env = \"K2\""), "a rotated key is not the meaning");
    assert_ne!(plain, print("PATCH", "PUT"));
    assert_ne!(plain, print("length_max = 20", "length_max = 20, at = \"/label\""));
}

#[test]
fn airship_needs_little_and_says_what() {
    let section = "[platform.loyalty]\nkind = \"airship\"\nregion = \"eu\"\ntemplate = \"4711\"\nauth = { client_id = \"i\", client_secret = { env = \"S\" } }\n";
    let text = |change: &dyn Fn(&str) -> String| {
        let (before, rest) = GOOD.split_once("[platform.loyalty]").unwrap();
        let feed = rest[rest.find("[feed.points]").unwrap()..]
            .replace("\"points\" = ", "\"fields.points\" = ")
            .replace("metaData.label", "headers.label");
        load_text(&format!("{before}{}{feed}", change(section)), base().path())
    };
    let config = text(&str::to_owned).unwrap_or_else(|faults| panic!("{faults}"));
    let meant::PlatformKind::Http(http) = &config.platforms["loyalty"].kind else { panic!("a description") };
    assert_eq!((http.kind, &*http.base_url, &*http.account), ("airship", "https://wallet-api.asnapieu.com/v1", "4711"));
    let meant::http::Auth::Token(token) = &http.auth else { panic!("a token") };
    assert_eq!((&*token.address, token.scope.as_deref()), ("https://oauth2.asnapieu.com/token", Some("wpas")));
    assert!(http.headers.iter().any(|(name, value)| name == "api-revision" && value == "1.2"));
    for (from, to, fault) in [
        ("region = \"eu\"\n", "", "platform.loyalty.region is missing"),
        ("\"eu\"", "\"pub1\"", "platform.loyalty.region is one of PassKit"),
        ("template = \"4711\"\n", "", "platform.loyalty.template is missing"),
        ("auth = {", "#", "platform.loyalty.auth is missing"),
    ] {
        let faults = text(&|section: &str| section.replace(from, to)).unwrap_err();
        let told: Vec<String> = faults.faults.iter().map(|fault| format!("{} {}", fault.key, fault.message)).collect();
        assert!(told.len() == 1 && told[0].starts_with(fault), "{told:?}");
    }
}
