//! Tests against real servers and through the front door.

mod demo;
mod login;
mod rig;
mod source;
