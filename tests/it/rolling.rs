//! Both replicas of a service restart, one after the other, behind a balancer of the client's that follows their health; no
//! call is lost, though none is repeated.

use anyhow::{Result, ensure};
use rollcall_proto::v1;
use rollcall_proto::v1::tenant_service_client::TenantServiceClient;
use system_tests::{Backend, Service};
use tonic::transport::Channel;

use crate::balancer::{Balancer, Load};
use crate::crowd::Crowd;

const PEOPLE: usize = 40;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn gateways_restart_and_no_login_is_lost() -> Result<()> {
    let crowd = Crowd::start(Backend::Postgres, PEOPLE).await?;
    crowd.system.run(&crowd.sync(), v1::SyncRunMode::Apply).await?;
    restart_each("auth-gateway", "gateway", &crowd, crowd.login_of(PEOPLE)).await
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
        balancer.add(&service).await?;
        replicas.push(service);
    }
    let load = Load::start(&balancer, call);
    for service in &mut replicas {
        load.goes_on(50).await?;
        let stopped = service.stop()?;
        ensure!(stopped, "{program} did not stop cleanly:\n{}", service.log());
        ensure!(!service.log().contains("calls were cut"), "{}", service.log());
        *service = Service::start(program, &config)?;
        balancer.add(service).await?;
    }
    load.goes_on(50).await?;
    load.end().await?;
    ensure!(balancer.serving() == 2, "the first ones are gone");
    Ok(())
}
