//! Descriptions of platforms: every fault at its place, with its cure.

use super::*;

const AUTH: &str = "{ bearer = { env = \"K\" } }";
const HEADERS: &str = "{ \"Api-Version\" = \"2\" }";

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

/// What is written instead of what, and how the one fault begins, behind `platform.loyalty.`.
const FAULTS: &[(&str, &str, &str)] = &[
    ("base_url = \"https://api.example.com\"\n", "", "base_url is missing"),
    ("\"PATCH /passes/{{ pass_id }}\"", "\"PATCH passes\"", "update.request \"PATCH passes\" has an address that does not begin"),
    ("{{ pass_id }}", "{{ passid }}", "update.request has {{ passid }}, which this request does not have; did you mean \"pass_id\"?"),
    ("\"PATCH /passes/{{ pass_id }}\"", "\"GET /passes/{{ pass_id }}\"", "update.request is a GET, which changes nothing"),
    ("'{ \"note\": \"{{ reference }}\" }'", "'{ \"note\": {{ reference }} }'", "update.body is not JSON"),
    ("'{ \"note\": \"{{ reference }}\" }'", "'[1]'", "update.body is no JSON object"),
    ("body = '{ \"note\"", "whole = \"pass\"\nbody = '{ \"note\"", "update.whole \"pass\" is no place in JSON"),
    ("body = '{ \"note\"", "negative = true\nbody = '{ \"note\"", "update.negative belongs to earn and burn"),
    (
        "pass_id = \"/id\"\n",
        "pass_id = \"$.id\"\n",
        "find.pass_id \"$.id\" is no place in JSON: it does not begin with \"/\"; write \"/id\"",
    ),
    ("\"GET /passes/{{ external_id }}\"", "\"PUT /passes/{{ external_id }}\"", "find.request changes something"),
    ("\"GET /passes/{{ external_id }}\"", "\"GET /passes\"", "find.request asks for no pass in particular"),
    ("headers = { \"Idempotency-Key\" = \"{{ key }}\" }\n", "", "earn.key_lifetime says that the platform knows a request again"),
    ("\"24h\"", "\"5s\"", "earn.key_lifetime \"5s\" is too short"),
    (", balance = true", "", "earn moves a balance, and no field is one"),
    ("kind = \"integer\"", "kind = \"integer\", length_max = 3", "fields.points.length_max belongs to fields of kind text or json"),
    ("kind = \"integer\"", "kind = \"integer\", least = 2, most = 1", "fields.points.least is above most"),
    ("kind = \"integer\"", "kind = \"integer\", at = \"/metaData\"", "fields.\"metaData.label\".at stands at"),
    ("\"news\" = ", "\"x.*\" = { at = \"/x\" }\n\"news\" = ", "fields.\"x.*\".at is the same place for every field"),
    ("length_max = 20", "cleared = \"nil\"", "fields.\"metaData.label\".cleared \"nil\" is not JSON"),
    ("length_max = 20", "kind = \"date\", format = \"%Q\"", "fields.\"metaData.label\".format \"%Q\" is no form of a date"),
    ("not_found = 404", "not_found = \"4xx\"", "answers.not_found \"4xx\" has no statuses"),
    ("not_found = 404", "retry = 302", "answers.retry \"302\" has a status whose meaning is fixed"),
    ("not_found = 404", "not_found = 404\nrefused = \"400..404\"", "answers"),
    ("item_id = \"/id\"\n", "", "batch.item_id is missing"),
    ("headers = { \"Api-Version\" = \"2\" }", "headers = { \"X-Api-Key\" = \"hunter2\" }", "headers.X-Api-Key looks like a secret"),
    ("headers = { \"Api-Version\" = \"2\" }", "tier = \"x\"", "tier is a key of platforms of kind \"passkit\""),
    (AUTH, "{ bearer = { env = \"K\" }, user = \"u\" }", "auth needs the keys of one way"),
    (AUTH, "{ user = \"u\" }", "auth.password is missing"),
    (
        AUTH,
        "{ token_url = \"http://login.example.com\", client_id = \"i\", client_secret = { env = \"S\" } }",
        "auth.token_url would send credentials in clear",
    ),
    ("length_max = 20", "items_max = 3", "fields.\"metaData.label\".items_max belongs to fields of kind json"),
    ("pass_id = \"/id\"\n", "pass_id = \"/id\"\nnext = { at = \"/next\" }\n", "find.next belongs to a list"),
    ("pass_id = \"/id\"\n", "pass_id = \"/id\"\nlist = \"/l\"\nnext = {}\n", "find.next.at is missing"),
    ("headers = {", "id_max = 0\nheaders = {", "id_max is 0"),
];

#[test]
fn faults_of_a_description_name_what_to_write() {
    for (from, to, begins) in FAULTS {
        one(from, to, &format!("platform.loyalty.{begins}"));
    }
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
    let auth = [
        "{ bearer = \"hunter2\" }",
        "{ bearer = { value = \"hunter2\" } }",
        "{ bearer = { env = \"hunter2-is-no-name!\" } }",
        "{ user = \"u\", password = \"hunter2\" }",
        "{ token = \"hunter2\" }",
        "{ token_url = \"https://l.example/t\", client_id = \"i\", client_secret = \"hunter2\" }",
    ];
    let headers = ["{ \"Authorization\" = \"Bearer hunter2\" }", "{ \"X-Api-Key\" = \"hunter2\" }"];
    let each = auth.into_iter().map(|to| (AUTH, to)).chain(headers.into_iter().map(|to| (HEADERS, to)));
    for (from, to) in each {
        let faults = load_described(from, to).unwrap_err().to_string();
        assert!(!faults.contains("hunter2"), "{to}: {faults}");
    }
    let told = load_described(AUTH, auth[0]).unwrap_err().to_string();
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
