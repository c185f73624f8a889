//! Every request to the platform's paths comes in here.

use axum::http::StatusCode;

#[derive(Default)]
pub(super) struct Oversized;

pub(super) async fn open() -> StatusCode {
    StatusCode::NOT_FOUND
}
