//! JSON by HTTP: to the given address and nowhere else.

use std::path::Path;
use std::time::Duration;

use anyhow::Context;
use reqwest::Url;
use reqwest::header::{HeaderMap, HeaderValue, RETRY_AFTER};

use super::Fault;
use crate::config::meant::alert::Address;
use crate::dispatch::{is_loopback, settled, words_of};
use crate::stop::Stop;

/// One connection at a time.
pub struct Post {
    http: reqwest::Client,
    /// The same for this machine, which a proxy cannot reach.
    local: reqwest::Client,
    timeout: Duration,
    runtime: tokio::runtime::Runtime,
}

impl Post {
    pub fn new(timeout: Duration, ca_file: Option<&Path>) -> anyhow::Result<Post> {
        let client = |local| settled(timeout, ca_file, local).and_then(|builder| Ok(builder.build()?));
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().context("cannot start what sends alerts")?;
        Ok(Post { http: client(false)?, local: client(true)?, timeout, runtime })
    }

    pub fn send(&self, address: &Address, headers: HeaderMap, body: String, stop: &Stop) -> Result<(), Fault> {
        let url = url_of(address)?;
        let client = if is_loopback(&url) { &self.local } else { &self.http };
        let mut request = reqwest::Request::new(reqwest::Method::POST, url);
        *request.headers_mut() = headers;
        request.headers_mut().insert(reqwest::header::CONTENT_TYPE, HeaderValue::from_static("application/json"));
        *request.body_mut() = Some(body.into());
        self.runtime.block_on(async {
            tokio::select! {
                answer = tokio::time::timeout(self.timeout, client.execute(request)) => match answer {
                    Err(_) => Err(Fault::later(format!("no answer within {}", humantime::format_duration(self.timeout)))),
                    Ok(Err(error)) => Err(Fault::later(words_of(error))),
                    Ok(Ok(response)) => judge(response.status().as_u16(), response.headers()),
                },
                () = stop.draining() => Err(Fault::Stopped),
            }
        })
    }
}

fn url_of(address: &Address) -> Result<Url, Fault> {
    let text = match address {
        Address::Plain(text) => text.clone(),
        Address::Secret(secret) => secret.with(|text| text.trim().to_owned()).map_err(Fault::later)?,
    };
    // What is wrong with a secret one is not shown.
    let url = Url::parse(&text).map_err(|_| Fault::later("what lies at the place of url is not an address"))?;
    match url.scheme() {
        "https" => Ok(url),
        "http" if is_loopback(&url) => Ok(url),
        _ => Err(Fault::later("url is not an https:// address (http:// is for this machine alone)")),
    }
}

/// Anything but success is tried again: a receiver may be put up wrongly for a while. What speaks against this message alone holds up
/// no other.
fn judge(status: u16, headers: &HeaderMap) -> Result<(), Fault> {
    match status {
        200..=299 => Ok(()),
        400 | 413 | 415 | 422 => Err(Fault::Refused(format!("it was answered with {status}"))),
        300..=399 => Err(Fault::later(format!("it was answered with {status}: the receiver has moved; write its new address"))),
        _ => {
            let asked = headers.get(RETRY_AFTER).and_then(|value| value.to_str().ok()?.trim().parse().ok()).map(Duration::from_secs);
            Err(Fault::Later(format!("it was answered with {status}"), asked))
        }
    }
}
