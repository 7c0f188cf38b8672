//! What is too old goes, with all that belongs to it, and nothing else does.

use std::time::Duration;

use rollcall_core::audit::{AuditFilter, AuditKind};
use rollcall_core::check::CheckReport;
use rollcall_core::issue::{Issue, IssueKind};
use rollcall_core::run::RunState;
use rollcall_store::{
    CheckSubject, Mailing, NewAuditEvent, NewMail, NewUser, Recorded, SealReach, StoreError,
};

use crate::engine::{Engine, on_both};
use crate::fixture::*;

on_both! {
    an_old_run_goes_with_all_its_issues_and_its_plan,
    events_go_oldest_first_up_to_one_that_is_kept,
    audit_events_go_in_batches_and_young_ones_stay,
    a_mail_that_nobody_sends_goes,
    a_deleted_directory_leaves_no_check,
}

async fn an_old_run_goes_with_all_its_issues_and_its_plan(engine: Engine) {
    let store = engine.store().await;
    set_up(&store).await;
    let token = lease(&store, &staff()).await;
    let issues = vec![Issue::new(IssueKind::Overlap, "cn=x", "x"); 1_001];
    for number in [1, 2, 3] {
        let id = run_id(number);
        store
            .create_run(&token, &staff(), new_run(number), None, at(1))
            .await
            .unwrap();
        store.begin_pull(&handle(&token, &staff(), id), 9).await.unwrap();
        store
            .append_issues(&handle(&token, &staff(), id), &issues)
            .await
            .unwrap();
        for index in 0..11 {
            let chunk = [creation(1, "ada")];
            store
                .append_chunk(&handle(&token, &staff(), id), index, &chunk)
                .await
                .unwrap();
        }
        let end = ended(RunState::Failed);
        let time = at(10 * i64::try_from(number).unwrap());
        store
            .end_run(&handle(&token, &staff(), id), end, &Mailing::default(), time)
            .await
            .unwrap();
    }
    assert_eq!(store.delete_old_runs(at(10), 10).await.unwrap(), 0);
    assert_eq!(
        store.delete_old_runs(at(21), 1).await.unwrap(),
        1,
        "one at a time"
    );
    assert_eq!(store.delete_old_runs(at(21), 10).await.unwrap(), 1);
    // The third is the sync's last, so it stays whatever its age.
    assert_eq!(store.delete_old_runs(at(99), 10).await.unwrap(), 0);
    for (number, left) in [(1, 0), (2, 0), (3, 1_000)] {
        let (key, id) = (staff(), run_id(number));
        let found = store.list_issues(&key, id, None, &all()).await.unwrap();
        assert_eq!(found.items.len(), left);
        let changes = store.list_changes(&key, id, None, &all()).await.unwrap();
        assert_eq!(changes.items.len(), if left == 0 { 0 } else { 11 });
    }
}

async fn events_go_oldest_first_up_to_one_that_is_kept(engine: Engine) {
    let store = engine.store().await;
    set_up(&store).await;
    // The third was written while the clock was ahead.
    for (number, time) in [(1, 1), (2, 2), (3, 50), (4, 4)] {
        let user = NewUser {
            id: user_id(number),
            profile: profile(&format!("user{number}")),
            owner: false,
        };
        store
            .create_local_user(&acme(), user, Recorded::by_nobody(at(time)))
            .await
            .unwrap();
    }
    let oldest = events_behind(&store, Some(&acme()), 0).await[0].tenant_mark();
    assert_eq!(store.delete_old_events(at(2), 1).await.unwrap(), 1);
    assert_eq!(store.delete_old_events(at(10), 100).await.unwrap(), 1);
    assert_eq!(store.delete_old_events(at(10), 100).await.unwrap(), 0);
    assert_eq!(events_behind(&store, Some(&acme()), 2).await.len(), 2);
    let expired = store.list_events(Some(&acme()), oldest, 10).await;
    assert!(matches!(expired, Err(StoreError::CursorExpired)), "{expired:?}");
}

async fn audit_events_go_in_batches_and_young_ones_stay(engine: Engine) {
    let store = engine.store().await;
    set_up(&store).await;
    let event = |seconds| NewAuditEvent {
        time: at(seconds),
        tenant: Some(acme()),
        caller: "portal".into(),
        actor: Default::default(),
        kind: AuditKind::Change {
            method: "DirectoryService.UpdateDirectory".into(),
            resource: "tenants/acme/directories/main".into(),
            changes: Vec::new(),
        },
    };
    let events: Vec<_> = [1, 2, 3, 4, 9, 10].map(event).into();
    store.record_audit(&events).await.unwrap();
    assert_eq!(
        store.delete_old_audit(at(9), 100).await.unwrap(),
        0,
        "what is not sealed stays"
    );
    store.seal_audit(SealReach::Newest, 100).await.unwrap();
    // Those of what was set up.
    assert_eq!(store.delete_old_audit(at(1), 100).await.unwrap(), 3);
    assert_eq!(store.delete_old_audit(at(5), 3).await.unwrap(), 3);
    assert_eq!(store.delete_old_audit(at(5), 3).await.unwrap(), 1);
    assert_eq!(store.delete_old_audit(at(5), 3).await.unwrap(), 0);
    let left = store
        .list_audit(None, &AuditFilter::default(), &all())
        .await
        .unwrap();
    let left: Vec<_> = left.items.iter().map(|event| event.time).collect();
    assert_eq!(left, [at(10), at(9)]);
}

async fn a_mail_that_nobody_sends_goes(engine: Engine) {
    let store = engine.store().await;
    set_up(&store).await;
    let mail = |id: &str| NewMail {
        id: id.into(),
        to: vec!["it@example.com".into()],
        subject: "Report".into(),
        text: "1 user".into(),
        html: "<p>1 user</p>".into(),
    };
    for (id, time) in [("old", 1), ("young", 9)] {
        store
            .enqueue_mails(&acme(), &mailing(mail(id)), at(time))
            .await
            .unwrap();
    }
    assert_eq!(store.delete_old_mail(at(5), 10).await.unwrap(), 1);
    assert_eq!(store.delete_old_mail(at(5), 10).await.unwrap(), 0);
    let left = store
        .claim_mail(10, Duration::from_secs(60), at(99))
        .await
        .unwrap();
    assert_eq!(left.len(), 1);
    assert_eq!(left[0].mail, mail("young"));
}

/// A report holds samples of people's data, and says nothing about another directory that gets the same id.
async fn a_deleted_directory_leaves_no_check(engine: Engine) {
    let store = engine.store().await;
    set_up(&store).await;
    let (id, subject) = (
        directory_id("spare"),
        CheckSubject::Directory(directory_id("spare")),
    );
    let kept = CheckSubject::Directory(directory_id("main"));
    let settings = directory_settings();
    let create = async || {
        let secrets = rollcall_store::NewSecrets::default();
        store
            .create_directory(&acme(), &id, &settings, secrets, Recorded::by_nobody(at(1)))
            .await
            .unwrap();
    };
    create().await;
    for subject in [&subject, &kept] {
        store
            .save_check(&acme(), subject, &CheckReport::default(), at(2))
            .await
            .unwrap();
    }
    store
        .delete_directory(&acme(), &id, None, Recorded::by_nobody(at(0)))
        .await
        .unwrap();
    create().await;
    assert_eq!(store.last_check(&acme(), &subject).await.unwrap(), None);
    assert!(store.last_check(&acme(), &kept).await.unwrap().is_some());
}
