//! 389 Directory Server and Samba.

use rollcall_testkit::{Dirsrv, SambaDc, TestCa, is_root_for};

use crate::agreement::{Access, by_group, roles_of};

#[tokio::test(flavor = "multi_thread")]
async fn on_389_ds_a_run_and_a_login_agree() {
    if !is_root_for("389 Directory Server").unwrap() {
        return;
    }
    let ca = TestCa::new().unwrap();
    let server = Dirsrv::start(&ca).unwrap();
    let service = server.service();
    let access = Access {
        url: server.tls_url(),
        ca: Some(ca),
        bind_dn: service.dn,
        bind_password: service.password,
    };
    let base = server.base_dn();
    let rules = ["inner", "middle", "outer", "gone"]
        .map(|name| by_group(&format!("cn={name},ou=Groups,{base}"), name));
    let (first, problems) = access.sync(base, "uid", rules.to_vec()).await.agreed().await;
    assert_eq!(problems.len(), 1, "{problems:?}");
    assert!(
        roles_of(&first).iter().any(|(_, role)| *role == "inner"),
        "{first:?}"
    );
    let (nested, _) = access.sync(base, "uid", rules[2..].to_vec()).await.agreed().await;
    assert!(
        roles_of(&nested).iter().any(|(_, role)| *role == "outer"),
        "{nested:?}"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn on_active_directory_a_run_and_a_login_agree() {
    if !is_root_for("a Samba domain controller").unwrap() {
        return;
    }
    let ca = TestCa::new().unwrap();
    let dc = SambaDc::start(&ca).unwrap();
    let service = dc.service();
    let access = Access {
        url: dc.tls_url(),
        ca: Some(ca),
        bind_dn: service.dn,
        bind_password: service.password,
    };
    let base = dc.base_dn();
    let rules = vec![
        by_group(&format!("CN=Gone,CN=Users,{base}"), "gone"),
        by_group(&format!("CN=Domain Admins,CN=Users,{base}"), "admin"),
        by_group(&format!("CN=Users,CN=Builtin,{base}"), "everybody"),
    ];
    let sync = access
        .sync(&format!("OU=People,{base}"), "sAMAccountName", rules)
        .await;
    let (findings, problems) = sync.agreed().await;
    assert_eq!(problems.len(), 1, "{problems:?}");
    assert!(
        roles_of(&findings).iter().any(|(_, role)| *role == "everybody"),
        "{findings:?}"
    );
}
