//! One step of a run: a station does its part, and its result says which state comes next.

mod apply;
mod check;
mod end;
mod fetch;

pub(super) use apply::apply_it;
pub(super) use check::{check_it, decide};
pub(super) use end::{archive_it, report_it};
pub(super) use fetch::fetch_it;
