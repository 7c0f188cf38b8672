//! A gateway that is killed under load.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use rollcall_proto::v1::auth_service_client::AuthServiceClient;
use rollcall_proto::v1::authenticate_response::Outcome;
use rollcall_testkit::{Slapd, TestDatabase, wait_for};

use crate::binary::gateway;
use crate::world::{PASSWORD, World, request};

#[tokio::test(flavor = "multi_thread")]
async fn every_login_that_was_answered_is_in_the_audit_log_after_kill_nine_on_sqlite() {
    every_answer_is_recorded(World::without_gateway(Slapd::builder()).await).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn every_login_that_was_answered_is_in_the_audit_log_after_kill_nine_on_postgresql() {
    every_answer_is_recorded(World::on_postgres(TestDatabase::new().unwrap()).await).await;
}

async fn every_answer_is_recorded(world: World) {
    let mut gateway = gateway(&world, &[]).await;
    let answered = Arc::new(AtomicUsize::new(0));
    let callers: Vec<_> = (0..16)
        .map(|_| {
            let (mut auth, answered) = (AuthServiceClient::new(gateway.channel.clone()), answered.clone());
            tokio::spawn(async move {
                while let Ok(answer) = auth.authenticate(request("ada", PASSWORD)).await {
                    let outcome = answer.into_inner().outcome.unwrap();
                    assert!(matches!(outcome, Outcome::Authenticated(_)));
                    answered.fetch_add(1, Ordering::SeqCst);
                }
            })
        })
        .collect();
    let busy = wait_for("the gateway is busy", Duration::from_secs(60), async || {
        answered.load(Ordering::SeqCst) >= 100
    });
    busy.await.unwrap();
    gateway.child.kill().unwrap();
    gateway.child.wait().unwrap();
    for caller in callers {
        caller.await.unwrap();
    }
    let recorded = world.audit().await.len();
    let answered = answered.load(Ordering::SeqCst);
    assert!(
        recorded >= answered,
        "{answered} were answered, {recorded} recorded"
    );
    assert!(
        recorded < answered + 17,
        "{answered} were answered, {recorded} recorded"
    );
}
