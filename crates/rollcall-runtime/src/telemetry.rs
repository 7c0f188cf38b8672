//! Logs: what is written, in which form, and what never is.

use std::panic::PanicHookInfo;
use std::sync::OnceLock;

use tracing::level_filters::LevelFilter;
use tracing_subscriber::EnvFilter;
use tracing_subscriber::filter::Directive;

use crate::config::{LogFormat, Telemetry};

/// Libraries that print what they carry when they are asked to say more: requests, statements, packets.
/// No filter can open them further than this.
const PINNED: [&str; 11] = [
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

/// Changes what is logged. The subscriber's type differs with the format, so this hides it.
static SET_FILTER: OnceLock<Box<dyn Fn(EnvFilter) + Send + Sync>> = OnceLock::new();

/// Sends logs to standard error from here on, panics included. Later calls change nothing.
pub fn init(settings: &Telemetry) {
    let Ok(filter) = settings.directives() else { return };
    let builder = tracing_subscriber::fmt()
        .with_env_filter(filter)
        .with_writer(std::io::stderr);
    let (installed, set_filter): (_, Box<dyn Fn(EnvFilter) + Send + Sync>) = match settings.format {
        LogFormat::Pretty => {
            let builder = builder.with_filter_reloading();
            let handle = builder.reload_handle();
            // It fails only when the subscriber is gone.
            let set_filter = move |filter| _ = handle.reload(filter);
            (builder.try_init(), Box::new(set_filter))
        }
        LogFormat::Json => {
            let builder = builder.json().flatten_event(true).with_current_span(false);
            let builder = builder.with_filter_reloading();
            let handle = builder.reload_handle();
            let set_filter = move |filter| _ = handle.reload(filter);
            (builder.try_init(), Box::new(set_filter))
        }
    };
    if installed.is_ok() {
        std::panic::set_hook(Box::new(log_panic));
        let _ = SET_FILTER.set(set_filter);
    }
}

/// Logs what these settings say from here on, in the form that was chosen at the start.
pub(crate) fn set_filter(settings: &Telemetry) {
    if let (Some(set_filter), Ok(filter)) = (SET_FILTER.get(), settings.directives()) {
        set_filter(filter);
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
