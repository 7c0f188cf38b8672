//! Refusals of the soft lock in the audit log.

use rollcall_core::audit::{AuditFilter, AuditKind, Flood, LoginOutcome, OwnReason};
use rollcall_core::soft_lock::SoftLockSubject;
use rollcall_store::{NewAuditEvent, PageRequest};

use crate::engine::{Engine, Gateway, on_both};
use crate::fixture::*;

on_both! {
    a_flood_is_one_event_that_counts_what_was_answered,
    replicas_make_events_of_a_flood_once,
    a_flood_that_names_nobody_is_a_few_events_that_count_it,
}

fn refused(seconds: i64, user: u128) -> NewAuditEvent {
    NewAuditEvent {
        time: at(seconds),
        tenant: Some(acme()),
        caller: format!("caller {seconds}").as_str().into(),
        actor: Default::default(),
        kind: AuditKind::Login {
            outcome: LoginOutcome::Denied,
            reason: OwnReason::TooManyAttempts.into(),
            user: Some(user_id(user)),
            user_sync: None,
            directory: None,
            unknown_login: None,
            client_address: None,
            flood: None,
        },
    }
}

async fn refuse(store: &Gateway, seconds: i64, user: u128) {
    let subject = SoftLockSubject::User(user_id(user));
    store
        .logins
        .record_refusal(&acme(), &subject, refused(seconds, user))
        .await
        .unwrap();
}

/// Time of the event, and the flood that it stands for, from the oldest event to the newest.
async fn events(store: &Gateway, user: u128) -> Vec<(i64, String, Option<Flood>)> {
    let filter = AuditFilter {
        user: Some(user_id(user)),
        ..AuditFilter::default()
    };
    let found = store
        .list_audit(Some(&acme()), &filter, &PageRequest::first(100))
        .await
        .unwrap();
    let mut told: Vec<_> = found
        .items
        .into_iter()
        .map(|event| match event.kind {
            AuditKind::Login { flood, .. } => ((event.time - at(0)).num_seconds(), event.caller.name, flood),
            AuditKind::Change { .. } => panic!("no login"),
        })
        .collect();
    told.reverse();
    told
}

async fn a_flood_is_one_event_that_counts_what_was_answered(engine: Engine) {
    let store = engine.gateway().await;
    for seconds in 0..40 {
        refuse(&store, seconds, 1).await;
    }
    refuse(&store, 40, 2).await;
    let first = (0, "caller 0".to_owned(), None);
    assert_eq!(events(&store, 1).await, std::slice::from_ref(&first));
    assert_eq!(
        store.audit_refusals(at(0)).await.unwrap(),
        0,
        "it is not over yet"
    );
    // A crash comes between: another process goes on.
    store.close().await;
    let store = engine.gateway().await;
    assert_eq!(store.audit_refusals(at(41)).await.unwrap(), 2);
    let flood = Flood {
        attempts: 39,
        since: at(1),
    };
    let rest = (39, "caller 39".to_owned(), Some(flood));
    assert_eq!(events(&store, 1).await, [first, rest]);
    assert_eq!(events(&store, 2).await.len(), 1, "a single refusal is told once");
    assert_eq!(store.audit_refusals(at(1_000)).await.unwrap(), 0);
    refuse(&store, 90, 1).await;
    assert_eq!(events(&store, 1).await[2], (90, "caller 90".to_owned(), None));
}

async fn replicas_make_events_of_a_flood_once(engine: Engine) {
    let stores = [engine.gateway().await, engine.gateway().await];
    let tasks: Vec<_> = (0..120)
        .map(|index| {
            let store = stores[index % 2].clone();
            tokio::spawn(async move {
                refuse(&store, 5, index as u128 % 3 + 1).await;
                if index % 40 == 39 {
                    store.audit_refusals(at(6)).await.unwrap();
                }
            })
        })
        .collect();
    for task in tasks {
        task.await.unwrap();
    }
    let (one, other) = tokio::join!(stores[0].audit_refusals(at(6)), stores[1].audit_refusals(at(6)));
    one.and(other).unwrap();
    stores[0].audit_refusals(at(6)).await.unwrap();
    for user in 1..=3 {
        let counted: u64 = events(&stores[0], user)
            .await
            .into_iter()
            .map(|(_, _, flood)| flood.map_or(1, |flood| flood.attempts))
            .sum();
        assert_eq!(counted, 40, "of user {user}");
    }
}

async fn a_flood_that_names_nobody_is_a_few_events_that_count_it(engine: Engine) {
    let stores = [engine.gateway().await, engine.gateway().await];
    let nobody = |number: u64, caller: &str, reason: OwnReason| {
        let mut event = refused(0, 1);
        event.tenant = None;
        event.caller = caller.into();
        if let AuditKind::Login {
            reason: why,
            user,
            client_address,
            ..
        } = &mut event.kind
        {
            *why = reason.into();
            *user = None;
            *client_address = Some(format!("2001:db8::{number:x}"));
        }
        event
    };
    // Each from an address of its own.
    for chunk in 0..20 {
        let attempts = (0..500).map(|number| {
            let event = nobody(chunk * 500 + number, "product", OwnReason::RepeatedRequest);
            stores[number as usize % 2].logins.record_refusal_of_nobody(event)
        });
        for told in futures::future::join_all(attempts).await {
            told.unwrap();
        }
    }
    for (caller, reason) in [
        ("portal", OwnReason::RepeatedRequest),
        ("product", OwnReason::AmbiguousLogin),
    ] {
        let event = nobody(1, caller, reason);
        stores[0].logins.record_refusal_of_nobody(event).await.unwrap();
    }
    stores[0].audit_refusals(at(1)).await.unwrap();
    let found = stores[0]
        .list_audit(None, &AuditFilter::default(), &PageRequest::first(100))
        .await
        .unwrap();
    let mut counted = 0;
    for event in &found.items {
        assert_eq!(event.tenant, None);
        let AuditKind::Login {
            client_address,
            flood,
            ..
        } = &event.kind
        else {
            panic!("no login");
        };
        let address = client_address.as_ref().unwrap();
        assert!(address.starts_with("2001:db8::"), "{address}");
        counted += flood.map_or(1, |flood| flood.attempts);
    }
    assert_eq!(counted, 10_002, "none is lost");
    assert_eq!(
        found.items.len(),
        2 * 16 + 2,
        "16 groups, each with a first one and a count"
    );
    let of = |name: &str| {
        found
            .items
            .iter()
            .filter(|event| event.caller.name == name)
            .count()
    };
    assert_eq!((of("portal"), of("product")), (1, 33));
}
