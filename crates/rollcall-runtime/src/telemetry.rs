//! Logs and traces: what is written, in which form, and what never is.

use std::panic::PanicHookInfo;
use std::sync::OnceLock;

use opentelemetry_sdk::trace::SdkTracerProvider;
use tracing::Dispatch;
use tracing::level_filters::LevelFilter;
use tracing_subscriber::filter::Directive;
use tracing_subscriber::layer::SubscriberExt;
use tracing_subscriber::util::SubscriberInitExt;
use tracing_subscriber::{EnvFilter, Layer, Registry, reload};

use crate::config::{LogFormat, Telemetry};
use crate::exit::Failure;

mod traces;

pub(crate) use traces::adopt;
pub use traces::propagate;

/// Libraries that print requests, statements or packets at finer log levels. No filter can lower their level further
/// than this.
const PINNED: [&str; 13] = [
    "ldap3=error",
    "lber=error",
    "sqlx=warn",
    "sea_orm=warn",
    "sea_orm_migration=warn",
    "h2=warn",
    "hyper=warn",
    "hyper_util=warn",
    "tonic=warn",
    "tower=warn",
    "rustls=warn",
    "opentelemetry=warn",
    // Spans of single steps, which are for traces alone.
    "rollcall_trace=off",
];

impl Telemetry {
    /// The filter with libraries pinned down.
    pub(crate) fn directives(&self) -> Result<EnvFilter, String> {
        let mut filter = EnvFilter::builder()
            .with_default_directive(LevelFilter::INFO.into())
            .parse("")
            .map_err(|error| error.to_string())?;
        let mut own = Vec::new();
        for text in self
            .filter
            .split(',')
            .map(str::trim)
            .filter(|text| !text.is_empty())
        {
            // A directive for spans holds for every target within them, libraries included.
            if text.contains('[') {
                return Err(format!("\"{text}\" selects spans, which is not supported"));
            }
            let directive: Directive = text
                .parse()
                .map_err(|_| format!("\"{text}\" is not a tracing directive"))?;
            if !is_pinned(text) {
                own.push(directive);
            }
        }
        for directive in own {
            filter = filter.add_directive(directive);
        }
        for pin in PINNED {
            let pin: Directive = pin
                .parse()
                .map_err(|_| format!("\"{pin}\" is not a tracing directive"))?;
            filter = filter.add_directive(pin);
        }
        Ok(filter)
    }
}

/// Changes what is logged.
static FILTER: OnceLock<reload::Handle<EnvFilter, Registry>> = OnceLock::new();

/// When dropped at the end of the process, sends the spans that still wait.
pub struct Telemetering(Option<SdkTracerProvider>);

/// Sends logs to standard error from here on, panics included, and spans to a collector if there is one. `program` is
/// the name of the service. Must be called within a runtime; later calls change nothing.
///
/// # Errors
/// The collector's endpoint cannot be used.
pub fn init(settings: &Telemetry, program: &'static str) -> Result<Telemetering, Failure> {
    rollcall_metrics::metrics()
        .tenant_logins
        .want(settings.metrics_by_tenant);
    let traces = traces::provider(settings, program).map_err(Failure::because)?;
    let (subscriber, handle) = subscriber(settings, traces.as_ref()).map_err(Failure::because)?;
    if subscriber.try_init().is_ok() {
        std::panic::set_hook(Box::new(log_panic));
        let _ = FILTER.set(handle);
    }
    Ok(Telemetering(traces))
}

/// Writes log lines, and makes spans if there is a collector. Without one there is no layer for spans at all, not even
/// an empty one: an empty layer enables every span, so each step of a login would make one in vain.
fn subscriber(
    settings: &Telemetry,
    traces: Option<&SdkTracerProvider>,
) -> Result<(Dispatch, reload::Handle<EnvFilter, Registry>), String> {
    let (filter, handle) = reload::Layer::new(settings.directives()?);
    let lines = tracing_subscriber::fmt::layer().with_writer(std::io::stderr);
    let lines = match settings.format {
        LogFormat::Pretty => lines.boxed(),
        LogFormat::Json => lines.json().flatten_event(true).with_current_span(false).boxed(),
    };
    let lines = tracing_subscriber::registry().with(lines.with_filter(filter));
    let subscriber = match traces {
        None => Dispatch::new(lines),
        Some(traces) => Dispatch::new(lines.with(traces::layer(traces))),
    };
    Ok((subscriber, handle))
}

impl Drop for Telemetering {
    fn drop(&mut self) {
        if let Some(traces) = &self.0
            && let Err(error) = traces.shutdown()
        {
            tracing::warn!(error = %error, "the last spans were not sent");
        }
    }
}

/// Applies these settings to the log from now on, in the form that was chosen at the start.
pub(crate) fn set_filter(settings: &Telemetry) {
    if let (Some(handle), Ok(filter)) = (FILTER.get(), settings.directives()) {
        // It fails only when the subscriber is gone.
        let _ = handle.reload(filter);
    }
}

/// Only a literal message is logged: a formatted one may hold the very value that broke something.
fn log_panic(info: &PanicHookInfo<'_>) {
    let message = info
        .payload()
        .downcast_ref::<&'static str>()
        .copied()
        .unwrap_or("(message withheld)");
    let location = info.location().map(ToString::to_string).unwrap_or_default();
    tracing::error!(panic.message = message, panic.location = location, "panic");
}

/// Targets match by their beginning, so `sqlx` pins `sqlx_core` too.
fn is_pinned(directive: &str) -> bool {
    PINNED
        .iter()
        .filter_map(|pin| pin.split('=').next())
        .any(|pinned| directive.starts_with(pinned))
}

#[cfg(test)]
mod tests;
