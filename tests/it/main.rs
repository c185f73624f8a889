//! Tests against real servers and through the front door.

mod rig;
mod source;
