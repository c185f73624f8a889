//! OpenPGP messages (RFC 9580): how they begin, and what is told of them. A build without the feature `pgp` knows them and opens none.

#[cfg(feature = "pgp")]
mod open;

use std::fs::File;

use super::FileFault;
use crate::outcome::Code;

#[cfg(feature = "pgp")]
pub(super) use open::open;

const ARMOR: &[u8] = b"-----BEGIN PGP MESSAGE";
const CLEARTEXT: &[u8] = b"-----BEGIN PGP SIGNED MESSAGE";

/// Does a file begin as an OpenPGP message does? In binary, by the header of its first packet and the version inside it, which is no
/// letter in any character set (RFC 9580 sections 4.2 and 5).
pub(super) fn is_message(head: &[u8]) -> bool {
    let text = head.trim_ascii_start();
    if text.starts_with(ARMOR) || text.starts_with(CLEARTEXT) {
        return true;
    }
    let Some((&first, rest)) = head.split_first() else { return false };
    let (tag, length) = match (first, rest) {
        (0xC0..=0xFF, [0..=191 | 224..=254, ..]) => (first & 0x3F, 1),
        (0xC0..=0xFF, [192..=223, _, ..]) => (first & 0x3F, 2),
        (0xC0..=0xFF, [255, _, _, _, _, ..]) => (first & 0x3F, 5),
        (0x80..=0xBF, _) => ((first >> 2) & 0x0F, [1, 2, 4, 0][usize::from(first & 3)]),
        _ => return false,
    };
    matches!(
        (tag, rest.get(length), rest.get(length + 1)),
        // A session key, for a key and for a passphrase; a one-pass signature, and one before its message; compressed data; integrity-protected data.
        (1 | 4, Some(3 | 6), _) | (3, Some(4..=6), _) | (2, Some(4 | 6), Some(0 | 1)) | (8, Some(0..=3), _) | (18, Some(1 | 2), _)
    )
}

/// What came out of a message, in a scratch file at its start.
pub(super) struct Opened {
    pub text: File,
    /// In words, for the report.
    pub named: String,
    pub note: Option<String>,
}

/// The fault of a file without a signature, where one is required.
pub(super) fn unsigned() -> FileFault {
    FileFault::new(Code::SignatureError, "The file is not signed, and the feed takes signed files only.")
        .suggest("Sign it (gpg --sign --encrypt) with a key that pgp.signed_by names.")
}

/// Nothing of OpenPGP is in this build.
#[cfg(not(feature = "pgp"))]
pub(super) fn open(
    _: Box<dyn std::io::Read + Send>,
    _: Option<&crate::config::meant::Pgp>,
    _: &std::path::Path,
    _: super::Watch,
) -> Result<Opened, super::DecodeError> {
    Err(FileFault::new(Code::DecryptionError, "The file is in OpenPGP, and this passferry was built without it.")
        .suggest("Use a build with the Cargo feature pgp, or deliver the file in plain text.")
        .into())
}

#[cfg(test)]
mod tests {
    use super::is_message;

    #[test]
    fn messages_are_told_from_text() {
        for head in [
            &b"\n-----BEGIN PGP MESSAGE-----\n"[..],
            b"-----BEGIN PGP SIGNED MESSAGE-----",
            b"\x85\x01\x0C\x03\xAB\xCD",
            b"\x84\x5E\x03\xAB\xCD",
            b"\xC1\x5E\x03\xAB\xCD",
            b"\xC1\xC0\x4C\x03\xAB",
            b"\x8C\x0D\x04\x09\x03",
            b"\xC3\x0D\x04\x09\x03",
            b"\xA3\x01\x5B",
            b"\xA3\x02\x78",
            b"\x90\x0D\x03\x00\x0A",
            b"\xD2\xC0\x43\x01\xAB",
        ] {
            assert!(is_message(head), "{}", head.escape_ascii());
        }
        for head in [
            &b""[..],
            b"\xC1",
            b"id,points\n",
            "é,points\n".as_bytes(),
            "ä;b\r\n".as_bytes(),
            "\u{feff}id,points\n".as_bytes(),
            "会員,ポイント\n".as_bytes(),
            b"\xC4nderung;Punkte\n",
            b"\xA3;points\n",
            b"\xFF\xFEi\0d\0",
            b"\x89\x95\x88\xF5,points\n",
            b"-----BEGIN PGP PUBLIC KEY BLOCK-----",
        ] {
            assert!(!is_message(head), "{}", head.escape_ascii());
        }
    }
}
