//! Log lines on stderr, as text for a person or as JSON for a collector.
//!
//! [`feed`], [`file`] and [`run`] make the spans that say what a line is about. A line is one line whatever it tells: control characters are
//! escaped here, because tracing-subscriber does so in messages only, and a file name must not forge a line or drive a terminal.

use std::fmt::{self, Write as _};
use std::io::{self, Write};

use chrono::{SecondsFormat, Utc};
use tracing::{Event, Span, Subscriber};
use tracing_subscriber::fmt::format::Writer;
use tracing_subscriber::fmt::time::FormatTime;
use tracing_subscriber::fmt::{FmtContext, FormatEvent, FormatFields, FormattedFields, MakeWriter};
use tracing_subscriber::layer::SubscriberExt;
use tracing_subscriber::registry::LookupSpan;
use tracing_subscriber::util::SubscriberInitExt;
use tracing_subscriber::{EnvFilter, Layer};

/// The span of everything done for a feed.
pub fn feed(name: &str) -> Span {
    tracing::info_span!("feed", feed = %name)
}

/// The span of everything done for one delivered file.
pub fn file(name: &bstr::BStr) -> Span {
    tracing::info_span!("file", file = %name)
}

/// The span of everything done for a run.
pub fn run(id: &str) -> Span {
    tracing::info_span!("run", run = %id)
}

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
/// What OpenPGP messages hold is no matter for a log at all, and spans of traces are for a collector.
const QUIET: &str = "russh=error,russh_sftp=error,hyper=warn,hyper_util=warn,reqwest=warn,notify=warn,h2=warn,pgp=off,passferry-trace=off";

/// Starts logging for the whole process. The filter is `PASSFERRY_LOG` if it is set, else `level`, else `info`.
/// Fails when the filter is wrong or logging was started before.
pub fn start(format: Format, level: Option<&str>) -> anyhow::Result<()> {
    let wish = std::env::var(FILTER).ok().filter(|text| !text.trim().is_empty());
    let filter = filter(wish.as_deref().or(level).unwrap_or("info"))?;
    subscriber(format, filter, Stderr).try_init().map_err(|error| anyhow::anyhow!("cannot start logging: {error}"))
}

/// The directives of a person come last and so win over ours.
fn filter(wish: &str) -> anyhow::Result<EnvFilter> {
    EnvFilter::builder().parse(format!("{QUIET},{wish}")).map_err(|error| {
        anyhow::anyhow!("{wish:?} is not a log filter ({error}); write a level such as debug, or info,passferry::source=debug")
    })
}

fn subscriber<W>(format: Format, filter: EnvFilter, writer: W) -> Box<dyn tracing::Subscriber + Send + Sync>
where
    W: for<'a> MakeWriter<'a> + Send + Sync + 'static,
{
    let lines = tracing_subscriber::fmt::layer().with_writer(OneLine(writer)).with_timer(Time).log_internal_errors(false);
    let lines = match format {
        Format::Text => lines.with_ansi(false).event_format(Text).boxed(),
        Format::Json => lines.json().with_current_span(false).with_span_list(true).flatten_event(true).boxed(),
    };
    Box::new(tracing_subscriber::registry().with(lines.with_filter(filter)).with(crate::trace::layer()))
}

/// UTC, RFC 3339, milliseconds.
struct Time;

impl FormatTime for Time {
    fn format_time(&self, out: &mut Writer<'_>) -> fmt::Result {
        out.write_str(&Utc::now().to_rfc3339_opts(SecondsFormat::Millis, true))
    }
}

/// `TIME LEVEL message field=value feed=… file=… run=…`: what happened before what it happened to.
struct Text;

impl<S, N> FormatEvent<S, N> for Text
where
    S: Subscriber + for<'a> LookupSpan<'a>,
    N: for<'a> FormatFields<'a> + 'static,
{
    fn format_event(&self, context: &FmtContext<'_, S, N>, mut out: Writer<'_>, event: &Event<'_>) -> fmt::Result {
        Time.format_time(&mut out)?;
        write!(out, " {:>5} ", event.metadata().level())?;
        context.format_fields(out.by_ref(), event)?;
        for span in context.event_scope().into_iter().flat_map(tracing_subscriber::registry::Scope::from_root) {
            if let Some(fields) = span.extensions().get::<FormattedFields<N>>().filter(|fields| !fields.is_empty()) {
                write!(out, " {fields}")?;
            }
        }
        writeln!(out)
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

impl MakeWriter<'_> for Stderr {
    type Writer = Stderr;

    fn make_writer(&self) -> Stderr {
        Stderr
    }
}

/// Escapes control characters on the way, as JSON does, so that what is written is valid in both formats. Each write is one whole event.
struct OneLine<W>(W);

impl<'a, W: MakeWriter<'a>> MakeWriter<'a> for OneLine<W> {
    type Writer = OneLine<W::Writer>;

    fn make_writer(&'a self) -> Self::Writer {
        OneLine(self.0.make_writer())
    }
}

impl<W: Write> Write for OneLine<W> {
    fn write(&mut self, event: &[u8]) -> io::Result<usize> {
        let text = String::from_utf8_lossy(event);
        let text = text.strip_suffix('\n').unwrap_or(&text);
        if text.contains(char::is_control) {
            self.0.write_all(format!("{}\n", escaped(text)).as_bytes())?;
        } else {
            self.0.write_all(event)?;
        }
        Ok(event.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        self.0.flush()
    }
}

fn escaped(text: &str) -> String {
    let mut line = String::with_capacity(text.len() + 16);
    for c in text.chars() {
        match c {
            '\n' => line.push_str("\\n"),
            '\t' => line.push_str("\\t"),
            '\r' => line.push_str("\\r"),
            c if c.is_control() => {
                // Writing into a String cannot fail.
                let _ = write!(line, "\\u{:04x}", u32::from(c));
            }
            c => line.push(c),
        }
    }
    line
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

    impl MakeWriter<'_> for Lines {
        type Writer = Lines;

        fn make_writer(&self) -> Lines {
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
        let _feed = feed("points").entered();
        let _file = file(name.into()).entered();
        let _run = run("r1").entered();
        tracing::info!(bytes = 12, "fetched");
    }

    #[test]
    fn a_text_line_is_short_and_cannot_be_forged_by_a_name() {
        let line = logged(Format::Text, "info", || fetch("a\x1b[2J\u{9b}31m.csv\n2026-01-01T00:00:00Z  INFO forged"));
        assert!(!line.trim_end_matches('\n').contains(char::is_control), "{line:?}");
        let (stamp, rest) = line.split_once(' ').unwrap();
        assert!(stamp.ends_with('Z') && chrono::DateTime::parse_from_rfc3339(stamp).is_ok(), "{stamp}");
        let name = r"a\u001b[2J\u009b31m.csv\n2026-01-01T00:00:00Z  INFO forged";
        assert_eq!(rest, format!(" INFO fetched bytes=12 feed=points file={name} run=r1\n"));
    }

    #[test]
    fn a_json_line_carries_the_fields_of_its_spans() {
        let name = "a\u{1b}\u{9b}\n\"b\".csv";
        let line = logged(Format::Json, "info", || fetch(name));
        assert!(!line.trim_end_matches('\n').contains(char::is_control), "{line:?}");
        let line: serde_json::Value = serde_json::from_str(&line).unwrap();
        assert_eq!((&line["message"], &line["bytes"], &line["level"]), (&"fetched".into(), &12.into(), &"INFO".into()));
        let spans = &line["spans"];
        assert_eq!((&spans[0]["feed"], &spans[1]["file"], &spans[2]["run"]), (&"points".into(), &name.into(), &"r1".into()));
    }

    #[test]
    fn a_person_overrides_what_we_keep_quiet() {
        let noisy = || tracing::info!(target: "russh", "hello");
        assert_eq!(logged(Format::Text, "info", noisy), "");
        assert!(logged(Format::Text, "info,russh=info", noisy).contains("hello"));
        assert!(filter("info,=[").unwrap_err().to_string().contains("not a log filter"));
    }
}
