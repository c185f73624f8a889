//! What a file comes to must not depend on how it was cut into chunks or how many threads looked at it.

use std::fmt::Write as _;
use std::path::Path;

use proptest::prelude::*;

use super::decode::{Reader, Sizes};
use super::diff::{Against, diff};
use super::pending::PendingPasses;
use super::road::{Prepared, pool, prepare};
use super::sent::Sent;
use super::validate::{Rules, validate};
use crate::config::meant::{Config, Duplicates, Feed};
use crate::ledger::{self, FieldState, Known, Ledger, Mark, Row};
use crate::outcome::Outcome;
use crate::platform;
use crate::schema::value::Value;
use crate::spool::Spool;

const SCHEMA: &str = r#"{
  "fieldsMatch": "subset", "uniqueKeys": [["card"]],
  "fields": [
    {"name": "id", "type": "string", "constraints": {"required": true}},
    {"name": "points", "type": "integer", "constraints": {"minimum": 0}},
    {"name": "store", "type": "string", "x-passferry": {"empty": "clear"}},
    {"name": "card", "type": "string"}
  ]
}"#;

const CONFIG: &str = r#"
state = "state"
[source.desk]
kind = "folder"
path = "."
[platform.loyalty]
kind = "passkit"
base_url = "http://127.0.0.1:1"
key = { env = "NONE" }
secret = { env = "NONE" }
program = "p"
[feed.points]
source = "desk"
pattern = "*.csv"
content = "snapshot"
schema = "schema.json"
platform = "loyalty"
pass = { external_id = "id" }
[feed.points.fields]
points = "points"
"metaData.store" = "{{ store }}"
"#;

struct Bench {
    folder: tempfile::TempDir,
    feed: std::sync::Arc<Feed>,
    prepared: Prepared,
    ledger: std::sync::Arc<dyn Ledger>,
}

impl Bench {
    fn new() -> Bench {
        let folder = tempfile::tempdir().unwrap();
        std::fs::write(folder.path().join("schema.json"), SCHEMA).unwrap();
        let config: Config = crate::config::load_text(CONFIG, folder.path()).unwrap();
        let feed = std::sync::Arc::clone(&config.feeds["points"]);
        let ledger = ledger::open(folder.path()).unwrap();
        let account = platform::open(&feed.platform);
        let prepared = prepare(&feed, &account, |field| Ok(ledger.field_id("loyalty", field)?)).unwrap();
        // Some passes are known to hold 1 point.
        let fence = ledger.lead().unwrap();
        let one = Mark::of(Some(&Value::Integer(1)), false);
        let state = FieldState { field: prepared.field_ids[0], mark: one, day: 1 };
        let mut known: Vec<Known> =
            (0..4).map(|id| Known { pass: prepared.mapping.pass_key(&format!("C{id}")), fields: vec![state] }).collect();
        known.sort_by_key(|known| known.pass);
        ledger.seed(fence, "loyalty", &known).unwrap();
        Bench { folder, feed, prepared, ledger }
    }

    /// All rows that the ledger would get, and the count of unchanged ones.
    fn check(&self, text: &str, sizes: Sizes, threads: usize) -> (Vec<Row>, u64, u64) {
        let data = self.folder.path().join("data");
        std::fs::write(&data, text).unwrap();
        let spool = Spool::open(self.folder.path()).unwrap();
        let reader = Reader::open_with(&data, Path::new("/nonexistent"), &self.feed.dialect, &self.feed.limits, sizes).unwrap();
        let columns = self.prepared.schema.columns(reader.header().map(|header| &*header.labels)).unwrap();
        let rules = Rules {
            schema: &self.prepared.schema,
            columns: &columns,
            mapping: Some(&self.prepared.mapping),
            correction: None,
            file: "",
            picked: None,
        };
        let pool = pool(threads).unwrap();
        let mut rows: Vec<Row> = Vec::new();
        let (validated, duplicated) = validate(reader, &rules, &spool, &pool, &|_| (), &mut |rejected| {
            if rejected.again {
                let row = rows.iter_mut().find(|row| row.number == rejected.record).expect("handed over before");
                row.detail.problems.extend(rejected.problems);
            } else {
                rows.push(rejected.into_row());
            }
            Ok(())
        })
        .unwrap();
        let against = Against {
            ledger: &*self.ledger,
            run: "",
            account: "loyalty",
            mapping: &self.prepared.mapping,
            field_ids: &self.prepared.field_ids,
            clock: self.prepared.clock,
            duplicates: Duplicates::Last,
            today: 2,
            max_age_days: None,
            force: false,
            pending: &PendingPasses::default(),
            sent: &Sent::default(),
            declines: false,
            forgotten: false,
            meet: None,
            stale: None,
        };
        let diffed = diff(&validated, &duplicated, &against, &pool, &mut |more| {
            rows.extend(more);
            Ok(())
        })
        .unwrap();
        assert_eq!(rows.len() as u64 + diffed.unchanged, validated.facts.records, "every record has one outcome");
        rows.sort_by_key(|row| (row.outcome != Some(Outcome::Rejected), row.number));
        (rows, diffed.unchanged, validated.facts.lines)
    }
}

/// Rows with repeated identifiers, repeated keys, bad and empty cells, quotes with line ends, and ragged ends.
fn row() -> impl Strategy<Value = String> {
    let id = prop_oneof![Just(String::new()), (0..12u32).prop_map(|id| format!("C{id}"))];
    let points = prop_oneof![Just("1".to_owned()), Just("x".to_owned()), Just(String::new()), (0..3u32).prop_map(|n| n.to_string())];
    let store = prop_oneof![Just("\"a\nb\"".to_owned()), Just("\"q\"\"q\"".to_owned()), Just(String::new()), Just("s".to_owned())];
    let card = prop_oneof![Just(String::new()), (0..6u32).prop_map(|card| format!("K{card}"))];
    let tail = prop_oneof![9 => Just(""), 1 => Just(",extra"), 1 => Just("x\"stray")];
    (id, points, store, card, tail).prop_map(|(id, points, store, card, tail)| format!("{id},{points},{store},{card}{tail}"))
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 48, ..ProptestConfig::default() })]
    #[test]
    fn chunks_and_threads_do_not_matter(rows in proptest::collection::vec(row(), 1..60), block in 1..200usize, chunk in 1..400usize) {
        let mut text = String::from("id,points,store,card\n");
        for row in &rows {
            let _ = writeln!(text, "{row}");
        }
        let bench = Bench::new();
        let whole = bench.check(&text, Sizes { block: 1 << 16, chunk: 1 << 20 }, 1);
        let pieces = bench.check(&text, Sizes { block, chunk }, 4);
        prop_assert_eq!(whole, pieces);
    }
}
