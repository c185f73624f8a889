//! Platforms, each through the front door.

mod airship;
mod http;
mod samples;
