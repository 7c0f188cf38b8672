//! An Active Directory whose service account loses the right to read whether accounts are enabled.

use std::process::Command;

use rollcall_core::user::{StateReason, UserState};
use rollcall_proto::v1::{self, IssueType};
use rollcall_runtime::clock::Clock;
use rollcall_testkit::{SambaDc, SambaPerson, TestCa, is_root_for};

use crate::company::sync_of;
use crate::run_world::World;

/// Takes the right to read userAccountControl (by its schemaIDGUID) of an account from everybody who has logged in.
const HIDDEN: &str = "(OD;;RP;bf967a68-0de6-11d0-a285-00aa003049e2;;AU)";

fn hide(dc: &SambaDc, dn: &str) {
    let by = dc.powerful();
    let done = Command::new("samba-tool")
        .args(["dsacl", "set", "--objectdn", dn, "--sddl", HIDDEN])
        .args(["-H", &dc.tls_url(), "--simple-bind-dn", &by.dn])
        .args(["--password", &by.password])
        // This server's certificate is of a CA of its own, on this machine.
        .args(["--option", "tls verify peer = no_check"])
        .output()
        .unwrap();
    assert!(done.status.success(), "{done:?}");
}

/// Fault 5: all deactivated people came back.
#[tokio::test(flavor = "multi_thread")]
async fn nobody_comes_back_when_active_directory_hides_the_state() {
    if !is_root_for("a Samba domain controller").unwrap() {
        return;
    }
    let ca = TestCa::new().unwrap();
    let dc = SambaDc::start(&ca).unwrap();
    let directory = v1::Directory {
        display_name: "Head office".into(),
        hosts: vec![dc.tls_url()],
        ca_certificates: ca.pem(),
        bind_dn: dc.service().dn,
        bind_password: dc.service().password,
        ..v1::Directory::default()
    };
    let mut sync = sync_of(
        &format!("OU=People,{}", dc.base_dn()),
        "(&(objectCategory=person)(|(sAMAccountName=normal)(sAMAccountName=disabled)))",
    );
    sync.field_mappings = Some(v1::FieldMappings {
        login: vec!["sAMAccountName".into()],
        ..v1::FieldMappings::default()
    });
    let port = dc.tls_address().port();
    let mut world = World::around(dc, port, directory, sync, Clock::System).await;
    world.succeed().await;
    let before = world.users().await;
    let disabled = (UserState::Deactivated, Some(StateReason::DisabledInDirectory));
    assert_eq!(world.state("disabled").await, disabled);
    for person in [SambaPerson::Normal, SambaPerson::Disabled] {
        hide(&world.slapd, &world.slapd.person(person).dn);
    }
    for _ in 0..2 {
        let run = world.apply().await;
        assert_eq!(
            world.issue_types(&run).await,
            [IssueType::StateUnreadable; 2],
            "{run:#?}"
        );
        assert_eq!(world.users().await, before);
    }
    let refreshed = world.refresh("disabled").await;
    assert_ne!(
        refreshed.outcome(),
        v1::RefreshOutcome::Reactivated,
        "{refreshed:#?}"
    );
    assert_eq!(world.state("disabled").await, disabled);
}
