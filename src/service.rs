//! What we tell systemd about ourselves. Outside it, every call does nothing.
//!
//! Readiness is told after the first successful listing, and the watchdog is fed by the loop that makes progress, never by a thread of its own:
//! a process that hangs must be seen to hang.

use std::time::Duration;

use sd_notify::NotifyState;

/// The service is up: its state is open and its sources were reached or are known to be unavailable.
pub fn ready() {
    tell(&NotifyState::Ready);
}

/// One line for `systemctl status`. Line ends in it would start another message and are turned into blanks.
pub fn status(text: &str) {
    tell(&NotifyState::Status(&one_line(text)));
}

/// We are still making progress.
pub fn alive() {
    tell(&NotifyState::Watchdog);
}

/// The configuration is being read again; [`ready`] ends it.
pub fn reloading() {
    match NotifyState::monotonic_usec_now() {
        Ok(now) => tell_all(&[NotifyState::Reloading, now]),
        Err(error) => tracing::debug!("no monotonic clock: {error}"),
    }
}

/// A stop was asked for; work in hand is being brought to a safe point.
pub fn stopping() {
    tell(&NotifyState::Stopping);
}

/// How often [`alive`] must be called: half of what the unit allows (`sd_watchdog_enabled(3)`). None when nobody watches.
pub fn watchdog_interval() -> Option<Duration> {
    sd_notify::watchdog_enabled().map(|limit| limit / 2)
}

fn tell(state: &NotifyState<'_>) {
    tell_all(std::slice::from_ref(state));
}

fn tell_all(states: &[NotifyState<'_>]) {
    // The manager may be gone or deaf; the work does not depend on it.
    if let Err(error) = sd_notify::notify(states) {
        tracing::debug!("systemd was not told {}: {error}", states.iter().map(ToString::to_string).collect::<Vec<_>>().join(" "));
    }
}

fn one_line(text: &str) -> String {
    text.chars().map(|c| if c.is_control() { ' ' } else { c }).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_status_stays_one_message() {
        assert_eq!(one_line("points.csv\nREADY=1"), "points.csv READY=1");
    }

    #[test]
    fn outside_systemd_nothing_happens() {
        ready();
        status("idle");
        alive();
        stopping();
    }
}
