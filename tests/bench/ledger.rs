//! What the ledger costs by itself: `ledger FOLDER ROWS` prints seconds as JSON, and leaves `FOLDER/ledger.sqlite` behind.

use std::path::Path;
use std::time::Instant;

use anyhow::Context;
use passferry::ledger::run::Detail;
use passferry::ledger::{self, FieldState, Known, Mark, Row, RowDetail, Run, RunKind, State};
use passferry::outcome::Outcome;
use passferry::row::{PassKey, Verb};
use passferry::schema::value::Value;

/// Rows that the pipeline writes together.
const BATCH: usize = 5000;
const UNSORTED_BATCH: usize = 10_000;
const SORTED_BATCH: usize = 100_000;

fn main() -> anyhow::Result<()> {
    let mut arguments = std::env::args().skip(1);
    let folder = arguments.next().context("name a folder")?;
    let rows: u64 = arguments.next().context("say how many rows")?.parse()?;
    let ledger = ledger::open(Path::new(&folder))?;
    let fence = ledger.lead()?;
    let run = ledger.open_run(fence, run())?;

    let mut keys: Vec<PassKey> = (0..rows).map(|number| PassKey::of(&[b"e", &number.to_le_bytes()])).collect();
    let shuffled = keys.clone();
    keys.sort_unstable();
    let all: Vec<Row> = (0..).zip(&keys).map(|(number, &pass)| row(number, pass)).collect();
    let started = Instant::now();
    for batch in all.chunks(BATCH) {
        ledger.add_rows(fence, &run.id, batch)?;
    }
    let journal = started.elapsed().as_secs_f64();
    drop(all);

    let started = Instant::now();
    for batch in keys.chunks(SORTED_BATCH) {
        ledger.seed(fence, "cards", &known(batch, 1))?;
    }
    let first = started.elapsed().as_secs_f64();

    let started = Instant::now();
    for batch in shuffled.chunks(UNSORTED_BATCH) {
        ledger.seed(fence, "cards", &known(batch, 2))?;
    }
    let random = started.elapsed().as_secs_f64();
    let started = Instant::now();
    for batch in keys.chunks(SORTED_BATCH) {
        ledger.seed(fence, "cards", &known(batch, 3))?;
    }
    let sorted = started.elapsed().as_secs_f64();

    let started = Instant::now();
    let mut read = 0_u64;
    ledger.baseline_range("cards", PassKey(0), PassKey(u128::MAX), &mut |_| read += 1)?;
    anyhow::ensure!(read == rows, "{read} baselines of {rows} came back");
    let scan = started.elapsed().as_secs_f64();
    println!(
        "{{\"journal_s\": {journal:.3}, \"first_s\": {first:.3}, \"random_s\": {random:.3}, \"sorted_s\": {sorted:.3}, \"scan_s\": {scan:.3}}}"
    );
    Ok(())
}

fn run() -> Run {
    Run {
        id: String::new(),
        feed: "points".into(),
        account: "cards".into(),
        source: "files".into(),
        folder: ".".into(),
        name: "all.csv".into(),
        size: 1,
        mtime: 1,
        state: State::Applying,
        kind: RunKind::File,
        parent: None,
        sha256: None,
        detail: Detail::default(),
    }
}

fn row(number: u64, pass: PassKey) -> Row {
    Row {
        number,
        record: number + 1,
        line: number + 2,
        offset: number * 138,
        length: 138,
        pass: Some(pass),
        verb: Verb::Update,
        mask: 1,
        adds: 0,
        deferred: false,
        taken: false,
        stamp: None,
        outcome: Some(Outcome::Applied),
        detail: RowDetail::default(),
    }
}

fn known(passes: &[PassKey], points: i64) -> Vec<Known> {
    let mark = Mark::of(Some(&Value::Integer(points)), false);
    passes.iter().map(|&pass| Known { pass, fields: vec![FieldState { field: 0, mark, day: 20_000 }] }).collect()
}
