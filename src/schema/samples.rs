//! The ready schemas of `schemas/` against the samples of `samples/cards/`.

use std::borrow::Cow;
use std::fs;
use std::path::{Path, PathBuf};

use super::Schema;

const CARDS: [&str; 6] = ["loyalty-card", "coupon", "multi-use-reward", "club-card", "gift-card", "event-ticket"];

fn at(path: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join(path)
}

fn ready(card: &str) -> Schema {
    let text = fs::read_to_string(at(&format!("schemas/{card}.json"))).unwrap();
    Schema::parse(&text).unwrap_or_else(|faults| panic!("{card}: {faults:#?}"))
}

/// One line for each problem: record, column, code, constraint, message, suggestion.
fn problems(card: &str, file: &str) -> Vec<String> {
    let schema = ready(card);
    let mut reader = csv::ReaderBuilder::new().flexible(true).from_path(at(&format!("samples/cards/{file}.csv"))).unwrap();
    let labels: Vec<String> = reader.headers().unwrap().iter().map(str::to_owned).collect();
    let columns = schema.columns(Some(&labels)).unwrap_or_else(|faults| panic!("{file}: {faults:#?}"));
    assert!(columns.column_of_field.iter().all(Option::is_some), "{file} shows every field");
    let mut lines = Vec::new();
    for (number, record) in reader.records().enumerate() {
        let record = record.unwrap();
        let cells: Vec<Cow<'_, str>> = record.iter().map(Cow::Borrowed).collect();
        let (mut values, mut problems) = (Vec::new(), Vec::new());
        schema.read(&columns, &cells, &[], &mut values, &mut problems);
        lines.extend(problems.iter().map(|problem| {
            let column = problem.column.map_or("-", |column| labels.get(column as usize).map_or("?", String::as_str));
            let suggestion = problem.suggestion.as_ref().map_or(String::new(), |suggestion| format!(" → {suggestion}"));
            format!("{} {column} {}: {}{suggestion}", number + 1, problem.code, problem.message)
        }));
    }
    lines
}

#[test]
fn clean_samples_have_no_problem() {
    for card in CARDS {
        assert_eq!(problems(card, card), Vec::<String>::new(), "{card}");
    }
}

#[test]
fn every_fault_of_the_faulty_samples_is_found() {
    for card in CARDS {
        insta::assert_snapshot!(card, problems(card, &format!("{card}.faulty")).join("\n"));
    }
}

#[test]
fn ready_schemas_explain_themselves() {
    for card in CARDS {
        let schema = ready(card);
        assert!(schema.warnings().is_empty(), "{card}: {:?}", schema.warnings());
        for field in schema.fields() {
            assert!(field.title.is_some() && field.description.is_some() && field.example.is_some(), "{card}: {}", field.name);
        }
    }
}

#[test]
fn the_loyalty_card_has_the_columns_of_the_bench() {
    let names: Vec<_> = ready("loyalty-card").fields().iter().map(|field| field.name.clone()).collect();
    let bench = "external_id,email,first_name,last_name,points,tier,balance,currency,expiry_date,opt_in,last_purchase_at,message";
    assert_eq!(names.join(","), bench);
}

#[test]
fn a_schema_is_shared_between_threads() {
    fn shared<T: Send + Sync>(_: &T) {}
    shared(&ready("loyalty-card"));
}
