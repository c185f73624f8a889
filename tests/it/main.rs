//! Tests against real servers and through the front door.

mod cli;
mod demo;
mod faults;
mod feeds;
mod formats;
mod forms;
mod login;
mod model;
mod platforms;
mod readme;
mod reports;
mod review;
mod rig;
mod sets;
mod source;
