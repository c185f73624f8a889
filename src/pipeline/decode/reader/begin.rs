//! The start of a file: what stands before its first record, its form, its header.

use std::borrow::Cow;

use super::super::cells::{Cell, Cells, split_any};
use super::super::detect;
use super::super::fault::{BLANK, EMPTY};
use super::super::section::is_in_section;
use super::{BOM, Code, Cut, DecodeError, DialectChoice, FileFault, Header, Reader, Section, Step};
use crate::config::meant::{Escape, SectionChoice};
use crate::dialect::Form;

/// Decoded bytes in which NULs are counted.
const NUL_HEAD: usize = 64 << 10;

/// Decoded bytes in which the form is looked for.
const DIALECT_HEAD: usize = 256 << 10;

impl Reader {
    pub(super) fn begin(&mut self, choice: &DialectChoice) -> Result<(), DecodeError> {
        self.fill_to(NUL_HEAD)?;
        detect::check_text(&self.scanner.text[..self.scanner.text.len().min(NUL_HEAD)])?;
        self.bom = self.scanner.text.starts_with(BOM);
        if self.bom {
            self.scanner.skip(BOM.len());
        }
        self.fill_to(DIALECT_HEAD)?;
        // A report of ours has a header, and nothing around it, whatever the files it is about have.
        let begins = self.scanner.text.iter().position(|byte| !matches!(byte, b'\n' | b'\r'));
        let ours = begins.is_some_and(|begins| is_report(first_line(&self.scanner.text[begins..])));
        // Where lines before the header are counted, blank ones are lines like others.
        if ours || choice.preamble == 0 || begins.is_none() {
            self.skip_blank_lines()?;
        }
        let plain;
        let choice = if ours {
            self.dialect.header = true;
            self.footer = None;
            self.comment_rows.clear();
            plain = DialectChoice { comment: None, ..choice.clone() };
            &plain
        } else {
            choice
        };
        let mut named = None;
        if !ours {
            if !self.sheet {
                named = self.read_sep_line(choice)?;
            }
            self.skip_preamble(choice.preamble)?;
            if named.is_none() && !self.sheet {
                named = self.read_sep_line(choice)?;
            }
        }
        if let Some(expected) = &choice.section {
            self.read_section(expected)?;
        }
        self.fill_to(DIALECT_HEAD)?;
        self.find_form(choice, named)?;
        self.scanner.set_form(&self.dialect.form);
        match self.section.as_ref().and_then(|section| section.fields.clone()) {
            Some((labels, line)) => {
                let raw = labels.join(&self.dialect.form.delimiter);
                self.header = Some(Header { labels, line, raw });
                Ok(())
            }
            None if self.dialect.header => self.read_header(if ours { 1 } else { choice.header_rows.max(1) }, &choice.header_join),
            None => Ok(()),
        }
    }

    /// The delimiter, by the feed, by the file, or by what stands in it; and whether quotes stand behind a backslash.
    fn find_form(&mut self, choice: &DialectChoice, named: Option<String>) -> Result<(), DecodeError> {
        if self.sheet {
            self.dialect.form = Form { comment: choice.comment.clone(), ..Form::default() };
            self.dialect.pinned = true;
            "cells of a sheet".clone_into(&mut self.dialect.evidence);
            return Ok(());
        }
        let stated = self.section.as_ref().and_then(|section| section.delimiter).map(|byte| char::from(byte).to_string());
        let head = &self.scanner.text[..self.scanner.text.len().min(DIALECT_HEAD)];
        let (delimiter, evidence) = match (choice.delimiter.clone(), stated) {
            (Some(of_feed), Some(of_file)) if of_feed != of_file => {
                let message = "The header section names another delimiter than the feed does.";
                return Err(FileFault::new(Code::SourceError, message).suggest("Remove dialect.delimiter from the feed.").into());
            }
            (Some(delimiter), _) => (Some(delimiter), "named by the feed"),
            (None, Some(delimiter)) => (Some(delimiter), "named by the file's header section"),
            // The comma is this form's own default: what else stands in the records says nothing against it.
            (None, None) if self.section.is_some() || (choice.section.is_some() && first_line(head).contains(&b',')) => {
                (Some(",".to_owned()), "the default of such files")
            }
            (None, None) => (named, "named by the file's line sep="),
        };
        let whole = self.scanner.ended && head.len() == self.scanner.text.len();
        let escapes = choice.escape == Escape::Detected;
        let known = choice.form();
        let guess = detect::guess(head, whole, &known, delimiter.as_deref(), escapes, self.scanner.base_line as usize)?;
        self.dialect.form = guess.form;
        self.dialect.pinned = delimiter.is_some();
        self.dialect.evidence = match (delimiter.is_some(), guess.evidence.is_empty()) {
            (true, true) => evidence.to_owned(),
            (true, false) => format!("{evidence}; {}", guess.evidence),
            (false, _) => guess.evidence,
        };
        if let Some(fault) = self.dialect.form.fault() {
            return Err(FileFault::new(Code::SourceError, format!("The file's records cannot be read: {fault}.")).into());
        }
        if self.dialect.form.escape.is_none() && choice.escape == Escape::Detected {
            self.notes.extend(escaped_delimiter(head, &self.dialect.form));
        }
        Ok(())
    }

    /// A line `sep=;`, by which spreadsheets are told the delimiter.
    fn read_sep_line(&mut self, choice: &DialectChoice) -> Result<Option<String>, DecodeError> {
        let line = first_line(&self.scanner.text);
        let plain = line.strip_prefix(b"\"").and_then(|line| line.strip_suffix(b"\"")).unwrap_or(line);
        let Some(sign) = plain.get(..4).filter(|start| start.eq_ignore_ascii_case(b"sep=")).map(|_| &plain[4..]) else { return Ok(None) };
        let Some(delimiter) = std::str::from_utf8(sign).ok().and_then(|sign| crate::dialect::delimiter(sign).ok().flatten()) else {
            return Ok(None);
        };
        if choice.delimiter.as_ref().is_some_and(|of_feed| *of_feed != delimiter) {
            let message = format!(
                "The file's first line says that {} parts its cells, and the feed names another delimiter.",
                Form::shown(&delimiter)
            );
            return Err(FileFault::new(Code::SourceError, message)
                .line(self.scanner.base_line)
                .suggest("Remove dialect.delimiter from the feed.")
                .into());
        }
        self.skip_preamble(1)?;
        Ok(Some(delimiter))
    }

    /// Goes over lines that are no records, whatever stands in them. Of a sheet, these are its rows: a cell may have several lines.
    fn skip_preamble(&mut self, lines: u64) -> Result<(), DecodeError> {
        if lines == 0 {
            return Ok(());
        }
        if !self.sheet {
            self.scanner.set_lines();
        }
        let mut left = lines;
        while left > 0 {
            match self.scanner.step()? {
                Step::Record(_) | Step::Blank { .. } | Step::Comment => {
                    self.pass_over();
                    left -= 1;
                }
                Step::More => self.fill_to(self.scanner.text.len() + 1)?,
                Step::Done => {
                    let message = format!("The file ends within the {lines} lines before its header (dialect.preamble).");
                    return Err(FileFault::new(Code::SourceError, message).into());
                }
            }
        }
        self.scanner.check_text(self.scanner.start)?;
        self.scanner.drop_scanned();
        self.skip_blank_lines()
    }

    /// Reads the header section, if the file begins with one, up to the blank line that ends it.
    fn read_section(&mut self, expected: &SectionChoice) -> Result<(), DecodeError> {
        if !is_in_section(first_line(&self.scanner.text)) {
            return Ok(());
        }
        let mut section = Section::default();
        self.scanner.set_lines();
        loop {
            match self.scanner.step()? {
                Step::Record(cut) if cut.overlong => {
                    let message = format!("A line of the header section is longer than {} bytes.", self.scanner.limits().record);
                    return Err(FileFault::new(Code::RecordTooLong, message).line(cut.line).into());
                }
                Step::Record(cut) => {
                    let line = &self.scanner.text[cut.start..][..cut.length];
                    let line = std::str::from_utf8(line).map_err(|wrong| self.scanner.bad_byte(cut.start + wrong.valid_up_to()))?;
                    section.take(line, cut.line)?;
                }
                Step::More => self.fill_to(self.scanner.text.len() + 1)?,
                Step::Blank { .. } | Step::Comment | Step::Done => break,
            }
        }
        self.scanner.drop_scanned();
        self.notes.extend(whose(&section.campaigns, &expected.campaigns)?);
        let names_columns = section.fields.is_some();
        self.section = Some(section);
        if names_columns { Ok(()) } else { self.skip_blank_lines() }
    }

    /// Blank lines before the first record are never records: whatever wrote them did not mean a row.
    fn skip_blank_lines(&mut self) -> Result<(), DecodeError> {
        loop {
            match self.scanner.text.get(self.scanner.start) {
                Some(b'\n' | b'\r') => match self.scanner.step()? {
                    Step::Blank { .. } => {
                        self.blank_lines += 1;
                        self.rows += 1;
                    }
                    _ => self.fill_to(self.scanner.text.len() + 1)?,
                },
                Some(_) => break,
                None if self.scanner.ended => {
                    let what = match (self.bytes, self.passed_over) {
                        (0, _) => EMPTY,
                        (_, 0) => BLANK,
                        _ => "The file holds nothing behind the lines that are no records.",
                    };
                    return Err(FileFault::new(Code::SourceError, what)
                        .suggest("Deliver it again; an export with no rows still needs its header line.")
                        .into());
                }
                None => self.fill_to(self.scanner.text.len() + 1)?,
            }
            if self.scanner.start >= self.sizes.chunk.max(1 << 10) {
                self.scanner.drop_scanned();
            }
        }
        self.scanner.drop_scanned();
        Ok(())
    }

    fn read_header(&mut self, rows: usize, join: &str) -> Result<(), DecodeError> {
        let mut header = self.read_labels()?;
        for _ in 1..rows {
            let more = self.read_labels()?;
            for (index, label) in more.labels.into_iter().enumerate() {
                match header.labels.get_mut(index) {
                    Some(before) if before.is_empty() => *before = label,
                    Some(before) if !label.is_empty() => *before = format!("{before}{join}{label}"),
                    Some(_) => {}
                    None => header.labels.push(label),
                }
            }
        }
        self.header = Some(header);
        Ok(())
    }

    fn read_labels(&mut self) -> Result<Header, DecodeError> {
        let cut = loop {
            match self.scanner.step()? {
                Step::Record(cut) => {
                    self.rows += 1;
                    if self.comment_rows.binary_search(&self.rows).is_err() {
                        break cut;
                    }
                    self.passed_over += 1;
                }
                Step::Comment => self.pass_over(),
                Step::Blank { .. } => {
                    self.rows += 1;
                    self.blank_lines += 1;
                }
                Step::More => self.fill_to(self.scanner.text.len() + 1)?,
                Step::Done => {
                    return Err(FileFault::new(Code::SourceError, "The file has no header: nothing but lines that are no records.")
                        .suggest("Deliver it again; an export with no rows still needs its header line.")
                        .into());
                }
            }
        };
        self.scanner.check_text(self.scanner.start)?;
        let raw = String::from_utf8_lossy(&self.scanner.text[cut.start..][..cut.length]).into_owned();
        self.check_header(&cut)?;
        let mut labels = Vec::new();
        split_any(&raw, &self.dialect.form, &mut labels);
        let labels = labels.into_iter().map(Cow::into_owned).collect();
        self.scanner.drop_scanned();
        Ok(Header { labels, line: cut.line, raw })
    }

    fn check_header(&self, cut: &Cut) -> Result<(), FileFault> {
        let Some(problem) = self.form_faults(cut).into_iter().next() else { return Ok(()) };
        let place = problem.column.map_or(String::new(), |column| format!(", label {}", column + 1));
        let mut fault = FileFault::new(problem.code, format!("In the header{place}: {}", problem.message)).line(cut.line);
        fault.suggestion = problem.suggestion;
        Err(fault)
    }
}

/// Are a file's passes this feed's? A note where nobody can tell.
fn whose(named: &[String], taken: &[String]) -> Result<Option<String>, FileFault> {
    let list = named.join(", ");
    match (named, taken) {
        ([], _) => Ok(None),
        ([_], []) => Ok(Some(format!("the file is for campaign {list}; the feed does not say which are its (format.campaigns)"))),
        (_, []) => Err(FileFault::new(Code::SourceError, format!("The file is for several campaigns: {list}."))
            .suggest("If all their passes are in this feed's platform account, name them in the feed's format.campaigns.")),
        _ if named.iter().all(|name| taken.contains(name)) => Ok(None),
        _ => Err(FileFault::new(Code::SourceError, format!("The file is for campaign {list}; this feed takes {}.", taken.join(", ")))
            .suggest("Deliver it to the feed of that campaign.")),
    }
}

fn first_line(text: &[u8]) -> &[u8] {
    text.split(|byte| matches!(byte, b'\n' | b'\r')).next().unwrap_or_default()
}

/// Is the record the header once more? Exports that were joined may begin with a byte-order mark again, or be quoted otherwise.
pub(super) fn repeats(header: &Header, raw: &[u8], form: &Form) -> bool {
    let raw = raw.strip_prefix(BOM).unwrap_or(raw);
    if raw == header.raw.as_bytes() {
        return true;
    }
    // Nearly every record differs in its first bytes already.
    let begins =
        header.labels.first().is_some_and(|label| raw.strip_prefix(&[form.quote_byte()]).unwrap_or(raw).starts_with(label.as_bytes()));
    begins
        && std::str::from_utf8(raw).is_ok_and(|raw| {
            // A stray quote is a fault, whatever it stands beside.
            let quote = char::from(form.quote_byte());
            let well = |cell: Cell<'_>| cell.literal || !cell.text.contains(quote);
            let mut labels = header.labels.iter();
            Cells::new(raw, form).all(|cell| labels.next().is_some_and(|label| *label == *cell.text) && well(cell))
                && labels.next().is_none()
        })
}

/// Is this the header of a report of ours, whatever parts its labels?
fn is_report(line: &[u8]) -> bool {
    let mut wanted = [&b"_run"[..], b"_line", b"_record"].into_iter().peekable();
    for word in line.split(|byte| !byte.is_ascii_alphanumeric() && *byte != b'_') {
        if wanted.peek() == Some(&word) {
            wanted.next();
        }
    }
    wanted.peek().is_none()
}

/// A hint where a backslash stands before the delimiter, outside quotes as far as can be seen: exporters without quotes escape so.
fn escaped_delimiter(head: &[u8], form: &Form) -> Option<String> {
    let sign = [b"\\", form.delimiter.as_bytes()].concat();
    let at = memchr::memmem::find(head, &sign)?;
    let line = memchr::memchr_iter(b'\n', &head[..at]).count();
    let quoted = head[..at].rsplit(|byte| *byte == b'\n').next().is_some_and(|line| line.contains(&form.quote_byte()));
    (!quoted).then(|| {
        format!(
            "a backslash stands before the delimiter {line} lines below the first: if the exporter takes its meaning away with it (Redshift's \
             ESCAPE, Snowflake without quotes), set dialect.escape"
        )
    })
}
