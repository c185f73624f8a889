//! The gate: what every request has to pass before anything is done with it (failure model, section 7).

use std::net::IpAddr;
use std::sync::Arc;
use std::time::{Duration, Instant};

use axum::body::{Body, Bytes, to_bytes};
use axum::extract::{ConnectInfo, Request, State};
use axum::http::header::{
    AUTHORIZATION, CACHE_CONTROL, CONNECTION, CONTENT_SECURITY_POLICY, CONTENT_TYPE, COOKIE, HOST, HeaderName, HeaderValue, ORIGIN,
    REFERRER_POLICY, SET_COOKIE, X_CONTENT_TYPE_OPTIONS, X_FRAME_OPTIONS,
};
use axum::http::{HeaderMap, Method, StatusCode};
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};

use super::Desk;
use super::answer::{Fault, work};
use super::listener::Peer;
use super::people::Role;
use super::session::{Found, Way};
use super::visitor::{Came, Visitor};
use crate::config::meant::review::ReviewProxy;

/// What a page may load and where it may send: itself, and nothing inline.
const POLICY: &str = "default-src 'none'; style-src 'self'; script-src 'self'; img-src 'self'; connect-src 'self'; form-action 'self'; \
                      frame-ancestors 'none'; base-uri 'none'";
/// Bytes of what is posted: a page of corrected rows is the largest.
pub const BODY_MAX: usize = 4 << 20;
/// An answer that takes longer is given up.
const ANSWER: Duration = Duration::from_mins(1);
/// Header in which a script of ours sends what a form has in a field.
const CSRF: &str = "x-csrf";
/// Asked for by the page itself, over and over: no sign that somebody is there.
const BY_ITSELF: &str = "x-by-itself";

/// Everything passes here.
pub async fn gate(State(desk): State<Arc<Desk>>, ConnectInfo(peer): ConnectInfo<Peer>, request: Request, next: Next) -> Response {
    let _in_hand = peer.begin();
    let api = request.uri().path().starts_with("/api/");
    let passed = tokio::time::timeout(ANSWER, pass(&desk, peer.address.ip(), request, next));
    let mut response = match passed.await {
        Ok(Ok(response)) => response,
        Ok(Err(fault)) if api => super::answer::told(&fault),
        Ok(Err(fault)) => fault.into_response(),
        Err(_) => {
            let words = "This takes too long and was given up. What was asked for may be done all the same: look first.".to_owned();
            let fault = Fault::Refused(StatusCode::SERVICE_UNAVAILABLE, words);
            if api { super::answer::told(&fault) } else { fault.into_response() }
        }
    };
    let headers = response.headers_mut();
    if peer.is_old() {
        headers.insert(CONNECTION, HeaderValue::from_static("close"));
    }
    let mut set = |name: HeaderName, value: &'static str| headers.insert(name, HeaderValue::from_static(value));
    set(CONTENT_SECURITY_POLICY, POLICY);
    set(X_CONTENT_TYPE_OPTIONS, "nosniff");
    set(X_FRAME_OPTIONS, "DENY");
    set(REFERRER_POLICY, "no-referrer");
    set(HeaderName::from_static("cross-origin-opener-policy"), "same-origin");
    set(HeaderName::from_static("cross-origin-resource-policy"), "same-origin");
    headers.entry(CACHE_CONTROL).or_insert(HeaderValue::from_static("no-store"));
    response
}

async fn pass(desk: &Arc<Desk>, peer: IpAddr, request: Request, next: Next) -> Result<Response, Fault> {
    let host = host(&request)?;
    if !desk.serves(&host) {
        let words = format!("{host:?} is no name of this page; [review] hosts lists those that are");
        return Err(Fault::Refused(StatusCode::MISDIRECTED_REQUEST, words));
    }
    if request.uri().path().starts_with("/api/") {
        return by_token(desk, request, next).await;
    }
    let posts = match *request.method() {
        Method::GET | Method::HEAD => false,
        Method::POST => true,
        _ => return Err(Fault::Refused(StatusCode::METHOD_NOT_ALLOWED, "Only GET and POST.".to_owned())),
    };
    if posts {
        desk.same_origin(request.headers(), &host)?;
    }
    let (visitor, cookie) = desk.who(peer, request.headers(), posts).await?;
    let (mut parts, body) = request.into_parts();
    let mut body = body;
    if posts {
        let too_long = |_| Fault::Refused(StatusCode::PAYLOAD_TOO_LARGE, format!("That is more than {} MiB.", BODY_MAX >> 20));
        let bytes = to_bytes(body, BODY_MAX).await.map_err(too_long)?;
        match &visitor {
            Some(visitor) => made_by_us(&parts.headers, &bytes, visitor)?,
            // Whoever is not in yet can only come in.
            None if parts.uri.path() == "/login" => {}
            None => return Err(Fault::NobodyYet { back: "/".to_owned() }),
        }
        body = Body::from(bytes);
    }
    if let Some(visitor) = visitor {
        parts.extensions.insert(visitor);
    }
    let mut response = next.run(Request::from_parts(parts, body)).await;
    if let Some(cookie) = cookie {
        response.headers_mut().append(SET_COOKIE, cookie);
    }
    Ok(response)
}

/// Programs show a token, and nothing that a browser would send by itself.
async fn by_token(desk: &Arc<Desk>, mut request: Request, next: Next) -> Result<Response, Fault> {
    let given = one(request.headers(), &AUTHORIZATION)?.and_then(|header| header.split_once(' '));
    let given = given.filter(|(scheme, _)| scheme.eq_ignore_ascii_case("bearer")).map(|(_, token)| token.trim());
    let nobody = || Fault::NobodyYet { back: "/".to_owned() };
    let people = desk.people.as_ref().ok_or_else(nobody)?.now()?;
    let (name, role) = given.and_then(|given| people.token(given)).ok_or_else(nobody)?;
    let visitor = Visitor { name: name.to_owned(), role, came: Came::Token };
    request.extensions_mut().insert(visitor);
    Ok(next.run(request).await)
}

/// The one value of a header. Two of them are a trick.
fn one<'h>(headers: &'h HeaderMap, name: &HeaderName) -> Result<Option<&'h str>, Fault> {
    let mut values = headers.get_all(name).iter();
    match (values.next(), values.next()) {
        (None, _) => Ok(None),
        (Some(value), None) => value.to_str().map(Some).map_err(|_| Fault::bad(format!("The header {name} is no text."))),
        (Some(_), Some(_)) => Err(Fault::bad(format!("The header {name} stands there twice."))),
    }
}

/// The name that the browser believes to talk to, in lower case.
fn host(request: &Request) -> Result<String, Fault> {
    let header = one(request.headers(), &HOST)?.ok_or_else(|| Fault::bad("There is no Host."))?;
    match request.uri().authority() {
        Some(other) if !other.as_str().eq_ignore_ascii_case(header) => Err(Fault::bad("The address names another host than Host.")),
        _ => Ok(header.to_ascii_lowercase()),
    }
}

/// Was this made by a page of this session? Other sites can make a browser send, and cannot read what our pages hold.
fn made_by_us(headers: &HeaderMap, body: &Bytes, visitor: &Visitor) -> Result<(), Fault> {
    let in_form = || {
        let form = headers.get(CONTENT_TYPE).is_some_and(|kind| kind.as_bytes().starts_with(b"application/x-www-form-urlencoded"));
        let mut fields = form.then(|| url::form_urlencoded::parse(body)).into_iter().flatten();
        fields.find(|(name, _)| name == "csrf").map(|(_, value)| value.into_owned())
    };
    let given = match headers.get(CSRF) {
        Some(header) => header.to_str().ok().map(str::to_owned),
        None => in_form(),
    };
    let digest = |text: &str| openssl::sha::sha256(text.as_bytes());
    let ours = given.is_some_and(|given| !visitor.csrf().is_empty() && openssl::memcmp::eq(&digest(&given), &digest(visitor.csrf())));
    if ours { Ok(()) } else { Err(Fault::NotOurs) }
}

impl Desk {
    /// Is this one of the names under which the page is reached? A name that somebody else points at this machine is none.
    fn serves(&self, host: &str) -> bool {
        let (name, port) = match host.rsplit_once(':') {
            Some((name, port)) if !port.contains(']') => (name, port.parse::<u16>().ok()),
            _ => (host, Some(80)),
        };
        if port.is_none() {
            return false;
        }
        let ip = self.settings.listen.ip();
        let own = match ip {
            IpAddr::V4(ip) => ip.to_string(),
            IpAddr::V6(ip) => format!("[{ip}]"),
        };
        let local = ip.is_loopback() && ["localhost", "127.0.0.1", "[::1]"].contains(&name);
        let here = local || (!ip.is_unspecified() && name == own);
        (here && port == Some(self.port)) || self.settings.hosts.iter().any(|known| known == name)
    }

    /// A browser says which site sends: it must be this one. Whoever says nothing at all is no browser of today and is refused.
    fn same_origin(&self, headers: &HeaderMap, host: &str) -> Result<(), Fault> {
        let scheme = if self.settings.behind_proxy { "https" } else { "http" };
        let site = one(headers, &HeaderName::from_static("sec-fetch-site"))?;
        let origin = one(headers, &ORIGIN)?;
        let site_fits = site.is_none_or(|site| site == "same-origin");
        let origin_fits = match origin.filter(|origin| *origin != "null") {
            Some(origin) => origin.eq_ignore_ascii_case(&format!("{scheme}://{host}")),
            // A form on a page that sends no referrer has "null"; the browser says of it where it comes from all the same.
            None => site == Some("same-origin"),
        };
        if site_fits && origin_fits { Ok(()) } else { Err(Fault::NotOurs) }
    }

    /// Who sends this, and a cookie where a session begins with it.
    async fn who(
        self: &Arc<Desk>,
        peer: IpAddr,
        headers: &HeaderMap,
        posts: bool,
    ) -> Result<(Option<Visitor>, Option<HeaderValue>), Fault> {
        let (desk, cookie) = (Arc::clone(self), cookie(headers, self.cookie_name()));
        let used = !headers.contains_key(BY_ITSELF);
        let named = match self.settings.proxy.as_ref().filter(|proxy| proxy.from.contains(&peer)) {
            Some(proxy) => named_by(proxy, headers)?,
            None => None,
        };
        work(move || {
            let found = cookie.and_then(|id| desk.sessions.find(&id, desk.ends(), Instant::now(), used));
            if let Some((name, role)) = named {
                let fits = found.filter(|found| found.way == Way::Proxy && found.name == name);
                let (found, cookie) = match fits {
                    Some(found) => (found, None),
                    // A form needs the session that made it.
                    None if posts => return Err(Fault::NotOurs),
                    None => {
                        let (id, found) = desk.sessions.begin(&name, Way::Proxy, "", desk.ends(), Instant::now())?;
                        (found, Some(desk.cookie(&id)?))
                    }
                };
                return Ok((Some(visitor(found, role)), cookie));
            }
            let Some(found) = found.filter(|found| found.way == Way::Password) else { return Ok((None, None)) };
            // Whoever was taken out of the file is out at once.
            let people = desk.people.as_ref().map(super::people::PeopleFile::now).transpose()?;
            let role = people.and_then(|people| people.role_of(&found.name, &found.proof));
            Ok((role.map(|role| visitor(found, role)), None))
        })
        .await
    }

    /// With the prefix a browser takes it over TLS alone, and from no other host of the domain.
    pub fn cookie_name(&self) -> &'static str {
        if self.settings.behind_proxy { "__Host-passferry" } else { "passferry" }
    }

    /// Lax: whoever follows a link in a message is still in. Nothing is changed by following one, and what is posted is looked at for where
    /// it comes from.
    pub fn cookie(&self, id: &str) -> anyhow::Result<HeaderValue> {
        let secure = if self.settings.behind_proxy { "; Secure" } else { "" };
        Ok(HeaderValue::try_from(format!("{}={id}; Path=/; HttpOnly; SameSite=Lax{secure}", self.cookie_name()))?)
    }
}

fn visitor(found: Found, role: Role) -> Visitor {
    Visitor { name: found.name, role, came: Came::Session { key: found.key, way: found.way, csrf: found.csrf } }
}

/// Whom the proxy names, and what they may do. None where it names nobody; whoever is in no list is refused.
fn named_by(proxy: &ReviewProxy, headers: &HeaderMap) -> Result<Option<(String, Role)>, Fault> {
    let header = |name: &str| -> Result<Option<&str>, Fault> {
        let name = HeaderName::try_from(name).map_err(|error| Fault::Broken(error.into()))?;
        Ok(one(headers, &name)?.map(str::trim).filter(|value| !value.is_empty()))
    };
    let Some(name) = header(&proxy.header)? else { return Ok(None) };
    if name.len() > 256 {
        return Err(Fault::bad("The name is too long."));
    }
    let listed = match &proxy.groups {
        Some(groups) => header(groups)?.unwrap_or_default().split(',').map(str::trim).collect(),
        None => vec![name],
    };
    let is_in = |list: &[String]| list.iter().any(|known| listed.contains(&known.as_str()));
    if is_in(&proxy.approvers) {
        Ok(Some((name.to_owned(), Role::Approver)))
    } else if proxy.viewers.as_deref().is_none_or(is_in) {
        Ok(Some((name.to_owned(), Role::Viewer)))
    } else {
        Err(Fault::Forbidden)
    }
}

fn cookie(headers: &HeaderMap, name: &str) -> Option<String> {
    let pairs = headers.get_all(COOKIE).iter().filter_map(|header| header.to_str().ok()).flat_map(|header| header.split(';'));
    let mut values = pairs.filter_map(|pair| pair.trim().split_once('=')).filter(|(known, _)| *known == name).map(|(_, value)| value);
    // Another page of the host may have set one of the same name: then nobody knows which is ours.
    match (values.next(), values.next()) {
        (Some(value), None) => Some(value.to_owned()),
        _ => None,
    }
}
