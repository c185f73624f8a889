//! Every fault is found, at its place, with its cure; and none shows a secret.

use super::*;

/// One file with very much wrong.
const BROKEN: &str = r#"state = { url = "postgres://acme:hunter2@db/passferry" }
drain = 30
wrokers = 2

[source.in]
kind = "sftp"
host = "sftp://sftp.example.com"
prot = 22
user = "acme"
password = "hunter2"
host_key = ["MD5:12:34"]
poll = "1 fortnight"
buffer = -1

[source.folder]
kind = "folder"
port = 22
timezone = "Europe/Pari"

[source.cloud]
kind = "s3"

[source.asked]
kind = "sftp"
schedule = "15 2 * * * *"
timezone = "Mars/Olympus"
key = { env = "K", file = "id" }
password = ["hunter2"]

[platform.loyalty]
kind = "passkit"
base_url = "http://api.example.com"
environment = "test"
key = { value = "hunter2" }
secret = { env = "hunter2-is-no-name!" }
allowance = "20"
tires = 3
in_flight = 0

[platform.wallet]
kind = "samsung_wallet"

[feed.points]
source = "inn"
inbox = "../outbox"
pattern = "outbox/{p_*.csv"
content = "snapshots"
schema = "cards.json"
platform = "loyalty"
pass = { external_id = "ID", pass_id = "id" }
operation = "earn"
mode = "dry-run"
quiet = "30"
marker = "../{}.done"
after = { processed = "done", error = "./done/" }
reports = { source = "nowhere", folder = "/reports" }
report_mode = 640
duplicates = "newest"
unchanged = { max_age = "thirty days" }
dialect = { delimiter = ";;", heder = true }

[feed.points.fields]
"points" = "point"
"metaData.label" = "{{ teir | upper }} member"
"metaData.broken" = "{{ tier"

[feed.points.guard]
rejects = "5"
rows = "200%..50%"
zeroed = true
created = 0.1

[feed.points.limits]
record = "1 lightyear"
cells = 0

[feed.points.consent]
column = "opt_in"

[feed.empty]
"#;

#[test]
fn a_broken_file_gives_all_its_faults_at_once() {
    let folder = base();
    let faults = load_text(BROKEN, folder.path()).unwrap_err();
    insta::assert_snapshot!("broken", faults.to_string());
    assert!(!faults.to_string().contains("hunter2"), "a secret is shown");
}

/// The faults of the good file after a change, as `line:column key message`.
fn faults(from: &str, to: &str) -> Vec<String> {
    assert!(GOOD.contains(from), "{from}");
    let faults = match load_good(|text| text.replacen(from, to, 1)) {
        Ok(_) => Vec::new(),
        Err(faults) => faults.faults,
    };
    faults.into_iter().map(|fault| format!("{} {}", fault.key, fault.message)).collect()
}

/// One change, one fault, which begins so.
#[track_caller]
fn one(from: &str, to: &str, fault: &str) {
    let faults = faults(from, to);
    assert!(faults.len() == 1 && faults[0].starts_with(fault), "{to:?} gives {faults:#?}, not {fault:?}");
}

const KEY: &str = "key = { file = \"id\" }";
const HOST_KEY: &str = "host_key = \"SHA256:AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA\"";
const PASS: &str = "pass = { external_id = \"id\" }";

#[test]
fn faults_of_sources() {
    one("kind = \"sftp\"", "", "source.in.kind is missing");
    one("host = \"127.0.0.1\"", "", "source.in.host is missing");
    one("host = \"127.0.0.1\"", "host = \"a:22\"", "source.in.host is not a host");
    one("user = \"acme\"", "user = \"\"", "source.in.user is empty");
    one("user = \"acme\"", "user = \"acme\"\nport = 70000", "source.in.port is");
    one("user = \"acme\"", "user = \"acme\"\npath = \"x\"", "source.in.path is a key of folder sources");
    one("user = \"acme\"", "user = \"acme\"\nbuffer = 1", "source.in.buffer is out of range");
    one("user = \"acme\"", "user = \"acme\"\nidle_timeout = \"0s\"", "source.in.idle_timeout \"0s\" is too short");
    one("user = \"acme\"", "user = \"acme\"\ntimezone = \"UTC\"", "source.in.timezone belongs to a schedule");
    one("user = \"acme\"", "user = \"acme\"\nschedule = \"99 2 * * *\"", "source.in.schedule \"99 2 * * *\" is not a schedule");
    one("user = \"acme\"", "user = \"acme\"\npoll = \"1m\"\nschedule = \"1 2 * * *\"", "source.in.schedule stands beside poll");
    one(KEY, "", "source.in has no login");
    one(KEY, "key = { file = \"id\" }\nagent = true", "source.in has several logins");
    one(KEY, "agent = true\npassphrase = { env = \"P\" }", "source.in.passphrase belongs to a key");
    one(KEY, "key = {}", "source.in.key needs exactly one place");
    one(KEY, "key = { credential = \"../id\" }", "source.in.key.credential is not the name");
    one(HOST_KEY, "", "source.in.host_key is missing; a server is never trusted unseen");
    one(HOST_KEY, "host_key = []", "source.in.host_key is an empty list");
    one("[source.in]", "[source]\nhost = \"x\"\n[source.in]", "source.host stands in no named section; write [source.NAME]");
    one("[source.in]", "[source.\"in box\"]\nkind = \"folder\"\npath = \"x\"\n[source.in]", "source.\"in box\" \"in box\" is no name");
}

#[test]
fn faults_of_platforms() {
    one("region = \"pub2\"", "", "platform.loyalty.region is missing");
    one("region = \"pub2\"", "region = \"pub3\"", "platform.loyalty.region \"pub3\" is not known here; did you mean \"pub");
    one("region = \"pub2\"", "region = \"pub2\"\nbase_url = \"https://x\"", "platform.loyalty.base_url stands beside region");
    one("region = \"pub2\"", "base_url = \"x\"", "platform.loyalty.base_url is not an address");
    one("region = \"pub2\"", "base_url = \"http://10.0.0.1\"", "platform.loyalty.base_url would send credentials in clear");
    one("region = \"pub2\"", "base_url = \"https://a:b@x\"", "platform.loyalty.base_url has a login in it");
    one("region = \"pub2\"", "base_url = \"ftp://x\"", "platform.loyalty.base_url is not a web address");
    for good in ["http://127.0.0.1:8480", "http://[::1]:1", "http://localhost/x/", "https://api.example.com"] {
        assert_eq!(faults("region = \"pub2\"", &format!("base_url = \"{good}\"")), [""; 0]);
    }
    one("secret = { env = \"S\" }", "", "platform.loyalty.secret is missing");
    one("program = \"abc\"", "program = \"a b\"", "platform.loyalty.program \"a b\" is not an identifier");
    let settling = |more: &str| format!("program = \"abc\"\nsettling = {more}");
    one("program = \"abc\"", &settling("\"9s\""), "platform.loyalty.settling is less than the deadline of a request (timeout, 10s)");
    one(
        "program = \"abc\"",
        &settling("\"9s\"\ntimeout = \"1m\""),
        "platform.loyalty.settling is less than the deadline of a request (timeout, 1m)",
    );
    assert_eq!(faults("program = \"abc\"", &settling("\"9s\"\ntimeout = \"8s\"")), [""; 0]);
    let here = "base_url = \"http://127.0.0.1:8480\"\nsettling = \"10ms\"";
    assert_eq!(faults("region = \"pub2\"", here), [""; 0], "a stand-in for a platform waits as long as a test likes");
    one("program = \"abc\"", "program = \"abc\"\ntries = 0", "platform.loyalty.tries is 0");
    one("program = \"abc\"", "program = \"abc\"\nallowance = \"20/d\"", "platform.loyalty.allowance \"20/d\" is not an allowance");
    one(
        "program = \"abc\"",
        "program = \"abc\"\nenvironment = \"test\"",
        "feed.points.environment is \"production\" but platform \"loyalty\" is \"test\"",
    );
}

#[test]
fn faults_of_feeds() {
    one("source = \"in\"", "source = \"inn\"", "feed.points.source there is no [source.inn]; did you mean \"in\"?");
    one("schema = \"cards.json\"", "schema = \"none.json\"", "feed.points.schema \"");
    one("\"p_*.csv\"", "\"a/b\"", "feed.points.pattern \"a/b\" has a folder");
    one("\"p_*.csv\"", "\"[\"", "feed.points.pattern \"[\" is not a pattern");
    one(PASS, "", "feed.points.pass is missing");
    one(
        PASS,
        "pass = { external_id = \"points_id\" }",
        "feed.points.pass.external_id the schema has no column \"points_id\"; did you mean \"points\"?",
    );
    one(PASS, "pass = [\"id\"]", "feed.points.pass is sequence; write a table { … }");
    for (text, fault) in [
        ("operation = { words = {} }", "feed.points.operation.column is missing"),
        (
            "operation = { column = \"action\", words = { new = \"erase\" } }",
            "feed.points.operation.words.new \"erase\" is not an operation",
        ),
        ("operation = \"delete\"", "feed.points.operation \"delete\" is not an operation"),
        ("several = \"some\"", "feed.points.several \"some\" is not known here; write \"refuse\" or \"all\""),
        ("canary = { limit = 0 }", "feed.points.canary.limit is 0"),
        ("dialect = { delimiter = \"\\\"\" }", "feed.points.dialect.delimiter"),
        ("quiet = \"5s\"\nmarker = \"_SUCCESS\"", "feed.points.marker stands beside quiet"),
        ("marker = \"{}\"", "feed.points.marker \"{}\" is not a name"),
        ("after = \"archive\"", "feed.points.after \"archive\" is not known here"),
        ("after = { error = \".processed\" }", "feed.points.after.error is the folder of processed files too"),
        ("after = { error = \"/x\" }", "feed.points.after.error \"/x\" is not a folder under the inbox"),
        ("report_mode = \"0400\"", "feed.points.report_mode \"0400\" leaves the report unreadable"),
        ("limits = { cell = \"1GiB\" }", "feed.points.limits.cell is more than memory"),
        ("limits = { file = 0 }", "feed.points.limits.file is nothing"),
        (
            "timezone = \"Europe/Pariss\"",
            "feed.points.timezone \"Europe/Pariss\" is not a time zone; write an IANA name such as \"Europe/Paris\"",
        ),
        ("add = { transaction_id = \"id\", dedupe = \"file\" }", "feed.points.add needs exactly one of transaction_id"),
        ("add = { transaction_id = \"nr\" }", "feed.points.add.transaction_id the schema has no column \"nr\""),
        ("consent = { column = \"id\", fields = [\"metaData.x\"] }", "feed.points.consent.fields \"metaData.x\" is not mapped in fields"),
        (
            "add = { dedupe = \"file\" }\nnotify = { message = \"id\", field = \"metaData.news\", kind = \"marketing\" }",
            "feed.points.notify.kind is \"marketing\", which needs consent",
        ),
        (
            "add = { dedupe = \"file\" }\nnotify = { message = \"id\", field = \"metaData.news\", kind = \"transactional\", window = \"8-21\" }",
            "feed.points.notify.window \"8-21\" is not a window",
        ),
        (
            "notify = { message = \"id\", field = \"metaData.news\", kind = \"transactional\" }",
            "feed.points.add is missing, and rows of this feed add",
        ),
        ("guard = { rejects = \"500%\" }", "feed.points.guard.rejects \"500%\" is more than everything"),
    ] {
        one(PASS, &format!("{PASS}\n{text}"), fault);
    }
}

#[cfg(feature = "pgp")]
#[test]
fn faults_of_openpgp() {
    for (text, fault) in [
        ("pgp = {}", "feed.points.pgp names no key"),
        ("pgp = { keys.a = { passphrase = { env = \"P\" } } }", "feed.points.pgp.keys.a.key is missing"),
        ("pgp = { keys.a = { key = { env = \"K\" } }, signature = \"required\" }", "feed.points.pgp.signature needs to know whose"),
        ("pgp = { signed_by = [\"cards.json\"] }", "feed.points.pgp.signed_by \""),
        ("pgp = { encrypt_to = [\"cards.json\"] }", "feed.points.pgp.encrypt_to \""),
        ("pgp = { sign_with = \"a\", keys.a = { key = { env = \"K\" } } }", "feed.points.pgp.sign_with signs reports that are encrypted"),
        (
            "pgp = { sign_with = \"b\", keys.a = { key = { env = \"K\" } } }",
            "feed.points.pgp.sign_with \"b\" is no key under pgp.keys; write \"a\"",
        ),
    ] {
        one(PASS, &format!("{PASS}\n{text}"), fault);
    }
}

#[cfg(not(feature = "pgp"))]
#[test]
fn a_build_without_openpgp_says_so() {
    let fault = "feed.points.pgp needs OpenPGP, which this passferry was built without; use a build with the Cargo feature pgp";
    one(PASS, &format!("{PASS}\npgp = {{ keys.a = {{ key = {{ env = \"K\" }} }} }}"), fault);
}

#[test]
fn faults_of_mappings() {
    let fields = &GOOD[GOOD.find("[feed.points.fields]").unwrap()..];
    one(fields, "", "feed.points.fields maps nothing");
    one(
        "\"metaData.label\" =",
        "metaData.label =",
        "feed.points.fields.metaData is a table; put the whole name of the pass field in quotes",
    );
    one("\"points\" = \"points\"", "\"points\" = 5", "feed.points.fields.points is integer 5; write a string");
    assert_eq!(faults(&GOOD[GOOD.find(PASS).unwrap()..], &format!("{PASS}\noperation = \"void\"")), [""; 0], "a void needs no field");
    let many: Vec<String> = (0..65).map(|n| format!("\"metaData.f{n}\" = \"points\"")).collect();
    let many = many.join("\n");
    one(fields, &format!("[feed.points.fields]\n{many}"), "feed.points.fields maps 65 pass fields; write at most 64");
    one(PASS, &format!("{PASS}\noperation = \"upsert\""), "feed.points.operation issues passes, which need a tierId; map it in fields");
    let upsert =
        GOOD.replace(PASS, &format!("{PASS}\noperation = \"upsert\"")).replace("\"points\" = ", "\"tierId\" = \"tier\"\n\"points\" = ");
    assert!(load_good(|_| upsert).is_ok(), "a mapped tier is enough");
    one("tier | upper", "teir | upper", "feed.points.fields.\"metaData.label\" the schema has no column \"teir\"; did you mean \"tier\"?");
    one("tier | upper }}", "tier |", "feed.points.fields.\"metaData.label\" is not a template");
}

#[test]
fn two_feeds_never_take_the_same_files() {
    let second = |inbox: &str, rest: &str| {
        let feed = &GOOD[GOOD.find("[feed.points]").unwrap()..];
        let feed = feed
            .replace("feed.points", "feed.other")
            .replace("./out//points/", inbox)
            .replace("external_id = \"id\" }", &format!("external_id = \"id\" }}\n{rest}"));
        load_good(|text| format!("{text}\n{feed}"))
            .map(|_| ())
            .map_err(|faults| faults.faults.into_iter().map(|f| format!("{} {}", f.key, f.message)).collect::<Vec<_>>())
    };
    let same = second("out/points/.", "").unwrap_err();
    assert!(same.len() == 1 && same[0].starts_with("feed.other.pattern feed \"points\" takes the same files"), "{same:?}");
    let moved = second("out/points/.processed", "").unwrap_err();
    assert!(
        moved.len() == 1 && moved[0].starts_with("feed.points.after.processed moves files into the inbox of feed \"other\""),
        "{moved:?}"
    );
    assert_eq!(second("out/other", ""), Ok(()));
}

#[test]
fn passes_of_an_account_are_named_in_one_way_and_an_account_is_one_platform() {
    let feed = &GOOD[GOOD.find("[feed.points]").unwrap()..];
    let feed = feed
        .replace("feed.points", "feed.other")
        .replace("./out//points/", "out/other")
        .replace("external_id = \"id\"", "pass_id = \"id\"");
    let faults = load_good(|text| format!("{text}\n{feed}")).unwrap_err().faults;
    assert_eq!(faults.len(), 1, "{faults:?}");
    assert!(faults[0].key == "feed.other.pass" && faults[0].message.contains("feed \"points\""), "{faults:?}");
    let start = GOOD.find("[platform.").unwrap();
    let end = start + GOOD[start..].find("\n[").unwrap();
    let name = GOOD[start + "[platform.".len()..].split(']').next().unwrap();
    let twin = GOOD[start..end].replace(&format!("[platform.{name}]"), "[platform.twin]");
    let faults = load_good(|text| format!("{text}\n{twin}\n")).unwrap_err().faults;
    assert!(faults.len() == 1 && faults[0].message.contains("the same account as platform \""), "{faults:?}");
}

#[test]
fn a_schema_that_is_none_is_one_fault_and_no_column_is_called_unknown() {
    let folder = base();
    std::fs::write(folder.path().join("cards.json"), "{ \"fields\": [] }").unwrap();
    let faults = load_text(GOOD, folder.path()).unwrap_err();
    assert_eq!(faults.faults.len(), 1, "{faults}");
    let line = GOOD[..GOOD.find("schema = ").unwrap()].lines().count() + 1;
    assert_eq!((&*faults.faults[0].key, faults.faults[0].line), ("feed.points.schema", line as u32));
}

#[test]
fn text_that_is_not_toml_is_a_fault_at_its_place_and_shows_no_secret() {
    let faults = load_text("state = \"x\"\n[source.in]\npassword = \"hunter2\nhost = x y\n", Path::new("")).unwrap_err();
    assert_eq!(faults.faults[0].line, 3, "{faults}");
    assert!(!faults.to_string().contains("hunter2"), "{faults}");
    let nothing = load(Path::new("/nowhere/passferry.toml")).unwrap_err();
    assert!(nothing.to_string().starts_with("/nowhere/passferry.toml  cannot be read"), "{nothing}");
}

#[test]
fn no_spelling_of_a_secret_is_shown() {
    for (from, to) in [
        (KEY, "key = \"hunter2\""),
        (KEY, "pasword = \"hunter2\"\nagent = true"),
        (KEY, "key = [\"hunter2\"]"),
        (KEY, "key = { text = \"hunter2\" }"),
        (KEY, "key = { env = \"hunter-2\" }"),
        (KEY, "key = { file = [\"hunter2\"] }"),
        (KEY, "password = \"\"\"\nhunter2\n\"\"\""),
        ("user = \"acme\"", "user = 2\npassword = { env = \"hunter 2\" }"),
        ("region = \"pub2\"", "base_url = \"https://x:hunter2@h\""),
        ("host = \"127.0.0.1\"", "host = \"sftp://acme:hunter2@h\""),
        ("secret = { env = \"S\" }", "token = \"hunter2\""),
        ("state = \"state\"", "api_token = \"hunter2\""),
        (PASS, "pass = { external_id = \"id\" }\npassword = \"hunter2\""),
        ("[platform.loyalty]", "[platform]\nsecret = \"hunter2\"\n[platform.loyalty]"),
        ("user = \"acme\"", "user = \"acme\"\npassword = { env = \"P\", file = \"f\", x = \"hunter2\" }"),
        (
            "[platform.loyalty]\nkind = \"passkit\"",
            "[platform.other]\nkind = \"nokit\"\nsecret = 4242\n[platform.loyalty]\nkind = \"passkit\"",
        ),
    ] {
        let shown = load_good(|text| text.replacen(from, to, 1)).unwrap_err().to_string();
        assert!(!["hunter", "4242"].iter().any(|secret| shown.contains(secret)), "{to}: {shown}");
    }
}
