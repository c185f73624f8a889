//! Platforms other than PassKit, each through the front door against its own stand-in.

// Amounts are small whole numbers, and texts are short.
#![allow(clippy::float_cmp, clippy::format_collect)]
// Named by its path, a method of a transaction is one of a certain lifetime, and any is wanted.
#![allow(clippy::redundant_closure_for_method_calls)]

mod airship;
pub mod apple;
mod apple_phones;
mod apple_push;
mod apple_wallet;
mod contract;
mod google;
mod http;
mod issuer;
mod passkit_coupons;
mod passkit_index;
mod passkit_tickets;
mod phone;
mod samples;
mod thewalletcrew;
