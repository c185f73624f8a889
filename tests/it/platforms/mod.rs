//! Platforms other than PassKit, each against its own stand-in.

mod google;
mod thewalletcrew;
