//! Tenants, directories and user syncs.

use std::time::Duration;

use rollcall_core::audit::{AuditFilter, AuditKind};
use rollcall_core::check::{CheckReport, Stage, StageKind, StageResult};
use rollcall_core::dialect::Dialect;
use rollcall_core::directory::{DirectoryObservations, PasswordStrength};
use rollcall_core::event::EventType;
use rollcall_core::feed::Mark;
use rollcall_core::id::TenantId;
use rollcall_core::issue::{Health, HealthLevel};
use rollcall_core::revision::Revision;
use rollcall_core::run::{PlanOutcome, PlanResult, RunState};
use rollcall_core::secret::Password;
use rollcall_core::user::UserDisposition;
use rollcall_store::{
    CheckSubject, Cursor, DirectoryUpdate, Kind, LoginStore, MailPurpose, Mailing, NewAuditEvent, NewMail,
    NewSecrets, NewUser, PageRequest, Recorded, Store, StoreError, UserSyncFilter,
};

use crate::engine::{Engine, on_both};
use crate::fixture::*;

on_both! {
    user_syncs_of_all_tenants_are_found_by_their_health,
    tenants_are_kept_and_revised,
    a_domain_belongs_to_one_tenant,
    a_tenant_in_use_stays,
    directories_are_kept_and_revised,
    observations_are_no_change,
    user_syncs_are_kept_and_revised,
    a_new_scope_is_noticed,
    a_changed_configuration_supersedes_waiting_plans,
    one_replica_moves_the_schedule_on,
    lists_go_on_where_they_ended,
    the_last_check_and_reviews_are_kept,
    mail_is_claimed_once_and_again_when_it_failed,
    budgets_of_mails_are_shared_and_begin_anew_each_day,
}

async fn tenants_are_kept_and_revised(engine: Engine) {
    let store = engine.store().await;
    let created = store
        .create_tenant(
            &acme(),
            &tenant_settings(&["b.com", "a.com"]),
            Recorded::by_nobody(at(0)),
        )
        .await
        .unwrap();
    assert_eq!(created.settings, tenant_settings(&["b.com", "a.com"]));
    assert_eq!((created.revision, created.create_time), (Revision::FIRST, at(0)));
    assert_eq!(store.tenant(&acme()).await.unwrap(), created);
    let again = store
        .create_tenant(&acme(), &tenant_settings(&[]), Recorded::by_nobody(at(1)))
        .await;
    assert!(matches!(again, Err(StoreError::AlreadyExists)));

    let mut settings = tenant_settings(&["a.com", "c.com"]);
    settings.user_sync_enabled = false;
    let updated = store
        .update_tenant(&acme(), Revision::FIRST, &settings, Recorded::by_nobody(at(5)))
        .await
        .unwrap();
    assert_eq!(
        (updated.revision, updated.update_time, &updated.settings),
        (Revision::new(2), at(5), &settings)
    );
    let stale = store
        .update_tenant(&acme(), Revision::FIRST, &settings, Recorded::by_nobody(at(6)))
        .await;
    assert!(matches!(stale, Err(StoreError::RevisionMismatch)));
    let stale = store
        .delete_tenant(&acme(), Some(Revision::FIRST), false, Recorded::by_nobody(at(9)))
        .await;
    assert!(matches!(stale, Err(StoreError::RevisionMismatch)));
    store
        .delete_tenant(&acme(), Some(Revision::new(2)), false, Recorded::by_nobody(at(9)))
        .await
        .unwrap();
    assert!(matches!(
        store.tenant(&acme()).await,
        Err(StoreError::NotFound(Kind::Tenant))
    ));
    assert_eq!(store.tenant_by_domain("a.com").await.unwrap(), None);
}

async fn a_domain_belongs_to_one_tenant(engine: Engine) {
    let store = engine.store().await;
    store
        .create_tenant(&acme(), &tenant_settings(&["a.com"]), Recorded::by_nobody(at(0)))
        .await
        .unwrap();
    let taken = store
        .create_tenant(
            &tenant_id("evil"),
            &tenant_settings(&["a.com"]),
            Recorded::by_nobody(at(0)),
        )
        .await;
    assert!(matches!(taken, Err(StoreError::DomainTaken)));
    assert!(
        store.tenant(&tenant_id("evil")).await.is_err(),
        "half a tenant was left behind"
    );
    assert_eq!(store.tenant_by_domain("a.com").await.unwrap().unwrap().id, acme());
    assert_eq!(store.tenant_by_domain("b.com").await.unwrap(), None);
    assert_eq!(store.tenant_by_domain("\0").await.unwrap(), None);
}

async fn a_tenant_in_use_stays(engine: Engine) {
    let store = engine.store().await;
    set_up(&store).await;
    assert!(matches!(
        store
            .delete_tenant(&acme(), None, false, Recorded::by_nobody(at(9)))
            .await,
        Err(StoreError::TenantInUse)
    ));
    let in_use = store
        .delete_directory(&acme(), &directory_id("main"), None, Recorded::by_nobody(at(0)))
        .await;
    assert!(matches!(in_use, Err(StoreError::DirectoryInUse)));
    let token = lease(&store, &staff()).await;
    apply(&store, &token, 1, &[creation(1, "ada")]).await;
    store
        .delete_user_sync(
            &token,
            &staff(),
            Some(Revision::FIRST),
            UserDisposition::Deactivate,
            Recorded::by_nobody(at(4)),
        )
        .await
        .unwrap();
    store
        .delete_directory(
            &acme(),
            &directory_id("main"),
            Some(Revision::FIRST),
            Recorded::by_nobody(at(0)),
        )
        .await
        .unwrap();
    let local = NewUser {
        id: user_id(9),
        profile: profile("bob"),
        owner: false,
    };
    store
        .create_local_user(&acme(), local, Recorded::by_nobody(at(5)))
        .await
        .unwrap();
    let in_use = store
        .delete_tenant(&acme(), None, false, Recorded::by_nobody(at(9)))
        .await;
    assert!(matches!(in_use, Err(StoreError::TenantInUse)), "of its own users");
    store
        .delete_local_user(&acme(), user_id(9), None, Recorded::by_nobody(at(6)))
        .await
        .unwrap();
    let before = store.feed_end(None).await.unwrap();
    // What a deleted user sync left behind, nobody could take away by itself.
    store
        .delete_tenant(&acme(), None, false, Recorded::by_nobody(at(9)))
        .await
        .unwrap();
    store
        .create_tenant(&acme(), &tenant_settings(&[]), Recorded::by_nobody(at(10)))
        .await
        .unwrap();
    let found = LoginStore::open(&store).target(&acme(), "ada").await.unwrap();
    assert_eq!(found, None, "her login is free as well");
    // Whoever follows the whole deployment hears of it.
    let events = store.list_events(None, before, 10).await.unwrap();
    let told: Vec<_> = events
        .iter()
        .map(|event| (event.event_type, event.user))
        .collect();
    assert_eq!(told, [(EventType::Erased, user_id(1))]);
    // The new customer of this name sees nothing of the old one.
    let start = store.feed_start(Some(&acme())).await.unwrap();
    assert_eq!(store.list_events(Some(&acme()), start, 10).await.unwrap(), []);
    let from_the_beginning = store.list_events(Some(&acme()), Mark::START, 10).await;
    assert!(matches!(from_the_beginning, Err(StoreError::CursorExpired)));
    let change = |seconds| NewAuditEvent {
        time: at(seconds),
        tenant: Some(acme()),
        caller: "product".into(),
        actor: Default::default(),
        kind: AuditKind::Change {
            method: "UserService.BlockUser".into(),
            resource: "tenants/acme/users/1".into(),
            changes: Vec::new(),
        },
    };
    store.record_audit(&[change(3), change(11)]).await.unwrap();
    let audit = AuditFilter::default();
    let page = store.list_audit(Some(&acme()), &audit, &all()).await.unwrap();
    let times: Vec<_> = page.items.iter().map(|event| event.time).collect();
    assert_eq!(times, [at(11)]);

    // Where everybody is to go, the owner goes too.
    let owner = NewUser {
        id: user_id(10),
        profile: profile("owner"),
        owner: true,
    };
    store
        .create_local_user(&acme(), owner, Recorded::by_nobody(at(12)))
        .await
        .unwrap();
    let in_use = store
        .delete_tenant(&acme(), None, false, Recorded::by_nobody(at(13)))
        .await;
    assert!(matches!(in_use, Err(StoreError::TenantInUse)));
    let before = store.feed_end(None).await.unwrap();
    store
        .delete_tenant(&acme(), None, true, Recorded::by_nobody(at(13)))
        .await
        .unwrap();
    let events = store.list_events(None, before, 10).await.unwrap();
    assert_eq!(events.len(), 1);
    assert_eq!(events[0].event_type, EventType::Erased);
}

async fn directories_are_kept_and_revised(engine: Engine) {
    let store = engine.store().await;
    let main = directory_id("main");
    let no_tenant = store
        .create_directory(
            &acme(),
            &main,
            &directory_settings(),
            NewSecrets::default(),
            Recorded::by_nobody(at(0)),
        )
        .await;
    assert!(matches!(no_tenant, Err(StoreError::NotFound(Kind::Tenant))));
    store
        .create_tenant(&acme(), &tenant_settings(&[]), Recorded::by_nobody(at(0)))
        .await
        .unwrap();
    let created = store
        .create_directory(
            &acme(),
            &main,
            &directory_settings(),
            NewSecrets::default(),
            Recorded::by_nobody(at(0)),
        )
        .await
        .unwrap();
    assert_eq!(created.settings, directory_settings());
    assert!(created.endpoint_confirmed && !created.bind_password_set);
    assert_eq!(store.directory(&acme(), &main).await.unwrap(), created);

    let mut settings = directory_settings();
    settings.disabled = true;
    settings.hosts.pop();
    let none = NewSecrets::default();
    let updated = store
        .update_directory(
            &acme(),
            &main,
            DirectoryUpdate {
                expected_revision: Revision::FIRST,
                settings: &settings,
                secrets: none,
                endpoint_confirmed: false,
            },
            Recorded::by_nobody(at(7)),
        )
        .await
        .unwrap();
    assert_eq!(
        (updated.revision, updated.endpoint_confirmed, &updated.settings),
        (Revision::new(2), false, &settings)
    );
    let none = NewSecrets::default();
    let stale = store
        .update_directory(
            &acme(),
            &main,
            DirectoryUpdate {
                expected_revision: Revision::FIRST,
                settings: &settings,
                secrets: none,
                endpoint_confirmed: false,
            },
            Recorded::by_nobody(at(7)),
        )
        .await;
    assert!(matches!(stale, Err(StoreError::RevisionMismatch)));
    let stale = store
        .confirm_endpoint(&acme(), &main, Revision::FIRST, Recorded::by_nobody(at(8)))
        .await;
    assert!(matches!(stale, Err(StoreError::RevisionMismatch)));
    let confirmed = store
        .confirm_endpoint(&acme(), &main, Revision::new(2), Recorded::by_nobody(at(8)))
        .await
        .unwrap();
    assert!(confirmed.endpoint_confirmed && confirmed.revision == Revision::new(3));

    let password = Password::new("correct horse battery staple".into()).ok().unwrap();
    let rotated = store
        .rotate_bind_password(
            &acme(),
            &main,
            Some(Revision::new(3)),
            &password,
            Recorded::by_nobody(at(9)),
        )
        .await
        .unwrap();
    assert!(rotated.bind_password_set && rotated.revision == Revision::new(4));
    assert_eq!(rotated.bind_password_update_time, Some(at(9)));
    assert_eq!(rotated.bind_password_strength, Some(PasswordStrength::Strong));
    store
        .delete_directory(&acme(), &main, Some(Revision::new(4)), Recorded::by_nobody(at(0)))
        .await
        .unwrap();
    assert!(matches!(
        store.directory(&acme(), &main).await,
        Err(StoreError::NotFound(Kind::Directory))
    ));
}

async fn observations_are_no_change(engine: Engine) {
    let store = engine.store().await;
    set_up(&store).await;
    let observed = DirectoryObservations {
        dialect: Some(Dialect::OpenLdap),
        vendor: Some("OpenLDAP\0 2.5".into()),
        capabilities: vec!["1.2.840.113556.1.4.319".into()],
        lockout_threshold: Some(5),
        lockout_window: Some(Duration::from_secs(1_800)),
        observe_time: Some(at(3)),
        ..DirectoryObservations::default()
    };
    store
        .save_observations(&acme(), &directory_id("main"), &observed)
        .await
        .unwrap();
    let directory = store.directory(&acme(), &directory_id("main")).await.unwrap();
    assert_eq!(
        (directory.observed, directory.revision),
        (observed.clone(), Revision::FIRST)
    );
    let missing = store
        .save_observations(&acme(), &directory_id("nope"), &observed)
        .await;
    assert!(matches!(missing, Err(StoreError::NotFound(Kind::Directory))));
}

async fn user_syncs_are_kept_and_revised(engine: Engine) {
    let store = engine.store().await;
    set_up(&store).await;
    let created = store.user_sync(&acme(), &sync_id("staff")).await.unwrap();
    assert_eq!(created.settings, sync_settings("main"));
    assert_eq!(
        (created.revision, created.next_run_time),
        (Revision::FIRST, Some(at(100)))
    );
    let again = store
        .create_user_sync(
            &acme(),
            &sync_id("staff"),
            &sync_settings("main"),
            None,
            Recorded::by_nobody(at(1)),
        )
        .await;
    assert!(matches!(again, Err(StoreError::AlreadyExists)));
    let lost = store
        .create_user_sync(
            &acme(),
            &sync_id("lost"),
            &sync_settings("nope"),
            None,
            Recorded::by_nobody(at(1)),
        )
        .await;
    assert!(matches!(lost, Err(StoreError::NotFound(Kind::Directory))));

    let mut settings = sync_settings("main");
    settings.auto_sync = false;
    let updated = store
        .update_user_sync(
            &acme(),
            &sync_id("staff"),
            Revision::FIRST,
            &settings,
            None,
            Recorded::by_nobody(at(2)),
        )
        .await
        .unwrap();
    assert_eq!(
        (updated.revision, updated.next_run_time, &updated.settings),
        (Revision::new(2), None, &settings)
    );
    let stale = store
        .update_user_sync(
            &acme(),
            &sync_id("staff"),
            Revision::FIRST,
            &settings,
            None,
            Recorded::by_nobody(at(2)),
        )
        .await;
    assert!(matches!(stale, Err(StoreError::RevisionMismatch)));
    let of_directory = store
        .user_syncs_of_directory(&acme(), &directory_id("main"))
        .await
        .unwrap();
    assert_eq!(of_directory, [updated]);
}

async fn a_new_scope_is_noticed(engine: Engine) {
    let store = engine.store().await;
    set_up(&store).await;
    let sync = store.user_sync(&acme(), &sync_id("staff")).await.unwrap();
    assert_eq!(
        (sync.scope_revision, sync.applied_scope_revision),
        (Revision::FIRST, Revision::NONE)
    );
    let mut settings = sync_settings("main");
    settings.display_name = "Other".into();
    let sync = store
        .update_user_sync(
            &acme(),
            &sync.id,
            Revision::FIRST,
            &settings,
            None,
            Recorded::by_nobody(at(1)),
        )
        .await
        .unwrap();
    assert_eq!(
        (sync.revision, sync.scope_revision),
        (Revision::new(2), Revision::FIRST)
    );
    settings.searches[0].filter = "(uid=*)".into();
    let sync = store
        .update_user_sync(
            &acme(),
            &sync.id,
            Revision::new(2),
            &settings,
            None,
            Recorded::by_nobody(at(1)),
        )
        .await
        .unwrap();
    assert_eq!(
        (sync.revision, sync.scope_revision),
        (Revision::new(3), Revision::new(3))
    );
    let mut directory = directory_settings();
    directory.external_id_attribute = Some("employeeNumber".into());
    let none = NewSecrets::default();
    store
        .update_directory(
            &acme(),
            &directory_id("main"),
            DirectoryUpdate {
                expected_revision: Revision::FIRST,
                settings: &directory,
                secrets: none,
                endpoint_confirmed: true,
            },
            Recorded::by_nobody(at(2)),
        )
        .await
        .unwrap();
    let sync = store.user_sync(&acme(), &sync.id).await.unwrap();
    assert_eq!(
        (sync.revision, sync.scope_revision),
        (Revision::new(4), Revision::new(4))
    );
}

async fn a_changed_configuration_supersedes_waiting_plans(engine: Engine) {
    let store = engine.store().await;
    set_up(&store).await;
    let token = lease(&store, &staff()).await;
    for (number, outcome) in [
        (1, PlanOutcome::Planned),
        (2, PlanOutcome::Held(vec!["too many".into()])),
    ] {
        store
            .create_run(&token, &staff(), new_run(number), None, at(1))
            .await
            .unwrap();
        store
            .begin_pull(&handle(&token, &staff(), run_id(number)), 9)
            .await
            .unwrap();
        let result = PlanResult {
            outcome,
            counts: Default::default(),
            complete: true,
        };
        let run = store
            .finish_plan(
                &handle(&token, &staff(), run_id(number)),
                result,
                &Mailing::default(),
                at(2),
            )
            .await
            .unwrap();
        assert!(run.state.is_waiting() && run.expire_time == Some(at(2 + 72 * 3600)));
        if number == 1 {
            let settings = sync_settings("main");
            store
                .update_user_sync(
                    &acme(),
                    &sync_id("staff"),
                    Revision::FIRST,
                    &settings,
                    None,
                    Recorded::by_nobody(at(3)),
                )
                .await
                .unwrap();
        } else {
            let none = NewSecrets::default();
            let settings = directory_settings();
            store
                .update_directory(
                    &acme(),
                    &directory_id("main"),
                    DirectoryUpdate {
                        expected_revision: Revision::FIRST,
                        settings: &settings,
                        secrets: none,
                        endpoint_confirmed: true,
                    },
                    Recorded::by_nobody(at(3)),
                )
                .await
                .unwrap();
        }
        let run = store.run(&staff(), run_id(number)).await.unwrap();
        assert_eq!((run.state, run.end_time), (RunState::Superseded, Some(at(3))));
    }
}

async fn one_replica_moves_the_schedule_on(engine: Engine) {
    let (store, other) = (engine.store().await, engine.store().await);
    set_up(&store).await;
    let (tenant, sync) = (acme(), sync_id("staff"));
    let (first, second) = tokio::join!(
        store.set_next_run_time(&tenant, &sync, Some(at(100)), Some(at(200))),
        other.set_next_run_time(&tenant, &sync, Some(at(100)), Some(at(200))),
    );
    assert_ne!(first.unwrap(), second.unwrap());
    assert!(
        store
            .set_next_run_time(&tenant, &sync, Some(at(200)), None)
            .await
            .unwrap()
    );
    assert!(
        store
            .set_next_run_time(&tenant, &sync, None, Some(at(300)))
            .await
            .unwrap()
    );
    let sync = store.user_sync(&tenant, &sync).await.unwrap();
    assert_eq!(
        (sync.next_run_time, sync.revision),
        (Some(at(300)), Revision::FIRST)
    );
}

async fn lists_go_on_where_they_ended(engine: Engine) {
    let store = engine.store().await;
    let ids: Vec<String> = (0..5).map(|number| format!("tenant-{number}")).collect();
    for id in &ids {
        store
            .create_tenant(&tenant_id(id), &tenant_settings(&[]), Recorded::by_nobody(at(0)))
            .await
            .unwrap();
    }
    let mut seen = Vec::new();
    let mut page = PageRequest::first(2);
    loop {
        let found = store.list_tenants(None, &page).await.unwrap();
        assert!(found.items.len() <= 2);
        seen.extend(found.items.into_iter().map(|tenant| tenant.id.to_string()));
        match found.next {
            Some(next) => page.after = Some(Cursor::from_text(next.as_str().to_owned())),
            None => break,
        }
    }
    assert_eq!(seen, ids);
    // Whoever may see some of them gets full pages of these, and learns of no other.
    let some = ["tenant-3", "tenant-1", "nobody"].map(str::to_owned);
    let first = store.list_tenants(Some(&some), &PageRequest::first(1)).await;
    let first = first.unwrap();
    assert_eq!(first.items[0].id, tenant_id("tenant-1"));
    assert_eq!(first.next.as_ref().unwrap().as_str(), "\"tenant-1\"");
    let second = PageRequest {
        limit: 1,
        after: first.next,
    };
    let second = store.list_tenants(Some(&some), &second).await.unwrap();
    assert_eq!(second.items[0].id, tenant_id("tenant-3"));
    assert_eq!(second.next, None);
    let none = store
        .list_tenants(Some(&[]), &PageRequest::first(9))
        .await
        .unwrap();
    assert_eq!((none.items, none.next), (vec![], None));
    page.after = Some(Cursor::from_text("{".into()));
    assert!(matches!(
        store.list_tenants(None, &page).await,
        Err(StoreError::InvalidCursor)
    ));
}

async fn the_last_check_and_reviews_are_kept(engine: Engine) {
    let store = engine.store().await;
    set_up(&store).await;
    let report = |message: &str| CheckReport {
        stages: vec![Stage {
            kind: StageKind::Tls,
            subject: "ldaps://dc1".into(),
            result: StageResult::Warn,
            duration: std::time::Duration::from_millis(12),
            message: message.into(),
            hint: "renew\0 it".into(),
        }],
    };
    let subject = CheckSubject::Directory(directory_id("main"));
    assert_eq!(store.last_check(&acme(), &subject).await.unwrap(), None);
    store
        .save_check(&acme(), &subject, &report("old"), at(1))
        .await
        .unwrap();
    store
        .save_check(&acme(), &subject, &report("new"), at(2))
        .await
        .unwrap();
    assert_eq!(
        store.last_check(&acme(), &subject).await.unwrap(),
        Some((at(2), report("new")))
    );
    let other = CheckSubject::UserSync(sync_id("main"));
    assert_eq!(store.last_check(&acme(), &other).await.unwrap(), None);

    let first = store
        .record_security_review(&acme(), "ada", "all well", &NewAuditEvent::by_nobody(at(3)))
        .await
        .unwrap();
    let second = store
        .record_security_review(&acme(), "bob", "still well", &NewAuditEvent::by_nobody(at(4)))
        .await
        .unwrap();
    assert_eq!(
        store.list_security_reviews(&acme(), &all()).await.unwrap().items,
        [second, first]
    );
}

async fn mail_is_claimed_once_and_again_when_it_failed(engine: Engine) {
    let (store, other) = (engine.store().await, engine.store().await);
    set_up(&store).await;
    for subject in ["one", "two"] {
        let mail = NewMail {
            id: subject.into(),
            to: vec!["admin@example.com".into()],
            subject: subject.into(),
            text: "text".into(),
            html: "<p>text</p>".into(),
        };
        store.enqueue_mails(&acme(), &mailing(mail), at(0)).await.unwrap();
    }
    let retry = std::time::Duration::from_secs(60);
    let (first, second) = tokio::join!(
        store.claim_mail(5, retry, at(1)),
        other.claim_mail(5, retry, at(1))
    );
    let claimed = [first.unwrap(), second.unwrap()].concat();
    assert_eq!(claimed.len(), 2, "each mail has one sender");
    store.finish_mail(claimed[0].position).await.unwrap();
    assert_eq!(store.claim_mail(5, retry, at(60)).await.unwrap(), []);
    let again = store.claim_mail(5, retry, at(61)).await.unwrap();
    assert_eq!(
        (again.len(), again[0].position, again[0].attempts),
        (1, claimed[1].position, 2)
    );
    store.postpone_mail(again[0].position, at(500)).await.unwrap();
    assert_eq!(
        store.claim_mail(5, retry, at(499)).await.unwrap(),
        [],
        "it was postponed beyond its claim"
    );
    assert_eq!(store.claim_mail(5, retry, at(500)).await.unwrap().len(), 1);
}

async fn budgets_of_mails_are_shared_and_begin_anew_each_day(engine: Engine) {
    let stores = [engine.store().await, engine.store().await];
    set_up(&stores[0]).await;
    let three = |purpose| Mailing {
        mails: vec![a_mail(); 3],
        purpose,
        per_day: 20,
        ..Mailing::default()
    };
    let enqueue = async |store: &Store, tenant: &TenantId, purpose| {
        store.enqueue_mails(tenant, &three(purpose), at(0)).await.unwrap()
    };
    let tasks: Vec<_> = (0..10)
        .map(|number| {
            let (store, mailing) = (stores[number % 2].clone(), three(MailPurpose::Report));
            tokio::spawn(async move { store.enqueue_mails(&acme(), &mailing, at(0)).await.unwrap() })
        })
        .collect();
    let mut withheld = 0;
    for task in tasks {
        withheld += task.await.unwrap();
    }
    assert_eq!(withheld, 10, "of thirty, twenty are sent");
    assert_eq!(enqueue(&stores[0], &acme(), MailPurpose::Alarm).await, 0);
    assert_eq!(
        enqueue(&stores[0], &tenant_id("other"), MailPurpose::Report).await,
        0
    );
    assert_eq!(enqueue(&stores[1], &acme(), MailPurpose::Report).await, 3);
    engine.sql("UPDATE mail_budgets SET day = day - 1").await;
    assert_eq!(enqueue(&stores[1], &acme(), MailPurpose::Report).await, 0);
    let due = stores[0].claim_mail(100, std::time::Duration::from_secs(60), at(1));
    assert_eq!(due.await.unwrap().len(), 20 + 3 + 3 + 3);
}

fn a_mail() -> NewMail {
    NewMail {
        id: "report".into(),
        to: vec!["admin@example.com".into()],
        subject: "Report".into(),
        text: "text".into(),
        html: "<p>text</p>".into(),
    }
}

async fn user_syncs_of_all_tenants_are_found_by_their_health(engine: Engine) {
    let store = engine.store().await;
    for tenant in ["acme", "acme-2", "zenith"] {
        set_up_tenant(&store, tenant).await;
    }
    // PostgreSQL's TEXT takes no U+0000, and a directory may say it.
    let health = |level| Health {
        level,
        problems: vec!["it says \"\0\"".to_owned()],
    };
    for (tenant, level) in [
        ("zenith", HealthLevel::Error),
        ("acme", HealthLevel::Error),
        ("acme-2", HealthLevel::Warning),
    ] {
        let key = key_of(tenant, "staff");
        let token = lease(&store, &key).await;
        store.set_health(&token, &key, &health(level)).await.unwrap();
    }
    let found = async |tenant: Option<&TenantId>, health: &[HealthLevel]| {
        let filter = UserSyncFilter {
            health: health.to_vec(),
            ..UserSyncFilter::default()
        };
        let (mut page, mut found) = (PageRequest::first(1), Vec::new());
        loop {
            let part = store.find_user_syncs(tenant, &filter, &page).await.unwrap();
            found.extend(part.items.into_iter().map(|sync| sync.tenant.to_string()));
            page.after = part.next;
            if page.after.is_none() {
                return found;
            }
        }
    };
    let (warning, error) = (HealthLevel::Warning, HealthLevel::Error);
    assert_eq!(found(None, &[]).await, ["acme", "acme-2", "zenith"]);
    assert_eq!(found(None, &[error]).await, ["acme", "zenith"]);
    assert_eq!(found(None, &[warning, error]).await, ["acme", "acme-2", "zenith"]);
    assert_eq!(found(None, &[HealthLevel::Ok]).await, Vec::<String>::new());
    assert_eq!(found(Some(&acme()), &[error]).await, ["acme"]);
    assert_eq!(found(Some(&acme()), &[warning]).await, Vec::<String>::new());
}
