//! Spans leave by OTLP over HTTP, in batches, from a thread of the library's own. Its queue is bounded: while the collector is away, or
//! slower than we are, spans are dropped and nobody waits.

use std::collections::HashMap;
use std::sync::OnceLock;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use anyhow::Context as _;
use opentelemetry::trace::{SpanBuilder, TraceContextExt, Tracer, TracerProvider};
use opentelemetry::{Context, KeyValue};
use opentelemetry_otlp::{WithExportConfig, WithHttpConfig};
use opentelemetry_sdk::Resource;
use opentelemetry_sdk::error::OTelSdkResult;
use opentelemetry_sdk::trace::{BatchConfigBuilder, BatchSpanProcessor, Sampler, SdkTracer, SdkTracerProvider, SpanData, SpanExporter};
use reqwest::header::{HeaderMap, HeaderValue};
use tracing::{Level, Span, Subscriber};
use tracing_opentelemetry::OpenTelemetrySpanExt;
use tracing_subscriber::Layer;
use tracing_subscriber::filter::{FilterExt, LevelFilter, filter_fn};
use tracing_subscriber::registry::LookupSpan;

use super::TARGET;
use crate::config::meant::Traces;

/// Spans that wait to leave, at most; more are dropped.
const QUEUE: usize = 16_384;
/// How often spans leave.
const DELAY: Duration = Duration::from_millis(500);
/// At the end, what is left is handed over for so long.
const GRACE: Duration = Duration::from_secs(3);

static ON: AtomicBool = AtomicBool::new(false);
static PROPAGATE: AtomicBool = AtomicBool::new(false);
static TRACER: OnceLock<SdkTracer> = OnceLock::new();

pub(super) fn is_on() -> bool {
    ON.load(Ordering::Relaxed)
}

/// Spans of [`TARGET`] become spans of traces once there is a provider; the log was started before that.
pub(crate) fn layer<S>() -> impl Layer<S> + Send + Sync
where
    S: Subscriber + for<'a> LookupSpan<'a> + Send + Sync,
{
    // Asked once for each place in the code, until the answer is thrown away by `rebuild_interest_cache`.
    let wanted = filter_fn(|metadata| metadata.is_span() && metadata.target() == TARGET && is_on());
    let spans = tracing_opentelemetry::layer()
        .with_tracer(Late { before: SdkTracerProvider::builder().build().tracer("passferry") })
        .with_location(false)
        .with_threads(false)
        .with_target(false)
        .with_level(false)
        .with_tracked_inactivity(false);
    spans.with_filter(wanted.and(LevelFilter::from_level(Level::INFO)))
}

/// The tracer of the provider, once there is one.
struct Late {
    before: SdkTracer,
}

impl Tracer for Late {
    type Span = <SdkTracer as Tracer>::Span;

    fn build_with_context(&self, builder: SpanBuilder, parent: &Context) -> Self::Span {
        TRACER.get().unwrap_or(&self.before).build_with_context(builder, parent)
    }
}

/// Delivers spans until it is dropped.
pub(super) struct Provider(SdkTracerProvider);

impl Provider {
    pub fn start(settings: &Traces) -> anyhow::Result<Provider> {
        let exporter = exporter(settings).context("traces: cannot reach the collector's address")?;
        let config = BatchConfigBuilder::default().with_max_queue_size(QUEUE).with_scheduled_delay(DELAY).build();
        let processor =
            BatchSpanProcessor::builder(Telling { inner: exporter, is_away: AtomicBool::new(false) }).with_batch_config(config).build();
        let attributes = settings.attributes.iter().map(|(name, value)| KeyValue::new(name.clone(), value.clone()));
        let resource = Resource::builder()
            .with_service_name("passferry")
            .with_attribute(KeyValue::new("service.version", env!("CARGO_PKG_VERSION")))
            .with_attributes(attributes)
            .build();
        let provider = SdkTracerProvider::builder()
            .with_span_processor(processor)
            .with_sampler(Sampler::ParentBased(Box::new(Sampler::TraceIdRatioBased(settings.sample))))
            .with_resource(resource)
            .build();
        anyhow::ensure!(TRACER.set(provider.tracer("passferry")).is_ok(), "traces were begun before");
        PROPAGATE.store(settings.propagate, Ordering::Relaxed);
        ON.store(true, Ordering::Relaxed);
        tracing::callsite::rebuild_interest_cache();
        Ok(Provider(provider))
    }
}

impl Drop for Provider {
    fn drop(&mut self) {
        ON.store(false, Ordering::Relaxed);
        if let Err(error) = self.0.shutdown_with_timeout(GRACE) {
            tracing::debug!("the last spans were not delivered: {error}");
        }
    }
}

fn exporter(settings: &Traces) -> anyhow::Result<opentelemetry_otlp::SpanExporter> {
    let mut headers = HashMap::new();
    for (name, secret) in &settings.headers {
        let value = secret.with(str::to_owned).with_context(|| format!("headers.{name}"))?;
        HeaderValue::from_str(&value).map_err(|_| anyhow::anyhow!("headers.{name} holds characters that no header may hold"))?;
        headers.insert(name.clone(), value);
    }
    let mut client = reqwest::blocking::Client::builder().timeout(settings.timeout).redirect(reqwest::redirect::Policy::none());
    if url::Url::parse(&settings.endpoint).is_ok_and(|url| crate::dispatch::is_loopback(&url)) {
        // A proxy cannot reach this machine's own loopback.
        client = client.no_proxy();
    }
    Ok(opentelemetry_otlp::SpanExporter::builder()
        .with_http()
        .with_http_client(client.build()?)
        .with_endpoint(settings.endpoint.clone())
        .with_timeout(settings.timeout)
        .with_headers(headers)
        .build()?)
}

/// Says in the log when the collector goes away and when it is back; the library itself is silent.
#[derive(Debug)]
struct Telling<E> {
    inner: E,
    is_away: AtomicBool,
}

impl<E: SpanExporter> SpanExporter for Telling<E> {
    async fn export(&self, batch: Vec<SpanData>) -> OTelSdkResult {
        let result = self.inner.export(batch).await;
        let was_away = self.is_away.swap(result.is_err(), Ordering::Relaxed);
        match &result {
            Err(error) if !was_away => tracing::warn!("traces are dropped: the collector does not take them: {error}"),
            Ok(()) if was_away => tracing::info!("the collector takes traces again"),
            _ => {}
        }
        result
    }

    fn shutdown_with_timeout(&self, timeout: Duration) -> OTelSdkResult {
        self.inner.shutdown_with_timeout(timeout)
    }

    fn set_resource(&mut self, resource: &Resource) {
        self.inner.set_resource(resource);
    }
}

/// Tells the platform which trace a request is part of, where the configuration says so (W3C Trace Context, section 3.2).
pub fn tell(request: &Span, headers: &mut HeaderMap) {
    if !PROPAGATE.load(Ordering::Relaxed) {
        return;
    }
    let context = request.context();
    let span = context.span();
    let span = span.span_context();
    if span.is_valid() {
        let text = format!("00-{}-{}-{:02x}", span.trace_id(), span.span_id(), span.trace_flags().to_u8());
        if let Ok(value) = HeaderValue::from_str(&text) {
            headers.insert("traceparent", value);
        }
    }
}
