//! People and groups whose names are not RFC 4514: a run and a refresh compare what the directory gave, byte for byte.

use rollcall_proto::v1::{self, RefreshOutcome};
use rollcall_runtime::clock::Clock;
use rollcall_testkit::{Tree, TreeEntry, TreeLdap};

use crate::company::sync_of;
use crate::run_world::{BASE, World};

const SERVICE: &str = "cn=service,dc=example,dc=org";
const ADMINS: &str = "cn=admins,ou=Groups,dc=example,dc=org";

fn names() -> Vec<String> {
    [
        "cn=Ada <ada>".to_owned(),
        "cn=a\"b".to_owned(),
        "no name at all".to_owned(),
        "cn=\\zz".to_owned(),
        format!("cn={}", "x".repeat(9_000)),
    ]
    .map(|name| format!("{name},ou=Staff,{BASE}"))
    .to_vec()
}

async fn world() -> World<TreeLdap> {
    let mut tree = Tree::default();
    for dn in [
        BASE.to_owned(),
        format!("ou=Staff,{BASE}"),
        format!("ou=Groups,{BASE}"),
    ] {
        tree.add(TreeEntry::new(dn, &[("objectClass", "organizationalUnit")]));
    }
    let mut service = TreeEntry::new(SERVICE, &[("objectClass", "person")]);
    service.password = Some("x".into());
    tree.add(service);
    for (number, dn) in names().into_iter().enumerate() {
        let login = format!("user{number}");
        let id = format!("00000000-0000-0000-0000-{number:012}");
        let values = [
            ("objectClass", "inetOrgPerson"),
            ("uid", login.as_str()),
            ("cn", "Somebody"),
            ("entryUUID", id.as_str()),
        ];
        tree.add(TreeEntry::new(dn, &values));
    }
    // Each is in a group of an odd name, and those are in the group of the rule.
    let nested: Vec<String> = (0..names().len())
        .map(|number| format!("cn=<{number}>,ou=Groups,{BASE}"))
        .collect();
    for (group, member) in nested.iter().zip(names()) {
        let mut group = TreeEntry::new(group, &[("objectClass", "groupOfNames")]);
        group.set("member", &[member]);
        tree.add(group);
    }
    let mut admins = TreeEntry::new(ADMINS, &[("objectClass", "groupOfNames")]);
    admins.set("member", &nested);
    tree.add(admins);
    let server = TreeLdap::start(tree).await.unwrap();
    let directory = v1::Directory {
        display_name: "Head office".into(),
        hosts: vec![server.url()],
        transport_security: v1::TransportSecurity::Plaintext.into(),
        allow_plaintext: true,
        bind_dn: SERVICE.into(),
        bind_password: "x".into(),
        ..v1::Directory::default()
    };
    let mut sync = sync_of(&format!("ou=Staff,{BASE}"), "(objectClass=inetOrgPerson)");
    sync.role_rules = vec![v1::RoleRule {
        role: "admin".into(),
        condition: Some(v1::role_rule::Condition::GroupDn(ADMINS.into())),
    }];
    let port = server.address().port();
    World::around(server, port, directory, sync, Clock::System).await
}

#[tokio::test(flavor = "multi_thread")]
async fn a_group_rule_meets_people_whose_names_cannot_be_parsed_in_a_run_and_at_a_refresh() {
    let mut world = world().await;
    world.succeed().await;
    let roles = |admins: std::ops::Range<usize>| -> Vec<(String, String)> {
        let role = |number| if admins.contains(&number) { "admin" } else { "user" };
        (0..names().len())
            .map(|number| (format!("user{number}"), role(number).to_owned()))
            .collect()
    };
    let all = names().len();
    assert_eq!(world.roles().await, roles(0..all));
    world.succeed().await;
    for number in 0..all {
        let refreshed = world.refresh(&format!("user{number}")).await;
        assert_eq!(refreshed.outcome(), RefreshOutcome::Unchanged, "{refreshed:#?}");
    }
    // Another group of a name that differs in one byte is another group.
    world.slapd.edit(|tree| {
        let group = tree.entry_mut(&format!("cn=<0>,ou=Groups,{BASE}")).unwrap();
        group.set("member", &[format!("cn=Ada <ada>x,ou=Staff,{BASE}")]);
    });
    let refreshed = world.refresh("user0").await;
    assert_eq!(refreshed.outcome(), RefreshOutcome::Updated, "{refreshed:#?}");
    assert_eq!(world.roles().await, roles(1..all));
    world.succeed().await;
    assert_eq!(world.roles().await, roles(1..all));
}
