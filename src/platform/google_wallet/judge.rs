//! What an answer of Google's means (contract 10): the status first, the reason second.

use std::time::SystemTime;

use reqwest::Method;

use super::{Scope, wire};
use crate::platform::{RawAnswer, Request, Verdict, judge};

const NAMES: judge::Names =
    judge::Names { platform: "Google Wallet", credentials: "the service account's key file: it may have been revoked" };

/// What an answer to one request, or to a part of a batch, means.
pub(super) fn judge(scope: &Scope, request: &Request, answer: &RawAnswer<'_>, now: SystemTime) -> Verdict {
    let reason = if answer.status == 403 { wire::reason(answer.body) } else { None };
    if reason.as_ref().is_some_and(|reason| scope.slow_reasons.contains(reason)) {
        return Verdict::SlowDown { after: judge::retry_after(answer.headers, now) };
    }
    let verdict = judge::judge(&NAMES, answer, now);
    // What a batch answers as a whole is not about its parts.
    if request.weight > 1 {
        return verdict;
    }
    let writes = request.method != Method::GET;
    match answer.status {
        // One who may not do it is told so before it is looked whether it is there (contract 10).
        200..=299 | 404 | 409 => scope.rights.proven(writes),
        // That one is about the alerts of one pass.
        403 if verdict == Verdict::Final && reason.as_deref() != Some(super::QUOTA) => {
            return scope.rights.refused(request, writes, refused(answer.body));
        }
        _ => {}
    }
    verdict
}

/// The account as a whole is refused.
pub(super) fn refused(body: &[u8]) -> String {
    let words = judge::quoted(body);
    format!(
        "Google Wallet refuses us (403: {words}); add the service account's e-mail address to the issuer's users in the Google Pay & Wallet Console"
    )
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use reqwest::header::{HeaderMap, HeaderValue, RETRY_AFTER};
    use serde_json::json;

    use super::super::tests::scope;
    use super::*;
    use crate::config::meant::WalletClass;
    use crate::platform::rights::REFUSED_MAX;

    fn judged(scope: &Scope, number: usize, status: u16, reason: &str) -> Verdict {
        let body = json!({ "error": { "code": status, "message": "no", "errors": [{ "message": "no", "reason": reason }] } }).to_string();
        let headers = HeaderMap::from_iter([(RETRY_AFTER, HeaderValue::from_static("7"))]);
        let request = Request::new(Method::PATCH, format!("/{number}"));
        judge(scope, &request, &RawAnswer { status, headers: &headers, body: body.as_bytes() }, SystemTime::now())
    }

    #[test]
    fn a_403_means_what_its_reason_says() {
        let scope = scope(WalletClass::Loyalty);
        assert_eq!(judged(&scope, 1, 403, "rateLimitExceeded"), Verdict::SlowDown { after: Some(Duration::from_secs(7)) });
        assert_eq!(judged(&scope, 1, 403, "userRateLimitExceeded"), Verdict::SlowDown { after: Some(Duration::from_secs(7)) });
        assert_eq!(judged(&scope, 1, 403, "quotaExceeded"), Verdict::Final);
        assert!(matches!(judged(&scope, 1, 403, "forbidden"), Verdict::Undecided { .. }));
        assert_eq!(judged(&scope, 1, 429, ""), Verdict::SlowDown { after: Some(Duration::from_secs(7)) });
        assert!(matches!(judged(&scope, 1, 401, "required"), Verdict::Reauthorize { .. }));
        assert!(matches!(judged(&scope, 1, 503, ""), Verdict::Again { .. }));
        assert_eq!(judged(&scope, 1, 404, ""), Verdict::Final);
    }

    /// D10.
    #[test]
    fn nothing_but_403_is_the_accounts_fault_and_one_success_makes_it_the_rows() {
        let none = scope(WalletClass::Loyalty);
        for number in 1..REFUSED_MAX {
            assert!(matches!(judged(&none, number, 403, "forbidden"), Verdict::Undecided { .. }));
            assert_eq!(judged(&none, 100 + number, 403, "quotaExceeded"), Verdict::Final, "alerts say nothing of rights");
        }
        let Verdict::Barred { reason } = judged(&none, REFUSED_MAX, 403, "forbidden") else { panic!() };
        assert!(reason.contains("service account's e-mail"), "{reason}");
        let some = scope(WalletClass::Loyalty);
        judged(&some, 0, 200, "");
        for number in 0..50 {
            assert_eq!(judged(&some, number, 403, "forbidden"), Verdict::Final);
        }
    }
}
