//! Which passes earlier runs of the account have not finished with.

use crate::row::PassKey;

/// A fixed-size filter: it may call a pass pending that is not (which costs one needless request or a wait), never the reverse.
/// Runs that are compared while another one applies would otherwise skip a row because of a value that is about to be overwritten.
#[derive(Default)]
pub struct PendingPasses {
    bits: Vec<u64>,
}

/// 16 MiB: below one false hit in a thousand up to two million pending rows.
const BITS: u64 = 1 << 27;

impl PendingPasses {
    pub fn insert(&mut self, pass: PassKey) {
        if self.bits.is_empty() {
            self.bits = vec![0; (BITS / 64) as usize];
        }
        for bit in positions(pass) {
            self.bits[(bit / 64) as usize] |= 1 << (bit % 64);
        }
    }

    pub fn contains(&self, pass: PassKey) -> bool {
        !self.bits.is_empty() && positions(pass).iter().all(|bit| self.bits[(bit / 64) as usize] & (1 << (bit % 64)) != 0)
    }
}

/// Three independent parts of the digest.
fn positions(pass: PassKey) -> [u64; 3] {
    [pass.low() % BITS, (pass.low() >> 32) % BITS, pass.high() % BITS]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_pending_is_always_found() {
        let mut pending = PendingPasses::default();
        assert!(!pending.contains(PassKey::of(&[b"0"])));
        let key = |n: u32| PassKey::of(&[&n.to_le_bytes()]);
        for n in 0..10_000 {
            pending.insert(key(n));
        }
        assert!((0..10_000).all(|n| pending.contains(key(n))));
        let false_hits = (10_000..110_000).filter(|&n| pending.contains(key(n))).count();
        assert!(false_hits < 10, "{false_hits}");
    }
}
