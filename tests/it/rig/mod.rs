//! What tests are run against.

pub mod proxy;
pub mod sshd;
