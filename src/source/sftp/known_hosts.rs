//! Reads OpenSSH's `known_hosts` (sshd(8), "`SSH_KNOWN_HOSTS` FILE FORMAT").
//!
//! libssh2's own reader ignores `@revoked` and patterns, refuses a whole file for one odd line, and calls a known host changed when the
//! server prefers a key of another type. So the lines are matched here, and the types they name decide what is negotiated.

use std::path::{Path, PathBuf};

use openssl::base64;
use openssl::hash::MessageDigest;
use openssl::pkey::PKey;
use openssl::sign::Signer;

/// A public key as it travels: type name and blob.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct KnownKey {
    pub blob: Vec<u8>,
    /// 1-based line of the file.
    pub line: usize,
}

impl KnownKey {
    /// The name of the key's type, as its blob says.
    pub fn kind(&self) -> &str {
        blob_kind(&self.blob).unwrap_or("unknown")
    }
}

/// What a file says about one server.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct KnownHosts {
    pub path: PathBuf,
    pub keys: Vec<KnownKey>,
    pub revoked: Vec<KnownKey>,
    /// A certificate authority is named for this server. Host certificates are not taken, so this only explains a refusal.
    pub authority: bool,
    /// Lines that could not be understood; they count for nothing.
    pub skipped: Vec<usize>,
}

impl KnownHosts {
    /// Fails when the file cannot be read; single lines never fail it.
    pub fn load(path: &Path, host: &str, port: u16) -> std::io::Result<KnownHosts> {
        Ok(KnownHosts { path: path.to_owned(), ..parse(&std::fs::read(path)?, host, port) })
    }
}

/// The type name at the head of a public key blob (RFC 4253 section 6.6).
pub fn blob_kind(blob: &[u8]) -> Option<&str> {
    let (length, rest) = blob.split_first_chunk::<4>()?;
    let length = usize::try_from(u32::from_be_bytes(*length)).ok()?;
    std::str::from_utf8(rest.get(..length)?).ok().filter(|kind| !kind.is_empty())
}

/// The name OpenSSH gives a server in the file.
pub fn host_name(host: &str, port: u16) -> String {
    let host = host.to_ascii_lowercase();
    if port == 22 { host } else { format!("[{host}]:{port}") }
}

fn parse(text: &[u8], host: &str, port: u16) -> KnownHosts {
    let exact = host_name(host, port);
    // Like OpenSSH, a line without a port stands for every port, if no line names this one.
    let bare = host_name(host, 22);
    let mut found = KnownHosts::default();
    let mut of_any_port = Vec::new();
    for (index, line) in text.split(|&byte| byte == b'\n').enumerate() {
        let number = index + 1;
        let line = line.trim_ascii();
        if line.is_empty() || line.starts_with(b"#") {
            continue;
        }
        let Some(line) = std::str::from_utf8(line).ok().and_then(Line::parse) else {
            found.skipped.push(number);
            continue;
        };
        let names_port = matches(line.hosts, &exact);
        if !names_port && !matches(line.hosts, &bare) {
            continue;
        }
        let key = KnownKey { blob: line.blob, line: number };
        match line.marker {
            Some("@revoked") => found.revoked.push(key),
            Some("@cert-authority") => found.authority = true,
            Some(_) => found.skipped.push(number),
            None if names_port => found.keys.push(key),
            None => of_any_port.push(key),
        }
    }
    if found.keys.is_empty() {
        found.keys = of_any_port;
    }
    found
}

struct Line<'a> {
    marker: Option<&'a str>,
    hosts: &'a str,
    blob: Vec<u8>,
}

impl<'a> Line<'a> {
    fn parse(line: &'a str) -> Option<Line<'a>> {
        let mut fields = line.split_ascii_whitespace().peekable();
        let marker = fields.next_if(|field| field.starts_with('@'));
        let (hosts, kind) = (fields.next()?, fields.next()?);
        let blob = base64::decode_block(fields.next()?).ok()?;
        (blob_kind(&blob) == Some(kind)).then_some(Line { marker, hosts, blob })
    }
}

/// Does a line's list of patterns mean this name? One negated pattern that matches rules the line out.
fn matches(patterns: &str, name: &str) -> bool {
    if let Some(hashed) = patterns.strip_prefix("|1|") {
        return hashed_matches(hashed, name).unwrap_or(false);
    }
    let mut positive = false;
    for pattern in patterns.split(',') {
        match pattern.strip_prefix('!') {
            Some(negated) if wildcard(negated.to_ascii_lowercase().as_bytes(), name.as_bytes()) => return false,
            Some(_) => {}
            None => positive |= wildcard(pattern.to_ascii_lowercase().as_bytes(), name.as_bytes()),
        }
    }
    positive
}

/// `salt|hash`, both Base64: HMAC-SHA1 of the name under the salt.
fn hashed_matches(hashed: &str, name: &str) -> Option<bool> {
    let (salt, hash) = hashed.split_once('|')?;
    let key = PKey::hmac(&base64::decode_block(salt).ok()?).ok()?;
    let mut signer = Signer::new(MessageDigest::sha1(), &key).ok()?;
    let computed = signer.sign_oneshot_to_vec(name.as_bytes()).ok()?;
    Some(computed == base64::decode_block(hash).ok()?)
}

/// `*` stands for any run of bytes, `?` for one. Time is bounded by the product of the lengths.
fn wildcard(pattern: &[u8], name: &[u8]) -> bool {
    let (mut p, mut n) = (0, 0);
    let mut star: Option<(usize, usize)> = None;
    while n < name.len() {
        match pattern.get(p) {
            Some(b'*') => {
                star = Some((p, n));
                p += 1;
            }
            Some(&byte) if byte == b'?' || byte == name[n] => {
                p += 1;
                n += 1;
            }
            _ => {
                let Some((at, taken)) = star else { return false };
                star = Some((at, taken + 1));
                p = at + 1;
                n = taken + 1;
            }
        }
    }
    pattern[p..].iter().all(|&byte| byte == b'*')
}

#[cfg(test)]
mod tests {
    use super::*;

    fn key(kind: &str, fill: u8) -> (String, Vec<u8>) {
        let mut blob = u32::try_from(kind.len()).unwrap().to_be_bytes().to_vec();
        blob.extend_from_slice(kind.as_bytes());
        blob.extend_from_slice(&[0, 0, 0, 4, fill, fill, fill, fill]);
        (format!("{kind} {}", base64::encode_block(&blob)), blob)
    }

    fn lines_found(text: &str, host: &str, port: u16) -> Vec<usize> {
        parse(text.as_bytes(), host, port).keys.iter().map(|key| key.line).collect()
    }

    #[test]
    fn names_ports_patterns_and_negation() {
        let (k, _) = key("ssh-ed25519", 1);
        let text = format!(
            "# comment\n\nSftp.Example.com,10.0.0.1 {k}\n[sftp.example.com]:2222 {k} operator\n*.bank.example,!test.bank.example {k}\n[10.1.?.*]:2022 {k}\r\n"
        );
        assert_eq!(lines_found(&text, "sftp.example.com", 22), [3]);
        assert_eq!(lines_found(&text, "SFTP.example.com", 2222), [4]);
        assert_eq!(lines_found(&text, "sftp.example.com", 2200), [3], "a line without a port, when none names it");
        assert_eq!(lines_found(&text, "a.bank.example", 22), [5]);
        assert_eq!(lines_found(&text, "test.bank.example", 22), [0usize; 0]);
        assert_eq!(lines_found(&text, "10.1.7.200", 2022), [6]);
        assert_eq!(lines_found(&text, "10.1.77.200", 2022), [0usize; 0]);
    }

    #[test]
    fn a_hashed_name() {
        // HMAC-SHA1 of "host.example" under the salt "0123456789abcdefghij", computed as RFC 2104 says.
        let hmac = PKey::hmac(b"0123456789abcdefghij").unwrap();
        let mut signer = Signer::new(MessageDigest::sha1(), &hmac).unwrap();
        let hash = base64::encode_block(&signer.sign_oneshot_to_vec(b"host.example").unwrap());
        let (k, _) = key("ssh-ed25519", 1);
        let text = format!("|1|{}|{hash} {k}\n|1|bad {k}\n", base64::encode_block(b"0123456789abcdefghij"));
        assert_eq!(lines_found(&text, "host.example", 22), [1]);
        assert_eq!(lines_found(&text, "other.example", 22), [0usize; 0]);
    }

    #[test]
    fn markers_and_odd_lines() {
        let (a, a_blob) = key("ssh-ed25519", 1);
        let (b, _) = key("ecdsa-sha2-nistp256", 2);
        let text = format!(
            "@revoked * {a}\n@cert-authority *.x {b}\nh.x {b}\nh.x ssh-foo notbase64!\nh.x ssh-rsa {}\nh.x\n@future h.x {a}\n",
            a.split(' ').nth(1).unwrap()
        );
        let found = parse(text.as_bytes(), "h.x", 22);
        assert_eq!(found.revoked, [KnownKey { blob: a_blob, line: 1 }]);
        assert!(found.authority);
        assert_eq!(found.keys.iter().map(|key| (key.kind(), key.line)).collect::<Vec<_>>(), [("ecdsa-sha2-nistp256", 3)]);
        assert_eq!(found.skipped, [4, 5, 6, 7]);
    }

    #[test]
    fn wildcards_end() {
        assert!(wildcard(b"*a*a*a*b", b"aaaaaaaaaaaaaaaaaaaaaaaaaab"));
        assert!(!wildcard(b"*a*a*a*a*a*a*c", &[b'a'; 200]));
        assert!(wildcard(b"", b"") && !wildcard(b"", b"a") && wildcard(b"**", b""));
    }
}
