//! Progress of runs: bars on a terminal, log lines otherwise.

use std::collections::HashMap;
use std::io::IsTerminal;
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

use indicatif::{MultiProgress, ProgressBar, ProgressStyle};
use tracing::{info, warn};

use crate::dispatch::Health;
use crate::ledger::Run;
use crate::pipeline::{Progress, Station};
use crate::platform::for_log;

/// Bars when standard error is a terminal and `bars` are wanted, else lines.
pub fn choose(bars: bool) -> std::sync::Arc<dyn Progress> {
    if bars && std::io::stderr().is_terminal() { std::sync::Arc::new(Bars::default()) } else { std::sync::Arc::new(Lines::default()) }
}

#[derive(Default)]
struct Bars {
    all: MultiProgress,
    open: Mutex<HashMap<String, (Station, ProgressBar)>>,
}

impl Progress for Bars {
    fn at(&self, run: &Run, station: Station, done: u64, total: u64) {
        let mut open = self.open.lock().unwrap_or_else(PoisonError::into_inner);
        let known = open.get(&run.id).is_some_and(|(at, _)| *at == station);
        if !known {
            if let Some((_, bar)) = open.remove(&run.id) {
                bar.finish_and_clear();
            }
            let bar = self.all.add(ProgressBar::new(total));
            bar.set_style(style(station));
            bar.set_prefix(run.shown_name());
            open.insert(run.id.clone(), (station, bar));
        }
        if let Some((_, bar)) = open.get(&run.id) {
            bar.set_length(total.max(done));
            bar.set_position(done);
        }
    }

    fn health(&self, run: &Run, health: &Health) {
        if let Some((_, bar)) = self.open.lock().unwrap_or_else(PoisonError::into_inner).get(&run.id) {
            bar.set_message(match health {
                Health::Up => String::new(),
                Health::Out { reason, .. } => format!("waiting: {reason}"),
            });
        }
    }

    fn rested(&self, run: &Run) {
        if let Some((_, bar)) = self.open.lock().unwrap_or_else(PoisonError::into_inner).remove(&run.id) {
            bar.finish_and_clear();
        }
    }
}

fn style(station: Station) -> ProgressStyle {
    let template = match station {
        Station::Fetch => "{prefix:30!} fetch {bar:24} {bytes:>10} of {total_bytes} {msg}",
        Station::Check => "{prefix:30!} check {bar:24} {bytes:>10} of {total_bytes} {msg}",
        Station::Apply => "{prefix:30!} apply {bar:24} {human_pos:>10} of {human_len} rows, {eta} left {msg}",
    };
    ProgressStyle::with_template(template).unwrap_or_else(|_| ProgressStyle::default_bar())
}

/// A line at most this often for each run.
const EVERY: Duration = Duration::from_secs(10);

#[derive(Default)]
struct Lines {
    last: Mutex<HashMap<String, Instant>>,
}

impl Progress for Lines {
    fn at(&self, run: &Run, station: Station, done: u64, total: u64) {
        let mut last = self.last.lock().unwrap_or_else(PoisonError::into_inner);
        let told = last.entry(run.id.clone()).or_insert_with(Instant::now);
        if told.elapsed() >= EVERY {
            *told = Instant::now();
            match station {
                Station::Fetch => info!("fetched {done} of {total} bytes"),
                Station::Check => info!("checked {done} of {total} bytes"),
                Station::Apply => info!("applied {done} of {total} rows"),
            }
        }
    }

    fn health(&self, _run: &Run, health: &Health) {
        match health {
            Health::Up => info!("the platform answers again"),
            Health::Out { reason, .. } => warn!("paused, the platform is out: {}", for_log(reason)),
        }
    }

    fn rested(&self, run: &Run) {
        self.last.lock().unwrap_or_else(PoisonError::into_inner).remove(&run.id);
    }
}
