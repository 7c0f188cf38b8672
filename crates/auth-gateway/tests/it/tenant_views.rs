//! What logins know of a tenant as a whole.

use std::sync::Arc;
use std::time::Duration;

use auth_gateway::login::memory::tenant_view::TenantViews;
use futures::future::join_all;
use rollcall_core::soft_lock::{SoftLockDefaults, SoftLockMode};
use rollcall_testkit::Slapd;

use crate::world::World;

#[tokio::test]
async fn a_crowd_of_logins_reads_the_tenant_once() {
    let world = World::without_gateway(Slapd::builder()).await;
    let views = TenantViews::new(SoftLockDefaults {
        limit: 5,
        max_limit: 10,
        window: Duration::from_secs(60),
        duration: Duration::from_secs(60),
        mode: SoftLockMode::Enforce,
    });
    let crowd = join_all((0..50).map(|_| views.get(&world.store, &world.tenant))).await;
    let first = crowd[0].as_ref().unwrap();
    assert!(first.home(&world.sync.user_sync).is_some());
    for view in &crowd {
        assert!(Arc::ptr_eq(first, view.as_ref().unwrap()));
    }
}
