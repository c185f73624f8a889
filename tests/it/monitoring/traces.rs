//! Traces: what a collector gets, and that nobody waits for one.

use std::collections::{BTreeMap, BTreeSet};
use std::net::TcpListener;

use passferry::spool::hex;
use serde_json::json;

use crate::rig::harbour::{Harbour, KEY, Plan, SECRET, harbour};
use crate::rig::promises::check_promises;
use crate::rig::vendor::{Asked, Vendor, reply};

/// A field of a message of Protocol Buffers (protobuf.dev/programming-guides/encoding): its number and what it holds. Read here and not by
/// the library that wrote it.
enum Held<'m> {
    Number(u64),
    Bytes(&'m [u8]),
}

fn varint(message: &[u8], at: &mut usize) -> u64 {
    let mut value = 0;
    for shift in (0..64).step_by(7) {
        let byte = message[*at];
        *at += 1;
        value |= u64::from(byte & 0x7f) << shift;
        if byte & 0x80 == 0 {
            break;
        }
    }
    value
}

fn fields(message: &[u8]) -> Vec<(u64, Held<'_>)> {
    let (mut fields, mut at) = (Vec::new(), 0);
    while at < message.len() {
        let key = varint(message, &mut at);
        let held = match key & 7 {
            0 => Held::Number(varint(message, &mut at)),
            1 => {
                at += 8;
                Held::Number(u64::from_le_bytes(message[at - 8..at].try_into().unwrap()))
            }
            2 => {
                let length = varint(message, &mut at) as usize;
                at += length;
                Held::Bytes(&message[at - length..at])
            }
            5 => {
                at += 4;
                Held::Number(u64::from(u32::from_le_bytes(message[at - 4..at].try_into().unwrap())))
            }
            other => panic!("no such type of field: {other}"),
        };
        fields.push((key >> 3, held));
    }
    fields
}

/// All messages in a field.
fn messages(message: &[u8], number: u64) -> Vec<&[u8]> {
    let of = |(found, held)| if let (true, Held::Bytes(bytes)) = (found == number, held) { Some(bytes) } else { None };
    fields(message).into_iter().filter_map(of).collect()
}

fn text(message: &[u8], number: u64) -> String {
    messages(message, number).first().map(|bytes| String::from_utf8_lossy(bytes).into_owned()).unwrap_or_default()
}

fn number(message: &[u8], wanted: u64) -> u64 {
    let of = |(found, held)| if let (true, Held::Number(value)) = (found == wanted, held) { Some(value) } else { None };
    fields(message).into_iter().find_map(of).unwrap_or_default()
}

fn id(message: &[u8], number: u64) -> String {
    messages(message, number).first().map(|bytes| hex(bytes)).unwrap_or_default()
}

/// `KeyValue`s of opentelemetry/proto/common/v1/common.proto.
fn attributes(message: &[u8], at: u64) -> BTreeMap<String, String> {
    let value = |pair: &[u8]| {
        let value = messages(pair, 2)[0].to_vec();
        match fields(&value).into_iter().next() {
            Some((1, Held::Bytes(text))) => String::from_utf8_lossy(text).into_owned(),
            Some((_, Held::Number(number))) => number.to_string(),
            _ => String::new(),
        }
    };
    messages(message, at).into_iter().map(|pair| (text(pair, 1), value(pair))).collect()
}

/// A span of opentelemetry/proto/trace/v1/trace.proto.
#[derive(Debug)]
struct Span {
    trace: String,
    id: String,
    parent: String,
    name: String,
    kind: u64,
    attributes: BTreeMap<String, String>,
    resource: BTreeMap<String, String>,
    seconds: f64,
    failed: bool,
    events: usize,
}

fn spans(asked: &[Asked]) -> Vec<Span> {
    let mut all = Vec::new();
    for request in asked {
        for of_resource in messages(&request.bytes, 1) {
            let resource = messages(of_resource, 1).first().map(|resource| attributes(resource, 1)).unwrap_or_default();
            for span in messages(of_resource, 2).into_iter().flat_map(|scope| messages(scope, 2)) {
                all.push(Span {
                    trace: id(span, 1),
                    id: id(span, 2),
                    parent: id(span, 4),
                    name: text(span, 5),
                    kind: number(span, 6),
                    attributes: attributes(span, 9),
                    resource: resource.clone(),
                    seconds: (number(span, 8) - number(span, 7)) as f64 / 1e9,
                    failed: messages(span, 15).first().is_some_and(|status| number(status, 3) == 2),
                    events: messages(span, 11).len(),
                });
            }
        }
    }
    all
}

fn collector() -> Vendor {
    Vendor::start(|_, _| reply(200, &json!({})).text(""))
}

fn traced(plan: Plan, endpoint: &str, more: &str) -> Harbour {
    plan.more(&format!("[traces]\nendpoint = \"{endpoint}\"\n{more}")).start()
}

const FILE: &str =
    "id,points,tier,email\nC-1,1,gold,ann@private.example\nC-2,2,gold,bob@private.example\nC-99,2,gold,\nC-3,x,gold,private-cell\n";

#[test]
fn a_run_is_one_trace_from_the_file_to_its_requests() {
    let collector = collector();
    let more = "attributes = { \"deployment.environment.name\" = \"trial\" }\nheaders = { \"x-collector-key\" = { file = \"secret\" } }\n";
    let harbour = traced(harbour().folder(), &collector.url(), more);
    harbour.deliver("private-name.csv", FILE);
    harbour.once().exits(1);
    let asked = collector.world().seen.clone();
    assert!(asked.iter().all(|asked| asked.path == "/v1/traces" && asked.header("content-type") == "application/x-protobuf"), "{asked:?}");
    assert!(asked.iter().all(|asked| asked.header("x-collector-key") == SECRET));
    for private in ["private.example", "private-cell", "private-name", "C-1", "C-99", KEY, SECRET] {
        assert!(!asked.iter().any(|asked| asked.raw.contains(private)), "{private} is told to the collector");
    }

    let spans = spans(&asked);
    let [file] = &spans.iter().filter(|span| span.parent.is_empty()).collect::<Vec<_>>()[..] else { panic!("{spans:#?}") };
    let run = harbour.run_of("private-name.csv");
    assert_eq!((file.name.as_str(), &file.attributes["passferry.run"]), ("file", &run.id));
    assert_eq!((file.attributes["passferry.feed"].as_str(), file.attributes["passferry.platform"].as_str()), ("points", "cards"));
    assert_eq!(file.resource["service.name"], "passferry");
    assert_eq!(file.resource["deployment.environment.name"], "trial");
    assert!(spans.iter().all(|span| span.trace == file.trace && span.trace.len() == 32 && span.events == 0), "{spans:#?}");
    let by_id: BTreeMap<&str, &Span> = spans.iter().map(|span| (span.id.as_str(), span)).collect();
    assert_eq!(by_id.len(), spans.len());
    let parent = |span: &Span| by_id.get(span.parent.as_str()).map_or("nobody", |parent| parent.name.as_str());
    let stations: BTreeSet<&str> = spans.iter().filter(|span| parent(span) == "file").map(|span| span.name.as_str()).collect();
    assert_eq!(stations, BTreeSet::from(["fetch", "check", "apply", "report", "archive"]));
    let chunks: BTreeSet<&str> = spans.iter().filter(|span| span.name == "chunk").map(parent).collect();
    assert_eq!(chunks, BTreeSet::from(["check", "apply"]));
    let requests: Vec<&Span> = spans.iter().filter(|span| span.kind == 3).collect();
    assert_eq!(requests.len() as u64, harbour.sandbox.requests().total(), "{requests:#?}");
    assert_eq!(requests.len() as u64, run.detail.requests);
    for request in requests {
        assert_eq!(parent(request), "chunk", "{request:#?}");
        assert_eq!(request.name, request.attributes["http.request.method"]);
        assert_eq!(request.failed, request.attributes["http.response.status_code"].parse::<u16>().unwrap() >= 400, "{request:#?}");
        assert!(request.seconds > 0.0 && request.seconds <= file.seconds, "{request:#?}");
    }
    check_promises(&harbour);
}

/// W3C Trace Context, section 3.2.
#[test]
fn a_platform_is_told_the_trace_where_the_configuration_says_so() {
    for propagates in [true, false] {
        let collector = collector();
        let platform = Vendor::start(|_, _| reply(200, &json!({})));
        let plan = harbour()
            .folder()
            .unmodelled()
            .points_only()
            .platform("kind", "\"http\"")
            .platform("base_url", &format!("{:?}", platform.url()))
            .platform("key", "")
            .platform("secret", "")
            .platform("program", "")
            .platform("auth", "{ header = \"X-Api-Key\", key = { file = \"secret\" } }")
            .more("[platform.cards.fields]\npoints = { kind = \"integer\" }\n[platform.cards.update]\nrequest = \"PATCH /passes/{{ external_id }}\"\n");
        let harbour = traced(plan, &collector.url(), &format!("propagate = {propagates}\n"));
        harbour.deliver("a.csv", "id,points,tier\nC-1,1,a\n");
        harbour.once().exits(0);
        let told: Vec<String> = platform.world().writes().iter().map(|asked| asked.header("traceparent").to_owned()).collect();
        let requests = spans(&collector.world().seen);
        let expected: Vec<String> = requests
            .iter()
            .filter(|span| span.kind == 3)
            .map(|span| if propagates { format!("00-{}-{}-01", span.trace, span.id) } else { String::new() })
            .collect();
        assert_eq!(told, expected);
        assert_eq!(told.len(), 1);
    }
}

#[test]
fn a_share_of_none_traces_nothing() {
    let collector = collector();
    let harbour = traced(harbour().folder(), &collector.url(), "sample = 0.0\n");
    harbour.deliver("a.csv", "id,points,tier,email\nC-1,1,a,\n");
    harbour.once().exits(0);
    assert!(spans(&collector.world().seen).is_empty());
    check_promises(&harbour);
}

/// Nothing listens there, or something that never answers.
#[test]
fn without_a_collector_nothing_waits_and_the_log_says_so_once() {
    let silent = TcpListener::bind("127.0.0.1:0").unwrap();
    let closed = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    for endpoint in [silent.local_addr().unwrap(), closed] {
        let harbour = traced(harbour().folder(), &format!("http://{endpoint}"), "timeout = \"200ms\"\n");
        harbour.deliver("a.csv", "id,points,tier,email\nC-1,1,a,\n");
        let ran = harbour.once().exits(0);
        assert_eq!(ran.err.matches("traces are dropped").count(), 1, "{}", ran.err);
        check_promises(&harbour);
    }
}
