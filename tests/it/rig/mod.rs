//! What tests are run against.

pub mod ferry;
pub mod proxy;
pub mod sshd;
