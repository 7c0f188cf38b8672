//! The configuration in force: that of the last Complete run that was applied.

use rollcall_core::revision::Revision;
use rollcall_core::run::RunState;
use rollcall_store::{LoginStore, Mailing, Recorded, RunEnd, Store};

use crate::engine::{Engine, on_both};
use crate::fixture::*;

on_both! {
    a_configuration_is_in_force_once_a_complete_run_with_it_was_applied,
    runs_share_a_copy_of_their_settings_and_it_goes_with_them,
}

/// Roles of the settings in force and of the draft, as runs and as logins see them.
async fn roles(store: &Store, logins: &LoginStore) -> (String, String) {
    let judged_by = store.judged_by(&acme(), &sync_id("staff")).await.unwrap();
    let target = logins.target(&acme(), "ada").await.unwrap().unwrap();
    let config = logins.config(&acme(), &target.sync.unwrap()).await.unwrap();
    assert_eq!(judged_by.user_sync.settings, config.user_sync.settings);
    assert_eq!(judged_by.in_force, config.in_force);
    (
        config.in_force.role.clone(),
        config.user_sync.settings.role.clone(),
    )
}

async fn edit(store: &Store, revision: i64, role: &str) {
    let mut settings = sync_settings("main");
    settings.role = role.into();
    store
        .update_user_sync(
            &acme(),
            &sync_id("staff"),
            Revision::new(revision),
            &settings,
            None,
            Recorded::by_nobody(at(5)),
        )
        .await
        .unwrap();
}

fn pair(in_force: &str, draft: &str) -> (String, String) {
    (in_force.into(), draft.into())
}

async fn a_configuration_is_in_force_once_a_complete_run_with_it_was_applied(engine: Engine) {
    let store = engine.store().await;
    let logins = LoginStore::open(&store);
    set_up(&store).await;
    let token = lease(&store, &staff()).await;
    store
        .apply_single(&staff(), &creation(1, "ada"), at(3))
        .await
        .unwrap();
    let first = sync_settings("main").role;
    edit(&store, 1, "boss").await;
    assert_eq!(
        roles(&store, &logins).await,
        pair("boss", "boss"),
        "nothing was applied yet"
    );

    let id = planned(&store, &token, 1, &[]).await;
    edit(&store, 2, &first).await;
    assert_eq!(roles(&store, &logins).await, pair(&first, &first));
    let end = |state, complete: bool| RunEnd {
        complete_pull_time: complete.then_some(at(2)),
        ..ended(state)
    };
    // Edited while it was applied: what it ran with is in force, and not what was edited.
    store
        .end_run(
            &handle(&token, &staff(), id),
            end(RunState::Succeeded, true),
            &Mailing::default(),
            at(6),
        )
        .await
        .unwrap();
    assert_eq!(roles(&store, &logins).await, pair("boss", &first));

    let id = planned(&store, &token, 2, &[]).await;
    store
        .end_run(
            &handle(&token, &staff(), id),
            end(RunState::Succeeded, false),
            &Mailing::default(),
            at(6),
        )
        .await
        .unwrap();
    assert_eq!(
        roles(&store, &logins).await,
        pair("boss", &first),
        "it did not see all"
    );
    let id = planned(&store, &token, 3, &[]).await;
    store
        .end_run(
            &handle(&token, &staff(), id),
            end(RunState::Succeeded, true),
            &Mailing::default(),
            at(6),
        )
        .await
        .unwrap();
    assert_eq!(roles(&store, &logins).await, pair(&first, &first));
}

async fn runs_share_a_copy_of_their_settings_and_it_goes_with_them(engine: Engine) {
    let store = engine.store().await;
    set_up(&store).await;
    let token = lease(&store, &staff()).await;
    for number in 1..=2 {
        let id = planned(&store, &token, number, &[]).await;
        store
            .end_run(
                &handle(&token, &staff(), id),
                ended(RunState::Succeeded),
                &Mailing::default(),
                at(3),
            )
            .await
            .unwrap();
    }
    edit(&store, 1, "boss").await;
    let id = planned(&store, &token, 3, &[]).await;
    store
        .end_run(
            &handle(&token, &staff(), id),
            ended(RunState::Succeeded),
            &Mailing::default(),
            at(4),
        )
        .await
        .unwrap();
    let kept = async |revision| {
        let (tenant, staff) = (acme(), sync_id("staff"));
        let settings = store.settings_of_revision(&tenant, &staff, revision).await;
        settings.unwrap().map(|settings| settings.role)
    };
    assert_eq!(kept(Revision::FIRST).await, Some(sync_settings("main").role));
    assert_eq!(kept(Revision::new(2)).await.as_deref(), Some("boss"));
    // One of the two runs of the first revision is kept for now.
    assert_eq!(store.delete_old_runs(at(100), 1).await.unwrap(), 1);
    assert!(kept(Revision::FIRST).await.is_some());
    assert_eq!(store.delete_old_runs(at(100), 10).await.unwrap(), 1);
    assert_eq!(kept(Revision::FIRST).await, None);
    assert_eq!(kept(Revision::new(2)).await.as_deref(), Some("boss"));
}
