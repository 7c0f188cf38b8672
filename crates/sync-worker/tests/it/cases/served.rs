//! Cases that OpenLDAP does not take: a scripted server shows them.

use rollcall_core::error::Reason;
use rollcall_proto::v1::{self, CheckOutcome, CheckStageKind, IssueType};
use rollcall_runtime::clock::Clock;
use rollcall_testkit::{Flavour, Operation, Tree, TreeLdap};

use super::{Told, people};
use crate::company::{STAFF, TENANT};
use crate::harness::{fails, mask, stages, violations};
use crate::run_world::World;
use rollcall_core::field::TextField;

const NO_OTHER: String = String::new();

async fn serve(tree: Tree, sync: v1::UserSync) -> World<TreeLdap> {
    let mut tree = tree;
    let mut account =
        rollcall_testkit::TreeEntry::new("cn=rollcall,dc=t", &[("objectClass", "organizationalRole")]);
    account.password = Some("secret".to_owned());
    tree.add(account);
    let server = TreeLdap::start(tree).await.unwrap();
    let directory = v1::Directory {
        display_name: "Head office".into(),
        hosts: vec![server.url()],
        transport_security: v1::TransportSecurity::Plaintext.into(),
        allow_plaintext: true,
        bind_dn: "cn=rollcall,dc=t".into(),
        bind_password: "secret".into(),
        ..v1::Directory::default()
    };
    let port = server.address().port();
    World::around(server, port, directory, sync, Clock::System).await
}

fn undecodable(field: &str, dn: &str) -> Told {
    (
        IssueType::UndecodableEntry,
        field.to_owned(),
        dn.to_owned(),
        NO_OTHER,
    )
}

/// The issues of a login that is missing, and of values that are not UTF-8.
fn latin1() -> Vec<Told> {
    vec![
        undecodable("display_name", "uid=lat1,dc=t"),
        undecodable("family_name", "uid=lat1,dc=t"),
        undecodable("login", "cn=second,dc=t"),
    ]
}

fn named_by_latin1() -> v1::UserSync {
    people(&[
        ("login", &["uid"]),
        ("display_name", &["displayName", "cn"]),
        ("family_name", &["sn"]),
    ])
}

#[tokio::test(flavor = "multi_thread")]
async fn case_04_values_that_are_not_utf_8_are_no_values() {
    let tree = Tree::from_ldif(include_str!("04-latin1-values.ldif")).unwrap();
    let mut world = serve(tree, named_by_latin1()).await;
    let users = world.settle(&latin1()).await;
    assert_eq!(
        users.keys().collect::<Vec<_>>(),
        ["lat1"],
        "the login of the other is not UTF-8"
    );
    let lat1 = &users["lat1"];
    assert_eq!(
        (
            lat1.text(TextField::DisplayName),
            lat1.text(TextField::FamilyName)
        ),
        (Some("lat1"), None)
    );
    let report = world.checked().await.report.unwrap();
    for (subject, message) in [
        (
            "uid",
            "login: 50 % of 2 entries have a value. 1 entry has a value of uid that cannot be decoded.",
        ),
        (
            "displayName, cn",
            "display_name: 100 % of 2 entries have a value. 1 entry has a value of displayName that cannot be decoded.",
        ),
        (
            "sn",
            "family_name: 50 % of 2 entries have a value. 1 entry has a value of sn that cannot be decoded.",
        ),
    ] {
        let fields = stages(&report, CheckStageKind::FieldMappings);
        let of_field = fields.iter().find(|stage| stage.subject == subject).unwrap();
        assert_eq!(of_field.outcome(), CheckOutcome::Warn, "{of_field:?}");
        assert_eq!(of_field.message, message);
    }
    let run = world.apply().await;
    let issues = world.issues(&run).await;
    let mut attributes: Vec<_> = issues.iter().map(|issue| issue.attribute.as_str()).collect();
    attributes.sort_unstable();
    assert_eq!(
        attributes,
        ["displayName", "sn", "uid"],
        "as the admin wrote them"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn case_04_known_people_keep_the_names_that_they_had() {
    let tree = Tree::from_ldif(include_str!("04-latin1-values.ldif")).unwrap();
    let mut before = tree.clone();
    let lat1 = before.entry_mut("uid=lat1,dc=t").unwrap();
    lat1.set("sn", &["M\u{fc}ller"]);
    lat1.set("displayName", &["J\u{fc}rgen M\u{fc}ller"]);
    before.delete("cn=second,dc=t");
    let mut world = serve(before, named_by_latin1()).await;
    let users = world.settle(&[]).await;
    assert_eq!(users["lat1"].text(TextField::FamilyName), Some("M\u{fc}ller"));
    world.slapd.edit(|served| {
        for entry in tree.entries() {
            match served.entry_mut(&entry.dn) {
                Some(before) => before.attributes.clone_from(&entry.attributes),
                None => served.add(entry.clone()),
            }
        }
    });
    assert_eq!(world.settle(&latin1()).await, users);
}

#[tokio::test(flavor = "multi_thread")]
async fn case_09_a_uuid_in_text_is_an_id_and_a_number_is_said_to_be_none() {
    let mut tree = Tree::from_ldif(include_str!("09-objectguid-as-text.ldif")).unwrap();
    tree.imitate(Flavour::ActiveDirectory);
    let mut sync = people(&[("login", &["sAMAccountName"])]);
    sync.searches[0].filter = "(objectClass=user)".into();
    let mut world = serve(tree, sync).await;
    let hal = (
        IssueType::MissingExternalId,
        String::new(),
        "cn=Hal,dc=t".to_owned(),
        NO_OTHER,
    );
    for _ in 0..2 {
        world.run_with(std::slice::from_ref(&hal)).await;
    }
    let users = world.users().await;
    assert_eq!(users.keys().collect::<Vec<_>>(), ["gil"]);
    let gil = users["gil"].origin.clone().unwrap().external_id;
    // The same person as by the 16 bytes.
    world.slapd.edit(|tree| {
        let bytes = b"\x79\x66\x9e\x7c\x25\x74\xde\x40\x94\x4b\xe0\x7f\xc1\xf9\x0a\xe7";
        tree.entry_mut("cn=Gil,dc=t").unwrap().set("objectGUID", &[bytes]);
    });
    let run = world.apply().await;
    let issues = world.issues(&run).await;
    let of_hal = issues.iter().find(|issue| issue.dn == "cn=Hal,dc=t").unwrap();
    assert!(
        of_hal.hint.contains("form") && !of_hal.hint.contains("right"),
        "{of_hal:?}"
    );
    assert_eq!(of_hal.value, "100");
    let users = world.users().await;
    assert_eq!(users["gil"].origin.clone().unwrap().external_id, gil);
    assert_eq!(users.len(), 1);
    let report = world.checked().await.report.unwrap();
    let ids = stages(&report, CheckStageKind::ExternalId);
    assert!(
        ids.iter()
            .any(|stage| stage.outcome() != CheckOutcome::Pass && stage.message.contains("16 bytes")),
        "{ids:#?}"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn case_10_a_password_hash_is_refused_and_never_asked_for() {
    let tree = Tree::from_ldif(include_str!("10-password-hash-mapped.ldif")).unwrap();
    let mut world = serve(tree, people(&[("login", &["uid"])])).await;
    for secret in [
        "userPassword",
        "userpassword;lang-de",
        "2.5.4.35",
        "unicodePwd",
        "sambaNTPassword",
        "krbPrincipalKey",
    ] {
        let curious = || people(&[("login", &["uid"]), ("pw", &[secret])]);
        let create = v1::CreateUserSyncRequest {
            parent: TENANT.into(),
            user_sync_id: "curious".into(),
            user_sync: Some(curious()),
            request_id: String::new(),
        };
        let status = fails(
            Reason::InvalidField,
            world.clients.user_syncs.create_user_sync(create),
        )
        .await;
        let refused = ["user_sync.field_mappings.custom[pw][0]"];
        assert_eq!(violations(&status), refused, "{secret}");
        let update = v1::UpdateUserSyncRequest {
            user_sync: Some(v1::UserSync {
                name: STAFF.into(),
                ..curious()
            }),
            update_mask: mask(&["field_mappings"]),
        };
        let status = fails(
            Reason::InvalidField,
            world.clients.user_syncs.update_user_sync(update),
        )
        .await;
        assert_eq!(violations(&status), refused, "{secret}");
    }
    let users = world.settle(&[]).await;
    assert!(users["amy1"].custom.is_empty(), "{users:?}");
    let asked = world.slapd.received();
    let asked: Vec<&String> = asked
        .iter()
        .filter_map(|request| match &request.operation {
            Operation::Search { base, attributes, .. } if base.ends_with("dc=t") => Some(attributes),
            _ => None,
        })
        .flatten()
        .collect();
    assert!(asked.iter().any(|name| name.eq_ignore_ascii_case("uid")));
    let secrets = [
        "*",
        "userpassword",
        "2.5.4.35",
        "unicodepwd",
        "sambantpassword",
        "krbprincipalkey",
    ];
    for name in asked {
        let plain = name.split(';').next().unwrap_or_default().to_lowercase();
        assert!(!secrets.contains(&plain.as_str()), "{name} was asked for");
    }
}
