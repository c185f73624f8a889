//! What cells mean once they are read: words for "no value", and what templates make of them.

use serde_json::json;

use super::{plan, tier};
use crate::rig::promises::check_promises;

/// Decimals and empty cells reach a template as text, which is neither more nor less than a number.
#[test]
fn a_template_compares_decimals_as_numbers_and_an_empty_cell_with_nothing() {
    let schema = r#"{ "fieldsMatch": "superset", "fields": [
        { "name": "id", "type": "string" }, { "name": "balance", "type": "number" }, { "name": "visits", "type": "integer" },
        { "name": "until", "type": "date" } ] }"#;
    let label = "\"{{ 'Gold' if balance >= 1000 else 'Silver' }}{{ ', regular' if visits != '' and visits > 9 }}\"";
    let harbour = plan().schema(schema).feed("fields.points", "").feed("fields.\"metaData.tier\"", label).start();
    harbour.deliver("points.csv", "id,balance,visits\nC-1,12.50,9\nC-2,1000.00,10\nC-3,,20\nC-4,999.999,\nC-5,1e3,100\n");
    harbour.once().exits(1);
    let tiers = ["C-1", "C-2", "C-4", "C-5"].map(|id| tier(&harbour, id));
    assert_eq!(tiers, ["Silver", "Gold, regular", "Silver", "Gold, regular"]);
    let errors = harbour.errors("points");
    assert_eq!((errors.len(), &*errors[0]["id"], &*errors[0]["_codes"]), (1, "C-3", "mapping-error"));
    assert!(errors[0]["_problems"].contains("a cell that the template compares is empty"), "{errors:?}");
    harbour.deliver("points.errors.csv", String::from_utf8(harbour.read("reports/points.errors.csv")).unwrap().replace("C-3,,", "C-3,7,"));
    harbour.once().exits(0);
    assert_eq!(tier(&harbour, "C-3"), "Silver, regular");
    check_promises(&harbour);
    for (template, words) in [
        ("{{ 'Gold' if balance >= '1000' }}", "write the number without quotes"),
        ("{% set b = balance %}{{ 'Gold' if b >= 1000 }}", "(NAME | float) >= 10"),
        ("{{ 'Gold' if id > 5 }}", "(COLUMN | float)"),
        ("{{ 'Gold' if balance is gt(5) }}", "`is gt` compares"),
    ] {
        harbour.change_config(|text| text.replace(label, &format!("{template:?}")));
        let told = harbour.run(&["check"]).exits(78);
        assert!(told.err.contains(words) && told.err.contains("metaData.tier"), "{template}: {}", told.err);
        harbour.change_config(|text| text.replace(&format!("{template:?}"), label));
    }
}

/// `\N` names no pass, and no transaction.
#[test]
fn a_word_for_no_value_is_nobodys_identifier() {
    let harbour = plan().platform("tier", "\"base\"").feed("operation", "\"upsert\"").unmodelled().start();
    let members = harbour.sandbox.members();
    harbour.deliver("points.csv", "id,points,tier\n\\N,50,gold\nNULL,60,gold\nC-1,70,gold\n");
    harbour.once().exits(1);
    assert_eq!(harbour.report("points")["rows"], json!({ "applied": 1, "rejected": 2 }));
    assert_eq!(harbour.sandbox.members(), members, "no pass was issued under such a name");
    check_promises(&harbour);
    let schema = r#"{ "fieldsMatch": "superset", "missingValues": ["", "\\N"], "fields": [
        { "name": "id", "type": "string" }, { "name": "points", "type": "integer" }, { "name": "txn", "type": "string" } ] }"#;
    let harbour = plan()
        .schema(schema)
        .feed("content", "\"delta\"")
        .feed("operation", "\"earn\"")
        .feed("add", "{ transaction_id = \"txn\" }")
        .feed("fields.\"metaData.tier\"", "")
        .start();
    harbour.deliver("points.csv", "txn,id,points\n\\N,C-1,5\n\\N,C-2,6\nT-1,\\N,7\nT-2,C-3,8\n");
    harbour.once().exits(1);
    assert_eq!(harbour.report("points")["problems"], json!({ "mapping-error": 3 }));
    assert_eq!(harbour.report("points")["rows"], json!({ "applied": 1, "rejected": 3 }));
    assert_eq!((harbour.points("C-1"), harbour.points("C-3")), (0.0, 8.0));
    check_promises(&harbour);
}
