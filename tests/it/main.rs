//! Tests against real servers and through the front door.

mod cli;
mod faults;
mod login;
mod rig;
mod source;
