//! What an answer of Google's means (contract 10): the status first, the reason second.

use std::sync::atomic::{AtomicU32, Ordering};
use std::time::SystemTime;

use reqwest::Method;

use super::{Scope, wire};
use crate::platform::{RawAnswer, Request, Verdict, judge};

/// So many answers of 403 before the first success mean the account, not the rows (failure model D10).
const FORBIDDEN_MAX: u32 = 20;

const NAMES: judge::Names =
    judge::Names { platform: "Google Wallet", credentials: "the service account's key file: it may have been revoked" };

/// Answers of 403 to reads and to writes so far; [`u32::MAX`] once one of the kind succeeded.
#[derive(Debug, Default)]
pub(super) struct Rights([AtomicU32; 2]);

/// What a request is, for the one who judges its answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Asked {
    Read,
    Write,
    Batch,
}

impl Asked {
    pub(super) fn of(request: &Request) -> Asked {
        match request.method {
            _ if request.weight > 1 => Asked::Batch,
            Method::GET => Asked::Read,
            _ => Asked::Write,
        }
    }
}

/// What an answer to one request, or to a part of a batch, means.
pub(super) fn judge(scope: &Scope, of: Asked, answer: &RawAnswer<'_>, now: SystemTime) -> Verdict {
    let reason = if answer.status == 403 { wire::reason(answer.body) } else { None };
    if reason.as_ref().is_some_and(|reason| scope.slow_reasons.contains(reason)) {
        return Verdict::SlowDown { after: judge::retry_after(answer.headers, now) };
    }
    let forbidden = match of {
        Asked::Read => &scope.rights.0[0],
        Asked::Write => &scope.rights.0[1],
        // What it says as a whole is not about its parts.
        Asked::Batch => return judge::judge(&NAMES, answer, now),
    };
    match answer.status {
        // One who may not do it is told so before it is looked whether it is there (contract 10).
        200..=299 | 404 | 409 => forbidden.store(u32::MAX, Ordering::Relaxed),
        // About the alerts of one pass.
        403 if reason.as_deref() == Some(super::QUOTA) => {}
        403 if forbidden.load(Ordering::Relaxed) < FORBIDDEN_MAX => {
            forbidden.fetch_add(1, Ordering::Relaxed);
        }
        403 if forbidden.load(Ordering::Relaxed) != u32::MAX => return Verdict::Outage { reason: refused(answer.body) },
        _ => {}
    }
    judge::judge(&NAMES, answer, now)
}

/// The account as a whole is refused.
pub(super) fn refused(body: &[u8]) -> String {
    let words = judge::message(body);
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

    fn judged(scope: &Scope, status: u16, reason: &str) -> Verdict {
        let body = json!({ "error": { "code": status, "message": "no", "errors": [{ "message": "no", "reason": reason }] } }).to_string();
        let headers = HeaderMap::from_iter([(RETRY_AFTER, HeaderValue::from_static("7"))]);
        judge(scope, Asked::Write, &RawAnswer { status, headers: &headers, body: body.as_bytes() }, SystemTime::now())
    }

    #[test]
    fn a_403_means_what_its_reason_says() {
        let scope = scope(WalletClass::Loyalty);
        assert_eq!(judged(&scope, 403, "rateLimitExceeded"), Verdict::SlowDown { after: Some(Duration::from_secs(7)) });
        assert_eq!(judged(&scope, 403, "userRateLimitExceeded"), Verdict::SlowDown { after: Some(Duration::from_secs(7)) });
        assert_eq!(judged(&scope, 403, "quotaExceeded"), Verdict::Final);
        assert_eq!(judged(&scope, 403, "forbidden"), Verdict::Final);
        assert_eq!(judged(&scope, 429, ""), Verdict::SlowDown { after: Some(Duration::from_secs(7)) });
        assert!(matches!(judged(&scope, 401, "required"), Verdict::Reauthorize { .. }));
        assert!(matches!(judged(&scope, 503, ""), Verdict::Again { .. }));
        assert_eq!(judged(&scope, 404, ""), Verdict::Final);
    }

    /// D10.
    #[test]
    fn nothing_but_403_is_the_accounts_fault_and_one_success_makes_it_the_rows() {
        let none = scope(WalletClass::Loyalty);
        for _ in 0..FORBIDDEN_MAX {
            assert_eq!(judged(&none, 403, "forbidden"), Verdict::Final);
            assert_eq!(judged(&none, 403, "quotaExceeded"), Verdict::Final, "alerts say nothing of rights");
        }
        let Verdict::Outage { reason } = judged(&none, 403, "forbidden") else { panic!() };
        assert!(reason.contains("service account's e-mail"), "{reason}");
        let some = scope(WalletClass::Loyalty);
        judged(&some, 200, "");
        for _ in 0..50 {
            assert_eq!(judged(&some, 403, "forbidden"), Verdict::Final);
        }
    }
}
