//! What a filter finds, before and after sealing, in both orders.

use rollcall_core::audit::{About, AuditClass, AuditEvent, AuditFilter, AuditKind, AuditOrder, LoginOutcome};
use rollcall_store::{NewAuditEvent, PageRequest, SealReach, Store};

use super::sealing::{full, listed, seal};
use crate::engine::{Engine, on_both};
use crate::fixture::*;

on_both! {
    a_filter_finds_the_same_before_and_after_sealing,
    pages_neither_repeat_nor_skip_while_events_are_sealed,
}

fn change(seconds: i64, method: &'static str, resource: &str) -> NewAuditEvent {
    let [_, change, _] = full();
    NewAuditEvent {
        time: at(seconds),
        kind: AuditKind::Change {
            method: method.into(),
            resource: resource.into(),
            changes: Vec::new(),
        },
        ..change
    }
}

fn events() -> Vec<NewAuditEvent> {
    let [login, block, stranger] = full();
    let mut succeeded = login.clone();
    succeeded.time = at(20);
    succeeded.caller = "kiosk".into();
    if let AuditKind::Login {
        outcome,
        reason,
        client_address,
        user_sync,
        ..
    } = &mut succeeded.kind
    {
        *outcome = LoginOutcome::Authenticated;
        *reason = rollcall_core::audit::OwnReason::Authenticated.into();
        *client_address = Some("203.0.113.9".into());
        *user_sync = Some(sync_id("guests"));
    }
    let mut of_another = login.clone();
    of_another.tenant = Some(tenant_id("other"));
    vec![
        login,
        block,
        stranger,
        succeeded,
        of_another,
        change(10, "TenantService.UpdateTenant", "tenants/acme"),
        change(
            11,
            "UserSyncService.UpdateUserSync",
            "tenants/acme/userSyncs/staff",
        ),
        change(
            12,
            "SyncRunService.ApplySyncRun",
            "tenants/acme/userSyncs/staff/runs/1",
        ),
        change(
            13,
            "DirectoryService.UpdateDirectory",
            "tenants/acme/directories/main",
        ),
        // The clock went back.
        change(1, "TenantService.UpdateTenant", "tenants/acme"),
    ]
}

fn filters() -> Vec<(AuditFilter, &'static [i64])> {
    let none = AuditFilter::default;
    let about = |resource: &str, below| AuditFilter {
        about: About::new(resource, below),
        ..none()
    };
    let user = format!("tenants/acme/users/{}", user_id(1));
    let class = |class| AuditFilter {
        class: Some(class),
        ..none()
    };
    let outcomes = |outcomes: &[LoginOutcome]| AuditFilter {
        outcomes: outcomes.to_vec(),
        ..none()
    };
    vec![
        (none(), &[20, 13, 12, 11, 10, 4, 3, 2, 2, 1]),
        (class(AuditClass::Login), &[20, 4, 2, 2]),
        (class(AuditClass::Change), &[13, 12, 11, 10, 3, 1]),
        (
            AuditFilter {
                method: Some("TenantService.UpdateTenant".into()),
                ..none()
            },
            &[10, 1],
        ),
        (about("tenants/acme", false), &[10, 1]),
        (about("tenants/acme", true), &[20, 13, 12, 11, 10, 3, 2, 1]),
        (about("tenants/acme/userSyncs/staff", false), &[11, 2]),
        (about("tenants/acme/userSyncs/staff", true), &[12, 11, 2]),
        (about("tenants/acme/userSyncs/staff/runs/1", true), &[12]),
        (about("tenants/acme/directories/main", false), &[20, 13, 2]),
        (about(&user, false), &[20, 3, 2]),
        (about("tenants/acme/securityReview", false), &[]),
        (
            AuditFilter {
                user: Some(user_id(1)),
                ..none()
            },
            &[20, 3, 2, 2],
        ),
        (
            AuditFilter {
                actor: Some("ada@example.com".into()),
                ..none()
            },
            &[13, 12, 11, 10, 3, 1],
        ),
        (
            AuditFilter {
                caller: Some("kiosk".into()),
                ..none()
            },
            &[20],
        ),
        (
            AuditFilter {
                client_address: Some("198.51.100.1".into()),
                ..none()
            },
            &[2, 2],
        ),
        (outcomes(&[LoginOutcome::Denied]), &[4, 2, 2]),
        (
            outcomes(&[LoginOutcome::Authenticated, LoginOutcome::Denied]),
            &[20, 4, 2, 2],
        ),
        (
            AuditFilter {
                reason: Some("UNKNOWN_LOGIN".into()),
                ..none()
            },
            &[4],
        ),
        (
            AuditFilter {
                from: Some(at(3)),
                to: Some(at(12)),
                ..none()
            },
            &[11, 10, 4, 3],
        ),
        (
            AuditFilter {
                caller: Some("portal".into()),
                from: Some(at(3)),
                class: Some(AuditClass::Login),
                outcomes: vec![LoginOutcome::Denied],
                ..none()
            },
            &[4],
        ),
    ]
}

async fn found(store: &Store, filter: &AuditFilter, size: u32) -> Vec<AuditEvent> {
    let mut page = PageRequest::first(size);
    let mut events = Vec::new();
    loop {
        let found = store.list_audit(None, filter, &page).await.unwrap();
        events.extend(found.items);
        page.after = found.next;
        if page.after.is_none() {
            return events;
        }
    }
}

fn seconds(events: &[AuditEvent]) -> Vec<i64> {
    events
        .iter()
        .map(|event| (event.time - at(0)).num_seconds())
        .collect()
}

async fn a_filter_finds_the_same_before_and_after_sealing(engine: Engine) {
    let store = engine.store().await;
    store.record_audit(&events()).await.unwrap();
    let everything = listed(&store).await;
    for sealed in ["none is sealed", "some are sealed", "all are sealed"] {
        for (mut filter, expected) in filters() {
            let newest = found(&store, &filter, 3).await;
            assert_eq!(seconds(&newest), expected, "{sealed}: {filter:?}");
            // The store's conditions and the domain's say the same.
            let matching: Vec<_> = everything
                .iter()
                .filter(|event| filter.matches(event))
                .cloned()
                .collect();
            assert_eq!(newest, matching, "{sealed}: {filter:?}");
            filter.order = AuditOrder::OldestFirst;
            let mut oldest = found(&store, &filter, 3).await;
            oldest.reverse();
            assert_eq!(oldest, matching, "{sealed}: {filter:?}");
        }
        store.seal_audit(SealReach::Newest, 6).await.unwrap();
    }
    assert!(!store.audit_waits(SealReach::All).await.unwrap());
    // By tenant, what is another's is not there, whatever the filter names.
    let whose = AuditFilter {
        about: About::new("tenants/acme", true),
        ..AuditFilter::default()
    };
    let other = tenant_id("other");
    let none = store
        .list_audit(Some(&other), &whose, &all())
        .await
        .unwrap()
        .items;
    assert!(none.is_empty());
    let own = store
        .list_audit(Some(&other), &AuditFilter::default(), &all())
        .await;
    assert_eq!(seconds(&own.unwrap().items), [2]);
}

async fn pages_neither_repeat_nor_skip_while_events_are_sealed(engine: Engine) {
    let store = engine.store().await;
    store.record_audit(&events()).await.unwrap();
    for order in [AuditOrder::NewestFirst, AuditOrder::OldestFirst] {
        let filter = AuditFilter {
            order,
            ..AuditFilter::default()
        };
        let mut page = PageRequest::first(2);
        let mut ids = Vec::new();
        loop {
            let found = store.list_audit(None, &filter, &page).await.unwrap();
            ids.extend(found.items.iter().map(|event| event.id));
            page.after = found.next;
            if page.after.is_none() {
                break;
            }
            store.seal_audit(SealReach::Newest, 1).await.unwrap();
        }
        assert_eq!(ids.len(), 10, "{order:?}");
        ids.sort_unstable();
        ids.dedup();
        assert_eq!(ids.len(), 10, "{order:?}");
    }
    seal(&store).await;
}
