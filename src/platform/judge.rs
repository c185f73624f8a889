//! What an answer means on any platform that speaks HTTP as it is meant (failure model 4.4), and the platform's words in it.

use std::fmt::Write as _;
use std::time::{Duration, SystemTime};

use reqwest::header::{CONTENT_TYPE, DATE, HeaderMap, LOCATION, RETRY_AFTER};

use super::{RawAnswer, Verdict};

/// How a web page in place of an answer is called; `apply` knows it again.
pub(super) const WEB_PAGE: &str = "a web page instead of an answer";

/// Around words that are not ours.
const QUOTE: char = '“';
const UNQUOTE: char = '”';

/// Clocks this far apart are worth a word when a token is refused.
const SKEW_MIN: Duration = Duration::from_secs(5);

/// How a platform is spoken of.
pub(super) struct Names<'n> {
    /// Its own name.
    pub platform: &'n str,
    /// What to check when it refuses the credentials.
    pub credentials: &'n str,
}

pub(super) fn judge(names: &Names<'_>, answer: &RawAnswer<'_>, now: SystemTime) -> Verdict {
    if let Some(verdict) = before_statuses(names, answer, now) {
        return verdict;
    }
    match answer.status {
        // The call is not there (gRPC Unimplemented): asking again changes nothing, and says nothing of other calls.
        501 | 505 => Verdict::Final,
        408 | 425 | 499 | 500..=599 => again(answer),
        429 => Verdict::SlowDown { after: retry_after(answer.headers, now) },
        _ => Verdict::Final,
    }
}

/// What an answer means whatever a platform means by its statuses: redirects, credentials, and what stands between here and there.
pub(super) fn before_statuses(names: &Names<'_>, answer: &RawAnswer<'_>, now: SystemTime) -> Option<Verdict> {
    let page = is_web_page(answer);
    Some(match answer.status {
        // Maintenance and captive portals answer so for every row; the platform itself never does.
        200..=299 if page => Verdict::Again { reason: format!("{} came with status {}", WEB_PAGE, answer.status) },
        300..=399 => Verdict::Outage { reason: redirect(answer) },
        401 => Verdict::Reauthorize { reason: unauthorized(names, answer, now) },
        403 if page => Verdict::Outage {
            reason: format!("something between here and {} answers 403 with a web page: a firewall or proxy refuses us", names.platform),
        },
        407 => Verdict::Outage { reason: "the proxy asks for a login (407)".to_owned() },
        _ => return None,
    })
}

/// The request may succeed later.
pub(super) fn again(answer: &RawAnswer<'_>) -> Verdict {
    Verdict::Again { reason: format!("status {}{}", answer.status, words(answer, is_web_page(answer))) }
}

/// The account as a whole is refused.
pub(super) fn forbidden(names: &Names<'_>, body: &[u8]) -> String {
    format!("{} refuses every request (403: {}); check the key's rights", names.platform, quoted(body))
}

fn words(answer: &RawAnswer<'_>, page: bool) -> String {
    if page || answer.body.is_empty() { String::new() } else { format!(": {}", quoted(answer.body)) }
}

fn redirect(answer: &RawAnswer<'_>) -> String {
    let place = answer.headers.get(LOCATION).and_then(|place| place.to_str().ok()).unwrap_or_default();
    let host = reqwest::Url::parse(place).ok().and_then(|url| url.host_str().map(str::to_owned));
    let host = host.map_or_else(|| "another address".to_owned(), |host| clean(&host));
    format!("it redirects to {host} (status {}), which is never followed; check base_url", answer.status)
}

fn unauthorized(names: &Names<'_>, answer: &RawAnswer<'_>, now: SystemTime) -> String {
    let mut reason = format!("{} does not accept our token (401: {})", names.platform, quoted(answer.body));
    let theirs = answer.headers.get(DATE).and_then(|date| date.to_str().ok()).and_then(|date| httpdate::parse_http_date(date).ok());
    let (skew, direction) = match theirs.map(|theirs| now.duration_since(theirs)) {
        Some(Ok(ahead)) => (ahead, "ahead of"),
        Some(Err(behind)) => (behind.duration(), "behind"),
        None => (Duration::ZERO, ""),
    };
    if skew >= SKEW_MIN {
        let _ = write!(reason, "; this machine's clock is {} s {direction} {}'s: set it right", skew.as_secs(), names.platform);
    } else {
        let _ = write!(reason, "; check {}", names.credentials);
    }
    reason
}

/// Seconds or an HTTP date (RFC 9110, 10.2.3).
pub(super) fn retry_after(headers: &HeaderMap, now: SystemTime) -> Option<Duration> {
    let text = headers.get(RETRY_AFTER)?.to_str().ok()?.trim();
    if !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit()) {
        // More digits than fit mean a very long time, not none.
        return Some(Duration::from_secs(text.parse().unwrap_or(u64::from(u32::MAX))).min(Duration::from_secs(u64::from(u32::MAX))));
    }
    httpdate::parse_http_date(text).ok().map(|until| until.duration_since(now).unwrap_or_default())
}

pub(super) fn is_web_page(answer: &RawAnswer<'_>) -> bool {
    let declared = answer.headers.get(CONTENT_TYPE).is_some_and(|kind| kind.as_bytes().to_ascii_lowercase().starts_with(b"text/html"));
    declared || answer.body.trim_ascii_start().starts_with(b"<")
}

/// The platform's words, from any of the shapes that platforms use: `message`, `error` as a text, or `error.message` (PassKit contract 3.2);
/// `detail`, else `title` (RFC 9457); `description`.
pub(super) fn message(body: &[u8]) -> String {
    let json: Option<serde_json::Value> = serde_json::from_slice(body).ok();
    let text =
        |value: Option<&serde_json::Value>| value.and_then(serde_json::Value::as_str).filter(|text| !text.is_empty()).map(str::to_owned);
    let found = json.as_ref().and_then(|json| {
        let error = json.get("error");
        text(json.get("message"))
            .or_else(|| text(error))
            .or_else(|| text(error.and_then(|error| error.get("message"))))
            .or_else(|| ["detail", "title", "description"].iter().find_map(|name| text(json.get(*name))))
    });
    clean(&found.unwrap_or_else(|| String::from_utf8_lossy(&body[..body.len().min(2000)]).into_owned()))
}

/// The platform's words as part of our own: marked, because they may repeat what they were sent.
pub(super) fn quoted(body: &[u8]) -> String {
    quote(&message(body))
}

/// Text from outside as part of our own.
pub(super) fn quote(text: &str) -> String {
    format!("{QUOTE}{}{UNQUOTE}", text.replace([QUOTE, UNQUOTE], "\""))
}

/// A reason as a log may have it: without what is quoted in it. Reports and `status` have all of it.
pub(crate) fn for_log(reason: &str) -> String {
    let (mut told, mut rest) = (String::with_capacity(reason.len()), reason);
    while let Some((before, quoted)) = rest.split_once(QUOTE) {
        told.push_str(before);
        told.push('…');
        // What was cut short is quoted to its end.
        rest = quoted.split_once(UNQUOTE).map_or("", |(_, after)| after);
    }
    told + rest
}

/// Text from outside, fit for a report: no control characters, at most 300 characters.
pub(super) fn clean(text: &str) -> String {
    text.chars().map(|c| if c.is_control() { ' ' } else { c }).take(300).collect::<String>().trim().to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;
    use reqwest::header::HeaderValue;

    const NAMES: Names<'_> = Names { platform: "PassKit", credentials: "the key and the secret" };

    fn judged(status: u16, headers: &[(reqwest::header::HeaderName, &str)], body: &str) -> Verdict {
        let headers = headers.iter().map(|(name, value)| (name.clone(), HeaderValue::from_str(value).unwrap())).collect();
        judge(&NAMES, &RawAnswer { status, headers: &headers, body: body.as_bytes() }, now())
    }

    fn now() -> SystemTime {
        httpdate::parse_http_date("Sun, 01 Mar 2026 12:00:00 GMT").unwrap()
    }

    #[test]
    fn statuses_fall_into_their_classes() {
        for status in [200, 400, 403, 404, 409, 410, 413, 422, 501] {
            assert_eq!(judged(status, &[], "{}"), Verdict::Final, "{status}");
        }
        for status in [408, 425, 499, 500, 502, 503, 504] {
            assert!(matches!(judged(status, &[], "{}"), Verdict::Again { .. }), "{status}");
        }
        assert!(matches!(judged(403, &[(CONTENT_TYPE, "text/html; charset=utf-8")], "<html>"), Verdict::Outage { .. }));
        assert!(matches!(judged(200, &[], "\n<!doctype html>"), Verdict::Again { reason } if reason.contains(WEB_PAGE)));
    }

    #[test]
    fn a_redirect_names_the_host_and_nothing_more() {
        let Verdict::Outage { reason } = judged(307, &[(LOCATION, "https://elsewhere.example/members?token=x")], "") else { panic!() };
        assert!(reason.contains("elsewhere.example") && !reason.contains("token"), "{reason}");
    }

    #[test]
    fn retry_after_is_seconds_or_a_date() {
        let after = |text: &str| match judged(429, &[(RETRY_AFTER, text)], "") {
            Verdict::SlowDown { after } => after,
            other => panic!("{other:?}"),
        };
        assert_eq!(after("7"), Some(Duration::from_secs(7)));
        assert_eq!(after("Sun, 01 Mar 2026 12:00:30 GMT"), Some(Duration::from_secs(30)));
        assert_eq!(after("Sun, 01 Mar 2026 11:00:00 GMT"), Some(Duration::ZERO));
        assert!(after("99999999999999999999999").unwrap() > Duration::from_hours(24));
        assert_eq!(after("soon"), None);
        assert_eq!(judged(429, &[], ""), Verdict::SlowDown { after: None });
    }

    #[test]
    fn a_refused_token_tells_of_the_clock() {
        let reason = |date: &str| match judged(401, &[(DATE, date)], r#"{"error":"Token used before issued"}"#) {
            Verdict::Reauthorize { reason } => reason,
            other => panic!("{other:?}"),
        };
        assert!(reason("Sun, 01 Mar 2026 11:58:30 GMT").contains("90 s ahead of"));
        assert!(reason("Sun, 01 Mar 2026 12:00:20 GMT").contains("20 s behind"));
        assert!(reason("Sun, 01 Mar 2026 12:00:01 GMT").contains("check the key"));
        assert!(reason("Sun, 01 Mar 2026 12:00:01 GMT").contains("Token used before issued"));
    }

    #[test]
    fn a_log_has_no_words_of_the_platform() {
        let body = "{\"message\":\"member ann@x.example: ”deadlock“ on bob\"}";
        for status in [401, 500] {
            let (Verdict::Again { reason } | Verdict::Reauthorize { reason }) = judged(status, &[], body) else { panic!("{status}") };
            let told = for_log(&reason);
            assert!(reason.contains("ann@x.example") && told.contains(&status.to_string()), "{told}");
            assert!(!["ann", "deadlock", "bob"].iter().any(|word| told.contains(word)), "{told}");
        }
        assert_eq!(for_log(&forbidden(&NAMES, b"cut")), "PassKit refuses every request (403: …); check the key's rights");
        assert_eq!(for_log("status 500: “cut in the mid"), "status 500: …");
        assert_eq!(for_log("ours alone"), "ours alone");
    }

    #[test]
    fn words_are_found_in_every_shape() {
        for body in [
            r#"{"error":"too old"}"#,
            r#"{"error":"x","code":3,"message":"too old","details":[]}"#,
            r#"{"code":5,"message":"too old","details":[]}"#,
            r#"{"error":{"code":5,"message":"too old","details":[]}}"#,
            r#"{"type":"about:blank","title":"Bad Request","status":400,"detail":"too old"}"#,
            r#"{"title":"too old","status":400}"#,
            r#"{"code":404,"description":"too old"}"#,
            "too\nold",
        ] {
            assert_eq!(message(body.as_bytes()), "too old");
        }
        assert_eq!(message("é".repeat(1500).as_bytes()).chars().count(), 300);
    }
}
