//! Things that most tests need.

use std::time::Duration;

use chrono::{DateTime, TimeDelta, Utc};
use rollcall_core::audit::AskedBy;
use rollcall_core::directory::{DirectorySettings, HostUrl};
use rollcall_core::event::Event;
use rollcall_core::external_id::{ExternalId, IdKind};
use rollcall_core::field::TextField;
use rollcall_core::guard::{GrowthLimit, RemovalLimit};
use rollcall_core::id::{DirectoryId, RunId, TenantId, UserId, UserSyncId, UserSyncKey, Uuid};
use rollcall_core::issue::Health;
use rollcall_core::plan::{Change, ChangeKind};
use rollcall_core::revision::Revision;
use rollcall_core::run::{PlanOutcome, PlanResult, RunCounts, RunMode, RunState, RunTrigger};
use rollcall_core::soft_lock::{SoftLock, SoftLockMode};
use rollcall_core::tenant::TenantSettings;
use rollcall_core::user::{Origin, Profile, User, UserState};
use rollcall_core::user_sync::{
    FieldMappings, LoginChanges, MissingUsers, RoleCondition, RoleRule, Search, SearchScope, UserSyncSettings,
};
use rollcall_store::{
    ChunkOutcome, LeaseName, LeaseToken, MAX_PAGE, Mailing, NewMail, NewRun, NewSecrets, PageRequest,
    Recorded, RunEnd, RunHandle, Store,
};

use crate::engine::Engine;

/// A mail that may be sent.
pub(crate) fn mailing(mail: NewMail) -> Mailing {
    Mailing {
        mails: vec![mail],
        per_day: 9,
        ..Mailing::default()
    }
}

pub(crate) const TTL: Duration = Duration::from_secs(60);

pub(crate) fn at(seconds: i64) -> DateTime<Utc> {
    DateTime::UNIX_EPOCH + TimeDelta::seconds(1_700_000_000 + seconds)
}

pub(crate) fn all() -> PageRequest {
    PageRequest::first(1000)
}

pub(crate) fn tenant_id(id: &str) -> TenantId {
    TenantId::parse(id).unwrap()
}

pub(crate) fn acme() -> TenantId {
    tenant_id("acme")
}

pub(crate) fn directory_id(id: &str) -> DirectoryId {
    DirectoryId::parse(id).unwrap()
}

pub(crate) fn sync_id(id: &str) -> UserSyncId {
    UserSyncId::parse(id).unwrap()
}

pub(crate) fn key_of(tenant: &str, user_sync: &str) -> UserSyncKey {
    UserSyncKey {
        tenant: tenant_id(tenant),
        user_sync: sync_id(user_sync),
    }
}

pub(crate) fn staff() -> UserSyncKey {
    key_of("acme", "staff")
}

pub(crate) fn user_id(number: u128) -> UserId {
    UserId(Uuid::from_u128(number))
}

pub(crate) fn run_id(number: u128) -> RunId {
    RunId(Uuid::from_u128(number))
}

pub(crate) fn tenant_settings(domains: &[&str]) -> TenantSettings {
    TenantSettings {
        display_name: "Acme".into(),
        user_sync_enabled: true,
        verified_domains: domains.iter().map(ToString::to_string).collect(),
    }
}

pub(crate) fn directory_settings() -> DirectorySettings {
    DirectorySettings {
        display_name: "Main directory".into(),
        port: Some(636),
        ca_certificates: "-----BEGIN CERTIFICATE-----\nnot\u{0}really".into(),
        tls_server_name: Some("dc.example.com".into()),
        client_certificate: Some("-----BEGIN CERTIFICATE-----\n".into()),
        bind_dn: "cn=rollcall,dc=example,dc=com".into(),
        connect_timeout: Duration::from_millis(1500),
        page_size: 500,
        soft_lock: SoftLock {
            limit: Some(4),
            window: Some(Duration::from_secs(1_800)),
            duration: None,
            mode: Some(SoftLockMode::Log),
        },
        ..DirectorySettings::with_defaults(vec![
            HostUrl::parse("ldaps://dc1.example.com").unwrap(),
            HostUrl::parse("ldaps://[2001:db8::1]:3269").unwrap(),
        ])
    }
}

pub(crate) fn sync_settings(directory: &str) -> UserSyncSettings {
    UserSyncSettings {
        display_name: "Staff".into(),
        searches: vec![Search {
            base_dn: "ou=people,dc=example,dc=com".into(),
            scope: SearchScope::Subtree,
            filter: "(objectClass=person)".into(),
        }],
        role: "member".into(),
        role_rules: vec![
            RoleRule {
                condition: RoleCondition::GroupDn("cn=admins,dc=example,dc=com".into()),
                role: "admin".into(),
            },
            RoleRule {
                condition: RoleCondition::Filter("(title=Boss)".into()),
                role: "boss".into(),
            },
        ],
        field_mappings: FieldMappings {
            login: vec!["uid".into()],
            email: vec!["mail".into()],
            custom: [("desk".to_owned(), vec!["roomNumber".to_owned()])].into(),
            ..FieldMappings::default()
        },
        missing_users: MissingUsers::Deactivate,
        login_changes: LoginChanges::Allow,
        auto_sync: true,
        time_zone: "Europe/Berlin".into(),
        restrictions: vec!["berlin".into()],
        removal_limit: RemovalLimit {
            max_count: Some(0),
            max_percent: None,
        },
        growth_limit: GrowthLimit {
            max_count: Some(7),
            max_percent: None,
        },
        ..UserSyncSettings::with_defaults(directory_id(directory))
    }
}

pub(crate) fn profile(login: &str) -> Profile {
    Profile {
        login: login.into(),
        email: Some(format!("{login}@example.com")),
        texts: [(
            TextField::DisplayName,
            "A \u{0}name, \"quoted\"; 山田 🎉".to_owned(),
        )]
        .into(),
        role: "member".into(),
        restrictions: vec!["berlin".into()],
        custom: [("desk".to_owned(), "7".to_owned())].into(),
    }
}

/// Tenant acme with directory main and user sync staff.
pub(crate) async fn set_up(store: &Store) {
    set_up_tenant(store, "acme").await;
}

pub(crate) async fn set_up_tenant(store: &Store, tenant: &str) {
    let tenant = tenant_id(tenant);
    store
        .create_tenant(&tenant, &tenant_settings(&[]), Recorded::by_nobody(at(0)))
        .await
        .unwrap();
    let secrets = NewSecrets::default();
    store
        .create_directory(
            &tenant,
            &directory_id("main"),
            &directory_settings(),
            secrets,
            Recorded::by_nobody(at(0)),
        )
        .await
        .unwrap();
    store
        .create_user_sync(
            &tenant,
            &sync_id("staff"),
            &sync_settings("main"),
            Some(at(100)),
            Recorded::by_nobody(at(0)),
        )
        .await
        .unwrap();
}

/// A store with acme's user sync staff, and the lease to run it.
pub(crate) async fn ready(engine: &Engine) -> (Store, LeaseToken) {
    let store = engine.store().await;
    set_up(&store).await;
    let token = lease(&store, &staff()).await;
    (store, token)
}

pub(crate) async fn lease(store: &Store, key: &UserSyncKey) -> LeaseToken {
    store
        .acquire_lease(&LeaseName::run_of(key), "worker-1", TTL)
        .await
        .unwrap()
        .unwrap()
}

/// The run in the hands of whoever has the lease.
pub(crate) fn handle(lease: &LeaseToken, key: &UserSyncKey, id: RunId) -> RunHandle {
    RunHandle {
        lease: lease.clone(),
        key: key.clone(),
        id,
    }
}

pub(crate) fn new_run(number: u128) -> NewRun {
    NewRun {
        id: run_id(number),
        mode: RunMode::Apply,
        trigger: RunTrigger::Call,
        asked_by: AskedBy::caller("tester"),
    }
}

pub(crate) fn external_id(number: u128) -> ExternalId {
    ExternalId::from_bytes(IdKind::EntryUuid, &number.to_be_bytes()).unwrap()
}

/// The creation of user `number`, who is person `number` of the directory.
pub(crate) fn creation(number: u128, login: &str) -> Change {
    let profile = profile(login);
    Change {
        kind: ChangeKind::Create,
        user: user_id(number),
        expected_revision: Revision::NONE,
        state_before: None,
        origin: Origin {
            user_sync: sync_id("staff"),
            directory: directory_id("main"),
            external_id: external_id(number),
            dn: format!("uid={login},ou=people"),
            linked: false,
        },
        profile,
        state: UserState::Active,
        state_reason: None,
        login_ambiguous: false,
        login_asked_by: None,
        changes: Vec::new(),
    }
    .compared(None)
}

/// A change of a synced user's fields.
pub(crate) fn update(user: &User, edit: impl FnOnce(&mut Profile)) -> Change {
    let mut profile = user.profile.clone();
    edit(&mut profile);
    Change {
        kind: ChangeKind::Update,
        user: user.id,
        expected_revision: user.revision,
        state_before: Some(user.state),
        origin: user.origin.clone().unwrap(),
        profile,
        state: user.state,
        state_reason: user.state_reason,
        login_ambiguous: false,
        login_asked_by: None,
        changes: Vec::new(),
    }
    .compared(Some(user))
}

/// A run of acme's staff that has these chunks and is APPLYING.
pub(crate) async fn planned(store: &Store, lease: &LeaseToken, number: u128, chunks: &[&[Change]]) -> RunId {
    let (key, id) = (staff(), run_id(number));
    store
        .create_run(lease, &key, new_run(number), None, at(1))
        .await
        .unwrap();
    store.begin_pull(&handle(lease, &key, id), 9).await.unwrap();
    let mut counts = RunCounts::default();
    for (index, changes) in (0..).zip(chunks) {
        store
            .append_chunk(&handle(lease, &key, id), index, changes)
            .await
            .unwrap();
        counts.created += changes
            .iter()
            .filter(|change| change.kind == ChangeKind::Create)
            .count() as u64;
        counts.updated += changes
            .iter()
            .filter(|change| change.kind == ChangeKind::Update)
            .count() as u64;
    }
    let result = PlanResult {
        outcome: PlanOutcome::Apply,
        counts,
        complete: true,
    };
    store
        .finish_plan(&handle(lease, &key, id), result, &Mailing::default(), at(2))
        .await
        .unwrap();
    id
}

/// An end that says nothing about the user sync.
pub(crate) fn ended(state: RunState) -> RunEnd {
    RunEnd {
        state,
        failure: None,
        health: Health::default(),
        applied_scope_revision: None,
        complete_pull_time: None,
    }
}

/// Applies one chunk of changes in a run of its own.
pub(crate) async fn apply(
    store: &Store,
    lease: &LeaseToken,
    number: u128,
    changes: &[Change],
) -> ChunkOutcome {
    let id = planned(store, lease, number, &[changes]).await;
    store
        .apply_chunk(&handle(lease, &staff(), id), 0, changes, at(3))
        .await
        .unwrap()
}

/// The events that are kept behind a position.
pub(crate) async fn events_behind(store: &Store, tenant: Option<&TenantId>, position: i64) -> Vec<Event> {
    let start = store.feed_start(tenant).await.unwrap();
    let mut events = store.list_events(tenant, start, MAX_PAGE).await.unwrap();
    events.retain(|event| match tenant {
        Some(_) => event.tenant_position > position,
        None => event.position > position,
    });
    events
}
