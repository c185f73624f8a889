//! Checksums that senders put beside their files: reading them, and computing the same (contracts/exports.md, section 15).

use bstr::{BStr, BString, ByteSlice};
use md5::Md5;
use sha1::Sha1;
use sha2::{Digest, Sha256, Sha512};

use crate::ledger::delivered::{Algorithm, Checksum};
use crate::spool::hex;

/// The checksums that a text lists, each with the name of its file; none where it stands alone. Lines of other forms are passed over.
pub fn read(text: &[u8]) -> Vec<(Option<BString>, Checksum)> {
    text.lines().filter_map(|line| read_line(line.trim())).collect()
}

fn read_line(line: &[u8]) -> Option<(Option<BString>, Checksum)> {
    // BSD and OpenSSL: `SHA256 (name) = hex`, `SHA2-256(name)= hex`.
    if let Some((head, digits)) = line.rsplit_once_str("=")
        && let Some((word, name)) = head.trim().strip_suffix(b")").and_then(|head| head.split_once_str("("))
        && let Some(algorithm) = algorithm_called(word.trim())
    {
        let checksum = checksum(digits.trim()).filter(|checksum| checksum.algorithm == algorithm)?;
        return Some((Some(last_segment(name)), checksum));
    }
    // coreutils: `hex  name`, `hex *name`; a backslash before it tells of escapes in the name.
    let line = line.strip_prefix(b"\\").unwrap_or(line);
    let end = line.iter().position(u8::is_ascii_whitespace).unwrap_or(line.len());
    let checksum = checksum(&line[..end])?;
    let name = line[end..].trim();
    let name = name.strip_prefix(b"*").unwrap_or(name);
    Some(((!name.is_empty()).then(|| last_segment(name)), checksum))
}

fn last_segment(name: &[u8]) -> BString {
    name.rsplit(|byte| matches!(byte, b'/' | b'\\')).next().unwrap_or_default().into()
}

fn algorithm_called(word: &[u8]) -> Option<Algorithm> {
    match word.to_ascii_uppercase().as_slice() {
        b"MD5" => Some(Algorithm::Md5),
        b"SHA1" | b"SHA-1" => Some(Algorithm::Sha1),
        b"SHA256" | b"SHA-256" | b"SHA2-256" => Some(Algorithm::Sha256),
        b"SHA512" | b"SHA-512" | b"SHA2-512" => Some(Algorithm::Sha512),
        _ => None,
    }
}

/// Which algorithm it is, its length says.
pub fn checksum(digits: &[u8]) -> Option<Checksum> {
    let algorithm = match digits.len() {
        32 => Algorithm::Md5,
        40 => Algorithm::Sha1,
        64 => Algorithm::Sha256,
        128 => Algorithm::Sha512,
        _ => return None,
    };
    let text = digits.to_str().ok()?;
    text.bytes().all(|byte| byte.is_ascii_hexdigit()).then(|| Checksum { algorithm, hex: text.to_ascii_lowercase() })
}

/// The checksum that a text beside a file says of it. Where it stands alone, it is the file's.
pub fn of<'c>(listed: &'c [(Option<BString>, Checksum)], name: &BStr) -> Option<&'c Checksum> {
    let named = listed.iter().find(|(of, _)| of.as_ref().is_some_and(|of| of.as_bstr() == name));
    let alone = || listed.first().filter(|(of, _)| listed.len() == 1 && of.is_none());
    named.or_else(alone).map(|(_, checksum)| checksum)
}

/// Digests bytes on their way.
pub enum Digesting {
    Md5(Md5),
    Sha1(Sha1),
    Sha256(Sha256),
    Sha512(Box<Sha512>),
}

impl Digesting {
    pub fn new(algorithm: Algorithm) -> Digesting {
        match algorithm {
            Algorithm::Md5 => Digesting::Md5(Md5::new()),
            Algorithm::Sha1 => Digesting::Sha1(Sha1::new()),
            Algorithm::Sha256 => Digesting::Sha256(Sha256::new()),
            Algorithm::Sha512 => Digesting::Sha512(Box::default()),
        }
    }

    pub fn update(&mut self, piece: &[u8]) {
        match self {
            Digesting::Md5(hash) => hash.update(piece),
            Digesting::Sha1(hash) => hash.update(piece),
            Digesting::Sha256(hash) => hash.update(piece),
            Digesting::Sha512(hash) => hash.update(piece),
        }
    }

    /// In lower-case hexadecimal digits.
    pub fn finish(self) -> String {
        match self {
            Digesting::Md5(hash) => hex(&hash.finalize()),
            Digesting::Sha1(hash) => hex(&hash.finalize()),
            Digesting::Sha256(hash) => hex(&hash.finalize()),
            Digesting::Sha512(hash) => hex(&hash.finalize()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const MD5: &str = "900150983cd24fb0d6963f7d28e17f72";

    #[test]
    fn the_usual_forms_are_read() {
        for (text, name) in [
            (format!("{MD5}\n"), None),
            (format!("{}  abc.csv\r\n", MD5.to_uppercase()), Some("abc.csv")),
            (format!("{MD5} *./out/abc.csv"), Some("abc.csv")),
            (format!("MD5 (abc.csv) = {MD5}"), Some("abc.csv")),
            (format!("MD5(abc(1).csv)= {MD5}"), Some("abc(1).csv")),
        ] {
            let read = read(text.as_bytes());
            assert_eq!(read, [(name.map(BString::from), checksum(MD5.as_bytes()).unwrap())], "{text}");
        }
        assert_eq!(read(format!("# comment\nSHA256 (abc.csv) = {MD5}\nnonsense  abc.csv\n").as_bytes()), []);
    }

    #[test]
    fn a_lone_checksum_is_of_any_file_and_a_named_one_of_its_own() {
        let lone = read(MD5.as_bytes());
        assert!(of(&lone, "x".into()).is_some());
        let named = read(format!("{MD5}  a\n").as_bytes());
        assert!(of(&named, "a".into()).is_some() && of(&named, "b".into()).is_none());
    }

    #[test]
    fn digests_are_those_of_the_standards() {
        for (algorithm, wanted) in [
            (Algorithm::Md5, MD5),
            (Algorithm::Sha1, "a9993e364706816aba3e25717850c26c9cd0d89d"),
            (Algorithm::Sha256, "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad"),
        ] {
            let mut digesting = Digesting::new(algorithm);
            digesting.update(b"a");
            digesting.update(b"bc");
            assert_eq!(digesting.finish(), wanted);
        }
    }
}
