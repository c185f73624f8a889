//! Headers in, feeds out.

use std::path::Path;

use super::*;
use crate::config::meant::Config;

const CONFIG: &str = r#"state = "state"
[source.in]
kind = "folder"
path = "/in"
[platform.crew]
kind = "thewalletcrew"
tenant = "acme"
key = { env = "K" }
identifier = "y2.customerId"
[platform.cards]
kind = "passkit"
region = "pub1"
program = "p"
key = { env = "K" }
secret = { env = "S" }
[feed.crew]
source = "in"
pattern = "*.csv"
content = "snapshot"
platform = "crew"
format = "thewalletcrew"
[feed.vibes]
source = "in"
pattern = "*.wallet_update"
content = "delta"
platform = "cards"
format = "vibes"
fields = { "points" = "points", "metaData.tier" = "{{ tier | upper }}" }
"#;

fn config(change: impl FnOnce(String) -> String) -> Config {
    crate::config::load_text(&change(CONFIG.to_owned()), Path::new("")).unwrap_or_else(|faults| panic!("{faults}"))
}

fn shaped(config: &Config, feed: &str, labels: &[&str]) -> Result<Arc<Feed>, String> {
    let labels: Vec<String> = labels.iter().map(|label| (*label).to_owned()).collect();
    let shaped = shape(&config.feeds[feed], &labels);
    shaped.map_err(|faults| faults.into_iter().map(|fault| format!("{}: {}", fault.code, fault.message)).collect::<Vec<_>>().join("\n"))
}

fn mapped(feed: &Feed) -> Vec<&str> {
    feed.fields.iter().map(|(name, _)| name.as_str()).collect()
}

#[test]
fn columns_are_fields_of_their_own_name_and_their_order_is_no_matter() {
    let config = config(|text| text);
    let one = shaped(&config, "crew", &["id.y2.customerId", "additionalData.balance", "metadata.storeId", "id.crm"]).unwrap();
    assert_eq!(mapped(&one), ["additionalData.balance", "id.crm", "metadata.storeId"]);
    let other = shaped(&config, "crew", &["metadata.storeId", " id.crm ", "id.y2.customerId", "additionalData.balance"]).unwrap();
    assert_eq!(one.fingerprint, other.fingerprint);
    let more = shaped(&config, "crew", &["id.y2.customerId", "additionalData.balance", "metadata.storeId", "id.crm", "additionalData.x"]);
    assert_ne!(more.unwrap().fingerprint, one.fingerprint, "other columns are a changed feed");
}

#[test]
fn what_is_no_column_of_the_form_fails_the_file_unless_the_feed_says_otherwise() {
    let fault = shaped(&config(|text| text), "crew", &["id.y2.customerId", "additionaldata.balance", "notes"]).unwrap_err();
    assert!(
        fault.contains("did you mean \"additionalData.balance\"") && fault.contains("column 3") && fault.contains("other_columns"),
        "{fault}"
    );
    let ignoring =
        |text: String| text.replace("format = \"thewalletcrew\"", "format = { kind = \"thewalletcrew\", other_columns = \"ignore\" }");
    let feed = shaped(&config(ignoring), "crew", &["id.y2.customerId", "notes", "additionalData.b"]).unwrap();
    assert_eq!(mapped(&feed), ["additionalData.b"]);
    assert!(shaped(&config(ignoring), "crew", &["id.y2.customerId", "notes"]).unwrap_err().contains("sets nothing"));
}

#[test]
fn the_column_that_names_the_pass_is_the_accounts_and_the_fault_says_which() {
    let fault = shaped(&config(|text| text), "crew", &["id.crm", "additionalData.b"]).unwrap_err();
    assert!(fault.contains("no column `id.y2.customerId`") && fault.contains("identifier = \"crm\""), "{fault}");
    let fault = shaped(&config(|text| text), "crew", &["id", "additionalData.b"]).unwrap_err();
    assert!(fault.contains("leave identifier out"), "{fault}");
    let by_id = config(|text| text.replace("identifier = \"y2.customerId\"\n", ""));
    assert_eq!(mapped(&shaped(&by_id, "crew", &["id", "additionalData.b"]).unwrap()), ["additionalData.b"]);
}

#[test]
fn a_batch_file_has_columns_of_text_and_may_leave_out_what_is_mapped() {
    let config = config(|text| text);
    let feed = shaped(&config, "vibes", &["uuid", "points", "other"]).unwrap();
    assert_eq!(mapped(&feed), ["points", "metaData.tier"]);
    assert!(shaped(&config, "vibes", &["UUID", "points"]).unwrap_err().contains("lower case"));
    assert!(shaped(&config, "vibes", &["uuid", "other"]).unwrap_err().contains("none of the columns that the feed maps: points, tier"));
    assert!(shaped(&config, "vibes", &["uuid", "points", "campaign_token"]).unwrap_err().contains("campaigns ="));
}

#[test]
fn a_format_and_what_it_replaces_do_not_stand_side_by_side() {
    let faults = |from: &str, to: &str| {
        let loaded = crate::config::load_text(&CONFIG.replacen(from, to, 1), Path::new(""));
        loaded.map_or_else(|faults| faults.to_string(), |_| String::new())
    };
    let crew = "format = \"thewalletcrew\"";
    let with = |more: &str| faults(crew, &format!("{crew}\n{more}"));
    for more in
        ["pass = { external_id = \"x\" }", "fields = { \"additionalData.b\" = \"b\" }", "updated_at = \"x\"", "add = { dedupe = \"file\" }"]
    {
        assert!(with(more).contains("stands beside format"), "{more}: {}", with(more));
    }
    assert!(with("dialect = { header = false }").contains("has names of columns"));
    assert!(faults("platform = \"crew\"", "platform = \"cards\"").contains("a platform of that kind"));
    assert!(faults(crew, "format = \"csv\"").contains("\"thewalletcrew\" or \"vibes\""));
    assert!(faults(crew, "format = { kind = \"thewalletcrew\", campaigns = [\"x\"] }").contains("the other format"));
    assert!(faults("operation", "operation").is_empty());
    assert!(with("operation = \"upsert\"").contains("pass_type"));
    assert!(with("operation = \"void\"").contains("write update or upsert"));
    assert!(faults("identifier = \"y2.customerId\"", "identifier = \"id.y2\"").contains("\"y2\""));
    assert!(faults("identifier = \"y2.customerId\"", "identifier = \"y2\"\nmerge = \"block\"").contains("confirm = \"read\""));
    assert!(faults("identifier = \"y2.customerId\"", "confirm = \"read\"").contains("identifier = "));
}
