//! What a server offers for the key exchange, asked when one failed.
//!
//! libssh2 has one code for "no algorithm in common" and for a connection that broke while the lists were awaited. The first needs a
//! person, the second only time. The lists travel in the clear (RFC 4253 section 7.1), so they are read over a connection of their own.

use std::io::{self, Read, Write};
use std::net::TcpStream;

/// Longest greeting, and longest list packet, that is read.
const GREETING_MAX: usize = 16 << 10;
const PACKET_MAX: usize = 64 << 10;
const SSH_MSG_KEXINIT: u8 = 20;
const COOKIE: usize = 16;

/// One kind of algorithm and the names offered for it.
pub type Offer = (&'static str, Vec<String>);

/// In the order of the packet.
const LABELS: [&str; 6] = ["key exchange", "host key", "cipher", "cipher back", "MAC", "MAC back"];

/// Greets the server and reads its lists. The stream has its time limits set.
pub fn ask(mut stream: &TcpStream) -> io::Result<Vec<Offer>> {
    stream.write_all(b"SSH-2.0-passferry\r\n")?;
    skip_greeting(&mut stream)?;
    let mut length = [0; 4];
    stream.read_exact(&mut length)?;
    let length = usize::try_from(u32::from_be_bytes(length)).unwrap_or(usize::MAX);
    if length > PACKET_MAX {
        return Err(io::ErrorKind::InvalidData.into());
    }
    let mut packet = vec![0; length];
    stream.read_exact(&mut packet)?;
    parse(&packet).ok_or_else(|| io::ErrorKind::InvalidData.into())
}

/// A server may say several lines before the one that begins with `SSH-` (RFC 4253 section 4.2).
fn skip_greeting(stream: &mut impl Read) -> io::Result<()> {
    let mut line = Vec::new();
    for _ in 0..GREETING_MAX {
        let mut byte = [0];
        stream.read_exact(&mut byte)?;
        if byte != *b"\n" {
            line.extend_from_slice(&byte);
        } else if line.starts_with(b"SSH-") {
            return Ok(());
        } else {
            line.clear();
        }
    }
    Err(io::ErrorKind::InvalidData.into())
}

/// The packet after its length: length of the padding, type, cookie, then counted lists.
fn parse(packet: &[u8]) -> Option<Vec<Offer>> {
    let (_padding, rest) = packet.split_first()?;
    let mut rest = rest.strip_prefix(&[SSH_MSG_KEXINIT])?.get(COOKIE..)?;
    let mut offers = Vec::new();
    for label in LABELS {
        let (length, after) = rest.split_first_chunk::<4>()?;
        let (names, after) = after.split_at_checked(usize::try_from(u32::from_be_bytes(*length)).ok()?)?;
        let names = String::from_utf8_lossy(names);
        offers.push((label, names.split(',').filter(|name| !name.is_empty()).map(|name| name.escape_default().to_string()).collect()));
        rest = after;
    }
    Some(offers)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lists_are_read_and_broken_packets_refused() {
        let mut packet = vec![4, SSH_MSG_KEXINIT];
        packet.extend_from_slice(&[7; COOKIE]);
        for names in ["a,b", "ssh-rsa", "x\u{1b}[2J", "", "m", "n"] {
            packet.extend_from_slice(&u32::try_from(names.len()).unwrap().to_be_bytes());
            packet.extend_from_slice(names.as_bytes());
        }
        let offers = parse(&packet).unwrap();
        assert_eq!(offers[0], ("key exchange", vec!["a".to_owned(), "b".to_owned()]));
        assert_eq!(offers[2].1, ["x\\u{1b}[2J"]);
        assert_eq!(offers[3].1, [""; 0]);
        for length in 0..packet.len() {
            assert_eq!(parse(&packet[..length]), None, "{length}");
        }
    }

    #[test]
    fn a_greeting_has_an_end() {
        assert!(skip_greeting(&mut &b"hello\r\nSSH-2.0-x\r\n"[..]).is_ok());
        assert!(skip_greeting(&mut io::repeat(b'x')).is_err());
    }
}
