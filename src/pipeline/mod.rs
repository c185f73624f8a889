//! The road of a file, station by station.

pub mod decode;
