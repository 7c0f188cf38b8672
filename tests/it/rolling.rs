//! Both replicas of a service restart, one after the other, behind a balancer of the client's that follows their health; no
//! call is lost, though none is repeated.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};

use anyhow::{Context, Result, ensure};
use parking_lot::Mutex;
use rollcall_proto::v1;
use rollcall_proto::v1::auth_service_client::AuthServiceClient;
use rollcall_proto::v1::authenticate_response::Outcome;
use rollcall_proto::v1::tenant_service_client::TenantServiceClient;
use rollcall_testkit::wait_for;
use system_tests::{Backend, Service};
use tokio::task::JoinSet;
use tonic::transport::Channel;
use tonic_health::pb::HealthCheckRequest;
use tonic_health::pb::health_check_response::ServingStatus;
use tonic_health::pb::health_client::HealthClient;

use crate::crowd::{Crowd, uid};

const PEOPLE: usize = 40;
const CALLERS: usize = 6;
const PATIENCE: std::time::Duration = std::time::Duration::from_secs(60);

/// The replicas that a client knows, and which of them say that they serve.
#[derive(Clone, Default)]
struct Balancer(Arc<Mutex<Vec<Replica>>>);

#[derive(Clone)]
struct Replica {
    channel: Channel,
    serves: Arc<AtomicBool>,
}

impl Balancer {
    /// Knows a replica from now on, and uses it once it serves.
    async fn add(&self, service: &Service) -> Result<Replica> {
        let channel = service.channel().await?;
        let replica = Replica {
            channel: channel.clone(),
            serves: Arc::default(),
        };
        self.0.lock().push(replica.clone());
        let serves = replica.serves.clone();
        tokio::spawn(async move {
            let request = HealthCheckRequest {
                service: String::new(),
            };
            if let Ok(changes) = HealthClient::new(channel).watch(request).await {
                let mut changes = changes.into_inner();
                while let Ok(Some(change)) = changes.message().await {
                    serves.store(change.status() == ServingStatus::Serving, Ordering::SeqCst);
                }
            }
            serves.store(false, Ordering::SeqCst);
        });
        let is_used = replica.serves.clone();
        wait_for("the replica to serve", PATIENCE, async || {
            is_used.load(Ordering::SeqCst)
        })
        .await?;
        Ok(replica)
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

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn gateways_restart_and_no_login_is_lost() -> Result<()> {
    let crowd = Crowd::start(Backend::Postgres, PEOPLE).await?;
    crowd.system.run(&crowd.sync(), v1::SyncRunMode::Apply).await?;
    let tenant = crowd.tenant.clone();
    let login = move |channel: Channel, number: usize| {
        let request = v1::AuthenticateRequest {
            tenant: tenant.clone(),
            login: uid(number % PEOPLE),
            password: "secret".to_owned(),
            ..v1::AuthenticateRequest::default()
        };
        async move {
            let answer = AuthServiceClient::new(channel).authenticate(request).await?;
            match answer.into_inner().outcome {
                Some(Outcome::Authenticated(_)) => Ok(()),
                other => anyhow::bail!("{other:?}"),
            }
        }
    };
    restart_each("auth-gateway", "gateway", &crowd, login).await
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn workers_restart_and_no_call_is_lost() -> Result<()> {
    let crowd = Crowd::start(Backend::Postgres, 1).await?;
    let call = |channel: Channel, _| async move {
        let list = v1::ListTenantsRequest::default();
        TenantServiceClient::new(channel).list_tenants(list).await?;
        Ok(())
    };
    restart_each("sync-worker", "worker", &crowd, call).await
}

/// Starts two replicas, calls without a pause, and replaces each.
async fn restart_each<C, F>(program: &'static str, config: &str, crowd: &Crowd, call: C) -> Result<()>
where
    C: Fn(Channel, usize) -> F + Clone + Send + 'static,
    F: Future<Output = Result<()>> + Send,
{
    let config = crowd.system.config(config);
    let text = std::fs::read_to_string(&config)?;
    std::fs::write(&config, text + "[drain]\ndelay = \"1s\"\n")?;
    let balancer = Balancer::default();
    let mut replicas = Vec::new();
    for _ in 0..2 {
        let service = Service::start(program, &config)?;
        let replica = balancer.add(&service).await?;
        replicas.push((service, replica));
    }
    let (over, done) = (Arc::new(AtomicBool::new(false)), Arc::new(AtomicUsize::new(0)));
    let mut calling = JoinSet::new();
    for caller in 0..CALLERS {
        let (balancer, over, done, call) = (balancer.clone(), over.clone(), done.clone(), call.clone());
        calling.spawn(async move {
            let mut turn = caller;
            while !over.load(Ordering::SeqCst) {
                let channel = balancer.pick(turn).context("no replica serves")?;
                call(channel, turn).await?;
                done.fetch_add(1, Ordering::SeqCst);
                turn += CALLERS + 1;
            }
            anyhow::Ok(())
        });
    }
    for (service, _) in &mut replicas {
        let before = done.load(Ordering::SeqCst);
        wait_for("calls", PATIENCE, async || {
            done.load(Ordering::SeqCst) > before + 50
        })
        .await?;
        ensure!(
            service.stop()?,
            "{program} did not stop cleanly:\n{}",
            service.log()
        );
        *service = Service::start(program, &config)?;
        balancer.add(service).await?;
    }
    let before = done.load(Ordering::SeqCst);
    wait_for("calls", PATIENCE, async || {
        done.load(Ordering::SeqCst) > before + 50
    })
    .await?;
    over.store(true, Ordering::SeqCst);
    while let Some(ended) = calling.join_next().await {
        ended??;
    }
    for (service, replica) in &mut replicas {
        ensure!(!replica.serves.load(Ordering::SeqCst), "the first ones are gone");
        ensure!(!service.log().contains("calls were cut"), "{}", service.log());
    }
    Ok(())
}
