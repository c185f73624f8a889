//! What a person decides: asked for a reason first, then noted for whoever leads. The page a decision is asked on shows what it is about,
//! and what is decided is what was shown: had it changed meanwhile, it is asked again.

use std::sync::Arc;

use askama::Template;
use axum::Form;
use axum::extract::{Path, State as At};
use axum::http::StatusCode;
use serde::Deserialize;

use super::Desk;
use super::answer::{Answer, Fault, go_to, page as show, work};
use super::parts::{Choice, Frame, Here, LETTERS_MAX};
use super::run::moves;
use super::visitor::Visitor;
use crate::decide::{self, Paused};
use crate::ledger::key::{Decision, Settlement};
use crate::ledger::run::WishKind;
use crate::ledger::{KeyNote, KeyState, Run};
use crate::outcome::Code;
use crate::page::words::{count, visible};
use crate::row::AddKey;
use crate::told::Rows;
use crate::told::shown::Pace;

/// Letters of a reason.
const REASON_MAX: usize = 2000;

/// A decision about a run.
#[derive(Clone, Copy, PartialEq, Eq)]
enum What {
    Word(WishKind),
    Retry,
}

impl What {
    fn parse(name: &str) -> Result<What, Fault> {
        Ok(match name {
            "approve" => What::Word(WishKind::Approve),
            "discard" => What::Word(WishKind::Discard),
            "stop" => What::Word(WishKind::Stop),
            "retry" => What::Retry,
            _ => return Err(Fault::NotFound),
        })
    }

    const fn title(self) -> &'static str {
        match self {
            What::Word(WishKind::Approve) => "Approve",
            What::Word(WishKind::Discard) => "Discard",
            What::Word(WishKind::Stop) => "Stop",
            What::Retry => "Try again",
        }
    }

    const fn follows(self) -> &'static str {
        match self {
            What::Word(WishKind::Approve) => "The file is checked again under today's configuration, then sent.",
            What::Word(WishKind::Discard) => "The file is put away unsent. It can be delivered again.",
            What::Word(WishKind::Stop) => {
                "Requests in flight are answered; the rest of its rows end not-attempted, and can be tried again."
            }
            What::Retry => {
                "The rows become a run of their own. Without a code: rows that were refused, not attempted, or whose pass was not found. \
                 Rejected rows fail again unless the schema, the mapping or the decision changed."
            }
        }
    }
}

/// One form for every decision.
#[derive(Template)]
#[template(path = "review/decide.html", config = "src/page/askama.toml")]
struct Asked<'a> {
    frame: Frame<'a>,
    action: String,
    back: String,
    about: String,
    follows: &'a str,
    evidence: Vec<String>,
    /// What is chosen among: name of the field, the choices, and whether one must be made.
    choices: Option<(&'static str, Vec<Choice>, bool)>,
    reason: bool,
    danger: bool,
    seen: String,
    button: &'a str,
}

#[derive(Deserialize)]
pub struct Given {
    #[serde(default)]
    reason: String,
    #[serde(default)]
    seen: String,
    #[serde(default)]
    choice: String,
}

impl Given {
    /// Every decision needs one.
    fn reason(&self) -> Result<&str, Fault> {
        checked_reason(&self.reason)
    }
}

/// A reason as it is kept. Fails where there is none.
pub fn checked_reason(reason: &str) -> Result<&str, Fault> {
    let reason = reason.trim();
    if reason.is_empty() {
        return Err(Fault::bad("Say why: the reason stands in the report and in the record of decisions."));
    }
    if reason.chars().count() > REASON_MAX {
        return Err(Fault::bad(format!("The reason is too long; at most {REASON_MAX} characters.")));
    }
    Ok(reason)
}

/// Digest of what a person sees of a run when they decide.
pub fn seen(run: &Run) -> String {
    let detail = &run.detail;
    let what = (run.state, &run.sha256, &detail.fingerprint, &detail.tally, &detail.verdicts, &detail.moves);
    crate::spool::sha256(serde_json::to_string(&what).unwrap_or_default().as_bytes())
}

fn about(run: &Run) -> String {
    format!("{} (run {}, feed {})", visible(&run.shown_name(), LETTERS_MAX), run.id, run.feed)
}

pub async fn ask(At(desk): At<Arc<Desk>>, visitor: Visitor, Path((id, decision)): Path<(String, String)>) -> Answer {
    let what = What::parse(&decision)?;
    visitor.must_decide()?;
    let shown = work(move || desk.shown(&id)).await?;
    let run = &shown.of;
    if let What::Word(word) = what {
        decide::may(run, word).map_err(anyhow::Error::from)?;
    }
    let evidence = run.detail.verdicts.iter().filter(|verdict| verdict.held);
    let evidence = evidence.map(|verdict| format!("{}: {}", verdict.guard, visible(&verdict.evidence, LETTERS_MAX)));
    let tally = run.detail.tally.0.iter().map(|(outcome, number)| format!("{} {outcome}", count(*number)));
    // What it would do is known of what is still to be done.
    let moves = moves(&shown).into_iter().filter(|_| !run.state.is_over()).map(|(number, words)| format!("{number} {words}"));
    let moves = moves.chain(shown.pace.as_ref().map(Pace::words));
    let codes = || {
        let codes = run.detail.problems.iter().map(|(code, number)| Choice::new(code, format!("{code} ({})", count(*number)), ""));
        std::iter::once(Choice::new("", "those that may succeed unchanged", "")).chain(codes).collect()
    };
    show(&Asked {
        frame: Frame::new(what.title(), &visitor, Here::Runs),
        action: format!("/runs/{}/{decision}", run.id),
        back: format!("/runs/{}", run.id),
        about: about(run),
        follows: what.follows(),
        evidence: evidence.chain(tally).chain(moves).collect(),
        choices: (what == What::Retry).then(|| ("Rows with the code", codes(), false)),
        reason: true,
        danger: !matches!(what, What::Word(WishKind::Approve) | What::Retry),
        seen: seen(run),
        button: what.title(),
    })
}

pub async fn decide(
    At(desk): At<Arc<Desk>>,
    visitor: Visitor,
    Path((id, decision)): Path<(String, String)>,
    Form(given): Form<Given>,
) -> Answer {
    let what = What::parse(&decision)?;
    let to = work(move || {
        let reason = given.reason()?;
        let code = Some(given.choice.as_str()).filter(|code| !code.is_empty());
        let code = code.map(|name| Code::parse(name).ok_or_else(|| Fault::bad(format!("There is no code {name:?}.")))).transpose()?;
        match what {
            What::Word(word) => desk.word(&visitor, &id, word, reason, Some(&given.seen)),
            What::Retry => {
                let choice = decide::Choice { lines: Vec::new(), codes: code.into_iter().collect() };
                desk.retry(&visitor, &id, &choice, reason).map(|retried| retried.run.id)
            }
        }
    });
    Ok(go_to(&format!("/runs/{}", to.await?)))
}

impl Desk {
    /// Notes a word about a run. With `seen`, only while the run is as whoever decides has seen it.
    pub fn word(&self, visitor: &Visitor, id: &str, word: WishKind, reason: &str, seen_as: Option<&str>) -> Result<String, Fault> {
        visitor.must_decide()?;
        let run = self.run(id)?;
        decide::may(&run, word).map_err(anyhow::Error::from)?;
        if word == WishKind::Approve && seen_as.is_some_and(|then| then != seen(&run)) {
            let words = "The run changed since you looked at it. Look again, then decide.".to_owned();
            return Err(Fault::Refused(StatusCode::CONFLICT, words));
        }
        let run = decide::word(&*self.ledger, id, word, &visitor.by(), Some(reason))?;
        self.counts.forget();
        tracing::info!(by = visitor.by(), run = run.id, reason, "{} on the review page", word.done());
        Ok(run.id)
    }

    pub fn retry(&self, visitor: &Visitor, id: &str, choice: &decide::Choice, reason: &str) -> Result<decide::Retried, Fault> {
        visitor.must_decide()?;
        let run = self.run(id)?;
        let by = format!("{}: {reason}", visitor.by());
        let retried = decide::retry(&self.config(), &*self.ledger, &run, choice, &by)?;
        self.counts.forget();
        tracing::info!(by = visitor.by(), run = retried.run.id, parent = run.id, rows = retried.rows, reason, "rows are tried again");
        Ok(retried)
    }

    pub fn settle(&self, visitor: &Visitor, key: &str, decision: Decision, reason: &str) -> Result<KeyNote, Fault> {
        visitor.must_decide()?;
        let note = decide::settle(&*self.ledger, key, decision, &visitor.by(), reason)?;
        self.counts.forget();
        tracing::info!(by = visitor.by(), run = note.run, key = %note.key, decision = decision.as_str(), reason, "an add is settled");
        Ok(note)
    }

    pub fn pause(&self, visitor: &Visitor, feed: &str, pause: bool, reason: &str) -> Result<Paused, Fault> {
        visitor.must_decide()?;
        let paused = decide::pause(&self.config(), &*self.ledger, feed, pause, &visitor.by(), Some(reason))?;
        self.counts.forget();
        tracing::info!(by = visitor.by(), feed, reason, "{}", if pause { "paused" } else { "goes on" });
        Ok(paused)
    }

    /// The pass that a row is about, where the copy of its file still says so.
    fn pass_of(&self, visitor: &Visitor, run: &Run, line: u64) -> Result<Option<String>, Fault> {
        let Some(row) = crate::pipeline::settle::row_of(&*self.ledger, &run.id, line)? else { return Ok(None) };
        let rows = Rows::of(&self.config(), &self.ledger, run, visitor.is_approver())?;
        Ok(super::rows::card(self, visitor, run, &rows, &row).map(|card| card.pass))
    }

    /// An add that is in doubt and that nobody has settled, by its key.
    fn doubt(&self, key: &str) -> Result<KeyNote, Fault> {
        let key = AddKey::parse(key).ok_or(Fault::NotFound)?;
        let note = self.ledger.keys(&[key])?.into_iter().flatten().next().ok_or(Fault::NotFound)?;
        if note.state != KeyState::InDoubt {
            return Err(Fault::Refused(StatusCode::CONFLICT, format!("This add is {}: there is nothing to settle.", note.state.as_str())));
        }
        let waiting = self.ledger.to_settle()?.into_iter().find(|settling| settling.is_about(&note.run, note.line, note.key));
        if let Some(Settlement { decision, by, reason, .. }) = waiting.map(|settling| settling.settlement) {
            let words = format!(
                "This add was settled {} by {by} ({}): that is not yet carried out, and is first.",
                decision.as_str(),
                visible(&reason, LETTERS_MAX)
            );
            return Err(Fault::Refused(StatusCode::CONFLICT, words));
        }
        Ok(note)
    }
}

pub async fn ask_to_settle(At(desk): At<Arc<Desk>>, visitor: Visitor, Path(key): Path<String>) -> Answer {
    visitor.must_decide()?;
    let (note, run, pass, visitor) = work(move || {
        let note = desk.doubt(&key)?;
        let run = desk.run(&note.run)?;
        let pass = desk.pass_of(&visitor, &run, note.line)?;
        Ok((note, run, pass, visitor))
    })
    .await?;
    let pass = pass.map(|pass| format!("pass {pass}"));
    let choices = [
        (Decision::Applied, "The platform has its effect"),
        (Decision::NotApplied, "The platform does not have it, and it shall not be sent"),
        (Decision::Resend, "The platform does not have it: send it again under the same key"),
    ];
    show(&Asked {
        frame: Frame::new("Settle", &visitor, Here::Runs),
        action: format!("/settle/{}", note.key),
        back: format!("/runs/{}/rows?outcome=in-doubt", run.id),
        about: format!("{}, line {} of {}", visible(&decide::add_words(&note), LETTERS_MAX), note.line, about(&run)),
        follows: "Look at the pass first. Later adds of the pass, which waited, are taken up.",
        evidence: pass.into_iter().chain(Some(visible(&note.evidence, LETTERS_MAX)).filter(|words| !words.is_empty())).collect(),
        choices: Some((
            "What is so",
            std::iter::once(Choice::new("", "Choose what you saw", ""))
                .chain(choices.map(|(decision, words)| Choice::new(decision.as_str(), words, "none")))
                .collect(),
            true,
        )),
        reason: true,
        danger: false,
        seen: String::new(),
        button: "Settle",
    })
}

pub async fn settle(At(desk): At<Arc<Desk>>, visitor: Visitor, Path(key): Path<String>, Form(given): Form<Given>) -> Answer {
    let note = work(move || {
        let all = [Decision::Applied, Decision::NotApplied, Decision::Resend];
        let decision = all.into_iter().find(|decision| decision.as_str() == given.choice);
        let decision = decision.ok_or_else(|| Fault::bad("Say what is so: applied, not applied, or to be sent again."))?;
        let reason = given.reason()?;
        desk.doubt(&key)?;
        desk.settle(&visitor, &key, decision, reason)
    });
    Ok(go_to(&format!("/runs/{}", note.await?.run)))
}

fn pauses(decision: &str) -> Result<bool, Fault> {
    match decision {
        "pause" => Ok(true),
        "resume" => Ok(false),
        _ => Err(Fault::NotFound),
    }
}

pub async fn ask_of_feed(At(desk): At<Arc<Desk>>, visitor: Visitor, Path((feed, decision)): Path<(String, String)>) -> Answer {
    let pause = pauses(&decision)?;
    visitor.must_decide()?;
    let config = desk.config();
    let feed = config.feeds.get(&feed).ok_or(Fault::NotFound)?;
    let (title, follows) = if pause {
        ("Pause", "No file of the feed is begun. Files are still noticed, in their order.")
    } else {
        ("Go on", "Files of the feed that wait are taken up.")
    };
    show(&Asked {
        frame: Frame::new(title, &visitor, Here::Overview),
        action: format!("/feeds/{}/{decision}", feed.name),
        back: "/".to_owned(),
        about: format!("feed {}", feed.name),
        follows,
        evidence: Vec::new(),
        choices: None,
        reason: true,
        danger: pause,
        seen: String::new(),
        button: title,
    })
}

pub async fn decide_of_feed(
    At(desk): At<Arc<Desk>>,
    visitor: Visitor,
    Path((feed, decision)): Path<(String, String)>,
    Form(given): Form<Given>,
) -> Answer {
    let pause = pauses(&decision)?;
    work(move || desk.pause(&visitor, &feed, pause, given.reason()?)).await?;
    Ok(go_to("/"))
}
