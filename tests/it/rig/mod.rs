//! What tests are run against.

pub mod apple;
pub mod browser;
pub mod crash;
pub mod disk;
pub mod ferry;
pub mod harbour;
pub mod hostile;
pub mod npm;
pub mod page;
pub mod phone;
pub mod portrait;
pub mod promises;
pub mod proxy;
pub mod sshd;
pub mod vendor;
pub mod visitor;
