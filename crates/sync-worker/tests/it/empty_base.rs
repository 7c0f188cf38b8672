//! A search without a base DN, which OpenLDAP and Active Directory answer with nothing at all.

use rollcall_core::error::Reason;
use rollcall_proto::v1;
use rollcall_proto::v1::check_user_sync_request::Target;
use rollcall_testkit::{SambaDc, Slapd, TestCa, is_root_for};

use crate::company::{DIRECTORY, STAFF, TENANT, create_sync, create_tenant, staff, sync_of};
use crate::harness::{ADMIN, Clients, NOBODY, TestWorker, description, fails, mask, ok};

fn create(user_sync: v1::UserSync) -> v1::CreateUserSyncRequest {
    v1::CreateUserSyncRequest {
        parent: TENANT.into(),
        user_sync_id: "everybody".into(),
        user_sync: Some(user_sync),
        request_id: String::new(),
    }
}

async fn set_up(clients: &mut Clients, directory: v1::Directory) {
    create_tenant(clients).await;
    let request = v1::CreateDirectoryRequest {
        parent: TENANT.into(),
        directory_id: "hq".into(),
        directory: Some(directory),
        request_id: String::new(),
    };
    ok(clients.directories.create_directory(request)).await;
}

fn on(slapd: &Slapd, ca: &TestCa) -> v1::Directory {
    v1::Directory {
        display_name: "Head office".into(),
        hosts: vec![slapd.tls_url()],
        ca_certificates: ca.pem(),
        bind_dn: slapd.service_dn(),
        bind_password: slapd.service_password().into(),
        ..v1::Directory::default()
    }
}

const BASE: &str = "user_sync.searches[0].base_dn";

/// Wherever it is refused, it names the trees, and what else is wrong too.
#[tokio::test(flavor = "multi_thread")]
async fn the_refusal_of_an_empty_base_names_the_trees_of_the_server() {
    let ca = TestCa::new().unwrap();
    let slapd = Slapd::builder()
        .certificate(ca.loopback_server().unwrap())
        .empty_tree("dc=second,dc=example")
        .start()
        .unwrap();
    let worker = TestWorker::start(&[slapd.tls_address().port()]).await;
    let mut clients = worker.clients(ADMIN);
    set_up(&mut clients, on(&slapd, &ca)).await;
    create_sync(&mut clients, "staff", staff()).await;
    let expected = "is required: make one search for each tree of the server that has people: \
                    \"dc=example,dc=org\", \"dc=second,dc=example\"";
    let same = |text: &str| {
        let mut trees: Vec<&str> = text.split('"').collect();
        trees.sort_unstable();
        trees.concat()
    };
    let refused = |status: &tonic::Status, field: &str| {
        let said = description(status, field);
        assert_eq!(same(&said), same(expected), "{said}");
    };

    let mut bad = sync_of("  ", "(uid=*");
    let status = fails(
        Reason::InvalidField,
        clients.user_syncs.create_user_sync(create(bad.clone())),
    )
    .await;
    refused(&status, BASE);
    assert!(description(&status, "user_sync.searches[0].filter").contains("parenthesis"));
    let draft = v1::CheckUserSyncRequest {
        parent: TENANT.into(),
        target: Some(Target::Draft(bad.clone())),
        sample_size: 0,
    };
    let status = fails(Reason::InvalidField, clients.user_syncs.check_user_sync(draft)).await;
    refused(&status, "draft.searches[0].base_dn");
    bad.name = STAFF.into();
    bad.directory = String::new();
    let update = v1::UpdateUserSyncRequest {
        user_sync: Some(bad),
        update_mask: mask(&["searches"]),
    };
    let status = fails(Reason::InvalidField, clients.user_syncs.update_user_sync(update)).await;
    refused(&status, BASE);

    // Whoever may not touch the tenant makes no connection of it.
    let mut strangers = worker.clients(NOBODY);
    fails(
        Reason::PermissionMissing,
        strangers
            .user_syncs
            .create_user_sync(create(sync_of("", "(uid=*)"))),
    )
    .await;
}

/// A server that does not answer costs the refusal nothing but the names.
#[tokio::test(flavor = "multi_thread")]
async fn without_the_server_an_empty_base_is_refused_all_the_same() {
    let ca = TestCa::new().unwrap();
    let slapd = Slapd::builder().start().unwrap();
    let directory = on(&slapd, &ca);
    let port = slapd.tls_address().port();
    drop(slapd);
    let worker = TestWorker::start(&[port]).await;
    let mut clients = worker.clients(ADMIN);
    set_up(&mut clients, directory).await;
    for directory in [DIRECTORY, "tenants/acme/directories/none", "nonsense", ""] {
        let sync = v1::UserSync {
            directory: directory.into(),
            ..sync_of("", "(uid=*)")
        };
        let status = fails(
            Reason::InvalidField,
            clients.user_syncs.create_user_sync(create(sync)),
        )
        .await;
        assert!(description(&status, BASE).contains("CheckConnection names the trees"));
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn active_directory_s_domain_is_proposed_for_an_empty_base() {
    if !is_root_for("a Samba domain controller").unwrap() {
        return;
    }
    let ca = TestCa::new().unwrap();
    let dc = SambaDc::start(&ca).unwrap();
    let worker = TestWorker::start(&[dc.tls_address().port()]).await;
    let mut clients = worker.clients(ADMIN);
    let directory = v1::Directory {
        display_name: "Head office".into(),
        hosts: vec![dc.tls_url()],
        ca_certificates: ca.pem(),
        bind_dn: dc.service().dn,
        bind_password: dc.service().password,
        ..v1::Directory::default()
    };
    set_up(&mut clients, directory).await;
    let status = fails(
        Reason::InvalidField,
        clients
            .user_syncs
            .create_user_sync(create(sync_of("", "(objectCategory=person)"))),
    )
    .await;
    let said = description(&status, BASE);
    let expected = format!("one tree, {:?}, so search there or below", dc.base_dn());
    assert!(said.contains(&expected), "{said}");
}
