//! The trouble the sandbox can make, as data. Everything is off by default and can be changed while the server runs.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant, SystemTime};

use rand::rngs::StdRng;
use rand::{RngExt, SeedableRng};
use serde::{Deserialize, Serialize};

use super::passkit::{ErrorShape, LongLived};
use super::trouble::{About, Rule, Trouble};

/// How long a request stays refused once it met [`Trouble::Unavailable`] (contract section 3.1).
pub const UNAVAILABLE_FOR: Duration = Duration::from_millis(250);

/// All knobs. As JSON it is what `PUT /sandbox/faults` takes; absent knobs are off. Those of one platform alone stand under its name, but
/// for PassKit's, which stand here.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
#[allow(clippy::struct_excessive_bools)] // independent switches, each with a name of its own in the JSON
pub struct Faults {
    /// Start of the random sequence, so that a run can be repeated.
    pub seed: u64,
    /// Added to the server's clock: tokens are judged by it and the `Date` header shows it.
    pub clock_skew_seconds: i64,
    pub latency: Latency,
    pub throttle: Option<Throttle>,
    pub outage: Option<Outage>,
    /// Tried in order for each request; each one that matches takes effect.
    pub rules: Vec<Rule>,
    pub error_shape: ErrorShape,
    /// Answer 400 to a field the contract does not name instead of dropping it.
    pub reject_unknown_fields: bool,
    /// Refuse tokens whose `exp` is more than 60 s ahead (contract section 1.1: reports differ).
    pub strict_expiry: bool,
    /// A deleted member stays readable with status `DELETED` instead of answering 404 (section 4.2, M12: unknown which).
    pub keep_deleted: bool,
    /// The tier allows balances below zero.
    pub overdraw: bool,
    /// `person`, and a ticket's `seatInfo`, in an update replaces the stored one instead of being merged into it (section 2.1: unknown which).
    pub replace_person: bool,
    /// How long reads and lists of members show what stood there before a write; the write's own answer shows it at once.
    pub members_lag_ms: u64,
    /// How long lists of events leave out a new one.
    pub events_lag_ms: u64,
    /// Changes leave no event.
    pub no_events: bool,
    /// Events are kept without the caller's `externalEventId` (contract section 4.2: that it comes back is inferred).
    pub no_event_ids: bool,
    /// Both lists of events answer this status instead, 404 or 501.
    pub event_lists: Option<u16>,
    /// Answers to calls on points name the member and no balance.
    pub no_balances: bool,
    /// No page of a list holds more rows, whatever its `limit` says (contract section 3.3: no maximum is documented).
    pub page_max: Option<usize>,
    /// Updates of coupons and tickets take over falsy values too (section 2.1: their default is unknown).
    pub put_fields: bool,
    /// Status of a second redemption instead of 400; 200 redeems again (sections 5 and 6: unknown which).
    pub second_redeem: Option<u16>,
    /// Long-lived tokens are refused.
    pub long_lived_token: LongLived,
    pub google_wallet: super::google_wallet::Knobs,
    pub thewalletcrew: super::thewalletcrew::Knobs,
    pub airship: super::airship::Knobs,
    pub passentry: super::passentry::Knobs,
    pub tills: super::tills::Knobs,
}

/// Time added before a request is handled.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case", deny_unknown_fields)]
pub enum Latency {
    #[default]
    None,
    Fixed {
        ms: u64,
    },
    /// Half of the requests stay below `p50_ms`; one in a hundred takes `p99_ms`.
    Spread {
        p50_ms: u64,
        p95_ms: u64,
        p99_ms: u64,
    },
}

impl Latency {
    /// The distribution of contract section 10.
    pub const TYPICAL: Latency = Latency::Spread { p50_ms: 60, p95_ms: 300, p99_ms: 1500 };

    fn sample(self, at: f64) -> Duration {
        let ms = match self {
            Latency::None => 0.0,
            Latency::Fixed { ms } => ms as f64,
            Latency::Spread { p50_ms, p95_ms, p99_ms } => {
                let (p50, p95, p99) = (p50_ms as f64, p95_ms as f64, p99_ms as f64);
                match at {
                    at if at < 0.5 => p50 * (0.5 + at),
                    at if at < 0.95 => p50 + (p95 - p50) * (at - 0.5) / 0.45,
                    at if at < 0.99 => p95 + (p99 - p95) * (at - 0.95) / 0.04,
                    _ => p99,
                }
            }
        };
        Duration::from_secs_f64(ms.max(0.0) / 1000.0)
    }
}

/// A token bucket over the whole account; what does not fit is answered 429.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Throttle {
    pub per_second: f64,
    pub burst: f64,
    pub retry_after: RetryAfter,
}

impl Default for Throttle {
    fn default() -> Throttle {
        Throttle { per_second: 50.0, burst: 100.0, retry_after: RetryAfter::None }
    }
}

/// The `Retry-After` header of a 429.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum RetryAfter {
    #[default]
    None,
    /// Whole seconds until a request fits, at least 1.
    Seconds,
    /// The same as an HTTP date on the server's clock.
    Date,
    /// Ten years, in seconds.
    TenYears,
}

/// Nothing works, whatever the request.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Outage {
    /// Connections are accepted and closed without an answer.
    Close,
    /// 503 for all.
    Unavailable,
    /// 401 for all.
    Unauthorized,
}

/// Read and change the knobs of a running server.
#[derive(Clone)]
pub struct FaultsHandle(Arc<Mutex<Engine>>);

impl FaultsHandle {
    pub(super) fn new(faults: Faults) -> FaultsHandle {
        FaultsHandle(Arc::new(Mutex::new(Engine::new(faults))))
    }

    /// The knobs as they stand; `next` counts show what is left.
    pub fn get(&self) -> Faults {
        self.lock().faults.clone()
    }

    /// Takes all knobs anew, and restarts the random sequence and the token bucket.
    pub fn set(&self, faults: Faults) {
        *self.lock() = Engine::new(faults);
    }

    /// Changes some knobs, as [`FaultsHandle::set`].
    pub fn change(&self, change: impl FnOnce(&mut Faults)) {
        let mut engine = self.lock();
        let mut faults = engine.faults.clone();
        change(&mut faults);
        *engine = Engine::new(faults);
    }

    /// Adds one rule and leaves all else, the random sequence too, as it is.
    pub fn add(&self, rule: Rule) {
        self.lock().faults.rules.push(rule);
    }

    /// Everything off.
    pub fn clear(&self) {
        self.set(Faults::default());
    }

    pub(super) fn decide(&self, about: &About<'_>) -> Decision {
        self.lock().decide(about)
    }

    /// What rules do to a part of a batch; the batch itself has met the rest.
    pub(super) fn befall(&self, about: &About<'_>) -> Vec<Trouble> {
        self.lock().troubles(about)
    }

    fn lock(&self) -> MutexGuard<'_, Engine> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn skewed(seconds: i64) -> SystemTime {
    let by = Duration::from_secs(seconds.unsigned_abs());
    let now = SystemTime::now();
    if seconds < 0 { now.checked_sub(by) } else { now.checked_add(by) }.unwrap_or(now)
}

/// What befalls one request.
pub(super) struct Decision {
    pub wait: Duration,
    pub clock: SystemTime,
    pub outage: Option<Outage>,
    pub throttled: Option<Throttled>,
    pub troubles: Vec<Trouble>,
    /// The knobs as they were; its `next` counts are of no meaning.
    pub knobs: Arc<Faults>,
}

/// Refused by the token bucket.
pub(super) struct Throttled {
    /// The value of `Retry-After`, where one is sent.
    pub retry_after: Option<String>,
}

struct Engine {
    faults: Faults,
    knobs: Arc<Faults>,
    random: StdRng,
    tokens: f64,
    filled: Instant,
    unavailable: HashMap<u64, Instant>,
}

impl Engine {
    fn new(faults: Faults) -> Engine {
        Engine {
            random: StdRng::seed_from_u64(faults.seed),
            tokens: faults.throttle.map_or(0.0, |throttle| throttle.burst),
            filled: Instant::now(),
            unavailable: HashMap::new(),
            knobs: Arc::new(faults.clone()),
            faults,
        }
    }

    fn decide(&mut self, about: &About<'_>) -> Decision {
        let clock = skewed(self.faults.clock_skew_seconds);
        let wait = match self.faults.latency {
            Latency::None => Duration::ZERO,
            latency => latency.sample(self.random.random::<f64>()),
        };
        Decision {
            wait,
            clock,
            outage: self.faults.outage,
            throttled: self.throttle(clock),
            troubles: self.troubles(about),
            knobs: Arc::clone(&self.knobs),
        }
    }

    fn throttle(&mut self, clock: SystemTime) -> Option<Throttled> {
        let throttle = self.faults.throttle?;
        let now = Instant::now();
        self.tokens = (self.tokens + now.duration_since(self.filled).as_secs_f64() * throttle.per_second).min(throttle.burst);
        self.filled = now;
        if self.tokens >= 1.0 {
            self.tokens -= 1.0;
            return None;
        }
        let wait = Duration::from_secs_f64(((1.0 - self.tokens) / throttle.per_second).ceil().clamp(1.0, 86_400.0));
        let retry_after = match throttle.retry_after {
            RetryAfter::None => None,
            RetryAfter::Seconds => Some(wait.as_secs().to_string()),
            RetryAfter::Date => Some(httpdate::fmt_http_date(clock + wait)),
            RetryAfter::TenYears => Some((10 * 365 * 86_400u64).to_string()),
        };
        Some(Throttled { retry_after })
    }

    fn troubles(&mut self, about: &About<'_>) -> Vec<Trouble> {
        let mut met = Vec::new();
        for rule in &mut self.faults.rules {
            if !rule.matches(about) {
                continue;
            }
            if rule.trouble == Trouble::Unavailable
                && let Some(since) = self.unavailable.get(&about.fingerprint)
            {
                if since.elapsed() < UNAVAILABLE_FOR {
                    met.push(Trouble::Unavailable);
                } else {
                    self.unavailable.remove(&about.fingerprint);
                }
                continue;
            }
            if rule.share < 1.0 && self.random.random::<f64>() >= rule.share {
                continue;
            }
            if let Some(left) = &mut rule.next {
                *left -= 1;
            }
            if rule.trouble == Trouble::Unavailable {
                self.unavailable.insert(about.fingerprint, Instant::now());
            }
            met.push(match rule.trouble {
                // What it met with is the amount itself.
                Trouble::OtherWriter { most } => Trouble::OtherWriter { most: self.random.random_range(1..=most.max(1)) },
                ref other => other.clone(),
            });
        }
        met
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_spread_of_latency_meets_its_percentiles() {
        let ms = |at| Latency::TYPICAL.sample(at).as_secs_f64() * 1000.0;
        for (at, expected) in [(0.0, 30.0), (0.5, 60.0), (0.95, 300.0), (0.99, 1500.0), (0.999, 1500.0)] {
            assert!((ms(at) - expected).abs() < 0.001, "at {at}: {}", ms(at));
        }
        assert_eq!(Latency::None.sample(0.9), Duration::ZERO);
    }
}
