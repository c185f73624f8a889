//! passferry ferries flat files onto wallet passes.
//!
//! A file arrives at a [`source`]. The [`watcher`] wakes, finds it complete and starts a run; the [`pipeline`] takes it down its road:
//! discover, fetch, decode, validate, diff, guard, resolve, apply, report, archive. Its rows, written in some [`dialect`], are checked against a [`schema`], turned by
//! the [`mapping`] into what each asks of a pass (both come from the file itself where it has a vendor's own [`mod@format`]), compared with what the [`ledger`] knows was applied, and what is left goes through
//! [`dispatch`] to the [`platform`]. How each row ended is an [`outcome`]; the ledger and the [`spool`] hold all that a report needs, and
//! [`keeping`] sees to it that they hold it no longer than they should, and fit together. Whoever must act is told by an [`alert`]. What
//! people look at in a browser is built from a [`page`]'s parts; what a monitoring system asks is answered by [`metrics`].
//!
//! Modules in reading order.

pub mod config;
#[cfg(feature = "pgp")]
pub mod openpgp;
pub mod secret;

pub mod dialect;
pub mod format;
pub mod mapping;
pub mod outcome;
pub mod row;
pub mod schema;

pub mod ledger;
pub mod space;
pub mod spool;

pub mod pipeline;
pub mod watcher;

pub mod alert;
pub mod keeping;

pub mod page;

pub mod guess;

pub mod apple;
pub mod clock;
pub mod dispatch;
pub mod metrics;
pub mod platform;
pub mod source;
pub mod stop;
pub mod zone;

pub mod decide;
pub mod told;

pub mod review;

pub mod cli;
pub mod listening;
pub mod logging;
pub mod service;
pub mod trace;

#[cfg(feature = "demo")]
pub mod demo;
pub mod sandbox;
