//! Several requests in one, and the answers to them (contract 8; RFC 2046, 5.1, and RFC 9112 inside).

use std::fmt::Write as _;

use bytes::Bytes;
use reqwest::Method;
use reqwest::header::{CONTENT_TYPE, HeaderMap, HeaderName, HeaderValue, RETRY_AFTER};

use crate::platform::Request;

/// Found in nothing that is sent: bodies are JSON, whose line ends are escaped.
const BOUNDARY: &str = "passferry-part";

/// The answer to one part.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct PartAnswer {
    pub status: u16,
    pub headers: HeaderMap,
    pub body: Bytes,
}

/// One request that holds these. It may be repeated when each of them may.
pub(super) fn write(parts: &[&Request]) -> Request {
    let mut text = String::new();
    for (index, part) in parts.iter().enumerate() {
        let _ = write!(
            text,
            "--{BOUNDARY}\r\nContent-Type: application/http\r\nContent-ID: <part-{index}>\r\n\r\n{} {} HTTP/1.1\r\n",
            part.method, part.path
        );
        if let Some(body) = &part.body {
            let _ = write!(text, "Content-Type: application/json\r\nContent-Length: {}\r\n\r\n", body.len());
            text.push_str(&String::from_utf8_lossy(body));
        } else {
            text.push_str("\r\n");
        }
        text.push_str("\r\n");
    }
    let _ = write!(text, "--{BOUNDARY}--\r\n");
    let mut request = Request::new(Method::POST, "/batch".to_owned());
    request.headers.push((CONTENT_TYPE, HeaderValue::from_static("multipart/mixed; boundary=passferry-part")));
    request.body = Some(Bytes::from(text));
    request.repeatable = parts.iter().all(|part| part.repeatable);
    request.weight = u32::try_from(parts.len()).unwrap_or(u32::MAX);
    request
}

/// The answers to `count` parts, in the order in which these were sent; none where one is missing. The error says why the whole cannot be read.
///
/// A part is known by its `Content-ID`. Where no part has one that is known, the order tells, which is that of the requests (contract 8).
pub(super) fn read(body: &[u8], count: usize) -> Result<Vec<Option<PartAnswer>>, String> {
    let text = std::str::from_utf8(body).map_err(|_| "the answer to a batch is not text")?;
    // Answers are handed on without their headers, so the boundary is what the first line says; it may follow a preamble of blank lines.
    let opening = text.lines().map(str::trim_end).find(|line| !line.is_empty()).filter(|line| line.starts_with("--") && line.len() > 2);
    let boundary = opening.ok_or("the answer to a batch has no parts")?;
    let mut answers: Vec<Option<PartAnswer>> = Vec::new();
    answers.resize_with(count, || None);
    let mut nameless = Vec::new();
    let mut closed = false;
    for piece in pieces(text, boundary) {
        let Some(piece) = piece else {
            closed = true;
            break;
        };
        let (id, answer) = part(piece)?;
        match id {
            Some(index) if index < count && answers[index].is_none() => answers[index] = Some(answer),
            Some(_) => return Err("the answer to a batch names a part twice, or one that was not sent".to_owned()),
            None => nameless.push(answer),
        }
    }
    if !closed {
        return Err("the answer to a batch was cut short".to_owned());
    }
    if !nameless.is_empty() {
        if nameless.len() != count {
            return Err("the answer to a batch has parts that cannot be told apart".to_owned());
        }
        return Ok(nameless.into_iter().map(Some).collect());
    }
    Ok(answers)
}

/// What stands between the boundaries; none for the closing one.
fn pieces<'t>(text: &'t str, boundary: &'t str) -> impl Iterator<Item = Option<&'t str>> {
    let mut rest = text.find(boundary).map(|start| &text[start + boundary.len()..]);
    std::iter::from_fn(move || {
        let now = rest.take()?;
        if now.starts_with("--") {
            return Some(None);
        }
        // A boundary is one only at the beginning of a line.
        let mut from = 0;
        while let Some(found) = now[from..].find(boundary) {
            let at = from + found;
            if now[..at].ends_with('\n') {
                rest = Some(&now[at + boundary.len()..]);
                return Some(Some(&now[..at]));
            }
            from = at + boundary.len();
        }
        None
    })
}

/// A part: its own headers, then an HTTP answer.
fn part(piece: &str) -> Result<(Option<usize>, PartAnswer), String> {
    let broken = || "a part of the answer to a batch cannot be read".to_owned();
    let (outer, inner) =
        head(piece.trim_start_matches([' ', '\t']).trim_start_matches("\r\n").trim_start_matches('\n')).ok_or_else(broken)?;
    let id = header(outer, "content-id").and_then(|id| {
        // `<response-part-3>`; some put more before or behind.
        let digits = id.trim().trim_matches(['<', '>']).rsplit("part-").next()?;
        id.contains("part-").then(|| digits.parse().ok()).flatten()
    });
    let (head, body) = head(inner.trim_start()).ok_or_else(broken)?;
    let status = head.lines().next().and_then(|line| {
        let mut words = line.split_whitespace();
        words.next().filter(|version| version.starts_with("HTTP/"))?;
        words.next()?.parse().ok()
    });
    let mut headers = HeaderMap::new();
    for name in [CONTENT_TYPE, RETRY_AFTER] {
        keep(&mut headers, &name, head);
    }
    // The line end before the boundary belongs to the boundary.
    let body = match header(head, "content-length").and_then(|length| length.trim().parse::<usize>().ok()) {
        Some(length) => body.get(..length).ok_or_else(broken)?,
        None => body.strip_suffix('\n').map_or(body, |body| body.strip_suffix('\r').unwrap_or(body)),
    };
    Ok((id, PartAnswer { status: status.ok_or_else(broken)?, headers, body: Bytes::copy_from_slice(body.as_bytes()) }))
}

fn keep(headers: &mut HeaderMap, name: &HeaderName, head: &str) {
    if let Some(value) = header(head, name.as_str()).and_then(|value| HeaderValue::from_str(value.trim()).ok()) {
        headers.insert(name.clone(), value);
    }
}

/// What stands before the first empty line, and what behind it. Line ends are CRLF or LF.
fn head(text: &str) -> Option<(&str, &str)> {
    let mut at = 0;
    for line in text.split_inclusive('\n') {
        if line.trim_end_matches(['\r', '\n']).is_empty() {
            return Some((&text[..at], &text[at + line.len()..]));
        }
        at += line.len();
    }
    // A part without a body may end with its headers.
    (!text.is_empty()).then_some((text, ""))
}

fn header<'t>(head: &'t str, name: &str) -> Option<&'t str> {
    head.lines()
        .filter_map(|line| line.split_once(':'))
        .find(|(key, _)| key.trim().eq_ignore_ascii_case(name))
        .map(|(_, value)| value.trim())
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn requests() -> [Request; 2] {
        [
            Request::new(Method::PATCH, "/walletobjects/v1/loyaltyObject/1.a?fields=id".to_owned()).json(&json!({ "a": "é" })),
            Request::new(Method::GET, "/walletobjects/v1/loyaltyObject/1.b".to_owned()),
        ]
    }

    #[test]
    fn a_batch_is_written_in_the_strict_form() {
        let [first, second] = requests();
        let request = write(&[&first, &second]);
        let wanted = "--passferry-part\r\nContent-Type: application/http\r\nContent-ID: <part-0>\r\n\r\n\
            PATCH /walletobjects/v1/loyaltyObject/1.a?fields=id HTTP/1.1\r\nContent-Type: application/json\r\nContent-Length: 10\r\n\r\n\
            {\"a\":\"é\"}\r\n--passferry-part\r\nContent-Type: application/http\r\nContent-ID: <part-1>\r\n\r\n\
            GET /walletobjects/v1/loyaltyObject/1.b HTTP/1.1\r\n\r\n\r\n--passferry-part--\r\n";
        assert_eq!(std::str::from_utf8(request.body.as_ref().unwrap()).unwrap(), wanted);
        assert_eq!((request.weight, request.repeatable), (2, true));
        assert!(!write(&[&first, &second.once()]).repeatable, "one that may not be repeated keeps all from it");
    }

    fn statuses(body: &str, count: usize) -> Result<Vec<Option<u16>>, String> {
        read(body.as_bytes(), count).map(|answers| answers.into_iter().map(|answer| answer.map(|answer| answer.status)).collect())
    }

    const ANSWER: &str = "--batch_x\r\nContent-Type: application/http\r\nContent-ID: <response-part-1>\r\n\r\n\
        HTTP/1.1 404 Not Found\r\nContent-Type: application/json; charset=UTF-8\r\nRetry-After: 7\r\n\r\n{\"error\":{\"code\":404}}\r\n\
        --batch_x\r\nContent-Type: application/http\r\nContent-ID: <response-part-0>\r\n\r\n\
        HTTP/1.1 200 OK\r\nContent-Length: 12\r\n\r\n{\"id\":\"1.a\"}\r\n--batch_x--\r\n";

    #[test]
    fn parts_are_known_by_their_id_and_keep_their_own_answer() {
        let answers = read(ANSWER.as_bytes(), 2).unwrap();
        let [Some(first), Some(second)] = &answers[..] else { panic!("{answers:?}") };
        assert_eq!((first.status, &first.body[..]), (200, &b"{\"id\":\"1.a\"}"[..]));
        assert_eq!((second.status, &second.body[..]), (404, &b"{\"error\":{\"code\":404}}"[..]));
        assert_eq!(second.headers[RETRY_AFTER], "7");
        assert_eq!(statuses(&ANSWER.replace("\r\n", "\n"), 2).unwrap(), [Some(200), Some(404)]);
        assert_eq!(statuses(ANSWER, 3).unwrap(), [Some(200), Some(404), None]);
    }

    #[test]
    fn without_ids_the_order_tells() {
        let bare = ANSWER.replace("Content-ID: <response-part-1>\r\n", "").replace("Content-ID: <response-part-0>\r\n", "");
        assert_eq!(statuses(&bare, 2).unwrap(), [Some(404), Some(200)]);
        assert!(statuses(&bare, 3).is_err(), "which one is missing cannot be told");
    }

    #[test]
    fn what_was_cut_short_or_answers_something_else_is_not_half_believed() {
        for cut in [10, ANSWER.len() / 2, ANSWER.len() - 4] {
            assert!(statuses(&ANSWER[..cut], 2).is_err(), "{cut}");
        }
        for bad in ["", "{\"error\":{}}", "--x--\r\n", &ANSWER.replace("part-1", "part-0"), &ANSWER.replace("part-1", "part-9")] {
            let read = statuses(bad, 2);
            assert!(read.is_err() || read == Ok(vec![None, None]), "{bad}: {read:?}");
        }
    }

    #[test]
    fn a_boundary_inside_a_text_ends_nothing() {
        let tricky = ANSWER.replace("{\"error\":{\"code\":404}}", "{\"error\":{\"message\":\"--batch_x--\"}}");
        assert_eq!(statuses(&tricky, 2).unwrap(), [Some(200), Some(404)]);
    }
}
