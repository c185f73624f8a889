//! Operations of a history, drawn from a seed. Each holds all it needs, so that a history with some left out still makes sense.

use std::fmt::Write as _;

use rand::rngs::StdRng;
use rand::{RngExt, SeedableRng};

/// What a feed's files do.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Feed {
    /// Snapshots of points and of a shop.
    Points,
    /// Movements, each with a text that is set.
    Tills,
    /// Movements. Its first file, and the first after a change, waits for a person.
    Web,
}

impl Feed {
    pub const ALL: [Feed; 3] = [Feed::Points, Feed::Tills, Feed::Web];

    pub const fn name(self) -> &'static str {
        match self {
            Feed::Points => "points",
            Feed::Tills => "tills",
            Feed::Web => "web",
        }
    }

    /// Its inbox.
    pub const fn folder(self) -> &'static str {
        match self {
            Feed::Points => "in",
            Feed::Tills => "in-tills",
            Feed::Web => "in-web",
        }
    }

    fn moves(rng: &mut StdRng) -> Feed {
        if rng.random_bool(0.6) { Feed::Tills } else { Feed::Web }
    }
}

#[derive(Clone, Copy, Debug)]
pub enum Death {
    Kill,
    Term,
}

/// A fault of the platform that lasts until it is taken away.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fault {
    DropBefore,
    DropAfter,
    ApplyLater,
    ServerError,
    TooMany,
    Unavailable,
    Html,
    HtmlAfter,
    OtherId,
    WrongJson,
    EventsCut,
    Throttle,
    Slow,
    OutageClose,
    OutageUnavailable,
}

impl Fault {
    const ALL: [Fault; 15] = [
        Fault::DropBefore,
        Fault::DropAfter,
        Fault::ApplyLater,
        Fault::ServerError,
        Fault::TooMany,
        Fault::Unavailable,
        Fault::Html,
        Fault::HtmlAfter,
        Fault::OtherId,
        Fault::WrongJson,
        Fault::EventsCut,
        Fault::Throttle,
        Fault::Slow,
        Fault::OutageClose,
        Fault::OutageUnavailable,
    ];
}

/// How a line of an error report is mended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Mend {
    /// What was wrong is put right.
    Right,
    /// The transaction becomes another one, which must not be taken.
    OtherTransaction,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Change {
    Workers,
    Allowance,
    TimezoneOfWeb,
    TimezoneOfTills,
}

#[derive(Clone, Debug)]
pub enum Op {
    Deliver {
        feed: Feed,
        text: String,
    },
    /// A delivery as it was, to the same feed or to the other one with the same transactions.
    Again {
        which: usize,
        elsewhere: bool,
    },
    /// An error report, mended and dropped back.
    Correct {
        which: usize,
        mend: Mend,
    },
    Fault(Fault),
    Clear,
    /// A sweep; the platform may be out for so long.
    Once {
        patience_ms: u32,
    },
    /// The daemon, ended after a while.
    Run {
        ms: u32,
        death: Death,
    },
    /// A sweep, killed after a while unless it ends before.
    OnceKilled {
        ms: u32,
    },
    Settle {
        which: usize,
        resend: bool,
    },
    Pause(Feed),
    Resume(Feed),
    Approve,
    Discard,
    Retry {
        which: usize,
    },
    Change(Change),
    /// Everything is taken to its end, and judged. Held files may stay held.
    Check {
        leave_held: bool,
    },
}

/// A transaction's content is a function of its number and its variant, so that a repeat is a repeat and each effect is known by its
/// amount alone.
struct Drawn {
    transactions: u32,
    /// Texts that are set; each is another.
    texts: u32,
}

/// Amounts of a transaction begin here; each variant has its own.
const VARIANTS: u32 = 8;
/// No pass has so many points.
pub const TOO_MANY: u32 = 8_000_000;
/// Points that passes of movements begin with.
pub const BEGIN: u32 = 100_000;

pub fn movement_pass(transaction: u32) -> String {
    format!("M-{}", transaction % 4 + 1)
}

/// A transaction's cells: number, pass, direction, amount.
pub fn movement(transaction: u32, variant: u32) -> (String, &'static str, u32) {
    let amount = transaction * VARIANTS + variant;
    let usual = if transaction % 3 == 0 { "burn" } else { "earn" };
    match variant {
        1 => (movement_pass(transaction), usual, amount),
        2 => (movement_pass(transaction + 1), usual, amount),
        3 => (movement_pass(transaction), "burn", TOO_MANY + amount),
        4 => ("M-99".to_owned(), "earn", amount),
        _ => (movement_pass(transaction), usual, amount),
    }
}

impl Drawn {
    fn text(&mut self) -> u32 {
        self.texts += 1;
        self.texts
    }

    fn movements(&mut self, rng: &mut StdRng, feed: Feed) -> String {
        let tills = feed == Feed::Tills;
        let mut text = if tills { "txn,id,move,points,till\n" } else { "txn,id,move,points\n" }.to_owned();
        for _ in 0..rng.random_range(1..=14) {
            let known = self.transactions > 0;
            let (transaction, variant) = match rng.random_range(0..100) {
                0..20 if known => (rng.random_range(1..=self.transactions), 0),
                20..26 if known => (rng.random_range(1..=self.transactions), rng.random_range(1..3)),
                kind => {
                    self.transactions += 1;
                    let variant = match kind {
                        90..95 => 3,
                        95..100 => 4,
                        _ => 0,
                    };
                    (self.transactions, variant)
                }
            };
            let (pass, direction, amount) = movement(transaction, variant);
            let (mut number, mut points) = (format!("T-{transaction}"), amount.to_string());
            match rng.random_range(0..100) {
                0..3 => number.clear(),
                3..7 => points = "x".to_owned(),
                _ => {}
            }
            let _ = write!(text, "{number},{pass},{direction},{points}");
            if tills {
                let till = if rng.random_bool(0.5) { format!("till-{}", self.text()) } else { String::new() };
                let _ = write!(text, ",{till}");
            }
            text.push('\n');
        }
        text
    }

    fn snapshot(&mut self, rng: &mut StdRng) -> String {
        let mut text = "id,points,store\n".to_owned();
        for _ in 0..rng.random_range(1..=9) {
            let pass = match rng.random_range(0..20) {
                0..14 => format!("C-{}", rng.random_range(1..=5)),
                14..19 => format!("M-{}", rng.random_range(1..=4)),
                _ => "C-99".to_owned(),
            };
            // Movements alone say what points these passes have.
            let points = match rng.random_range(0..20) {
                _ if pass.starts_with('M') => String::new(),
                0 => "x".to_owned(),
                1..4 => String::new(),
                4..6 => "0".to_owned(),
                6..10 => rng.random_range(1..4).to_string(),
                _ => self.text().to_string(),
            };
            let store = match rng.random_range(0..8) {
                0..2 => String::new(),
                2..4 => format!("store-{}", rng.random_range(1..3)),
                _ => format!("shop-{}", self.text()),
            };
            let _ = writeln!(text, "{pass},{points},{store}");
        }
        text
    }

    fn delivery(&mut self, rng: &mut StdRng) -> Op {
        let which = rng.random_range(0..1000);
        match rng.random_range(0..100) {
            0..25 => Op::Deliver { feed: Feed::Points, text: self.snapshot(rng) },
            25..70 => {
                let feed = Feed::moves(rng);
                Op::Deliver { feed, text: self.movements(rng, feed) }
            }
            70..73 => Op::Deliver { feed: Feed::ALL[rng.random_range(0..3)], text: "nothing,known\n1,2\n".to_owned() },
            73..86 => Op::Again { which, elsewhere: rng.random_bool(0.4) },
            _ => Op::Correct { which, mend: if rng.random_bool(0.8) { Mend::Right } else { Mend::OtherTransaction } },
        }
    }
}

fn decision(rng: &mut StdRng) -> Op {
    let which = rng.random_range(0..1000);
    match rng.random_range(0..100) {
        0..30 => Op::Settle { which, resend: rng.random_bool(0.5) },
        30..42 => Op::Pause(Feed::ALL[rng.random_range(0..3)]),
        42..54 => Op::Resume(Feed::ALL[rng.random_range(0..3)]),
        54..64 => Op::Approve,
        64..68 => Op::Discard,
        68..80 => Op::Retry { which },
        _ => Op::Change([Change::Workers, Change::Allowance, Change::TimezoneOfWeb, Change::TimezoneOfTills][rng.random_range(0..4)]),
    }
}

fn start(rng: &mut StdRng) -> Op {
    match rng.random_range(0..100) {
        0..25 => Op::Once { patience_ms: rng.random_range(100..1500) },
        25..55 => Op::Run { ms: rng.random_range(30..1200), death: if rng.random_bool(0.7) { Death::Kill } else { Death::Term } },
        _ => Op::OnceKilled { ms: rng.random_range(20..900) },
    }
}

/// The history of a seed.
pub fn history(seed: u64, rounds: u32) -> Vec<Op> {
    let mut rng = StdRng::seed_from_u64(seed);
    let rng = &mut rng;
    let mut drawn = Drawn { transactions: 0, texts: 10 };
    let mut ops = Vec::new();
    for _ in 0..rounds {
        for _ in 0..rng.random_range(1..=2) {
            for _ in 0..rng.random_range(1..=3) {
                ops.push(drawn.delivery(rng));
            }
            for _ in 0..rng.random_range(0..=2) {
                ops.push(decision(rng));
            }
            if rng.random_bool(0.6) {
                ops.push(Op::Fault(Fault::ALL[rng.random_range(0..Fault::ALL.len())]));
            }
            ops.push(start(rng));
            if rng.random_bool(0.3) {
                ops.push(Op::Clear);
            }
        }
        ops.push(Op::Check { leave_held: rng.random_bool(0.2) });
    }
    ops
}
