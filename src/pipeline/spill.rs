//! Entries sorted into partitions by key, in memory while they are few and on disk when they are many.
//!
//! Comparing a file with itself and with the ledger needs every key of the file. Kept in one map, memory would grow with the file;
//! partitions are looked at one at a time, each small enough for the processor's cache.

use std::fs::File;
use std::io;
use std::os::unix::fs::FileExt;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};

pub const PARTITIONS: usize = 256;

/// Bytes that all buffers together hold back at most, about.
const BUFFERED: usize = 8 << 20;

pub struct Spill {
    file: File,
    end: AtomicU64,
    /// Bytes that a buffer holds back before it is written out.
    buffer: usize,
    /// Those that are not lent. As many as ever wrote at once.
    hands: Mutex<Vec<Hand>>,
}

/// Buffers of one writer: threads that shared them would wait for each other's cache lines at every entry.
#[derive(Default)]
struct Hand {
    parts: Vec<Part>,
}

#[derive(Clone, Default)]
struct Part {
    buffer: Vec<u8>,
    /// Offset and length of what was written out.
    blocks: Vec<(u64, u32)>,
}

impl Spill {
    /// `file` is scratch space that nobody else uses. Memory is shared out between so many writers.
    pub fn new(file: File, writers: usize) -> Spill {
        let buffer = BUFFERED / PARTITIONS / writers.max(1);
        Spill { file, end: AtomicU64::new(0), buffer: buffer.max(1 << 10), hands: Mutex::default() }
    }

    /// Begins to write. Entries are there for [`Spill::load`] once the writer is dropped.
    pub fn writer(&self) -> Writer<'_> {
        let hand = self.hands().pop().unwrap_or_else(|| Hand { parts: vec![Part::default(); PARTITIONS] });
        Writer { spill: self, hand }
    }

    fn hands(&self) -> MutexGuard<'_, Vec<Hand>> {
        self.hands.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// All entries of a partition, in no particular order.
    pub fn load(&self, partition: usize) -> io::Result<Vec<u8>> {
        let (mut blocks, mut buffered) = (Vec::new(), Vec::new());
        for hand in self.hands().iter() {
            blocks.extend_from_slice(&hand.parts[partition].blocks);
            buffered.extend_from_slice(&hand.parts[partition].buffer);
        }
        let written: usize = blocks.iter().map(|&(_, length)| length as usize).sum();
        let mut bytes = Vec::with_capacity(written + buffered.len());
        bytes.resize(written, 0);
        let mut at = 0;
        for (offset, length) in blocks {
            self.file.read_exact_at(&mut bytes[at..at + length as usize], offset)?;
            at += length as usize;
        }
        bytes.append(&mut buffered);
        Ok(bytes)
    }
}

/// Appends entries.
pub struct Writer<'s> {
    spill: &'s Spill,
    hand: Hand,
}

impl Writer<'_> {
    /// Appends an entry; `write` puts its bytes, which `load` gives back in one piece.
    pub fn push(&mut self, partition: usize, write: impl FnOnce(&mut Vec<u8>)) -> io::Result<()> {
        let part = &mut self.hand.parts[partition];
        write(&mut part.buffer);
        if part.buffer.len() >= self.spill.buffer {
            let length = part.buffer.len();
            let offset = self.spill.end.fetch_add(length as u64, Ordering::Relaxed);
            self.spill.file.write_all_at(&part.buffer, offset)?;
            part.blocks.push((offset, length as u32));
            part.buffer.clear();
        }
        Ok(())
    }
}

impl Drop for Writer<'_> {
    fn drop(&mut self) {
        self.spill.hands().push(std::mem::take(&mut self.hand));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_goes_in_comes_out_once() {
        let spill = Spill::new(tempfile::tempfile().unwrap(), 8);
        let (mut one, mut other) = (spill.writer(), spill.writer());
        for n in 0..600_000u32 {
            let writer = if n % 7 == 0 { &mut one } else { &mut other };
            writer.push(n as usize % PARTITIONS, |out| out.extend_from_slice(&n.to_le_bytes())).unwrap();
        }
        drop(one);
        spill.writer().push(3, |out| out.extend_from_slice(&600_000u32.to_le_bytes())).unwrap();
        drop(other);
        assert!(spill.end.load(Ordering::Relaxed) > 0, "something was written out");
        let mut all: Vec<u32> = (0..PARTITIONS)
            .flat_map(|p| spill.load(p).unwrap().chunks_exact(4).map(|b| u32::from_le_bytes(b.try_into().unwrap())).collect::<Vec<_>>())
            .collect();
        all.sort_unstable();
        assert!(all.into_iter().eq(0..=600_000));
    }
}
