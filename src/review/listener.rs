//! Connections that are as many as this process can bear, and that do not stay for ever: a client that sends a byte a minute would hold
//! one each.

use std::future::Future;
use std::io;
use std::net::SocketAddr;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::task::{Context, Poll};
use std::time::Duration;

use axum::extract::connect_info::Connected;
use axum::serve::{IncomingStream, Listener};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio::time::{Instant, Sleep, sleep};

/// Connections at the same time. The others wait to be accepted.
const CONNECTIONS_MAX: usize = 256;
/// A request must be here, and an answer be taken a piece further, within this time. What is done for a request has limits of its own.
const IDLE: Duration = Duration::from_secs(30);
/// A connection as old as this ends with the answer in hand: a browser makes another one.
const LIFE: Duration = Duration::from_mins(10);

pub struct Bounded {
    listener: TcpListener,
    places: Arc<Semaphore>,
    idle: Duration,
}

impl Bounded {
    pub fn new(listener: TcpListener) -> Bounded {
        Bounded { listener, places: Arc::new(Semaphore::new(CONNECTIONS_MAX)), idle: IDLE }
    }
}

impl Listener for Bounded {
    type Io = Connection;
    type Addr = SocketAddr;

    async fn accept(&mut self) -> (Connection, SocketAddr) {
        // The semaphore is never closed; without a place the connection would only be unbounded.
        let place = Arc::clone(&self.places).acquire_owned().await.ok();
        let (stream, peer) = Listener::accept(&mut self.listener).await;
        let idle = self.idle;
        let timer = || Box::pin(sleep(idle));
        (Connection { stream, reads: timer(), writes: timer(), stuck: false, idle, in_hand: Arc::default(), _place: place }, peer)
    }

    fn local_addr(&self) -> io::Result<SocketAddr> {
        self.listener.local_addr()
    }
}

/// Where a request comes from.
#[derive(Clone, Debug)]
pub struct Peer {
    pub address: SocketAddr,
    since: Instant,
    in_hand: Arc<AtomicUsize>,
}

impl Connected<IncomingStream<'_, Bounded>> for Peer {
    fn connect_info(stream: IncomingStream<'_, Bounded>) -> Peer {
        Peer { address: *stream.remote_addr(), since: Instant::now(), in_hand: Arc::clone(&stream.io().in_hand) }
    }
}

impl Peer {
    /// Something is done for a request: until the answer begins, nothing is expected from the other side.
    pub fn begin(&self) -> InHand {
        self.in_hand.fetch_add(1, Ordering::AcqRel);
        InHand(Arc::clone(&self.in_hand))
    }

    /// Is the connection to end after this answer?
    pub fn is_old(&self) -> bool {
        self.since.elapsed() >= LIFE
    }
}

/// A request in hand, until this is dropped.
pub struct InHand(Arc<AtomicUsize>);

impl Drop for InHand {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::AcqRel);
    }
}

pub struct Connection {
    stream: TcpStream,
    /// Runs since the connection was made, or since something of an answer was taken: what is sent byte by byte does not put it off.
    reads: Pin<Box<Sleep>>,
    /// Runs since an answer could not be taken further.
    writes: Pin<Box<Sleep>>,
    stuck: bool,
    idle: Duration,
    in_hand: Arc<AtomicUsize>,
    _place: Option<OwnedSemaphorePermit>,
}

impl Connection {
    fn in_hand(&self) -> bool {
        self.in_hand.load(Ordering::Acquire) > 0
    }

    fn restart(timer: &mut Pin<Box<Sleep>>, idle: Duration) {
        timer.as_mut().reset(Instant::now() + idle);
    }
}

fn too_long() -> io::Error {
    io::ErrorKind::TimedOut.into()
}

impl AsyncRead for Connection {
    fn poll_read(self: Pin<&mut Self>, context: &mut Context<'_>, buffer: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        let this = self.get_mut();
        if let Poll::Ready(result) = Pin::new(&mut this.stream).poll_read(context, buffer) {
            return Poll::Ready(result);
        }
        while this.reads.as_mut().poll(context).is_ready() {
            if !this.in_hand() {
                return Poll::Ready(Err(too_long()));
            }
            Connection::restart(&mut this.reads, this.idle);
        }
        Poll::Pending
    }
}

impl AsyncWrite for Connection {
    fn poll_write(self: Pin<&mut Self>, context: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        let this = self.get_mut();
        if let Poll::Ready(result) = Pin::new(&mut this.stream).poll_write(context, bytes) {
            this.stuck = false;
            Connection::restart(&mut this.reads, this.idle);
            return Poll::Ready(result);
        }
        if !std::mem::replace(&mut this.stuck, true) {
            Connection::restart(&mut this.writes, this.idle);
        }
        if this.writes.as_mut().poll(context).is_ready() { Poll::Ready(Err(too_long())) } else { Poll::Pending }
    }

    fn poll_flush(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.get_mut().stream).poll_flush(context)
    }

    fn poll_shutdown(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.get_mut().stream).poll_shutdown(context)
    }
}

#[cfg(test)]
mod tests {
    use axum::extract::ConnectInfo;
    use axum::routing::get;
    use tokio::io::{AsyncReadExt, AsyncWriteExt};

    use super::*;

    const SHORT: Duration = Duration::from_millis(300);
    const SLOW: Duration = Duration::from_millis(900);

    /// A server whose answers take longer than a connection may be idle.
    async fn served() -> SocketAddr {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let bounded = Bounded { idle: SHORT, ..Bounded::new(listener) };
        let address = bounded.local_addr().unwrap();
        let slow = async |ConnectInfo(peer): ConnectInfo<Peer>| {
            let _hand = peer.begin();
            sleep(SLOW).await;
            "here it is"
        };
        let router = axum::Router::new().route("/", get(slow));
        tokio::spawn(async move { axum::serve(bounded, router.into_make_service_with_connect_info::<Peer>()).await });
        address
    }

    #[tokio::test]
    async fn work_for_a_request_is_no_idleness() {
        let mut stream = TcpStream::connect(served().await).await.unwrap();
        stream.write_all(b"GET / HTTP/1.1\r\nHost: x\r\n\r\n").await.unwrap();
        let mut answer = Vec::new();
        // Afterwards nothing comes any more, and it ends by itself.
        stream.read_to_end(&mut answer).await.unwrap();
        assert!(String::from_utf8_lossy(&answer).contains("here it is"), "{answer:?}");
    }

    #[tokio::test]
    async fn a_request_that_comes_byte_by_byte_holds_no_place() {
        let mut stream = TcpStream::connect(served().await).await.unwrap();
        let began = Instant::now();
        for byte in b"GET / HTTP/1.1\r\nHost: xxxxxxxxxxxxxxxxxxxxxxxx".iter().cycle() {
            if stream.write_all(&[*byte]).await.is_err() {
                break;
            }
            assert!(began.elapsed() < Duration::from_secs(10), "it is still there");
            sleep(SHORT / 10).await;
        }
    }
}
