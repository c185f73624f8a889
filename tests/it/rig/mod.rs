//! What tests are run against.

pub mod disk;
pub mod ferry;
pub mod harbour;
pub mod promises;
pub mod proxy;
pub mod sshd;
