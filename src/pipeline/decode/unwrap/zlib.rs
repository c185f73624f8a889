//! zlib streams, one behind another: Spark's and Hadoop's `deflate` (RFC 1950).

use std::io::{self, BufRead, Read};

use flate2::{Decompress, FlushDecompress, Status};

use super::HEAD;

/// What is unpacked of a head to see whether it is such a stream.
const TRIAL: usize = 64 << 10;

/// Is this the head of one? Its two bytes may begin a text of one byte a letter as well; no text has what follows them.
pub(super) fn is_stream(head: &[u8]) -> bool {
    let [0x78, 0x01 | 0x9C | 0xDA, rest @ ..] = head else { return false };
    let is_control = |byte: &u8| *byte < b' ' && !matches!(byte, b'\t' | b'\n' | b'\r');
    head[1] == 0x01 || rest.iter().any(is_control) || {
        let mut text = vec![0; TRIAL];
        let tried = Decompress::new(true).decompress(head, &mut text, FlushDecompress::None);
        // A few letters are easily the start of a stream, and hardly ever a whole one.
        tried.is_ok_and(|status| status == Status::StreamEnd || head.len() == HEAD)
    }
}

pub(super) struct Streams<R> {
    source: R,
    state: Decompress,
    in_stream: bool,
}

impl<R: BufRead> Streams<R> {
    pub fn new(source: R) -> Streams<R> {
        Streams { source, state: Decompress::new(true), in_stream: false }
    }
}

impl<R: BufRead> Read for Streams<R> {
    fn read(&mut self, into: &mut [u8]) -> io::Result<usize> {
        loop {
            let bytes = self.source.fill_buf()?;
            let is_end = bytes.is_empty();
            if into.is_empty() || (is_end && !self.in_stream) {
                return Ok(0);
            }
            let (taken, given) = (self.state.total_in(), self.state.total_out());
            let status = self.state.decompress(bytes, into, FlushDecompress::None).map_err(io::Error::other)?;
            let (taken, given) = (self.state.total_in() - taken, self.state.total_out() - given);
            self.source.consume(taken as usize);
            self.in_stream = true;
            if status == Status::StreamEnd {
                self.state.reset(true);
                self.in_stream = false;
            }
            match (given, taken) {
                (0, 0) if is_end && self.in_stream => return Err(io::ErrorKind::UnexpectedEof.into()),
                (0, 0) if self.in_stream => return Err(io::Error::other("it does not go on")),
                (0, _) => {}
                (given, _) => return Ok(given as usize),
            }
        }
    }
}
