//! Lists of the users who have a role.

use rollcall_core::field::TextField;
use rollcall_core::user::Profile;
use rollcall_store::{Recorded, UserFilter};

use super::local::create;
use crate::engine::{Engine, on_both};
use crate::fixture::*;

on_both! {
    a_list_by_role_has_those_who_have_exactly_this_role,
}

/// The role is found within a text, so other texts try to look like it.
async fn a_list_by_role_has_those_who_have_exactly_this_role(engine: Engine) {
    let store = engine.store().await;
    set_up(&store).await;
    let roles = [
        "member",
        "Member",
        "a\"b",
        "a\"c",
        "a\\",
        "a\\\"",
        "a",
        "\u{1f389} rôle",
        "\",\"role\":\"a",
    ];
    let mut people = Vec::new();
    for (number, role) in (1..).zip(roles) {
        let mut with_role = Profile {
            role: role.into(),
            custom: [("role".to_owned(), "boss".to_owned())].into(),
            ..profile(&format!("user{number}"))
        };
        with_role.set_text(TextField::DisplayName, Some("\0\",\"role\":\"boss\",\"".into()));
        people.push(create(&store, "acme", number, with_role).await.unwrap());
    }
    let of_role = |role: &str| UserFilter {
        role: Some(role.to_owned()),
        ..UserFilter::default()
    };
    for user in people {
        let found = store
            .list_users(&acme(), &of_role(&user.profile.role), &all())
            .await;
        assert_eq!(
            found.unwrap().items,
            std::slice::from_ref(&user),
            "{}",
            user.profile.role
        );
    }
    for nobody in ["boss", "", "MEMBER"] {
        let found = store.list_all_users(&of_role(nobody), &all()).await.unwrap();
        assert_eq!(found.items, [], "{nobody}");
    }
    // Whoever writes a user, the list follows.
    let update = Profile {
        role: "boss".into(),
        ..profile("user1")
    };
    let record = Recorded::by_nobody(at(2));
    let (acme, id) = (acme(), user_id(1));
    store
        .update_local_user(&acme, id, None, &update, false, record)
        .await
        .unwrap();
    let found = store.list_users(&acme, &of_role("boss"), &all()).await.unwrap();
    assert_eq!(found.items.iter().map(|user| user.id).collect::<Vec<_>>(), [id]);
    let found = store.list_users(&acme, &of_role("member"), &all()).await.unwrap();
    assert_eq!(found.items, []);
}
