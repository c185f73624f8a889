//! Errors as the platform writes them (contract sections 3.1 and 3.2).

use serde_json::{Value, json};

use super::switches::ErrorShape;
use crate::sandbox::answer::Failure;

/// The error bodies of contract section 3.2.
pub(super) fn body(failure: &Failure, shape: ErrorShape) -> String {
    let (code, message) = (grpc_code(failure.status), &failure.message);
    let details: [Value; 0] = [];
    match shape {
        ErrorShape::Gateway => json!({"code": code, "message": message, "details": details}),
        ErrorShape::Text => json!({"error": message}),
        ErrorShape::Both => json!({"error": message, "code": code, "message": message, "details": details}),
        ErrorShape::Nested => json!({"error": {"code": code, "message": message, "details": details}}),
    }
    .to_string()
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
