//! What monitoring is told.

use std::net::SocketAddr;
use std::time::Duration;

use super::{Check, Key};
use crate::config::value::quoted;
use crate::config::{meant, written};
use crate::dispatch::is_loopback;

impl Check<'_> {
    pub(super) fn metrics(&mut self, file: &written::Config) -> Option<meant::Metrics> {
        let key = Key::of(&["metrics"]);
        let written = file.metrics.as_ref()?;
        let here = key.child("listen");
        let listen = self.required(&here, written.listen.as_ref(), "listen = \"127.0.0.1:9187\"")?;
        let read = listen.parse::<SocketAddr>();
        let listen =
            self.good(&here, read.map_err(|_| format!("{} is no address with a port; write such as \"127.0.0.1:9187\"", quoted(&listen))));
        if let Some(listen) = listen.filter(|listen| !listen.ip().is_loopback() && written.allow_remote != Some(true)) {
            let message = format!(
                "{} can be reached from other machines, and nobody is asked who they are; write \"127.0.0.1:{}\", or allow_remote = true behind a firewall",
                quoted(&listen.to_string()),
                listen.port()
            );
            self.fault(&here, message);
        }
        let stale_after =
            self.span(&key.child("stale_after"), written.stale_after.as_ref(), Duration::from_mins(5), Duration::from_millis(100));
        Some(meant::Metrics { listen: listen?, stale_after })
    }

    pub(super) fn traces(&mut self, file: &written::Config) -> Option<meant::Traces> {
        let key = Key::of(&["traces"]);
        let written = file.traces.as_ref()?;
        let here = key.child("endpoint");
        let endpoint = self.required(&here, written.endpoint.as_ref(), "endpoint = \"http://127.0.0.1:4318\", the collector's")?;
        let read = url::Url::parse(&endpoint).ok().filter(|url| matches!(url.scheme(), "http" | "https") && url.has_host());
        let endpoint =
            self.good(&here, read.ok_or_else(|| format!("{} is no address; write such as \"http://127.0.0.1:4318\"", quoted(&endpoint))));
        let sample = written.sample.unwrap_or(1.0);
        if !(0.0..=1.0).contains(&sample) {
            self.fault(&key.child("sample"), "is no share; write a number from 0 to 1".into());
        }
        let timeout = self.span(&key.child("timeout"), written.timeout.as_ref(), Duration::from_secs(10), Duration::from_millis(10));
        let mut headers = Vec::new();
        for (name, place) in &written.headers {
            let here = key.child("headers").child(name);
            if reqwest::header::HeaderName::from_bytes(name.as_bytes()).is_err() {
                self.fault(&here, format!("{} is no name of a header", quoted(name)));
            }
            headers.extend(self.secret(&here, place).map(|secret| (name.clone(), secret)));
        }
        let mut endpoint = endpoint?;
        if !headers.is_empty() && endpoint.scheme() == "http" && !is_loopback(&endpoint) {
            let message = "sends headers that are secrets in clear; write https://, or http:// to a collector of this machine".to_owned();
            self.fault(&here, message);
        }
        if matches!(endpoint.path(), "" | "/") {
            endpoint.set_path("/v1/traces");
        }
        Some(meant::Traces {
            endpoint: endpoint.into(),
            sample,
            timeout,
            propagate: written.propagate.unwrap_or(false),
            attributes: written.attributes.clone(),
            headers,
        })
    }
}
