//! Who carries a request: HTTP, or the desk of passes that are hosted in this process. Nobody else knows which.

use reqwest::header::HeaderMap;

use super::client::{Client, Lost, Raw};
use crate::apple::desk::Desk;
use crate::config::meant;
use crate::platform::{Account, Limits, Request};

pub(super) enum Carrier {
    Http(Box<Client>),
    Desk(Box<Desk>),
}

impl Carrier {
    /// Fails when the CA file is unreadable, the address is no URL, TLS cannot be set up, or the desk's store cannot be opened.
    pub(super) fn open(account: &Account, settings: &meant::Platform, limits: &Limits) -> anyhow::Result<Carrier> {
        Ok(match account.local() {
            Some(local) => Carrier::Desk(Box::new(Desk::open(local)?)),
            None => Carrier::Http(Box::new(Client::new(account.base_url(), limits, settings.ca_file.as_deref())?)),
        })
    }

    /// Sends once and waits for the whole answer.
    pub(super) async fn send(&self, request: &Request, headers: HeaderMap) -> Result<Raw, Lost> {
        match self {
            Carrier::Http(client) => client.send(request, headers).await,
            Carrier::Desk(desk) => {
                let (status, body) = desk.answer(request.body.as_deref().unwrap_or_default()).await;
                Ok(Raw { status, headers: HeaderMap::new(), body })
            }
        }
    }

    /// Sends a form to an address of its own: how a token is asked for. No desk gives any.
    pub(super) async fn send_form(&self, address: &str, headers: HeaderMap, form: String) -> Result<Raw, Lost> {
        match self {
            Carrier::Http(client) => client.send_form(address, headers, form).await,
            Carrier::Desk(_) => Err(Lost::Unreachable("a desk gives no tokens".to_owned())),
        }
    }
}
