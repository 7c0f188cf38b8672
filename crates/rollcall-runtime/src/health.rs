//! Health: NOT_SERVING until the store has answered; from then on it follows the store both ways.
//!
//! Liveness (`/livez`) says only that the process runs. Readiness (`/readyz`, `grpc.health.v1`) follows the probe, so a
//! store outage takes a replica out of service without restarting it.

use std::future::Future;
use std::net::SocketAddr;
use std::sync::Arc;

use rollcall_core::error::chain;
use rollcall_metrics::{at_each_scrape, metrics};
use tokio::net::TcpListener;
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;
use tonic_health::ServingStatus;
use tonic_health::pb::health_server::HealthServer;
use tonic_health::server::{HealthReporter, HealthService};

mod check;

pub use check::{CheckError, check};

use crate::http1::{self, Answer};
use crate::{config, expiry, process};

/// The state of a process's health. Clones share it.
#[derive(Clone)]
pub struct Health {
    reporter: HealthReporter,
    services: Arc<[&'static str]>,
    ready: watch::Sender<bool>,
    stopped: CancellationToken,
}

impl Health {
    /// Health of a server with these gRPC services, by full name. All are NOT_SERVING.
    pub async fn new(services: &[&'static str]) -> Self {
        let health = Self {
            reporter: HealthReporter::new(),
            services: services.into(),
            ready: watch::Sender::new(false),
            stopped: CancellationToken::new(),
        };
        health.publish(false).await;
        health
    }

    /// True once the last probe succeeded and the server is not stopping.
    pub fn is_ready(&self) -> bool {
        *self.ready.borrow()
    }

    /// Receives each change of readiness.
    pub fn subscribe(&self) -> watch::Receiver<bool> {
        self.ready.subscribe()
    }

    /// Asks `probe` at an interval and follows it, until the server stops. A probe that takes too long has
    /// failed.
    pub async fn follow<P, F, E>(&self, settings: &config::Health, mut probe: P)
    where
        P: FnMut() -> F,
        F: Future<Output = Result<(), E>>,
        E: std::error::Error + 'static,
    {
        let mut told = String::new();
        let mut ticks = tokio::time::interval(settings.interval);
        ticks.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
        while self.stopped.run_until_cancelled(ticks.tick()).await.is_some() {
            let ready = match tokio::time::timeout(settings.timeout, probe()).await {
                Ok(Ok(())) => true,
                Ok(Err(error)) => self.note_failure(&chain(&error), &mut told),
                Err(_) => self.note_failure("no answer in time", &mut told),
            };
            self.publish(ready).await;
        }
    }

    /// Serves `/livez`, `/readyz` and `/metrics` over plaintext HTTP for as long as the process runs, even while it
    /// drains.
    ///
    /// # Errors
    /// The address cannot be used.
    pub async fn listen(&self, address: SocketAddr) -> std::io::Result<SocketAddr> {
        let listener = TcpListener::bind(address).await?;
        expiry::begin();
        at_each_scrape(expiry::tell);
        at_each_scrape(process::tell);
        let address = listener.local_addr()?;
        let health = self.clone();
        tokio::spawn(http1::serve(listener, move |path| health.answer(path)));
        tracing::info!(health.address = %address, "serving health");
        Ok(address)
    }

    /// The services of the server, by full name; without health and reflection.
    pub(crate) fn services(&self) -> Arc<[&'static str]> {
        Arc::clone(&self.services)
    }

    /// The gRPC service.
    pub(crate) fn service(&self) -> HealthServer<HealthService> {
        HealthServer::new(HealthService::from_health_reporter(self.reporter.clone()))
    }

    /// Turns NOT_SERVING for good.
    pub(crate) async fn stop(&self) {
        self.stopped.cancel();
        self.publish(false).await;
    }

    fn answer(&self, path: &str) -> Answer {
        match path {
            "/livez" => Answer::plain(200, "ok\n"),
            "/readyz" if self.is_ready() => Answer::plain(200, "ok\n"),
            "/readyz" => Answer::plain(503, "not ready\n"),
            "/metrics" => Answer::of_type(rollcall_metrics::CONTENT_TYPE, rollcall_metrics::text()),
            _ => Answer::plain(404, "not found\n"),
        }
    }

    /// Logs the first failure, and each failure of another kind than `told`. A long outage is one log event.
    fn note_failure(&self, error: &str, told: &mut String) -> bool {
        if self.is_ready() || told != error {
            tracing::warn!(error, "the store cannot be used, health is NOT_SERVING");
        }
        error.clone_into(told);
        false
    }

    async fn publish(&self, ready: bool) {
        // A probe that was under way when the server stopped must not turn it ready again.
        let ready = ready && !self.stopped.is_cancelled();
        let status = if ready {
            ServingStatus::Serving
        } else {
            ServingStatus::NotServing
        };
        for service in self.services.iter().chain(&[""]) {
            self.reporter.set_service_status(*service, status).await;
        }
        let changed = self
            .ready
            .send_if_modified(|current| std::mem::replace(current, ready) != ready);
        metrics().ready.set(i64::from(ready));
        if changed && ready {
            tracing::info!("health is SERVING");
        }
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use tokio::sync::Notify;

    use super::*;

    #[tokio::test]
    async fn a_probe_that_succeeds_after_the_stop_changes_nothing() {
        let health = Health::new(&[]).await;
        let (asked, answer) = (Arc::new(Notify::new()), Arc::new(Notify::new()));
        let minute = std::time::Duration::from_secs(60);
        let settings = config::Health {
            listen: None,
            interval: minute,
            timeout: minute,
        };
        let following = tokio::spawn({
            let (health, asked, answer) = (health.clone(), Arc::clone(&asked), Arc::clone(&answer));
            async move {
                let probe = || {
                    let (asked, answer) = (Arc::clone(&asked), Arc::clone(&answer));
                    async move {
                        asked.notify_one();
                        answer.notified().await;
                        Ok::<_, std::io::Error>(())
                    }
                };
                health.follow(&settings, probe).await;
            }
        });
        asked.notified().await;
        health.stop().await;
        answer.notify_one();
        following.await.unwrap();
        assert!(!health.is_ready());
    }
}
