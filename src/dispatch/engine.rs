//! Conversations, and the lanes that keep the changes of one pass in order. Runs on the sending thread.

use std::cell::{Cell, RefCell};
use std::collections::hash_map::{Entry, HashMap};
use std::collections::{HashSet, VecDeque};
use std::pin::Pin;
use std::rc::Rc;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant, SystemTime};

use reqwest::header::{AUTHORIZATION, HeaderMap};
use tokio::sync::Notify;
use tokio::sync::mpsc::UnboundedReceiver;
use tracing::Span;

use super::adds::AddFate;
use super::batch::Gathered;
use super::carrier::Carrier;
use super::caught::{Panicked, caught};
use super::changes::{Came, Ending};
use super::client::Lost;
use super::gate::{Failed, Gate};
use super::{Caller, Shared};
use crate::outcome::{Code, Outcome};
use crate::platform::oauth::NoToken;
use crate::platform::{Account, Answer, ChangeResult, Conversation, Limits, OperationResult, RawAnswer, Request, Step, Verdict};
use crate::row::{Addition, Change, PassKey};
use crate::stop::Stop;
use crate::trace;

/// How many times the usual tries a request is given while others fail as well.
const TRIES_IN_TROUBLE: u32 = 4;

/// Something to run on the sending thread, which alone may hold the engine.
pub(super) type Run = Box<dyn FnOnce(Rc<Engine>) -> Pin<Box<dyn Future<Output = ()>>> + Send>;

/// What the sending thread is asked to do.
pub(super) enum Command {
    Job(Box<Job>),
    Run(Run),
    End,
}

/// What a lane carries.
pub(super) enum Work {
    Change(Change),
    Add(Addition),
}

/// Something to do to a pass, and where its result goes.
pub(super) struct Job {
    pub work: Work,
    pub key: PassKey,
    pub caller: Caller,
    pub done: Ending,
}

/// How long a conversation puts up with trouble.
pub(super) enum Patience {
    /// Through outages, until it is stopped.
    Endless(Caller),
    /// As many tries as the limits say, whoever else succeeds.
    Tries,
    /// Not at all, and without waiting for leave.
    Once,
}

impl Patience {
    fn stop(&self) -> Option<&Stop> {
        match self {
            Patience::Endless(caller) => Some(&caller.stop),
            Patience::Tries | Patience::Once => None,
        }
    }

    /// What its requests are a part of.
    fn span(&self) -> Span {
        match self {
            Patience::Endless(caller) => caller.span.clone(),
            Patience::Tries | Patience::Once => Span::none(),
        }
    }

    /// A request leaves.
    fn count(&self) {
        if let Patience::Endless(caller) = self {
            caller.requests.fetch_add(1, Ordering::Relaxed);
        }
    }
}

/// How one try ended.
enum Attempt {
    Final(Answer),
    Again {
        reason: String,
        unsure: bool,
    },
    /// Refused, and nobody knows yet whether it is about the request: this answer counts when it stays so.
    Undecided {
        reason: String,
        answer: Answer,
    },
    Slow(Option<Duration>),
    Unauthorized(String),
    /// There are no credentials that could be used, or the token endpoint refuses them; nothing was sent.
    Unsigned(String),
    Outage {
        reason: String,
        unsure: bool,
    },
}

pub(super) struct Engine {
    name: String,
    account: Account,
    carrier: Carrier,
    limits: Limits,
    gate: Rc<Gate>,
    shared: Arc<Shared>,
    /// The passes with a change under way, and the changes that wait for it.
    lanes: RefCell<HashMap<PassKey, VecDeque<Job>>>,
    /// Passes with an add in doubt: later ones wait until a person has settled it.
    doubtful: RefCell<HashSet<PassKey>>,
    asking: Cell<bool>,
    /// Held by the one who asks for a token, while the others wait for it.
    token: tokio::sync::Mutex<()>,
    /// Changes that gather for one request.
    pub(super) gathered: RefCell<Gathered>,
    /// First changes of lanes that nobody carries out yet.
    fresh: RefCell<VecDeque<Job>>,
    /// Carriers that wait and were not yet promised a lane.
    idle: Cell<usize>,
    wake: Notify,
}

impl Engine {
    pub(super) fn new(name: String, account: Account, carrier: Carrier, limits: Limits, shared: Arc<Shared>) -> Rc<Engine> {
        let gate = Gate::new(name.clone(), &limits, shared.clone());
        Rc::new(Engine {
            name,
            account,
            carrier,
            limits,
            gate,
            shared,
            lanes: RefCell::default(),
            doubtful: RefCell::default(),
            asking: Cell::new(false),
            token: tokio::sync::Mutex::default(),
            gathered: RefCell::default(),
            fresh: RefCell::default(),
            idle: Cell::new(0),
            wake: Notify::new(),
        })
    }

    /// Takes commands until told to end; what is under way then is dropped.
    pub(super) async fn serve(self: Rc<Self>, mut commands: UnboundedReceiver<Command>) {
        tokio::task::spawn_local(self.gate.clone().timer());
        while let Some(command) = commands.recv().await {
            match command {
                Command::Job(job) => self.enqueue(*job),
                Command::Run(run) => drop(tokio::task::spawn_local(run(self.clone()))),
                Command::End => return,
            }
        }
    }

    fn enqueue(self: &Rc<Self>, job: Job) {
        match self.lanes.borrow_mut().entry(job.key) {
            Entry::Occupied(mut lane) => lane.get_mut().push_back(job),
            Entry::Vacant(lane) => {
                lane.insert(VecDeque::new());
                if let Some(left) = self.idle.get().checked_sub(1) {
                    self.idle.set(left);
                    self.fresh.borrow_mut().push_back(job);
                    self.wake.notify_one();
                } else {
                    tokio::task::spawn_local(self.clone().carry(job));
                }
            }
        }
    }

    /// Carries out lane after lane. A task of its own for each lane would be set up at a good part of a request's cost.
    async fn carry(self: Rc<Self>, first: Job) {
        self.run_lane(first).await;
        loop {
            let next = self.fresh.borrow_mut().pop_front();
            if let Some(job) = next {
                self.run_lane(job).await;
            } else {
                self.idle.set(self.idle.get() + 1);
                self.wake.notified().await;
            }
        }
    }

    async fn run_lane(self: &Rc<Self>, first: Job) {
        let mut next = Some(first);
        while let Some(Job { work, key, caller, done }) = next {
            match work {
                Work::Change(change) => {
                    let (row, fields) = (change.row, change.fields.iter().map(|field| field.field).collect());
                    let end = if self.limits.change_batch > 1 {
                        self.gather(change, caller).await
                    } else {
                        let patience = Patience::Endless(caller);
                        caught(async { self.converse(self.account.apply(change), &patience).await }).await
                    };
                    done.send(Came::Change(row, end.unwrap_or_else(|Panicked| broken(fields))));
                }
                Work::Add(add) => {
                    let (row, add_key) = (add.row, add.key);
                    let fate = caught(self.add(add, key, caller, &done)).await.unwrap_or_else(|Panicked| {
                        self.doubt(key);
                        AddFate::InDoubt { message: Panicked::WORDS.to_owned() }
                    });
                    done.send(Came::Add(row, add_key, fate));
                }
            }
            let mut lanes = self.lanes.borrow_mut();
            next = lanes.get_mut(&key).and_then(VecDeque::pop_front);
            if next.is_none() {
                lanes.remove(&key);
            }
        }
    }

    pub(super) fn account(&self) -> &Account {
        &self.account
    }

    pub(super) fn limits(&self) -> &Limits {
        &self.limits
    }

    pub(super) fn is_doubtful(&self, pass: PassKey) -> bool {
        self.doubtful.borrow().contains(&pass)
    }

    pub(super) fn doubt(&self, pass: PassKey) {
        self.doubtful.borrow_mut().insert(pass);
    }

    /// A person has settled what was in doubt of this pass.
    pub(super) fn undoubt(&self, pass: PassKey) {
        self.doubtful.borrow_mut().remove(&pass);
    }

    pub(super) async fn converse<T>(self: &Rc<Self>, mut talk: Box<dyn Conversation<T>>, patience: &Patience) -> T {
        let mut answer = None;
        loop {
            match talk.next(answer.take()) {
                Step::Done(end) => return end,
                Step::Send(request) => answer = Some(self.exchange(&request, patience).await),
                Step::Later(pause, request) => {
                    let pause = tokio::time::sleep(pause);
                    let stopped = match patience.stop() {
                        None => {
                            pause.await;
                            false
                        }
                        Some(stop) => tokio::select! {
                            () = pause => false,
                            () = stop.draining() => true,
                        },
                    };
                    answer = Some(if stopped { Answer::Stopped { sent: false } } else { self.exchange(&request, patience).await });
                }
            }
        }
    }

    /// One request with all the repeating it takes.
    async fn exchange(self: &Rc<Self>, request: &Request, patience: &Patience) -> Answer {
        if matches!(patience, Patience::Once) {
            return self.exchange_once(request, patience).await;
        }
        let stop = patience.stop();
        let successes = self.gate.successes();
        let (mut tries, mut repeats, mut unsure, mut signed_again) = (0, 0_u32, false, false);
        let mut refusal = None;
        loop {
            let Some(permit) = self.gate.acquire(stop, request.weight).await else { return Answer::Stopped { sent: unsure } };
            if request.expires.is_some_and(|end| Instant::now() >= end) {
                return Answer::Lost { message: "the key that it was sent with is too old to be repeated".to_owned() };
            }
            if repeats > 0 {
                self.shared.repeats.fetch_add(1, Ordering::Relaxed);
                self.shared.counts.repeated();
            }
            repeats += 1;
            let attempt = match stop {
                None => self.attempt(request, patience).await,
                Some(stop) => tokio::select! {
                    biased;
                    attempt = self.attempt(request, patience) => attempt,
                    () = stop.stopped_now() => return Answer::Stopped { sent: true },
                },
            };
            let (reason, failed) = match attempt {
                Attempt::Final(answer) => {
                    self.gate.success(&permit);
                    return answer;
                }
                Attempt::Slow(after) => {
                    self.gate.slow(&permit, after);
                    continue;
                }
                Attempt::Undecided { reason, answer } => {
                    self.gate.success(&permit);
                    refusal = Some(answer);
                    (reason, Failed::Counted)
                }
                // Once with a fresh signature, before anybody is told.
                Attempt::Unauthorized(_) if !signed_again => {
                    signed_again = true;
                    continue;
                }
                Attempt::Unauthorized(reason) | Attempt::Unsigned(reason) => {
                    self.gate.outage(Some(&permit), reason.clone());
                    (reason, Failed::Out { ask: false })
                }
                Attempt::Outage { reason, unsure: maybe } => {
                    unsure |= maybe;
                    self.gate.outage(Some(&permit), reason.clone());
                    (reason, Failed::Out { ask: false })
                }
                Attempt::Again { reason, unsure: maybe } => {
                    unsure |= maybe;
                    signed_again = false;
                    refusal = None;
                    let failed = self.gate.failure(&permit, &reason);
                    (reason, failed)
                }
            };
            drop(permit);
            if unsure && !request.repeatable {
                return Answer::Lost { message: reason };
            }
            let counts = failed == Failed::Counted || matches!(patience, Patience::Tries);
            tries += u32::from(counts);
            // Where half of all requests fail, a few rows must fail several times running; they are given longer, not for ever.
            let patient = refusal.is_none() && matches!(patience, Patience::Endless(_)) && self.gate.others_fail(tries);
            if tries >= if patient { self.limits.tries.saturating_mul(TRIES_IN_TROUBLE) } else { self.limits.tries } {
                if matches!(patience, Patience::Tries) || self.gate.successes() > successes || self.ask_platform().await {
                    return refusal.unwrap_or(Answer::Exhausted { tries, message: reason, denied: false });
                }
                self.gate.outage(None, reason);
            } else if patient && tries == self.limits.tries && self.gate.successes() == successes && !self.ask_platform().await {
                // Nothing succeeds for anybody: that is no brown-out, and pauses that double would take minutes to show it.
                self.gate.outage(None, reason);
            } else if counts {
                let pause = tokio::time::sleep(backoff(&self.limits, tries));
                match stop {
                    None => pause.await,
                    Some(stop) => tokio::select! {
                        () = pause => {}
                        () = stop.draining() => return Answer::Stopped { sent: unsure },
                    },
                }
            } else if failed == (Failed::Out { ask: true }) {
                self.ask_platform().await;
            }
        }
    }

    async fn exchange_once(&self, request: &Request, patience: &Patience) -> Answer {
        let mut attempt = self.attempt(request, patience).await;
        if matches!(attempt, Attempt::Unauthorized(_)) {
            attempt = self.attempt(request, patience).await;
        }
        let denied = matches!(attempt, Attempt::Unauthorized(_) | Attempt::Unsigned(_));
        let message = match attempt {
            Attempt::Final(answer) | Attempt::Undecided { answer, .. } => return answer,
            Attempt::Again { reason, .. } | Attempt::Unauthorized(reason) | Attempt::Unsigned(reason) | Attempt::Outage { reason, .. } => {
                reason
            }
            Attempt::Slow(None) => "it asks to slow down (429)".to_owned(),
            Attempt::Slow(Some(after)) => format!("it asks for a pause of {} (429)", humantime::format_duration(after)),
        };
        Answer::Exhausted { tries: 1, message, denied }
    }

    /// Does the platform answer at all? Tells a row that fails alone from a platform that fails. One asks for all.
    async fn ask_platform(self: &Rc<Self>) -> bool {
        if self.asking.replace(true) {
            return false;
        }
        let reach = Box::pin(self.converse(self.account.probe(), &Patience::Once)).await;
        self.asking.set(false);
        if reach.ok {
            self.gate.alive();
        }
        reach.ok
    }

    /// Sees to it that there is a token, where the account needs one. One asks for all.
    async fn renew_token(&self, now: SystemTime) -> Result<(), NoToken> {
        let Some(tokens) = self.account.tokens() else { return Ok(()) };
        if tokens.header(now).is_some() {
            return Ok(());
        }
        let _one = self.token.lock().await;
        let now = SystemTime::now();
        if tokens.header(now).is_some() {
            return Ok(());
        }
        let grant = tokens.grant();
        let asked = grant.headers().and_then(|headers| Ok((headers, grant.form(now)?)));
        let (headers, form) = asked.map_err(|error| NoToken::Denied(format!("no credentials to ask for a token with: {error}")))?;
        let came = match self.carrier.send_form(grant.address(), headers, form).await {
            Ok(raw) => tokens.take(raw.status, &raw.body, now),
            Err(Lost::Unreachable(reason) | Lost::Broken(reason)) => {
                Err(NoToken::Unavailable(format!("no answer from the token endpoint: {reason}")))
            }
        };
        self.shared.counts.asked_for_token(&came);
        came
    }

    async fn attempt(&self, request: &Request, patience: &Patience) -> Attempt {
        let mut headers = HeaderMap::with_capacity(4);
        let now = SystemTime::now();
        if let Some(reason) = crate::clock::fault(now) {
            return Attempt::Outage { reason, unsure: false };
        }
        match self.renew_token(now).await {
            Ok(()) => {}
            Err(NoToken::Denied(reason)) => return Attempt::Unsigned(reason),
            Err(NoToken::Unavailable(reason)) => return Attempt::Outage { reason, unsure: false },
        }
        // A token that was asked for a moment ago is younger than this try.
        if let Err(error) = self.account.authorize(&mut headers, SystemTime::now()) {
            return Attempt::Unsigned(format!("no credentials to sign with: {error}"));
        }
        let token = self.account.tokens().and_then(|tokens| Some((tokens, headers.get(AUTHORIZATION)?.clone())));
        self.shared.requests.fetch_add(1, Ordering::Relaxed);
        patience.count();
        let mut leaving = self.shared.counts.leaves();
        let span = trace::request(&patience.span(), &self.name, &request.method);
        trace::tell(&span, &mut headers);
        let raw = match self.carrier.send(request, headers).await {
            Ok(raw) => raw,
            Err(Lost::Unreachable(reason)) => {
                leaving.unreachable();
                trace::unanswered(&span, "unreachable");
                return Attempt::Outage { reason, unsure: false };
            }
            Err(Lost::Broken(reason)) => {
                leaving.lost();
                trace::unanswered(&span, "lost");
                tracing::debug!(method = %request.method, reason, "no answer");
                return Attempt::Again { reason, unsure: true };
            }
        };
        leaving.answered(raw.status);
        trace::answered(&span, raw.status);
        drop((leaving, span));
        let verdict = self.account.judge(request, &RawAnswer { status: raw.status, headers: &raw.headers, body: &raw.body });
        tracing::debug!(method = %request.method, status = raw.status, verdict = ?kind(&verdict), "answered");
        if let (Verdict::Reauthorize { .. }, Some((tokens, refused))) = (&verdict, &token) {
            tokens.forget(refused);
        }
        match verdict {
            Verdict::Final => Attempt::Final(Answer::Http { status: raw.status, body: raw.body }),
            Verdict::Again { reason } => Attempt::Again { reason, unsure: true },
            Verdict::SlowDown { after } => Attempt::Slow(after),
            Verdict::Reauthorize { reason } => Attempt::Unauthorized(reason),
            Verdict::Outage { reason } => Attempt::Outage { reason, unsure: true },
            Verdict::Barred { reason } => Attempt::Outage { reason, unsure: false },
            Verdict::Undecided { reason } => Attempt::Undecided { reason, answer: Answer::Http { status: raw.status, body: raw.body } },
        }
    }
}

/// How a change ended whose conversation panicked: repeating it would panic again.
fn broken(fields: Vec<u8>) -> ChangeResult {
    let message = Panicked::WORDS.to_owned();
    let result = OperationResult { operation: "change", outcome: Outcome::Refused, code: Some(Code::InternalError), message, fields };
    ChangeResult { operations: vec![result], pass_id: None }
}

/// A verdict's name, for logs: its reason may quote the platform.
const fn kind(verdict: &Verdict) -> &'static str {
    match verdict {
        Verdict::Final => "final",
        Verdict::Again { .. } => "again",
        Verdict::SlowDown { .. } => "slow down",
        Verdict::Reauthorize { .. } => "sign again",
        Verdict::Outage { .. } => "outage",
        Verdict::Barred { .. } => "barred",
        Verdict::Undecided { .. } => "undecided",
    }
}

/// The pause after the `tries`-th failure: anywhere between the least pause and its double for each try, so that requests that failed
/// together do not return together.
fn backoff(limits: &Limits, tries: u32) -> Duration {
    let most = limits.backoff_min.saturating_mul(1_u32 << tries.min(16)).min(limits.backoff_max).max(limits.backoff_min);
    if most.is_zero() { most } else { rand::random_range(limits.backoff_min..=most) }
}
