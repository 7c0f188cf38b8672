//! Traces: spans sent to a collector by OTLP, with W3C trace context taken from callers and passed on. Off unless an
//! endpoint is set.

use std::sync::OnceLock;

use http::HeaderMap;
use opentelemetry::propagation::{Extractor, Injector, TextMapPropagator};
use opentelemetry::trace::{TraceContextExt, TracerProvider};
use opentelemetry_otlp::{ExporterBuildError, SpanExporter, WithExportConfig, WithTonicConfig};
use opentelemetry_sdk::Resource;
use opentelemetry_sdk::propagation::TraceContextPropagator;
use opentelemetry_sdk::trace::{Sampler, SdkTracerProvider, Tracer};
use tonic::metadata::MetadataMap;
use tonic::transport::ClientTlsConfig;
use tracing::{Metadata, Span, Subscriber};
use tracing_opentelemetry::{OpenTelemetryLayer, OpenTelemetrySpanExt};
use tracing_subscriber::Layer;
use tracing_subscriber::filter::filter_fn;
use tracing_subscriber::registry::LookupSpan;

use crate::config::Telemetry;

/// Where Rollcall's own spans come from. Spans of libraries contain the data that they handle.
const OURS: [&str; 4] = ["rollcall", "auth_gateway", "sync_worker", "rollcall_trace"];
/// Set once spans are sent. Otherwise a call need not look for its context.
static TRACED: OnceLock<()> = OnceLock::new();

fn is_traced() -> bool {
    TRACED.get().is_some()
}

/// Makes spans and sends them, if an endpoint is set.
pub(super) fn provider(
    settings: &Telemetry,
    program: &'static str,
) -> Result<Option<SdkTracerProvider>, ExporterBuildError> {
    let endpoint = settings.otlp_endpoint.as_str();
    if endpoint.is_empty() {
        return Ok(None);
    }
    let mut exporter = SpanExporter::builder().with_tonic().with_endpoint(endpoint);
    if endpoint.starts_with("https://") {
        exporter = exporter.with_tls_config(ClientTlsConfig::new().with_native_roots());
    }
    let share = Sampler::TraceIdRatioBased(f64::from(settings.trace_percent) / 100.0);
    let provider = SdkTracerProvider::builder()
        .with_batch_exporter(exporter.build()?)
        .with_sampler(Sampler::ParentBased(Box::new(share)))
        .with_resource(Resource::builder().with_service_name(program).build())
        .build();
    let _ = TRACED.set(());
    Ok(Some(provider))
}

/// Sends Rollcall's own spans, and no log events.
pub(super) fn layer<S>(provider: &SdkTracerProvider) -> impl Layer<S> + use<S>
where
    S: Subscriber + for<'span> LookupSpan<'span> + Send + Sync,
{
    let layer: OpenTelemetryLayer<S, Tracer> = tracing_opentelemetry::layer()
        .with_tracer(provider.tracer("rollcall"))
        .with_location(false)
        .with_threads(false)
        .with_tracked_inactivity(false);
    layer.with_filter(filter_fn(is_ours))
}

fn is_ours(metadata: &Metadata<'_>) -> bool {
    metadata.is_span() && OURS.iter().any(|ours| metadata.target().starts_with(ours))
}

/// Makes the caller's trace the parent of `span`, and returns the id of the trace that the span is in, for the log.
/// Even if nothing is sent, that is the caller's trace id.
pub(crate) fn adopt(headers: &HeaderMap, span: &Span) -> Option<String> {
    if !is_traced() && !headers.contains_key("traceparent") {
        return None;
    }
    let context = TraceContextPropagator::new().extract(&Headers(headers));
    let theirs = context.span().span_context().clone();
    if is_traced() {
        if theirs.is_valid() {
            let _ = span.set_parent(context);
        }
        let ours = span.context().span().span_context().trace_id();
        return Some(ours.to_string());
    }
    theirs.is_valid().then(|| theirs.trace_id().to_string())
}

/// Adds the trace context to a call to another service, if spans are sent.
pub fn propagate(metadata: &mut MetadataMap) {
    if is_traced() {
        let context = Span::current().context();
        TraceContextPropagator::new().inject_context(&context, &mut Outgoing(metadata));
    }
}

struct Headers<'a>(&'a HeaderMap);

impl Extractor for Headers<'_> {
    fn get(&self, key: &str) -> Option<&str> {
        self.0.get(key).and_then(|value| value.to_str().ok())
    }

    fn keys(&self) -> Vec<&str> {
        self.0.keys().map(http::HeaderName::as_str).collect()
    }
}

struct Outgoing<'a>(&'a mut MetadataMap);

impl Injector for Outgoing<'_> {
    fn set(&mut self, key: &str, value: String) {
        let key = tonic::metadata::AsciiMetadataKey::from_bytes(key.as_bytes());
        if let (Ok(key), Ok(value)) = (key, value.parse()) {
            self.0.insert(key, value);
        }
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use http::HeaderValue;

    use super::*;

    #[test]
    fn a_caller_s_trace_is_told_though_nothing_is_sent_and_nonsense_is_not() {
        let told = |text: &str| {
            let mut headers = HeaderMap::new();
            headers.insert("traceparent", HeaderValue::from_str(text).unwrap());
            adopt(&headers, &Span::none())
        };
        let id = "4bf92f3577b34da6a3ce929d0e0e4736";
        assert_eq!(told(&format!("00-{id}-00f067aa0ba902b7-01")), Some(id.to_owned()));
        for nonsense in [
            "",
            "00-0-0-0",
            "00-00000000000000000000000000000000-00f067aa0ba902b7-01",
            "\u{7f}x",
        ] {
            if HeaderValue::from_str(nonsense).is_ok() {
                assert_eq!(told(nonsense), None, "{nonsense}");
            }
        }
        assert_eq!(adopt(&HeaderMap::new(), &Span::none()), None);
    }
}
