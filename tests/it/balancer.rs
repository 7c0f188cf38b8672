//! A balancer of the client's that follows the health of the replicas, and callers that call through it without a pause. No call
//! is repeated, so none may be lost.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::Duration;

use anyhow::{Context, Result};
use parking_lot::Mutex;
use rollcall_testkit::wait_for;
use system_tests::Service;
use tokio::task::JoinSet;
use tonic::transport::Channel;
use tonic_health::pb::HealthCheckRequest;
use tonic_health::pb::health_check_response::ServingStatus;
use tonic_health::pb::health_client::HealthClient;

/// How many call at a time.
pub(crate) const CALLERS: usize = 6;
const PATIENCE: Duration = Duration::from_secs(60);

/// The replicas that a client knows, and which of them say that they serve.
#[derive(Clone, Default)]
pub(crate) struct Balancer(Arc<Mutex<Vec<Replica>>>);

#[derive(Clone)]
struct Replica {
    channel: Channel,
    serves: Arc<AtomicBool>,
}

impl Balancer {
    /// Knows a replica from now on, and uses it as long as it serves. Returns when it does.
    pub(crate) async fn add(&self, service: &Service) -> Result<()> {
        let replica = Replica {
            channel: service.channel().await?,
            serves: Arc::default(),
        };
        self.0.lock().push(replica.clone());
        let serves = replica.serves.clone();
        tokio::spawn(async move {
            let request = HealthCheckRequest {
                service: String::new(),
            };
            if let Ok(changes) = HealthClient::new(replica.channel).watch(request).await {
                let mut changes = changes.into_inner();
                while let Ok(Some(change)) = changes.message().await {
                    replica
                        .serves
                        .store(change.status() == ServingStatus::Serving, Ordering::SeqCst);
                }
            }
            replica.serves.store(false, Ordering::SeqCst);
        });
        wait_for("the replica to serve", PATIENCE, async || {
            serves.load(Ordering::SeqCst)
        })
        .await
    }

    /// How many serve.
    pub(crate) fn serving(&self) -> usize {
        let replicas = self.0.lock();
        let serving = replicas
            .iter()
            .filter(|replica| replica.serves.load(Ordering::SeqCst));
        serving.count()
    }

    /// One that serves, in turn.
    fn pick(&self, turn: usize) -> Option<Channel> {
        let replicas = self.0.lock();
        let serving: Vec<&Replica> = replicas
            .iter()
            .filter(|replica| replica.serves.load(Ordering::SeqCst))
            .collect();
        let chosen = serving.get(turn % serving.len().max(1))?;
        Some(chosen.channel.clone())
    }
}

/// Calls that go on until they are told to end, or until one fails.
pub(crate) struct Load {
    over: Arc<AtomicBool>,
    done: Arc<AtomicUsize>,
    calling: JoinSet<Result<()>>,
}

impl Load {
    /// [`CALLERS`] callers make this call without a pause. A caller's numbers are [`CALLERS`] apart, so no two callers have the
    /// same.
    pub(crate) fn start<C, F>(balancer: &Balancer, call: C) -> Self
    where
        C: Fn(Channel, usize) -> F + Clone + Send + 'static,
        F: Future<Output = Result<()>> + Send,
    {
        let (over, done) = (Arc::new(AtomicBool::new(false)), Arc::new(AtomicUsize::new(0)));
        let mut calling = JoinSet::new();
        for caller in 0..CALLERS {
            let (balancer, over, done, call) = (balancer.clone(), over.clone(), done.clone(), call.clone());
            calling.spawn(async move {
                let mut turn = caller;
                while !over.load(Ordering::SeqCst) {
                    let channel = balancer.pick(turn / CALLERS).context("no replica serves")?;
                    call(channel, turn).await?;
                    done.fetch_add(1, Ordering::SeqCst);
                    turn += CALLERS;
                }
                anyhow::Ok(())
            });
        }
        Self { over, done, calling }
    }

    /// Waits until so many more calls have ended well.
    pub(crate) async fn goes_on(&self, calls: usize) -> Result<()> {
        let until = self.done.load(Ordering::SeqCst) + calls;
        wait_for("calls that end well", PATIENCE, async || {
            self.done.load(Ordering::SeqCst) >= until
        })
        .await
        .context(format!("{} callers are left", self.calling.len()))
    }

    /// Ends the calls. Each of them must have ended well.
    pub(crate) async fn end(mut self) -> Result<()> {
        self.over.store(true, Ordering::SeqCst);
        while let Some(ended) = self.calling.join_next().await {
            ended??;
        }
        Ok(())
    }
}
