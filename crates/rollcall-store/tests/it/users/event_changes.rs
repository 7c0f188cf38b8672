//! Every event says what changed, whoever made the change.

use rollcall_core::event::EventType;
use rollcall_core::id::TenantId;
use rollcall_core::plan::{Change, ChangeKind};
use rollcall_core::user::{StateReason, User, UserDisposition, UserState};
use rollcall_store::{NewUser, Recorded, SingleOutcome, Store};

use crate::engine::{Engine, on_both};
use crate::fixture::*;

on_both! {
    runs_tell_states_names_and_owners_of_a_user,
    a_change_that_a_plan_does_not_know_is_told_all_the_same,
    the_product_s_own_changes_are_told,
    a_deleted_sync_tells_what_became_of_its_users,
}

/// The newest event: its type, and each field with its values before and after.
async fn newest(store: &Store, tenant: &TenantId) -> (EventType, Vec<String>) {
    let event = events_behind(store, Some(tenant), 0).await.pop().unwrap();
    let shown = event.changes.iter().map(|change| {
        let text = |value: &Option<String>| value.clone().unwrap_or_else(|| "-".into());
        format!("{}: {} > {}", change.field, text(&change.old), text(&change.new))
    });
    (event.event_type, shown.collect())
}

fn state(user: &User, kind: ChangeKind, state: UserState, reason: Option<StateReason>) -> Change {
    Change {
        kind,
        state,
        state_reason: reason,
        ..update(user, |_| {})
    }
    .compared(Some(user))
}

async fn ada(store: &Store) -> User {
    store.user(&acme(), user_id(1)).await.unwrap()
}

async fn runs_tell_states_names_and_owners_of_a_user(engine: Engine) {
    use UserState::{Active, Archived, Deactivated};
    let (store, token) = ready(&engine).await;
    apply(&store, &token, 1, &[creation(1, "ada")]).await;
    let steps = [
        (
            ChangeKind::Deactivate,
            Deactivated,
            Some(StateReason::OutOfScope),
            EventType::Deactivated,
            vec![
                "state: USER_STATE_ACTIVE > USER_STATE_DEACTIVATED",
                "state_reason: - > USER_STATE_REASON_OUT_OF_SCOPE",
            ],
        ),
        (
            ChangeKind::Update,
            Deactivated,
            Some(StateReason::DisabledInDirectory),
            EventType::Updated,
            vec!["state_reason: USER_STATE_REASON_OUT_OF_SCOPE > USER_STATE_REASON_DISABLED_IN_DIRECTORY"],
        ),
        (
            ChangeKind::Archive,
            Archived,
            Some(StateReason::Gone),
            EventType::Archived,
            vec![
                "state: USER_STATE_DEACTIVATED > USER_STATE_ARCHIVED",
                "state_reason: USER_STATE_REASON_DISABLED_IN_DIRECTORY > USER_STATE_REASON_GONE",
            ],
        ),
        // Somebody who left is in the directory again, but disabled.
        (
            ChangeKind::Deactivate,
            Deactivated,
            Some(StateReason::DisabledInDirectory),
            EventType::Deactivated,
            vec![
                "state: USER_STATE_ARCHIVED > USER_STATE_DEACTIVATED",
                "state_reason: USER_STATE_REASON_GONE > USER_STATE_REASON_DISABLED_IN_DIRECTORY",
            ],
        ),
        (
            ChangeKind::Reactivate,
            Active,
            None,
            EventType::Reactivated,
            vec![
                "state: USER_STATE_DEACTIVATED > USER_STATE_ACTIVE",
                "state_reason: USER_STATE_REASON_DISABLED_IN_DIRECTORY > -",
            ],
        ),
    ];
    for (number, (kind, next, reason, event, told)) in (2..).zip(steps) {
        let change = state(&ada(&store).await, kind, next, reason);
        let shown: Vec<_> = change.changes.iter().map(|change| change.field.clone()).collect();
        apply(&store, &token, number, &[change]).await;
        let told: Vec<String> = told.into_iter().map(str::to_owned).collect();
        assert_eq!(newest(&store, &acme()).await, (event, told.clone()));
        // The plan showed the same.
        let fields: Vec<_> = told
            .iter()
            .map(|text| text.split(':').next().unwrap().to_owned())
            .collect();
        assert_eq!(shown, fields);
    }

    let mut moved = update(&ada(&store).await, |_| {});
    moved.origin.dn = "uid=ada,ou=new".into();
    moved.origin.user_sync = sync_id("guests");
    moved.kind = ChangeKind::Transfer;
    store
        .create_user_sync(
            &acme(),
            &sync_id("guests"),
            &sync_settings("main"),
            None,
            Recorded::by_nobody(at(4)),
        )
        .await
        .unwrap();
    let guests = key_of("acme", "guests");
    let taken = store.apply_single(&guests, &moved, at(5)).await.unwrap();
    assert!(matches!(taken, SingleOutcome::Applied(..)), "{taken:?}");
    assert_eq!(
        newest(&store, &acme()).await,
        (
            EventType::Transferred,
            vec![
                "user_sync: tenants/acme/userSyncs/staff > tenants/acme/userSyncs/guests".to_owned(),
                "dn: uid=ada,ou=people > uid=ada,ou=new".to_owned(),
            ]
        )
    );
}

/// A plan may be older than the user: what is told is what was written.
async fn a_change_that_a_plan_does_not_know_is_told_all_the_same(engine: Engine) {
    let (store, _) = ready(&engine).await;
    store
        .apply_single(&staff(), &creation(1, "ada"), at(3))
        .await
        .unwrap();
    for values in [&["a, b"] as &[&str], &["a", "b"]] {
        let change = Change {
            changes: Vec::new(),
            ..update(&ada(&store).await, |profile| {
                profile.restrictions = values.iter().map(ToString::to_string).collect();
            })
        };
        store.apply_single(&staff(), &change, at(4)).await.unwrap();
    }
    let told = vec!["restrictions: a\\, b > a, b".to_owned()];
    assert_eq!(newest(&store, &acme()).await, (EventType::Updated, told));
}

async fn the_product_s_own_changes_are_told(engine: Engine) {
    let (store, token) = ready(&engine).await;
    let told = async |event, changes: &[&str]| {
        let changes = changes.iter().map(ToString::to_string).collect();
        assert_eq!(newest(&store, &acme()).await, (event, changes));
    };
    let new = NewUser {
        id: user_id(1),
        profile: profile("ada"),
        owner: true,
    };
    store
        .create_local_user(&acme(), new, Recorded::by_nobody(at(1)))
        .await
        .unwrap();
    let (event, created) = newest(&store, &acme()).await;
    assert_eq!(event, EventType::Created);
    assert_eq!(created.last().unwrap(), "owner: - > true");
    assert!(created.contains(&"login: - > ada".to_owned()), "{created:?}");
    let save = async |owner| {
        store
            .update_local_user(
                &acme(),
                user_id(1),
                None,
                &profile("ada"),
                owner,
                Recorded::by_nobody(at(2)),
            )
            .await
            .unwrap();
    };
    save(false).await;
    told(EventType::Updated, &["owner: true > false"]).await;
    save(true).await;
    told(EventType::Updated, &["owner: false > true"]).await;
    save(false).await;
    let block = async |reason| {
        store
            .block_user(&acme(), user_id(1), None, reason, Recorded::by_nobody(at(3)))
            .await
            .unwrap();
    };
    block("left").await;
    told(EventType::Blocked, &["block: - > left"]).await;
    block("").await;
    told(EventType::Blocked, &["block: left > "]).await;
    store
        .unblock_user(&acme(), user_id(1), None, Recorded::by_nobody(at(4)))
        .await
        .unwrap();
    told(EventType::Unblocked, &["block:  > -"]).await;
    let local = ada(&store).await;
    let mut link = Change {
        kind: ChangeKind::Link,
        user: local.id,
        expected_revision: local.revision,
        profile: local.profile.clone(),
        ..creation(1, "ada")
    };
    link.origin.linked = true;
    apply(&store, &token, 9, &[link]).await;
    told(
        EventType::Linked,
        &[
            "source: USER_SOURCE_LOCAL > USER_SOURCE_SYNCED",
            "user_sync: - > tenants/acme/userSyncs/staff",
            "directory: - > tenants/acme/directories/main",
            "external_id: - > 00000000-0000-0000-0000-000000000001",
            "external_id_attribute: - > entryUUID",
            "dn: - > uid=ada,ou=people",
            "linked: false > true",
        ],
    )
    .await;
}

async fn a_deleted_sync_tells_what_became_of_its_users(engine: Engine) {
    let store = engine.store().await;
    for (tenant, disposition, event, first) in [
        (
            "keep",
            UserDisposition::MakeLocal,
            EventType::Unlinked,
            "source: USER_SOURCE_SYNCED > USER_SOURCE_LOCAL",
        ),
        (
            "deactivate",
            UserDisposition::Deactivate,
            EventType::Deactivated,
            "state: USER_STATE_ACTIVE > USER_STATE_DEACTIVATED",
        ),
        (
            "archive",
            UserDisposition::Archive,
            EventType::Archived,
            "state: USER_STATE_ACTIVE > USER_STATE_ARCHIVED",
        ),
    ] {
        set_up_tenant(&store, tenant).await;
        let key = key_of(tenant, "staff");
        let token = lease(&store, &key).await;
        store
            .apply_single(&key, &creation(1, "ada"), at(3))
            .await
            .unwrap();
        store
            .delete_user_sync(&token, &key, None, disposition, Recorded::by_nobody(at(5)))
            .await
            .unwrap();
        let (told, changes) = newest(&store, &key.tenant).await;
        assert_eq!((told, changes[0].as_str()), (event, first));
        match disposition {
            UserDisposition::MakeLocal => {
                assert!(changes.contains(&format!("user_sync: tenants/{tenant}/userSyncs/staff > -")));
                assert!(changes.contains(&"dn: uid=ada,ou=people > -".to_owned()));
            }
            _ => assert_eq!(changes[1..], ["state_reason: - > USER_STATE_REASON_SYNC_DELETED"]),
        }
    }
}
