//! People whose names are not RFC 4514: what the directory gave as their DN is what is asked for and bound, byte for byte.

use rollcall_core::dialect::Dialect;
use rollcall_core::user_sync::{Search, SearchScope};
use rollcall_testkit::{Operation, Tree, TreeEntry, TreeLdap};

use crate::world::{BASE, PASSWORD, PEOPLE, Place, World};

const SERVICE: &str = "cn=service,dc=example,dc=org";

/// Names that no parser of RFC 4514 takes, or only as something else.
fn names() -> Vec<String> {
    [
        "cn=Ada <ada>".to_owned(),
        "cn=a\"b".to_owned(),
        "cn=\"open".to_owned(),
        "no name at all".to_owned(),
        "cn=\\zz".to_owned(),
        "cn=Two  Spaces ".to_owned(),
        " CN = Shouted".to_owned(),
        format!("cn={}", "x".repeat(9_000)),
    ]
    .map(|name| format!("{name},{PEOPLE}"))
    .to_vec()
}

async fn directory() -> TreeLdap {
    let mut tree = Tree::default();
    for dn in [BASE, PEOPLE] {
        tree.add(TreeEntry::new(dn, &[("objectClass", "organizationalUnit")]));
    }
    let mut service = TreeEntry::new(SERVICE, &[("objectClass", "person")]);
    service.password = Some("x".into());
    tree.add(service);
    for (number, dn) in names().into_iter().enumerate() {
        let login = format!("user{number}");
        let id = format!("00000000-0000-0000-0000-{number:012}");
        let mut entry = TreeEntry::new(
            dn,
            &[
                ("objectClass", "inetOrgPerson"),
                ("uid", &login),
                ("cn", &login),
                ("employeeType", "staff"),
                ("entryUUID", &id),
            ],
        );
        entry.password = Some(PASSWORD.into());
        tree.add(entry);
    }
    TreeLdap::start(tree).await.unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_name_that_cannot_be_parsed_is_bound_as_the_directory_gave_it() {
    let server = directory().await;
    let place = Place {
        url: server.url(),
        ca: String::new(),
        bind_dn: SERVICE.into(),
        bind_password: "x".into(),
        dialect: Dialect::OpenLdap,
        people: Search {
            base_dn: PEOPLE.into(),
            scope: SearchScope::Subtree,
            filter: "(&(uid=*)(employeeType=staff))".into(),
        },
        login: "uid",
    };
    let mut world = World::at(server, place, None).await;
    world.start_gateway(&[]).await;
    for (number, dn) in names().into_iter().enumerate() {
        let login = format!("user{number}");
        assert_eq!(world.user(&login).await.origin.unwrap().dn, dn);
        let before = world.server.received().len();
        assert_eq!(world.login(&login, "wrong").await, "DENIED INVALID_CREDENTIALS");
        assert_eq!(world.login(&login, PASSWORD).await, format!("OK {login}"), "{dn}");
        let received = world.server.received().split_off(before);
        let bound: Vec<String> = received
            .iter()
            .filter_map(|request| match &request.operation {
                Operation::Bind { dn, .. } if dn != SERVICE => Some(dn.clone()),
                _ => None,
            })
            .collect();
        assert_eq!(
            bound,
            [dn.clone(), dn.clone()],
            "one bind a login, by this very name"
        );
        let read = received.iter().any(
            |request| matches!(&request.operation, Operation::Search { base, scope: 0, .. } if *base == dn),
        );
        assert!(read, "{dn} was read where it is");
    }
    // One that is moved out of the search is found to be so, whatever its name.
    let moved = names().remove(0);
    world.server.edit(|tree| {
        tree.rename(&moved, &format!("cn=Ada <ada>,ou=Elsewhere,{BASE}"));
    });
    assert_eq!(world.login("user0", PASSWORD).await, "DENIED INVALID_CREDENTIALS");
}
