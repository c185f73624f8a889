//! The listener of `run`: `/metrics`, `/healthz` and `/readyz`, without a log-in, for this machine alone unless the configuration says
//! otherwise.

use std::net::TcpListener;
use std::sync::Arc;
use std::thread::JoinHandle;
use std::time::Duration;

use anyhow::Context;
use axum::Router;
use axum::extract::State;
use axum::http::StatusCode;
use axum::http::header::CONTENT_TYPE;
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use tokio::sync::watch;

use super::{Board, health};
use crate::config::meant::Metrics;
use crate::listening::listen_at;

/// The text format's own name (<https://prometheus.io/docs/instrumenting/exposition_formats>).
const FORMAT: &str = "text/plain; version=0.0.4; charset=utf-8";
/// Who asks waits no longer for the ledger.
const PATIENCE: Duration = Duration::from_secs(5);
/// Calls in hand are given this long at the end.
const GRACE: Duration = Duration::from_millis(500);

/// What listens, not yet begun.
type Begin = Box<dyn FnOnce() -> std::io::Result<JoinHandle<()>>>;

/// Answers on a thread of its own, so that it answers while everything else hangs. Dropping it ends that.
pub struct Service {
    board: Arc<Board>,
    settings: Option<Metrics>,
    listener: Option<TcpListener>,
    begin: Option<Begin>,
    end: watch::Sender<bool>,
    thread: Option<JoinHandle<()>>,
}

impl Service {
    /// Listens where the settings say; nowhere without settings. Fails when the address cannot be had.
    pub fn start(board: &Arc<Board>, settings: Option<&Metrics>) -> anyhow::Result<Service> {
        let mut service = Service::ready(board, settings, None)?;
        service.begin()?;
        Ok(service)
    }

    /// What would follow under other settings: it has its address, and answers nobody yet. None where nothing changes.
    pub fn prepare(&self, settings: Option<&Metrics>) -> anyhow::Result<Option<Service>> {
        if settings == self.settings.as_ref() {
            return Ok(None);
        }
        let same = self.settings.as_ref().zip(settings).is_some_and(|(had, wanted)| had.listen == wanted.listen);
        Service::ready(&self.board, settings, self.listener.as_ref().filter(|_| same)).map(Some)
    }

    /// Goes on as this one.
    pub fn take_up(&mut self, next: Service) -> anyhow::Result<()> {
        *self = next;
        self.begin()
    }

    fn ready(board: &Arc<Board>, settings: Option<&Metrics>, had: Option<&TcpListener>) -> anyhow::Result<Service> {
        let (end, ended) = watch::channel(false);
        let (listener, begin) = settings.map(|settings| listen(board, settings, had, ended)).transpose()?.unzip();
        Ok(Service { board: Arc::clone(board), settings: settings.cloned(), listener, begin, end, thread: None })
    }

    fn begin(&mut self) -> anyhow::Result<()> {
        self.thread = self.begin.take().map(|begin| begin()).transpose().context("cannot start the listener for metrics")?;
        Ok(())
    }
}

impl Drop for Service {
    fn drop(&mut self) {
        self.end.send_replace(true);
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}

fn listen(
    board: &Arc<Board>,
    settings: &Metrics,
    had: Option<&TcpListener>,
    ended: watch::Receiver<bool>,
) -> anyhow::Result<(TcpListener, Begin)> {
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(1)
        .max_blocking_threads(4)
        .thread_name("metrics")
        .enable_all()
        .build()
        .context("cannot start the listener for metrics")?;
    let cannot = || format!("metrics.listen: cannot listen at {}; free it, or write another address", settings.listen);
    let kept = listen_at(settings.listen, had).with_context(cannot)?;
    let listener = {
        let _inside = runtime.enter();
        tokio::net::TcpListener::from_std(kept.try_clone().with_context(cannot)?).with_context(cannot)?
    };
    let address = listener.local_addr().unwrap_or(settings.listen);
    let stale_after = settings.stale_after;
    let router = Router::new()
        .route("/metrics", get(numbers))
        .route("/healthz", get(alive))
        .route("/readyz", get(move |board| ready(board, stale_after)))
        .with_state(Arc::clone(board));
    let serve = move || {
        let mut over = ended.clone();
        let over = async move { drop(over.wait_for(|ended| *ended).await) };
        runtime.spawn(async move {
            if let Err(error) = axum::serve(listener, router).with_graceful_shutdown(over).await {
                tracing::error!("metrics are told no more: {error}");
            }
        });
        let mut ended = ended;
        runtime.block_on(async { drop(ended.wait_for(|ended| *ended).await) });
        runtime.shutdown_timeout(GRACE);
    };
    let begin = move || {
        let thread = std::thread::Builder::new().name("metrics".into()).spawn(serve)?;
        tracing::info!(%address, "metrics, health and readiness are told");
        Ok(thread)
    };
    Ok((kept, Box::new(begin)))
}

/// Does what may wait for the disk. None when it takes too long.
async fn patiently<T: Send + 'static>(work: impl FnOnce() -> T + Send + 'static) -> Option<T> {
    tokio::time::timeout(PATIENCE, tokio::task::spawn_blocking(work)).await.ok()?.ok()
}

async fn numbers(State(board): State<Arc<Board>>) -> Response {
    match patiently(move || board.families().render()).await {
        Some(text) => ([(CONTENT_TYPE, FORMAT)], text).into_response(),
        None => (StatusCode::SERVICE_UNAVAILABLE, "the ledger does not answer in time\n").into_response(),
    }
}

async fn alive(State(board): State<Arc<Board>>) -> Response {
    match health::dead(&board) {
        None => "alive\n".into_response(),
        Some(words) => (StatusCode::SERVICE_UNAVAILABLE, words + "\n").into_response(),
    }
}

async fn ready(State(board): State<Arc<Board>>, stale_after: Duration) -> Response {
    let faults = patiently(move || health::unready(&board, stale_after)).await;
    let faults = faults.unwrap_or_else(|| vec!["the ledger does not answer in time".to_owned()]);
    if faults.is_empty() {
        return "ready\n".into_response();
    }
    let words: Vec<String> = faults.iter().map(|fault| crate::platform::for_log(fault)).collect();
    (StatusCode::SERVICE_UNAVAILABLE, words.join("\n") + "\n").into_response()
}
