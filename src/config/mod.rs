//! The configuration: read as written, then as meant.

pub mod meant;
