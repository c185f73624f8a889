//! A network that misbehaves, in front of a port of this machine.

use std::collections::BTreeMap;
use std::io::{ErrorKind, Read, Write};
use std::net::{Shutdown, TcpListener, TcpStream};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering::SeqCst};
use std::sync::{Arc, Mutex, Weak};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use crossbeam_channel::{Receiver, bounded};

/// Bytes taken from a socket at once.
const PIECE: usize = 32 << 10;
/// How often a waiting thread looks whether it should go on.
const GLANCE: Duration = Duration::from_millis(5);

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Direction {
    ToClient,
    ToServer,
}

/// What befalls a connection once enough bytes went one way.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fate {
    /// Closed in both directions.
    Close,
    /// Ended without a farewell: both ends see a reset.
    Reset,
    /// Closed in this direction alone; the other goes on.
    HalfClose,
    /// Nothing comes through any more, and nobody is told.
    Hang,
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
    /// Bytes still let through, and what comes then, by direction.
    fates: Mutex<BTreeMap<Direction, (u64, Fate)>>,
    stalled: AtomicBool,
    refusing: AtomicBool,
    ended: AtomicBool,
    accepted: AtomicU64,
    /// Most connections that were open at the same time.
    open_max: AtomicU64,
    connections: Mutex<Vec<Weak<Pair>>>,
    threads: Mutex<Vec<JoinHandle<()>>>,
}

/// The two sockets of a connection. They are closed when the last thread that serves them lets go.
struct Pair {
    client: TcpStream,
    server: TcpStream,
    /// The threads let go without closing first, so that the kernel resets.
    dropped: AtomicBool,
    hung: AtomicBool,
}

impl Pair {
    fn ends(&self, direction: Direction) -> (&TcpStream, &TcpStream) {
        match direction {
            Direction::ToServer => (&self.client, &self.server),
            Direction::ToClient => (&self.server, &self.client),
        }
    }

    fn close(&self) {
        for stream in [&self.client, &self.server] {
            // Fails only where the other side was faster.
            let _ = stream.shutdown(Shutdown::Both);
        }
    }

    fn reset(&self) {
        for stream in [&self.client, &self.server] {
            socket2::SockRef::from(stream).set_linger(Some(Duration::ZERO)).unwrap();
        }
        self.dropped.store(true, SeqCst);
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

    /// Most connections that were open at the same time.
    pub fn open_max(&self) -> u64 {
        self.knobs.open_max.load(SeqCst)
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
        self.end_after(direction, bytes, Fate::Close);
    }

    /// Lets this many more bytes through in one direction, then ends that connection so, once; later connections live.
    pub fn end_after(&self, direction: Direction, bytes: u64, fate: Fate) {
        self.knobs.fates.lock().unwrap().insert(direction, (bytes, fate));
    }

    /// Takes back what was to befall a connection.
    pub fn spare(&self) {
        self.knobs.fates.lock().unwrap().clear();
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
        let threads = std::mem::take(&mut *self.knobs.threads.lock().unwrap());
        for pair in self.knobs.connections.lock().unwrap().drain(..).filter_map(|pair| pair.upgrade()) {
            pair.close();
        }
        for thread in threads {
            let _ = thread.join();
        }
    }
}

impl Knobs {
    fn ended(&self) -> bool {
        self.ended.load(SeqCst)
    }

    /// Takes bytes from the budget; how many may pass, and what befalls the connection after them.
    fn spend(&self, direction: Direction, bytes: usize) -> (usize, Option<Fate>) {
        let mut fates = self.fates.lock().unwrap();
        let Some((left, fate)) = fates.get_mut(&direction) else { return (bytes, None) };
        if *left > bytes as u64 {
            *left -= bytes as u64;
            return (bytes, None);
        }
        let (count, fate) = (usize::try_from(*left).unwrap(), *fate);
        fates.remove(&direction);
        (count, Some(fate))
    }

    fn count(&self, pair: &Arc<Pair>) {
        let mut connections = self.connections.lock().unwrap();
        connections.retain(|pair| pair.strong_count() > 0);
        connections.push(Arc::downgrade(pair));
        self.open_max.fetch_max(connections.len() as u64, SeqCst);
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
            // A thread that waits for bytes looks now and then whether the connection was dropped.
            stream.set_read_timeout(Some(GLANCE * 4)).unwrap();
        }
        let pair = Arc::new(Pair { client, server, dropped: AtomicBool::default(), hung: AtomicBool::default() });
        knobs.count(&pair);
        forward(&pair, Direction::ToServer, knobs);
        forward(&pair, Direction::ToClient, knobs);
    }
}

/// One thread reads and stamps, another writes when the time has come, so that a delay is no limit on speed.
fn forward(pair: &Arc<Pair>, direction: Direction, knobs: &Arc<Knobs>) {
    let (sender, receiver) = bounded::<(Instant, Vec<u8>)>(4096);
    let (reading, writing) = (Arc::clone(pair), Arc::clone(pair));
    let (reader_knobs, writer_knobs) = (Arc::clone(knobs), Arc::clone(knobs));
    let reader = thread::spawn(move || {
        let mut piece = vec![0; PIECE];
        loop {
            match reading.ends(direction).0.read(&mut piece) {
                Ok(0) => break,
                Ok(count) => {
                    let due = Instant::now() + Duration::from_micros(reader_knobs.delay.load(SeqCst));
                    if sender.send((due, piece[..count].to_vec())).is_err() {
                        break;
                    }
                }
                Err(error) if matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::TimedOut) => {}
                Err(_) => break,
            }
            if reading.dropped.load(SeqCst) || reader_knobs.ended() {
                break;
            }
        }
    });
    let writer = thread::spawn(move || match write(&writing, &receiver, direction, &writer_knobs) {
        // The reader ends when it next looks, and the last one out resets.
        _ if writing.dropped.load(SeqCst) => {}
        Some(Fate::Reset) => writing.reset(),
        Some(Fate::HalfClose) => {
            let _ = writing.ends(direction).1.shutdown(Shutdown::Write);
            // What still comes this way goes nowhere.
            for _ in receiver {}
        }
        Some(Fate::Hang | Fate::Close) | None => writing.close(),
    });
    knobs.threads.lock().unwrap().extend([reader, writer]);
}

/// Writes what comes until it ends or something befalls the connection.
fn write(pair: &Pair, pieces: &Receiver<(Instant, Vec<u8>)>, direction: Direction, knobs: &Knobs) -> Option<Fate> {
    let mut to = pair.ends(direction).1;
    for (due, piece) in pieces {
        while Instant::now() < due && !knobs.ended() {
            thread::sleep(due.saturating_duration_since(Instant::now()).min(GLANCE));
        }
        let rate = knobs.rate.load(SeqCst);
        // A slow line hands over a tenth of a second's bytes at a time.
        let step = if rate == 0 { piece.len() } else { usize::try_from(rate / 10).unwrap().max(1) };
        for part in piece.chunks(step) {
            while (knobs.stalled.load(SeqCst) || pair.hung.load(SeqCst)) && !knobs.ended() && !pair.dropped.load(SeqCst) {
                thread::sleep(GLANCE);
            }
            let (count, fate) = knobs.spend(direction, part.len());
            if knobs.ended() || pair.dropped.load(SeqCst) || to.write_all(&part[..count]).is_err() {
                return None;
            }
            match fate {
                Some(Fate::Hang) => pair.hung.store(true, SeqCst),
                Some(_) => return fate,
                None => {}
            }
            if rate > 0 {
                thread::sleep(Duration::from_secs_f64(part.len() as f64 / rate as f64));
            }
        }
    }
    None
}

#[test]
fn a_connection_ends_as_it_was_told_to() {
    let listener = TcpListener::bind(("127.0.0.1", 0)).unwrap();
    let proxy = TcpProxy::start(listener.local_addr().unwrap().port());
    // Answers ten bytes to whoever comes, and says what it got until the end.
    let server = thread::spawn(move || {
        let mut got = Vec::new();
        for _ in 0..4 {
            let (mut stream, _) = listener.accept().unwrap();
            stream.write_all(b"0123456789").unwrap();
            let mut heard = Vec::new();
            let _ = stream.read_to_end(&mut heard);
            got.push(heard);
        }
        got
    });
    let mut heard = Vec::new();
    for fate in [Fate::Close, Fate::Reset, Fate::HalfClose, Fate::Hang] {
        proxy.end_after(Direction::ToClient, 4, fate);
        let mut client = TcpStream::connect(("127.0.0.1", proxy.port())).unwrap();
        client.set_read_timeout(Some(Duration::from_millis(500))).unwrap();
        let mut bytes = Vec::new();
        let ended = client.read_to_end(&mut bytes).map_err(|error| error.kind());
        let _ = client.write_all(b"still here");
        heard.push((bytes, ended));
    }
    let all = b"0123".to_vec();
    assert_eq!(heard[0], (all.clone(), Ok(4)));
    assert_eq!(heard[1].1, Err(ErrorKind::ConnectionReset));
    assert_eq!(heard[2], (all.clone(), Ok(4)));
    assert_eq!(heard[3], (all, Err(ErrorKind::WouldBlock)));
    drop(proxy);
    assert_eq!(server.join().unwrap()[2], b"still here", "the other direction went on");
}
