//! LOCAL users, blocks, reading and looking up.

use rollcall_core::event::EventType;
use rollcall_core::feed::Mark;
use rollcall_core::id::UserId;
use rollcall_core::identifier::Holder;
use rollcall_core::revision::Revision;

use rollcall_core::user::{Profile, StateReason, User, UserState};
use rollcall_store::{
    IdentifierUniqueness, Kind, LoginStore, NewUser, PageRequest, Recorded, Store, StoreError, UserFilter,
    UserSource,
};

use crate::engine::{Engine, KEY, on_both};
use crate::fixture::*;

on_both! {
    local_users_are_kept_and_revised,
    logins_and_emails_share_one_space,
    of_many_that_claim_a_login_one_gets_it,
    identifiers_may_be_unique_in_the_deployment,
    a_verified_domain_keeps_its_addresses_for_its_own_users,
    the_owner_stays,
    local_users_go_and_come_back_like_others,
    synced_users_are_not_changed_as_local_ones,
    blocks_last,
    of_two_who_block_at_once_one_knows_the_user,
    lists_filter,
    the_users_of_all_tenants_are_one_list,
}

pub(crate) async fn create(
    store: &Store,
    tenant: &str,
    number: u128,
    profile: Profile,
) -> Result<User, StoreError> {
    let user = NewUser {
        id: user_id(number),
        profile,
        owner: false,
    };
    store
        .create_local_user(&tenant_id(tenant), user, Recorded::by_nobody(at(1)))
        .await
}

fn with_email(login: &str, email: &str) -> Profile {
    Profile {
        email: Some(email.into()),
        ..profile(login)
    }
}

async fn local_users_are_kept_and_revised(engine: Engine) {
    let store = engine.store().await;
    let nobody = create(&store, "acme", 1, profile("ada")).await;
    assert!(matches!(nobody, Err(StoreError::NotFound(Kind::Tenant))));
    set_up(&store).await;
    let ada = create(&store, "acme", 1, profile("ada")).await.unwrap();
    assert_eq!(store.user(&acme(), user_id(1)).await.unwrap(), ada);
    assert_eq!(
        (ada.revision, ada.state, &ada.profile),
        (Revision::FIRST, UserState::Active, &profile("ada"))
    );
    let again = create(&store, "acme", 1, profile("eve")).await;
    assert!(matches!(again, Err(StoreError::AlreadyExists)));

    let countess = profile("countess");
    let updated = store
        .update_local_user(
            &acme(),
            ada.id,
            Some(Revision::FIRST),
            &countess,
            false,
            Recorded::by_nobody(at(2)),
        )
        .await
        .unwrap();
    assert_eq!(
        (updated.revision, &updated.profile),
        (Revision::new(2), &countess)
    );
    let stale = store
        .update_local_user(
            &acme(),
            ada.id,
            Some(Revision::FIRST),
            &countess,
            false,
            Recorded::by_nobody(at(2)),
        )
        .await;
    assert!(matches!(stale, Err(StoreError::RevisionMismatch)));
    assert_eq!(
        store.lookup_user(&acme(), "ada").await.unwrap(),
        None,
        "an old login still works"
    );
    assert_eq!(
        store.lookup_user(&acme(), " COUNTESS ").await.unwrap(),
        Some(updated.clone())
    );
    assert_eq!(
        store.lookup_user(&acme(), "countess@EXAMPLE.com").await.unwrap(),
        Some(updated)
    );
    assert_eq!(store.lookup_user(&acme(), "\0").await.unwrap(), None);

    let stale = store
        .delete_local_user(&acme(), ada.id, Some(Revision::FIRST), Recorded::by_nobody(at(3)))
        .await;
    assert!(matches!(stale, Err(StoreError::RevisionMismatch)));
    store
        .delete_local_user(
            &acme(),
            ada.id,
            Some(Revision::new(2)),
            Recorded::by_nobody(at(3)),
        )
        .await
        .unwrap();
    assert!(matches!(
        store.user(&acme(), ada.id).await,
        Err(StoreError::NotFound(Kind::User))
    ));
    assert_eq!(store.lookup_user(&acme(), "countess").await.unwrap(), None);
    let events = store.list_events(Some(&acme()), Mark::START, 10).await.unwrap();
    assert_eq!(events.last().unwrap().event_type, EventType::Deleted);
    create(&store, "acme", 2, profile("countess")).await.unwrap();
}

async fn logins_and_emails_share_one_space(engine: Engine) {
    let store = engine.store().await;
    set_up(&store).await;
    create(&store, "acme", 1, with_email("ada", "ada@x.com"))
        .await
        .unwrap();
    for (profile, email) in [
        (with_email("ADA", "other@x.com"), false),
        (with_email("ada@x.com", "other@x.com"), false),
        (with_email("eve", "Ada@X.com"), true),
    ] {
        let taken = create(&store, "acme", 2, profile.clone()).await;
        assert!(
            matches!(taken, Err(StoreError::IdentifierTaken { email: which }) if which == email),
            "{profile:?}: {taken:?}"
        );
    }
    // One's own login may be one's own e-mail.
    create(&store, "acme", 2, with_email("eve@x.com", "EVE@x.com"))
        .await
        .unwrap();
    let keys = ["ada".to_owned(), "eve@x.com".to_owned(), "free".to_owned()];
    let holders = store.identifier_holders(&acme(), &keys).await.unwrap();
    assert_eq!(holders.len(), 2);
    assert_eq!(holders["eve@x.com"], Holder::User(user_id(2)));
}

async fn of_many_that_claim_a_login_one_gets_it(engine: Engine) {
    let stores = [engine.store().await, engine.store().await];
    set_up(&stores[0]).await;
    let tasks: Vec<_> = (1..=10_u128)
        .map(|number| {
            let store = stores[usize::try_from(number).unwrap() % 2].clone();
            tokio::spawn(async move {
                create(
                    &store,
                    "acme",
                    number,
                    with_email("ada", &format!("u{number}@x.com")),
                )
                .await
            })
        })
        .collect();
    let mut created = 0;
    for task in tasks {
        match task.await.unwrap() {
            Ok(_) => created += 1,
            Err(StoreError::IdentifierTaken { email: false }) => {}
            Err(other) => panic!("{other:?}"),
        }
    }
    assert_eq!(created, 1);
    assert_eq!(
        stores[0]
            .list_users(&acme(), &UserFilter::default(), &all())
            .await
            .unwrap()
            .items
            .len(),
        1
    );
}

async fn identifiers_may_be_unique_in_the_deployment(engine: Engine) {
    let store = engine
        .store_with(&format!("k1 {KEY}"), IdentifierUniqueness::Global)
        .await;
    set_up(&store).await;
    set_up_tenant(&store, "other").await;
    create(&store, "acme", 1, profile("ada")).await.unwrap();
    let taken = create(&store, "other", 2, profile("ada")).await;
    assert!(matches!(taken, Err(StoreError::IdentifierTaken { email: false })));
    let other = tenant_id("other");
    let holders = store
        .identifier_holders(&other, &["ada".to_owned()])
        .await
        .unwrap();
    assert_eq!(holders["ada"], Holder::Foreign);
    assert_eq!(
        store.lookup_user(&other, "ada").await.unwrap(),
        None,
        "another tenant's user was shown"
    );
    assert_eq!(
        LoginStore::open(&store).target(&other, "ada").await.unwrap(),
        None,
        "another tenant's user was shown"
    );
    assert!(
        LoginStore::open(&store)
            .target(&acme(), "ada")
            .await
            .unwrap()
            .is_some()
    );
}

/// Otherwise whoever is quick takes them away from a customer's people, or asks which of them there are.
async fn a_verified_domain_keeps_its_addresses_for_its_own_users(engine: Engine) {
    let key = format!("k1 {KEY}");
    let store = engine.store_with(&key, IdentifierUniqueness::Global).await;
    set_up(&store).await;
    for name in ["victim", "hostile"] {
        set_up_tenant(&store, name).await;
    }
    let (victim, hostile) = (tenant_id("victim"), tenant_id("hostile"));
    let early = create(&store, "hostile", 1, with_email("early", "early@victim.example"));
    early.await.unwrap();
    let mut settings = store.tenant(&victim).await.unwrap().settings;
    settings.verified_domains = vec!["victim.example".into()];
    let record = Recorded::by_nobody(at(2));
    let revision = store.tenant(&victim).await.unwrap().revision;
    store
        .update_tenant(&victim, revision, &settings, record)
        .await
        .unwrap();

    let asked = [
        "ada@victim.example",
        "ada@other.example",
        "victim.example",
        "early@victim.example",
    ];
    let asked = asked.map(str::to_owned);
    let holders = store.identifier_holders(&hostile, &asked).await.unwrap();
    assert_eq!(holders.get("ada@victim.example"), Some(&Holder::Foreign));
    assert_eq!(
        holders.get("early@victim.example"),
        Some(&Holder::User(user_id(1)))
    );
    assert_eq!(holders.len(), 2, "{holders:?}");
    for (number, squatter) in [
        with_email("ada", "Ada@Victim.Example"),
        profile("ada@victim.example"),
    ]
    .into_iter()
    .enumerate()
    {
        let taken = create(&store, "hostile", 2, squatter).await;
        assert!(
            matches!(taken, Err(StoreError::IdentifierTaken { email }) if email == (number == 0)),
            "{taken:?}"
        );
    }
    create(&store, "hostile", 2, with_email("ada", "ada@other.example"))
        .await
        .unwrap();
    create(&store, "victim", 3, with_email("ada2", "ada@victim.example"))
        .await
        .unwrap();
    // Where each tenant has its own identifiers, nobody is in another's way.
    let own = engine.store_with(&key, IdentifierUniqueness::Tenant).await;
    let holders = own.identifier_holders(&hostile, &asked[..1]).await.unwrap();
    assert_eq!(holders.len(), 0, "{holders:?}");
}

async fn the_owner_stays(engine: Engine) {
    let store = engine.store().await;
    set_up(&store).await;
    let owner = NewUser {
        id: user_id(1),
        profile: profile("boss"),
        owner: true,
    };
    let owner = store
        .create_local_user(&acme(), owner, Recorded::by_nobody(at(1)))
        .await
        .unwrap();
    let refused = store
        .delete_local_user(&acme(), owner.id, None, Recorded::by_nobody(at(2)))
        .await;
    assert!(matches!(refused, Err(StoreError::OwnerProtected)));
    store
        .update_local_user(
            &acme(),
            owner.id,
            None,
            &owner.profile,
            false,
            Recorded::by_nobody(at(3)),
        )
        .await
        .unwrap();
    store
        .delete_local_user(&acme(), owner.id, None, Recorded::by_nobody(at(4)))
        .await
        .unwrap();
}

async fn synced_users_are_not_changed_as_local_ones(engine: Engine) {
    let store = engine.store().await;
    set_up(&store).await;
    let token = lease(&store, &staff()).await;
    apply(&store, &token, 1, &[creation(1, "ada")]).await;
    let update = store
        .update_local_user(
            &acme(),
            user_id(1),
            None,
            &profile("eve"),
            true,
            Recorded::by_nobody(at(5)),
        )
        .await;
    assert!(matches!(update, Err(StoreError::NotLocal)));
    let delete = store
        .delete_local_user(&acme(), user_id(1), None, Recorded::by_nobody(at(5)))
        .await;
    assert!(matches!(delete, Err(StoreError::NotLocal)));
}

async fn of_two_who_block_at_once_one_knows_the_user(engine: Engine) {
    let stores = [engine.store().await, engine.store().await];
    set_up(&stores[0]).await;
    let token = lease(&stores[0], &staff()).await;
    apply(&stores[0], &token, 1, &[creation(1, "ada")]).await;
    let (acme, ada) = (acme(), user_id(1));
    let (one, other) = tokio::join!(
        stores[0].block_user(
            &acme,
            ada,
            Some(Revision::FIRST),
            "one",
            Recorded::by_nobody(at(5))
        ),
        stores[1].block_user(
            &acme,
            ada,
            Some(Revision::FIRST),
            "other",
            Recorded::by_nobody(at(5))
        ),
    );
    let (blocked, late) = if one.is_ok() { (one, other) } else { (other, one) };
    assert_eq!(blocked.unwrap().revision, Revision::new(2));
    assert!(matches!(late, Err(StoreError::RevisionMismatch)));
    let late = stores[0]
        .unblock_user(&acme, ada, Some(Revision::FIRST), Recorded::by_nobody(at(6)))
        .await;
    assert!(matches!(late, Err(StoreError::RevisionMismatch)));
    assert!(
        stores[0]
            .unblock_user(&acme, ada, Some(Revision::new(2)), Recorded::by_nobody(at(6)))
            .await
            .is_ok()
    );
}

async fn blocks_last(engine: Engine) {
    let store = engine.store().await;
    set_up(&store).await;
    let token = lease(&store, &staff()).await;
    apply(&store, &token, 1, &[creation(1, "ada")]).await;
    let before = store.known_users(&acme(), &sync_id("staff"), 10).await.unwrap();
    let blocked = store
        .block_user(&acme(), user_id(1), None, "left\0 us", Recorded::by_nobody(at(5)))
        .await
        .unwrap();
    assert_eq!(blocked.block.as_ref().unwrap().reason, "left\0 us");
    let same = store
        .block_user(&acme(), user_id(1), None, "left\0 us", Recorded::by_nobody(at(6)))
        .await
        .unwrap();
    assert_eq!(same, blocked, "nothing changed");
    let blocked = store
        .block_user(&acme(), user_id(1), None, "other", Recorded::by_nobody(at(6)))
        .await
        .unwrap();
    let block = blocked.block.as_ref().unwrap();
    assert_eq!(
        (block.time, block.reason.as_str(), blocked.revision),
        (at(5), "other", Revision::new(3))
    );
    apply(
        &store,
        &token,
        2,
        &[update(&blocked, |profile| {
            profile.set_text(rollcall_core::field::TextField::PhoneNumber, Some("1".into()))
        })],
    )
    .await;
    let after_sync = store.user(&acme(), user_id(1)).await.unwrap();
    assert_eq!(after_sync.block, blocked.block, "a sync cleared a block");
    let unblocked = store
        .unblock_user(&acme(), user_id(1), None, Recorded::by_nobody(at(7)))
        .await
        .unwrap();
    assert_eq!((unblocked.block, unblocked.revision), (None, Revision::new(5)));
    let known = store.known_users(&acme(), &sync_id("staff"), 10).await.unwrap();
    assert_ne!(known[0].fingerprint, before[0].fingerprint, "the sync changed it");
    store
        .block_user(&acme(), user_id(1), None, "", Recorded::by_nobody(at(8)))
        .await
        .unwrap();
    let blocked = store.known_users(&acme(), &sync_id("staff"), 10).await.unwrap();
    assert_eq!(
        blocked[0].fingerprint, known[0].fingerprint,
        "a block is nothing that a sync sets"
    );
}

async fn local_users_go_and_come_back_like_others(engine: Engine) {
    let store = engine.store().await;
    set_up(&store).await;
    create(&store, "acme", 1, profile("ada")).await.unwrap();
    let by = || Recorded::by_nobody(at(5));
    let stale = store
        .deactivate_local_user(&acme(), user_id(1), Some(Revision::new(9)), by())
        .await;
    assert!(matches!(stale, Err(StoreError::RevisionMismatch)));
    for _ in 0..2 {
        let ada = store
            .deactivate_local_user(&acme(), user_id(1), None, by())
            .await
            .unwrap();
        assert_eq!(
            (ada.state, ada.state_reason, ada.revision),
            (
                UserState::Deactivated,
                Some(StateReason::ByProduct),
                Revision::new(2)
            )
        );
        assert_eq!(store.user(&acme(), user_id(1)).await.unwrap(), ada);
    }
    // The login stays the user's.
    let taken = create(&store, "acme", 2, profile("ADA")).await;
    assert!(matches!(taken, Err(StoreError::IdentifierTaken { email: false })));
    for _ in 0..2 {
        let ada = store
            .reactivate_local_user(&acme(), user_id(1), None, by())
            .await
            .unwrap();
        assert_eq!(
            (ada.state, ada.state_reason, ada.revision),
            (UserState::Active, None, Revision::new(3))
        );
    }
    let events = store
        .list_events(Some(&acme()), rollcall_core::feed::Mark::START, 10)
        .await
        .unwrap();
    let types: Vec<EventType> = events.iter().map(|event| event.event_type).collect();
    assert_eq!(
        types,
        [EventType::Created, EventType::Deactivated, EventType::Reactivated]
    );
    let owner = NewUser {
        id: user_id(4),
        profile: profile("boss"),
        owner: true,
    };
    store.create_local_user(&acme(), owner, by()).await.unwrap();
    let kept = store.deactivate_local_user(&acme(), user_id(4), None, by()).await;
    assert!(matches!(kept, Err(StoreError::OwnerProtected)));
    store
        .apply_single(&staff(), &creation(5, "eve"), at(6))
        .await
        .unwrap();
    for changed in [
        store.deactivate_local_user(&acme(), user_id(5), None, by()).await,
        store.reactivate_local_user(&acme(), user_id(5), None, by()).await,
    ] {
        assert!(matches!(changed, Err(StoreError::NotLocal)));
    }
}

async fn lists_filter(engine: Engine) {
    let store = engine.store().await;
    set_up(&store).await;
    let token = lease(&store, &staff()).await;
    let mut inactive = creation(3, "cora");
    inactive.state = UserState::Deactivated;
    apply(&store, &token, 1, &[creation(1, "ada"), inactive]).await;
    create(&store, "acme", 2, profile("bob")).await.unwrap();
    let ids = |filter: UserFilter| {
        let store = store.clone();
        async move {
            let mut page = PageRequest::first(1);
            let mut ids: Vec<UserId> = Vec::new();
            loop {
                let found = store.list_users(&acme(), &filter, &page).await.unwrap();
                ids.extend(found.items.iter().map(|user| user.id));
                match found.next {
                    Some(next) => page.after = Some(next),
                    None => return ids,
                }
            }
        }
    };
    let with = UserFilter::default;
    assert_eq!(ids(with()).await, [user_id(1), user_id(2), user_id(3)]);
    let local = UserFilter {
        source: Some(UserSource::Local),
        ..with()
    };
    assert_eq!(ids(local).await, [user_id(2)]);
    let synced = UserFilter {
        source: Some(UserSource::Synced),
        states: vec![UserState::Active],
        ..with()
    };
    assert_eq!(ids(synced).await, [user_id(1)]);
    let of_sync = UserFilter {
        user_sync: Some(sync_id("staff")),
        ..with()
    };
    assert_eq!(ids(of_sync).await, [user_id(1), user_id(3)]);
    let boss = NewUser {
        id: user_id(4),
        profile: profile("boss"),
        owner: true,
    };
    store
        .create_local_user(&acme(), boss, Recorded::by_nobody(at(3)))
        .await
        .unwrap();
    store
        .block_user(&acme(), user_id(2), None, "", Recorded::by_nobody(at(4)))
        .await
        .unwrap();
    for (filter, expected) in [
        (
            UserFilter {
                states: vec![UserState::Deactivated, UserState::Archived],
                ..with()
            },
            vec![3],
        ),
        (
            UserFilter {
                states: vec![UserState::Deactivated, UserState::Active],
                directory: Some(directory_id("main")),
                ..with()
            },
            vec![1, 3],
        ),
        (
            UserFilter {
                directory: Some(directory_id("other")),
                ..with()
            },
            vec![],
        ),
        (
            UserFilter {
                owner: Some(true),
                ..with()
            },
            vec![4],
        ),
        (
            UserFilter {
                owner: Some(false),
                blocked: Some(false),
                ..with()
            },
            vec![1, 3],
        ),
        (
            UserFilter {
                blocked: Some(true),
                source: Some(UserSource::Local),
                ..with()
            },
            vec![2],
        ),
    ] {
        let expected: Vec<_> = expected.into_iter().map(user_id).collect();
        assert_eq!(ids(filter.clone()).await, expected, "{filter:?}");
    }
    let batch = store
        .batch_users(&acme(), &[user_id(3), user_id(9), user_id(1)])
        .await
        .unwrap();
    assert_eq!(
        batch.iter().map(|user| user.id).collect::<Vec<_>>(),
        [user_id(3), user_id(1)]
    );
    assert_eq!(store.count_users(&acme(), &sync_id("staff")).await.unwrap(), 2);
}

async fn the_users_of_all_tenants_are_one_list(engine: Engine) {
    let store = engine.store().await;
    set_up(&store).await;
    for tenant in ["aaa", "zzz"] {
        store
            .create_tenant(
                &tenant_id(tenant),
                &tenant_settings(&[]),
                Recorded::by_nobody(at(0)),
            )
            .await
            .unwrap();
    }
    // One id may be in several tenants; the place in the list is tenant and id.
    for (tenant, number) in [("zzz", 1), ("acme", 2), ("acme", 1), ("aaa", 3), ("aaa", 1)] {
        let login = format!("{tenant}-{number}");
        create(&store, tenant, number, profile(&login)).await.unwrap();
    }
    let (mut page, mut seen) = (PageRequest::first(2), Vec::new());
    loop {
        let found = store.list_all_users(&UserFilter::default(), &page).await.unwrap();
        seen.extend(found.items.into_iter().map(|user| user.profile.login));
        page.after = found.next;
        if page.after.is_none() {
            break;
        }
    }
    assert_eq!(seen, ["aaa-1", "aaa-3", "acme-1", "acme-2", "zzz-1"]);
}
