//! Character sets, strictly: what a declared set does not hold is found with its place, and nothing is ever replaced.

use encoding_rs::{DecoderResult, Encoding, UTF_8, UTF_16BE, UTF_16LE, WINDOWS_1252};

/// Bytes that a malformed sequence may reach back over the pieces in which a text is decoded.
const REACH: usize = 8;

/// A character set that files are written in.
///
/// Names are those of the IANA register, as the web reads them, with one difference: where the web takes a name for a larger set
/// (`iso-8859-1` for windows-1252, `iso-8859-9`, `iso-8859-11`, `us-ascii`), the bytes that only the larger one holds are refused here.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Charset {
    encoding: &'static Encoding,
    name: &'static str,
    refused: Refused,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Refused {
    /// Control characters from U+0080 to U+009F: no export holds them, and most are bytes of another set.
    Controls,
    /// Bytes from 0x80 to 0x9F, where the set's name means control characters and the decoder's letters.
    High,
    /// Bytes from 0x80.
    NotAscii,
}

/// Bytes that are no letter of their set.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct BadSequence {
    /// Of the first, in the unpacked file, from 0.
    pub offset: u64,
    pub bytes: Vec<u8>,
    pub charset: Charset,
}

impl Charset {
    pub const UTF_8: Charset = Charset { encoding: UTF_8, name: "UTF-8", refused: Refused::Controls };
    pub const UTF_16LE: Charset = Charset { encoding: UTF_16LE, name: "UTF-16LE", refused: Refused::Controls };
    pub const UTF_16BE: Charset = Charset { encoding: UTF_16BE, name: "UTF-16BE", refused: Refused::Controls };
    pub const WINDOWS_1252: Charset = Charset { encoding: WINDOWS_1252, name: "windows-1252", refused: Refused::Controls };

    /// Those that exporters write most, for messages.
    pub const USUAL: [&str; 7] = ["utf-8", "utf-16le", "utf-16be", "windows-1252", "iso-8859-1", "iso-8859-15", "shift_jis"];

    /// By its name, whatever its case. `utf-16` alone does not say in which order its bytes are.
    pub fn parse(label: &str) -> Result<Charset, String> {
        let plain: String = label.trim().to_ascii_lowercase().replace('_', "-");
        let named = |name, refused| Ok(Charset { encoding: WINDOWS_1252, name, refused });
        match plain.as_str() {
            "utf-16" | "utf16" | "unicode" | "ucs-2" => {
                return Err("does not say in which order its bytes are; write \"utf-16le\" or \"utf-16be\", or leave it out where files \
                            begin with a byte-order mark"
                    .to_owned());
            }
            "ascii" | "us-ascii" | "ansi-x3.4-1968" | "iso646-us" => return named("US-ASCII", Refused::NotAscii),
            "iso-8859-1" | "iso8859-1" | "iso88591" | "latin1" | "latin-1" | "l1" => return named("ISO-8859-1", Refused::High),
            _ => {}
        }
        let encoding =
            Encoding::for_label_no_replacement(label.trim().as_bytes()).filter(|encoding| encoding.name() != "x-user-defined").ok_or_else(
                || format!("is not a character set; write such as {}", Charset::USUAL.map(|name| format!("\"{name}\"")).join(", ")),
            )?;
        Ok(match (encoding.name(), plain.as_str()) {
            ("UTF-8", _) => Charset::UTF_8,
            ("windows-1254", "iso-8859-9" | "iso8859-9" | "iso88599" | "latin5" | "l5") => {
                Charset { encoding, name: "ISO-8859-9", refused: Refused::High }
            }
            ("windows-874", "iso-8859-11" | "iso8859-11" | "iso885911" | "tis-620") => {
                Charset { encoding, name: "ISO-8859-11", refused: Refused::High }
            }
            (name, _) => Charset { encoding, name, refused: Refused::Controls },
        })
    }

    pub const fn name(self) -> &'static str {
        self.name
    }

    pub fn is_utf_8(self) -> bool {
        self == Charset::UTF_8
    }

    /// The set that a byte-order mark at the start names.
    pub fn of_mark(head: &[u8]) -> Option<Charset> {
        match head {
            [0xEF, 0xBB, 0xBF, ..] => Some(Charset::UTF_8),
            [0xFF, 0xFE, ..] => Some(Charset::UTF_16LE),
            [0xFE, 0xFF, ..] => Some(Charset::UTF_16BE),
            _ => None,
        }
    }

    /// Appends a text in this set; the letter that it has not is the error.
    pub fn encode(self, text: &str, into: &mut Vec<u8>) -> Result<(), char> {
        if self.is_utf_8() {
            into.extend_from_slice(text.as_bytes());
            return Ok(());
        }
        // What is written as UTF-8 for the web's sake is no use to who asked for UTF-16.
        if self.encoding == UTF_16LE {
            into.extend(text.encode_utf16().flat_map(u16::to_le_bytes));
            return Ok(());
        }
        if self.encoding == UTF_16BE {
            into.extend(text.encode_utf16().flat_map(u16::to_be_bytes));
            return Ok(());
        }
        let (bytes, _, lost) = self.encoding.encode(text);
        let refused = self.refused_bytes();
        if lost || bytes.iter().any(|&byte| refused[byte as usize]) {
            return Err(text.chars().find(|&letter| !self.has(letter)).unwrap_or('\u{fffd}'));
        }
        into.extend_from_slice(&bytes);
        Ok(())
    }

    /// Is this letter in the set?
    pub fn has(self, letter: char) -> bool {
        if self.encoding == UTF_8 || self.encoding == UTF_16LE || self.encoding == UTF_16BE {
            return true;
        }
        let mut buffer = [0; 4];
        let (bytes, _, lost) = self.encoding.encode(letter.encode_utf8(&mut buffer));
        let refused = self.refused_bytes();
        !lost && !bytes.iter().any(|&byte| refused[byte as usize])
    }

    /// The letter that one byte is, where each is one.
    pub fn letter(self, byte: u8) -> Option<char> {
        if !self.encoding.is_single_byte() || self.refused_bytes()[byte as usize] {
            return None;
        }
        let bytes = [byte];
        let text = self.encoding.decode_without_bom_handling_and_without_replacement(&bytes)?;
        text.chars().next()
    }

    fn refused_bytes(self) -> [bool; 256] {
        let mut refused = [false; 256];
        for (byte, refused) in (0_u8..=255).zip(&mut refused) {
            *refused = match self.refused {
                Refused::NotAscii => byte >= 0x80,
                Refused::High => (0x80..0xA0).contains(&byte),
                Refused::Controls if self.encoding.is_single_byte() => {
                    let bytes = [byte];
                    let text = self.encoding.decode_without_bom_handling_and_without_replacement(&bytes);
                    text.is_some_and(|text| text.chars().any(|letter| ('\u{80}'..='\u{9f}').contains(&letter)))
                }
                Refused::Controls => false,
            };
        }
        refused
    }

    pub fn decoder(self) -> Decoder {
        let refused = self.encoding.is_single_byte().then(|| Box::new(self.refused_bytes()));
        Decoder { charset: self, inner: self.encoding.new_decoder_without_bom_handling(), refused, taken: 0, tail: Vec::new() }
    }
}

/// Bytes of one set into text, piece by piece. A byte-order mark comes out as the letter U+FEFF.
pub struct Decoder {
    charset: Charset,
    inner: encoding_rs::Decoder,
    refused: Option<Box<[bool; 256]>>,
    /// Bytes decoded so far.
    taken: u64,
    /// The last of them.
    tail: Vec<u8>,
}

impl Decoder {
    /// Appends the text of the next bytes; what stands before a bad one is appended too. `last` says that nothing follows.
    pub fn decode(&mut self, bytes: &[u8], last: bool, into: &mut String) -> Result<(), BadSequence> {
        let refused = self.refused.as_ref().and_then(|refused| bytes.iter().position(|&byte| refused[byte as usize]));
        let good = &bytes[..refused.unwrap_or(bytes.len())];
        self.decode_good(good, last && refused.is_none(), into)?;
        match refused {
            None => Ok(()),
            Some(at) => Err(BadSequence { offset: self.taken, bytes: vec![bytes[at]], charset: self.charset }),
        }
    }

    fn decode_good(&mut self, bytes: &[u8], last: bool, into: &mut String) -> Result<(), BadSequence> {
        into.reserve(self.inner.max_utf8_buffer_length_without_replacement(bytes.len()).unwrap_or(bytes.len() * 3 + 16));
        let (result, read) = self.inner.decode_to_string_without_replacement(bytes, into, last);
        if let DecoderResult::Malformed(length, after) = result {
            let back = usize::from(length) + usize::from(after);
            let mut seen = std::mem::take(&mut self.tail);
            seen.extend_from_slice(&bytes[..read]);
            let start = seen.len().saturating_sub(back);
            let bad = seen[start..].iter().copied().take(usize::from(length)).collect();
            return Err(BadSequence { offset: (self.taken + read as u64).saturating_sub(back as u64), bytes: bad, charset: self.charset });
        }
        self.taken += bytes.len() as u64;
        self.tail.extend_from_slice(&bytes[bytes.len().saturating_sub(REACH)..]);
        let excess = self.tail.len().saturating_sub(REACH);
        self.tail.drain(..excess);
        Ok(())
    }
}

impl BadSequence {
    /// What is wrong, and what usually causes it.
    pub fn words(&self) -> (String, String) {
        let shown: Vec<String> = self.bytes.iter().map(|byte| format!("0x{byte:02X}")).collect();
        let (what, verb) = if shown.len() == 1 { ("Byte", "is") } else { ("Bytes", "are") };
        let message = format!("{what} {} at offset {} {verb} not {}.", shown.join(" "), self.offset, self.charset.name);
        let other = self.bytes.first().and_then(|&byte| Some((byte, Charset::WINDOWS_1252.letter(byte)?)));
        let suggestion = match other {
            Some((byte, letter)) if self.charset.is_utf_8() => format!(
                "Export the file as UTF-8. 0x{byte:02X} is `{letter}` in windows-1252, which Excel's \"CSV\" and older tools write: if all \
                 letters come out right with it, set dialect.encoding = \"windows-1252\"."
            ),
            None if self.charset.is_utf_8() => "Export the file as UTF-8, or name its character set in dialect.encoding.".to_owned(),
            Some((byte, letter)) if self.charset.refused == Refused::High && letter.len_utf8() > 1 => format!(
                "0x{byte:02X} is a control character there and `{letter}` in windows-1252, which many tools call by this name: set \
                 dialect.encoding = \"windows-1252\"."
            ),
            _ if self.charset.encoding == UTF_16LE || self.charset.encoding == UTF_16BE => {
                "The file may be cut short, or be joined from parts of which one is in another character set.".to_owned()
            }
            _ => "Look at that place: the file may be in another character set, or joined from parts in two.".to_owned(),
        };
        (message, suggestion)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn decode(label: &str, bytes: &[u8], piece: usize) -> Result<String, BadSequence> {
        let mut decoder = Charset::parse(label).unwrap().decoder();
        let mut text = String::new();
        let mut pieces = bytes.chunks(piece).peekable();
        while let Some(next) = pieces.next() {
            decoder.decode(next, pieces.peek().is_none(), &mut text)?;
        }
        Ok(text)
    }

    #[test]
    fn letters_of_many_sets_are_read_whatever_the_pieces() {
        let samples: [(&str, &[u8], &str); 9] = [
            ("windows-1252", b"Zo\xEB \x80", "Zoë €"),
            ("ISO-8859-1", b"Zo\xEB \xA4", "Zoë ¤"),
            ("iso-8859-15", b"Zo\xEB \xA4", "Zoë €"),
            ("utf-16le", b"a\0\xAC\x20=\xD8\x00\xDE", "a€😀"),
            ("utf-16be", b"\0a\x20\xAC\xD8=\xDE\x00", "a€😀"),
            ("Shift_JIS", b"\x83\x7C\x83\x43\x83\x93\x83\x67", "ポイント"),
            ("gb18030", b"\xBB\xFD\xB7\xD6", "积分"),
            ("euc-kr", b"\xC6\xF7\xC0\xCE\xC6\xAE", "포인트"),
            ("koi8-r", b"\xC2\xC1\xCC\xCC", "балл"),
        ];
        for (label, bytes, text) in samples {
            for piece in 1..=bytes.len() {
                assert_eq!(decode(label, bytes, piece).as_deref(), Ok(text), "{label} by {piece}");
            }
            let mut again = Vec::new();
            Charset::parse(label).unwrap().encode(text, &mut again).unwrap();
            assert_eq!(again, bytes, "{label}");
        }
    }

    #[test]
    fn what_a_set_does_not_hold_is_found_with_its_place() {
        let bad = |label: &str, bytes: &[u8]| {
            let found: Vec<(u64, Vec<u8>)> =
                (1..=bytes.len()).map(|piece| decode(label, bytes, piece).unwrap_err()).map(|bad| (bad.offset, bad.bytes)).collect();
            assert!(found.windows(2).all(|pair| pair[0] == pair[1]), "{label}: {found:?}");
            found[0].clone()
        };
        assert_eq!(bad("windows-1252", b"ab\x81c"), (2, vec![0x81]));
        assert_eq!(bad("iso-8859-1", b"a\xE9\x80"), (2, vec![0x80]));
        assert_eq!(bad("us-ascii", b"abc\xE9"), (3, vec![0xE9]));
        assert_eq!(bad("utf-16le", b"a\0\x3D\xD8b\0"), (2, vec![0x3D, 0xD8]));
        assert_eq!(bad("utf-16le", b"a\0b"), (2, vec![b'b']));
        assert_eq!(bad("shift_jis", b"a\x83\x7Cb\x83"), (4, vec![0x83]));
        assert_eq!(bad("iso-8859-15", b"a\x85b"), (1, vec![0x85]));
    }

    #[test]
    fn what_cannot_be_written_is_named() {
        let encode = |label: &str, text: &str| Charset::parse(label).unwrap().encode(text, &mut Vec::new());
        assert_eq!(encode("iso-8859-1", "5 €"), Err('€'));
        assert_eq!(encode("windows-1252", "5 € ポ"), Err('ポ'));
        assert_eq!(encode("us-ascii", "é"), Err('é'));
        assert_eq!(encode("windows-1252", "5 €"), Ok(()));
    }

    #[test]
    fn names_that_say_too_little_or_nothing_are_refused() {
        for label in ["utf-16", "x-user-defined", "replacement", "klingon", ""] {
            assert!(Charset::parse(label).is_err(), "{label}");
        }
        assert_eq!(Charset::parse(" LATIN1 ").unwrap().name(), "ISO-8859-1");
        assert_eq!(Charset::parse("cp1252").unwrap().name(), "windows-1252");
        assert_eq!(Charset::parse("utf8").unwrap(), Charset::UTF_8);
    }
}
