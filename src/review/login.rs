//! Coming in and leaving.

use std::sync::Arc;
use std::time::Instant;

use askama::Template;
use axum::Form;
use axum::extract::{ConnectInfo, Query, State};
use axum::http::StatusCode;
use axum::http::header::{LOCATION, SET_COOKIE};
use axum::response::{Html, IntoResponse, Response};
use serde::Deserialize;

use super::Desk;
use super::answer::{Answer, Fault, page as show, work};
use super::listener::Peer;
use super::parts::Frame;
use super::people::{PASSWORD_MAX, PeopleFile};
use super::session::Way;
use super::visitor::{Came, Visitor};

#[derive(Template)]
#[template(path = "review/login.html", config = "src/page/askama.toml")]
struct LoginPage<'a> {
    frame: Frame<'a>,
    back: &'a str,
    wrong: bool,
    /// Are there people with passwords?
    by_password: bool,
}

#[derive(Deserialize)]
pub struct Wanted {
    #[serde(default)]
    back: String,
}

#[derive(Deserialize)]
pub struct Given {
    name: String,
    password: String,
    #[serde(default)]
    back: String,
}

pub async fn page(State(desk): State<Arc<Desk>>, visitor: Option<Visitor>, Query(wanted): Query<Wanted>) -> Answer {
    if visitor.is_some() {
        return Ok(super::answer::go_to(within(&wanted.back)));
    }
    show(&LoginPage { frame: Frame::bare("Log in"), back: within(&wanted.back), wrong: false, by_password: desk.people.is_some() })
}

/// Only a path of this page: whoever made the link must not choose another site.
fn within(back: &str) -> &str {
    let mut letters = back.bytes();
    let here = letters.next() == Some(b'/') && !matches!(letters.next(), Some(b'/' | b'\\'));
    if here && !back.contains(|letter: char| letter.is_control() || letter == '\\') { back } else { "/" }
}

pub async fn come_in(State(desk): State<Arc<Desk>>, ConnectInfo(peer): ConnectInfo<Peer>, Form(given): Form<Given>) -> Answer {
    if desk.people.is_none() {
        return Err(Fault::NotFound);
    }
    if given.password.len() > PASSWORD_MAX {
        return Err(Fault::bad("The password is too long."));
    }
    // Behind a proxy everybody has its address.
    let peer = peer.address.ip();
    let address = (!desk.settings.behind_proxy).then_some(peer);
    let wait = |desk: &Desk, name: &str| match desk.attempts.wait(name, address, Instant::now()) {
        Some(wait) => Err(Fault::TooOften(wait.as_secs() + 1)),
        None => Ok(()),
    };
    wait(&desk, &given.name)?;
    let proving = Arc::clone(&desk.proving).acquire_owned().await.map_err(|error| Fault::Broken(error.into()))?;
    // Those who waited in line count as well.
    wait(&desk, &given.name)?;
    let back = within(&given.back).to_owned();
    // Whoever hangs up meanwhile has tried all the same, and takes the place of another until it is done.
    let came = work(move || {
        let _proving = proving;
        let people = desk.people.as_ref().map(PeopleFile::now).transpose()?;
        let proved = people.and_then(|people| Some((people.prove(&given.name, &given.password)?, people.proof(&given.name))));
        let Some((role, proof)) = proved else {
            desk.attempts.failed(&given.name, address, Instant::now());
            tracing::warn!(%peer, "a login to the review page failed");
            return Ok(None);
        };
        desk.attempts.succeeded(&given.name);
        let (id, found) = desk.sessions.begin(&given.name, Way::Password, &proof, desk.ends(), Instant::now())?;
        tracing::info!(user = found.name, role = role.as_str(), %peer, "came in");
        Ok(Some(desk.cookie(&id)?))
    });
    match came.await? {
        Some(cookie) => Ok((StatusCode::SEE_OTHER, [(LOCATION, back)], [(SET_COOKIE, cookie)]).into_response()),
        None => {
            let page = LoginPage { frame: Frame::bare("Log in"), back: &back, wrong: true, by_password: true };
            Ok((StatusCode::UNAUTHORIZED, Html(page.render()?)).into_response())
        }
    }
}

pub async fn leave(State(desk): State<Arc<Desk>>, visitor: Visitor) -> Result<Response, Fault> {
    if let Came::Session { key, .. } = &visitor.came {
        desk.sessions.end(key);
        tracing::info!(user = visitor.name, "left");
    }
    let secure = if desk.settings.behind_proxy { "; Secure" } else { "" };
    let cookie = format!("{}=; Path=/; HttpOnly; SameSite=Lax; Max-Age=0{secure}", desk.cookie_name());
    Ok((StatusCode::SEE_OTHER, [(LOCATION, "/login".to_owned()), (SET_COOKIE, cookie)]).into_response())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_comes_back_to_this_page_alone() {
        assert_eq!(within("/runs/abc?x=1"), "/runs/abc?x=1");
        for elsewhere in ["", "https://evil.example", "//evil.example", "/\\evil.example", "/a\n", "javascript:alert(1)", "/a\\b"] {
            assert_eq!(within(elsewhere), "/", "{elsewhere:?}");
        }
    }
}
