//! The page in a real browser.

use super::{mixed, nine};
use crate::rig::browser::{Browser, DESK, PHONE, Scheme};
use crate::rig::promises::check_promises;

#[test]
fn the_page_is_good_to_read_on_a_desk_a_phone_and_paper() {
    let harbour = nine().start();
    for day in 1..=6 {
        let rows: String =
            (1..=9).map(|n| format!("C-{n},{},{}\n", 10 * n + day, if n % (day + 2) == 0 { "gold" } else { "silver" })).collect();
        harbour.deliver(format!("day-{day}.csv"), format!("id,points,tier\n{rows}{}", "C-3,none,gold\n".repeat(day % 3)));
        harbour.once();
    }
    mixed(&harbour);
    let mut browser = Browser::start();
    let mut tab = browser.tab();
    let path = harbour.inbox().join("reports/tuesday.report.html");
    tab.open_file(&path);
    assert_eq!(tab.text("h1"), "4 of 7 rows need a person");
    for (scheme, screen) in [(Scheme::Light, DESK), (Scheme::Dark, PHONE), (Scheme::Light, PHONE), (Scheme::Light, (320, 700))] {
        tab.looks(scheme, screen);
        tab.fits();
    }
    tab.pictures("report");
    tab.is_accessible();
    assert!(tab.pdf().starts_with(b"%PDF-"));
    assert_eq!(tab.requests(), [url::Url::from_file_path(&path).unwrap().to_string()], "nothing is loaded beside the page itself");
    drop(tab);
    check_promises(&harbour);
}
