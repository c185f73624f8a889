//! Single troubles, and the rules that say which requests they befall.

use serde::{Deserialize, Serialize};

/// One kind of trouble and the requests it befalls: all that meet every given condition, or a share of them.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Rule {
    pub trouble: Trouble,
    /// 0 to 1.
    #[serde(default = "always")]
    pub share: f64,
    /// How many requests more; counts down. Without it the rule stays.
    #[serde(default)]
    pub next: Option<u64>,
    #[serde(default)]
    pub method: Option<String>,
    /// A part of the path.
    #[serde(default)]
    pub path: Option<String>,
    /// A member, by external ID or by its id.
    #[serde(default)]
    pub id: Option<String>,
}

fn always() -> f64 {
    1.0
}

impl Rule {
    /// Befalls every request, until narrowed.
    pub fn new(trouble: Trouble) -> Rule {
        Rule { trouble, share: 1.0, next: None, method: None, path: None, id: None }
    }

    #[must_use]
    pub fn share(self, share: f64) -> Rule {
        Rule { share, ..self }
    }

    #[must_use]
    pub fn next(self, requests: u64) -> Rule {
        Rule { next: Some(requests), ..self }
    }

    #[must_use]
    pub fn method(self, method: &str) -> Rule {
        Rule { method: Some(method.to_owned()), ..self }
    }

    #[must_use]
    pub fn path(self, part: &str) -> Rule {
        Rule { path: Some(part.to_owned()), ..self }
    }

    #[must_use]
    pub fn id(self, id: &str) -> Rule {
        Rule { id: Some(id.to_owned()), ..self }
    }

    pub(super) fn matches(&self, about: &About<'_>) -> bool {
        self.next != Some(0)
            && self.method.as_deref().is_none_or(|method| method.eq_ignore_ascii_case(about.method))
            && self.path.as_deref().is_none_or(|part| about.path.contains(part))
            && self.id.as_deref().is_none_or(|id| about.ids.contains(&Some(id)))
    }
}

/// What goes wrong. "Before" means that nothing was applied, "after" that all of it was.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case", deny_unknown_fields)]
pub enum Trouble {
    /// An error answer, before.
    Status {
        code: u16,
        #[serde(default)]
        message: Option<String>,
    },
    /// 429 with this `Retry-After`, word for word, before.
    TooMany {
        #[serde(default)]
        retry_after: Option<String>,
    },
    /// 503, before; the same request is refused for 250 ms and then passes.
    Unavailable,
    /// 502 with a proxy's HTML page, before.
    BadGatewayHtml,
    /// A page of HTML with this status, before: a firewall in front of the platform.
    Blocked { code: u16 },
    /// The connection is closed without an answer, before.
    DropBefore,
    /// The connection is closed without an answer, after.
    DropAfter,
    /// The connection is closed without an answer, and all of it is applied so much later.
    ApplyLater { ms: u64 },
    /// The answer is held back for so long, after.
    AnswerLate { ms: u64 },
    /// The whole answer is written twice on the connection, after.
    AnswerTwice,
    /// The answer ends in the middle of its body, after.
    TruncatedBody,
    /// 200 without a body, after.
    EmptyBody,
    /// 200 with JSON of another shape, after.
    WrongJson,
    /// 200 with an object that names two ids, the right one last, after.
    DuplicateKeys,
    /// 200 with the right id and an array so deep beside it, after.
    DeepNesting { depth: usize },
    /// 200 with a page of HTML, before: somebody else's log-in page.
    HtmlOk,
    /// 200 with a page of HTML, after.
    HtmlAfter,
    /// 200 with an id and, where there is one, an external ID that nobody has, after.
    OtherId,
    /// This answer, after. `{id}` in the body stands for the member's id.
    Answer {
        code: u16,
        body: String,
        #[serde(default = "json_type")]
        content_type: String,
    },
    /// 200 with a body of so many bytes, after; packed small with gzip, the bytes are those it unpacks to.
    HugeBody {
        bytes: u64,
        #[serde(default)]
        gzip: bool,
    },
    /// A list without every so manieth row (0: with all), with every row twice, from the last to the first, or with a row nobody asked for.
    MixedList {
        #[serde(default)]
        without_every: usize,
        #[serde(default)]
        twice: bool,
        #[serde(default)]
        reversed: bool,
        #[serde(default)]
        extra: bool,
    },
    /// A list ends with an error line after so many rows.
    ListError { rows: usize },
    /// A list's connection is closed in the middle of the line after so many rows.
    ListCut { rows: usize },
    /// Another writer changes this key of the member's `metaData` after a read or before a write.
    LostUpdate { key: String, value: String },
    /// As `LostUpdate`, and a write is refused with this status for it (409, 412, 428).
    VersionClash { code: u16, key: String, value: String },
    /// Another writer gives the member 1 to `most` points just before the request.
    OtherWriter { most: u32 },
    /// Somebody deletes the member just before the request.
    DeleteMember,
    /// To another place, before.
    Redirect {
        to: String,
        #[serde(default = "temporary_redirect")]
        code: u16,
    },
    /// The answer arrives in pieces of so many bytes with a pause before each, after.
    SlowDrip { bytes: usize, pause_ms: u64 },
}

impl Trouble {
    /// 307 to another place.
    pub fn redirect(to: &str) -> Trouble {
        Trouble::Redirect { to: to.to_owned(), code: temporary_redirect() }
    }

    /// This JSON, after.
    pub fn answer(code: u16, body: &str) -> Trouble {
        Trouble::Answer { code, body: body.to_owned(), content_type: json_type() }
    }
}

const fn temporary_redirect() -> u16 {
    307
}

fn json_type() -> String {
    "application/json".to_owned()
}

/// What a rule can see of a request.
pub(super) struct About<'a> {
    pub method: &'a str,
    pub path: &'a str,
    /// External ID and id of the member, as far as known.
    pub ids: [Option<&'a str>; 2],
    /// Tells requests apart: equal for a repeat.
    pub fingerprint: u64,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn conditions_of_a_rule_must_all_hold() {
        let rule = Rule::new(Trouble::DropBefore).method("put").path("points").id("A");
        let about = |method, path, id| About { method, path, ids: [Some(id), None], fingerprint: 0 };
        assert!(rule.matches(&about("PUT", "/members/member/points/set", "A")));
        assert!(!rule.matches(&about("GET", "/members/member/points/set", "A")));
        assert!(!rule.matches(&about("PUT", "/members/member", "A")));
        assert!(!rule.matches(&about("PUT", "/members/member/points/set", "B")));
        assert!(!rule.next(0).matches(&about("PUT", "/members/member/points/set", "A")));
    }
}
