//! What earlier runs of the account have not finished with.

use crate::row::{PassKey, Verb};

/// A fixed-size filter: it may call something pending that is not (which costs one needless request or a wait), never the reverse.
/// Runs that are compared while another one applies would otherwise skip a row because of a value that is about to be overwritten.
#[derive(Default)]
pub struct PendingPasses {
    bits: Vec<u64>,
}

/// 16 MiB: below one false hit in a thousand up to a million pending values.
const BITS: u64 = 1 << 27;

/// What of a pass is meant: anything of it, all of it, or one field.
#[derive(Clone, Copy)]
enum Part {
    Any,
    Whole,
    Field(u16),
}

impl PendingPasses {
    /// Notes a row that is still to be done: what it does to a pass, and the account's numbers of the fields it sends.
    pub fn insert(&mut self, pass: PassKey, verb: Verb, fields: impl Iterator<Item = u16>) {
        self.set(pass, Part::Any);
        if verb != Verb::Update {
            self.set(pass, Part::Whole);
        }
        for field in fields {
            self.set(pass, Part::Field(field));
        }
    }

    /// Would a row that does this have to wait, and can the baseline of its fields not be believed?
    pub fn conflicts(&self, pass: PassKey, verb: Verb, mut fields: impl Iterator<Item = u16>) -> bool {
        if self.bits.is_empty() || !self.has(pass, Part::Any) {
            return false;
        }
        // An update of other fields goes its own way; issuing, expiring and taking away touch all that anybody does.
        verb != Verb::Update || self.has(pass, Part::Whole) || fields.any(|field| self.has(pass, Part::Field(field)))
    }

    fn set(&mut self, pass: PassKey, part: Part) {
        if self.bits.is_empty() {
            self.bits = vec![0; (BITS / 64) as usize];
        }
        for bit in positions(pass, part) {
            self.bits[(bit / 64) as usize] |= 1 << (bit % 64);
        }
    }

    fn has(&self, pass: PassKey, part: Part) -> bool {
        positions(pass, part).iter().all(|bit| self.bits[(bit / 64) as usize] & (1 << (bit % 64)) != 0)
    }
}

/// Three independent parts of a digest.
fn positions(pass: PassKey, part: Part) -> [u64; 3] {
    let tag: [u8; 3] = match part {
        Part::Any => [0, 0, 0],
        Part::Whole => [1, 0, 0],
        Part::Field(field) => {
            let [low, high] = field.to_le_bytes();
            [2, low, high]
        }
    };
    let key = PassKey::of(&[&pass.0.to_le_bytes(), &tag]);
    [key.low() % BITS, (key.low() >> 32) % BITS, key.high() % BITS]
}

#[cfg(test)]
mod tests {
    use super::*;

    fn key(n: u32) -> PassKey {
        PassKey::of(&[&n.to_le_bytes()])
    }

    #[test]
    fn what_is_pending_is_always_found() {
        let mut pending = PendingPasses::default();
        assert!(!pending.conflicts(key(0), Verb::Update, [1].into_iter()));
        for n in 0..10_000 {
            pending.insert(key(n), Verb::Update, [1].into_iter());
        }
        assert!((0..10_000).all(|n| pending.conflicts(key(n), Verb::Update, [1].into_iter())));
        let false_hits = (10_000..110_000).filter(|&n| pending.conflicts(key(n), Verb::Update, [1].into_iter())).count();
        assert!(false_hits < 10, "{false_hits}");
    }

    #[test]
    fn updates_of_different_fields_do_not_wait_for_each_other() {
        let mut pending = PendingPasses::default();
        pending.insert(key(1), Verb::Update, [1, 2].into_iter());
        pending.insert(key(2), Verb::Upsert, [1].into_iter());
        let conflicts = |pass, verb, field: u16| pending.conflicts(key(pass), verb, [field].into_iter());
        assert!(conflicts(1, Verb::Update, 2));
        assert!(!conflicts(1, Verb::Update, 3));
        assert!(conflicts(1, Verb::Void, 3), "taking the pass away concerns every field");
        assert!(conflicts(2, Verb::Update, 3), "the pass may be about to be issued");
        assert!(!conflicts(3, Verb::Void, 1));
    }
}
