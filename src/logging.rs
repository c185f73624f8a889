//! Log lines on stderr, as text for a person or as JSON for a collector.
//!
//! The spans `feed`, `file` and `run` say what a line is about. Control characters in values are escaped (tracing-subscriber does so from
//! 0.3.20 on), so that a file name cannot forge a line or drive a terminal.

use std::fmt;
use std::io::{self, Write};

use chrono::{SecondsFormat, Utc};
use tracing_subscriber::EnvFilter;
use tracing_subscriber::fmt::MakeWriter;
use tracing_subscriber::fmt::format::Writer;
use tracing_subscriber::fmt::time::FormatTime;
use tracing_subscriber::util::SubscriberInitExt;

/// How a log line is laid out.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default, clap::ValueEnum)]
pub enum Format {
    /// One short line an event.
    #[default]
    Text,
    /// One JSON object an event, the fields of its spans under `spans`.
    Json,
}

/// The environment variable with a filter: a level, or directives such as `info,passferry::source=debug`.
pub const FILTER: &str = "PASSFERRY_LOG";

/// Libraries that report on their own account what we report already, and better.
const QUIET: &str = "russh=error,russh_sftp=error,hyper=warn,hyper_util=warn,reqwest=warn,notify=warn,h2=warn";

/// Starts logging for the whole process. The filter is `PASSFERRY_LOG` if it is set, else `level`, else `info`.
/// Fails when the filter is wrong or logging was started before.
pub fn start(format: Format, level: Option<&str>) -> anyhow::Result<()> {
    let wish = std::env::var(FILTER).ok().filter(|text| !text.trim().is_empty());
    let filter = filter(wish.as_deref().or(level).unwrap_or("info"))?;
    subscriber(format, filter, Stderr).try_init().map_err(|error| anyhow::anyhow!("cannot start logging: {error}"))
}

/// The directives of a person come last and so win over ours.
fn filter(wish: &str) -> anyhow::Result<EnvFilter> {
    EnvFilter::builder()
        .parse(format!("{QUIET},{wish}"))
        .map_err(|error| anyhow::anyhow!("{wish:?} is not a log filter ({error}); write a level such as debug, or info,passferry::source=debug"))
}

fn subscriber<W>(format: Format, filter: EnvFilter, writer: W) -> Box<dyn tracing::Subscriber + Send + Sync>
where
    W: for<'a> MakeWriter<'a> + Send + Sync + 'static,
{
    let builder = tracing_subscriber::fmt().with_env_filter(filter).with_writer(writer).with_timer(Time).with_ansi(false).log_internal_errors(false);
    match format {
        Format::Text => Box::new(builder.with_target(false).finish()),
        Format::Json => Box::new(builder.json().with_current_span(false).with_span_list(true).flatten_event(true).finish()),
    }
}

/// UTC, RFC 3339, milliseconds.
struct Time;

impl FormatTime for Time {
    fn format_time(&self, out: &mut Writer<'_>) -> fmt::Result {
        out.write_str(&Utc::now().to_rfc3339_opts(SecondsFormat::Millis, true))
    }
}

/// Standard error, whose loss is nobody's business: a closed pipe must neither stop a run nor panic.
#[derive(Clone, Copy)]
struct Stderr;

impl Write for Stderr {
    fn write(&mut self, line: &[u8]) -> io::Result<usize> {
        let _ = io::stderr().lock().write_all(line);
        Ok(line.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl<'a> MakeWriter<'a> for Stderr {
    type Writer = Stderr;

    fn make_writer(&'a self) -> Stderr {
        Stderr
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::{Arc, Mutex};

    #[derive(Clone, Default)]
    struct Lines(Arc<Mutex<Vec<u8>>>);

    impl Write for Lines {
        fn write(&mut self, line: &[u8]) -> io::Result<usize> {
            self.0.lock().unwrap().extend_from_slice(line);
            Ok(line.len())
        }

        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    impl<'a> MakeWriter<'a> for Lines {
        type Writer = Lines;

        fn make_writer(&'a self) -> Lines {
            self.clone()
        }
    }

    fn logged(format: Format, wish: &str, event: impl FnOnce()) -> String {
        let lines = Lines::default();
        tracing::subscriber::with_default(subscriber(format, filter(wish).unwrap(), lines.clone()), event);
        let bytes = lines.0.lock().unwrap().clone();
        String::from_utf8(bytes).unwrap()
    }

    fn fetch(name: &str) {
        let _feed = tracing::info_span!("feed", name = "points").entered();
        let _file = tracing::info_span!("file", %name).entered();
        let _run = tracing::info_span!("run", id = "r1").entered();
        tracing::info!(bytes = 12, "fetched");
    }

    #[test]
    fn a_text_line_is_short_and_cannot_be_forged_by_a_name() {
        let line = logged(Format::Text, "info", || fetch("a\x1b[2J\u{9b}31m.csv\n2026-01-01T00:00:00Z  INFO forged"));
        assert_eq!(line.matches('\n').count(), 1, "{line:?}");
        assert!(!line.chars().any(|c| c.is_control() && c != '\n'), "{line:?}");
        assert!(line.contains(r#"INFO feed{name="points"}:file{name=a"#), "{line:?}");
        assert!(line.ends_with("run{id=\"r1\"}: fetched bytes=12\n"), "{line:?}");
        let stamp = line.split_whitespace().next().unwrap();
        assert!(stamp.ends_with('Z') && chrono::DateTime::parse_from_rfc3339(stamp).is_ok(), "{stamp}");
    }

    #[test]
    fn a_json_line_carries_the_fields_of_its_spans() {
        let line = logged(Format::Json, "info", || fetch("a\u{1b}.csv"));
        let line: serde_json::Value = serde_json::from_str(&line).unwrap();
        assert_eq!(line["message"], "fetched");
        assert_eq!(line["bytes"], 12);
        let spans = line["spans"].as_array().unwrap();
        assert_eq!(spans.iter().map(|span| span["name"].as_str().unwrap()).collect::<Vec<_>>().len(), 3);
        assert!(line.to_string().contains("points") && line.to_string().contains("r1"));
    }

    #[test]
    fn a_person_overrides_what_we_keep_quiet() {
        let noisy = || tracing::info!(target: "russh", "hello");
        assert_eq!(logged(Format::Text, "info", noisy), "");
        assert!(logged(Format::Text, "info,russh=info", noisy).contains("hello"));
        assert!(filter("info,=[").unwrap_err().to_string().contains("not a log filter"));
    }
}
