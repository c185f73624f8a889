//! Reports to take home. They are asked for by run and kind, never by a name or a path, and built anew from the ledger and the copy of the
//! file: where they were published they may have been moved, or be out of reach.

use std::sync::Arc;

use axum::body::Body;
use axum::extract::{Path, State as At};
use axum::http::header::{CONTENT_DISPOSITION, CONTENT_TYPE};
use axum::response::IntoResponse;
use futures_util::StreamExt;
use tokio::io::AsyncReadExt;

use super::Desk;
use super::answer::{Answer, Fault, work};
use super::visitor::Visitor;
use crate::ledger::{Run, State};
use crate::pipeline::decode::Dialect;
use crate::pipeline::hand::FileInHand;
use crate::pipeline::looking::Looking;
use crate::pipeline::report;
use crate::spool::Spool;
use crate::told::names;

/// A report that a run has.
pub struct Kind {
    /// Its ending, which is its address as well.
    pub ending: &'static str,
    pub words: &'static str,
}

/// Ending, what it is, its type, and whether it shows whole rows.
const KINDS: [(&str, &str, &str, bool); 5] = [
    ("errors.csv", "rows to correct", "text/csv", true),
    ("errors.xlsx", "rows to correct, as a workbook", "application/vnd.openxmlformats-officedocument.spreadsheetml.sheet", true),
    ("problems.csv", "problems, one a line", "text/csv", false),
    ("report.html", "the whole report, for people", "text/html; charset=utf-8", false),
    ("report.json", "the whole report, for programs", "application/json", false),
];

/// Reports that this visitor may have of a run.
pub fn kinds(run: &Run, visitor: &Visitor) -> Vec<Kind> {
    let written = |ending: &str| run.detail.reports.iter().any(|report| report.name.trim_end_matches(".pgp").ends_with(ending));
    // Of a held run the names are not kept: its last report has names of its own.
    let built = |ending: &str| match ending {
        "report.html" | "report.json" => true,
        "errors.xlsx" => is_readable(run) && run.detail.dialect.as_ref().is_some_and(|dialect| Dialect::of(dialect).is_sheet()),
        _ => is_readable(run),
    };
    let there = |ending: &str| if run.state == State::Held { built(ending) } else { written(ending) };
    let fitting = KINDS.iter().filter(|(ending, _, _, rows)| there(ending) && (!rows || visitor.is_approver()));
    fitting.map(|(ending, words, ..)| Kind { ending, words }).collect()
}

/// Has the run rows that a report can show?
fn is_readable(run: &Run) -> bool {
    let detail = &run.detail;
    detail.fault.is_none() && detail.facts.is_some() && !detail.nothing_new && run.sha256.is_some()
}

/// Bytes of a report that are read at a time.
const PIECE: usize = 64 << 10;

pub async fn report(At(desk): At<Arc<Desk>>, visitor: Visitor, Path((id, kind)): Path<(String, String)>) -> Answer {
    let (ending, _, mime, rows) = KINDS.into_iter().find(|(ending, ..)| *ending == kind).ok_or(Fault::NotFound)?;
    if rows {
        // Rows as they came, personal columns with the others.
        visitor.must_decide()?;
    }
    let one_at_a_time = Arc::clone(&desk.building).acquire_owned().await.map_err(|error| Fault::Broken(error.into()))?;
    let (file, name, id) = work(move || {
        // Held until it is built, even where nobody waits for it any more.
        let _one_at_a_time = one_at_a_time;
        let run = desk.run(&id)?;
        let (built, ending) = build(&desk, &run, ending)?.ok_or(Fault::NotFound)?;
        Ok((built, download_name(&run, &ending), run.id))
    })
    .await?;
    tracing::info!(by = visitor.by(), run = id, report = ending, "a report is downloaded");
    let pieces = futures_util::stream::unfold(Some(tokio::fs::File::from_std(file)), |file| async move {
        let mut file = file?;
        let mut piece = vec![0; PIECE];
        match file.read(&mut piece).await {
            Ok(0) => None,
            Ok(read) => {
                piece.truncate(read);
                Some((Ok(piece), Some(file)))
            }
            Err(error) => Some((Err(error), None)),
        }
    });
    let is_sealed = std::path::Path::new(&name).extension().is_some_and(|ending| ending == "pgp");
    let mime = if is_sealed { "application/octet-stream" } else { mime };
    let headers = [(CONTENT_TYPE, mime.to_owned()), (CONTENT_DISPOSITION, format!("attachment; filename=\"{name}\""))];
    Ok((headers, Body::from_stream(pieces.boxed())).into_response())
}

/// Builds the reports of a run in a place of their own and opens one of them, encrypted where the feed's are; the place is gone when it
/// was read. The file and its ending.
fn build(desk: &Desk, run: &Run, ending: &str) -> Result<Option<(std::fs::File, String)>, Fault> {
    if !(run.state.is_over() || run.state == State::Held) {
        return Ok(None);
    }
    let config = desk.config();
    let feed = config.feeds.get(&run.feed).ok_or_else(|| {
        let words = format!("Feed {} is no longer in the configuration; its reports lie where they were published.", run.feed);
        Fault::Refused(axum::http::StatusCode::CONFLICT, words)
    })?;
    let looking = Looking::new(desk.config(), Arc::clone(&desk.ledger))?;
    let hand = if is_readable(run) && ending != "report.json" {
        match FileInHand::open(&looking, run) {
            Ok(Ok(hand)) => Some(hand),
            Ok(Err(fault)) => return Err(Fault::Refused(axum::http::StatusCode::CONFLICT, fault.message)),
            Err(error) => return Err(Fault::Refused(axum::http::StatusCode::CONFLICT, format!("{error:#}"))),
        }
    } else {
        None
    };
    // What a stop leaves there is swept by whoever leads next.
    let kept = Spool::open(&desk.config().state).map_err(anyhow::Error::from)?;
    let place = tempfile::tempdir_in(kept.folder()).map_err(anyhow::Error::from)?;
    let spool = Spool::open(place.path()).map_err(anyhow::Error::from)?;
    report::build(run, feed, &names(run), &*desk.ledger, hand.as_ref().map(FileInHand::rows).as_ref(), &spool)?;
    for ending in [ending.to_owned(), format!("{ending}.pgp")] {
        match std::fs::File::open(spool.report(&run.id, &ending)) {
            Ok(file) => return Ok(Some((file, ending))),
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => {}
            Err(error) => return Err(anyhow::Error::from(error).into()),
        }
    }
    Ok(None)
}

/// Of a stranger's name only what no header and no file system minds.
fn download_name(run: &Run, ending: &str) -> String {
    let stem = run.shown_name();
    let plain: String = stem
        .chars()
        .map(|letter| if letter.is_ascii_alphanumeric() || matches!(letter, '-' | '_') { letter } else { '_' })
        .take(80)
        .collect();
    format!("{plain}-{}.{ending}", run.id)
}
