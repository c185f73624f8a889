//! Entries sorted into partitions by key, in memory while they are few and on disk when they are many.
//!
//! Comparing a file with itself and with the ledger needs every key of the file. Kept in one map, memory would grow with the file;
//! partitions are looked at one at a time, each small enough for the processor's cache.

use std::fs::File;
use std::io;
use std::os::unix::fs::FileExt;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Mutex, PoisonError};

pub const PARTITIONS: usize = 256;

/// Bytes a partition holds back before it is written out; all partitions together stay below 8 MiB.
const BUFFER: usize = 32 << 10;

pub struct Spill {
    file: File,
    end: AtomicU64,
    parts: Vec<Mutex<Part>>,
}

#[derive(Default)]
struct Part {
    buffer: Vec<u8>,
    /// Offset and length of what was written out.
    blocks: Vec<(u64, u32)>,
}

impl Spill {
    /// `file` is scratch space that nobody else uses.
    pub fn new(file: File) -> Spill {
        Spill { file, end: AtomicU64::new(0), parts: (0..PARTITIONS).map(|_| Mutex::default()).collect() }
    }

    /// Appends an entry; `write` puts its bytes, which `load` gives back in one piece.
    pub fn push(&self, partition: usize, write: impl FnOnce(&mut Vec<u8>)) -> io::Result<()> {
        let mut part = self.parts[partition].lock().unwrap_or_else(PoisonError::into_inner);
        write(&mut part.buffer);
        if part.buffer.len() >= BUFFER {
            let length = part.buffer.len();
            let offset = self.end.fetch_add(length as u64, Ordering::Relaxed);
            self.file.write_all_at(&part.buffer, offset)?;
            part.blocks.push((offset, length as u32));
            part.buffer.clear();
        }
        Ok(())
    }

    /// All entries of a partition, in no particular order.
    pub fn load(&self, partition: usize) -> io::Result<Vec<u8>> {
        let part = self.parts[partition].lock().unwrap_or_else(PoisonError::into_inner);
        let written: usize = part.blocks.iter().map(|&(_, length)| length as usize).sum();
        let mut bytes = vec![0; written];
        let mut at = 0;
        for &(offset, length) in &part.blocks {
            self.file.read_exact_at(&mut bytes[at..at + length as usize], offset)?;
            at += length as usize;
        }
        bytes.extend_from_slice(&part.buffer);
        Ok(bytes)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_goes_in_comes_out_once() {
        let spill = Spill::new(tempfile::tempfile().unwrap());
        for n in 0..100_000u32 {
            spill.push(n as usize % PARTITIONS, |out| out.extend_from_slice(&n.to_le_bytes())).unwrap();
        }
        let mut all: Vec<u32> = (0..PARTITIONS)
            .flat_map(|p| spill.load(p).unwrap().chunks_exact(4).map(|b| u32::from_le_bytes(b.try_into().unwrap())).collect::<Vec<_>>())
            .collect();
        all.sort_unstable();
        assert!(all.into_iter().eq(0..100_000));
    }
}
