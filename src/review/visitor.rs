//! Who a request comes from.

use axum::extract::{FromRequestParts, OptionalFromRequestParts};
use axum::http::request::Parts;

use super::answer::Fault;
use super::people::Role;
use super::session::{Key, Way};

/// Somebody who came in. The gate puts it on each request that it lets pass; a page that asks for it is for nobody else.
#[derive(Clone, Debug)]
pub struct Visitor {
    pub name: String,
    pub role: Role,
    pub came: Came,
}

/// How somebody came in.
#[derive(Clone, Debug)]
pub enum Came {
    Session { key: Key, way: Way, csrf: String },
    Token,
}

impl Visitor {
    pub fn is_approver(&self) -> bool {
        self.role >= Role::Approver
    }

    /// Fails for those who only look.
    pub fn must_decide(&self) -> Result<(), Fault> {
        if self.is_approver() { Ok(()) } else { Err(Fault::Forbidden) }
    }

    /// What forms send back.
    pub fn csrf(&self) -> &str {
        match &self.came {
            Came::Session { csrf, .. } => csrf,
            Came::Token => "",
        }
    }

    /// May they end their session here? Whoever a proxy names is named again by the next request.
    pub fn may_leave(&self) -> bool {
        matches!(self.came, Came::Session { way: Way::Password, .. })
    }

    /// Name of who decided, in the ledger and in reports, beside login names of commands.
    pub fn by(&self) -> String {
        match &self.came {
            Came::Session { .. } => format!("{} (review page)", self.name),
            Came::Token => format!("{} (API token)", self.name),
        }
    }
}

impl<S: Sync> FromRequestParts<S> for Visitor {
    type Rejection = Fault;

    async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<Visitor, Fault> {
        let back = parts.uri.path_and_query().map_or("/", |path| path.as_str());
        parts.extensions.get::<Visitor>().cloned().ok_or_else(|| Fault::NobodyYet { back: back.to_owned() })
    }
}

impl<S: Sync> OptionalFromRequestParts<S> for Visitor {
    type Rejection = Fault;

    async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<Option<Visitor>, Fault> {
        Ok(parts.extensions.get::<Visitor>().cloned())
    }
}
