//! A small reference model of files, rows and platform state, and random histories that the real program must agree with.
//!
//! A seed makes a history: deliveries, faults of the platform, kills, a person's decisions. After each round the program is started until
//! it has nothing left to do, and what then stands at the server, at the platform and in the ledger is judged by [`judge`], which knows
//! nothing of how the program works. `PASSFERRY_SEED=123 cargo test --test it model -- --nocapture` replays one seed;
//! `PASSFERRY_SEEDS=200` tries so many random ones; `PASSFERRY_SHRINK=1` looks for a shorter history that fails as well.

mod judge;
mod ops;
mod world;

use std::fmt::Write as _;
use std::panic::{AssertUnwindSafe, catch_unwind};

use ops::Op;
use world::{Figures, World};

/// Rounds of a history; each ends with a look at everything.
const ROUNDS: u32 = 4;
/// Histories tried to make a failing one shorter.
const SHRINKING: u32 = 60;

/// Seeds that are always tried: a folder and a server, platforms that help and one that does not.
const FIXED: [u64; 5] = [1, 2, 3, 4, 5];

fn number(variable: &str) -> Option<u64> {
    std::env::var(variable).ok().map(|text| text.parse().unwrap_or_else(|_| panic!("{variable} is a number")))
}

/// Invariants 1 to 10 of the design over random histories. With no variables set: a few fixed seeds and a random one.
#[test]
fn random_histories_agree_with_the_model() {
    let seeds: Vec<u64> = match (number("PASSFERRY_SEED"), number("PASSFERRY_SEEDS")) {
        (Some(seed), _) => vec![seed],
        (None, Some(count)) => (0..count).map(|_| u64::from(rand::random::<u32>())).collect(),
        (None, None) => FIXED.into_iter().chain([u64::from(rand::random::<u32>())]).collect(),
    };
    let mut total = Figures::default();
    for &seed in &seeds {
        println!("seed {seed}");
        let history = ops::history(seed, ROUNDS);
        match attempt(seed, &history) {
            Ok(figures) => total.add(&figures),
            Err((done, words)) => {
                let shorter = if number("PASSFERRY_SHRINK").is_some() { shrink(seed, &history[..done]) } else { history[..done].to_vec() };
                panic!("{}\n{words}", told(seed, &shorter));
            }
        }
    }
    println!("{} seeds: {total}", seeds.len());
}

/// How to see it again, and what was done.
fn told(seed: u64, history: &[Op]) -> String {
    let mut words = format!("\nseed {seed} fails; again: PASSFERRY_SEED={seed} cargo test --test it model -- --nocapture\n");
    for (index, op) in history.iter().enumerate() {
        let _ = writeln!(words, "{index:3}. {op:?}");
    }
    words
}

/// Carries out a history. The error says how many operations were begun, and what was wrong.
fn attempt(seed: u64, history: &[Op]) -> Result<Figures, (usize, String)> {
    let mut done = 0;
    let outcome = catch_unwind(AssertUnwindSafe(|| {
        let mut world = World::new(seed);
        for op in history {
            done += 1;
            world.carry_out(op);
        }
        world.figures()
    }));
    outcome.map_err(|panic| {
        let words = panic.downcast_ref::<String>().cloned().or_else(|| panic.downcast_ref::<&str>().map(|text| (*text).to_owned()));
        (done, words.unwrap_or_default())
    })
}

/// Leaves out operations as long as what is left still fails.
fn shrink(seed: u64, history: &[Op]) -> Vec<Op> {
    let mut history = history.to_vec();
    let mut tries = 0;
    let mut piece = history.len() / 2;
    while piece > 0 {
        let mut from = 0;
        while from + piece < history.len() && tries < SHRINKING {
            let shorter: Vec<Op> = history[..from].iter().chain(&history[from + piece..]).cloned().collect();
            tries += 1;
            match attempt(seed, &shorter) {
                Err((done, _)) => history = shorter[..done].to_vec(),
                Ok(_) => from += piece,
            }
        }
        piece /= 2;
    }
    history
}
