//! LZ4's frame format (LZ4 Frame Format Description 1.6.3), frame by frame: `lz4 -m` and parallel tools write several, and frames between
//! may hold no data.

use std::io::{self, Read};

use lz4_flex::frame::FrameDecoder;

/// First bytes of a frame.
pub(super) const MAGIC: [u8; 4] = [0x04, 0x22, 0x4D, 0x18];

pub(super) struct Frames<R: Read> {
    /// Gone once something was wrong.
    at: Option<At<R>>,
}

enum At<R: Read> {
    Between(R),
    Inside(FrameDecoder<Frame<R>>),
}

/// What a decoder reads: its frame, the first bytes of which were looked at.
struct Frame<R> {
    first: &'static [u8],
    source: R,
    /// The library takes an end of the file inside a frame for the frame's own: whether it met one has to be known.
    ended: bool,
}

impl<R: Read> Read for Frame<R> {
    fn read(&mut self, into: &mut [u8]) -> io::Result<usize> {
        if !self.first.is_empty() {
            return self.first.read(into);
        }
        let count = self.source.read(into)?;
        self.ended |= count == 0 && !into.is_empty();
        Ok(count)
    }
}

impl<R: Read> Frames<R> {
    pub fn new(source: R) -> Frames<R> {
        Frames { at: Some(At::Between(source)) }
    }
}

/// Begins the next frame with data, in a decoder of its own, since its blocks may be of another size; nothing at the end.
fn begin<R: Read>(mut source: R) -> io::Result<Option<FrameDecoder<Frame<R>>>> {
    loop {
        let mut first = Vec::with_capacity(MAGIC.len());
        (&mut source).take(MAGIC.len() as u64).read_to_end(&mut first)?;
        match first[..] {
            [] => return Ok(None),
            _ if first == MAGIC => return Ok(Some(FrameDecoder::new(Frame { first: &MAGIC, source, ended: false }))),
            [0x50..=0x5F, 0x2A, 0x4D, 0x18] => {
                let mut length = [0; 4];
                source.read_exact(&mut length)?;
                let length = u64::from(u32::from_le_bytes(length));
                if io::copy(&mut (&mut source).take(length), &mut io::sink())? < length {
                    return Err(io::ErrorKind::UnexpectedEof.into());
                }
            }
            _ if first.len() < MAGIC.len() => return Err(io::ErrorKind::UnexpectedEof.into()),
            _ => return Err(io::Error::other("something else follows a frame")),
        }
    }
}

impl<R: Read> Read for Frames<R> {
    fn read(&mut self, into: &mut [u8]) -> io::Result<usize> {
        if into.is_empty() {
            return Ok(0);
        }
        loop {
            let mut decoder = match self.at.take() {
                Some(At::Inside(decoder)) => decoder,
                Some(At::Between(source)) => match begin(source)? {
                    Some(decoder) => decoder,
                    None => return Ok(0),
                },
                None => return Ok(0),
            };
            match decoder.read(into)? {
                0 if decoder.get_ref().ended => return Err(io::ErrorKind::UnexpectedEof.into()),
                0 => self.at = Some(At::Between(decoder.into_inner().source)),
                count => {
                    self.at = Some(At::Inside(decoder));
                    return Ok(count);
                }
            }
        }
    }
}
