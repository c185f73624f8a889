//! The review page.

use std::net::{IpAddr, SocketAddr};
use std::time::Duration;

use super::{Check, Key};
use crate::config::meant::review::{Review, ReviewProxy};
use crate::config::value::quoted;
use crate::config::written;

/// Where the page is served unless told otherwise.
const LISTEN: &str = "127.0.0.1:7979";

impl Check<'_> {
    pub(super) fn review(&mut self, review: &written::Review) -> Option<Review> {
        let key = Key::of(&["review"]);
        let listen = key.child("listen");
        let text = review.listen.as_deref().unwrap_or(LISTEN);
        let address = text.parse::<SocketAddr>();
        let example = || format!("{} is no address with a port; write such as \"{LISTEN}\"", quoted(text));
        let address = self.good(&listen, address.map_err(|_| example()));
        let behind_proxy = review.behind_proxy.unwrap_or(false);
        if address.is_some_and(|address| !address.ip().is_loopback()) && !behind_proxy {
            let message = format!(
                "{} can be reached from other machines, and passwords would cross the network in the clear; let a proxy in front end TLS and \
                 write behind_proxy = true, or write \"{LISTEN}\"",
                quoted(text)
            );
            self.fault(&listen, message);
        }
        let users = review.users.as_ref().map(|path| self.path(&key.child("users"), path));
        if users.is_none() && review.proxy.is_none() && !self.document.pruned_within(&key) {
            self.fault(
                &key,
                "lets nobody in; write users = \"PATH\", a file that passferry review --add-user fills, or a section [review.proxy]".into(),
            );
        }
        let hosts = review.hosts.iter().flatten().filter_map(|host| {
            let plain = !host.is_empty() && host.bytes().all(|b| b.is_ascii_alphanumeric() || matches!(b, b'.' | b'-'));
            let name = if plain {
                Ok(host.to_ascii_lowercase())
            } else {
                Err(format!("{} is no name; write it without scheme and port", quoted(host)))
            };
            self.good(&key.child("hosts"), name)
        });
        let hosts = hosts.collect();
        let idle = self.span(&key.child("idle"), review.idle.as_ref(), Duration::from_mins(30), Duration::from_secs(1));
        let session = self.span(&key.child("session"), review.session.as_ref(), Duration::from_hours(12), Duration::from_secs(1));
        if idle > session {
            let shown = humantime::format_duration(session);
            self.fault(&key.child("idle"), format!("is longer than session; write at most \"{shown}\""));
        }
        let proxy = review.proxy.as_ref().map(|proxy| self.review_proxy(&key.child("proxy"), proxy));
        let proxy = match proxy {
            Some(proxy) => Some(proxy?),
            None => None,
        };
        Some(Review { listen: address?, users, hosts, behind_proxy, idle, session, proxy })
    }

    fn review_proxy(&mut self, key: &Key, proxy: &written::ReviewProxy) -> Option<ReviewProxy> {
        let example = "from = [\"127.0.0.1\"], the addresses of the proxy";
        let from = self.required(&key.child("from"), proxy.from.as_ref(), example);
        let from: Vec<IpAddr> = from
            .iter()
            .flatten()
            .filter_map(|text| {
                let address = text.parse().map_err(|_| format!("{} is no address; write such as \"127.0.0.1\"", quoted(text)));
                self.good(&key.child("from"), address)
            })
            .collect();
        if from.is_empty() && !self.document.pruned_within(key) && proxy.from.is_some() {
            self.fault(&key.child("from"), "names no address, so that nobody is believed; write such as [\"127.0.0.1\"]".into());
        }
        let header = self.required(&key.child("header"), proxy.header.as_ref(), "header = \"X-Remote-User\"");
        let header = header.and_then(|name| self.identity_header(&key.child("header"), &name));
        let groups = proxy.groups.as_ref().and_then(|name| self.identity_header(&key.child("groups"), name));
        if header.is_some() && header == groups {
            self.fault(&key.child("groups"), "is the header with the name; write the one with the groups, or remove it".into());
        }
        let approvers = proxy.approvers.clone().unwrap_or_default();
        Some(ReviewProxy { from, header: header?, groups, approvers, viewers: proxy.viewers.clone() })
    }

    fn identity_header(&mut self, key: &Key, name: &str) -> Option<String> {
        let read = axum::http::HeaderName::try_from(name).map_err(|_| format!("{} is no name of a header", quoted(name)));
        let known = |name: &axum::http::HeaderName| ["host", "cookie", "origin", "authorization"].contains(&name.as_str());
        let read =
            read.and_then(|name| if known(&name) { Err("is a header that anybody sends; write the proxy's own".into()) } else { Ok(name) });
        self.good(key, read).map(|name| name.as_str().to_owned())
    }
}
