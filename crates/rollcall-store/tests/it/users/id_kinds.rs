//! The kinds of ids that users have.

use rollcall_core::external_id::{ExternalId, IdKind};
use rollcall_core::id_choice::IdKindsInUse;
use rollcall_core::plan::Change;

use crate::engine::{Engine, on_both};
use crate::fixture::*;

on_both! {
    the_kind_of_most_users_of_a_sync_is_its_kind,
}

async fn the_kind_of_most_users_of_a_sync_is_its_kind(engine: Engine) {
    let (store, token) = ready(&engine).await;
    let candidates = [IdKind::IpaUniqueId, IdKind::NsUniqueId, IdKind::EntryUuid];
    let in_use = async |sync: Option<&str>| {
        let (tenant, directory, sync) = (acme(), directory_id("main"), sync.map(sync_id));
        let found = store.id_kinds_in_use(&tenant, &directory, sync.as_ref(), &candidates);
        found.await.unwrap()
    };
    assert_eq!(in_use(Some("staff")).await, IdKindsInUse::default());

    let of_kind = |number: u128, kind: IdKind| -> Change {
        let mut change = creation(number, &format!("user{number}"));
        change.origin.external_id = ExternalId::from_bytes(kind, &number.to_be_bytes()).unwrap();
        change
    };
    apply(&store, &token, 1, &[of_kind(1, IdKind::EntryUuid)]).await;
    let one = IdKindsInUse {
        by_sync: Some(IdKind::EntryUuid),
        by_directory: vec![IdKind::EntryUuid],
    };
    assert_eq!(in_use(Some("staff")).await, one);
    let elsewhere = IdKindsInUse {
        by_sync: None,
        ..one.clone()
    };
    assert_eq!(in_use(None).await, elsewhere);
    assert_eq!(in_use(Some("others")).await, elsewhere);

    let more = [of_kind(2, IdKind::NsUniqueId), of_kind(3, IdKind::NsUniqueId)];
    apply(&store, &token, 2, &more).await;
    let two = IdKindsInUse {
        by_sync: Some(IdKind::NsUniqueId),
        by_directory: vec![IdKind::NsUniqueId, IdKind::EntryUuid],
    };
    assert_eq!(in_use(Some("staff")).await, two);
    let (evil, directory) = (tenant_id("evil"), directory_id("main"));
    let stranger = store.id_kinds_in_use(&evil, &directory, None, &candidates);
    assert_eq!(stranger.await.unwrap(), IdKindsInUse::default());
}
