//! The worker, as a process that can be killed: everything of it runs in a runtime of its own, which is dropped.

use std::sync::Mutex;
use std::time::Duration;

use anyhow::{Result, anyhow};
use rollcall_runtime::clock::Clock;
use rollcall_runtime::config::{Loaded, Sources, load};
use rollcall_runtime::health::Health;
use rollcall_runtime::server::GrpcServer;
use rollcall_testkit::wait_for;
use sync_worker::config::WorkerSettings;
use sync_worker::serve::serve_worker;
use sync_worker::worker::Worker;
use tokio::runtime::{Builder, Runtime};
use tokio_util::sync::CancellationToken;

/// Longest time until it is up.
const LIMIT: Duration = Duration::from_secs(20);

/// Gone, as if killed, when dropped.
pub(super) struct Process {
    flags: Vec<(String, String)>,
    clock: Clock,
    address: String,
    runtime: Option<Runtime>,
}

impl Process {
    pub(super) async fn start(flags: Vec<(String, String)>, clock: Clock) -> Result<Self> {
        let mut process = Self {
            flags,
            clock,
            address: "127.0.0.1:0".to_owned(),
            runtime: None,
        };
        process.run().await?;
        Ok(process)
    }

    pub(super) fn url(&self) -> String {
        format!("http://{}", self.address)
    }

    /// Ends it in the middle of whatever it does, and starts another one at the same address.
    pub(super) async fn kill_and_start(&mut self) -> Result<()> {
        if let Some(runtime) = self.runtime.take() {
            runtime.shutdown_background();
        }
        self.run().await
    }

    async fn run(&mut self) -> Result<()> {
        let runtime = Builder::new_multi_thread()
            .worker_threads(1)
            .enable_all()
            .build()?;
        let started = Mutex::new(None);
        // One that was killed may hold the address for a moment longer.
        let waited = wait_for("the worker starts", LIMIT, async || {
            let mut sources = Sources {
                flags: self.flags.clone(),
                ..Sources::default()
            };
            sources
                .flags
                .push(("server.listen".to_owned(), self.address.clone()));
            let address = runtime.spawn(serve(sources, self.clock.clone())).await;
            let address = address.map_err(anyhow::Error::from).flatten();
            let is_up = address.is_ok();
            *started.lock().unwrap() = Some(address);
            is_up
        });
        let waited = waited.await;
        // Never dropped in here, since a runtime must not be.
        self.runtime = Some(runtime);
        match started.into_inner().unwrap() {
            Some(address) => self.address = address?,
            None => waited?,
        }
        Ok(())
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        if let Some(runtime) = self.runtime.take() {
            runtime.shutdown_background();
        }
    }
}

/// Where it listens.
async fn serve(sources: Sources, clock: Clock) -> Result<String> {
    let loaded: Loaded<WorkerSettings> = load(&sources).map_err(|mistakes| anyhow!("{mistakes}"))?;
    let Loaded { shared, own, .. } = loaded;
    let server = GrpcServer::bind(&shared).await?;
    let address = server.local_address().to_string();
    let health = Health::new(&[]).await;
    let probing = shared.health;
    let worker = Worker::open(shared, own, clock, CancellationToken::new())
        .await
        .map_err(|failure| anyhow!("{failure:?}"))?;
    let patience = Duration::from_secs(5);
    tokio::spawn(serve_worker(worker, server, health, probing, patience));
    Ok(address)
}
