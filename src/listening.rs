//! Addresses that are listened at. One that a changed configuration keeps is handed on, so that nobody who knocks meanwhile is turned away;
//! another is had before the earlier one is given up.

use std::io;
use std::net::{SocketAddr, TcpListener};

/// Listens at an address, for a runtime that waits by itself. `had` listens there already.
pub fn listen_at(address: SocketAddr, had: Option<&TcpListener>) -> io::Result<TcpListener> {
    let listener = had.map_or_else(|| TcpListener::bind(address), TcpListener::try_clone)?;
    listener.set_nonblocking(true)?;
    Ok(listener)
}
