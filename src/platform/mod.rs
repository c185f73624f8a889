//! Pass platforms: their limits, which requests an operation needs, and what an answer means.
//!
//! A platform does no I/O and keeps no time: it describes requests and classifies answers. `dispatch` sends and waits, the pipeline decides.
//! A piece of work is a [`Conversation`]: it names a request, is given the answer, and names the next or says how it ended.

mod address;
pub mod apple_wallet;
pub mod google_wallet;
pub mod http;
mod judge;
mod numbers;
pub mod oauth;
pub mod passkit;
mod rights;
mod strict;
mod talk;
pub mod thewalletcrew;

use std::sync::Arc;
use std::time::{Duration, Instant, SystemTime};

use bytes::Bytes;
use reqwest::Method;
use reqwest::header::{HeaderName, HeaderValue};

use crate::config::meant::PlatformKind;
use crate::config::meant::apple::AppleWallet;
use crate::outcome::{Code, Outcome};
use crate::row::{Addition, Change, Found, Target, Verb};
use crate::schema::value::Value;
use crate::secret::SecretError;

pub(crate) use judge::for_log;
pub(crate) use oauth::base64url;

/// Airship Wallet as a description that [`http`] reads.
pub const AIRSHIP: &str = include_str!("http/described/airship.toml");

/// What a pass field can hold. The mapping coerces values to it before anything is compared or sent.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum FieldKind {
    Text,
    /// A decimal number.
    Number,
    /// A whole number.
    Integer,
    Boolean,
    Date,
    /// An instant; a date alone means the end of that day in the feed's time zone.
    Instant,
    /// Whatever the schema makes of the cell.
    Any,
}

/// What the platform says of a field name in a mapping.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FieldRule {
    pub kind: FieldKind,
    /// The operation that carries it (`points`, `fields`, `tier`, `expiry`): fields of one operation end together.
    pub operation: &'static str,
    /// May it be cleared (set to nothing)?
    pub clearable: bool,
    /// Is it a balance, whose fall to zero the `zeroed` guard watches?
    pub balance: bool,
}

/// A problem with a value that the platform would refuse or alter, found before anything is sent.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ValueFault {
    pub code: Code,
    pub message: String,
}

/// What the account allows, unless the configuration says less.
#[derive(Clone, Debug, PartialEq)]
pub struct Limits {
    /// Requests a second, over all requests of the account.
    pub per_second: f64,
    /// Requests at once.
    pub in_flight: usize,
    /// Passes one find request may name.
    pub find_batch: usize,
    /// Changes that one request may carry; 1 where the platform takes no more.
    pub change_batch: usize,
    /// Tries of one request, the first included, before its row is refused while its neighbours succeed.
    pub tries: u32,
    /// Deadline of one try, from connect to the last byte.
    pub timeout: Duration,
    /// First wait after a 503 or a lost connection; doubles, with jitter, to `backoff_max`.
    pub backoff_min: Duration,
    pub backoff_max: Duration,
    /// Bytes of an answer that are read at most.
    pub answer_bytes_max: usize,
    /// How long after a lost answer the platform may still carry out what it was asked.
    pub settling: Duration,
}

/// One HTTP request, without credentials: dispatch asks [`Platform::authorize`] for those at each try.
#[derive(Clone, Debug)]
pub struct Request {
    pub method: Method,
    /// Path and query, percent-encoded, beginning with `/`.
    pub path: String,
    /// Beside credentials. A body without a content type here is JSON.
    pub headers: Vec<(HeaderName, HeaderValue)>,
    pub body: Option<Bytes>,
    /// May it be sent again when its answer was lost?
    pub repeatable: bool,
    /// How many requests the platform counts it for; 1 for all but batches.
    pub weight: u32,
    /// It repeats one that the platform knows again by its key, until now at the latest: from then on it is not sent.
    pub expires: Option<Instant>,
}

impl Request {
    /// One that may be repeated, without a body.
    pub fn new(method: Method, path: String) -> Request {
        Request { method, path, headers: Vec::new(), body: None, repeatable: true, weight: 1, expires: None }
    }

    /// The same with a JSON body.
    #[must_use]
    pub fn json(mut self, body: &serde_json::Value) -> Request {
        self.body = Some(Bytes::from(body.to_string()));
        self
    }

    /// The same, never sent again once its answer was lost.
    #[must_use]
    pub fn once(mut self) -> Request {
        self.repeatable = false;
        self
    }
}

/// What came back for a request, after dispatch did the repeating that [`Platform::judge`] asked for.
#[derive(Clone, Debug)]
pub enum Answer {
    /// An HTTP answer that was judged [`Verdict::Final`].
    Http { status: u16, body: Bytes },
    /// Repeating did not help, while other requests of the account succeeded.
    Exhausted {
        tries: u32,
        message: String,
        /// The credentials were refused, or there are none.
        denied: bool,
    },
    /// It was sent, its answer is unknown, and it may not be repeated.
    Lost { message: String },
    /// The run is being stopped; this request was not sent, or was sent and its answer is unknown.
    Stopped { sent: bool },
}

/// What an answer means for the one who sent the request; apart from when to send it again.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// Hand it to the conversation.
    Final,
    /// This request may succeed later (5xx, 408). Counts as a failure of the account.
    Again { reason: String },
    /// The account is asked to slow down (429). Nobody sends before `after`, when it is given.
    SlowDown { after: Option<Duration> },
    /// Sign again and repeat once; if it is still refused, the account is out.
    Reauthorize { reason: String },
    /// Nothing can succeed until a person or time changes something (credentials, TLS, name resolution). The run pauses.
    Outage { reason: String },
    /// As an outage, and it is certain that the request did nothing: the account is refused as a whole.
    Barred { reason: String },
    /// Refused without any effect, and it is not known yet whether that is about the request or about the account. It is tried again; where
    /// it stays so and others are taken, the answer is the request's own.
    Undecided { reason: String },
}

/// A raw answer, for judging.
#[derive(Clone, Debug)]
pub struct RawAnswer<'a> {
    pub status: u16,
    pub headers: &'a reqwest::header::HeaderMap,
    pub body: &'a [u8],
}

/// The next thing to do in a conversation.
pub enum Step<T> {
    Send(Request),
    /// Send it after a pause: what was written may not be visible yet (failure model, D22).
    Later(Duration, Request),
    Done(T),
}

/// A dialogue of requests and answers. `next` is called first without an answer, then with the answer to each request it named.
pub trait Conversation<T>: Send {
    fn next(&mut self, answer: Option<Answer>) -> Step<T>;
}

/// How finding one pass ended.
#[derive(Clone, Debug, PartialEq)]
pub enum Finding {
    Found(Found),
    /// The platform has no such pass.
    Absent,
    /// Several passes carry the identifier; their pass IDs.
    Several(Vec<String>),
    /// The platform refused the question, or it kept failing.
    Failed {
        code: Code,
        message: String,
    },
    /// The run was stopped first.
    NotAttempted,
}

/// How one operation of a change ended.
#[derive(Clone, Debug, PartialEq)]
pub struct OperationResult {
    /// The operation's name (`points`, `fields`, `create`, …).
    pub operation: &'static str,
    pub outcome: Outcome,
    /// Why, for everything but success.
    pub code: Option<Code>,
    /// The platform's words, cut to 300 characters, control characters removed.
    pub message: String,
    /// Indexes of the mapped fields it carried; their baseline becomes known when it succeeded.
    pub fields: Vec<u8>,
}

/// How a change ended, operation by operation.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct ChangeResult {
    pub operations: Vec<OperationResult>,
    /// The platform's own identifier, when it became known.
    pub pass_id: Option<String>,
}

/// What became of an add that was to be sent once.
#[derive(Clone, Debug, PartialEq)]
pub enum AddEnd {
    /// The platform confirmed it, about the pass that was meant.
    Applied { pass_id: Option<String> },
    /// The same, but not quite as it was asked for: how, in words.
    AppliedBut { message: String },
    /// It was there already, so that nothing was sent and nothing is left to send.
    Already { message: String },
    /// The platform said no, and the contract says that nothing changed.
    Refused { outcome: Outcome, code: Code, message: String },
    /// It was sent, and nothing proves that it was applied or that it was not.
    Lost { message: String },
    /// Nothing was sent: the run is being stopped.
    NotSent,
}

/// What a look at the platform says of an add whose answer was lost.
#[derive(Clone, Debug, PartialEq)]
pub enum Proof {
    /// It was applied.
    Applied(String),
    /// It was not applied, as far as can be seen now.
    NotApplied(String),
    /// It cannot be known; why, for the person who decides.
    Unknown(String),
    /// The run is being stopped.
    Stopped,
}

/// What `check --reach` learnt.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Reach {
    pub ok: bool,
    /// It is the credentials that are refused, or that cannot be used.
    pub denied: bool,
    /// One line for a person: what was proved, or what is wrong and what to do.
    pub message: String,
}

/// A pass platform account. Adding a platform is one file or folder here and one line in the contract tests.
pub trait Platform: Send + Sync {
    /// The kind's name in the configuration.
    fn kind(&self) -> &'static str;

    /// Scheme, host and port that requests go to; never followed elsewhere.
    fn base_url(&self) -> &str;

    /// The account whose desk answers its requests in this process; none where they go to [`Platform::base_url`].
    fn local(&self) -> Option<Arc<AppleWallet>> {
        None
    }

    fn limits(&self) -> Limits;

    fn verbs(&self) -> &[Verb];

    /// Looks up a field name of a mapping. The error says what to write instead.
    fn field(&self, name: &str) -> Result<FieldRule, String>;

    /// Fields that `upsert` must be given to issue a pass, beyond the configuration's own.
    fn required_to_create(&self) -> Vec<String>;

    /// Would the platform refuse or alter this value?
    fn check_value(&self, name: &str, value: &Value<'_>) -> Result<(), ValueFault>;

    /// Can a pass of the platform have this identifier? Asked before anything is sent.
    fn check_target(&self, _: &Target) -> Result<(), ValueFault> {
        Ok(())
    }

    /// What a feed asks that this account cannot do, beside single fields and operations: the key of the feed, and what to write instead.
    fn unsuited(&self, _asks: &Asks<'_>) -> Vec<(&'static str, String)> {
        Vec::new()
    }

    /// Adds credentials to a request. Called at each try, so that tokens are fresh.
    fn authorize(&self, headers: &mut reqwest::header::HeaderMap, now: SystemTime) -> Result<(), SecretError>;

    /// The token that must be asked for before anything is sent. Where there is one, dispatch keeps it fresh, drops it when it is refused,
    /// and `authorize` puts it into the headers.
    fn tokens(&self) -> Option<&oauth::Tokens> {
        None
    }

    /// What an answer means.
    fn judge(&self, request: &Request, answer: &RawAnswer<'_>) -> Verdict;

    /// Must the pass be found before this change, or can the change address it directly?
    fn needs_find(&self, change: &Change) -> bool;

    /// Finds passes, at most [`Limits::find_batch`] at a time; one finding a target, in the same order.
    fn find(&self, targets: &[Target]) -> Box<dyn Conversation<Vec<Finding>>>;

    /// Carries out a change.
    fn apply(&self, change: Change) -> Box<dyn Conversation<ChangeResult>>;

    /// Carries out changes of different passes in as few requests as the platform allows, at most [`Limits::change_batch`] of them; one
    /// result a change, in the same order. Asked only where a batch is larger than 1.
    fn apply_batch(&self, changes: Vec<Change>) -> Box<dyn Conversation<Vec<ChangeResult>>> {
        Box::new(OneByOne { left: changes.into_iter().map(|change| self.apply(change)).collect(), done: Vec::new() })
    }

    /// May a notification travel in a change of this field? The error says what to write instead.
    fn notifies(&self, field: &str) -> Result<(), String>;

    /// Notifications that the platform shows the holder of one pass in 24 hours; none where it names no number.
    fn alerts_per_day(&self) -> Option<u32> {
        None
    }

    /// Does a change of this field, or a notification in it, count as one of those?
    fn alerts(&self, _: &str) -> bool {
        false
    }

    /// Must an add's pass be found before the add is written down, because its proof needs the pass's state before?
    fn adds_need_state(&self) -> bool;

    /// Sends an add once. Requests that change something are not repeatable; only what is definite ends otherwise than lost.
    fn add(&self, add: &Addition) -> Box<dyn Conversation<AddEnd>>;

    /// How long after an answer was lost nobody looks; none takes [`Limits::settling`].
    fn settling(&self, _add: &Addition) -> Option<Duration> {
        None
    }

    /// Looks whether an add was applied; repeatable throughout. None where the platform offers nothing to look at.
    fn read_back(&self, add: &Addition) -> Option<Box<dyn Conversation<Proof>>>;

    /// Requests that a change will cost once its pass was found, for `plan` and the guard's evidence. May overestimate.
    fn requests(&self, change: &Change) -> u32;

    /// Tests credentials, region and rights.
    fn probe(&self) -> Box<dyn Conversation<Reach>>;

    /// Reads all passes, page by page, for `baseline seed`: each call gives the next page's conversation.
    fn pages(&self, offset: u64) -> Box<dyn Conversation<Page>>;

    /// How a run that has many passes to find may read all of the account's passes instead of asking for its own. None where no list of
    /// the platform's tells what [`Platform::find`] does.
    fn index(&self) -> Option<&dyn Indexed> {
        None
    }
}

/// A platform whose list of passes can stand for finding them one by one.
pub trait Indexed {
    /// A run that has fewer passes to find asks for them.
    fn least(&self) -> u64;

    /// Passes of one page, at most.
    fn page(&self) -> u64;

    /// How many passes there are; none where that cannot be learnt.
    fn size(&self) -> Box<dyn Conversation<Option<u64>>>;

    /// One page of the list.
    fn read(&self, offset: u64) -> Box<dyn Conversation<IndexPage>>;
}

/// A page of passes as [`Platform::find`] would have found them, each with the customer's own identifier where it has one. Those of which the
/// list does not tell enough are left out.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct IndexPage {
    pub passes: Vec<(Option<String>, Found)>,
    /// Where the next page starts; none after the last.
    pub next: Option<u64>,
    /// Why the listing broke off, if it did.
    pub fault: Option<String>,
}

/// Conversations about several changes, one after another.
struct OneByOne {
    left: std::collections::VecDeque<Box<dyn Conversation<ChangeResult>>>,
    done: Vec<ChangeResult>,
}

impl Conversation<Vec<ChangeResult>> for OneByOne {
    fn next(&mut self, mut answer: Option<Answer>) -> Step<Vec<ChangeResult>> {
        while let Some(talk) = self.left.front_mut() {
            match talk.next(answer.take()) {
                Step::Send(request) => return Step::Send(request),
                Step::Later(pause, request) => return Step::Later(pause, request),
                Step::Done(result) => {
                    self.done.push(result);
                    self.left.pop_front();
                }
            }
        }
        Step::Done(std::mem::take(&mut self.done))
    }
}

/// What a feed asks of a platform.
#[derive(Clone, Debug)]
pub struct Asks<'a> {
    /// It names passes by the customer's own identifiers, not by the platform's.
    pub by_external_id: bool,
    pub verbs: Vec<Verb>,
    /// Mapped pass fields.
    pub fields: Vec<&'a str>,
    /// Where it notifies: the pass field.
    pub notify: Option<&'a str>,
}

/// A page of passes with their present field values.
#[derive(Clone, Debug, Default)]
pub struct Page {
    pub passes: Vec<PassState>,
    /// Where the next page starts; none after the last.
    pub next: Option<u64>,
    /// Why the listing broke off, if it did.
    pub fault: Option<String>,
}

/// One pass as the platform holds it.
#[derive(Clone, Debug)]
pub struct PassState {
    pub pass_id: String,
    pub external_id: Option<String>,
    /// Field name to value, in the kind of its [`FieldRule`]; empty fields are absent.
    pub fields: Vec<(String, Value<'static>)>,
}

/// The platform that an account's configuration describes.
pub fn open(settings: &crate::config::meant::Platform) -> Account {
    of_kind(&settings.kind)
}

/// The same, from what is particular to its kind.
pub fn of_kind(kind: &PlatformKind) -> Account {
    match kind {
        PlatformKind::Http(http) => Arc::new(http::Described::new(http)),
        PlatformKind::Passkit(passkit) => Arc::new(passkit::Passkit::new(passkit)),
        PlatformKind::GoogleWallet(google) => Arc::new(google_wallet::GoogleWallet::new(google)),
        PlatformKind::TheWalletCrew(crew) => Arc::new(thewalletcrew::TheWalletCrew::new(crew)),
        PlatformKind::AppleWallet(apple) => Arc::new(apple_wallet::AppleWallet::new(apple)),
    }
}

/// A platform account as the rest of the program shares it.
pub type Account = Arc<dyn Platform>;
