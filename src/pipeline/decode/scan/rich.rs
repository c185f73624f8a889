//! Records of forms other than the plain one: delimiters of several bytes, escapes, spaces before cells, comment lines.
//!
//! The same machine as the plain one, which also stops at each delimiter: only so it knows where a cell starts behind an escape. As there,
//! what means something only with the bytes behind it is left until these have come.

use memchr::memchr2;

use super::{Scanner, State, Step};
use crate::dialect::Form;
use crate::pipeline::decode::fault::FileFault;

pub(super) struct Rich {
    form: Form,
    /// Bytes to stop at outside of quotes, and inside.
    open: Box<[bool; 256]>,
    quoted: Box<[bool; 256]>,
    /// Byte of the record at which the cell in hand starts, the spaces before it left out.
    pub cell_start: u64,
}

/// What follows a sign.
enum Next {
    Yes,
    No,
    /// More bytes are needed to tell.
    Unknown,
}

impl Rich {
    pub fn new(form: &Form) -> Rich {
        let (mut open, mut quoted) = (Box::new([false; 256]), Box::new([false; 256]));
        for byte in [b'\n', b'\r'].into_iter().chain(form.quote).chain(form.escape) {
            open[byte as usize] = true;
            quoted[byte as usize] = true;
        }
        open[form.first() as usize] = true;
        open[b' ' as usize] |= form.skip_space;
        Rich { form: form.clone(), open, quoted, cell_start: 0 }
    }
}

fn begins_with(text: &[u8], sign: &[u8], ended: bool) -> Next {
    if text.starts_with(sign) {
        Next::Yes
    } else if !ended && sign.starts_with(text) {
        Next::Unknown
    } else {
        Next::No
    }
}

impl Scanner {
    pub(super) fn step_rich(&mut self) -> Result<Step, FileFault> {
        // Taken out while it is looked at; a step is a record or a block, so that this costs nothing.
        let Some(mut rich) = self.rich.take() else { return self.step_plain() };
        let step = self.step_in(&mut rich);
        if self.reached() == 0 {
            rich.cell_start = 0;
        }
        self.rich = Some(rich);
        step
    }

    fn step_in(&mut self, rich: &mut Rich) -> Result<Step, FileFault> {
        let Rich { form, open, quoted, cell_start } = rich;
        let (quote, escape, delimiter) = (form.quote, form.escape, form.delimiter.as_bytes());
        loop {
            match self.state {
                State::Open => {
                    if self.reached() == 0
                        && let Some(comment) = &form.comment
                    {
                        match begins_with(&self.text[self.pos..], comment.as_bytes(), self.ended) {
                            Next::Yes => {
                                self.state = State::Comment;
                                continue;
                            }
                            Next::Unknown => return self.wait(),
                            Next::No => {}
                        }
                    }
                    if !self.pass_to(open) {
                        return self.wait();
                    }
                    let byte = self.text[self.pos];
                    if matches!(byte, b'\n' | b'\r') {
                        return self.end_record();
                    }
                    if Some(byte) == escape {
                        if !self.pass_escape(form) {
                            return self.wait();
                        }
                    } else if Some(byte) == quote {
                        self.special = true;
                        if self.reached() == *cell_start {
                            self.state = State::Quoted { opened: self.reached(), line: self.line };
                        } else {
                            self.go_astray(false);
                        }
                        self.pos += 1;
                    } else if byte == delimiter[0] {
                        match begins_with(&self.text[self.pos..], delimiter, self.ended) {
                            Next::Yes => {
                                self.pos += delimiter.len();
                                *cell_start = self.reached();
                            }
                            Next::Unknown => return self.wait(),
                            Next::No => self.pos += 1,
                        }
                    } else {
                        *cell_start += u64::from(self.reached() == *cell_start);
                        self.pos += 1;
                    }
                }
                State::Quoted { opened, line } => {
                    let found = self.pass_to(quoted);
                    if self.reached() - opened - 1 > self.limits.cell as u64 {
                        return Err(self.cell_too_long(opened, line));
                    }
                    if !found {
                        return self.wait();
                    }
                    let byte = self.text[self.pos];
                    if Some(byte) == escape {
                        if !self.pass_escape(form) {
                            return self.wait();
                        }
                    } else if Some(byte) == quote {
                        let rest = &self.text[self.pos + 1..];
                        match rest.first() {
                            Some(&next) if escape.is_none() && next == byte => self.pos += 1,
                            Some(b'\n' | b'\r') => self.state = State::Open,
                            None if self.ended => self.state = State::Open,
                            _ => match begins_with(rest, delimiter, self.ended) {
                                Next::Yes => self.state = State::Open,
                                Next::Unknown => return self.wait(),
                                Next::No => self.go_astray(true),
                            },
                        }
                        self.pos += 1;
                    } else {
                        let Some(length) = self.line_end() else { return self.wait() };
                        self.line += 1;
                        self.pos += length;
                    }
                }
                State::Stray => {
                    let Some(found) = memchr2(b'\n', b'\r', &self.text[self.pos..]) else { return self.starve() };
                    self.pos += found;
                    return self.end_record();
                }
                State::Comment => return self.pass_comment(),
            }
        }
    }

    /// Goes to the next of these bytes, or to the end; is there one?
    fn pass_to(&mut self, signs: &[bool; 256]) -> bool {
        let found = self.text[self.pos..].iter().position(|&byte| signs[byte as usize]);
        self.pos = found.map_or(self.text.len(), |found| self.pos + found);
        found.is_some()
    }

    /// Goes over the escape at hand and what it escapes. False when that has not come yet.
    fn pass_escape(&mut self, form: &Form) -> bool {
        self.special = true;
        match self.text.get(self.pos + 1) {
            Some(b'\n' | b'\r') => {
                self.pos += 1;
                let Some(length) = self.line_end() else {
                    self.pos -= 1;
                    return false;
                };
                self.line += 1;
                self.pos += length;
            }
            Some(&next) => self.pos += 1 + usize::from(form.is_escapable(next)),
            None if self.ended => self.pos += 1,
            None => return false,
        }
        true
    }

    fn pass_comment(&mut self) -> Result<Step, FileFault> {
        let found = memchr2(b'\n', b'\r', &self.text[self.pos..]);
        self.pos = found.map_or(self.text.len(), |found| self.pos + found);
        if found.is_some() {
            let Some(length) = self.line_end() else { return Ok(Step::More) };
            self.line += 1;
            self.next_record(self.pos + length);
        } else if self.ended {
            self.last_line_ended = false;
            self.next_record(self.pos);
        } else {
            return self.wait();
        }
        Ok(Step::Comment)
    }

    /// The text at hand says too little. At its end it says all there is.
    fn wait(&mut self) -> Result<Step, FileFault> {
        if self.ended {
            return self.starve();
        }
        if self.reached() > self.limits.record as u64 {
            self.shed()?;
        }
        Ok(Step::More)
    }
}
