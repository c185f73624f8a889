//! Traces of a run, for an OpenTelemetry collector: file → station → chunk → request.
//!
//! They are spans like those of the log, under a target of their own that no log shows. Where no collector is named, or this build knows
//! none (Cargo feature `otlp`), nothing listens to that target and they cost a look at a flag.
//!
//! What is told: names of the configuration, ids of runs, counts, methods and statuses. Never an identifier of a pass, a path, a cell or
//! a word of an answer.

#[cfg(feature = "otlp")]
mod otlp;

use std::cell::RefCell;

use reqwest::Method;
use tracing::Span;
use tracing::span::EnteredSpan;

use crate::config::meant::Traces;
use crate::ledger::Run;

/// The target of all these spans. No module's path: filters of the log go by the beginnings of those.
const TARGET: &str = "passferry-trace";

thread_local! {
    /// The span of the file that this thread takes down the road, once there is something to tell of it.
    static FILE: RefCell<Option<Span>> = const { RefCell::new(None) };
}

/// Traces for as long as this lives. Dropping it hands over what is left, for a short while.
#[must_use]
pub struct Tracing {
    #[cfg(feature = "otlp")]
    _provider: Option<otlp::Provider>,
}

/// Begins to trace, where the configuration asks for it. Fails when the collector's address or a secret cannot be used; a collector that
/// is away is no failure.
#[cfg(feature = "otlp")]
pub fn begin(settings: Option<&Traces>) -> anyhow::Result<Tracing> {
    Ok(Tracing { _provider: settings.map(otlp::Provider::start).transpose()? })
}

/// This build cannot.
#[cfg(not(feature = "otlp"))]
pub fn begin(settings: Option<&Traces>) -> anyhow::Result<Tracing> {
    if settings.is_some() {
        tracing::warn!("[traces] is left aside: this passferry was built without the Cargo feature otlp");
    }
    Ok(Tracing {})
}

#[cfg(feature = "otlp")]
pub(crate) use otlp::layer;

/// No listener.
#[cfg(not(feature = "otlp"))]
pub(crate) fn layer() -> tracing_subscriber::layer::Identity {
    tracing_subscriber::layer::Identity::new()
}

/// Does anything listen?
fn is_on() -> bool {
    #[cfg(feature = "otlp")]
    {
        otlp::is_on()
    }
    #[cfg(not(feature = "otlp"))]
    {
        false
    }
}

/// The span that this thread is in, for work that another thread does.
pub fn here() -> Span {
    if is_on() { Span::current() } else { Span::none() }
}

/// A station works on a file. The file's own span begins with the first one that does: a run that only waits is not traced again and
/// again.
pub fn station(run: &Run, name: &'static str) -> EnteredSpan {
    if !is_on() {
        return Span::none().entered();
    }
    FILE.with_borrow_mut(|file| {
        let file = file.get_or_insert_with(|| {
            tracing::info_span!(
                target: TARGET,
                "file",
                passferry.feed = run.feed,
                passferry.source = run.source,
                passferry.platform = run.account,
                passferry.run = run.id,
                passferry.bytes = run.size,
            )
        });
        tracing::info_span!(target: TARGET, parent: &*file, "station", otel.name = name, passferry.run = run.id).entered()
    })
}

/// Ends the span of the file, if there is one, when this thread lets go of it.
pub struct Leave;

impl Drop for Leave {
    fn drop(&mut self) {
        FILE.with_borrow_mut(|file| drop(file.take()));
    }
}

/// Records that are worked on together. `parent` is the span of whoever cut them.
pub fn chunk(parent: &Span, rows: u64) -> Span {
    if is_on() { tracing::info_span!(target: TARGET, parent: parent, "chunk", passferry.rows = rows) } else { Span::none() }
}

/// One try of one request to a platform. It ends when the last copy of it is dropped.
pub fn request(parent: &Span, platform: &str, method: &Method) -> Span {
    if !is_on() {
        return Span::none();
    }
    tracing::info_span!(
        target: TARGET,
        parent: parent,
        "request",
        otel.name = method.as_str(),
        otel.kind = "client",
        otel.status_code = tracing::field::Empty,
        passferry.platform = platform,
        http.request.method = method.as_str(),
        http.response.status_code = tracing::field::Empty,
        error.type = tracing::field::Empty,
    )
}

/// How a request was answered.
pub fn answered(request: &Span, status: u16) {
    request.record("http.response.status_code", i64::from(status));
    if status >= 400 {
        request.record("otel.status_code", "ERROR");
    }
}

/// Why it was not: a word, never what a server said.
pub fn unanswered(request: &Span, why: &'static str) {
    request.record("error.type", why);
    request.record("otel.status_code", "ERROR");
}

/// Tells the platform which trace a request is part of, where the configuration says so (W3C Trace Context).
#[cfg(feature = "otlp")]
pub use otlp::tell;

/// This build traces nothing.
#[cfg(not(feature = "otlp"))]
pub fn tell(_request: &Span, _headers: &mut reqwest::header::HeaderMap) {}
