//! Connections that can be cut from inside a request, so that a client sees a closed connection and no answer.

use std::io;
use std::net::SocketAddr;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::task::{Context, Poll};

use axum::extract::connect_info::Connected;
use axum::serve::{IncomingStream, Listener};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::{TcpListener, TcpStream};

pub(super) struct Cuttable(pub TcpListener);

impl Listener for Cuttable {
    type Io = Cord;
    type Addr = SocketAddr;

    async fn accept(&mut self) -> (Cord, SocketAddr) {
        let (stream, peer) = Listener::accept(&mut self.0).await;
        // Answers are small and written at once; waiting to fill a packet would only measure Nagle's algorithm.
        if let Err(problem) = stream.set_nodelay(true) {
            tracing::debug!(%problem, "no TCP_NODELAY");
        }
        (Cord { stream, wire: Wire::default(), again: Vec::new() }, peer)
    }

    fn local_addr(&self) -> io::Result<SocketAddr> {
        self.0.local_addr()
    }
}

/// The handle of one connection; what a request uses to cut it or to be answered twice on it.
#[derive(Clone, Default)]
pub(super) struct Wire(Arc<Knobs>);

#[derive(Default)]
struct Knobs {
    cut: AtomicBool,
    twice: AtomicBool,
}

impl Wire {
    /// Nothing is written on the connection any more, and it closes.
    pub fn cut(&self) {
        self.0.cut.store(true, Ordering::Release);
    }

    /// What is written until the next flush is written again after it.
    pub fn twice(&self) {
        self.0.twice.store(true, Ordering::Release);
    }

    fn check(&self) -> io::Result<()> {
        if self.0.cut.load(Ordering::Acquire) { Err(io::ErrorKind::ConnectionAborted.into()) } else { Ok(()) }
    }
}

impl Connected<IncomingStream<'_, Cuttable>> for Wire {
    fn connect_info(stream: IncomingStream<'_, Cuttable>) -> Wire {
        stream.io().wire.clone()
    }
}

pub(super) struct Cord {
    stream: TcpStream,
    wire: Wire,
    /// What is still to be written a second time.
    again: Vec<u8>,
}

impl Cord {
    fn note(&mut self, slices: &[io::IoSlice<'_>], written: usize) {
        if self.wire.0.twice.load(Ordering::Acquire) {
            self.again.extend(slices.iter().flat_map(|slice| slice.iter().copied()).take(written));
        }
    }
}

impl AsyncRead for Cord {
    fn poll_read(mut self: Pin<&mut Self>, context: &mut Context<'_>, buffer: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        self.wire.check()?;
        Pin::new(&mut self.stream).poll_read(context, buffer)
    }
}

impl AsyncWrite for Cord {
    fn poll_write(mut self: Pin<&mut Self>, context: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        self.wire.check()?;
        let written = Pin::new(&mut self.stream).poll_write(context, bytes);
        if let Poll::Ready(Ok(count)) = written {
            self.note(&[io::IoSlice::new(bytes)], count);
        }
        written
    }

    fn poll_write_vectored(mut self: Pin<&mut Self>, context: &mut Context<'_>, slices: &[io::IoSlice<'_>]) -> Poll<io::Result<usize>> {
        self.wire.check()?;
        let written = Pin::new(&mut self.stream).poll_write_vectored(context, slices);
        if let Poll::Ready(Ok(count)) = written {
            self.note(slices, count);
        }
        written
    }

    fn is_write_vectored(&self) -> bool {
        self.stream.is_write_vectored()
    }

    fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.wire.check()?;
        let cord = &mut *self;
        while !cord.again.is_empty() {
            let count = std::task::ready!(Pin::new(&mut cord.stream).poll_write(context, &cord.again))?;
            cord.again.drain(..count);
            cord.wire.0.twice.store(false, Ordering::Release);
        }
        Pin::new(&mut cord.stream).poll_flush(context)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(context)
    }
}
