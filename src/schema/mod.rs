//! Frictionless Table Schema.

pub mod value;
