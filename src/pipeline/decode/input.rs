//! Text of the spooled file: out of its containers and its character set, on a thread of its own so that the scanner never waits for a
//! disk or for zlib.

use std::fs::{File, OpenOptions};
use std::io::{self, Read, Seek as _, SeekFrom, Take, Write as _};
use std::ops::Range;
use std::path::Path;
use std::sync::Arc;
use std::thread::{self, JoinHandle};

use crossbeam_channel::{Receiver, bounded};

use super::fault::{DecodeError, FileFault, Place};
use super::unwrap::{Gauge, unwrap};
use crate::config::meant::{DialectChoice, Limits};
use crate::dialect::{BadSequence, Charset, Decoder};
use crate::outcome::Code;
use crate::spool::private_file;

/// Blocks read ahead of the scanner.
const AHEAD: usize = 4;

/// What the reading thread hands over. The end is said, never inferred from a closed channel: a thread that died is not an end of file.
pub(super) enum Piece {
    Block(Vec<u8>),
    End,
    Failed(DecodeError),
    /// What follows the text so far is not in the file's character set.
    Bad(BadSequence),
}

pub(super) struct Input {
    pieces: Receiver<Piece>,
    thread: JoinHandle<()>,
    pub opened: Opened,
}

/// How the file was written, below its form.
#[derive(Clone, Debug)]
pub(super) struct Opened {
    /// Containers it was in, from the outermost inwards.
    pub containers: Vec<String>,
    pub charset: Charset,
    /// How the character set was found.
    pub evidence: String,
    pub notes: Vec<String>,
    /// The text is a sheet's, in our own form.
    pub sheet: bool,
    /// The text is kept beside the delivered bytes, as it differs from them or is one of several.
    pub keeps_text: bool,
}

/// What is read: a spooled file, or a part of one.
pub(super) struct Origin<'a> {
    pub spool: &'a Path,
    /// Of several that are read as one: then its text is appended, so that all of it is in one place.
    pub part: Option<Range<u64>>,
    /// Its text is not kept: whoever reads it keeps another.
    pub keeps_nothing: bool,
}

impl Origin<'_> {
    fn open(&self) -> io::Result<Take<File>> {
        let mut file = File::open(self.spool)?;
        let Some(part) = &self.part else { return Ok(file.take(u64::MAX)) };
        file.seek(SeekFrom::Start(part.start))?;
        Ok(file.take(part.end - part.start))
    }

    /// Where its text is kept.
    fn text(&self, text: &Path) -> io::Result<File> {
        if self.part.is_some() { OpenOptions::new().append(true).open(text) } else { private_file(text) }
    }
}

impl Input {
    /// Starts reading. Text that is kept is written to `text`, block by block, before the block is handed over.
    pub fn open(origin: &Origin<'_>, text: &Path, block: usize, choice: &DialectChoice, limits: &Limits) -> Result<Input, DecodeError> {
        let scratch = text.parent().unwrap_or(Path::new("."));
        let unwrapped = unwrap(origin.open()?, origin.part.is_some(), scratch, limits, choice)?;
        let (charset, evidence, note) =
            if unwrapped.sheet { (Charset::UTF_8, "a workbook's own".to_owned(), None) } else { charset(&unwrapped.head, choice.charset)? };
        let notes = unwrapped.notes.into_iter().chain(note).collect();
        let keeps_text = origin.part.is_some() || !unwrapped.containers.is_empty() || !charset.is_utf_8();
        let opened = Opened { containers: unwrapped.containers, charset, evidence, notes, sheet: unwrapped.sheet, keeps_text };
        let mut bytes = if keeps_text {
            let decoder = (!charset.is_utf_8()).then(|| charset.decoder());
            let copy = if origin.keeps_nothing { None } else { Some(origin.text(text)?) };
            Bytes::Decoded(Box::new(Decoded { bytes: unwrapped.bytes, gauge: unwrapped.gauge, decoder, bad: None, ended: false, copy }))
        } else {
            Bytes::Plain(origin.open()?)
        };
        let (sender, pieces) = bounded(AHEAD);
        let thread = thread::Builder::new().name("decode".to_owned()).spawn(move || {
            loop {
                let piece = bytes.block(block).unwrap_or_else(Piece::Failed);
                let last = !matches!(piece, Piece::Block(_));
                // A send fails when the reader was dropped: nobody wants the rest.
                if sender.send(piece).is_err() || last {
                    return;
                }
            }
        })?;
        Ok(Input { pieces, thread, opened })
    }

    pub fn next(&self) -> Piece {
        self.pieces.recv().unwrap_or_else(|_| Piece::Failed(io::Error::other("the reading thread died").into()))
    }

    /// Waits until the thread is gone, and with it its hold on the files.
    pub fn close(self) {
        drop(self.pieces);
        if self.thread.join().is_err() {
            tracing::error!("the reading thread died after its last block");
        }
    }
}

/// The character set, how it was found, and what a person should know of that. A byte-order mark outweighs what is declared: it stands at
/// the start of no text of another set, and a spreadsheet that saves a report again writes one.
fn charset(head: &[u8], declared: Option<Charset>) -> Result<(Charset, String, Option<String>), FileFault> {
    let unread = |order: &str| {
        let message = format!("The file is UTF-32 ({order}): it starts with that byte-order mark.");
        FileFault::new(Code::EncodingError, message).at(Place::at_line(1), 0).suggest("Export the file as UTF-8.")
    };
    match head {
        [0xFF, 0xFE, 0, 0, ..] => return Err(unread("little-endian")),
        [0, 0, 0xFE, 0xFF, ..] => return Err(unread("big-endian")),
        _ => {}
    }
    Ok(match (Charset::of_mark(head), declared) {
        (Some(marked), Some(declared)) if marked != declared => {
            let note =
                format!("the file is {}, as its byte-order mark says, though dialect.encoding says {}", marked.name(), declared.name());
            (marked, "its byte-order mark, against the declared one".to_owned(), Some(note))
        }
        (Some(marked), _) => (marked, "its byte-order mark".to_owned(), None),
        (None, Some(declared)) => (declared, "declared".to_owned(), None),
        (None, None) => (Charset::UTF_8, "the default".to_owned(), None),
    })
}

enum Bytes {
    Plain(Take<File>),
    Decoded(Box<Decoded>),
}

struct Decoded {
    bytes: Box<dyn Read + Send>,
    gauge: Arc<Gauge>,
    decoder: Option<Decoder>,
    /// Follows the text that was handed over.
    bad: Option<BadSequence>,
    ended: bool,
    /// Where it is kept.
    copy: Option<File>,
}

impl Bytes {
    /// The next block, of about `size` bytes.
    fn block(&mut self, size: usize) -> Result<Piece, DecodeError> {
        let block = match self {
            Bytes::Plain(file) => {
                let mut block = Vec::with_capacity(size);
                file.take(size as u64).read_to_end(&mut block)?;
                block
            }
            Bytes::Decoded(decoded) => {
                let block = decoded.block(size)?;
                if block.is_empty()
                    && let Some(bad) = decoded.bad.take()
                {
                    return Ok(Piece::Bad(bad));
                }
                block
            }
        };
        Ok(if block.is_empty() { Piece::End } else { Piece::Block(block) })
    }
}

impl Decoded {
    fn block(&mut self, size: usize) -> Result<Vec<u8>, DecodeError> {
        let mut text = Vec::new();
        // A block of half a letter has no text.
        while text.is_empty() && !self.ended {
            let mut block = Vec::with_capacity(size);
            (&mut self.bytes).take(size as u64).read_to_end(&mut block).map_err(|error| self.gauge.judge(error))?;
            self.ended = block.is_empty();
            text = match &mut self.decoder {
                None => block,
                Some(decoder) => {
                    let mut letters = String::new();
                    if let Err(bad) = decoder.decode(&block, self.ended, &mut letters) {
                        self.bad = Some(bad);
                        self.ended = true;
                    }
                    letters.into_bytes()
                }
            };
        }
        if let Some(copy) = &mut self.copy {
            copy.write_all(&text)?;
        }
        Ok(text)
    }
}
