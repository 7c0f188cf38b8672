//! EraseUser, with a directory that is asked whether it still offers the person.

use rollcall_core::audit::{AuditEvent, AuditFilter};
use rollcall_proto::v1::user_service_client::UserServiceClient;
use rollcall_proto::v1::*;
use rollcall_store::PageRequest;
use rollcall_testkit::{Slapd, TestDatabase};
use tonic::metadata::MetadataValue;
use tonic::{Request, Status};

use crate::changes::meanwhile;
use crate::world::{PASSWORD, World, dn, now};

fn reason(status: &Status) -> &'static str {
    rollcall_proto::status::reason(status).map_or("-", |reason| reason.as_str())
}

fn erase(name: &str, exclude: bool) -> Request<EraseUserRequest> {
    let mut request = Request::new(EraseUserRequest {
        name: name.into(),
        exclude,
        ..EraseUserRequest::default()
    });
    for (key, value) in [
        ("rollcall-actor", "dpo@acme.example"),
        ("rollcall-reason", "Ada asked, ticket 12"),
    ] {
        request
            .metadata_mut()
            .insert(key, MetadataValue::try_from(value).unwrap());
    }
    request
}

async fn found(world: &World<Slapd>, login: &str) -> User {
    let lookup = LookupUserRequest {
        parent: "tenants/acme".into(),
        identifier: login.into(),
    };
    world.users().lookup_user(lookup).await.unwrap().into_inner()
}

async fn events(world: &World<Slapd>) -> Vec<UserEvent> {
    let request = ListUserEventsRequest {
        parent: "tenants/acme".into(),
        ..ListUserEventsRequest::default()
    };
    world
        .users()
        .list_user_events(request)
        .await
        .unwrap()
        .into_inner()
        .events
}

fn contains(bytes: &[u8], text: &str) -> bool {
    bytes.windows(text.len()).any(|window| window == text.as_bytes())
}

#[tokio::test(flavor = "multi_thread")]
async fn whom_the_directory_still_offers_is_refused_and_who_left_is_erased() {
    let world = World::new().await;
    let ada = found(&world, "ada").await;
    assert_eq!(world.login("ada", PASSWORD).await, "OK ada");
    let refused = world
        .users()
        .erase_user(erase(&ada.name, false))
        .await
        .unwrap_err();
    assert_eq!(reason(&refused), "USER_STILL_OFFERED");
    assert!(refused.message().contains("exclude"), "{refused:?}");
    assert_eq!(found(&world, "ada").await.name, ada.name, "nothing was done");

    world
        .server
        .modify(&format!("dn: {}\nchangetype: delete\n", dn("ada")))
        .unwrap();
    let erased = world
        .users()
        .erase_user(erase(&ada.name, false))
        .await
        .unwrap()
        .into_inner();
    assert!(!erased.run_under_way);
    assert_eq!(world.login("ada", PASSWORD).await, "DENIED INVALID_CREDENTIALS");
    let events = events(&world).await;
    let told: Vec<&UserEvent> = events
        .iter()
        .filter(|event| event.user.as_ref().is_some_and(|user| user.name == ada.name))
        .collect();
    let [gone] = &told[..] else { panic!("{told:#?}") };
    assert_eq!(gone.r#type(), UserEventType::Erased);
    let nothing_else = User {
        name: ada.name.clone(),
        ..User::default()
    };
    assert_eq!(gone.user.as_ref(), Some(&nothing_else));
    assert_eq!(gone.actor.as_ref().unwrap().name, "dpo@acme.example");
    let again = world
        .users()
        .erase_user(erase(&ada.name, false))
        .await
        .unwrap()
        .into_inner();
    assert!(!again.run_under_way, "a repeat goes on with the first");
    let bytes = world.database_bytes();
    for text in ["ada@acme.example", &ada.dn] {
        assert!(!contains(&bytes, text), "{text} is left");
    }
    assert!(
        contains(&bytes, "bob@acme.example"),
        "the test looks in the wrong place"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn while_the_directory_cannot_be_asked_only_an_exclusion_works() {
    let mut world = World::new().await;
    let ada = found(&world, "ada").await;
    world.server.stop();
    let refused = world
        .users()
        .erase_user(erase(&ada.name, false))
        .await
        .unwrap_err();
    assert_eq!(reason(&refused), "DIRECTORY_UNAVAILABLE");
    assert_eq!(found(&world, "ada").await.name, ada.name, "nothing was done");
    world.users().erase_user(erase(&ada.name, true)).await.unwrap();
    let gone = world
        .users()
        .get_user(GetUserRequest { name: ada.name })
        .await
        .unwrap_err();
    assert_eq!(reason(&gone), "USER_NOT_FOUND");
}

#[tokio::test(flavor = "multi_thread")]
async fn nobody_is_erased_by_whoever_may_not() {
    let world = World::new().await;
    world.another_tenant("evil").await;
    let ada = found(&world, "ada").await;
    let of_another = ada.name.replace("tenants/acme", "tenants/evil");
    let refused = world
        .users()
        .erase_user(erase(&of_another, true))
        .await
        .unwrap_err();
    assert_eq!(reason(&refused), "USER_NOT_FOUND");
    let mut bad = erase(&ada.name, true);
    let long = MetadataValue::try_from("x".repeat(10_000)).unwrap();
    bad.metadata_mut().insert("rollcall-actor", long);
    let refused = world.users().erase_user(bad).await.unwrap_err();
    assert_eq!(reason(&refused), "INVALID_FIELD");
    assert_eq!(found(&world, "ada").await, ada);
}

#[tokio::test(flavor = "multi_thread")]
async fn whoever_logs_in_while_another_replica_erases_them_leaves_nothing_on_sqlite() {
    while_another_replica_erases(World::without_gateway(Slapd::builder()).await).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn whoever_logs_in_while_another_replica_erases_them_leaves_nothing_on_postgresql() {
    while_another_replica_erases(World::on_postgres(TestDatabase::new().unwrap()).await).await;
}

async fn while_another_replica_erases(mut world: World) {
    world.start_gateway(&[]).await;
    let other = world.start_gateway(&[]).await;
    let ada = world.user("ada").await;
    let name = format!("tenants/acme/users/{}", ada.id);
    let erasing = async || {
        let mut users = UserServiceClient::new(world.channel(other));
        users.erase_user(erase(&name, true)).await.unwrap();
    };
    let told = meanwhile(&world, erasing).await;
    assert_eq!(told, "DENIED INVALID_CREDENTIALS");
    // As the worker does for every erasure, once all that was under way has ended.
    let later = now() + chrono::TimeDelta::minutes(10);
    assert!(
        world
            .store
            .sweep_erased(&world.tenant, None, later)
            .await
            .unwrap()
    );
    let filter = AuditFilter {
        user: Some(ada.id),
        ..AuditFilter::default()
    };
    let about = world
        .store
        .list_audit(None, &filter, &PageRequest::first(100))
        .await;
    let about = about.unwrap().items;
    let tells = |event: &&AuditEvent| !event.erased && !format!("{:?}", event.kind).contains("EraseUser");
    let left: Vec<_> = about.iter().filter(tells).collect();
    assert!(!about.is_empty() && left.is_empty(), "{left:?}");
    let bytes = world.database_bytes();
    for text in ["ada@acme.example", &ada.origin.unwrap().dn] {
        assert!(!contains(&bytes, text), "{text} is left");
    }
}
