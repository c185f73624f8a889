//! Decides whether a server is the one that was meant, before anything is revealed to it.

use std::fmt::Write as _;

use openssl::base64;
use openssl::sha::sha256;

use super::known_hosts::{KnownHosts, blob_kind, host_name};
use crate::config::meant::Sftp;
use crate::source::{Result, SourceError};

/// Plain key types in the order they are offered. Certificates are never offered: libssh2 cannot check them.
pub const KINDS: [&str; 5] = ["ssh-ed25519", "ecdsa-sha2-nistp256", "ecdsa-sha2-nistp384", "ecdsa-sha2-nistp521", "ssh-rsa"];

/// What is known about one server: pins, lines of `known_hosts`, or both.
#[derive(Debug)]
pub struct Trust {
    server: String,
    pins: Vec<[u8; 32]>,
    known: Option<KnownHosts>,
}

/// A key that was presented.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Verdict {
    Trusted,
    /// Never to be accepted, whatever else is said of it.
    Revoked {
        line: usize,
    },
    /// Something else is known of this server.
    Differs,
    Unknown,
}

impl Trust {
    /// Fails when a pin is malformed or `known_hosts` cannot be read.
    pub fn load(settings: &Sftp) -> Result<Trust> {
        let pins = settings
            .host_keys
            .iter()
            .map(|pin| {
                parse_pin(pin).ok_or_else(|| {
                    SourceError::HostKey(format!("host_key = {pin:?} is not a fingerprint; it looks like SHA256:… and 43 characters"))
                })
            })
            .collect::<Result<Vec<_>>>()?;
        let known = match &settings.known_hosts {
            None => None,
            Some(path) => Some(
                KnownHosts::load(path, &settings.host, settings.port)
                    .map_err(|e| SourceError::HostKey(format!("cannot read known_hosts = {:?}: {e}", path.display())))?,
            ),
        };
        if let Some(known) = known.as_ref().filter(|known| !known.skipped.is_empty()) {
            tracing::debug!(file = %known.path.display(), lines = ?known.skipped, "lines of known_hosts are not understood and ignored");
        }
        Ok(Trust { server: host_name(&settings.host, settings.port), pins, known })
    }

    /// Types to offer first. With lines of `known_hosts` alone these are the types known, as an unknown one could never be trusted.
    pub fn first_kinds(&self) -> Vec<&'static str> {
        let known: Vec<&str> = KINDS.into_iter().filter(|kind| self.known_kinds().any(|known| known == *kind)).collect();
        if known.is_empty() {
            return KINDS.to_vec();
        }
        if self.pins.is_empty() {
            return known;
        }
        let others = KINDS.into_iter().filter(|kind| !known.contains(kind));
        known.iter().copied().chain(others).collect()
    }

    fn known_kinds(&self) -> impl Iterator<Item = &str> {
        self.known.iter().flat_map(|known| known.keys.iter().map(super::known_hosts::KnownKey::kind))
    }

    /// A pin does not say the type of its key, so a key of another type may still be the pinned one.
    pub fn may_be_another_kind(&self) -> bool {
        !self.pins.is_empty()
    }

    pub fn judge(&self, blob: &[u8]) -> Verdict {
        let known = self.known.iter();
        if let Some(line) = known.clone().flat_map(|known| &known.revoked).find(|key| same(&key.blob, blob)) {
            return Verdict::Revoked { line: line.line };
        }
        let pinned = self.pins.iter().any(|pin| same(pin, &sha256(blob)));
        if pinned || known.clone().flat_map(|known| &known.keys).any(|key| same(&key.blob, blob)) {
            Verdict::Trusted
        } else if self.pins.is_empty() && known.flat_map(|known| &known.keys).next().is_none() {
            Verdict::Unknown
        } else {
            Verdict::Differs
        }
    }

    /// The refusal, for the keys that were presented.
    pub fn refusal(&self, seen: &[(Vec<u8>, Verdict)]) -> SourceError {
        let mut text = String::new();
        let shown = seen.iter().map(|(blob, _)| described(blob)).collect::<Vec<_>>().join(", ");
        let server = &self.server;
        if let Some((blob, line)) = seen.iter().find_map(|(blob, verdict)| match verdict {
            Verdict::Revoked { line } => Some((blob, line)),
            _ => None,
        }) {
            let file = self.known.as_ref().map(|known| known.path.display().to_string()).unwrap_or_default();
            return SourceError::HostKey(format!(
                "the host key of {server} is revoked: it presented {}, which line {line} of {file} revokes; nothing was sent to it",
                described(blob)
            ));
        }
        if seen.iter().any(|(_, verdict)| *verdict == Verdict::Differs) {
            let _ = write!(
                text,
                "the host key of {server} is not the one that is known: it presented {shown}, known is {}; nothing was sent to it. Either the server has a new key or \
                 somebody stands between. Ask the server's operator for the fingerprint, over another way than this connection.",
                self.expected()
            );
        } else {
            let _ = write!(
                text,
                "the host key of {server} is not known: it presented {shown}; nothing was sent to it. Compare the fingerprint with the one the server's operator gives you."
            );
            if self.known.as_ref().is_some_and(|known| known.authority) {
                text.push_str(" known_hosts names a certificate authority for it, but host certificates are not supported.");
            }
        }
        if let Some((blob, _)) = seen.last() {
            let _ = write!(text, " If it is right, write\n  host_key = \"{}\"\ninto the source", fingerprint(blob));
            let kind = blob_kind(blob).unwrap_or_default();
            let _ = write!(text, ", or add this line to known_hosts:\n  {server} {kind} {}", base64::encode_block(blob));
        }
        SourceError::HostKey(text)
    }

    fn expected(&self) -> String {
        let pins = self.pins.iter().map(|pin| format!("{} (host_key)", encode_pin(pin)));
        let known = self.known.iter().flat_map(|known| {
            known.keys.iter().map(|key| format!("{} (line {} of {})", described(&key.blob), key.line, known.path.display()))
        });
        pins.chain(known).collect::<Vec<_>>().join(", ")
    }
}

/// `SHA256:` and the Base64 of the blob's digest without padding, as `ssh-keygen -l` prints it.
pub fn fingerprint(blob: &[u8]) -> String {
    encode_pin(&sha256(blob))
}

fn described(blob: &[u8]) -> String {
    format!("{} {}", blob_kind(blob).unwrap_or("unknown type"), fingerprint(blob))
}

fn encode_pin(digest: &[u8; 32]) -> String {
    format!("SHA256:{}", base64::encode_block(digest).trim_end_matches('='))
}

fn parse_pin(pin: &str) -> Option<[u8; 32]> {
    let text = pin.trim().strip_prefix("SHA256:")?.trim_end_matches('=');
    if text.len() != 43 {
        return None;
    }
    base64::decode_block(&format!("{text}=")).ok()?.try_into().ok()
}

/// Compares without telling by its time where two keys part.
fn same(a: &[u8], b: &[u8]) -> bool {
    a.len() == b.len() && openssl::memcmp::eq(a, b)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::source::sftp::known_hosts::KnownKey;

    fn blob(kind: &str, fill: u8) -> Vec<u8> {
        let mut blob = u32::try_from(kind.len()).unwrap().to_be_bytes().to_vec();
        blob.extend_from_slice(kind.as_bytes());
        blob.push(fill);
        blob
    }

    fn trust(pins: &[&[u8]], keys: &[&[u8]]) -> Trust {
        let keys = keys.iter().enumerate().map(|(index, blob)| KnownKey { blob: blob.to_vec(), line: index + 1 }).collect();
        Trust {
            server: "h.example".to_owned(),
            pins: pins.iter().map(|blob| sha256(blob)).collect(),
            known: Some(KnownHosts { keys, path: "kh".into(), ..KnownHosts::default() }),
        }
    }

    #[test]
    fn a_fingerprint_survives_being_written_and_read() {
        let pin = fingerprint(b"some key");
        assert_eq!(parse_pin(&pin), Some(sha256(b"some key")));
        for bad in ["", "SHA256:", "MD5:00", "SHA256:abc", &pin[7..]] {
            assert_eq!(parse_pin(bad), None, "{bad:?}");
        }
    }

    #[test]
    fn pins_and_lines_both_count_and_revocation_wins() {
        let (a, b, c) = (blob("ssh-ed25519", 1), blob("ssh-rsa", 2), blob("ssh-rsa", 3));
        let mut both = trust(&[&a], &[&b]);
        assert_eq!(both.judge(&a), Verdict::Trusted);
        assert_eq!(both.judge(&b), Verdict::Trusted);
        assert_eq!(both.judge(&c), Verdict::Differs);
        assert_eq!(trust(&[], &[]).judge(&a), Verdict::Unknown);
        if let Some(known) = &mut both.known {
            known.revoked.push(KnownKey { blob: a.clone(), line: 9 });
        }
        assert_eq!(both.judge(&a), Verdict::Revoked { line: 9 });
    }

    #[test]
    fn known_types_are_offered_first_and_alone_without_pins() {
        let rsa = blob("ssh-rsa", 2);
        assert_eq!(trust(&[], &[&rsa]).first_kinds(), ["ssh-rsa"]);
        assert_eq!(trust(&[b"x"], &[&rsa]).first_kinds()[..2], ["ssh-rsa", "ssh-ed25519"]);
        assert_eq!(trust(&[], &[]).first_kinds(), KINDS);
    }

    #[test]
    fn the_refusal_shows_both_fingerprints_and_what_to_write() {
        let (old, new) = (blob("ssh-ed25519", 1), blob("ssh-ed25519", 2));
        let text = trust(&[], &[&old]).refusal(&[(new.clone(), Verdict::Differs)]).to_string();
        for part in [
            &fingerprint(&old),
            &format!("host_key = \"{}\"", fingerprint(&new)),
            &"line 1 of kh".to_owned(),
            &"h.example ssh-ed25519 ".to_owned(),
        ] {
            assert!(text.contains(part.as_str()), "{part} in {text}");
        }
    }
}
