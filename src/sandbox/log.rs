//! What was asked of the sandbox: a bounded log of requests and counters over all of them. No header is ever kept, only whether
//! credentials came with it.

use std::collections::{BTreeMap, VecDeque};
use std::fs::{File, OpenOptions};
use std::io::{BufWriter, Write};
use std::path::Path;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Instant;

use anyhow::Context;
use chrono::{SecondsFormat, Utc};
use serde::Serialize;

/// How many requests are remembered in full. Counters go on beyond.
pub const KEPT: usize = 100_000;
/// How much of a body is remembered, in bytes; a larger one than the contract allows is cut.
const KEPT_BODY: usize = 16 * 1024;

/// One request, in order of arrival.
#[derive(Clone, Debug, Serialize)]
pub struct Entry {
    /// From 0, in order of arrival.
    pub sequence: u64,
    /// Arrival, RFC 3339 in UTC.
    pub at: String,
    /// Arrival in milliseconds after the server's start.
    pub at_ms: u64,
    pub method: String,
    /// As sent, percent-encoded, with its query.
    pub path: String,
    /// The path with its ids replaced, e.g. `/members/member/id/{id}`.
    pub route: &'static str,
    /// The member concerned, where the request names one that exists or gives an external ID.
    pub external_id: Option<String>,
    /// Whether it carried an `Authorization`, `Proxy-Authorization` or `Cookie` header.
    pub credentials: bool,
    /// Absent while unanswered and when the connection was closed instead.
    pub status: Option<u16>,
    /// Absent when bodies are not logged.
    pub body: Option<String>,
    /// The sequence number of the batch this was a part of.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub part_of: Option<u64>,
}

/// Counters since the start or the last [`RequestLog::clear`].
#[derive(Clone, Debug, Default, Serialize)]
pub struct Stats {
    pub requests: u64,
    /// Parts of batches, which are not requests of their own.
    #[serde(skip_serializing_if = "is_zero")]
    pub parts: u64,
    /// By `METHOD route`, parts too.
    pub routes: BTreeMap<String, u64>,
    /// By status; `0` counts connections closed without an answer.
    pub statuses: BTreeMap<u16, u64>,
    pub in_flight: u64,
    pub max_in_flight: u64,
    /// Arrivals in each second after the start.
    pub per_second: Vec<u64>,
}

#[allow(clippy::trivially_copy_pass_by_ref)] // serde's form
fn is_zero(count: &u64) -> bool {
    *count == 0
}

/// Answers questions about the requests so far; cheap to clone.
#[derive(Clone)]
pub struct RequestLog(Arc<Mutex<Inner>>);

struct Inner {
    started: Instant,
    bodies: bool,
    file: Option<BufWriter<File>>,
    next: u64,
    kept: VecDeque<Entry>,
    routes: BTreeMap<(String, &'static str), u64>,
    stats: Stats,
}

/// A request as it arrives.
pub(super) struct Arrival<'a> {
    pub method: &'a str,
    pub path: &'a str,
    pub route: &'static str,
    pub external_id: Option<&'a str>,
    pub credentials: bool,
    pub body: &'a [u8],
    pub part_of: Option<u64>,
}

impl RequestLog {
    pub(super) fn open(file: Option<&Path>, bodies: bool) -> anyhow::Result<RequestLog> {
        let file = file.map(|path| {
            let file = OpenOptions::new().create(true).append(true).open(path);
            file.map(BufWriter::new).with_context(|| format!("cannot open the request log {}", path.display()))
        });
        Ok(RequestLog(Arc::new(Mutex::new(Inner {
            started: Instant::now(),
            bodies,
            file: file.transpose()?,
            next: 0,
            kept: VecDeque::new(),
            routes: BTreeMap::new(),
            stats: Stats::default(),
        }))))
    }

    /// Notes a request and returns its sequence number.
    pub(super) fn arrive(&self, arrival: &Arrival<'_>) -> u64 {
        let mut inner = self.lock();
        let at_ms = inner.started.elapsed().as_millis() as u64;
        let sequence = inner.next;
        inner.next += 1;
        let stats = &mut inner.stats;
        if arrival.part_of.is_some() {
            stats.parts += 1;
        } else {
            stats.requests += 1;
            stats.in_flight += 1;
            stats.max_in_flight = stats.max_in_flight.max(stats.in_flight);
            let second = (at_ms / 1000) as usize;
            if stats.per_second.len() <= second {
                stats.per_second.resize(second + 1, 0);
            }
            stats.per_second[second] += 1;
        }
        *inner.routes.entry((arrival.method.to_owned(), arrival.route)).or_default() += 1;
        if inner.kept.len() == KEPT {
            inner.kept.pop_front();
        }
        let body = inner.bodies.then(|| String::from_utf8_lossy(&arrival.body[..arrival.body.len().min(KEPT_BODY)]).into_owned());
        inner.kept.push_back(Entry {
            sequence,
            at: Utc::now().to_rfc3339_opts(SecondsFormat::Micros, true),
            at_ms,
            method: arrival.method.to_owned(),
            path: arrival.path.to_owned(),
            route: arrival.route,
            external_id: arrival.external_id.map(str::to_owned),
            credentials: arrival.credentials,
            status: None,
            body,
            part_of: arrival.part_of,
        });
        sequence
    }

    /// Notes how a request, or a part of one, ended; no status means that its connection was closed.
    pub(super) fn leave(&self, sequence: u64, status: Option<u16>, part: bool) {
        let mut inner = self.lock();
        let Inner { kept, file, stats, .. } = &mut *inner;
        let first = kept.front().map_or(u64::MAX, |entry| entry.sequence);
        let entry = sequence.checked_sub(first).and_then(|index| kept.get_mut(index as usize));
        if !part {
            stats.in_flight = stats.in_flight.saturating_sub(1);
            *stats.statuses.entry(status.unwrap_or(0)).or_default() += 1;
        }
        let Some(entry) = entry else { return };
        entry.status = status;
        if let Some(file) = file {
            let line = serde_json::to_writer(&mut *file, entry).map_err(std::io::Error::from);
            if let Err(problem) = line.and_then(|()| file.write_all(b"\n")) {
                tracing::warn!(%problem, "the sandbox cannot write its request log");
            }
        }
    }

    /// Writes what the file's buffer holds.
    pub(super) fn flush(&self) {
        if let Some(file) = &mut self.lock().file
            && let Err(problem) = file.flush()
        {
            tracing::warn!(%problem, "the sandbox cannot write its request log");
        }
    }

    /// The requests remembered, in order of arrival.
    pub fn all(&self) -> Vec<Entry> {
        self.select(|_| true)
    }

    /// The requests about one member, in order of arrival.
    pub fn of(&self, external_id: &str) -> Vec<Entry> {
        self.select(|entry| entry.external_id.as_deref() == Some(external_id))
    }

    /// The remembered requests that `wanted` accepts, in order of arrival.
    pub fn select(&self, mut wanted: impl FnMut(&Entry) -> bool) -> Vec<Entry> {
        self.lock().kept.iter().filter(|entry| wanted(entry)).cloned().collect()
    }

    /// How many requests of a method went to a route, e.g. `PUT` and `/members/member/points/set`; all of them, not only those remembered.
    pub fn count(&self, method: &str, route: &str) -> u64 {
        self.lock().routes.iter().filter(|((m, r), _)| m == method && *r == route).map(|(_, count)| count).sum()
    }

    /// How many requests arrived.
    pub fn total(&self) -> u64 {
        self.lock().stats.requests
    }

    pub fn stats(&self) -> Stats {
        let inner = self.lock();
        let routes = inner.routes.iter().map(|((method, route), count)| (format!("{method} {route}"), *count)).collect();
        Stats { routes, ..inner.stats.clone() }
    }

    /// Forgets requests and counters; the file is left alone.
    pub fn clear(&self) {
        let mut inner = self.lock();
        let in_flight = inner.stats.in_flight;
        inner.kept.clear();
        inner.routes.clear();
        inner.stats = Stats { in_flight, max_in_flight: in_flight, ..Stats::default() };
    }

    fn lock(&self) -> MutexGuard<'_, Inner> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
