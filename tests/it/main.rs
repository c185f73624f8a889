//! Tests against real servers and through the front door.

mod login;
mod rig;
mod source;
