//! Files in, records and faults out.

mod containers;
mod dialects;
mod faults;
mod forms;
mod properties;
mod section;

use std::borrow::Cow;
use std::fmt::Write as _;
use std::fs::{self, File};
use std::io::Write as _;

use flate2::Compression;
use flate2::write::GzEncoder;

use super::*;
use crate::config::meant::{DialectChoice, Escape, Limits};
use crate::outcome::{Code, Problem};

/// Everything a reader says of a file.
#[derive(Debug, PartialEq)]
struct Read {
    dialect: Option<Dialect>,
    header: Option<Header>,
    rows: Vec<Row>,
    end: Result<Facts, FileFault>,
}

#[derive(Debug, PartialEq)]
struct Row {
    number: u64,
    line: u64,
    offset: u64,
    raw: String,
    cells: Vec<String>,
    faults: Vec<Problem>,
}

#[derive(Clone, Debug, Default)]
struct Setup {
    choice: DialectChoice,
    limits: Limits,
    sizes: Sizes,
}

impl Setup {
    fn pinned(delimiter: u8) -> Setup {
        Setup {
            choice: DialectChoice { delimiter: Some(char::from(delimiter).to_string()), ..DialectChoice::default() },
            ..Setup::default()
        }
    }

    fn headless() -> Setup {
        let mut setup = Setup::pinned(b',');
        setup.choice.header = false;
        setup
    }

    fn read(&self, bytes: &[u8]) -> Read {
        let folder = tempfile::tempdir().unwrap();
        let (spool, text) = (folder.path().join("spool"), folder.path().join("text"));
        fs::write(&spool, bytes).unwrap();
        let mut read = Read { dialect: None, header: None, rows: Vec::new(), end: Err(FileFault::new(Code::Discarded, "not opened")) };
        let mut reader = match Reader::open_with(&spool, &text, &self.choice, &self.limits, self.sizes) {
            Ok(reader) => reader,
            Err(error) => {
                read.end = Err(fault_of(error));
                return read;
            }
        };
        read.dialect = Some(reader.dialect().clone());
        read.header = reader.header().cloned();
        let decoded = File::open(reader.text_path()).unwrap();
        let mut cells: Vec<Cow<'_, str>> = Vec::new();
        let end = loop {
            match reader.next_chunk() {
                Ok(Some(chunk)) => {
                    assert_ne!(chunk.len(), 0);
                    let (mut splitter, mut together) = (chunk.splitter(), Vec::new());
                    for record in chunk.records() {
                        let mut cells = Vec::new();
                        record.cells(&mut cells);
                        record.cells_by(&mut splitter, &mut together);
                        assert_eq!(together, cells);
                        read.rows.push(Row {
                            number: record.number,
                            line: record.line,
                            offset: record.offset,
                            raw: record.raw.to_owned(),
                            cells: cells.into_iter().map(Cow::into_owned).collect(),
                            faults: record.faults.to_vec(),
                        });
                    }
                }
                Ok(None) => break Ok(()),
                Err(error) => break Err(error),
            }
        };
        for row in &read.rows {
            let again = read_record(&decoded, row.offset, row.raw.len() as u32).unwrap();
            assert_eq!(again, row.raw);
            split_cells(&row.raw, reader.dialect(), &mut cells);
            assert_eq!(cells, row.cells);
        }
        read.end = end.map(|()| reader.finish()).map_err(fault_of);
        read
    }
}

impl Read {
    fn facts(&self) -> &Facts {
        self.end.as_ref().unwrap()
    }

    /// The file's fault, as logs show it.
    fn fault(&self) -> String {
        self.end.as_ref().unwrap_err().to_string()
    }

    fn code(&self) -> Code {
        self.end.as_ref().unwrap_err().code
    }

    fn cells(&self) -> Vec<Vec<&str>> {
        self.rows.iter().map(|row| row.cells.iter().map(String::as_str).collect()).collect()
    }

    /// Number, line and faults of each record.
    fn outline(&self) -> String {
        let mut out = String::new();
        for row in &self.rows {
            write!(out, "{} line {}", row.number, row.line).unwrap();
            for fault in &row.faults {
                let column = fault.column.map_or(String::new(), |column| format!("[{column}]"));
                write!(out, " {}{column}: {}", fault.code, fault.message).unwrap();
            }
            out.push('\n');
        }
        out
    }
}

fn read(bytes: impl AsRef<[u8]>) -> Read {
    Setup::default().read(bytes.as_ref())
}

fn fault_of(error: DecodeError) -> FileFault {
    match error {
        DecodeError::Fault(fault) => fault,
        DecodeError::Io(error) => panic!("{error}"),
    }
}

fn gzip(bytes: &[u8]) -> Vec<u8> {
    let mut encoder = GzEncoder::new(Vec::new(), Compression::default());
    encoder.write_all(bytes).unwrap();
    encoder.finish().unwrap()
}
