//! What pages load: one style sheet, one script and one icon, all ours and all in this program.

use std::sync::LazyLock;

use axum::http::header::{CACHE_CONTROL, CONTENT_TYPE};
use axum::response::IntoResponse;

use crate::page::style::CSS;

const OWN_CSS: &str = include_str!("style.css");
const SCRIPT: &str = include_str!("page.js");
const ICON: &str = include_str!("icon.svg");

/// Parts of the addresses of all: another version is another address, so that a browser may keep each for ever.
pub static VERSION: LazyLock<String> =
    LazyLock::new(|| crate::spool::sha256([CSS, OWN_CSS, SCRIPT, ICON].concat().as_bytes())[..12].to_owned());

const FOR_EVER: &str = "private, max-age=31536000, immutable";

pub async fn style() -> impl IntoResponse {
    ([(CONTENT_TYPE, "text/css; charset=utf-8"), (CACHE_CONTROL, FOR_EVER)], [CSS, OWN_CSS].concat())
}

pub async fn script() -> impl IntoResponse {
    ([(CONTENT_TYPE, "text/javascript; charset=utf-8"), (CACHE_CONTROL, FOR_EVER)], SCRIPT)
}

pub async fn icon() -> impl IntoResponse {
    ([(CONTENT_TYPE, "image/svg+xml"), (CACHE_CONTROL, FOR_EVER)], ICON)
}
