//! Answers and errors in the platform's shapes (contract sections 2 and 3).

use serde::Serialize;
use serde_json::{Value, json};

use super::faults::ErrorShape;

/// What a call answers with status 200.
pub(super) enum Reply {
    Json(String),
    /// Members to stream, by place.
    Members(Vec<usize>),
    /// Lines to stream, each a JSON text.
    Lines(Vec<String>),
}

impl Reply {
    pub fn json(value: &impl Serialize) -> Result<Reply, Failure> {
        serde_json::to_string(value).map(Reply::Json).map_err(|problem| Failure::new(500, problem.to_string()))
    }
}

/// What a call answers otherwise.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Failure {
    pub status: u16,
    pub message: String,
}

impl Failure {
    pub fn new(status: u16, message: impl Into<String>) -> Failure {
        Failure { status, message: message.into() }
    }

    /// Wrong input (400).
    pub fn invalid(message: impl std::fmt::Display) -> Failure {
        Failure::new(400, format!("validation err: {message}"))
    }

    /// An object that is not there (404), e.g. `member with id[x] does not exist`.
    pub fn missing(what: &str, field: &str, id: &str) -> Failure {
        Failure::new(404, format!("{what} with {field}[{id}] does not exist"))
    }

    /// The error body of contract section 3.2.
    pub fn body(&self, shape: ErrorShape) -> String {
        let (code, message) = (grpc_code(self.status), &self.message);
        let details: [Value; 0] = [];
        match shape {
            ErrorShape::Gateway => json!({"code": code, "message": message, "details": details}),
            ErrorShape::Text => json!({"error": message}),
            ErrorShape::Both => json!({"error": message, "code": code, "message": message, "details": details}),
            ErrorShape::Nested => json!({"error": {"code": code, "message": message, "details": details}}),
        }
        .to_string()
    }
}

/// The table of contract section 3.1, read from the right.
fn grpc_code(status: u16) -> u8 {
    match status {
        400 => 3,
        401 => 16,
        403 => 7,
        404 => 5,
        409 => 6,
        429 => 8,
        499 => 1,
        501 => 12,
        500 => 13,
        503 => 14,
        504 => 4,
        _ => 2,
    }
}
