//! What the baseline remembers of a field's value: enough to know whether it changed and how a balance moves, never a personal value.

use rust_decimal::Decimal;
use rust_decimal::prelude::ToPrimitive;

use crate::schema::value::Value;

/// What a field holds, in nine bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Mark {
    kind: Kind,
    digest: u64,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Kind {
    Empty = 1,
    /// Digest of the canonical text.
    Text = 2,
    /// The number itself, as the bits of an `f64` that holds it exactly.
    Number = 3,
    /// Zero, of a column whose values must not be kept.
    HiddenZero = 4,
}

impl Mark {
    /// The field was cleared.
    pub const EMPTY: Mark = Mark { kind: Kind::Empty, digest: 0 };

    /// `personal` values are kept as digests only.
    pub fn of(value: Option<&Value<'_>>, personal: bool) -> Mark {
        let Some(value) = value else { return Mark::EMPTY };
        let number = match value {
            Value::Integer(n) => Some(Decimal::from(*n)),
            Value::Number(n) => Some(*n),
            _ => None,
        };
        if let Some(number) = number {
            if personal && number.is_zero() {
                return Mark { kind: Kind::HiddenZero, digest: 0 };
            }
            if !personal && let Some(float) = exact(number) {
                return Mark { kind: Kind::Number, digest: float.to_bits() };
            }
        }
        Mark { kind: Kind::Text, digest: xxhash_rust::xxh3::xxh3_64(value.canonical().as_bytes()) }
    }

    /// Empty, or the number zero.
    pub fn is_nothing(self) -> bool {
        match self.kind {
            Kind::Empty | Kind::HiddenZero => true,
            Kind::Number => f64::from_bits(self.digest) == 0.0,
            Kind::Text => false,
        }
    }

    pub fn is_empty(self) -> bool {
        self.kind == Kind::Empty
    }

    /// Only a digest is kept: the value itself is not known here.
    pub fn is_digest(self) -> bool {
        self.kind == Kind::Text
    }

    /// What may be shown of it.
    pub fn show(self) -> String {
        match self.kind {
            Kind::Empty => "nothing".into(),
            Kind::HiddenZero => "0".into(),
            Kind::Number => format!("{}", f64::from_bits(self.digest)),
            Kind::Text => "another value".into(),
        }
    }

    pub fn to_bytes(self) -> [u8; 9] {
        let mut bytes = [0; 9];
        bytes[0] = self.kind as u8;
        bytes[1..].copy_from_slice(&self.digest.to_le_bytes());
        bytes
    }

    pub fn from_bytes(bytes: [u8; 9]) -> Option<Mark> {
        let kind = match bytes[0] {
            1 => Kind::Empty,
            2 => Kind::Text,
            3 => Kind::Number,
            4 => Kind::HiddenZero,
            _ => return None,
        };
        let [_, digest @ ..] = bytes;
        Some(Mark { kind, digest: u64::from_le_bytes(digest) })
    }
}

/// The float that holds a decimal exactly, if one does. Numbers of up to 15 digits survive the way there and back.
fn exact(number: Decimal) -> Option<f64> {
    let number = number.normalize();
    let float = if number.is_zero() { 0.0 } else { number.to_f64()? };
    (number.mantissa().unsigned_abs() < 1_000_000_000_000_000).then_some(float)
}

/// One field of a pass as last applied.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct FieldState {
    /// The field's number in its account.
    pub field: u16,
    pub mark: Mark,
    /// When it was last sent, in days since 1970.
    pub day: u16,
}

impl FieldState {
    /// Size of one in a baseline.
    pub const BYTES: usize = 13;

    pub fn encode(fields: &[FieldState]) -> Vec<u8> {
        let mut bytes = Vec::with_capacity(fields.len() * FieldState::BYTES);
        for state in fields {
            bytes.extend_from_slice(&state.field.to_le_bytes());
            bytes.extend_from_slice(&state.mark.to_bytes());
            bytes.extend_from_slice(&state.day.to_le_bytes());
        }
        bytes
    }

    /// Entries that cannot be read are left out: an unknown value is sent again, a wrong one would be skipped.
    pub fn decode(bytes: &[u8]) -> Vec<FieldState> {
        bytes
            .chunks_exact(FieldState::BYTES)
            .filter_map(|entry| {
                Some(FieldState {
                    field: u16::from_le_bytes(entry[..2].try_into().ok()?),
                    mark: Mark::from_bytes(entry[2..11].try_into().ok()?)?,
                    day: u16::from_le_bytes(entry[11..].try_into().ok()?),
                })
            })
            .collect()
    }

    /// Puts `known` into `fields` and takes `unknown` out.
    pub fn merge(fields: &mut Vec<FieldState>, known: &[FieldState], unknown: &[u16]) {
        fields.retain(|state| !unknown.contains(&state.field) && !known.iter().any(|new| new.field == state.field));
        fields.extend_from_slice(known);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::borrow::Cow;

    #[test]
    fn marks_tell_values_apart_and_keep_balances_readable() {
        let number = |text: &str| Mark::of(Some(&Value::Number(text.parse().unwrap())), false);
        assert_eq!(number("250.10"), number("250.1"));
        assert_eq!(number("250.10").show(), "250.1");
        assert_eq!(number("7"), Mark::of(Some(&Value::Integer(7)), false));
        assert_ne!(number("1234567890123456"), number("1234567890123457"));
        assert!(number("0.00").is_nothing() && Mark::EMPTY.is_nothing() && !number("0.01").is_nothing());
        let text = |t: &'static str| Mark::of(Some(&Value::Text(Cow::Borrowed(t))), false);
        assert_ne!(text("gold"), text("silver"));
    }

    #[test]
    fn personal_numbers_are_not_kept() {
        let secret = Mark::of(Some(&Value::Integer(42)), true);
        assert_eq!(secret.show(), "another value");
        assert!(Mark::of(Some(&Value::Integer(0)), true).is_nothing());
    }

    #[test]
    fn states_survive_storage() {
        let states = vec![
            FieldState { field: 3, mark: Mark::EMPTY, day: 20_000 },
            FieldState { field: 9, mark: Mark::of(Some(&Value::Integer(5)), false), day: 1 },
        ];
        assert_eq!(FieldState::decode(&FieldState::encode(&states)), states);
        let mut fields = states.clone();
        FieldState::merge(&mut fields, &[FieldState { field: 9, mark: Mark::EMPTY, day: 2 }], &[3]);
        assert_eq!(fields, vec![FieldState { field: 9, mark: Mark::EMPTY, day: 2 }]);
    }
}
