//! Apple's part of Apple Wallet (contracts/apple-wallet.md): certificates, and a push service. There is no server to update passes at;
//! phones ask the issuer's.

mod apns;
mod certificates;
mod judge;
mod provider;
mod server;
#[cfg(test)]
mod tests;

pub use apns::{Apns, By, Fate, Push, Settings};
pub use certificates::{Certificates, Pair};
