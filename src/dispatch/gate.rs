//! When a request may leave: the account's allowance, how many at once, and what to do while the platform is out.
//!
//! All of it lives on the sending thread. Time is passed in where a decision depends on it.

#[cfg(test)]
mod tests;

use std::cell::RefCell;
use std::collections::VecDeque;
use std::num::NonZeroU32;
use std::rc::Rc;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

use governor::clock::{Clock, DefaultClock};
use governor::{DefaultDirectRateLimiter, Quota, RateLimiter};
use tokio::sync::{Notify, oneshot};

use super::Shared;
use super::pause::{KEPT_MIN, Record};
use crate::platform::{Limits, for_log};
use crate::stop::Stop;

/// Results the breaker looks back on, and how many of them must be failures (failure model D4: 50 % of 50). It need not see all fifty: at
/// the start of a run nothing but failures comes soon enough to half of them.
const WINDOW: usize = 50;
const WINDOW_FAILURES: usize = 25;
/// What one result weighs in the share of failures that is remembered across outages, and the share from which the account is in trouble.
const TROUBLE_WEIGHT: f64 = 0.02;
const TROUBLE_MIN: f64 = 0.1;
/// Longest time between two probes of a platform that is out: so many times the longest back-off of a request, and at most this.
const PROBE_BACKOFFS: u32 = 4;
const PROBE_MAX: Duration = Duration::from_secs(30);
/// Nothing but 429 for this long is an outage.
const SLOW_SHOWN: Duration = Duration::from_mins(1);
/// Longest pause that a 429 is granted without calling it an outage, and the longest without asking again (failure model D3).
pub(super) const SLOW_MAX: Duration = Duration::from_mins(15);
/// First pause after a 429 that names none; doubles up to the second.
const SLOW_FIRST: Duration = Duration::from_secs(1);
const SLOW_LAST: Duration = Duration::from_secs(64);

pub(super) struct Gate {
    name: String,
    state: RefCell<State>,
    /// Time in which the allowance grows by one request.
    period: Option<Duration>,
    limiter: Option<DefaultDirectRateLimiter>,
    clock: DefaultClock,
    timer: Notify,
    shared: Arc<Shared>,
    /// Least pause: before the first probe, and after a 429 that says zero.
    pause_min: Duration,
    /// Longest time between two probes.
    probe_max: Duration,
}

struct State {
    /// Those who wait, each with the weight of its request.
    waiting: VecDeque<(u32, oneshot::Sender<Permit>)>,
    in_flight: usize,
    /// Requests at once, now: grows by one for each window of successes, halves on trouble.
    limit: usize,
    limit_max: usize,
    streak: usize,
    lowered: Option<Instant>,
    not_before: Option<Instant>,
    slow: Duration,
    slowed: Option<Instant>,
    /// First 429 since anything succeeded.
    slowed_since: Option<Instant>,
    out: Option<Out>,
    recent: VecDeque<bool>,
    recent_failures: usize,
    /// The share of failures, the latest counting most; outlives outages.
    trouble: f64,
    successes: u64,
    wake: Option<Instant>,
}

/// Since when and until when nothing is sent.
struct Out {
    since: Instant,
    interval: Duration,
    next: Instant,
    probes: u32,
}

/// Leave to send one request. Dropping it gives the place to the next.
pub(super) struct Permit {
    gate: Rc<Gate>,
    granted: Instant,
    /// The platform was out when this was granted: the request serves as a probe.
    probe: bool,
}

/// What a failure means to the request that met it.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Failed {
    /// It counts as one of its tries.
    Counted,
    /// The account is out; tries are not counted.
    Out {
        /// Time to ask the platform about itself: this request may be the only thing that is wrong.
        ask: bool,
    },
}

enum Ready {
    Yes,
    At(Instant),
    WhenFree,
}

impl State {
    fn ready(&self, now: Instant) -> Ready {
        let at_once = if self.out.is_some() { 1 } else { self.limit };
        if self.in_flight >= at_once {
            return Ready::WhenFree;
        }
        let at = self.not_before.max(self.out.as_ref().map(|out| out.next));
        match at {
            Some(at) if now < at => Ready::At(at),
            _ => Ready::Yes,
        }
    }

    fn remember(&mut self, success: bool) {
        if self.recent.len() == WINDOW && self.recent.pop_front() == Some(false) {
            self.recent_failures -= 1;
        }
        self.recent.push_back(success);
        self.recent_failures += usize::from(!success);
        self.trouble += (f64::from(!success) - self.trouble) * TROUBLE_WEIGHT;
    }

    fn forget(&mut self) {
        self.recent.clear();
        self.recent_failures = 0;
    }

    /// Halves the requests at once; only once for all that were under way together.
    fn lower(&mut self, granted: Instant, now: Instant) {
        if self.lowered.is_none_or(|lowered| granted >= lowered) {
            self.limit = (self.limit / 2).max(1);
            self.lowered = Some(now);
        }
        self.streak = 0;
    }
}

impl Gate {
    pub(super) fn new(name: String, limits: &Limits, shared: Arc<Shared>) -> Rc<Gate> {
        let left = shared.pause.as_ref().and_then(Record::left);
        let gate = Rc::new(Gate {
            name,
            state: RefCell::new(State {
                waiting: VecDeque::new(),
                in_flight: 0,
                limit: limits.in_flight.max(1),
                limit_max: limits.in_flight.max(1),
                streak: 0,
                lowered: None,
                not_before: None,
                slow: SLOW_FIRST,
                slowed: None,
                slowed_since: None,
                out: None,
                recent: VecDeque::with_capacity(WINDOW),
                recent_failures: 0,
                trouble: 0.0,
                successes: 0,
                wake: None,
            }),
            period: period(limits.per_second),
            limiter: limiter(limits.per_second),
            clock: DefaultClock::default(),
            timer: Notify::new(),
            shared,
            pause_min: limits.backoff_min.max(Duration::from_millis(1)),
            probe_max: (limits.backoff_max * PROBE_BACKOFFS).clamp(limits.backoff_min.max(Duration::from_millis(1)), PROBE_MAX),
        });
        if let Some(left) = left {
            let reason = format!(
                "it asked for a pause (429) before passferry was started, which has {} left; passferry check --reach asks it whether that still counts",
                humantime::format_duration(Duration::from_secs(left.as_secs() + 1))
            );
            gate.go_out(&mut gate.state.borrow_mut(), Instant::now(), reason, Some(left));
        }
        gate
    }

    /// Waits for leave to send a request that counts as `weight`. None when draining begins first.
    pub(super) async fn acquire(self: &Rc<Self>, stop: Option<&Stop>, weight: u32) -> Option<Permit> {
        if stop.is_some_and(Stop::is_draining) {
            return None;
        }
        if self.state.borrow().waiting.is_empty()
            && let Some(permit) = self.grant(Instant::now(), weight)
        {
            return Some(permit);
        }
        let (sender, mut receiver) = oneshot::channel();
        self.state.borrow_mut().waiting.push_back((weight, sender));
        self.pump();
        match stop {
            None => receiver.await.ok(),
            Some(stop) => tokio::select! {
                biased;
                () = stop.draining() => None,
                permit = &mut receiver => permit.ok(),
            },
        }
    }

    /// Grants what can be granted at times that nothing else announces. Runs for as long as the gate.
    pub(super) async fn timer(self: Rc<Self>) {
        loop {
            let wake = self.state.borrow().wake;
            match wake {
                None => self.timer.notified().await,
                Some(at) => tokio::select! {
                    () = tokio::time::sleep_until(at.into()) => {
                        self.state.borrow_mut().wake = None;
                        self.pump();
                    }
                    () = self.timer.notified() => {}
                },
            }
        }
    }

    pub(super) fn successes(&self) -> u64 {
        self.state.borrow().successes
    }

    /// Do others fail too, beside a request that failed `own` times? Then it may be no fault of its own (failure model D4: brown-out).
    pub(super) fn others_fail(&self, own: u32) -> bool {
        self.state.borrow().trouble - TROUBLE_WEIGHT * f64::from(own) >= TROUBLE_MIN
    }

    /// The platform answered this request as platforms do, whatever it said.
    pub(super) fn success(&self, permit: &Permit) {
        let mut state = self.state.borrow_mut();
        self.count_success(&mut state);
        state.slow = SLOW_FIRST;
        state.slowed_since = None;
        state.remember(true);
        if state.out.as_ref().is_some_and(|out| permit.probe || permit.granted >= out.since) {
            self.resume(&mut state);
            return;
        }
        state.streak += 1;
        if state.streak >= state.limit && state.limit < state.limit_max {
            state.limit += 1;
            state.streak = 0;
        }
    }

    /// The platform answered when asked about itself.
    pub(super) fn alive(self: &Rc<Self>) {
        let mut state = self.state.borrow_mut();
        self.count_success(&mut state);
        if state.out.is_some() {
            self.resume(&mut state);
        }
        drop(state);
        self.pump();
    }

    fn count_success(&self, state: &mut State) {
        state.successes += 1;
        self.shared.answered.store(true, Ordering::Relaxed);
    }

    fn resume(&self, state: &mut State) {
        if let Some(out) = state.out.take() {
            tracing::info!(platform = self.name, out_for = ?out.since.elapsed(), "the platform answers again");
        }
        state.forget();
        // Everybody waited; not all at once.
        state.limit = 1;
        state.streak = 0;
        self.shared.set_out(None);
    }

    /// A try failed in a way that may pass.
    pub(super) fn failure(&self, permit: &Permit, reason: &str) -> Failed {
        let now = Instant::now();
        let mut state = self.state.borrow_mut();
        state.lower(permit.granted, now);
        if let Some(out) = &mut state.out {
            if permit.probe {
                out.probes += 1;
                self.later(out, now);
            }
            let others = out.probes;
            let alone = state.waiting.iter().all(|(_, waiter)| waiter.is_closed());
            return Failed::Out { ask: permit.probe && (alone || others.is_multiple_of(4)) };
        }
        state.remember(false);
        if state.recent_failures >= WINDOW_FAILURES {
            let words = format!("{} of the last {} requests failed, the latest with: {reason}", state.recent_failures, state.recent.len());
            self.go_out(&mut state, now, words, None);
            return Failed::Out { ask: false };
        }
        Failed::Counted
    }

    /// Nothing can succeed for now.
    pub(super) fn outage(&self, granted: Option<&Permit>, reason: String) {
        let now = Instant::now();
        let mut state = self.state.borrow_mut();
        if let Some(out) = &mut state.out {
            if granted.is_some_and(|permit| permit.probe) {
                self.later(out, now);
                self.shared.set_out(Some((reason, out.since)));
            }
            return;
        }
        self.go_out(&mut state, now, reason, None);
    }

    /// 429: nobody sends for a while.
    pub(super) fn slow(&self, permit: &Permit, after: Option<Duration>) {
        self.shared.slowed.fetch_add(1, Ordering::Relaxed);
        self.shared.counts.slowed();
        let now = Instant::now();
        let mut state = self.state.borrow_mut();
        state.lower(permit.granted, now);
        let fresh = state.slowed.is_none_or(|slowed| permit.granted >= slowed);
        let pause = match after {
            Some(after) => after.max(self.pause_min),
            // Answers to requests sent together say the same thing once.
            None if fresh => {
                let pause = state.slow;
                state.slow = (pause * 2).min(SLOW_LAST);
                pause
            }
            None => Duration::ZERO,
        };
        if fresh {
            state.slowed = Some(now);
        }
        if let Some(record) = self.shared.pause.as_ref().filter(|_| pause >= KEPT_MIN) {
            record.keep(pause.min(SLOW_MAX));
        }
        let since = *state.slowed_since.get_or_insert(now);
        if pause > SLOW_MAX {
            let reason = format!("it asks for a pause of {} (429)", humantime::format_duration(Duration::from_secs(pause.as_secs())));
            self.go_out(&mut state, now, reason, Some(SLOW_MAX));
        } else if state.out.is_none() && now.duration_since(since) >= SLOW_SHOWN {
            // Obeyed all the same; but a run that gets nowhere must not look as if it did.
            let reason = "it answers every request with 429 (too many requests)".to_owned();
            self.go_out(&mut state, now, reason, Some(pause.max(self.pause_min)));
        } else {
            state.not_before = state.not_before.max(Some(now + pause));
            if permit.probe
                && let Some(out) = &mut state.out
            {
                self.later(out, now);
            }
        }
    }

    fn later(&self, out: &mut Out, now: Instant) {
        out.interval = (out.interval * 2).clamp(self.pause_min, self.probe_max);
        out.next = now + out.interval;
    }

    fn go_out(&self, state: &mut State, now: Instant, reason: String, pause: Option<Duration>) {
        let since = state.out.as_ref().map_or(now, |out| out.since);
        if state.out.is_none() {
            tracing::warn!(platform = self.name, reason = for_log(&reason), "the platform is out; nothing is sent but single probes");
        }
        state.forget();
        state.out = Some(Out { since, interval: self.pause_min, next: now + pause.unwrap_or(self.pause_min), probes: 0 });
        self.shared.set_out(Some((reason, since)));
    }

    /// Takes a place when there is one; otherwise says when to look again.
    ///
    /// A heavy request uses up the allowance of those that might have followed it: nobody leaves until it has grown back.
    fn grant(self: &Rc<Self>, now: Instant, weight: u32) -> Option<Permit> {
        let mut state = self.state.borrow_mut();
        let at = match state.ready(now) {
            Ready::WhenFree => return None,
            Ready::At(at) => Some(at),
            Ready::Yes => {
                self.limiter.as_ref().and_then(|limiter| limiter.check().err()).map(|not| now + not.wait_time_from(self.clock.now()))
            }
        };
        if let Some(at) = at {
            if state.wake != Some(at) {
                state.wake = Some(at);
                self.timer.notify_one();
            }
            return None;
        }
        if weight > 1
            && let Some(period) = self.period
        {
            // All of it: meanwhile the limiter grows back the one request that it let through.
            state.not_before = state.not_before.max(Some(now + period.saturating_mul(weight)));
        }
        state.in_flight += 1;
        self.shared.in_flight.store(state.in_flight, Ordering::Relaxed);
        self.shared.counts.charged(weight);
        Some(Permit { gate: self.clone(), granted: now, probe: state.out.is_some() })
    }

    fn pump(self: &Rc<Self>) {
        loop {
            let weight = {
                let mut state = self.state.borrow_mut();
                while state.waiting.front().is_some_and(|(_, waiter)| waiter.is_closed()) {
                    state.waiting.pop_front();
                }
                match state.waiting.front() {
                    Some((weight, _)) => *weight,
                    None => return,
                }
            };
            let Some(permit) = self.grant(Instant::now(), weight) else { return };
            let waiter = self.state.borrow_mut().waiting.pop_front();
            if let Some((_, waiter)) = waiter {
                // It was not closed a moment ago, and nothing ran since.
                let _ = waiter.send(permit);
            }
        }
    }
}

impl Drop for Permit {
    fn drop(&mut self) {
        let mut state = self.gate.state.borrow_mut();
        state.in_flight -= 1;
        self.gate.shared.in_flight.store(state.in_flight, Ordering::Relaxed);
        drop(state);
        self.gate.pump();
    }
}

fn period(per_second: f64) -> Option<Duration> {
    Duration::try_from_secs_f64(1.0 / per_second).ok()
}

/// One twentieth of a second's allowance may go at once: enough for timers of a millisecond, too little for a burst.
fn limiter(per_second: f64) -> Option<DefaultDirectRateLimiter> {
    let period = period(per_second)?;
    #[expect(clippy::cast_sign_loss, reason = "clamped to at least one")]
    let burst = NonZeroU32::new((per_second / 20.0).clamp(1.0, 1e6) as u32)?;
    Some(RateLimiter::direct(Quota::with_period(period)?.allow_burst(burst)))
}
