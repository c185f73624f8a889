//! A run's input, open: one file, or several that are read as one.

use std::path::Path;

use super::{Chunk, Chunks, DecodeError, Dialect, Facts, Header, Reader, Series};

pub enum Opened<'p> {
    One(Box<Reader>),
    Set(Box<Series<'p>>),
}

impl Opened<'_> {
    pub fn dialect(&self) -> &Dialect {
        match self {
            Opened::One(reader) => reader.dialect(),
            Opened::Set(series) => series.dialect(),
        }
    }

    pub fn header(&self) -> Option<&Header> {
        match self {
            Opened::One(reader) => reader.header(),
            Opened::Set(series) => series.header(),
        }
    }

    /// What a person should know of how it was read.
    pub fn notes(&self) -> &[String] {
        match self {
            Opened::One(reader) => reader.notes(),
            Opened::Set(series) => series.notes(),
        }
    }

    /// The file that [`super::Record::offset`] is a place of.
    pub fn text_path(&self) -> &Path {
        match self {
            Opened::One(reader) => reader.text_path(),
            Opened::Set(series) => series.text_path(),
        }
    }
}

impl Chunks for Opened<'_> {
    fn next_chunk(&mut self) -> Result<Option<Chunk>, DecodeError> {
        match self {
            Opened::One(reader) => reader.next_chunk(),
            Opened::Set(series) => series.next_chunk(),
        }
    }

    fn finish(self) -> Facts {
        match self {
            Opened::One(reader) => reader.finish(),
            Opened::Set(series) => series.finish(),
        }
    }
}
