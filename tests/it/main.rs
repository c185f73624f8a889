//! Tests against real servers and through the front door.

mod cli;
mod faults;
mod login;
mod readme;
mod rig;
mod source;
