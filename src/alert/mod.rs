//! Alerts: whoever must act is told, once, and told again that it is over.
//!
//! Files go their road without knowing of this. A [`Desk`] looks at what the ledger and the watcher know: what [stands](stands) (a file is
//! held, a source is out) and which runs ended. What of it is news to a way out becomes a [`Message`], noted in the ledger in one
//! transaction with what it was made of. A [`sender`] for each way out takes its messages from there and tries until they are delivered or
//! their time is over. A stop between any two of these steps loses nothing; a message that was perhaps delivered goes out again under the
//! same name.
//!
//! A message names files, feeds, counts and codes. It holds no cell, and nothing that a platform quoted.

pub mod desk;
pub mod digest;
pub mod host;
pub mod message;
mod runs;
pub mod sender;
mod stands;
pub mod way;

pub use desk::Desk;
pub use host::Host;
pub use message::{Event, Message, Own, Topic};
pub use way::Outlet;
