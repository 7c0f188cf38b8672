//! The server over a tree, as `ldapsearch` sees it.

use std::process::{Command, Output};

use rollcall_testkit::{Cut, Outage, Tree, TreeEntry, TreeLdap};

const BASE: &str = "dc=example,dc=org";

fn company() -> Tree {
    let mut tree = Tree::default();
    tree.add(TreeEntry::new(BASE, &[("objectClass", "domain")]));
    let mut reader = TreeEntry::new(format!("cn=reader,{BASE}"), &[("objectClass", "device")]);
    reader.password = Some("secret".into());
    tree.add(reader);
    tree.add(TreeEntry::new(
        format!("ou=Staff,{BASE}"),
        &[("objectClass", "organizationalUnit")],
    ));
    for (number, uid) in ["ada", "ben", "cem", "dan", "eve"].into_iter().enumerate() {
        let mut entry = TreeEntry::new(
            format!("uid={uid},ou=Staff,{BASE}"),
            &[
                ("objectClass", "inetOrgPerson"),
                ("mail", &format!("{uid}@example.org")),
                (
                    "entryUUID",
                    &format!("00000000-0000-4000-8000-00000000000{number}"),
                ),
            ],
        );
        entry.password = Some(uid.into());
        tree.add(entry);
    }
    let member = format!("UID=Ada, ou=staff,{BASE}");
    tree.add(TreeEntry::new(
        format!("cn=admins,{BASE}"),
        &[("objectClass", "groupOfNames"), ("member", &member)],
    ));
    tree
}

async fn ldapsearch(server: &TreeLdap, who: &str, password: &str, arguments: &[&str]) -> Output {
    let mut command = Command::new("ldapsearch");
    command.args(["-x", "-LLL", "-o", "ldif-wrap=no", "-H", &server.url()]);
    command.args(["-D", &format!("{who},{BASE}"), "-w", password, "-b", BASE]);
    command.args(arguments);
    tokio::task::spawn_blocking(move || command.output().unwrap())
        .await
        .unwrap()
}

/// The uids that a search as the reader finds, and its result.
async fn found(server: &TreeLdap, arguments: &[&str]) -> (Vec<String>, i32) {
    let output = ldapsearch(server, "cn=reader", "secret", arguments).await;
    let text = String::from_utf8(output.stdout).unwrap();
    let uids = text.lines().filter_map(|line| line.strip_prefix("uid: "));
    (uids.map(str::to_owned).collect(), output.status.code().unwrap())
}

#[tokio::test(flavor = "multi_thread")]
async fn filters_scopes_and_pages_are_those_of_an_ldap_server() {
    let server = TreeLdap::start(company()).await.unwrap();
    server.edit(|tree| {
        let ben = tree.entry_mut(&format!("uid=ben,ou=Staff,{BASE}")).unwrap();
        ben.set("employeeNumber", &["17"]);
        ben.set::<&str>("mail", &[]);
    });
    for (filter, uids) in [
        ("(uid=ADA)", "ada"),
        ("(&(uid=*)(!(mail=*)))", "ben"),
        ("(|(uid=a*)(mail=*e*@*org))", "ada cem eve"),
        ("(mail=e*e@example.org)", "eve"),
        ("(employeeNumber>=9)", "ben"),
        ("(employeeNumber<=9)", ""),
        // What is not known is neither so nor not so.
        ("(&(uid=*)(!(nonsense=1)))", ""),
        ("(uid:caseExactMatch:=ada)", ""),
        ("(memberOf=CN=Admins,dc=example,dc=org)", "ada"),
        ("(entryUUID=00000000-0000-4000-8000-000000000003)", "dan"),
    ] {
        let (found, code) = found(&server, &["-E", "pr=2/noprompt", filter, "uid"]).await;
        assert_eq!((found.join(" "), code), (uids.to_owned(), 0), "{filter}");
    }
    let (below, _) = found(&server, &["-s", "one", "(uid=*)", "uid"]).await;
    assert!(below.is_empty());
    let none = ldapsearch(&server, "cn=reader", "secret", &["(uid=ada)"]).await;
    let text = String::from_utf8(none.stdout).unwrap();
    assert!(
        !text.contains("memberOf") && !text.contains("entryUUID"),
        "{text}"
    );
    let all = ldapsearch(&server, "cn=reader", "secret", &["(uid=ada)", "*", "+"]).await;
    let text = String::from_utf8(all.stdout).unwrap();
    assert!(text.contains("memberOf: cn=admins,dc=example,dc=org"), "{text}");
    assert!(text.contains("entryUUID: 0000"), "{text}");
}

#[tokio::test(flavor = "multi_thread")]
async fn what_the_test_edits_and_breaks_is_what_clients_see() {
    let server = TreeLdap::start(company()).await.unwrap();
    let ada = format!("uid=ada,ou=Staff,{BASE}");
    let everybody = ["-E", "pr=2/noprompt", "(uid=*)", "uid"];
    let code = |who: &'static str, password: &'static str| {
        let server = &server;
        async move {
            let output = ldapsearch(server, who, password, &["-s", "base"]).await;
            output.status.code().unwrap()
        }
    };
    assert_eq!(code("uid=ada,ou=Staff", "ada").await, 0);
    assert_eq!(code("uid=ada,ou=Staff", "wrong").await, 49);
    server.edit(|tree| {
        let entry = tree.entry_mut(&ada).unwrap();
        entry.set("pwdAccountLockedTime", &["000001010000Z"]);
    });
    assert_eq!(code("uid=ada,ou=Staff", "ada").await, 49);

    server.edit(|tree| {
        tree.rename(&ada, &format!("uid=eda,ou=Staff,{BASE}"));
        tree.delete(&format!("uid=ben,ou=Staff,{BASE}"));
        tree.show_entry(&format!("uid=cem,ou=Staff,{BASE}"), false);
    });
    assert_eq!(
        found(&server, &["(memberOf=cn=admins,dc=example,dc=org)", "uid"])
            .await
            .0,
        ["eda"]
    );
    assert_eq!(found(&server, &everybody).await.0, ["eda", "dan", "eve"]);
    server.edit(|tree| tree.show_attribute("mail", false));
    assert!(
        found(&server, &["(|(mail=*)(!(mail=*)))", "uid"])
            .await
            .0
            .is_empty()
    );
    server.cut(Some(Cut { page: 1, code: 4 }));
    let (shown, code) = found(&server, &everybody).await;
    assert_eq!((shown.join(" "), code), ("eda dan eve".to_owned(), 4));
    server.cut(None);
    for outage in [Outage::Down, Outage::Breaks(1)] {
        server.fail(Some(outage));
        assert_ne!(found(&server, &everybody).await.1, 0, "{outage:?}");
    }
    server.fail(None);
    assert_eq!(found(&server, &everybody).await.1, 0);
}
