//! Files in a vendor's own form.

use super::rig::harbour::{Harbour, harbour};
use super::rig::promises::check_promises;

/// A feed of Vibes' batch files, to the stand-in of PassKit.
fn batches(format: &str) -> Harbour {
    let plan = harbour().folder().unmodelled();
    let plan = ["schema", "pass", "fields.\"person.emailAddress\""].into_iter().fold(plan, |plan, key| plan.feed(key, ""));
    plan.feed("pattern", "\"*.wallet_update\"").feed("content", "\"delta\"").feed("format", format).start()
}

#[test]
fn a_batch_file_with_a_header_section_is_applied_and_its_report_comes_back_as_a_correction() {
    let harbour = batches("{ kind = \"vibes\", campaigns = [\"abc123\"] }");
    harbour.deliver(
        "evening.wallet_update",
        "Fields: uuid,points,tier\nDelimiter: |\nCampaign-Token: abc123\n\nC-1|250|\"go|ld\"\nC-2|many|base\nC-404|5|base\n|5|base\n",
    );
    harbour.once().exits(1);
    let report = harbour.report("evening");
    assert_eq!(report["rows"], serde_json::json!({ "applied": 1, "rejected": 2, "unresolved": 1 }));
    assert_eq!(harbour.sandbox.member("C-1").unwrap()["metaData"]["tier"], "go|ld");
    let errors = harbour.errors("evening");
    assert_eq!(errors.iter().map(|line| (&*line["uuid"], &*line["_line"])).collect::<Vec<_>>(), [("C-2", "6"), ("C-404", "7"), ("", "8")]);

    let sheet = String::from_utf8(harbour.read("reports/evening.errors.csv")).unwrap();
    assert!(sheet.starts_with("uuid|points|tier|_run|"), "{sheet}");
    let fixed = sheet.lines().filter(|line| !line.starts_with('|')).collect::<Vec<_>>().join("\n");
    harbour.deliver("evening.errors.csv", fixed.replace("C-2|many", "C-2|70").replace("C-404", "C-3"));
    harbour.once().exits(0);
    assert_eq!((harbour.points("C-2"), harbour.points("C-3")), (70.0, 5.0));
    check_promises(&harbour);
}

#[test]
fn a_batch_file_of_another_campaign_fails_as_a_whole_and_changes_nothing() {
    let harbour = batches("{ kind = \"vibes\", campaigns = [\"abc123\"] }");
    harbour.deliver("theirs.wallet_update", "Fields: uuid,points\nCampaign-Token: xyz\n\nC-1,250\n");
    harbour.deliver("mixed.wallet_update", "uuid,points,campaign_token\nC-1,1,abc123\nC-2,2,xyz\n");
    harbour.once().exits(65);
    assert!(harbour.report("theirs").to_string().contains("for campaign xyz; this feed takes abc123"));
    assert_eq!(harbour.report("mixed")["rows"], serde_json::json!({ "applied": 1, "rejected": 1 }));
    assert_eq!(harbour.writes().len(), 1);
    check_promises(&harbour);
}

#[test]
fn a_batch_file_without_a_section_is_read_with_commas_and_what_it_leaves_out_stays() {
    let harbour = batches("\"vibes\"");
    harbour.deliver("one.wallet_update", "Campaign-Token: abc123\n\nuuid,points\nC-1,250\n");
    harbour.deliver("two.wallet_update", "uuid,tier\nC-1,a;b|c\n");
    harbour.once().exits(0);
    let member = harbour.sandbox.member("C-1").unwrap();
    assert_eq!((&member["points"], &member["metaData"]["tier"]), (&serde_json::json!(250.0), &serde_json::json!("a;b|c")));
    assert!(harbour.report("one").to_string().contains("campaign abc123"), "nobody could tell whose it is, and the report says so");
    check_promises(&harbour);
}

#[test]
fn the_samples_of_both_forms_are_read_as_the_sample_configuration_says() {
    let root = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("samples");
    for (file, feed, records) in [("crew-passes-20250801-083000.csv", "gift-cards", 3), ("evening.wallet_update", "vibes", 3)] {
        let file = root.join("deliveries").join(file);
        let output = std::process::Command::new(env!("CARGO_BIN_EXE_passferry"))
            .args(["validate", "--json", "--feed", feed, "--config"])
            .args([&root.join("passferry.toml"), &file])
            .output()
            .unwrap();
        let told = String::from_utf8_lossy(&output.stdout);
        let summary: serde_json::Value = serde_json::from_str(told.lines().last().unwrap_or_default()).unwrap_or_default();
        assert_eq!(
            (&summary["records"], &summary["rejected"]),
            (&records.into(), &0.into()),
            "{told}{}",
            String::from_utf8_lossy(&output.stderr)
        );
    }
}
