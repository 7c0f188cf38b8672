//! A change and its record are one: whichever cannot be written, there is neither.

use std::collections::BTreeMap;

use futures::future::BoxFuture;
use rollcall_core::audit::AuditFilter;
use rollcall_core::feed::Mark;
use rollcall_core::revision::Revision;
use rollcall_core::run::{PlanOutcome, PlanResult, RunCounts};
use rollcall_core::user::UserDisposition;
use rollcall_store::{
    DirectoryUpdate, EraseUser, LeaseToken, Mailing, NewAuditEvent, NewSecrets, NewUser, Recorded, Store,
    StoreError,
};

use crate::engine::{Engine, on_both};
use crate::fixture::*;

on_both! {
    a_change_whose_record_fails_is_not_made,
    a_change_that_fails_leaves_no_record,
}

pub(crate) type Deed = for<'a> fn(&'a Store, &'a LeaseToken) -> BoxFuture<'a, Result<(), StoreError>>;

/// Every method that changes something for a call, on what [`begin`] made, and the table that it writes.
pub(crate) const DEEDS: [(&str, &str, Deed); 23] = [
    ("create_tenant", "tenants", |store, _| {
        Box::pin(async {
            store
                .create_tenant(
                    &tenant_id("new"),
                    &tenant_settings(&[]),
                    Recorded::by_nobody(at(9)),
                )
                .await
                .map(drop)
        })
    }),
    ("update_tenant", "tenants", |store, _| {
        Box::pin(async {
            store
                .update_tenant(
                    &acme(),
                    Revision::FIRST,
                    &tenant_settings(&["x.example"]),
                    Recorded::by_nobody(at(9)),
                )
                .await
                .map(drop)
        })
    }),
    ("begin_tenant_deletion", "tenants", |store, _| {
        Box::pin(async {
            store
                .begin_tenant_deletion(&tenant_id("empty"), None, Recorded::by_nobody(at(9)))
                .await
                .map(drop)
        })
    }),
    ("delete_tenant", "tenants", |store, _| {
        Box::pin(async {
            store
                .delete_tenant(&tenant_id("empty"), None, false, Recorded::by_nobody(at(9)))
                .await
        })
    }),
    ("create_directory", "directories", |store, _| {
        Box::pin(async {
            let id = directory_id("new");
            store
                .create_directory(
                    &acme(),
                    &id,
                    &directory_settings(),
                    NewSecrets::default(),
                    Recorded::by_nobody(at(9)),
                )
                .await
                .map(drop)
        })
    }),
    ("update_directory", "directories", |store, _| {
        Box::pin(async {
            let (id, settings) = (directory_id("spare"), directory_settings());
            store
                .update_directory(
                    &acme(),
                    &id,
                    DirectoryUpdate {
                        expected_revision: Revision::FIRST,
                        settings: &settings,
                        secrets: NewSecrets::default(),
                        endpoint_confirmed: true,
                    },
                    Recorded::by_nobody(at(9)),
                )
                .await
                .map(drop)
        })
    }),
    ("delete_directory", "directories", |store, _| {
        Box::pin(async {
            store
                .delete_directory(&acme(), &directory_id("spare"), None, Recorded::by_nobody(at(9)))
                .await
        })
    }),
    ("rotate_bind_password", "directories", |store, _| {
        Box::pin(async {
            let password = rollcall_core::secret::Password::new("another password".into()).unwrap();
            store
                .rotate_bind_password(
                    &acme(),
                    &directory_id("spare"),
                    None,
                    &password,
                    Recorded::by_nobody(at(9)),
                )
                .await
                .map(drop)
        })
    }),
    ("confirm_endpoint", "directories", |store, _| {
        Box::pin(async {
            let id = directory_id("moved");
            store
                .confirm_endpoint(&acme(), &id, Revision::new(2), Recorded::by_nobody(at(9)))
                .await
                .map(drop)
        })
    }),
    ("create_user_sync", "user_syncs", |store, _| {
        Box::pin(async {
            let (id, settings) = (sync_id("new"), sync_settings("main"));
            store
                .create_user_sync(&acme(), &id, &settings, None, Recorded::by_nobody(at(9)))
                .await
                .map(drop)
        })
    }),
    ("update_user_sync", "user_syncs", |store, _| {
        Box::pin(async {
            let (id, settings) = (staff().user_sync, sync_settings("main"));
            store
                .update_user_sync(
                    &acme(),
                    &id,
                    Revision::FIRST,
                    &settings,
                    None,
                    Recorded::by_nobody(at(9)),
                )
                .await
                .map(drop)
        })
    }),
    ("delete_user_sync", "user_syncs", |store, lease| {
        Box::pin(async move {
            store
                .delete_user_sync(
                    lease,
                    &staff(),
                    None,
                    UserDisposition::Archive,
                    Recorded::by_nobody(at(9)),
                )
                .await
        })
    }),
    ("create_local_user", "users", |store, _| {
        Box::pin(async {
            let user = NewUser {
                id: user_id(7),
                profile: profile("new"),
                owner: false,
            };
            store
                .create_local_user(&acme(), user, Recorded::by_nobody(at(9)))
                .await
                .map(drop)
        })
    }),
    ("update_local_user", "users", |store, _| {
        Box::pin(async {
            store
                .update_local_user(
                    &acme(),
                    user_id(1),
                    None,
                    &profile("ada2"),
                    false,
                    Recorded::by_nobody(at(9)),
                )
                .await
                .map(drop)
        })
    }),
    ("delete_local_user", "users", |store, _| {
        Box::pin(async {
            store
                .delete_local_user(&acme(), user_id(1), None, Recorded::by_nobody(at(9)))
                .await
        })
    }),
    ("block_user", "users", |store, _| {
        Box::pin(async {
            store
                .block_user(&acme(), user_id(1), None, "left", Recorded::by_nobody(at(9)))
                .await
                .map(drop)
        })
    }),
    ("unblock_user", "users", |store, _| {
        Box::pin(async {
            store
                .unblock_user(&acme(), user_id(2), None, Recorded::by_nobody(at(9)))
                .await
                .map(drop)
        })
    }),
    ("record_security_review", "security_reviews", |store, _| {
        Box::pin(async {
            let event = NewAuditEvent::by_nobody(at(9));
            store
                .record_security_review(&acme(), "ada", "all", &event)
                .await
                .map(drop)
        })
    }),
    ("create_run", "sync_runs", |store, lease| {
        Box::pin(async move {
            let event = NewAuditEvent::by_nobody(at(9));
            store
                .create_run(lease, &staff(), new_run(9), Some(&event), at(9))
                .await
                .map(drop)
        })
    }),
    ("cancel_waiting_run", "sync_runs", |store, _| {
        Box::pin(async {
            let event = NewAuditEvent::by_nobody(at(9));
            store
                .cancel_waiting_run(&staff(), run_id(1), &event)
                .await
                .map(drop)
        })
    }),
    ("begin_apply", "sync_runs", |store, lease| {
        Box::pin(async move {
            let event = NewAuditEvent::by_nobody(at(9));
            let run = handle(lease, &staff(), run_id(1));
            store.begin_apply(&run, &event).await.map(drop)
        })
    }),
    ("request_cancel", "sync_runs", |store, _| {
        Box::pin(async {
            let event = NewAuditEvent::by_nobody(at(9));
            store
                .request_cancel(&key_of("acme", "busy"), run_id(5), &event)
                .await
        })
    }),
    ("erase_user", "users", |store, _| {
        Box::pin(async {
            let tenant = acme();
            let erase = EraseUser {
                tenant: &tenant,
                user: user_id(2),
                expected_revision: None,
                exclude: false,
                left_before: None,
            };
            store.erase_user(erase, &NewAuditEvent::by_nobody(at(9))).await
        })
    }),
];

pub(crate) async fn begin(engine: &Engine) -> (Store, LeaseToken) {
    let (store, lease) = ready(engine).await;
    let no_secrets = NewSecrets::default;
    store
        .create_tenant(
            &tenant_id("empty"),
            &tenant_settings(&[]),
            Recorded::by_nobody(at(0)),
        )
        .await
        .unwrap();
    for id in ["spare", "moved"] {
        let (id, settings) = (directory_id(id), directory_settings());
        store
            .create_directory(&acme(), &id, &settings, no_secrets(), Recorded::by_nobody(at(0)))
            .await
            .unwrap();
    }
    let (moved, settings) = (directory_id("moved"), directory_settings());
    store
        .update_directory(
            &acme(),
            &moved,
            DirectoryUpdate {
                expected_revision: Revision::FIRST,
                settings: &settings,
                secrets: no_secrets(),
                endpoint_confirmed: false,
            },
            Recorded::by_nobody(at(0)),
        )
        .await
        .unwrap();
    for (number, login) in [(1, "ada"), (2, "bob")] {
        let user = NewUser {
            id: user_id(number),
            profile: profile(login),
            owner: false,
        };
        store
            .create_local_user(&acme(), user, Recorded::by_nobody(at(0)))
            .await
            .unwrap();
    }
    store
        .block_user(&acme(), user_id(2), None, "left", Recorded::by_nobody(at(0)))
        .await
        .unwrap();
    // One run that waits, and one under way.
    let waiting = handle(&lease, &staff(), run_id(1));
    store
        .create_run(&lease, &staff(), new_run(1), None, at(1))
        .await
        .unwrap();
    store.begin_pull(&waiting, 9).await.unwrap();
    let plan = PlanResult {
        outcome: PlanOutcome::Planned,
        counts: RunCounts::default(),
        complete: true,
    };
    store
        .finish_plan(&waiting, plan, &Mailing::default(), at(2))
        .await
        .unwrap();
    let busy = key_of("acme", "busy");
    store
        .create_user_sync(
            &acme(),
            &busy.user_sync,
            &sync_settings("main"),
            None,
            Recorded::by_nobody(at(0)),
        )
        .await
        .unwrap();
    let busy_lease = crate::fixture::lease(&store, &busy).await;
    store
        .create_run(&busy_lease, &busy, new_run(5), None, at(1))
        .await
        .unwrap();
    store
        .begin_pull(&handle(&busy_lease, &busy, run_id(5)), 9)
        .await
        .unwrap();
    (store, lease)
}

/// Everything that the tenant has, and how many records there are.
pub(crate) async fn seen(store: &Store) -> (String, usize) {
    let tenants = store.list_tenants(None, &all()).await.unwrap().items;
    let directories = store.list_directories(&acme(), &all()).await.unwrap().items;
    let syncs = store.list_user_syncs(&acme(), &all()).await.unwrap().items;
    let users = store
        .list_users(&acme(), &Default::default(), &all())
        .await
        .unwrap()
        .items;
    let runs = store.list_tenant_runs(&acme(), &all()).await.unwrap().items;
    let reviews = store.list_security_reviews(&acme(), &all()).await.unwrap().items;
    let events = store.list_events(Some(&acme()), Mark::START, 100).await.unwrap();
    let audit = store
        .list_audit(None, &AuditFilter::default(), &all())
        .await
        .unwrap()
        .items;
    (
        format!("{tenants:?} {directories:?} {syncs:?} {users:?} {runs:?} {reviews:?} {events:?}"),
        audit.len(),
    )
}

/// From now on every write of this kind fails.
pub(crate) async fn refuse(engine: &Engine, operation: &str, table: &str) {
    match engine {
        Engine::Sqlite(_) => {
            let sql = format!(
                "CREATE TRIGGER refuse_{operation} BEFORE {operation} ON {table}
                BEGIN SELECT RAISE(ABORT, 'refused'); END"
            );
            engine.sql(&sql).await;
        }
        Engine::Postgres(_) => {
            engine
                .sql("CREATE OR REPLACE FUNCTION refuse() RETURNS trigger AS $$ BEGIN RAISE 'refused'; END $$ LANGUAGE plpgsql")
                .await;
            let sql = format!(
                "CREATE TRIGGER refuse_{operation} BEFORE {operation} ON {table}
                FOR EACH ROW EXECUTE FUNCTION refuse()"
            );
            engine.sql(&sql).await;
        }
    }
}

pub(crate) async fn allow(engine: &Engine, operation: &str, table: &str) {
    let on = match engine {
        Engine::Sqlite(_) => String::new(),
        Engine::Postgres(_) => format!(" ON {table}"),
    };
    engine.sql(&format!("DROP TRIGGER refuse_{operation}{on}")).await;
}

async fn a_change_whose_record_fails_is_not_made(engine: Engine) {
    let (store, lease) = begin(&engine).await;
    let before = seen(&store).await;
    refuse(&engine, "INSERT", "audit_unsealed").await;
    for (name, _, deed) in DEEDS {
        assert!(deed(&store, &lease).await.is_err(), "{name}");
        assert_eq!(seen(&store).await, before, "{name}");
    }
    let event = NewAuditEvent::by_nobody(at(9));
    assert!(store.unlock_user(&acme(), user_id(1), &event).await.is_err());
}

async fn a_change_that_fails_leaves_no_record(engine: Engine) {
    let (store, lease) = begin(&engine).await;
    let before = seen(&store).await;
    let mut made = BTreeMap::new();
    for (name, table, deed) in DEEDS {
        for operation in ["INSERT", "UPDATE", "DELETE"] {
            refuse(&engine, operation, table).await;
        }
        assert!(deed(&store, &lease).await.is_err(), "{name}");
        assert_eq!(seen(&store).await, before, "{name}");
        for operation in ["INSERT", "UPDATE", "DELETE"] {
            allow(&engine, operation, table).await;
        }
    }
    // Nothing refuses any more: each makes its change, with its record.
    for (name, _, deed) in DEEDS {
        let (_, records) = seen(&store).await;
        let done = deed(&store, &lease).await.is_ok();
        made.insert(name, (done, seen(&store).await.1 - records));
    }
    for (name, (done, records)) in made {
        // What an earlier one deleted or moved on is not there any more.
        assert_eq!(done, records > 0, "{name}");
        assert!(
            done || [
                "rotate_bind_password",
                "delete_local_user",
                "block_user",
                "create_run",
                "cancel_waiting_run",
                "begin_apply"
            ]
            .contains(&name),
            "{name}"
        );
    }
}
