//! One try of one request: to the configured host and nowhere else, within a deadline and a size.

use std::cell::RefCell;
use std::error::Error as _;
use std::path::Path;
use std::time::Duration;

use anyhow::Context;
use bytes::{Bytes, BytesMut};
use reqwest::Url;
use reqwest::header::{ACCEPT, CONTENT_TYPE, HeaderMap, HeaderValue};

use crate::platform::{Limits, Request};

/// Connect, TLS included.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(5);

pub(super) struct Client {
    http: reqwest::Client,
    base: String,
    timeout: Duration,
    answer_bytes_max: usize,
    /// The path asked for last, and its address: most requests go where the one before went, and an address is copied faster than read.
    last: RefCell<Option<(String, Url)>>,
}

/// An answer as it came.
pub(super) struct Raw {
    pub status: u16,
    pub headers: HeaderMap,
    pub body: Bytes,
}

/// Why there is no answer.
#[derive(Debug)]
pub(super) enum Lost {
    /// No connection: nothing was sent, and nobody else gets through either.
    Unreachable(String),
    /// The connection broke, or the answer was unfit; the platform may have acted.
    Broken(String),
}

impl Client {
    pub(super) fn new(base_url: &str, limits: &Limits, ca_file: Option<&Path>) -> anyhow::Result<Client> {
        let base = Url::parse(base_url).with_context(|| format!("{base_url} is not a URL"))?;
        anyhow::ensure!(matches!(base.scheme(), "http" | "https") && base.has_host(), "{base_url} is not an http or https address");
        let builder = settled(limits.timeout, ca_file, is_loopback(&base))?.pool_max_idle_per_host(limits.in_flight);
        Ok(Client {
            http: builder.build()?,
            base: base_url.trim_end_matches('/').to_owned(),
            timeout: limits.timeout,
            answer_bytes_max: limits.answer_bytes_max,
            last: RefCell::default(),
        })
    }

    fn address(&self, path: &str) -> Result<Url, Lost> {
        if let Some((known, url)) = &*self.last.borrow()
            && known == path
        {
            return Ok(url.clone());
        }
        let url = Url::parse(&format!("{}{path}", self.base))
            .map_err(|error| Lost::Broken(format!("the request's address cannot be built: {error}")))?;
        *self.last.borrow_mut() = Some((path.to_owned(), url.clone()));
        Ok(url)
    }

    /// Sends once and reads the whole answer, all within the deadline.
    pub(super) async fn send(&self, request: &Request, mut headers: HeaderMap) -> Result<Raw, Lost> {
        let mut http = reqwest::Request::new(request.method.clone(), self.address(&request.path)?);
        if let Some(body) = &request.body {
            headers.insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
            *http.body_mut() = Some(body.clone().into());
        }
        for (name, value) in &request.headers {
            headers.insert(name.clone(), value.clone());
        }
        *http.headers_mut() = headers;
        self.within_deadline(http).await
    }

    /// Sends a form to an address of its own: how a token is asked for.
    pub(super) async fn send_form(&self, address: &str, mut headers: HeaderMap, form: String) -> Result<Raw, Lost> {
        let url = Url::parse(address).map_err(|error| Lost::Broken(format!("the token endpoint's address is no address: {error}")))?;
        let mut http = reqwest::Request::new(reqwest::Method::POST, url);
        headers.insert(CONTENT_TYPE, HeaderValue::from_static("application/x-www-form-urlencoded"));
        headers.insert(ACCEPT, HeaderValue::from_static("application/json"));
        *http.headers_mut() = headers;
        *http.body_mut() = Some(form.into());
        self.within_deadline(http).await
    }

    async fn within_deadline(&self, request: reqwest::Request) -> Result<Raw, Lost> {
        match tokio::time::timeout(self.timeout, self.exchange(request)).await {
            Ok(answer) => answer,
            Err(_) => Err(Lost::Broken(format!("no complete answer within {}", humantime::format_duration(self.timeout)))),
        }
    }

    async fn exchange(&self, request: reqwest::Request) -> Result<Raw, Lost> {
        let mut response = self.http.execute(request).await.map_err(lost)?;
        let status = response.status().as_u16();
        let headers = std::mem::take(response.headers_mut());
        let too_large = || Lost::Broken(format!("the answer is larger than {} bytes", self.answer_bytes_max));
        if response.content_length().is_some_and(|length| length > self.answer_bytes_max as u64) {
            return Err(too_large());
        }
        // Nearly all answers arrive in one piece, which needs no copy.
        let mut body = response.chunk().await.map_err(lost)?.unwrap_or_default();
        let mut joined: Option<BytesMut> = None;
        loop {
            if joined.as_ref().map_or(body.len(), BytesMut::len) > self.answer_bytes_max {
                return Err(too_large());
            }
            match response.chunk().await.map_err(lost)? {
                None => break,
                Some(more) => joined.get_or_insert_with(|| BytesMut::from(&*std::mem::take(&mut body))).extend_from_slice(&more),
            }
        }
        let body = joined.map_or(body, BytesMut::freeze);
        Ok(Raw { status, headers, body })
    }
}

/// A client that goes where it was sent and nowhere else, and sends once.
pub(crate) fn settled(timeout: Duration, ca_file: Option<&Path>, loopback: bool) -> anyhow::Result<reqwest::ClientBuilder> {
    let mut builder = reqwest::Client::builder()
        .user_agent(concat!("passferry/", env!("CARGO_PKG_VERSION")))
        .redirect(reqwest::redirect::Policy::none())
        // Tries are counted here; a client that repeats by itself would count them twice.
        .retry(reqwest::retry::never())
        .referer(false)
        .connect_timeout(CONNECT_TIMEOUT.min(timeout))
        .tcp_nodelay(true)
        .tls_backend_native()
        .tls_version_min(reqwest::tls::Version::TLS_1_2);
    if loopback {
        // A proxy cannot reach this machine's own loopback.
        builder = builder.no_proxy();
    }
    if let Some(path) = ca_file {
        let pem = std::fs::read(path).with_context(|| format!("cannot read the CA file {}", path.display()))?;
        let certificates = reqwest::Certificate::from_pem_bundle(&pem)
            .with_context(|| format!("{} holds no PEM certificate that can be read", path.display()))?;
        anyhow::ensure!(!certificates.is_empty(), "{} holds no PEM certificate", path.display());
        builder = builder.tls_certs_merge(certificates);
    }
    Ok(builder)
}

/// Why there was no answer, in words without the address.
pub(crate) fn words_of(error: reqwest::Error) -> String {
    match lost(error) {
        Lost::Unreachable(words) | Lost::Broken(words) => words,
    }
}

/// Does the address lead to this machine itself?
pub(crate) fn is_loopback(url: &Url) -> bool {
    let host = url.host_str().unwrap_or_default().trim_start_matches('[').trim_end_matches(']');
    host == "localhost" || host.parse::<std::net::IpAddr>().is_ok_and(|ip| ip.is_loopback())
}

/// The innermost cause in words, without the address: its path may hold an identifier.
fn lost(error: reqwest::Error) -> Lost {
    let connect = error.is_connect();
    let error = error.without_url();
    let mut words = Vec::<String>::new();
    let mut cause = error.source();
    while let Some(inner) = cause {
        let text = inner.to_string();
        // What the client library calls its own part in it tells nobody anything.
        if text != "client error (Connect)" && words.last().is_none_or(|last| !last.contains(&text)) {
            words.push(text);
        }
        cause = inner.source();
    }
    if words.is_empty() {
        words.push(error.to_string());
    }
    let words = words.join(": ");
    if connect {
        let check = what_to_check(&words);
        Lost::Unreachable(format!("cannot connect: {words}; {check}"))
    } else {
        Lost::Broken(format!("the connection was lost: {words}"))
    }
}

/// The libraries below tell these apart by words alone.
fn what_to_check(words: &str) -> &'static str {
    if words.contains("certificate verify failed") {
        "check this machine's clock and the address; where an authority of your own signs, name it by ca_file"
    } else if words.contains("ssl") || words.contains("SSL") {
        "the server speaks no TLS that we take (1.2 or later); check the port, and what stands between"
    } else if words.contains("dns error") {
        "check the host in the address, and this machine's name resolution"
    } else {
        "check the address and its port, the firewall, and the proxy if there is one"
    }
}
