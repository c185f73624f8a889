//! The server: listens, and ends when it is told to.

use std::net::SocketAddr;
use std::sync::Arc;
use std::thread::JoinHandle;
use std::time::Duration;

use anyhow::Context;
use axum::Router;
use axum::extract::DefaultBodyLimit;
use axum::middleware::from_fn_with_state;
use axum::routing::{get, post};
use tokio::sync::watch;

use super::listener::{Bounded, Peer};
use super::{Desk, assets, decisions, downloads, fix, gate, history, login, overview, pass, rows, run};
use crate::config::meant::Config;
use crate::config::meant::review::Review;

/// Requests in hand are given this long at the end.
const GRACE: Duration = Duration::from_secs(2);

/// The page of one configuration, on threads of its own. Dropping it ends it.
pub struct Server {
    settings: Arc<Review>,
    desk: Arc<Desk>,
    end: watch::Sender<bool>,
    thread: Option<JoinHandle<()>>,
    /// Where it listens: the port that the system chose where the configuration says 0.
    pub address: SocketAddr,
}

impl Server {
    /// Starts the page, where the configuration has one. Fails when the address cannot be listened at or the file of people cannot be read.
    pub fn start(config: &Arc<Config>) -> anyhow::Result<Option<Server>> {
        config.review.as_ref().map(|settings| Server::open(config, settings)).transpose()
    }

    fn open(config: &Arc<Config>, settings: &Arc<Review>) -> anyhow::Result<Server> {
        let runtime = tokio::runtime::Builder::new_multi_thread()
            .worker_threads(1)
            .max_blocking_threads(8)
            .thread_name("review")
            .enable_all()
            .build()?;
        let listener = runtime.block_on(tokio::net::TcpListener::bind(settings.listen));
        let listener = listener.with_context(|| format!("[review]: cannot listen at {}", settings.listen))?;
        let address = listener.local_addr()?;
        let desk = Desk::new(Arc::clone(config), Arc::clone(settings), address.port()).context("[review]")?;
        let desk = Arc::new(desk);
        let (end, mut ended) = watch::channel(false);
        let router = router(Arc::clone(&desk));
        let thread = std::thread::Builder::new().name("review".into()).spawn(move || {
            let mut told = ended.clone();
            let over = async move { drop(told.wait_for(|ended| *ended).await) };
            runtime.spawn(async move {
                let service = router.into_make_service_with_connect_info::<Peer>();
                if let Err(error) = axum::serve(Bounded::new(listener), service).with_graceful_shutdown(over).await {
                    tracing::error!("the review page is served no more: {error}");
                }
            });
            runtime.block_on(async { drop(ended.wait_for(|ended| *ended).await) });
            runtime.shutdown_timeout(GRACE);
        })?;
        tracing::info!(%address, "the review page is served");
        Ok(Server { settings: Arc::clone(settings), desk, end, thread: Some(thread), address })
    }

    /// The same for another configuration. People stay in unless the page itself is configured otherwise.
    pub fn follow(server: &mut Option<Server>, config: &Arc<Config>) -> anyhow::Result<()> {
        match (&server, &config.review) {
            (Some(running), Some(settings)) if running.settings == *settings => {
                running.desk.follow(Arc::clone(config));
                Ok(())
            }
            _ => {
                // The address must be free first.
                drop(server.take());
                *server = Server::start(config)?;
                Ok(())
            }
        }
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        self.end.send_replace(true);
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}

fn router(desk: Arc<Desk>) -> Router {
    Router::new()
        .route("/", get(overview::page))
        .route("/login", get(login::page).post(login::come_in))
        .route("/logout", post(login::leave))
        .route("/assets/style.css", get(assets::style))
        .route("/assets/page.js", get(assets::script))
        .route("/assets/icon.svg", get(assets::icon))
        .route("/runs", get(history::page))
        .route("/runs/{run}", get(run::page))
        .route("/runs/{run}/live", get(run::live))
        .route("/runs/{run}/rows", get(rows::page))
        .route("/runs/{run}/rows/{number}", get(rows::story))
        .route("/runs/{run}/reports/{kind}", get(downloads::report))
        .route("/runs/{run}/fix", get(fix::page).post(fix::submit))
        .route("/runs/{run}/check", post(fix::check))
        .route("/runs/{run}/{decision}", get(decisions::ask).post(decisions::decide))
        .route("/pass", get(pass::page).post(pass::find))
        .route("/settle/{key}", get(decisions::ask_to_settle).post(decisions::settle))
        .route("/feeds/{feed}/{decision}", get(decisions::ask_of_feed).post(decisions::decide_of_feed))
        .merge(super::api::api().0)
        .fallback(super::api::nothing)
        .method_not_allowed_fallback(super::api::other_method)
        .layer(DefaultBodyLimit::max(gate::BODY_MAX))
        .layer(from_fn_with_state(Arc::clone(&desk), gate::gate))
        .with_state(desk)
}
