//! Uniqueness across records: keys go into partitions by hash, and each partition is looked at by itself when all records are known.

use std::collections::HashSet;
use std::io;

use rayon::prelude::*;

use super::{Counts, Rejected, Rules, ValidateError, Validated};
use crate::mapping::Mapping;
use crate::outcome::{Code, Problem};
use crate::pipeline::spill::{PARTITIONS, Spill};
use crate::row::digest128;
use crate::schema::KeyKind;
use crate::schema::value::Value;

/// Records that were valid but for a key that an earlier record has.
#[derive(Default)]
pub struct Duplicated(HashSet<u64>);

impl Duplicated {
    pub fn contains(&self, record: u64) -> bool {
        self.0.contains(&record)
    }
}

/// Keys over the same fields, checked at once: a primary key is often declared unique beside it.
pub(super) struct Watched<'a> {
    pub(super) fields: &'a [usize],
    /// In the order in which they are reported.
    kinds: Vec<KeyKind>,
}

/// One use of a declared key.
#[derive(Clone, Copy)]
pub(super) struct KeyUse {
    pub(super) hash: u128,
    pub(super) record: u64,
    pub(super) line: u64,
    pub(super) offset: u64,
    pub(super) length: u32,
    pub(super) key: u16,
    pub(super) valid: bool,
}

impl KeyUse {
    const BYTES: usize = 16 + 3 * 8 + 4 + 2 + 1;

    pub(super) fn to_bytes(self) -> [u8; KeyUse::BYTES] {
        let mut bytes = [0; KeyUse::BYTES];
        bytes[..16].copy_from_slice(&self.hash.to_le_bytes());
        bytes[16..24].copy_from_slice(&self.record.to_le_bytes());
        bytes[24..32].copy_from_slice(&self.line.to_le_bytes());
        bytes[32..40].copy_from_slice(&self.offset.to_le_bytes());
        bytes[40..44].copy_from_slice(&self.length.to_le_bytes());
        bytes[44..46].copy_from_slice(&self.key.to_le_bytes());
        bytes[46] = u8::from(self.valid);
        bytes
    }

    fn from_bytes(bytes: &[u8; KeyUse::BYTES]) -> KeyUse {
        fn part<const N: usize>(bytes: &[u8], from: usize) -> [u8; N] {
            bytes[from..from + N].try_into().expect("as many bytes as asked for")
        }
        KeyUse {
            hash: u128::from_le_bytes(part(bytes, 0)),
            record: u64::from_le_bytes(part(bytes, 16)),
            line: u64::from_le_bytes(part(bytes, 24)),
            offset: u64::from_le_bytes(part(bytes, 32)),
            length: u32::from_le_bytes(part(bytes, 40)),
            key: u16::from_le_bytes(part(bytes, 44)),
            valid: bytes[46] == 1,
        }
    }

    /// Uses of a partition whose key another one has, those of one key together and in file order.
    fn repeated(bytes: &[u8]) -> Vec<KeyUse> {
        let (uses, _) = bytes.as_chunks::<{ KeyUse::BYTES }>();
        let hash_of = |one: &[u8; KeyUse::BYTES]| u64::from_le_bytes(*one.first_chunk().expect("a use begins with its hash"));
        let mut hashes: Vec<u64> = uses.iter().map(hash_of).collect();
        hashes.sort_unstable();
        let twice: HashSet<u64> = hashes.windows(2).filter(|pair| pair[0] == pair[1]).map(|pair| pair[0]).collect();
        if twice.is_empty() {
            return Vec::new();
        }
        let mut repeated: Vec<KeyUse> = uses.iter().filter(|one| twice.contains(&hash_of(one))).map(KeyUse::from_bytes).collect();
        repeated.sort_unstable_by_key(|key_use| (key_use.hash, key_use.record));
        repeated
    }
}

/// Two hundred and fifty-six partitions by hash; within each, the first record by number keeps the key and later ones are rejected.
pub(super) fn reject_duplicates(
    spill: &Spill,
    keys: &[Watched<'_>],
    rules: &Rules<'_>,
    pool: &rayon::ThreadPool,
    validated: &mut Validated,
    reject: &mut dyn FnMut(Rejected) -> anyhow::Result<()>,
) -> Result<Duplicated, ValidateError> {
    let mut duplicated = Duplicated::default();
    let mut counts = Counts::default();
    let wave = pool.current_num_threads() * 4;
    for start in (0..PARTITIONS).step_by(wave) {
        let partitions = start..PARTITIONS.min(start + wave);
        let repeated: Vec<Vec<KeyUse>> = pool.install(|| {
            partitions.into_par_iter().map(|part| spill.load(part).map(|bytes| KeyUse::repeated(&bytes))).collect::<io::Result<_>>()
        })?;
        for pair in repeated.iter().flat_map(|uses| uses.windows(2)) {
            let (first, later) = (&pair[0], &pair[1]);
            if first.hash != later.hash {
                continue;
            }
            let problems = keys[later.key as usize].problems(rules, first.line);
            counts.add(&problems, rules);
            let again = !later.valid || !duplicated.0.insert(later.record);
            if !again {
                validated.valid -= 1;
                validated.rejected += 1;
            }
            reject(Rejected {
                record: later.record,
                line: later.line,
                offset: later.offset,
                length: later.length,
                pass: None,
                problems,
                again,
            })
            .map_err(ValidateError::Sink)?;
        }
    }
    counts.add_to(&mut validated.problems, &mut validated.problems_by_column);
    Ok(duplicated)
}

impl Watched<'_> {
    /// What is wrong with a record whose key stands in an earlier line too.
    fn problems(&self, rules: &Rules<'_>, line: u64) -> Vec<Problem> {
        let names = self.fields.iter().map(|&field| rules.schema.fields()[field].name.as_str()).collect::<Vec<_>>().join(", ");
        let column = self.fields.first().and_then(|&field| rules.columns.column_of_field[field]);
        let problem = |kind: &KeyKind| {
            let code = match kind {
                KeyKind::Primary => Code::PrimaryKey,
                KeyKind::Unique => Code::UniqueError,
                KeyKind::UniqueKey => Code::UniqueKey,
            };
            Problem::new(code, column, format!("{names}: the same as in line {line}"))
        };
        self.kinds.iter().map(problem).collect()
    }
}

/// The key's digest; none when a part is null (a null primary key is reported by the schema).
pub(super) fn key_hash(index: usize, fields: &[usize], values: &[Option<Value<'_>>]) -> Option<u128> {
    if let &[field] = fields {
        let text = values.get(field)?.as_ref()?.canonical();
        return Some(digest128(&[&[index as u8], &(text.len() as u64).to_le_bytes(), text.as_bytes()]));
    }
    let mut joined = vec![index as u8];
    for &field in fields {
        let text = values.get(field)?.as_ref()?.canonical();
        joined.extend_from_slice(&(text.len() as u64).to_le_bytes());
        joined.extend_from_slice(text.as_bytes());
    }
    Some(digest128(&[&joined]))
}

/// Keys whose uniqueness is checked here. The column that names the pass is left to the feed's policy for duplicates.
pub(super) fn watched_keys<'a>(rules: &Rules<'a>) -> Vec<Watched<'a>> {
    let pass = rules.mapping.map(Mapping::pass_field);
    let mut watched: Vec<Watched<'a>> = Vec::new();
    for key in rules.schema.keys().iter().filter(|key| pass.is_none_or(|pass| key.fields != [pass])) {
        match watched.iter_mut().find(|known| known.fields == key.fields) {
            Some(known) => known.kinds.push(key.kind),
            None => watched.push(Watched { fields: &key.fields, kinds: vec![key.kind] }),
        }
    }
    watched
}
