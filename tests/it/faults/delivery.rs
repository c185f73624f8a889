//! From the server to us: logins, files that grow, lines that break, names.

use crate::rig::harbour::harbour;
use crate::rig::promises::check_promises;

#[test]
fn a_file_on_a_real_server_is_applied_reported_and_put_away() {
    let harbour = harbour().start();
    harbour.deliver("points.csv", "id,points,tier,email\nC-1,10,gold,a@example.com\nC-2,-1,silver,b@example.com\nC-77,5,gold,c@example.com\n");
    harbour.once().exits(1);
    assert_eq!(harbour.points("C-1"), 10.0);
    let report = harbour.report("points");
    assert_eq!(report["rows"], serde_json::json!({ "applied": 1, "rejected": 1, "unresolved": 1 }));
    assert_eq!(
        harbour.tree(),
        [".processed/points.csv", "reports/points.errors.csv", "reports/points.problems.csv", "reports/points.report.json"]
    );
    check_promises(&harbour);
}
