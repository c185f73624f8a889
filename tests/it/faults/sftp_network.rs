//! The line to the server: cut, hung, dripping, crowded.

use std::fs;
use std::net::TcpStream;
use std::time::{Duration, Instant};

use passferry::demo::server::{Kind, StatusCode};
use passferry::ledger::State;

use super::delivery::{downloaded, padding, snapshot};
use crate::rig::harbour::{Harbour, Plan, harbour, wait_until};
use crate::rig::hostile::impatient;
use crate::rig::promises::check_promises;
use crate::rig::proxy::{Direction, Fate};

/// A second source, a folder of this machine, with a feed of its own.
const DESK: &str = "[source.desk]\nkind = \"folder\"\npath = \"desk\"\npoll = \"1s\"\n\
    [feed.desk]\nsource = \"desk\"\ninbox = \".\"\npattern = \"*.csv\"\ncontent = \"snapshot\"\nschema = \"schema.json\"\nplatform = \"cards\"\n\
    environment = \"test\"\npass = { external_id = \"id\" }\noperation = \"update\"\nquiet = \"150ms\"\nguard.first_file = false\nfields.points = \"points\"\n";

/// A harbour with a desk beside it.
pub fn with_desk(plan: Plan) -> Plan {
    plan.more(DESK)
}

/// A file on the desk.
pub fn put_on_desk(harbour: &Harbour, name: &str, content: &str) {
    let desk = harbour.home.path().join("desk");
    fs::create_dir_all(&desk).unwrap();
    fs::write(desk.join(name), content).unwrap();
}

/// C1.
#[test]
fn a_download_that_breaks_in_any_way_begins_again_and_ends_once() {
    for fate in [Fate::Reset, Fate::HalfClose, Fate::Hang] {
        let harbour = harbour().start();
        harbour.change_config(|text| impatient(&text));
        harbour.deliver("points.csv", snapshot(1..=9, 10) + &padding(5000));
        harbour.proxy.end_after(Direction::ToClient, 150_000, fate);
        harbour.once().exits(75);
        assert_eq!(harbour.sandbox.requests().total(), 0, "no row of a part is used");
        harbour.proxy.spare();
        harbour.once().exits(1);
        assert_eq!(harbour.runs().len(), 1, "{fate:?}");
        assert_eq!(harbour.report("points")["records"], 5009);
        assert_eq!(harbour.writes().len(), 9, "each pass once");
        check_promises(&harbour);
    }
}

/// C1.
#[test]
fn a_line_that_keeps_breaking_is_tried_less_and_less_often() {
    let harbour = harbour().start();
    harbour.deliver("points.csv", snapshot(1..=9, 10));
    harbour.proxy.refuse(true);
    let daemon = harbour.start(&["run"]);
    wait_until("the outage is told", || harbour.said().contains("cannot list"));
    let (since, before) = (Instant::now(), harbour.proxy.accepted());
    std::thread::sleep(Duration::from_millis(2500));
    // Without growing pauses each of the many looks would be a connection.
    let tries = harbour.proxy.accepted() - before;
    assert!(tries as f64 <= 2.0 + since.elapsed().as_secs_f64(), "{tries} connections");
    harbour.proxy.refuse(false);
    wait_until("the file is done", || harbour.state_of("points.csv") == Some(State::Done));
    assert_eq!(daemon.terminate(), 0);
    check_promises(&harbour);
}

/// A port that takes connections into a full queue: the kernel leaves further ones without an answer.
fn deaf_port() -> (socket2::Socket, u16, Vec<TcpStream>) {
    let socket = socket2::Socket::new(socket2::Domain::IPV4, socket2::Type::STREAM, None).unwrap();
    let any: std::net::SocketAddr = "127.0.0.1:0".parse().unwrap();
    socket.bind(&any.into()).unwrap();
    socket.listen(0).unwrap();
    let address = socket.local_addr().unwrap().as_socket().unwrap();
    let queue = (0..3).map_while(|_| TcpStream::connect_timeout(&address, Duration::from_millis(300)).ok()).collect();
    (socket, address.port(), queue)
}

/// C2. TCP, banner, key exchange, login: each phase ends, and the file on the desk is done in the same sweep.
#[test]
fn a_server_that_hangs_before_the_login_is_over_delays_nobody_and_is_given_up() {
    let hostile = with_desk(harbour()).hostile();
    hostile.change_config(|text| impatient(&text));
    let (_deaf, port, _queue) = deaf_port();
    let proxy = format!("port = {}\n", hostile.proxy.port());
    let mut desk = 0;
    let mut sweep = |phase: &str| {
        desk += 1;
        put_on_desk(&hostile, &format!("desk-{desk}.csv"), &snapshot(desk..=desk, 100 * desk));
        let ran = hostile.once();
        assert_eq!(ran.exit, 69, "{phase}\n{}", ran.err);
        assert!(ran.err.contains("did not end within"), "{phase}\n{}", ran.err);
        assert_eq!(hostile.state_of(&format!("desk-{desk}.csv")), Some(State::Done), "{phase}\n{}", ran.err);
    };
    hostile.change_config(|text| text.replace(&proxy, &format!("port = {port}\n")));
    sweep("connect");
    hostile.change_config(|text| text.replace(&format!("port = {port}\n"), &proxy));
    for (phase, bytes) in [("banner", 0), ("key exchange", 60)] {
        hostile.proxy.end_after(Direction::ToClient, bytes, Fate::Hang);
        sweep(phase);
    }
    hostile.proxy.spare();
    hostile.server.faults().login_latency = Duration::from_hours(1);
    sweep("login");
    hostile.behave();
    hostile.deliver("points.csv", snapshot(5..=9, 10));
    hostile.once().exits(0);
    assert_eq!(hostile.state_of("points.csv"), Some(State::Done));
}

/// C2. Whatever operation hangs: it ends at its deadline, no row is sent twice, and the file is done when the server is well.
#[test]
fn an_operation_that_hangs_is_given_up_and_done_later() {
    let hostile = harbour().hostile();
    hostile.change_config(|text| impatient(&text));
    hostile.deliver("points.csv", snapshot(1..=9, 10));
    for kind in [Kind::RealPath, Kind::OpenFolder, Kind::ReadFolder, Kind::Stat, Kind::Open, Kind::Read, Kind::Write, Kind::Rename] {
        hostile.behave();
        hostile.server.faults().latency.insert(kind, Duration::from_hours(1));
        let ran = hostile.once();
        assert!([69, 75].contains(&ran.exit), "{kind:?}: exit {}\n{}", ran.exit, ran.err);
        assert!(ran.err.contains("did not end within"), "{kind:?}\n{}", ran.err);
        assert!(hostile.inbox().join("points.csv").exists(), "{kind:?}");
    }
    hostile.behave();
    hostile.once().exits(0);
    assert_eq!(hostile.writes().len(), 9, "each pass once");
    check_promises(&hostile);
}

/// C2. With the default patience of half a minute, the desk does not wait for the server that hangs.
#[test]
fn a_daemon_serves_one_source_while_another_hangs() {
    let hostile = with_desk(harbour()).hostile();
    hostile.server.faults().latency.insert(Kind::OpenFolder, Duration::from_hours(1));
    let daemon = hostile.start(&["run"]);
    wait_until("it hangs", || hostile.server.operations(Kind::OpenFolder) == 1);
    put_on_desk(&hostile, "desk.csv", &snapshot(1..=9, 10));
    wait_until("the desk is served", || hostile.state_of("desk.csv") == Some(State::Done));
    assert_eq!(hostile.server.operations(Kind::OpenFolder), 1, "and it still hangs");
    daemon.kill();
}

/// C3.
#[test]
fn a_transfer_below_the_least_speed_is_given_up_and_done_later() {
    let harbour = harbour().start();
    harbour.change_config(|text| text.replace("kind = \"sftp\"\n", "kind = \"sftp\"\nspeed_min = \"1MiB\"\nspeed_span = \"1s\"\n"));
    harbour.deliver("points.csv", snapshot(1..=9, 10) + &padding(8000));
    let daemon = harbour.start(&["run"]);
    wait_until("the connection is there", || harbour.proxy.accepted() > 0);
    harbour.proxy.rate(40_000);
    wait_until("it is given up", || harbour.said().contains("less than speed_min"));
    assert_eq!(harbour.sandbox.requests().total(), 0, "no row of a part is used");
    harbour.proxy.rate(0);
    wait_until("the file is done", || harbour.state_of("points.csv").is_some_and(State::is_over));
    assert_eq!(daemon.terminate(), 0);
    assert_eq!((harbour.writes().len(), downloaded(&harbour)), (9, 0));
    check_promises(&harbour);
}

/// C22.
#[test]
fn all_feeds_of_a_source_share_one_connection() {
    let more = "[feed.other]\nsource = \"port\"\ninbox = \"other\"\npattern = \"*.csv\"\ncontent = \"snapshot\"\nschema = \"schema.json\"\nplatform = \"cards\"\n\
                environment = \"test\"\npass = { external_id = \"id\" }\noperation = \"update\"\nquiet = \"150ms\"\nguard.first_file = false\nfields.points = \"points\"\n";
    let harbour = harbour().more(more).hostile();
    fs::create_dir(harbour.root.join("other")).unwrap();
    for (folder, name) in [("in", "a.csv"), ("in", "b.csv"), ("other", "c.csv"), ("other", "d.csv")] {
        harbour.deliver_to(folder, name, snapshot(1..=9, 10));
    }
    harbour.once().exits(0);
    assert!(harbour.runs().iter().all(|run| run.state == State::Done), "{:?}", harbour.runs());
    assert_eq!((harbour.proxy.accepted(), harbour.proxy.open_max()), (1, 1));
}

/// C22.
#[test]
fn a_server_that_is_full_is_waited_for() {
    let hostile = harbour().hostile();
    hostile.deliver("points.csv", snapshot(1..=9, 10));
    // "Too many sessions" is a plain failure of whatever is asked first.
    hostile.fail(Kind::RealPath, StatusCode::Failure);
    hostile.fail(Kind::OpenFolder, StatusCode::Failure);
    let daemon = hostile.start(&["run"]);
    wait_until("it is told", || hostile.said().contains("an inbox cannot be listed"));
    assert_eq!(hostile.runs().len(), 0);
    hostile.behave();
    wait_until("the file is done", || hostile.state_of("points.csv") == Some(State::Done));
    assert_eq!(daemon.terminate(), 0);
    check_promises(&hostile);
}
