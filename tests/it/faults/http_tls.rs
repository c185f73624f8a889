//! Table 4.4 of the failure model, D20: TLS that cannot be trusted. Nothing is sent, the run pauses, the reason is told.

use std::io::{ErrorKind, Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering::SeqCst};
use std::thread;
use std::time::Duration;

use openssl::asn1::Asn1Time;
use openssl::bn::BigNum;
use openssl::ec::{EcGroup, EcKey};
use openssl::hash::MessageDigest;
use openssl::nid::Nid;
use openssl::pkey::{PKey, Private};
use openssl::ssl::{SslAcceptor, SslMethod, SslVersion};
use openssl::x509::extension::{BasicConstraints, SubjectAlternativeName};
use openssl::x509::{X509, X509NameBuilder};

use super::delivery::snapshot;
use crate::rig::harbour::harbour;
use crate::rig::promises::check_promises;

struct Signed {
    certificate: X509,
    key: PKey<Private>,
}

/// A certificate for a name, valid between these days from now, by an authority or by itself.
fn sign(name: &str, days: [i64; 2], by: Option<&Signed>) -> Signed {
    let group = EcGroup::from_curve_name(Nid::X9_62_PRIME256V1).unwrap();
    let key = PKey::from_ec_key(EcKey::generate(&group).unwrap()).unwrap();
    let mut subject = X509NameBuilder::new().unwrap();
    subject.append_entry_by_text("CN", name).unwrap();
    let subject = subject.build();
    let day = |days: i64| {
        let now = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap().as_secs();
        Asn1Time::from_unix(i64::try_from(now).unwrap() + days * 86_400).unwrap()
    };
    let mut builder = X509::builder().unwrap();
    builder.set_version(2).unwrap();
    builder.set_serial_number(&BigNum::from_u32(rand::random::<u32>() >> 1).unwrap().to_asn1_integer().unwrap()).unwrap();
    builder.set_subject_name(&subject).unwrap();
    builder.set_issuer_name(by.map_or(&subject, |by| by.certificate.subject_name())).unwrap();
    builder.set_not_before(&day(days[0])).unwrap();
    builder.set_not_after(&day(days[1])).unwrap();
    builder.set_pubkey(&key).unwrap();
    let mut names = SubjectAlternativeName::new();
    if name.parse::<std::net::IpAddr>().is_ok() {
        names.ip(name)
    } else {
        names.dns(name)
    };
    let names = names.build(&builder.x509v3_context(None, None)).unwrap();
    builder.append_extension(names).unwrap();
    if by.is_none() {
        builder.append_extension(BasicConstraints::new().critical().ca().build().unwrap()).unwrap();
    }
    builder.sign(by.map_or(&key, |by| &by.key), MessageDigest::sha256()).unwrap();
    Signed { certificate: builder.build(), key }
}

/// TLS in front of a port of this machine, for as long as the test runs.
struct Front {
    url: String,
    /// Connections on which a client said anything under TLS.
    trusted: Arc<AtomicU64>,
    attempts: Arc<AtomicU64>,
}

fn front(signed: &Signed, newest: Option<SslVersion>, target: SocketAddr) -> Front {
    let mut acceptor = SslAcceptor::mozilla_intermediate_v5(SslMethod::tls()).unwrap();
    acceptor.set_private_key(&signed.key).unwrap();
    acceptor.set_certificate(&signed.certificate).unwrap();
    if newest.is_some() {
        acceptor.set_cipher_list("ALL:@SECLEVEL=0").unwrap();
        acceptor.set_min_proto_version(None).unwrap();
        acceptor.set_max_proto_version(newest).unwrap();
    }
    let acceptor = acceptor.build();
    let listener = TcpListener::bind(("127.0.0.1", 0)).unwrap();
    let url = format!("https://{}", listener.local_addr().unwrap());
    let (trusted, attempts) = (Arc::<AtomicU64>::default(), Arc::<AtomicU64>::default());
    let counters = (Arc::clone(&trusted), Arc::clone(&attempts));
    thread::spawn(move || {
        for stream in listener.incoming().map_while(Result::ok) {
            counters.1.fetch_add(1, SeqCst);
            let (acceptor, trusted) = (acceptor.clone(), Arc::clone(&counters.0));
            thread::spawn(move || relay(&acceptor, stream, target, &trusted));
        }
    });
    Front { url, trusted, attempts }
}

/// Carries bytes both ways on one thread: what one side has to say is given to the other in turn.
fn relay(acceptor: &SslAcceptor, stream: TcpStream, target: SocketAddr, trusted: &AtomicU64) {
    let Ok(mut client) = acceptor.accept(stream) else { return };
    let mut server = TcpStream::connect(target).unwrap();
    let glance = Some(Duration::from_millis(2));
    client.get_ref().set_read_timeout(glance).unwrap();
    server.set_read_timeout(glance).unwrap();
    let mut piece = [0; 16 << 10];
    let mut silent = true;
    loop {
        match client.read(&mut piece) {
            Ok(0) => return,
            Ok(count) => {
                trusted.fetch_add(u64::from(std::mem::take(&mut silent)), SeqCst);
                server.write_all(&piece[..count]).unwrap();
            }
            Err(error) if matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::TimedOut) => {}
            Err(_) => return,
        }
        match server.read(&mut piece) {
            Ok(0) => return,
            Ok(count) if client.write_all(&piece[..count]).is_err() => return,
            Err(error) if !matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::TimedOut) => return,
            _ => {}
        }
    }
}

/// D20.
#[test]
fn a_certificate_that_cannot_be_trusted_pauses_the_run_and_nothing_is_sent() {
    let authority = sign("the test's authority", [-1, 10], None);
    let stranger = sign("a stranger", [-1, 10], None);
    let harbour = harbour().points_only().platform("ca_file", "\"authority.pem\"").start();
    std::fs::write(harbour.home.path().join("authority.pem"), authority.certificate.to_pem().unwrap()).unwrap();
    let sandbox = harbour.sandbox.address();
    let good = || sign("127.0.0.1", [-1, 10], Some(&authority));
    let mut url = harbour.sandbox.base_url();
    let mut point_to = |to: &str| {
        harbour.change_config(|text| text.replace(&url, to));
        to.clone_into(&mut url);
    };
    harbour.deliver("points.csv", snapshot(1..=9, 10));
    for (signed, newest, reason) in [
        (sign("127.0.0.1", [-10, -1], Some(&authority)), None, "expired"),
        (sign("127.0.0.1", [1, 10], Some(&authority)), None, "not yet valid"),
        (sign("platform.example", [-1, 10], Some(&authority)), None, "mismatch"),
        (sign("127.0.0.1", [-1, 10], Some(&stranger)), None, "unable to get local issuer"),
        (sign("127.0.0.1", [-1, 10], None), None, "self-signed"),
        (good(), Some(SslVersion::TLS1_1), ""),
    ] {
        let front = front(&signed, newest, sandbox);
        point_to(&front.url);
        harbour.run(&["once", "--patience", "300ms"]).exits(75).says("cannot connect").says(reason);
        assert!(front.attempts.load(SeqCst) > 0);
        assert_eq!(front.trusted.load(SeqCst), 0, "{reason}: nothing may be said to it");
    }
    // A server that speaks no TLS at all.
    point_to(&format!("https://{sandbox}"));
    harbour.run(&["once", "--patience", "300ms"]).exits(75);
    assert!(harbour.sandbox.requests().all().iter().all(|entry| !entry.credentials), "a key was shown");
    assert!(harbour.writes().is_empty());

    let honest = front(&good(), None, sandbox);
    point_to(&honest.url);
    harbour.once().exits(0);
    assert!(honest.trusted.load(SeqCst) > 0);
    assert_eq!(harbour.report("points")["rows"], serde_json::json!({ "applied": 9 }));
    check_promises(&harbour);
}

/// D17. D20. A redirect from https to http is not followed either.
#[test]
fn https_is_never_left_for_http() {
    use passferry::sandbox::{Rule, Sandbox, Settings, Trouble};
    let authority = sign("the test's authority", [-1, 10], None);
    let elsewhere = Sandbox::start(Settings::default()).unwrap();
    let harbour = harbour().points_only().platform("ca_file", "\"authority.pem\"").start();
    std::fs::write(harbour.home.path().join("authority.pem"), authority.certificate.to_pem().unwrap()).unwrap();
    let front = front(&sign("127.0.0.1", [-1, 10], Some(&authority)), None, harbour.sandbox.address());
    let plain = harbour.sandbox.base_url();
    harbour.change_config(|text| text.replace(&plain, &front.url));
    harbour.sandbox.faults().add(Rule::new(Trouble::redirect(&elsewhere.base_url())).method("PUT"));
    harbour.deliver("points.csv", snapshot(1..=9, 10));
    harbour.run(&["once", "--patience", "300ms"]).exits(75);
    assert_eq!(elsewhere.requests().total(), 0);
    harbour.sandbox.faults().clear();
    harbour.once().exits(0);
    check_promises(&harbour);
}
