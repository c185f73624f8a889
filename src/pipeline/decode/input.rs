//! Bytes of the spooled file, decompressed, on a thread of their own so that the scanner never waits for a disk or for zlib.

use std::fs::{File, OpenOptions};
use std::io::{self, BufReader, Read, Seek as _, SeekFrom, Take, Write as _};
use std::ops::Range;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::thread::{self, JoinHandle};

use crossbeam_channel::{Receiver, bounded};
use flate2::read::MultiGzDecoder;

use super::fault::{DecodeError, FileFault};
use crate::config::meant::Limits;
use crate::outcome::Code;
use crate::spool::private_file;

/// RFC 1952, section 2.3.1.
pub(super) const GZIP_MAGIC: [u8; 2] = [0x1F, 0x8B];

/// Blocks read ahead of the scanner.
const AHEAD: usize = 4;

/// Small files may be as repetitive as they like: the expansion counts only beyond this many decoded bytes.
const EXPANSION_FREE: u64 = 10 << 20;

/// What the reading thread hands over. The end is said, never inferred from a closed channel: a thread that died is not an end of file.
pub(super) enum Piece {
    Block(Vec<u8>),
    End,
    Failed(DecodeError),
}

pub(super) struct Input {
    pieces: Receiver<Piece>,
    thread: JoinHandle<()>,
    pub compressed: bool,
    /// The decoded text is written beside the delivered bytes.
    pub keeps_text: bool,
}

/// What is read: a spooled file, or a part of one.
pub(super) struct Origin<'a> {
    pub spool: &'a Path,
    /// Of several that are read as one: then its text is appended, so that all of it is in one place.
    pub part: Option<Range<u64>>,
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
    pub fn open(origin: &Origin<'_>, text: &Path, block: usize, limits: &Limits) -> io::Result<Input> {
        let compressed = starts_with(origin.open()?, GZIP_MAGIC)?;
        let file = origin.open()?;
        let keeps_text = compressed || origin.part.is_some();
        let copy = keeps_text.then(|| origin.text(text)).transpose()?;
        let (sender, pieces) = bounded(AHEAD);
        let (expansion, most) = (limits.expansion, limits.file);
        let thread = thread::Builder::new().name("decode".to_owned()).spawn(move || {
            let mut bytes = match copy {
                Some(copy) if compressed => Bytes::compressed(file, copy, expansion, most),
                copy => Bytes::Plain(file, copy),
            };
            loop {
                let piece = match bytes.block(block) {
                    Ok(block) if block.is_empty() => Piece::End,
                    Ok(block) => Piece::Block(block),
                    Err(error) => Piece::Failed(error),
                };
                let last = !matches!(piece, Piece::Block(_));
                // A send fails when the reader was dropped: nobody wants the rest.
                if sender.send(piece).is_err() || last {
                    return;
                }
            }
        })?;
        Ok(Input { pieces, thread, compressed, keeps_text })
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

fn starts_with(file: Take<File>, magic: [u8; 2]) -> io::Result<bool> {
    let mut head = Vec::with_capacity(magic.len());
    file.take(magic.len() as u64).read_to_end(&mut head)?;
    Ok(head == magic)
}

enum Bytes {
    /// And where its text is kept besides.
    Plain(Take<File>, Option<File>),
    Compressed(Box<Compressed>),
}

struct Compressed {
    /// Every member: warehouses concatenate them.
    decoder: MultiGzDecoder<BufReader<Counted>>,
    copy: File,
    taken: Arc<AtomicU64>,
    given: u64,
    expansion: u64,
    most: u64,
}

impl Bytes {
    fn compressed(file: Take<File>, copy: File, expansion: u64, most: u64) -> Bytes {
        let taken = Arc::new(AtomicU64::new(0));
        let counted = Counted { file, taken: Arc::clone(&taken), failed: false };
        Bytes::Compressed(Box::new(Compressed {
            decoder: MultiGzDecoder::new(BufReader::with_capacity(64 << 10, counted)),
            copy,
            taken,
            given: 0,
            expansion,
            most,
        }))
    }

    /// The next block, at most `size` bytes; empty at the end.
    fn block(&mut self, size: usize) -> Result<Vec<u8>, DecodeError> {
        let mut block = Vec::with_capacity(size);
        match self {
            Bytes::Plain(file, copy) => {
                file.take(size as u64).read_to_end(&mut block)?;
                if let Some(copy) = copy {
                    copy.write_all(&block)?;
                }
            }
            Bytes::Compressed(gzip) => gzip.block(size, &mut block)?,
        }
        Ok(block)
    }
}

impl Compressed {
    fn block(&mut self, size: usize, block: &mut Vec<u8>) -> Result<(), DecodeError> {
        if let Err(error) = (&mut self.decoder).take(size as u64).read_to_end(block) {
            // A disk that fails is not the file's fault.
            return Err(if self.decoder.get_ref().get_ref().failed {
                error.into()
            } else {
                damaged(&error, self.given + block.len() as u64).into()
            });
        }
        self.given += block.len() as u64;
        if self.given > self.most {
            return Err(FileFault::new(Code::CompressionError, format!("The file decompresses to more than {} bytes.", self.most))
                .suggest("Deliver it in parts, or raise limits.file.")
                .into());
        }
        let taken = self.taken.load(Ordering::Relaxed);
        if self.given > EXPANSION_FREE && self.given > taken.saturating_mul(self.expansion) {
            return Err(FileFault::new(
                Code::CompressionError,
                format!("The file expands to more than {} bytes for each compressed byte.", self.expansion),
            )
            .suggest("Raise limits.expansion only if the file is known to be this repetitive.")
            .into());
        }
        self.copy.write_all(block)?;
        Ok(())
    }
}

fn damaged(error: &io::Error, given: u64) -> FileFault {
    let message = match error.kind() {
        io::ErrorKind::UnexpectedEof => format!("The gzip file is cut short after about {given} bytes of text."),
        _ => format!("The gzip file is damaged after about {given} bytes of text ({error})."),
    };
    FileFault::new(Code::CompressionError, message).suggest("Deliver the file again.")
}

/// The compressed file, counting what the decoder takes from it.
struct Counted {
    file: Take<File>,
    taken: Arc<AtomicU64>,
    failed: bool,
}

impl Read for Counted {
    fn read(&mut self, into: &mut [u8]) -> io::Result<usize> {
        let read = self.file.read(into);
        match &read {
            Ok(count) => {
                self.taken.fetch_add(*count as u64, Ordering::Relaxed);
            }
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(_) => self.failed = true,
        }
        read
    }
}
