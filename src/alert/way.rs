//! A way out, opened.

mod mail;
mod post;
mod slack;
mod webhook;

use std::sync::Arc;
use std::time::Duration;

use crate::config::meant::alert::{Out, Way};
use crate::ledger::telling::Letter;
use crate::stop::Stop;

use super::message::Message;
use post::Post;

/// Why a message was not delivered.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Fault {
    /// This one was refused; another may well be taken.
    Refused(String),
    /// Nothing gets through, for as long as was asked for.
    Later(String, Option<Duration>),
    /// The program is being stopped.
    Stopped,
}

impl Fault {
    fn later(words: impl std::fmt::Display) -> Fault {
        Fault::Later(words.to_string(), None)
    }

    pub fn words(&self) -> &str {
        match self {
            Fault::Refused(words) | Fault::Later(words, _) => words,
            Fault::Stopped => "the program is being stopped",
        }
    }
}

/// Delivers messages. Secrets are read at each try.
pub struct Outlet {
    way: Arc<Way>,
    /// None for mail.
    post: Option<Post>,
    done: mail::Done,
}

impl Outlet {
    pub fn open(way: Arc<Way>) -> anyhow::Result<Outlet> {
        let post = match &way.out {
            Out::Webhook { ca_file, .. } | Out::Slack { ca_file, .. } => Some(Post::new(way.timeout, ca_file.as_deref())?),
            Out::Mail(_) => None,
        };
        Ok(Outlet { way, post, done: mail::Done::default() })
    }

    pub fn send(&self, letter: &Letter, message: &Message, stop: &Stop) -> Result<(), Fault> {
        match (&self.way.out, &self.post) {
            (Out::Webhook { url, secret, .. }, Some(post)) => webhook::send(post, url, secret, letter, message, stop),
            (Out::Slack { url, .. }, Some(post)) => slack::send(post, url, &self.way.prefix, message, stop),
            (Out::Mail(mail), _) => mail::send(&self.way, mail, letter, message, &self.done),
            _ => Err(Fault::later("the way out has no client")),
        }
    }

    /// Tries as much as can be tried without sending. None where nothing can.
    pub fn reach(&self) -> Option<Result<String, Fault>> {
        match &self.way.out {
            Out::Mail(mail) => Some(mail::reach(&self.way, mail)),
            Out::Webhook { .. } | Out::Slack { .. } => None,
        }
    }
}
