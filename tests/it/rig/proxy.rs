//! A network that misbehaves, in front of a port of this machine.

use std::io::{Read, Write};
use std::net::{Shutdown, TcpListener, TcpStream};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering::SeqCst};
use std::sync::{Arc, Mutex};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use crossbeam_channel::{Receiver, bounded};

/// Bytes taken from a socket at once.
const PIECE: usize = 32 << 10;
/// How often a waiting thread looks whether it should go on.
const GLANCE: Duration = Duration::from_millis(5);
const NEVER: u64 = u64::MAX;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Direction {
    ToClient,
    ToServer,
}

/// Forwards every connection to a port until dropped. All settings act on open and on new connections.
pub struct TcpProxy {
    port: u16,
    knobs: Arc<Knobs>,
    acceptor: Option<JoinHandle<()>>,
}

#[derive(Default)]
struct Knobs {
    /// One way, microseconds.
    delay: AtomicU64,
    /// Bytes a second in each direction of each connection; 0 is no limit.
    rate: AtomicU64,
    /// Bytes still let through before the cut, by direction.
    to_client: Budget,
    to_server: Budget,
    stalled: AtomicBool,
    refusing: AtomicBool,
    ended: AtomicBool,
    accepted: AtomicU64,
    streams: Mutex<Vec<TcpStream>>,
    threads: Mutex<Vec<JoinHandle<()>>>,
}

struct Budget(AtomicU64);

impl Default for Budget {
    fn default() -> Budget {
        Budget(AtomicU64::new(NEVER))
    }
}

impl TcpProxy {
    pub fn start(target: u16) -> TcpProxy {
        let listener = TcpListener::bind(("127.0.0.1", 0)).unwrap();
        let port = listener.local_addr().unwrap().port();
        let knobs = Arc::new(Knobs::default());
        let theirs = Arc::clone(&knobs);
        let acceptor = thread::spawn(move || accept(&listener, target, &theirs));
        TcpProxy { port, knobs, acceptor: Some(acceptor) }
    }

    pub fn port(&self) -> u16 {
        self.port
    }

    /// Connections accepted so far.
    pub fn accepted(&self) -> u64 {
        self.knobs.accepted.load(SeqCst)
    }

    /// Half of the round trip, added in each direction.
    pub fn delay(&self, one_way: Duration) {
        self.knobs.delay.store(u64::try_from(one_way.as_micros()).unwrap(), SeqCst);
    }

    /// Bytes a second in each direction; 0 lifts the limit.
    pub fn rate(&self, bytes_per_second: u64) {
        self.knobs.rate.store(bytes_per_second, SeqCst);
    }

    /// Closes a connection after this many more bytes in one direction, once; later connections live.
    pub fn cut_after(&self, direction: Direction, bytes: u64) {
        self.knobs.budget(direction).store(bytes, SeqCst);
    }

    /// Forwards nothing, and keeps every socket open.
    pub fn stall(&self, stalled: bool) {
        self.knobs.stalled.store(stalled, SeqCst);
    }

    /// Closes new connections as soon as they are accepted.
    pub fn refuse(&self, refusing: bool) {
        self.knobs.refusing.store(refusing, SeqCst);
    }
}

impl Drop for TcpProxy {
    fn drop(&mut self) {
        self.knobs.ended.store(true, SeqCst);
        // Wakes the acceptor.
        let _ = TcpStream::connect(("127.0.0.1", self.port));
        if let Some(acceptor) = self.acceptor.take() {
            let _ = acceptor.join();
        }
        for stream in self.knobs.streams.lock().unwrap().drain(..) {
            let _ = stream.shutdown(Shutdown::Both);
        }
        let threads = std::mem::take(&mut *self.knobs.threads.lock().unwrap());
        for thread in threads {
            let _ = thread.join();
        }
    }
}

impl Knobs {
    fn budget(&self, direction: Direction) -> &AtomicU64 {
        match direction {
            Direction::ToClient => &self.to_client.0,
            Direction::ToServer => &self.to_server.0,
        }
    }

    fn ended(&self) -> bool {
        self.ended.load(SeqCst)
    }

    /// Takes bytes from the budget; how many may pass, and whether the connection ends after them.
    fn spend(&self, direction: Direction, bytes: usize) -> (usize, bool) {
        let budget = self.budget(direction);
        let left = budget.load(SeqCst);
        if left == NEVER {
            return (bytes, false);
        }
        if left > bytes as u64 {
            budget.store(left - bytes as u64, SeqCst);
            return (bytes, false);
        }
        budget.store(NEVER, SeqCst);
        (usize::try_from(left).unwrap(), true)
    }
}

fn accept(listener: &TcpListener, target: u16, knobs: &Arc<Knobs>) {
    for client in listener.incoming() {
        if knobs.ended() {
            return;
        }
        let Ok(client) = client else { continue };
        knobs.accepted.fetch_add(1, SeqCst);
        if knobs.refusing.load(SeqCst) {
            continue;
        }
        let Ok(server) = TcpStream::connect(("127.0.0.1", target)) else { continue };
        for stream in [&client, &server] {
            stream.set_nodelay(true).unwrap();
            knobs.streams.lock().unwrap().push(stream.try_clone().unwrap());
        }
        let back = (server.try_clone().unwrap(), client.try_clone().unwrap());
        forward(client, server, Direction::ToServer, knobs);
        forward(back.0, back.1, Direction::ToClient, knobs);
    }
}

/// One thread reads and stamps, another writes when the time has come, so that a delay is no limit on speed.
fn forward(mut from: TcpStream, to: TcpStream, direction: Direction, knobs: &Arc<Knobs>) {
    let (sender, receiver) = bounded::<(Instant, Vec<u8>)>(4096);
    let (reader_knobs, writer_knobs) = (Arc::clone(knobs), Arc::clone(knobs));
    let reader_end = from.try_clone().unwrap();
    let reader = thread::spawn(move || {
        let mut piece = vec![0; PIECE];
        while let Ok(count) = from.read(&mut piece) {
            let due = Instant::now() + Duration::from_micros(reader_knobs.delay.load(SeqCst));
            if count == 0 || sender.send((due, piece[..count].to_vec())).is_err() {
                break;
            }
        }
    });
    let writer = thread::spawn(move || {
        write(&to, &receiver, direction, &writer_knobs);
        let _ = to.shutdown(Shutdown::Both);
        let _ = reader_end.shutdown(Shutdown::Both);
    });
    knobs.threads.lock().unwrap().extend([reader, writer]);
}

fn write(mut to: &TcpStream, pieces: &Receiver<(Instant, Vec<u8>)>, direction: Direction, knobs: &Knobs) {
    for (due, piece) in pieces {
        while Instant::now() < due && !knobs.ended() {
            thread::sleep(due.saturating_duration_since(Instant::now()).min(GLANCE));
        }
        let rate = knobs.rate.load(SeqCst);
        // A slow line hands over a tenth of a second's bytes at a time.
        let step = if rate == 0 { piece.len() } else { usize::try_from(rate / 10).unwrap().max(1) };
        for part in piece.chunks(step) {
            while knobs.stalled.load(SeqCst) && !knobs.ended() {
                thread::sleep(GLANCE);
            }
            let (count, cut) = knobs.spend(direction, part.len());
            if knobs.ended() || to.write_all(&part[..count]).is_err() || cut {
                return;
            }
            if rate > 0 {
                thread::sleep(Duration::from_secs_f64(part.len() as f64 / rate as f64));
            }
        }
    }
}
