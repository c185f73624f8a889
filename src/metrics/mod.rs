//! What a monitoring system asks: numbers in Prometheus' text format, whether the process is alive, and whether it is ready.
//!
//! Two sources. What happens in the process is counted where it happens ([`count`]). What the ledger or the disk knows is read there when
//! somebody asks ([`look`]), so that it is right after a restart too. [`names`] lists every family with its unit and its labels; a label
//! is a name of the configuration or one of a fixed set of words, never an identifier, a file name or a cell.
//!
//! `run` answers on a listener of its own ([`service`]): the review page asks for a password, which collectors of numbers do not have.
//! `once` leaves a file for `node_exporter`'s textfile collector ([`file`]).

pub mod count;
pub mod file;
mod hands;
mod health;
mod look;
pub mod names;
pub mod service;
mod text;

use std::sync::{Arc, Mutex, OnceLock, PoisonError, Weak};
use std::time::{Duration, Instant};

use metrics_exporter_prometheus::{Matcher, PrometheusBuilder, PrometheusHandle};

use crate::pipeline::{Progress, Road};
use crate::service::Heart;
pub use hands::Hands;
use look::Figures;
use text::Families;

/// What was read of the ledger and the disk is shown again for this long.
const FRESH: Duration = Duration::from_secs(2);

/// Upper bounds of a request's duration, in seconds: from a platform next door to one at its deadline.
const REQUEST_SECONDS: &[f64] = &[0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0];
/// Upper bounds of a station's duration, in seconds: a small file ends at once, a million changed passes take a day.
const STATION_SECONDS: &[f64] = &[0.1, 0.5, 1.0, 5.0, 15.0, 60.0, 300.0, 900.0, 3600.0, 14_400.0, 86_400.0];

static RECORDER: OnceLock<PrometheusHandle> = OnceLock::new();

/// Begins to count, for the whole process. What is counted before is lost; called again it does nothing.
pub fn begin() -> anyhow::Result<()> {
    if RECORDER.get().is_some() {
        return Ok(());
    }
    let recorder = PrometheusBuilder::new()
        .set_buckets_for_metric(Matcher::Full(names::REQUEST_SECONDS.to_owned()), REQUEST_SECONDS)?
        .set_buckets_for_metric(Matcher::Full(names::STATION_SECONDS.to_owned()), STATION_SECONDS)?
        .build_recorder();
    if RECORDER.set(recorder.handle()).is_ok() {
        metrics::set_global_recorder(recorder).map_err(|error| anyhow::anyhow!("cannot begin to count: {error}"))?;
        metrics::gauge!(names::START).set(look::since_1970());
    }
    Ok(())
}

/// Durations are kept one by one until they are put into their buckets: called now and then, so that they do not grow.
pub fn upkeep() {
    if let Some(recorder) = RECORDER.get() {
        recorder.run_upkeep();
    }
}

/// What everybody who asks is answered from.
pub struct Board {
    /// The road of today's configuration. Not kept alive by who looks at it.
    road: Mutex<Weak<Road>>,
    pub heart: Heart,
    hands: Arc<Hands>,
    looked: Mutex<Option<(Instant, Arc<Figures>)>>,
}

impl Board {
    /// `progress` goes on being told; what the board shows of runs under way is taken from what it is told.
    pub fn new(progress: Arc<dyn Progress>) -> Arc<Board> {
        Arc::new(Board { road: Mutex::default(), heart: Heart::default(), hands: Arc::new(Hands::new(progress)), looked: Mutex::default() })
    }

    /// What the road is to tell its progress to.
    pub fn progress(&self) -> Arc<dyn Progress> {
        Arc::clone(&self.hands) as Arc<dyn Progress>
    }

    /// From now on this road is shown.
    pub fn show(&self, road: &Arc<Road>) {
        let mut shown = self.road.lock().unwrap_or_else(PoisonError::into_inner);
        if shown.as_ptr() != Arc::as_ptr(road) {
            *shown = Arc::downgrade(road);
            *self.looked.lock().unwrap_or_else(PoisonError::into_inner) = None;
            for feed in road.config.feeds.keys() {
                count::announce(feed);
            }
        }
    }

    fn road(&self) -> Option<Arc<Road>> {
        self.road.lock().unwrap_or_else(PoisonError::into_inner).upgrade()
    }

    /// What the ledger and the disk say, at most [`FRESH`] old. None before there is a road, and after.
    fn figures(&self) -> anyhow::Result<Option<Arc<Figures>>> {
        let Some(road) = self.road() else { return Ok(None) };
        // Held while it is read: whoever comes meanwhile gets the same.
        let mut looked = self.looked.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some((at, figures)) = &*looked
            && at.elapsed() < FRESH
        {
            return Ok(Some(Arc::clone(figures)));
        }
        let figures = Arc::new(Figures::read(&road, &self.hands)?);
        *looked = Some((Instant::now(), Arc::clone(&figures)));
        Ok(Some(figures))
    }

    /// All numbers. Where the ledger cannot be read, those that need none; before there is a road, what was counted.
    fn families(&self) -> Families {
        let mut families = Families::default();
        if let Some(recorder) = RECORDER.get() {
            families.take(&recorder.render());
        }
        families.set(names::BUILD, &[("version", env!("CARGO_PKG_VERSION"))], 1.0);
        let Some(road) = self.road() else { return families };
        let figures = self.figures().unwrap_or_else(|fault| {
            tracing::warn!("numbers of the ledger are not shown: {fault:#}");
            None
        });
        families.set(names::LEDGER_READABLE, &[], f64::from(u8::from(figures.is_some())));
        if let Some(figures) = &figures {
            figures.write(&mut families);
        }
        look::accounts(&road, figures.as_deref(), &mut families);
        families
    }
}
