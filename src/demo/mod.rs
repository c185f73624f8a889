//! The demonstration: everything passferry talks to, in this process and on this machine.

pub mod server;
