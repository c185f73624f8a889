//! Bodies on their way out: whole, streamed line by line, broken off or dripping.

use std::collections::VecDeque;
use std::io;
use std::sync::Arc;
use std::time::Duration;

use axum::body::{Body, Bytes};
use axum::http::{HeaderValue, header};
use axum::response::Response;
use futures_util::stream;
use rand::distr::{Alphanumeric, SampleString};
use serde_json::{Value, json};

use super::answer::{Content, Reply};
use super::stand_in::StandIn;

/// Members read under one lock; small enough that writers need not wait for a long list.
const ROWS_AT_ONCE: usize = 256;
/// A pause in which what was written leaves before the connection is cut.
const BEFORE_CUT: Duration = Duration::from_millis(5);

/// How a body ends.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Ending {
    Whole,
    /// An error line after so many rows (contract section 4.3).
    Error(usize),
    /// The connection is closed in the middle of the row after so many, or in the middle of an answer that has no rows.
    Cut(usize),
}

/// Turns what a reply holds into a response.
pub(super) fn respond(stand_in: Arc<dyn StandIn>, content: Content, ending: Ending, drip: Option<(usize, Duration)>) -> Response {
    let (rows, length) = match content {
        Content::Text(text) if ending == Ending::Whole && drip.is_none() => return Response::new(Body::from(text)),
        Content::Text(text) => {
            let length = text.len();
            (Rows::ready([text]), Some(length))
        }
        Content::Lines(lines) => (Rows::ready(lines.into_iter().map(|line| framed(&line))), None),
        Content::Places(places) => (Rows { ready: VecDeque::new(), places: places.into(), stand_in: Some(stand_in) }, None),
    };
    let source = Source { rows, ending, sent: 0, done: false, cut: false, drip, left: Bytes::new() };
    let chunks = stream::unfold(source, |mut source| async move { source.next().await.map(|chunk| (chunk, source)) });
    let mut response = Response::new(Body::from_stream(chunks));
    if let Some(length) = length {
        response.headers_mut().insert(header::CONTENT_LENGTH, length.into());
    }
    response
}

/// What a huge body is made of at a time.
const HUGE_PIECE: usize = 64 << 10;

/// A body of so many blanks, made as it is read. Packed, each piece is a gzip member of its own (RFC 1952 section 2.2).
pub(super) fn huge(bytes: u64, gzip: bool) -> Response {
    let mut piece = vec![b' '; HUGE_PIECE];
    let worth = piece.len() as u64;
    if gzip {
        let mut packed = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::default());
        piece = std::io::Write::write_all(&mut packed, &piece).and_then(|()| packed.finish()).unwrap_or_default();
    }
    let piece = Bytes::from(piece);
    let chunks = stream::unfold(bytes, move |left| {
        let piece = piece.clone();
        async move { (left > 0).then(|| (Ok::<_, io::Error>(piece), left.saturating_sub(worth))) }
    });
    let mut response = Response::new(Body::from_stream(chunks));
    if gzip {
        response.headers_mut().insert(header::CONTENT_ENCODING, HeaderValue::from_static("gzip"));
    }
    response
}

fn framed(row: &str) -> String {
    format!("{{\"result\":{row}}}\n")
}

/// Replaces the ids of an answer by ones nobody has.
pub(super) fn with_other_id(mut reply: Reply) -> Reply {
    if let Content::Text(text) = &mut reply.content
        && let Ok(mut answer) = serde_json::from_str::<Value>(text)
    {
        let passes: Vec<&mut Value> = match &mut answer {
            Value::Array(passes) => passes.iter_mut().collect(),
            one => vec![one],
        };
        for pass in passes {
            if pass.get("id").is_some() {
                for name in ["id", "externalId"] {
                    if let Some(id) = pass.get_mut(name) {
                        *id = Alphanumeric.sample_string(&mut rand::rng(), 22).into();
                    }
                }
            }
        }
        *text = answer.to_string();
    }
    reply
}

/// Rows still to send; those of members are read when their turn comes.
struct Rows {
    ready: VecDeque<String>,
    places: VecDeque<usize>,
    stand_in: Option<Arc<dyn StandIn>>,
}

impl Rows {
    fn ready(rows: impl IntoIterator<Item = String>) -> Rows {
        Rows { ready: rows.into_iter().collect(), places: VecDeque::new(), stand_in: None }
    }

    fn next(&mut self) -> Option<String> {
        while self.ready.is_empty() && !self.places.is_empty() {
            let Some(stand_in) = &self.stand_in else { break };
            let count = self.places.len().min(ROWS_AT_ONCE);
            let places: Vec<usize> = self.places.drain(..count).collect();
            self.ready.extend(stand_in.rows(&places).iter().map(|row| framed(row)));
        }
        self.ready.pop_front()
    }
}

struct Source {
    rows: Rows,
    ending: Ending,
    sent: usize,
    done: bool,
    cut: bool,
    drip: Option<(usize, Duration)>,
    /// What drips out before anything new is made.
    left: Bytes,
}

impl Source {
    async fn next(&mut self) -> Option<io::Result<Bytes>> {
        if self.left.is_empty() {
            if self.done {
                if !self.cut {
                    return None;
                }
                self.cut = false;
                tokio::time::sleep(BEFORE_CUT).await;
                return Some(Err(io::ErrorKind::ConnectionAborted.into()));
            }
            self.left = self.make().into();
            if self.left.is_empty() && !self.cut {
                return None;
            }
        }
        let Some((bytes, pause)) = self.drip else { return Some(Ok(std::mem::take(&mut self.left))) };
        tokio::time::sleep(pause).await;
        let count = bytes.clamp(1, self.left.len().max(1)).min(self.left.len());
        Some(Ok(self.left.split_to(count)))
    }

    /// Joins the next rows, up to the ending.
    fn make(&mut self) -> String {
        let mut made = String::new();
        for _ in 0..ROWS_AT_ONCE {
            match self.ending {
                Ending::Error(rows) if self.sent == rows => {
                    made.push_str(&json!({"error": {"code": 13, "message": "the list broke", "details": []}}).to_string());
                    made.push('\n');
                    self.done = true;
                    return made;
                }
                Ending::Cut(rows) if self.sent == rows => {
                    let row = self.rows.next().unwrap_or_else(|| framed("{\"id\":\"\"}"));
                    made.extend(row.chars().take(row.chars().count() / 2));
                    self.done = true;
                    self.cut = true;
                    return made;
                }
                _ => {}
            }
            let Some(row) = self.rows.next() else {
                // A list shorter than the place of its trouble breaks at its end.
                match self.ending {
                    Ending::Whole => self.done = true,
                    Ending::Error(_) => self.ending = Ending::Error(self.sent),
                    Ending::Cut(_) => self.ending = Ending::Cut(self.sent),
                }
                if self.done {
                    return made;
                }
                continue;
            };
            made.push_str(&row);
            self.sent += 1;
        }
        made
    }
}
