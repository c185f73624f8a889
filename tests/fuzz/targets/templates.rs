//! Templates over columns.
//!
//! The template stands before the first line of three hyphens; records follow, cells parted by tabs.

use std::borrow::Cow;
use std::path::Path;
use std::sync::{Arc, LazyLock};

use passferry::config;
use passferry::config::meant::{Feed, FieldMapping};
use passferry::mapping::{Mapping, Place};
use passferry::platform;
use passferry::schema::value::Value;
use passferry::schema::{Columns, Schema};

use super::parts;

const SCHEMA: &str = r#"{ "fields": [{ "name": "id" }, { "name": "points", "type": "integer" }, { "name": "rate", "type": "number" },
    { "name": "due", "type": "date" }, { "name": "on", "type": "boolean" }, { "name": "name" }] }"#;

const CONFIG: &str = r#"
[source.in]
kind = "folder"
path = "in"

[platform.loyalty]
kind = "passkit"
region = "pub2"
key = { env = "K" }
secret = { env = "S" }
program = "abc"

[feed.points]
source = "in"
inbox = "box"
pattern = "*.csv"
content = "snapshot"
schema = "cards.json"
platform = "loyalty"
pass = { external_id = "id" }
fields = { "metaData.label" = "name" }
"#;

static FEED: LazyLock<(Arc<Feed>, Schema, Columns)> = LazyLock::new(|| {
    let folder = tempfile::tempdir().expect("a folder");
    std::fs::write(folder.path().join("cards.json"), SCHEMA).expect("the folder takes it");
    let config = config::load_text(CONFIG, Path::new(folder.path())).unwrap_or_else(|faults| panic!("{faults}"));
    let schema = Schema::parse(SCHEMA).unwrap_or_else(|faults| panic!("{faults:?}"));
    let columns = schema.columns(None).expect("without labels the columns are the fields");
    (config.feeds["points"].clone(), schema, columns)
});

pub fn target(data: &[u8]) {
    let Ok(text) = std::str::from_utf8(data) else { return };
    let mut parts = parts(text);
    let template = parts.next().unwrap_or_default();
    let (feed, schema, columns) = &*FEED;
    let mut feed = Feed::clone(feed);
    feed.fields = vec![("metaData.label".to_owned(), FieldMapping::Template(template.to_owned()))];
    let mapping = match Mapping::new(&feed, schema, platform::open(&feed.platform)) {
        Ok(mapping) => mapping,
        Err(faults) => {
            assert!(faults.iter().all(|fault| fault.starts_with("fields.metaData.label: ")), "{faults:?}");
            return;
        }
    };
    let mut told: Vec<String> = Vec::new();
    let records: Vec<Vec<Cow<'_, str>>> =
        parts.next().unwrap_or_default().split('\n').map(|line| line.split('\t').map(Cow::Borrowed).collect()).collect();
    for cells in &records {
        told.push(fill(&mapping, schema, columns, cells));
    }
    for (cells, before) in records.iter().zip(&told).rev() {
        assert_eq!(&fill(&mapping, schema, columns, cells), before, "a neighbour changed what a template says");
    }
}

/// What the pass would be given, or why nothing.
fn fill(mapping: &Mapping, schema: &Schema, columns: &Columns, cells: &[Cow<'_, str>]) -> String {
    let (mut values, mut problems) = (Vec::new(), Vec::new());
    schema.read(columns, cells, &[], &mut values, &mut problems);
    if !problems.is_empty() {
        return "faulty".to_owned();
    }
    let update = mapping.update(columns, cells, &values, &Place::default(), &mut problems);
    assert_eq!(update.is_none(), !problems.is_empty(), "a row is mapped, or says why not");
    for problem in &problems {
        for cell in cells.iter().filter(|cell| cell.len() >= 12 && cell.bytes().filter(u8::is_ascii_digit).count() >= 4) {
            assert!(!problem.message.contains(&**cell), "`{}` repeats a cell, which may be personal", problem.message);
        }
    }
    for wanted in update.iter().flat_map(|update| &update.wanted) {
        let Some(Value::Text(text)) = &wanted.value else { panic!("a template makes text: {wanted:?}") };
        assert!(!text.trim().is_empty(), "a template that says nothing leaves the field alone");
        assert!(text.len() <= 10_000 && !text.contains('\0'), "what PassKit cannot hold is found before it is sent");
    }
    format!("{update:?} {problems:?}")
}
