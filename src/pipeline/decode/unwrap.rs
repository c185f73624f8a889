//! Out of its containers: what a file is, its content says, never its name. Layers are taken off one by one, as streams.

mod lz4;
mod member;
mod openpgp;
mod sheet;
mod zlib;
mod zstd;

use std::fs::File;
use std::io::{self, BufReader, Cursor, Read, Take};
use std::path::Path;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use bzip2::read::MultiBzDecoder;
use flate2::read::MultiGzDecoder;

use super::fault::{DecodeError, FileFault};
use crate::config::meant::{DialectChoice, Limits};
use crate::outcome::Code;
pub(super) use sheet::{FORMULA_ERRORS, OTHERWISE};

/// Containers in one another. Exporters make two (a zipped file that was encrypted); more is an attack or a mistake.
const LAYERS: usize = 4;

/// Small files may be as repetitive as they like: the expansion counts only beyond this many decoded bytes.
const EXPANSION_FREE: u64 = 10 << 20;

/// Bytes that tell what a file is.
const HEAD: usize = 4096;

/// A file without its containers.
pub(super) struct Unwrapped {
    pub bytes: Box<dyn Read + Send>,
    /// Its first bytes, which `bytes` gives once more.
    pub head: Vec<u8>,
    /// From the outermost inwards, in words.
    pub containers: Vec<String>,
    pub gauge: Arc<Gauge>,
    /// It is the text of a sheet, in our own form.
    pub sheet: bool,
    pub notes: Vec<String>,
}

/// What is known of reading a file, whatever layer it is read through.
#[derive(Default)]
pub(super) struct Gauge {
    /// Bytes of the delivered file that were read.
    taken: AtomicU64,
    /// The disk failed: not the file's fault.
    failed: AtomicBool,
    /// What the innermost layer that failed found.
    fault: Mutex<Option<FileFault>>,
}

impl Gauge {
    fn refuse(&self, fault: FileFault) -> io::Error {
        let words = fault.message.clone();
        self.fault.lock().unwrap_or_else(PoisonError::into_inner).get_or_insert(fault);
        io::Error::other(words)
    }

    /// What an error of reading means: the disk, or the file.
    pub fn judge(&self, error: io::Error) -> DecodeError {
        if self.failed.load(Ordering::Relaxed) {
            return error.into();
        }
        match self.fault.lock().unwrap_or_else(PoisonError::into_inner).take() {
            Some(fault) => fault.into(),
            None => error.into(),
        }
    }
}

/// What a file begins like.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Kind {
    Gzip,
    Zstd,
    Bzip2,
    Snappy,
    Lz4,
    Zlib,
    Zip,
}

impl Kind {
    /// By the first bytes: RFC 1952, RFC 8878, RFC 1950, the descriptions of bzip2, snappy and LZ4, PKWARE's application note.
    fn of(head: &[u8]) -> Option<Kind> {
        match head {
            [0x1F, 0x8B, ..] => Some(Kind::Gzip),
            [0x28, 0xB5, 0x2F, 0xFD, ..] | [0x50..=0x5F, 0x2A, 0x4D, 0x18, ..] => Some(Kind::Zstd),
            [b'B', b'Z', b'h', b'1'..=b'9', 0x31, 0x41, 0x59, 0x26, 0x53, 0x59, ..]
            | [b'B', b'Z', b'h', b'1'..=b'9', 0x17, 0x72, 0x45, 0x38, 0x50, 0x90, ..] => Some(Kind::Bzip2),
            [0xFF, 0x06, 0x00, 0x00, b's', b'N', b'a', b'P', b'p', b'Y', ..] => Some(Kind::Snappy),
            [0x04, 0x22, 0x4D, 0x18, ..] => Some(Kind::Lz4),
            [b'P', b'K', 3, 4, ..] | [b'P', b'K', 5, 6, ..] | [b'P', b'K', 7, 8, ..] => Some(Kind::Zip),
            head if zlib::is_stream(head) => Some(Kind::Zlib),
            _ => None,
        }
    }

    const fn name(self) -> &'static str {
        match self {
            Kind::Gzip => "gzip",
            Kind::Zstd => "zstd",
            Kind::Bzip2 => "bzip2",
            Kind::Snappy => "snappy",
            Kind::Lz4 => "lz4",
            Kind::Zlib => "zlib",
            Kind::Zip => "zip",
        }
    }
}

/// What is known and not read, and what to do instead.
fn unread(head: &[u8]) -> Option<(&'static str, &'static str)> {
    const AS_TEXT: &str = "Export it as CSV, plain or compressed with gzip, zstd, bzip2, lz4 or zip.";
    Some(match head {
        [0x02, 0x21, 0x4C, 0x18, ..] => {
            ("compressed with lz4 in its legacy format", "Compress it with lz4 without -l, or with gzip or zstd.")
        }
        [0xFD, b'7', b'z', b'X', b'Z', 0, ..] => ("compressed with xz", "Compress it with gzip, zstd or bzip2."),
        [b'7', b'z', 0xBC, 0xAF, 0x27, 0x1C, ..] => ("a 7-Zip archive", "Pack it as zip or gzip."),
        [b'R', b'a', b'r', b'!', 0x1A, 0x07, ..] => ("a RAR archive", "Pack it as zip or gzip."),
        [0xD0, 0xCF, 0x11, 0xE0, 0xA1, 0xB1, 0x1A, 0xE1, ..] => {
            ("an old Excel workbook (.xls), or one with a password", "Save it as .xlsx without a password, or as CSV.")
        }
        [b'P', b'A', b'R', b'1', ..] => ("a Parquet file", AS_TEXT),
        [b'O', b'b', b'j', 1, ..] => ("an Avro file", AS_TEXT),
        [b'O', b'R', b'C', ..] if head.get(3).is_some_and(|byte| *byte < 0x20) => ("an ORC file", AS_TEXT),
        [b'%', b'P', b'D', b'F', b'-', ..] => ("a PDF document", AS_TEXT),
        _ => return None,
    })
}

/// Takes the file, or the part of one, out of its containers. `scratch` is a folder for what cannot be read as a stream.
pub(super) fn unwrap(
    file: Take<File>,
    is_part: bool,
    scratch: &Path,
    limits: &Limits,
    choice: &DialectChoice,
) -> Result<Unwrapped, DecodeError> {
    let gauge = Arc::new(Gauge::default());
    let mut whole = if is_part { None } else { Some(file.get_ref().try_clone()?) };
    let mut bytes: Box<dyn Read + Send> = Box::new(Counted { file, gauge: Arc::clone(&gauge), delivered: true });
    let mut containers = Vec::new();
    let mut notes = Vec::new();
    let pgp = choice.pgp.as_deref();
    let mut needs_signature = pgp.is_some_and(|pgp| pgp.required);
    loop {
        let head;
        (head, bytes) = peek(bytes).map_err(|error| gauge.judge(error))?;
        let kind = Kind::of(&head);
        let is_message = kind.is_none() && openpgp::is_message(&head);
        if kind.is_none() && !is_message {
            if needs_signature {
                return Err(openpgp::unsigned().into());
            }
            if let Some((what, instead)) = unread(&head) {
                let inside = if containers.is_empty() { "" } else { "In its container, the" };
                let the = if inside.is_empty() { "The" } else { inside };
                return Err(FileFault::new(Code::NotText, format!("{the} file is {what}, not text.")).suggest(instead).into());
            }
            return Ok(Unwrapped { bytes, head, containers, gauge, sheet: false, notes });
        }
        if containers.len() == LAYERS {
            return Err(FileFault::new(Code::CompressionError, format!("The file is packed more than {LAYERS} times over."))
                .suggest("Pack it once.")
                .into());
        }
        let watch = Watch { given: 0, gauge: Arc::clone(&gauge), expansion: limits.expansion, most: limits.file };
        let Some(kind) = kind else {
            let opened = openpgp::open(bytes, pgp, scratch, watch)?;
            containers.push(opened.named);
            notes.extend(opened.note);
            needs_signature = false;
            bytes = Box::new(Counted { file: opened.text.take(u64::MAX), gauge: Arc::clone(&gauge), delivered: false });
            continue;
        };
        let ended = Arc::new(AtomicBool::new(false));
        let inner: Box<dyn Read + Send> = Box::new(Ended { bytes, ended: Arc::clone(&ended) });
        let mut named = kind.name().to_owned();
        let decoder: Box<dyn Read + Send> = match kind {
            Kind::Gzip => Box::new(MultiGzDecoder::new(BufReader::with_capacity(64 << 10, inner))),
            Kind::Bzip2 => Box::new(MultiBzDecoder::new(BufReader::with_capacity(64 << 10, inner))),
            Kind::Snappy => Box::new(snap::read::FrameDecoder::new(inner)),
            Kind::Lz4 => Box::new(lz4::Frames::new(BufReader::with_capacity(64 << 10, inner))),
            Kind::Zlib => Box::new(zlib::Streams::new(BufReader::with_capacity(64 << 10, inner))),
            Kind::Zstd => Box::new(zstd::Frames::new(BufReader::with_capacity(64 << 10, inner))),
            Kind::Zip => {
                let delivered = whole.take().filter(|_| containers.is_empty());
                let is_delivered = delivered.is_some();
                let archive = match delivered {
                    Some(file) => file,
                    None => spooled(inner, scratch, limits).map_err(|error| gauge.judge(error))?,
                };
                if sheet::is_workbook(&archive) {
                    if needs_signature {
                        return Err(openpgp::unsigned().into());
                    }
                    let sheet = sheet::open(archive, choice.sheet.as_deref(), choice.preamble, scratch, limits)?;
                    containers.push(format!("xlsx ({})", sheet.name.escape_debug()));
                    let (head, bytes) = peek(Box::new(sheet.text))?;
                    return Ok(Unwrapped {
                        bytes,
                        head,
                        containers,
                        gauge,
                        sheet: true,
                        notes: notes.into_iter().chain(sheet.notes).collect(),
                    });
                }
                let counted = |file: File| Counted { file: file.take(u64::MAX), gauge: Arc::clone(&gauge), delivered: is_delivered };
                let (name, bytes) = member::open(archive, choice.member.as_deref(), counted)?;
                named = format!("zip ({})", name.escape_debug());
                bytes
            }
        };
        containers.push(named);
        bytes = Box::new(Layer { kind, decoder, ended, watch });
    }
}

/// A zip is read from its end: what is packed once more has to be written down first.
fn spooled(mut bytes: Box<dyn Read + Send>, scratch: &Path, limits: &Limits) -> io::Result<File> {
    let mut file = tempfile::tempfile_in(scratch)?;
    io::copy(&mut (&mut bytes).take(limits.file.saturating_add(1)), &mut file)?;
    Ok(file)
}

fn peek(mut bytes: Box<dyn Read + Send>) -> io::Result<(Vec<u8>, Box<dyn Read + Send>)> {
    let mut head = Vec::with_capacity(HEAD);
    (&mut bytes).take(HEAD as u64).read_to_end(&mut head)?;
    let again = Cursor::new(head.clone()).chain(bytes);
    Ok((head, Box::new(again)))
}

/// How much comes out of one container, and when that is too much.
struct Watch {
    given: u64,
    gauge: Arc<Gauge>,
    expansion: u64,
    most: u64,
}

impl Watch {
    fn count(&mut self, count: usize) -> io::Result<()> {
        self.given += count as u64;
        self.check().map_err(|fault| self.gauge.refuse(fault))
    }

    fn check(&self) -> Result<(), FileFault> {
        if self.given > self.most {
            return Err(FileFault::new(Code::CompressionError, format!("The file decompresses to more than {} bytes.", self.most))
                .suggest("Deliver it in parts, or raise limits.file."));
        }
        let taken = self.gauge.taken.load(Ordering::Relaxed);
        if self.given > EXPANSION_FREE && self.given > taken.saturating_mul(self.expansion) {
            let message = format!("The file expands to more than {} bytes for each compressed byte.", self.expansion);
            return Err(FileFault::new(Code::CompressionError, message)
                .suggest("Raise limits.expansion only if the file is known to be this repetitive."));
        }
        Ok(())
    }
}

/// One container off. Says what is wrong with it, and watches how much comes out of it.
struct Layer {
    kind: Kind,
    decoder: Box<dyn Read + Send>,
    /// Has its input come to an end?
    ended: Arc<AtomicBool>,
    watch: Watch,
}

impl Read for Layer {
    fn read(&mut self, into: &mut [u8]) -> io::Result<usize> {
        match self.decoder.read(into) {
            Ok(count) => self.watch.count(count).map(|()| count),
            Err(error) if error.kind() == io::ErrorKind::Interrupted => Err(error),
            Err(error) => Err(self.watch.gauge.refuse(self.damaged(&error))),
        }
    }
}

impl Layer {
    fn damaged(&self, error: &io::Error) -> FileFault {
        let (name, given) = (self.kind.name(), self.watch.given);
        let is_short = error.kind() == io::ErrorKind::UnexpectedEof || self.ended.load(Ordering::Relaxed);
        let message = if is_short {
            format!("The {name} file is cut short after about {given} bytes of text.")
        } else {
            format!("The {name} file is damaged after about {given} bytes of text ({error}).")
        };
        FileFault::new(Code::CompressionError, message).suggest("Deliver the file again.")
    }
}

/// A layer's input, watched for its end: a decoder that fails there was given too little.
struct Ended {
    bytes: Box<dyn Read + Send>,
    ended: Arc<AtomicBool>,
}

impl Read for Ended {
    fn read(&mut self, into: &mut [u8]) -> io::Result<usize> {
        let count = self.bytes.read(into)?;
        if count == 0 && !into.is_empty() {
            self.ended.store(true, Ordering::Relaxed);
        }
        Ok(count)
    }
}

/// The delivered file, counting what is taken from it.
struct Counted {
    file: Take<File>,
    gauge: Arc<Gauge>,
    /// Is it the delivered file, rather than what came out of it?
    delivered: bool,
}

impl Read for Counted {
    fn read(&mut self, into: &mut [u8]) -> io::Result<usize> {
        let read = self.file.read(into);
        match &read {
            Ok(count) if self.delivered => {
                self.gauge.taken.fetch_add(*count as u64, Ordering::Relaxed);
            }
            Ok(_) => {}
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(_) => self.gauge.failed.store(true, Ordering::Relaxed),
        }
        read
    }
}
