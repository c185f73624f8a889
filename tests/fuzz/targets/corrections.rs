//! Our error report, edited or not, dropped back.
//!
//! A line of labels, then records; cells are parted by tabs, and `\n` in a cell is a line break.

use std::borrow::Cow;
use std::fs;
use std::path::Path;

use passferry::config::meant::{DialectChoice, Limits};
use passferry::outcome::Code;
use passferry::pipeline::correction::{Correction, RESERVED, is_reserved, protect, reserved_columns, unprotect};
use passferry::pipeline::decode::Reader;

use super::with_scratch;

const RUN: &str = "k7f2m9";

pub fn target(data: &[u8]) {
    let Ok(text) = std::str::from_utf8(data) else { return };
    let mut lines = text.split('\n').map(|line| line.split('\t').map(|cell| cell.replace("\\n", "\n")).collect::<Vec<String>>());
    let labels = lines.next().unwrap_or_default();
    let records: Vec<Vec<String>> = lines.collect();
    for cell in records.iter().flatten().chain(&labels) {
        check_cell(cell);
    }
    any_file(&labels, &records);
    our_report(&labels, &records);
}

/// Protection can be taken off again, and no spreadsheet takes what is protected for a formula.
fn check_cell(cell: &str) {
    let shown = protect(cell);
    assert_eq!(unprotect(&shown).unwrap_or(&shown), cell, "a cell comes back as it was");
    assert!(*shown == *cell || *shown == format!("'{cell}"), "protection adds an apostrophe and nothing else");
    let formula = shown.trim_start_matches(' ').starts_with(['=', '@', '\t', '\r', '\0', '+', '-']);
    let number = shown.trim_start_matches(['+', '-']).bytes().all(|byte| byte.is_ascii_digit() || b".,".contains(&byte));
    assert!(!formula || number, "a spreadsheet would run {shown:?}");
}

/// A file with any labels whatever.
fn any_file(labels: &[String], records: &[Vec<String>]) {
    let reserved = reserved_columns(labels);
    let correction = Correction::new(labels, RUN.to_owned());
    assert_eq!(reserved.is_some(), correction.is_some());
    assert_eq!(reserved.is_some(), ["_run", "_line", "_record"].iter().all(|name| labels.iter().any(|label| label.trim() == *name)));
    let (Some(reserved), Some(correction)) = (reserved, correction) else { return };
    assert!(reserved.iter().all(|&column| is_reserved(&labels[column])) && reserved.is_sorted());
    let own: Vec<usize> = (0..labels.len()).filter(|column| !is_reserved(&labels[*column])).collect();
    assert_eq!(correction.data_labels(labels).len(), own.len());
    let run_column = labels.iter().position(|label| label.trim() == "_run").expect("it is a correction");
    for record in records {
        let mut cells: Vec<Cow<'_, str>> = record.iter().map(|cell| Cow::Borrowed(cell.as_str())).collect();
        let taken = correction.take(&mut cells);
        let wanted: Vec<&str> = record
            .iter()
            .enumerate()
            .filter(|(column, _)| labels.get(*column).is_none_or(|label| !is_reserved(label)))
            .map(|(_, cell)| unprotect(cell).unwrap_or(cell))
            .collect();
        assert_eq!(cells, wanted, "the data's own cells stay, in their order");
        let of_run = record.get(run_column).is_some_and(|run| run.trim() == RUN);
        let number = match taken {
            Ok(number) => {
                assert!(of_run, "a record of another run is taken");
                number
            }
            Err(problem) => {
                assert!(!of_run && problem.code == Code::CorrectionUnknown, "{problem:?}");
                None
            }
        };
        if let (Some(number), Some(identifier)) = (number, record.first()) {
            let mut correction = correction.clone();
            correction.note_original(number, identifier);
            let lost = !identifier.is_empty() && identifier.starts_with('0');
            assert_eq!(correction.lost_zeros(Some(number), identifier.trim_start_matches('0')), lost, "{identifier:?}");
        }
    }
}

/// The report as `report::rows` lays it out, read back by the decoder.
fn our_report(labels: &[String], records: &[Vec<String>]) {
    // A byte-order mark at the very start says how the file is written and is no part of a label; reports keep it apart.
    // Nor is a file read at all that starts as an archive does.
    if labels[0].starts_with('\u{feff}') || labels[0].starts_with("PK\u{3}\u{4}") {
        return;
    }
    // A file with reserved columns of its own is a correction already.
    if reserved_columns(labels).is_some() || labels.iter().any(|label| is_reserved(label)) || text_of(labels).trim().is_empty() {
        return;
    }
    let mut writer = csv::WriterBuilder::new().flexible(true).from_writer(Vec::new());
    writer
        .write_record(labels.iter().map(|label| protect(label).into_owned()).chain(RESERVED.map(str::to_owned)))
        .expect("memory takes it");
    for (number, record) in (1_u64..).zip(records) {
        let own = (0..labels.len()).map(|column| protect(record.get(column).map_or("", String::as_str)).into_owned());
        let line = (number + 1).to_string();
        let ours = [RUN, &line, &number.to_string(), "rejected", "type-error", "-", "no", ""].map(str::to_owned);
        writer.write_record(own.chain(ours)).expect("memory takes it");
    }
    let report = writer.into_inner().expect("memory takes it");
    with_scratch(|folder| read_back(&report, folder, labels, records));
}

fn read_back(report: &[u8], folder: &Path, labels: &[String], records: &[Vec<String>]) {
    let path = folder.join("report");
    fs::write(&path, report).expect("the folder takes it");
    let choice = DialectChoice { delimiter: Some(",".to_owned()), ..DialectChoice::default() };
    let mut reader = match Reader::open(&path, &folder.join("text"), &choice, &Limits::default()) {
        Ok(reader) => reader,
        // What a header cannot hold, the input's header could not either.
        Err(_) if report.contains(&0) => return,
        Err(error) => panic!("our own report cannot be read: {error}"),
    };
    let header = reader.header().expect("a header was asked for").labels.clone();
    let correction = Correction::new(&header, RUN.to_owned()).expect("our own report is known again");
    assert_eq!(correction.data_labels(&header), labels, "labels come back as they were");
    let mut number = 0;
    while let Some(chunk) = reader.next_chunk().expect("our own report is read") {
        for record in chunk.records() {
            if record.faults.iter().any(|fault| fault.code == Code::NulByte) {
                number = record.number as usize;
                continue;
            }
            assert!(record.faults.is_empty(), "our own report has faults: {:?}", record.faults);
            let mut cells = Vec::new();
            record.cells(&mut cells);
            let taken = correction.take(&mut cells).expect("a record of our own report");
            number += 1;
            assert_eq!(taken, Some(number as u64));
            let wanted: Vec<&str> = (0..labels.len()).map(|column| records[number - 1].get(column).map_or("", String::as_str)).collect();
            assert_eq!(cells, wanted, "cells come back as they were");
        }
    }
    assert_eq!(number, records.len(), "every row of the report comes back");
}

fn text_of(labels: &[String]) -> String {
    labels.concat()
}
