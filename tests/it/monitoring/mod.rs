//! What monitoring sees of the program.

mod health;
mod numbers;
mod samples;
mod sweeps;
#[cfg(feature = "otlp")]
mod traces;
mod waits;

use std::collections::BTreeMap;
use std::io::{Read, Write};
use std::net::TcpStream;
use std::process::{Command, Stdio};
use std::time::Duration;

use crate::rig::harbour::{Harbour, wait_until};

/// A listener at a port that is free.
const LISTEN: &str = "[metrics]\nlisten = \"127.0.0.1:0\"\nstale_after = \"600ms\"\n";

/// Where the program's log says that it listens.
fn listener(harbour: &Harbour) -> String {
    let found = |harbour: &Harbour| {
        let said = harbour.said();
        let line = said.lines().rev().find(|line| line.contains("readiness are told"))?.to_owned();
        Some(line.split("address=").nth(1)?.split_whitespace().next()?.to_owned())
    };
    wait_until("the listener is told of", || found(harbour).is_some());
    found(harbour).unwrap()
}

/// Status, headers and body of an answer.
fn get(address: &str, path: &str) -> (u16, String, String) {
    let mut stream = TcpStream::connect(address).unwrap();
    stream.set_read_timeout(Some(Duration::from_secs(30))).unwrap();
    write!(stream, "GET {path} HTTP/1.1\r\nHost: {address}\r\nConnection: close\r\n\r\n").unwrap();
    let mut text = String::new();
    stream.read_to_string(&mut text).unwrap();
    let (head, body) = text.split_once("\r\n\r\n").unwrap();
    let status = head.split(' ').nth(1).unwrap().parse().unwrap();
    (status, head.to_owned(), body.to_owned())
}

/// Series and their values.
#[derive(Clone, Debug, Default)]
struct Scraped(BTreeMap<String, f64>);

impl Scraped {
    fn of(text: &str) -> Scraped {
        let series = text.lines().filter(|line| !line.starts_with('#') && !line.is_empty());
        let read = |line: &str| {
            let (series, value) = line.rsplit_once(' ').unwrap_or_else(|| panic!("{line:?}"));
            (series.to_owned(), value.parse().unwrap_or_else(|error| panic!("{error}: {line:?}")))
        };
        let all: Vec<(String, f64)> = series.map(read).collect();
        let scraped = Scraped(all.iter().cloned().collect());
        assert_eq!(scraped.0.len(), all.len(), "a series stands there twice:\n{text}");
        scraped
    }

    /// The sum of a family's series with these labels, each written `name="value"`.
    fn sum(&self, family: &str, labels: &[&str]) -> f64 {
        let of_family = self.0.iter().filter(|(series, _)| series.split('{').next() == Some(family));
        of_family.filter(|(series, _)| labels.iter().all(|label| series.contains(label))).map(|(_, value)| value).sum()
    }

    /// The same of what is counted.
    fn count(&self, family: &str, labels: &[&str]) -> u64 {
        self.sum(family, labels).round() as u64
    }

    fn has(&self, family: &str) -> bool {
        self.0.keys().any(|series| series.split('{').next() == Some(family))
    }
}

fn scrape(address: &str) -> (Scraped, String) {
    let (status, head, body) = get(address, "/metrics");
    assert_eq!(status, 200, "{body}");
    assert!(head.to_lowercase().contains("content-type: text/plain; version=0.0.4"), "{head}");
    (Scraped::of(&body), body)
}

/// Prometheus' own reader and its rules for names.
fn promtool(args: &[&str], input: &str) {
    let mut child = Command::new("promtool")
        .args(args)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .expect("promtool is needed (Debian: prometheus)");
    child.stdin.take().unwrap().write_all(input.as_bytes()).unwrap();
    let output = child.wait_with_output().unwrap();
    let said = format!("{}{}", String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
    assert!(output.status.success(), "promtool {args:?}: {said}\n{input}");
}
