//! `POST /batch`: many calls in one multipart body (contract section 8).

use std::fmt::Write as _;

use axum::http::{HeaderMap, HeaderName, HeaderValue};
use bytes::Bytes;
use rand::rngs::StdRng;
use rand::seq::SliceRandom;
use rand::{RngExt, SeedableRng};

use crate::sandbox::answer::{Content, Failure, Reply};
use crate::sandbox::door::Visit;
use crate::sandbox::stand_in::Request;

/// A call of the batch, with the id its answer is known by.
struct Part {
    content_id: Option<String>,
    request: Result<Request, &'static str>,
}

/// Sends each part through the door. They run in any order and are answered in theirs.
pub(super) fn answer(visit: &Visit<'_>, batch_max: usize) -> Result<Reply, Failure> {
    let bad = |message: &str| Failure::new(400, message).because("badRequest");
    let content_type = visit.request.header("content-type").unwrap_or_default();
    let boundary =
        boundary(content_type).ok_or_else(|| bad("Failed to parse batch request: multipart/mixed with a boundary is needed."))?;
    let text = std::str::from_utf8(&visit.request.raw).map_err(|_| bad("Failed to parse batch request: not UTF-8."))?;
    let authorization = visit.request.headers.get("authorization");
    let mut parts = Vec::new();
    for section in sections(text, &boundary).ok_or_else(|| bad("Failed to parse batch request: the boundary is not closed."))? {
        parts.push(Part::read(section, authorization));
    }
    if parts.is_empty() {
        return Err(bad("Failed to parse batch request: it has no parts."));
    }
    if parts.len() > batch_max {
        return Err(bad(&format!("The batch holds {} calls; {batch_max} are allowed.", parts.len())));
    }
    let mut order: Vec<usize> = (0..parts.len()).collect();
    let mut random = StdRng::seed_from_u64(visit.knobs.seed ^ visit.sequence());
    order.shuffle(&mut random);
    let mut answers: Vec<String> = vec![String::new(); parts.len()];
    for index in order {
        let part = &mut parts[index];
        let request = std::mem::replace(&mut part.request, Err("done"));
        let reply = match request {
            Ok(request) => {
                let path = format!("/google_wallet{}", request.path);
                match visit.part(request, &path) {
                    Some(reply) => reply,
                    // The connection is gone; what was not done by now stays undone.
                    None => return Ok(Reply::empty(500)),
                }
            }
            Err(problem) => super::refused(&bad(problem), &visit.knobs.google_wallet),
        };
        answers[index] = written(part.content_id.as_deref(), &reply);
    }
    let boundary = format!("batch_{:016x}{:016x}", random.random::<u64>(), random.random::<u64>());
    let mut body = String::new();
    for answer in answers {
        let _ = write!(body, "--{boundary}\r\n{answer}\r\n");
    }
    let _ = write!(body, "--{boundary}--\r\n");
    Ok(Reply::of(200, format!("multipart/mixed; boundary={boundary}"), body))
}

fn boundary(content_type: &str) -> Option<String> {
    let (kind, parameters) = content_type.split_once(';')?;
    if !kind.trim().eq_ignore_ascii_case("multipart/mixed") {
        return None;
    }
    let boundary = parameters.split(';').find_map(|parameter| {
        let (name, value) = parameter.trim().split_once('=')?;
        name.eq_ignore_ascii_case("boundary").then(|| value.trim_matches('"').to_owned())
    });
    boundary.filter(|boundary| !boundary.is_empty())
}

/// What lies between the boundaries; none when the last one is missing.
fn sections<'a>(text: &'a str, boundary: &str) -> Option<Vec<&'a str>> {
    let (open, close) = (format!("--{boundary}"), format!("--{boundary}--"));
    let mut sections = Vec::new();
    let mut from = None;
    let mut at = 0;
    for line in text.split_inclusive('\n') {
        let bare = line.trim_end();
        if bare == open || bare == close {
            if let Some(from) = from {
                sections.push(text.get(from..at)?);
            }
            if bare == close {
                return Some(sections);
            }
            from = Some(at + line.len());
        }
        at += line.len();
    }
    None
}

/// Headers, and what stands after the empty line; both line ends are taken.
fn headed(text: &str) -> (Vec<(String, String)>, &str) {
    let mut headers = Vec::new();
    let mut rest = text;
    while let Some(end) = rest.find('\n') {
        let line = rest[..end].trim_end();
        rest = &rest[end + 1..];
        if line.is_empty() {
            return (headers, rest);
        }
        if let Some((name, value)) = line.split_once(':') {
            headers.push((name.trim().to_ascii_lowercase(), value.trim().to_owned()));
        }
    }
    (headers, "")
}

impl Part {
    fn read(section: &str, authorization: Option<&HeaderValue>) -> Part {
        let (outer, inner) = headed(section);
        let content_id = outer.iter().find(|(name, _)| name == "content-id").map(|(_, id)| id.clone());
        Part { content_id, request: request(inner, authorization) }
    }
}

/// The strict form, and the loose one of the official samples: no version, no headers, any line ends.
fn request(inner: &str, authorization: Option<&HeaderValue>) -> Result<Request, &'static str> {
    let inner = inner.trim_start_matches(['\r', '\n']);
    let (line, rest) = inner.split_once('\n').unwrap_or((inner, ""));
    let mut words = line.split_whitespace();
    let (Some(method), Some(path), version) = (words.next(), words.next(), words.next()) else {
        return Err("Failed to parse the inner request line.");
    };
    if words.next().is_some() || version.is_some_and(|version| !version.starts_with("HTTP/1.")) || !path.starts_with('/') {
        return Err("Failed to parse the inner request line.");
    }
    let (inner_headers, body) = headed(rest);
    let length = inner_headers.iter().find(|(name, _)| name == "content-length").map(|(_, value)| value.parse::<usize>());
    let body = match length {
        Some(Ok(length)) => body.get(..length).ok_or("The inner body is shorter than its Content-Length.")?,
        Some(Err(_)) => return Err("The inner Content-Length is no number."),
        None => body.trim(),
    };
    let mut headers = HeaderMap::new();
    if let Some(authorization) = authorization {
        headers.insert("authorization", authorization.clone());
    }
    for (name, value) in &inner_headers {
        if let (Ok(name), Ok(value)) = (HeaderName::try_from(name), HeaderValue::from_str(value)) {
            headers.insert(name, value);
        }
    }
    // A client that knows the sandbox by its address writes that address's path too.
    let path = path.strip_prefix("/google_wallet").unwrap_or(path);
    Ok(Request::new(method, path, headers, Bytes::copy_from_slice(body.as_bytes())))
}

fn written(content_id: Option<&str>, reply: &Reply) -> String {
    let mut text = "Content-Type: application/http\r\n".to_owned();
    if let Some(id) = content_id {
        let id = id.strip_prefix('<').map_or_else(|| format!("response-{id}"), |rest| format!("<response-{rest}"));
        let _ = write!(text, "Content-ID: {id}\r\n");
    }
    let body = match &reply.content {
        Content::Text(text) => text.as_str(),
        Content::Places(_) | Content::Lines(_) => "",
    };
    let reason = axum::http::StatusCode::from_u16(reply.status).ok().and_then(|status| status.canonical_reason()).unwrap_or("");
    let _ = write!(text, "\r\nHTTP/1.1 {} {reason}\r\nContent-Type: {}\r\n", reply.status, reply.content_type);
    for (name, value) in &reply.headers {
        let _ = write!(text, "{name}: {value}\r\n");
    }
    let _ = write!(text, "Content-Length: {}\r\n\r\n{body}", body.len());
    text
}
