//! The demonstration: everything passferry talks to, in this process and on this machine, and a story told with it.
//!
//! [`Stage`] is the place: a folder with an SFTP server over it, the sandbox platform, a real configuration. [`story`] plays two days of
//! a shop's deliveries on it through the real watcher, and proves each of its claims by reading the ledger, the reports and the passes.

mod exports;
mod proof;
mod review;
pub mod server;
mod stage;
pub mod story;
mod visitor;

pub use review::{Fix, What};
pub use stage::{Options, Stage, USER};
pub use story::{Player, Teller, Told, play};
