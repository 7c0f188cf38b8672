//! What both services share at run time: configuration, telemetry, caller authentication, health and shutdown.
