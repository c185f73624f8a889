//! The same as JSON, for programs: what the page reads and does, by the same functions. `schemas/openapi.json` describes it.

use std::collections::BTreeMap;
use std::sync::Arc;

use axum::Json;
use axum::Router;
use axum::body::Bytes;
use axum::extract::{FromRequest, FromRequestParts, Path, Query, Request, State};
use axum::http::request::Parts;
use axum::http::{StatusCode, Uri};
use axum::response::{IntoResponse, Response};
use axum::routing::{get, post};
use schemars::JsonSchema;
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};

use super::answer::{Fault, told, work};
use super::card::Card;
use super::decisions::{checked_reason, seen};
use super::fix::{Corrected, Said, Typed};
use super::openapi::{Call, Document};
use super::run::Live;
use super::visitor::Visitor;
use super::{Desk, downloads, history, pass, rows};
use crate::decide::{Choice, Paused, Settled};
use crate::ledger::key::Decision;
use crate::ledger::run::WishKind;
use crate::outcome::Code;
use crate::told::explained::Explained;
use crate::told::shown::Shown;
use crate::told::status::{Status, gather};
use crate::told::{RowLine, Rows, RunLine};
use crate::watcher::somebody_leads;

/// A fault, as JSON.
struct ApiFault(Fault);

impl<F: Into<Fault>> From<F> for ApiFault {
    fn from(fault: F) -> ApiFault {
        ApiFault(fault.into())
    }
}

impl IntoResponse for ApiFault {
    fn into_response(self) -> Response {
        told(&self.0)
    }
}

type Told<T> = Result<Json<T>, ApiFault>;

/// What stands in the path.
struct At<T>(T);

impl<S: Send + Sync, T: DeserializeOwned + Send> FromRequestParts<S> for At<T> {
    type Rejection = ApiFault;

    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<At<T>, ApiFault> {
        let path = Path::from_request_parts(parts, state).await;
        path.map(|Path(path)| At(path)).map_err(|fault| ApiFault(Fault::bad(fault.body_text())))
    }
}

/// What is asked for behind the path.
struct Asked<T>(T);

impl<S: Send + Sync, T: DeserializeOwned> FromRequestParts<S> for Asked<T> {
    type Rejection = ApiFault;

    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Asked<T>, ApiFault> {
        let query = Query::from_request_parts(parts, state).await;
        query.map(|Query(query)| Asked(query)).map_err(|fault| ApiFault(Fault::bad(fault.body_text())))
    }
}

/// A body, not yet read.
struct Body(Bytes);

impl<S: Send + Sync> FromRequest<S> for Body {
    type Rejection = ApiFault;

    async fn from_request(request: Request, state: &S) -> Result<Body, ApiFault> {
        let bytes = Bytes::from_request(request, state).await;
        bytes.map(Body).map_err(|fault| ApiFault(Fault::Refused(fault.status(), fault.body_text())))
    }
}

/// There is nothing at this path.
pub async fn nothing(uri: Uri) -> Response {
    if uri.path().starts_with("/api/") { told(&Fault::NotFound) } else { Fault::NotFound.into_response() }
}

/// There is something at this path, for other methods.
pub async fn other_method(uri: Uri) -> Response {
    let fault = Fault::Refused(StatusCode::METHOD_NOT_ALLOWED, "Not by this method.".to_owned());
    if uri.path().starts_with("/api/") { told(&fault) } else { fault.into_response() }
}

/// What is sent, as JSON.
fn read<T: DeserializeOwned>(body: &Bytes) -> Result<T, Fault> {
    serde_json::from_slice(body).map_err(|error| Fault::bad(format!("The body is not what this call takes: {error}.")))
}

#[derive(Serialize, JsonSchema)]
struct RunList {
    runs: Vec<RunLine>,
    /// To be sent as `before` for older ones; absent at the end.
    #[serde(skip_serializing_if = "Option::is_none")]
    next: Option<u64>,
}

#[derive(Serialize, JsonSchema)]
struct RowList {
    rows: Vec<NumberedRow>,
    /// To be sent as `after` for further ones; absent at the end. There may be further ones although none came.
    #[serde(skip_serializing_if = "Option::is_none")]
    next: Option<String>,
}

#[derive(Serialize, JsonSchema)]
struct NumberedRow {
    /// Within its run.
    number: u64,
    #[serde(flatten)]
    row: RowLine,
}

#[derive(Serialize, JsonSchema)]
struct RowStory {
    number: u64,
    #[serde(flatten)]
    row: RowLine,
    /// Its cells, personal ones masked for viewers; absent where the copy of the file is gone.
    #[serde(skip_serializing_if = "Option::is_none")]
    cells: Option<Vec<NamedCell>>,
    /// What it would do to its pass, or did.
    #[serde(skip_serializing_if = "Option::is_none")]
    card: Option<Card>,
}

#[derive(Serialize, JsonSchema)]
struct NamedCell {
    column: String,
    cell: String,
}

#[derive(Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
struct Word {
    /// Why, for the report and the record of decisions.
    #[schemars(length(min = 1))]
    reason: String,
}

#[derive(Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
struct WordAboutRun {
    /// Why, for the report and the record of decisions.
    #[schemars(length(min = 1))]
    reason: String,
    /// `seen` of the run as it was looked at: an approval counts for nothing else.
    seen: Option<String>,
}

/// All that is known of a run.
#[derive(Serialize, JsonSchema)]
struct RunTold {
    #[serde(flatten)]
    shown: Shown,
    /// Stands for what an approval is about: sent back with it, it is refused if that is another by then.
    seen: String,
}

#[derive(Serialize, JsonSchema)]
struct WordNoted {
    run: String,
    asked: WishKind,
    by: String,
    /// Is somebody there to carry it out now?
    running: bool,
}

#[derive(Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
struct RetryWanted {
    #[schemars(length(min = 1))]
    reason: String,
    /// Rows that begin on these lines; all that fit when empty.
    #[serde(default)]
    lines: Vec<u64>,
    /// Rows with these codes. Without lines and codes: rows that were refused, not attempted, or whose pass was not found.
    #[serde(default)]
    codes: Vec<Code>,
}

#[derive(Serialize, JsonSchema)]
struct RetryNoted {
    /// The new run.
    run: String,
    parent: String,
    rows: u64,
    running: bool,
}

#[derive(Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
struct SettleWanted {
    /// The add's key, as rows tell it; or `RUN:LINE`.
    key: String,
    decision: Decision,
    /// What was seen.
    #[schemars(length(min = 1))]
    reason: String,
}

#[derive(Serialize, JsonSchema)]
struct PauseNoted {
    feed: String,
    paused: bool,
    /// It was so already.
    unchanged: bool,
}

#[derive(Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
struct PassWanted {
    /// External ID, or the platform's own.
    id: String,
}

#[derive(Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
struct Corrections {
    /// Rows with all their cells, in the order of columns.
    rows: Vec<Typed>,
}

#[derive(Serialize, JsonSchema)]
struct CorrectionSent {
    /// Its name in the inbox.
    file: String,
    rows: usize,
}

async fn status(State(desk): State<Arc<Desk>>, _: Visitor) -> Result<Response, ApiFault> {
    let config = desk.config();
    let status: Arc<Status> = work(move || Ok(desk.counts.status(|| gather(&config, &*desk.ledger))?)).await?;
    Ok(Json(&*status).into_response())
}

async fn runs(State(desk): State<Arc<Desk>>, _: Visitor, Asked(wanted): Asked<history::Wanted>) -> Told<RunList> {
    let search = wanted.search(&desk.config())?;
    let (runs, next) = work(move || history::found(&*desk.ledger, &search)).await?;
    Ok(Json(RunList { runs, next }))
}

async fn run(State(desk): State<Arc<Desk>>, _: Visitor, At(id): At<String>) -> Told<RunTold> {
    let shown = work(move || desk.shown(&id)).await?;
    Ok(Json(RunTold { seen: seen(&shown.of), shown }))
}

async fn live(State(desk): State<Arc<Desk>>, _: Visitor, At(id): At<String>) -> Told<Live> {
    Ok(Json(Live::of(&work(move || desk.shown(&id)).await?.of)))
}

async fn row_list(
    State(desk): State<Arc<Desk>>,
    visitor: Visitor,
    At(id): At<String>,
    Asked(wanted): Asked<rows::Wanted>,
) -> Told<RowList> {
    let found = work(move || {
        let run = desk.run(&id)?;
        rows::found(&desk, &run, &wanted, visitor.is_approver())
    });
    let (rows, next) = found.await?;
    let rows = rows.into_iter().map(|(number, row)| NumberedRow { number, row }).collect();
    Ok(Json(RowList { rows, next: next.map(rows::write_behind) }))
}

async fn row(State(desk): State<Arc<Desk>>, visitor: Visitor, At((id, number)): At<(String, u64)>) -> Told<RowStory> {
    let story = work(move || {
        let run = desk.run(&id)?;
        let row = desk.ledger.row(&run.id, number)?.ok_or(Fault::NotFound)?;
        let told = Rows::of(&desk.config(), &desk.ledger, &run, visitor.is_approver())?;
        let card = rows::card(&desk, &visitor, &run, &told, &row);
        let label = |index: usize| told.label(index).unwrap_or_default().to_owned();
        let named = told.cells(&row).map(|cells| cells.into_iter().enumerate());
        let cells = named.map(|cells| cells.map(|(index, cell)| NamedCell { column: label(index), cell }).collect());
        Ok(RowStory { number, row: told.line(row)?, cells, card })
    });
    Ok(Json(story.await?))
}

async fn word(desk: Arc<Desk>, visitor: Visitor, id: String, word: WishKind, body: Bytes) -> Told<WordNoted> {
    let noted = work(move || {
        let given: WordAboutRun = read(&body)?;
        let run = desk.word(&visitor, &id, word, reason(&given.reason)?, given.seen.as_deref())?;
        Ok(WordNoted { run, asked: word, by: visitor.by(), running: somebody_leads(&desk.config().state) })
    });
    Ok(Json(noted.await?))
}

fn reason(text: &str) -> Result<&str, Fault> {
    checked_reason(text)
}

async fn approve(State(desk): State<Arc<Desk>>, visitor: Visitor, At(id): At<String>, Body(body): Body) -> Told<WordNoted> {
    word(desk, visitor, id, WishKind::Approve, body).await
}

async fn discard(State(desk): State<Arc<Desk>>, visitor: Visitor, At(id): At<String>, Body(body): Body) -> Told<WordNoted> {
    word(desk, visitor, id, WishKind::Discard, body).await
}

async fn stop(State(desk): State<Arc<Desk>>, visitor: Visitor, At(id): At<String>, Body(body): Body) -> Told<WordNoted> {
    word(desk, visitor, id, WishKind::Stop, body).await
}

async fn retry(State(desk): State<Arc<Desk>>, visitor: Visitor, At(id): At<String>, Body(body): Body) -> Told<RetryNoted> {
    let noted = work(move || {
        let given: RetryWanted = read(&body)?;
        let choice = Choice { lines: given.lines, codes: given.codes };
        let retried = desk.retry(&visitor, &id, &choice, reason(&given.reason)?)?;
        Ok(RetryNoted { run: retried.run.id, parent: id, rows: retried.rows, running: somebody_leads(&desk.config().state) })
    });
    Ok(Json(noted.await?))
}

async fn settle(State(desk): State<Arc<Desk>>, visitor: Visitor, Body(body): Body) -> Told<Settled> {
    let noted = work(move || {
        let given: SettleWanted = read(&body)?;
        let note = desk.settle(&visitor, &given.key, given.decision, reason(&given.reason)?)?;
        let running = somebody_leads(&desk.config().state);
        Ok(Settled::of(&note, given.decision, visitor.by(), running))
    });
    Ok(Json(noted.await?))
}

async fn pauses(desk: Arc<Desk>, visitor: Visitor, feed: String, pause: bool, body: Bytes) -> Told<PauseNoted> {
    let noted = work(move || {
        let given: Word = read(&body)?;
        let paused = desk.pause(&visitor, &feed, pause, reason(&given.reason)?)?;
        Ok(PauseNoted { feed, paused: pause, unchanged: matches!(paused, Paused::Already(..) | Paused::WasNot) })
    });
    Ok(Json(noted.await?))
}

async fn pause(State(desk): State<Arc<Desk>>, visitor: Visitor, At(feed): At<String>, Body(body): Body) -> Told<PauseNoted> {
    pauses(desk, visitor, feed, true, body).await
}

async fn resume(State(desk): State<Arc<Desk>>, visitor: Visitor, At(feed): At<String>, Body(body): Body) -> Told<PauseNoted> {
    pauses(desk, visitor, feed, false, body).await
}

async fn find(State(desk): State<Arc<Desk>>, visitor: Visitor, Body(body): Body) -> Told<Vec<Explained>> {
    let found = work(move || {
        let given: PassWanted = read(&body)?;
        if given.id.len() > pass::ID_MAX {
            return Err(Fault::bad("That is too long for an identifier."));
        }
        Ok(pass::everywhere(&desk, &given.id, visitor.is_approver())?)
    });
    Ok(Json(found.await?))
}

async fn check(State(desk): State<Arc<Desk>>, visitor: Visitor, At(id): At<String>, Body(body): Body) -> Told<Said> {
    Ok(Json(work(move || desk.check_cells(&visitor, &id, &read(&body)?)).await?))
}

async fn correct(State(desk): State<Arc<Desk>>, visitor: Visitor, At(id): At<String>, Body(body): Body) -> Told<CorrectionSent> {
    let sent = work(move || {
        let given: Corrections = read(&body)?;
        let typed: BTreeMap<u64, Vec<String>> = given.rows.into_iter().map(|typed| (typed.number, typed.cells)).collect();
        match desk.correct(&visitor, &id, &typed)? {
            Corrected::Sent { name, rows } => Ok(CorrectionSent { file: name, rows }),
            Corrected::Wrong(words) => Err(Fault::Refused(StatusCode::UNPROCESSABLE_ENTITY, words)),
        }
    });
    Ok(Json(sent.await?))
}

async fn report(state: State<Arc<Desk>>, visitor: Visitor, At(path): At<(String, String)>) -> Result<Response, ApiFault> {
    downloads::report(state, visitor, Path(path)).await.map_err(ApiFault)
}

async fn describe() -> Json<serde_json::Value> {
    Json(api().1.finish())
}

/// Every call, served and described at once.
pub fn api() -> (Router<Arc<Desk>>, Document) {
    let mut document = Document::new();
    let mut router = Router::new();
    let mut add = |call: Call, handler| {
        router = std::mem::take(&mut router).route(&format!("/api/v1{}", call.path), handler);
        document.add(call);
    };
    add(Call::get("/status", "One screen: sources, feeds, what runs, what waits, what needs somebody").answers::<Status>(), get(status));
    add(Call::get("/runs", "Runs, newest first").query::<history::Wanted>().answers::<RunList>(), get(runs));
    add(Call::get("/runs/{run}", "All that is known of a run").answers::<RunTold>(), get(run));
    add(Call::get("/runs/{run}/live", "How far a run is").answers::<Live>(), get(live));
    add(Call::get("/runs/{run}/rows", "Rows of a run, page by page").query::<rows::Wanted>().answers::<RowList>(), get(row_list));
    add(
        Call::get("/runs/{run}/rows/{number}", "One row: its cells, its problems, what was done, its pass").answers::<RowStory>(),
        get(row),
    );
    add(
        Call::get("/runs/{run}/reports/{kind}", "A report, such as errors.csv (approvers), problems.csv or report.json")
            .faults(&["403", "409"]),
        get(report),
    );
    add(Call::post("/runs/{run}/approve", "Let a held file be applied").takes::<WordAboutRun>().answers::<WordNoted>(), post(approve));
    add(Call::post("/runs/{run}/discard", "Put a held file away unsent").takes::<WordAboutRun>().answers::<WordNoted>(), post(discard));
    add(Call::post("/runs/{run}/stop", "End a run that is being applied").takes::<WordAboutRun>().answers::<WordNoted>(), post(stop));
    add(Call::post("/runs/{run}/retry", "Try rows again, unchanged").takes::<RetryWanted>().answers::<RetryNoted>(), post(retry));
    add(Call::post("/settle", "Decide about an add in doubt").takes::<SettleWanted>().answers::<Settled>(), post(settle));
    add(Call::post("/feeds/{feed}/pause", "Begin no file of a feed").takes::<Word>().answers::<PauseNoted>(), post(pause));
    add(Call::post("/feeds/{feed}/resume", "Go on with a paused feed").takes::<Word>().answers::<PauseNoted>(), post(resume));
    let find_call = Call::post("/pass", "Every row that touched a pass, and what is known of its fields").for_viewers();
    add(find_call.takes::<PassWanted>().answers::<Vec<Explained>>(), post(find));
    add(Call::post("/runs/{run}/check", "Check a row's cells; nothing is kept").takes::<Typed>().answers::<Said>(), post(check));
    let correct_call = Call::post("/runs/{run}/corrections", "Send rows with other cells into the inbox, all of them right or none");
    add(correct_call.faults(&["422", "502"]).takes::<Corrections>().answers::<CorrectionSent>(), post(correct));
    add(Call::get("/openapi.json", "This document"), get(describe));
    (router, document)
}

#[cfg(test)]
mod tests {
    #[test]
    fn the_document_in_the_repository_is_fresh() {
        let path = concat!(env!("CARGO_MANIFEST_DIR"), "/schemas/openapi.json");
        let fresh = serde_json::to_string_pretty(&super::api().1.finish()).unwrap() + "\n";
        if std::env::var_os("UPDATE_SCHEMAS").is_some() {
            std::fs::write(path, &fresh).unwrap();
        }
        let stored = std::fs::read_to_string(path).unwrap_or_default();
        assert!(stored == fresh, "schemas/openapi.json is old; run the tests once with UPDATE_SCHEMAS=1");
    }
}
