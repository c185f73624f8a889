//! How often somebody may be wrong. After too many wrong passwords of a name, or from an address, nothing is tried for a while: not even
//! the right one, or guessing would go on.

use std::collections::HashMap;
use std::net::IpAddr;
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

/// Wrong passwords of one name, and from one address, within [`WINDOW`].
const BY_NAME_MAX: u32 = 10;
const BY_ADDRESS_MAX: u32 = 30;
const WINDOW: Duration = Duration::from_mins(15);
/// Names and addresses remembered. Names are as many as somebody cares to invent.
const KNOWN_MAX: usize = 10_000;

#[derive(Clone, PartialEq, Eq, Hash)]
enum Whose {
    /// Digest of a name: what stands there may be a password typed into the wrong field.
    Name([u8; 32]),
    Address(IpAddr),
}

#[derive(Clone, Copy)]
struct Failed {
    count: u32,
    since: Instant,
}

#[derive(Default)]
pub struct Attempts {
    failed: Mutex<HashMap<Whose, Failed>>,
}

impl Attempts {
    /// How long to wait before the next one is tried; none where it may be tried now.
    pub fn wait(&self, name: &str, address: Option<IpAddr>, now: Instant) -> Option<Duration> {
        let failed = self.failed.lock().unwrap_or_else(PoisonError::into_inner);
        whose(name, address)
            .into_iter()
            .filter_map(|(whose, max)| {
                let one = failed.get(&whose).filter(|one| one.count >= max)?;
                (one.since + WINDOW).checked_duration_since(now).filter(|left| !left.is_zero())
            })
            .max()
    }

    pub fn failed(&self, name: &str, address: Option<IpAddr>, now: Instant) {
        let mut failed = self.failed.lock().unwrap_or_else(PoisonError::into_inner);
        if failed.len() >= KNOWN_MAX {
            failed.retain(|_, one| now.saturating_duration_since(one.since) < WINDOW);
        }
        if failed.len() >= KNOWN_MAX
            && let Some(oldest) = failed.iter().min_by_key(|(_, one)| one.since).map(|(whose, _)| whose.clone())
        {
            failed.remove(&oldest);
        }
        for (whose, _) in whose(name, address) {
            let one = failed.entry(whose).or_insert(Failed { count: 0, since: now });
            if now.saturating_duration_since(one.since) >= WINDOW {
                *one = Failed { count: 0, since: now };
            }
            one.count += 1;
        }
    }

    /// The right password makes up for the wrong ones of that name.
    pub fn succeeded(&self, name: &str) {
        let name = Whose::Name(openssl::sha::sha256(name.as_bytes()));
        self.failed.lock().unwrap_or_else(PoisonError::into_inner).remove(&name);
    }
}

fn whose(name: &str, address: Option<IpAddr>) -> Vec<(Whose, u32)> {
    let name = (Whose::Name(openssl::sha::sha256(name.as_bytes())), BY_NAME_MAX);
    std::iter::once(name).chain(address.map(|address| (Whose::Address(address), BY_ADDRESS_MAX))).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn too_many_wrong_ones_have_to_wait_and_only_they() {
        let attempts = Attempts::default();
        let (start, here) = (Instant::now(), Some("127.0.0.1".parse().unwrap()));
        for _ in 0..BY_NAME_MAX {
            assert_eq!(attempts.wait("anna", here, start), None);
            attempts.failed("anna", here, start);
        }
        assert!(attempts.wait("anna", None, start).is_some_and(|wait| wait <= WINDOW), "from any address");
        assert_eq!(attempts.wait("ben", here, start), None);
        assert_eq!(attempts.wait("anna", here, start + WINDOW), None);
        for number in 0..BY_ADDRESS_MAX {
            attempts.failed(&format!("name{number}"), here, start);
        }
        assert!(attempts.wait("somebody", here, start).is_some(), "many names from one address");
        attempts.succeeded("anna");
        assert_eq!(attempts.wait("anna", None, start), None);
    }

    #[test]
    fn what_is_remembered_is_bounded() {
        let attempts = Attempts::default();
        let start = Instant::now();
        for number in 0..KNOWN_MAX + 50 {
            attempts.failed(&format!("name{number}"), None, start);
        }
        assert!(attempts.failed.lock().unwrap().len() <= KNOWN_MAX + 1);
    }
}
