//! Answers and errors before they take a platform's shape.

use std::borrow::Cow;

use serde::Serialize;

pub(super) const JSON: &str = "application/json";

/// What a call answers when it is not refused.
pub(super) struct Reply {
    pub status: u16,
    /// None when empty.
    pub content_type: Cow<'static, str>,
    /// Further headers.
    pub headers: Vec<(&'static str, String)>,
    pub content: Content,
}

pub(super) enum Content {
    Text(String),
    /// Rows to stream, by place.
    Places(Vec<usize>),
    /// Lines to stream, each a JSON text.
    Lines(Vec<String>),
}

impl Reply {
    pub fn of(status: u16, content_type: impl Into<Cow<'static, str>>, content: impl Into<String>) -> Reply {
        Reply { status, content_type: content_type.into(), headers: Vec::new(), content: Content::Text(content.into()) }
    }

    /// 200 with JSON.
    pub fn json(value: &impl Serialize) -> Result<Reply, Failure> {
        serde_json::to_string(value).map(|text| Reply::of(200, JSON, text)).map_err(|problem| Failure::new(500, problem.to_string()))
    }

    /// A status and nothing else.
    pub fn empty(status: u16) -> Reply {
        Reply::of(status, "", "")
    }

    pub fn places(places: Vec<usize>) -> Reply {
        Reply { content: Content::Places(places), ..Reply::of(200, JSON, "") }
    }

    pub fn lines(lines: Vec<String>) -> Reply {
        Reply { content: Content::Lines(lines), ..Reply::of(200, JSON, "") }
    }

    #[must_use]
    pub fn header(mut self, name: &'static str, value: impl Into<String>) -> Reply {
        self.headers.push((name, value.into()));
        self
    }
}

/// What a call answers otherwise.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Failure {
    pub status: u16,
    pub message: String,
    /// A platform's word for it, where it has one; empty otherwise.
    pub reason: &'static str,
}

impl Failure {
    pub fn new(status: u16, message: impl Into<String>) -> Failure {
        Failure { status, message: message.into(), reason: "" }
    }

    #[must_use]
    pub fn because(self, reason: &'static str) -> Failure {
        Failure { reason, ..self }
    }

    /// Wrong input (400).
    pub fn invalid(message: impl std::fmt::Display) -> Failure {
        Failure::new(400, format!("validation err: {message}"))
    }

    /// An object that is not there (404), e.g. `member with id[x] does not exist`.
    pub fn missing(what: &str, field: &str, id: &str) -> Failure {
        Failure::new(404, format!("{what} with {field}[{id}] does not exist"))
    }
}
