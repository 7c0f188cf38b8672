//! A tenant that claims other people's logins and addresses, with a directory that writes down every password.

use rollcall_core::external_id::{ExternalId, IdKind};
use rollcall_core::id::{DirectoryId, TenantId, UserId, Uuid};
use rollcall_core::plan::{Change, ChangeKind};
use rollcall_core::revision::Revision;
use rollcall_core::tenant::TenantSettings;
use rollcall_core::user::{Origin, Profile, UserState};
use rollcall_proto::v1::AuthenticateRequest;
use rollcall_testkit::{Operation, Peer, ScriptedLdap, Slapd, ber};

use crate::world::{PASSWORD, World, dn, now, request};
use rollcall_store::Recorded;

const DENIED: &str = "DENIED INVALID_CREDENTIALS";

/// Lets everybody in, and finds whoever is asked for.
async fn collector() -> ScriptedLdap {
    let serve = async |mut peer: Peer| {
        while let Some(request) = peer.receive().await? {
            let answer = match &request.operation {
                Operation::Bind { .. } => ber::bind_response(request.id, 0, "", ""),
                _ => {
                    let id = Uuid::from_bytes([1; 16]).to_string();
                    let values: &[&[u8]] = &[id.as_bytes()];
                    peer.send(&ber::search_entry(
                        request.id,
                        &dn("ada"),
                        &[("entryUUID", values)],
                    ))
                    .await?;
                    ber::search_done(request.id, 0, "")
                }
            };
            peer.send(&answer).await?;
        }
        Ok(())
    };
    ScriptedLdap::plain(serve).await.unwrap()
}

/// Passwords of users that came there.
fn collected(server: &ScriptedLdap) -> usize {
    let received = server.received();
    let binds = received.iter().filter(|request| match &request.operation {
        Operation::Bind { dn: name, .. } => *name == dn("ada"),
        _ => false,
    });
    binds.count()
}

async fn mallory(world: &mut World) -> ScriptedLdap {
    let (tenant, collector) = (TenantId::parse("mallory").unwrap(), collector().await);
    let mut settings = TenantSettings {
        display_name: "Acme".into(),
        user_sync_enabled: true,
        verified_domains: vec!["acme.example".into()],
    };
    let claimed = world
        .store
        .create_tenant(&tenant, &settings, Recorded::by_nobody(now()))
        .await;
    claimed.unwrap_err();
    settings.verified_domains = vec!["mallory.example".into()];
    world
        .store
        .create_tenant(&tenant, &settings, Recorded::by_nobody(now()))
        .await
        .unwrap();
    let own = world.sync.clone();
    world.add_script(&tenant, "trap", &collector).await;
    let ada = Change {
        kind: ChangeKind::Create,
        user: UserId(Uuid::from_u128(666)),
        expected_revision: Revision::NONE,
        state_before: None,
        origin: Origin {
            user_sync: world.sync.user_sync.clone(),
            directory: DirectoryId::parse("trap").unwrap(),
            external_id: ExternalId::from_bytes(IdKind::EntryUuid, &[1; 16]).unwrap(),
            dn: dn("ada"),
            linked: false,
        },
        profile: Profile {
            login: "ada".into(),
            email: Some("ada@acme.example".into()),
            role: "user".into(),
            ..Profile::default()
        },
        state: UserState::Active,
        state_reason: None,
        login_ambiguous: false,
        login_asked_by: None,
        changes: Vec::new(),
    };
    world.run(vec![ada], now()).await;
    world.sync = own;
    collector
}

fn without_tenant(login: &str) -> AuthenticateRequest {
    AuthenticateRequest {
        tenant: String::new(),
        ..request(login, PASSWORD)
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn never_gets_a_password_that_was_meant_for_somebody_else() {
    let mut world = World::without_gateway(Slapd::builder()).await;
    let collector = mallory(&mut world).await;
    world.start_gateway(&[]).await;
    assert_eq!(world.login("ada", PASSWORD).await, "OK ada");
    assert_eq!(world.login("ada@acme.example", PASSWORD).await, "OK ada");
    assert_eq!(
        world.attempt(0, without_tenant("ada@acme.example")).await,
        "OK ada"
    );
    assert_eq!(
        world.attempt(0, without_tenant("Ada@ACME.example")).await,
        "OK ada"
    );
    assert_eq!(
        world.attempt(0, without_tenant("ada@mallory.example")).await,
        DENIED
    );
    assert_eq!(
        world.attempt(0, without_tenant("ada")).await,
        "InvalidArgument TENANT_REQUIRED"
    );
    // The directory that was meant breaks: nobody else's takes its place.
    world.server.stop();
    assert_ne!(
        world.attempt(0, without_tenant("ada@acme.example")).await,
        "OK ada"
    );
    assert_eq!(collected(&collector), 0);
    // It is there and it would have: whoever names that tenant is its own.
    let named = AuthenticateRequest {
        tenant: "tenants/mallory".into(),
        ..request("ada", "for mallory")
    };
    assert_eq!(world.attempt(0, named).await, "OK ada");
    assert_eq!(collected(&collector), 1);
}
