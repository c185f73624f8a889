//! The fuzz targets as `cargo test` runs them: each input of the corpus, then inputs made from those, the same ones each time.
//!
//! `PASSFERRY_SEED=N cargo test --test fuzz` makes other ones. `tests/fuzz/run` searches for new ones by the code that they reach.

mod targets;

use std::fs;
use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};
use std::path::{Path, PathBuf};

use targets::named;

const SEED: u64 = 20_260_301;

/// Longer inputs find little that shorter ones do not, and take their time.
const LENGTH_MAX: usize = 4096;

fn folder() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fuzz")
}

/// Runs one target on its corpus and on `executions` more inputs.
fn run(name: &str, executions: u32) {
    let target = named(name).expect("a target of this name");
    let seed = std::env::var("PASSFERRY_SEED").ok().and_then(|seed| seed.parse().ok()).unwrap_or(SEED);
    let corpus = corpus(name);
    let words = words(name);
    assert!(corpus.len() > 3, "{name} has no corpus");
    let attempt = |data: &[u8], from: &str| {
        if let Err(panic) = catch_unwind(AssertUnwindSafe(|| (target.run)(data))) {
            let path = Path::new(env!("CARGO_TARGET_TMPDIR")).join(format!("{name}.input"));
            let kept = fs::write(&path, data).map(|()| path.display().to_string());
            eprintln!("seed {seed}, {from}; again by: tests/fuzz/run --target {name} --input {}", kept.unwrap_or_default());
            resume_unwind(panic);
        }
    };
    for (path, data) in &corpus {
        attempt(data, &path.display().to_string());
    }
    let mut dice = Dice(seed);
    for execution in 0..executions {
        let data = dice.input(&corpus, &words);
        attempt(&data, &format!("execution {execution}"));
    }
    println!("{name}: seed {seed}, {} kept inputs and {executions} made from them", corpus.len());
}

/// In the order of their names, so that a seed means the same everywhere.
fn corpus(name: &str) -> Vec<(PathBuf, Vec<u8>)> {
    let entries = fs::read_dir(folder().join("corpus").join(name)).expect("each target has a folder of inputs");
    let mut inputs: Vec<(PathBuf, Vec<u8>)> = entries
        .map(|entry| {
            let path = entry.expect("a name").path();
            let data = fs::read(&path).expect("an input");
            (path, data)
        })
        .collect();
    inputs.sort();
    inputs
}

/// The words that libFuzzer is given too: one a line, in double quotes, with `\xHH` for what cannot be written.
fn words(name: &str) -> Vec<Vec<u8>> {
    let text = fs::read_to_string(folder().join("words").join(name)).expect("each target has its words");
    let inside = |line: &str| Some(unescaped(line.strip_prefix('"')?.strip_suffix('"')?));
    text.lines().filter_map(inside).collect()
}

fn unescaped(text: &str) -> Vec<u8> {
    let mut bytes = Vec::new();
    let mut rest = text.as_bytes();
    while let [first, tail @ ..] = rest {
        rest = match (first, tail) {
            (b'\\', [b'x', high, low, tail @ ..]) => {
                let digit = |byte: &u8| char::from(*byte).to_digit(16).expect("two hexadecimal digits") as u8;
                bytes.push(digit(high) << 4 | digit(low));
                tail
            }
            (b'\\', [other, tail @ ..]) => {
                bytes.push(*other);
                tail
            }
            _ => {
                bytes.push(*first);
                tail
            }
        };
    }
    bytes
}

/// Random enough, and the same everywhere (the `SplitMix64` generator).
struct Dice(u64);

impl Dice {
    fn roll(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let mixed = (self.0 ^ self.0 >> 30).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        let mixed = (mixed ^ mixed >> 27).wrapping_mul(0x94D0_49BB_1331_11EB);
        mixed ^ mixed >> 31
    }

    fn below(&mut self, limit: usize) -> usize {
        (self.roll() % limit.max(1) as u64) as usize
    }

    fn one<'t, T>(&mut self, of: &'t [T]) -> &'t T {
        &of[self.below(of.len())]
    }

    /// An input of the corpus, changed in one to four places.
    fn input(&mut self, corpus: &[(PathBuf, Vec<u8>)], words: &[Vec<u8>]) -> Vec<u8> {
        let mut data = self.one(corpus).1.clone();
        data.truncate(LENGTH_MAX);
        for _ in 0..=self.below(4) {
            self.change(&mut data, corpus, words);
        }
        data.truncate(LENGTH_MAX);
        data
    }

    fn range(&mut self, length: usize) -> std::ops::Range<usize> {
        let start = self.below(length + 1);
        let most = (length - start).min(1 << self.below(9));
        start..start + self.below(most + 1)
    }

    fn change(&mut self, data: &mut Vec<u8>, corpus: &[(PathBuf, Vec<u8>)], words: &[Vec<u8>]) {
        let place = self.range(data.len());
        let at = place.start;
        match self.below(8) {
            0 => drop(data.drain(place)),
            1 => {
                let copy = data[place].to_vec();
                let to = self.below(data.len() + 1);
                data.splice(to..to, copy);
            }
            2 | 3 if !words.is_empty() => drop(data.splice(at..at, self.one(words).iter().copied())),
            4 if !words.is_empty() => drop(data.splice(place, self.one(words).iter().copied())),
            5 => {
                let other = &self.one(corpus).1;
                let piece = self.range(other.len());
                data.splice(place, other[piece].iter().copied());
            }
            6 if at < data.len() => data[at] ^= 1 << self.below(8),
            _ => {
                let byte = *self.one(b"\"\r\n,;\t|'=-0129aZ{}[]:. \x00\x1b\x7f\x80\xc3\xef\xff");
                data.splice(at..at, [byte]);
            }
        }
    }
}

macro_rules! fuzz {
    ($($test:ident: $name:literal, $executions:literal;)*) => { $(
        #[test]
        fn $test() {
            run($name, $executions);
        }
    )* };
}

fuzz! {
    every_delivery_reads_as_a_slow_reader_reads_it: "scanner", 2000;
    every_descriptor_is_a_schema_or_says_what_is_wrong: "schema", 4000;
    every_configuration_is_usable_or_says_where_it_is_wrong: "config", 800;
    no_name_of_a_server_leads_outside: "names", 10000;
    no_answer_counts_as_applied_without_proof: "answers", 4000;
    no_answer_of_any_platform_counts_as_applied_without_proof: "platforms", 4000;
    every_correction_comes_back_as_it_was_written: "corrections", 2000;
    every_template_says_the_same_of_a_row_whatever_stands_beside_it: "templates", 2000;
}

#[test]
fn every_target_is_run() {
    let source = include_str!("main.rs");
    for target in &targets::ALL {
        assert!(source.contains(&format!(": \"{}\", ", target.name)), "{} is not run", target.name);
    }
}
