//! The reviewer: opens the error report, mends what can be mended, and leaves out what cannot.

use anyhow::{Context, ensure};
use csv::StringRecord;

use super::exports::{Member, members};
use crate::pipeline::correction::unprotect;

/// A change that the reviewer makes to a row of the report.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Fix {
    /// Line of the file that was delivered.
    pub line: u64,
    pub what: What,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub enum What {
    Cell {
        column: String,
        from: String,
        to: String,
    },
    /// Cells beyond the header's are taken off.
    Surplus {
        cells: String,
    },
    /// The row is left out.
    Remove {
        why: &'static str,
    },
}

/// What the reviewer knows of the sample with every row fault: line, column, what the cell should say.
const CELLS: &[(u64, &str, &str)] = &[
    (4, "external_id", "C-000003"),
    (5, "points", "120"),
    (6, "points", "5"),
    (7, "points", "1250"),
    (8, "points", "9999"),
    (9, "tier", "gold"),
    (10, "tier", "platinum"),
    (11, "balance", "12.50"),
    (12, "currency", "EUR"),
    (13, "expiry_date", "2027-12-31"),
    (14, "expiry_date", "2027-02-28"),
    (15, "opt_in", "true"),
    (16, "last_purchase_at", "2026-11-20T23:15:04Z"),
    (17, "email", "zoe@example.com"),
    (18, "external_id", "C-000017"),
    (19, "message", "Our autumn campaign is here"),
    (20, "tier", "silver"),
    (20, "balance", "12.50"),
    (20, "currency", "EUR"),
    (20, "expiry_date", "2027-12-31"),
    (20, "opt_in", "true"),
    (23, "points", "1021"),
    (23, "balance", "21.00"),
    (23, "opt_in", "true"),
];
const SURPLUS: u64 = 21;
const REMOVE: &[(u64, &str)] = &[(22, "an empty row"), (26, "nobody knows this card")];

/// The corrected report and how it came to be.
pub struct Reviewed {
    pub content: Vec<u8>,
    pub fixes: Vec<Fix>,
    /// What the rows that are left say.
    pub members: Vec<Member>,
    /// Lines of the delivered file that the report has.
    pub lines: Vec<u64>,
}

/// Goes through a report row by row. Fails when a row is in it that the reviewer has no answer for.
pub fn review(report: &[u8]) -> anyhow::Result<Reviewed> {
    let mut reader = csv::ReaderBuilder::new().flexible(true).from_reader(report);
    let header = reader.headers()?.clone();
    let line_at = header.iter().position(|label| label == "_line").context("the report has no column _line")?;
    let (mut fixes, mut kept, mut lines) = (Vec::new(), Vec::new(), Vec::new());
    for row in reader.records() {
        let row = row?;
        let line: u64 = row.get(line_at).unwrap_or_default().parse().context("a row of the report without its line")?;
        lines.push(line);
        if let Some((_, why)) = REMOVE.iter().find(|(known, _)| *known == line) {
            fixes.push(Fix { line, what: What::Remove { why } });
            continue;
        }
        let before = fixes.len();
        kept.push(mend(line, &header, &row, &mut fixes));
        ensure!(fixes.len() > before, "line {line} is in the report and nobody knows why");
    }
    let mut writer = csv::Writer::from_writer(Vec::new());
    writer.write_record(&header)?;
    for row in &kept {
        writer.write_record(row)?;
    }
    let members = members(&header, kept.into_iter().map(Ok))?;
    Ok(Reviewed { content: writer.into_inner().map_err(|error| anyhow::anyhow!("{}", error.error()))?, fixes, members, lines })
}

fn mend(line: u64, header: &StringRecord, row: &StringRecord, fixes: &mut Vec<Fix>) -> StringRecord {
    let mut cells: Vec<&str> = row.iter().collect();
    for (_, column, to) in CELLS.iter().filter(|(known, ..)| *known == line) {
        if let Some(place) = header.iter().position(|label| label == *column)
            && let Some(cell) = cells.get_mut(place)
        {
            let from = unprotect(cell).unwrap_or(cell).to_owned();
            fixes.push(Fix { line, what: What::Cell { column: (*column).to_owned(), from, to: (*to).to_owned() } });
            *cell = to;
        }
    }
    if line == SURPLUS && cells.len() > header.len() {
        fixes.push(Fix { line, what: What::Surplus { cells: cells.split_off(header.len()).join(", ") } });
    }
    cells.into_iter().collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    const HEADER: &str = "external_id,points,tier,balance,_run,_line,_record";

    #[test]
    fn cells_are_mended_and_hopeless_rows_left_out() {
        let report = format!("{HEADER}\nC-000004,12x,gold,1,abc,5,4\nC-000020,7,gold,1,abc,21,20,surplus\n,,,,abc,22,21\n");
        let reviewed = review(report.as_bytes()).unwrap();
        assert_eq!(reviewed.lines, [5, 21, 22]);
        assert_eq!(
            String::from_utf8(reviewed.content).unwrap(),
            format!("{HEADER}\nC-000004,120,gold,1,abc,5,4\nC-000020,7,gold,1,abc,21,20\n")
        );
        let first = What::Cell { column: "points".to_owned(), from: "12x".to_owned(), to: "120".to_owned() };
        assert_eq!(reviewed.fixes[0], Fix { line: 5, what: first });
    }

    #[test]
    fn a_row_that_nobody_expects_is_an_error() {
        assert!(review(format!("{HEADER}\nC-1,1,gold,1,abc,999,998\n").as_bytes()).is_err());
    }
}
