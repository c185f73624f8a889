//! Apple passes that are hosted here: what serves phones (contracts/apple-wallet.md).
//!
//! Apple has no call that updates a pass. Whoever wants to change one keeps it in a [`store`], answers the phones that ask for it
//! ([`service`]) with a fresh [`package`] under their own signature ([`sign`]), and tells them to ask by a [`push`]. Rows come in at the
//! [`desk`], which speaks ([`talk`]) to the adapter in `platform::apple_wallet`. A [`pass`] is JSON whose parts, [`slot`]s, a mapping names.
//!
//! Nothing here knows files or rows.

#![allow(
    clippy::redundant_closure_for_method_calls,
    reason = "named by its path, a method of a transaction is one of a certain lifetime, and any is wanted"
)]

pub mod desk;
pub mod host;
pub mod import;
pub mod package;
pub mod pass;
pub mod probe;
pub mod push;
pub mod service;
pub mod sign;
pub mod slot;
pub mod store;
pub mod talk;
