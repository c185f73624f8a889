//! What is told of a run: names, counts and codes. Its own words may quote cells, and are left out.

use chrono::{DateTime, Utc};

use crate::config::meant::alert::{Tell, Way};
use crate::ledger::{Run, State};
use crate::outcome::Outcome;
use crate::page::words::counted;
use crate::pipeline::report::json::needing_person;

use super::message::{Event, Message, Topic, plain};

/// Letters of a file's name in a title.
const NAME: usize = 80;

pub fn name(run: &Run) -> String {
    plain(&run.shown_name(), NAME)
}

/// The page of a run, where the way out has one.
pub fn page(way: &Way, run: &str) -> Option<String> {
    way.page.as_ref().map(|page| format!("{page}/runs/{run}"))
}

fn about(way: &Way, run: &Run, tell: Tell, event: Event, title: &str) -> Message {
    let mut message = Message::new(Topic::Told(tell), event, title);
    message.feed = Some(run.feed.clone());
    message.run = Some(run.id.clone());
    message.file = Some(plain(&run.shown_name(), 400));
    message.page = page(way, &run.id);
    let records = run.detail.facts.as_ref().map_or(run.detail.tally.total(), |facts| facts.records);
    message.counts.insert("records".into(), records);
    message.counts.extend(run.detail.tally.0.iter().map(|(outcome, &count)| (outcome.as_str().to_owned(), count)));
    message
}

/// Guards that hold it, for people.
pub fn guards(run: &Run) -> String {
    let guards: Vec<&str> = run.detail.verdicts.iter().filter(|verdict| verdict.held).map(|verdict| verdict.guard.as_str()).collect();
    guards.join(", ")
}

pub fn held(way: &Way, run: &Run, event: Event, since: DateTime<Utc>) -> Message {
    let still = if event == Event::Reminder { "is still held" } else { "is held" };
    let mut message = about(way, run, Tell::Held, event, &format!("{} {still}: {}", name(run), guards(run)));
    message.since = Some(since);
    let sent = if run.detail.may_have_sent() { "Some of it was sent before; the rest waits." } else { "Nothing of it was sent." };
    message.say("", [format!("{sent} It waits until somebody approves or discards it.")]);
    let id = &run.id;
    message.commands = vec![format!("passferry show {id}"), format!("passferry approve {id}"), format!("passferry discard {id}")];
    message
}

/// `rows` are in doubt now: fewer than when the run ended, where some were settled since.
pub fn in_doubt(way: &Way, run: &Run, rows: u64, event: Event) -> Message {
    let still = if event == Event::Reminder { "still in doubt" } else { "in doubt" };
    let mut message = about(way, run, Tell::InDoubt, event, &format!("{}: {} {still}", name(run), rows_of(rows)));
    message.counts.insert(Outcome::InDoubt.as_str().to_owned(), rows);
    message.say("", ["The platform may or may not have applied them; later changes of these passes wait.".to_owned()]);
    let id = &run.id;
    message.commands =
        vec![format!("passferry show {id} --outcome in-doubt"), format!("passferry settle {id}:LINE applied, not-applied or resend")];
    message
}

/// What is told of a run's end, to this way out.
pub fn ended(way: &Way, run: &Run, state: State) -> Vec<Message> {
    let mut messages = Vec::new();
    let raised = Event::Raised;
    if way.tell.contains(&Tell::Failed) && state == State::Failed {
        let code = run.detail.fault.as_ref().map(|fault| fault.code);
        let place = run.detail.fault.as_ref().and_then(|fault| fault.line).map(|line| format!(" at line {line}")).unwrap_or_default();
        let shown = code.map_or("", |code| code.as_str());
        let mut message = about(way, run, Tell::Failed, raised, &format!("{} failed: {shown}{place}", name(run)));
        if let Some(help) = code.map(crate::outcome::Code::explain) {
            message.say("", [help.cause.to_owned(), help.cure.to_owned()]);
        }
        message.commands = vec![format!("passferry show {}", run.id)];
        messages.push(message);
    }
    if way.tell.contains(&Tell::Failed) && state == State::Stopped {
        let left = run.detail.tally.get(Outcome::NotAttempted);
        let title = format!("{} was stopped before its end: {} not attempted", name(run), rows_of(left));
        let mut message = about(way, run, Tell::Failed, raised, &title);
        message.commands = vec![format!("passferry show {}", run.id), format!("passferry retry {}", run.id)];
        messages.push(message);
    }
    if let (Some(above), State::Done | State::DoneInDoubt, true) = (way.rejected_above, state, way.tell.contains(&Tell::Rejected)) {
        let (rejected, all) = (run.detail.tally.get(Outcome::Rejected), run.detail.tally.total());
        if rejected as f64 > above * all as f64 {
            let title = format!("{}: {rejected} of {all} rows rejected", name(run));
            let mut message = about(way, run, Tell::Rejected, raised, &title);
            let codes = run.detail.problems.iter().map(|(code, count)| format!("{code}: {count}"));
            message.say("Problems by code", codes);
            message.commands = vec![format!("passferry show {} --rows", run.id)];
            messages.push(message);
        }
    }
    messages
}

/// A run that is over, in one line of a digest.
pub fn line(run: &Run) -> String {
    let tally = &run.detail.tally;
    let mut words = vec![rows_of(tally.total())];
    words.extend([Outcome::Applied, Outcome::Created, Outcome::Unchanged].iter().filter_map(|outcome| {
        let count = tally.get(*outcome);
        (count > 0).then(|| format!("{count} {outcome}"))
    }));
    let waiting = needing_person(run);
    if waiting > 0 {
        words.push(format!("{waiting} need a person"));
    }
    format!("{} {} {} ({})", run.feed, name(run), run.state, words.join(", "))
}

pub fn rows_of(count: u64) -> String {
    counted(count, "row")
}
