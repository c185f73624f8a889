//! Answers: pages, and why there is none.

use askama::Template;
use axum::http::StatusCode;
use axum::http::header::{LOCATION, RETRY_AFTER, WWW_AUTHENTICATE};
use axum::response::{Html, IntoResponse, Response};

use super::parts::Frame;
use crate::decide::{Refusal, Why};
use crate::ledger::LedgerError;

/// Why a request is not answered with what it asked for.
#[derive(Debug)]
pub enum Fault {
    /// Nobody came in yet. `back` is where they wanted to go.
    NobodyYet {
        back: String,
    },
    /// They came in, and may not do this.
    Forbidden,
    /// A form that no page of this session made, or that another site sent.
    NotOurs,
    NotFound,
    /// Too often wrong; seconds to wait.
    TooOften(u64),
    /// What was asked for cannot be done, in words for whoever asked.
    Refused(StatusCode, String),
    /// A defect, or this machine's storage. Told to the log alone: it may name paths and values.
    Broken(anyhow::Error),
}

pub type Answer = Result<Response, Fault>;

impl From<anyhow::Error> for Fault {
    fn from(error: anyhow::Error) -> Fault {
        for cause in error.chain() {
            if let Some(refusal) = cause.downcast_ref::<Refusal>() {
                let status = match refusal.why {
                    Why::NothingThere | Why::NotNow => StatusCode::CONFLICT,
                    Why::Unclear => StatusCode::BAD_REQUEST,
                };
                return Fault::Refused(status, refusal.words.clone());
            }
            if let Some(LedgerError::NoRun(_)) = cause.downcast_ref() {
                return Fault::NotFound;
            }
        }
        Fault::Broken(error)
    }
}

impl From<LedgerError> for Fault {
    fn from(error: LedgerError) -> Fault {
        anyhow::Error::from(error).into()
    }
}

impl From<askama::Error> for Fault {
    fn from(error: askama::Error) -> Fault {
        Fault::Broken(error.into())
    }
}

impl Fault {
    pub fn bad(words: impl Into<String>) -> Fault {
        Fault::Refused(StatusCode::BAD_REQUEST, words.into())
    }

    pub fn status(&self) -> StatusCode {
        match self {
            Fault::NobodyYet { .. } => StatusCode::UNAUTHORIZED,
            Fault::Forbidden | Fault::NotOurs => StatusCode::FORBIDDEN,
            Fault::NotFound => StatusCode::NOT_FOUND,
            Fault::TooOften(_) => StatusCode::TOO_MANY_REQUESTS,
            Fault::Refused(status, _) => *status,
            Fault::Broken(_) => StatusCode::INTERNAL_SERVER_ERROR,
        }
    }

    /// For whoever asked.
    pub fn words(&self) -> String {
        match self {
            Fault::NobodyYet { .. } => "Come in first.".to_owned(),
            Fault::Forbidden => "You may look at this, and an approver may do it.".to_owned(),
            Fault::NotOurs => {
                "This form was not made by a page of this session, or it is too old. Go back, load the page again and repeat it.".to_owned()
            }
            Fault::NotFound => "There is nothing here.".to_owned(),
            Fault::TooOften(_) => "Too many wrong passwords. Wait a while, then try again.".to_owned(),
            Fault::Refused(_, words) => words.clone(),
            Fault::Broken(_) => "Something went wrong here. The log of passferry tells what.".to_owned(),
        }
    }

    /// Tells the log of a defect.
    pub fn log(&self) {
        if let Fault::Broken(error) = self {
            tracing::error!("the review page could not answer: {error:#}");
        }
    }
}

#[derive(Template)]
#[template(path = "review/fault.html", config = "src/page/askama.toml")]
struct FaultPage<'a> {
    frame: Frame<'a>,
    words: String,
}

impl IntoResponse for Fault {
    fn into_response(self) -> Response {
        self.log();
        if let Fault::NobodyYet { back } = &self {
            let to = if back == "/" { "/login".to_owned() } else { format!("/login?back={}", encoded(back)) };
            return (StatusCode::SEE_OTHER, [(LOCATION, to)]).into_response();
        }
        let status = self.status();
        let title = if status == StatusCode::NOT_FOUND { "Not found" } else { "Not done" };
        let page = FaultPage { frame: Frame::bare(title), words: self.words() };
        let html = page.render().unwrap_or_else(|_| "not done".to_owned());
        match self {
            Fault::TooOften(seconds) => (status, [(RETRY_AFTER, seconds.to_string())], Html(html)).into_response(),
            _ => (status, Html(html)).into_response(),
        }
    }
}

/// A page.
pub fn page(template: &impl Template) -> Answer {
    Ok(Html(template.render()?).into_response())
}

/// What was posted is done; the browser goes on to look at it.
pub fn go_to(path: &str) -> Response {
    (StatusCode::SEE_OTHER, [(LOCATION, path.to_owned())]).into_response()
}

/// As a value in a query.
pub fn encoded(text: &str) -> String {
    url::form_urlencoded::byte_serialize(text.as_bytes()).collect()
}

/// Work that reads or writes where that may take its time, off the threads that serve.
pub async fn work<T: Send + 'static>(work: impl FnOnce() -> Result<T, Fault> + Send + 'static) -> Result<T, Fault> {
    tokio::task::spawn_blocking(work).await.unwrap_or_else(|error| Err(Fault::Broken(error.into())))
}

/// A fault, for programs.
pub fn told(fault: &Fault) -> Response {
    fault.log();
    let body = axum::Json(serde_json::json!({ "error": fault.words() }));
    match fault {
        Fault::NobodyYet { .. } => (fault.status(), [(WWW_AUTHENTICATE, "Bearer")], body).into_response(),
        _ => (fault.status(), body).into_response(),
    }
}
