//! Every row that touched a pass, and what is known of its fields. An identifier may be personal: it is sent as a form, so that it stands
//! in no address, no history and no log.

use std::sync::Arc;

use askama::Template;
use axum::Form;
use axum::extract::State as At;
use serde::Deserialize;

use super::Desk;
use super::answer::{Answer, page as show, work};
use super::parts::{Frame, Here, LETTERS_MAX, zone};
use super::visitor::Visitor;
use crate::config::meant::Config;
use crate::outcome::Outcome;
use crate::page::words::{Instant, Tone, outcome_tone, visible};
use crate::told::explained::{Explained, explain};

/// Rows that the page shows of a pass.
const ROWS: u64 = 50;
/// Bytes of an identifier.
pub const ID_MAX: usize = 4096;

#[derive(Template)]
#[template(path = "review/pass.html", config = "src/page/askama.toml")]
struct PassPage<'a> {
    frame: Frame<'a>,
    id: String,
    asked: bool,
    accounts: Vec<Account>,
}

/// What is known of it at one platform.
struct Account {
    platform: String,
    baseline: Vec<(String, String, String)>,
    rows: Vec<Touch>,
}

struct Touch {
    run: String,
    file: String,
    line: u64,
    number: u64,
    outcome: &'static str,
    tone: Tone,
    at: Instant,
    words: Vec<String>,
}

#[derive(Deserialize)]
pub struct Given {
    id: String,
}

pub async fn page(visitor: Visitor) -> Answer {
    show(&PassPage { frame: Frame::new("Find a pass", &visitor, Here::Pass), id: String::new(), asked: false, accounts: Vec::new() })
}

/// What is known of a pass at every platform that knows something.
pub fn everywhere(desk: &Desk, id: &str, show_personal: bool) -> anyhow::Result<Vec<Explained>> {
    let config = desk.config();
    let all = config.platforms.keys().map(|platform| explain(&config, &desk.ledger, platform, id, ROWS, show_personal));
    let mut all = all.collect::<anyhow::Result<Vec<_>>>()?;
    all.retain(|explained| !explained.rows.is_empty() || !explained.baseline.is_empty());
    Ok(all)
}

pub async fn find(At(desk): At<Arc<Desk>>, visitor: Visitor, Form(given): Form<Given>) -> Answer {
    if given.id.len() > ID_MAX {
        return Err(super::answer::Fault::bad("That is too long for an identifier."));
    }
    let (config, id, approver) = (desk.config(), given.id.trim().to_owned(), visitor.is_approver());
    let found = {
        let id = id.clone();
        work(move || Ok(everywhere(&desk, &id, approver)?)).await?
    };
    show(&PassPage {
        frame: Frame::new("Find a pass", &visitor, Here::Pass),
        id: visible(&id, LETTERS_MAX),
        asked: true,
        accounts: found.iter().map(|explained| Account::of(explained, &config)).collect(),
    })
}

impl Account {
    fn of(explained: &Explained, config: &Config) -> Account {
        let known =
            explained.baseline.iter().map(|known| (visible(&known.field, 80), visible(&known.value, LETTERS_MAX), known.sent_on.clone()));
        let rows = explained.rows.iter().map(|touched| Touch {
            run: touched.row.run.clone(),
            file: visible(&touched.file, LETTERS_MAX),
            line: touched.row.line,
            number: touched.number,
            outcome: touched.row.outcome,
            tone: Outcome::parse(touched.row.outcome).map_or(Tone::Plain, outcome_tone),
            at: Instant::new(touched.at, zone(config, &touched.feed)),
            words: touched.row.words().iter().map(|words| visible(words, LETTERS_MAX)).collect(),
        });
        Account { platform: explained.platform.clone(), baseline: known.collect(), rows: rows.collect() }
    }
}
