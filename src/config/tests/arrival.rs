//! How deliveries arrive: defaults, and faults with their cure.

use std::time::Duration;

use super::*;
use crate::config::meant::{Complete, Feed, SetKind};

/// The sample, with more in its feed for single files.
fn with(more: &str) -> Result<Feed, String> {
    let text = SAMPLE.replace("pattern = \"visits_*.csv\"", &format!("pattern = \"visits_*.csv\"\n{more}"));
    match load_text(&text, &Path::new(env!("CARGO_MANIFEST_DIR")).join("samples")) {
        Ok(config) => Ok(Feed::clone(&config.feeds["visits"])),
        Err(faults) => Err(faults.to_string()),
    }
}

#[test]
fn a_set_has_the_proof_that_suits_its_kind() {
    let set = |more: &str| with(more).unwrap().set.unwrap();
    let spark = set("set = \"spark\"");
    assert_eq!((spark.marker.as_deref(), spark.quiet, spark.patience), (Some("_SUCCESS"), None, Duration::from_hours(1)));
    assert_eq!(spark.kind, SetKind::Spark { parts: "part-*".into(), partitions: false });
    let quiet = set("set = \"spark\"\nquiet = \"5s\"");
    assert_eq!((quiet.marker, quiet.quiet), (None, Some(Duration::from_secs(5))), "quiet takes the marker's place");
    let shards = set("set = \"shards\"");
    assert_eq!((shards.marker, shards.quiet, shards.header_in_each), (None, Some(Duration::from_secs(30)), true));
    let marked = set("set = { kind = \"shards\", header = \"first\" }\nmarker = \"{}.done\"");
    assert_eq!((marked.marker.as_deref(), marked.quiet, marked.header_in_each), (Some("{}.done"), None, false));
    assert_eq!(set("set = \"manifest\"").quiet, None);
    assert_eq!(set("set = \"manifest\"\npatience = \"5m\"").patience, Duration::from_mins(5), "the feed's, where the set says nothing");
    assert_eq!(with("set = \"shards\"\nmarker = \"{}.done\"").unwrap().complete, Complete::Quiet(Duration::from_secs(30)));
}

#[test]
fn faults_say_what_to_write() {
    for (more, says) in [
        ("set = \"sparks\"", "\"sparks\" is not known here; write \"spark\", \"shards\" or \"manifest\""),
        ("set = { parts = \"*\" }", "visits.set.kind  is missing"),
        ("set = { kind = \"shards\", parts = \"*\" }", "says nothing of a set of this kind"),
        ("set = { kind = \"shards\", partitions = true }", "says nothing of a set of this kind"),
        ("set = { kind = \"spark\", parts = \"a/b\" }", "is not a pattern of names"),
        ("set = { kind = \"shards\", group = \"(a\" }", "is not a regular expression"),
        ("set = { kind = \"shards\", group = \"^(.*)_\" }", "has no group called set"),
        ("patience = \"0s\"", "visits.patience"),
        ("checksum = \"{}\"", "\"{}\" is not a name; write \"{}.sha256\""),
        ("control = { file = \"{}.ctl\", pattern = \"[0-9]+\" }", "has no group that is known here"),
        ("control = \"a/{}.ctl\"", "is not a name; write \"{}.ctl\""),
        ("date = \"%Y-%m\"", "is not a form of a date in names"),
        ("never_older_than = \"7d\"", "needs the date in names"),
        ("expected = { by = \"06:30\" }", "\"06:30\" is not a time of five fields"),
        ("expected = { timezone = \"Europe/Paris\" }", "visits.expected.by  is missing"),
        ("expected = { by = \"30 6 * * *\", behind = 1 }", "needs the date in names"),
    ] {
        let faults = with(more).err().unwrap_or_else(|| panic!("no fault in {more}"));
        assert!(faults.contains(says), "{more}: {faults}");
    }
}
