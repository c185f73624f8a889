//! Platforms other than PassKit, each through the front door against its own stand-in.

mod airship;
mod google;
mod http;
mod samples;
mod thewalletcrew;
