//! A service account that loses the right to read whether accounts are enabled.

use std::process::Command;

use rollcall_core::user::{StateReason, UserState};
use rollcall_proto::v1::{self, IssueType};
use rollcall_runtime::clock::Clock;
use rollcall_testkit::{Dirsrv, DirsrvPerson, Ldif, SambaDc, SambaPerson, Slapd, TestCa, is_root_for};

use crate::company::{STAFF, TENANT, staff, sync_of};
use crate::harness::{ok, stage};
use crate::run_world::{BASE, World, person, units};

const ACTIVE: (UserState, Option<StateReason>) = (UserState::Active, None);
const DISABLED: (UserState, Option<StateReason>) =
    (UserState::Deactivated, Some(StateReason::DisabledInDirectory));

/// The schemaIDGUIDs of userAccountControl and accountExpires.
const CONTROL: &str = "bf967a68-0de6-11d0-a285-00aa003049e2";
const EXPIRES: &str = "bf967915-0de6-11d0-a285-00aa003049e2";

/// Takes the right to read an attribute of an account from everybody who has logged in.
fn hide(dc: &SambaDc, dn: &str, attribute: &str) {
    let by = dc.powerful();
    let hidden = format!("(OD;;RP;{attribute};;AU)");
    let done = Command::new("samba-tool")
        .args(["dsacl", "set", "--objectdn", dn, "--sddl", &hidden])
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
    let mut world = samba(["normal", "disabled"]).await;
    world.succeed().await;
    let before = world.users().await;
    assert_eq!(world.state("disabled").await, DISABLED);
    for person in [SambaPerson::Normal, SambaPerson::Disabled] {
        hide(&world.slapd, &world.slapd.person(person).dn, CONTROL);
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
    assert_eq!(world.state("disabled").await, DISABLED);
}

/// A user sync of these people of a Samba.
async fn samba(logins: [&str; 2]) -> World<SambaDc> {
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
        &format!(
            "(&(objectCategory=person)(|(sAMAccountName={})(sAMAccountName={})))",
            logins[0], logins[1]
        ),
    );
    sync.field_mappings = Some(v1::FieldMappings {
        login: vec!["sAMAccountName".into()],
        ..v1::FieldMappings::default()
    });
    let port = dc.tls_address().port();
    World::around(dc, port, directory, sync, Clock::System).await
}

/// The stage of CheckUserSync about what may be read.
async fn checked<D>(world: &mut World<D>) -> v1::CheckStage {
    let request = v1::CheckUserSyncRequest {
        parent: TENANT.into(),
        target: Some(v1::check_user_sync_request::Target::UserSync(STAFF.into())),
        ..v1::CheckUserSyncRequest::default()
    };
    let report = ok(world.clients.user_syncs.check_user_sync(request)).await.report;
    stage(&report.unwrap(), v1::CheckStageKind::AccountState).clone()
}

/// The right is taken away, somebody new comes, and the right is given back: `locked` is deactivated all the time, `active`
/// stays as it is, and the new one waits as long as the right is missing.
async fn nobody_comes_back<D>(
    world: &mut World<D>,
    [active, locked, new]: [&str; 3],
    attribute: &str,
    reason: StateReason,
    take: impl FnOnce(&D),
    give: impl FnOnce(&D),
) {
    let stopped = (UserState::Deactivated, Some(reason));
    world.succeed().await;
    assert_eq!(world.state(locked).await, stopped);
    let stage = checked(world).await;
    assert_eq!(stage.outcome(), v1::CheckOutcome::Pass, "{stage:?}");
    assert!(stage.message.contains(attribute), "{stage:?}");

    take(&world.slapd);
    let before = world.users().await;
    for _ in 0..2 {
        let run = world.apply().await;
        let issues = world.issues(&run).await;
        assert!(
            issues
                .iter()
                .all(|issue| issue.r#type() == IssueType::StateUnreadable && issue.attribute == attribute),
            "{issues:#?}"
        );
        assert_eq!(issues.len(), 3, "{issues:#?}");
        assert_eq!(world.users().await, before, "and who is new waits");
    }
    let refreshed = world.refresh(locked).await;
    assert_ne!(
        refreshed.outcome(),
        v1::RefreshOutcome::Reactivated,
        "{refreshed:#?}"
    );
    let stage = checked(world).await;
    assert_eq!(stage.outcome(), v1::CheckOutcome::Fail, "{stage:?}");
    assert!(stage.message.contains(attribute), "{stage:?}");

    give(&world.slapd);
    world.succeed().await;
    assert_eq!(world.state(new).await, ACTIVE);
    assert_eq!(world.state(active).await, ACTIVE);
    assert_eq!(world.state(locked).await, stopped);
    let stage = checked(world).await;
    assert_eq!(stage.outcome(), v1::CheckOutcome::Pass, "{stage:?}");
}

/// A lock for good is an optional attribute, and looks the same hidden as absent.
#[tokio::test(flavor = "multi_thread")]
async fn nobody_comes_back_when_openldap_hides_the_lock() {
    let mut ldif = units();
    person(&mut ldif, "Staff", "ada");
    person(&mut ldif, "Staff", "ben")
        .attribute("userPassword", "x")
        .attribute("pwdAccountLockedTime", "000001010000Z");
    let readers = format!("cn=readers,ou=Groups,{BASE}");
    let service = format!("cn=rollcall,ou=Services,{BASE}");
    ldif.entry(&readers)
        .attribute("objectClass", "groupOfNames")
        .attribute("cn", "readers")
        .attribute("member", &service);
    let access = format!("access to attrs=pwdAccountLockedTime by group.exact=\"{readers}\" read by * none");
    let builder = Slapd::builder()
        .ppolicy()
        .first_access(&access)
        .ldif(ldif.as_str());
    let mut world = World::start(builder, staff()).await;
    let member = |who: &str| format!("dn: {readers}\nchangetype: modify\nreplace: member\nmember: {who}\n");
    let take = |slapd: &Slapd| {
        slapd.modify(&member("cn=nobody")).unwrap();
        let mut new = Ldif::new();
        person(&mut new, "Staff", "eve");
        slapd.add(new.as_str()).unwrap();
    };
    let give = |slapd: &Slapd| {
        slapd.modify(&member(&service)).unwrap();
    };
    let people = ["ada", "ben", "eve"];
    let reason = StateReason::DisabledInDirectory;
    nobody_comes_back(&mut world, people, "pwdAccountLockedTime", reason, take, give).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn nobody_comes_back_when_389_ds_hides_the_lock() {
    if !is_root_for("389 Directory Server").unwrap() {
        return;
    }
    let ca = TestCa::new().unwrap();
    let server = Dirsrv::start(&ca).unwrap();
    let directory = v1::Directory {
        display_name: "Head office".into(),
        hosts: vec![server.tls_url()],
        ca_certificates: ca.pem(),
        bind_dn: server.service().dn,
        bind_password: server.service().password,
        ..v1::Directory::default()
    };
    let people = format!("ou=People,{}", server.base_dn());
    let sync = sync_of(&people, "(|(uid=normal)(uid=disabled)(uid=new))");
    let port = server.tls_address().port();
    let aci = format!(
        "aci: (targetattr=\"nsAccountLock\")(version 3.0; acl \"hide\"; deny (read,search,compare) \
         userdn=\"ldap:///{}\";)",
        server.service().dn
    );
    let mut world = World::around(server, port, directory, sync, Clock::System).await;
    let take = |server: &Dirsrv| {
        let new = format!(
            "dn: uid=new,{people}\nchangetype: add\nobjectClass: inetOrgPerson\nuid: new\ncn: new\nsn: new\n"
        );
        let hide = format!("dn: {people}\nchangetype: modify\nadd: aci\n{aci}\n");
        server.modify(&format!("{new}\n{hide}")).unwrap();
    };
    let give = |server: &Dirsrv| {
        let show = format!("dn: {people}\nchangetype: modify\ndelete: aci\n{aci}\n");
        server.modify(&show).unwrap();
    };
    assert!(world.slapd.person(DirsrvPerson::Disabled).dn.ends_with(&people));
    let logins = ["normal", "disabled", "new"];
    let reason = StateReason::DisabledInDirectory;
    nobody_comes_back(&mut world, logins, "nsAccountLock", reason, take, give).await;
}

/// Active Directory gives everybody an accountExpires, so that nobody who shows none is over.
#[tokio::test(flavor = "multi_thread")]
async fn nobody_comes_back_when_active_directory_hides_the_end() {
    if !is_root_for("a Samba domain controller").unwrap() {
        return;
    }
    let mut world = samba(["normal", "expired"]).await;
    world.succeed().await;
    let before = world.users().await;
    let expired = (UserState::Deactivated, Some(StateReason::ExpiredInDirectory));
    assert_eq!(world.state("expired").await, expired);
    for person in [SambaPerson::Normal, SambaPerson::Expired] {
        hide(&world.slapd, &world.slapd.person(person).dn, EXPIRES);
    }
    let run = world.apply().await;
    let issues = world.issues(&run).await;
    assert_eq!(issues.len(), 2, "{issues:#?}");
    assert!(
        issues.iter().all(|issue| issue.attribute == "accountExpires"),
        "{issues:#?}"
    );
    assert_eq!(world.users().await, before);
    let refreshed = world.refresh("expired").await;
    assert_ne!(
        refreshed.outcome(),
        v1::RefreshOutcome::Reactivated,
        "{refreshed:#?}"
    );
    let stage = checked(&mut world).await;
    assert_eq!(stage.outcome(), v1::CheckOutcome::Fail, "{stage:?}");
}
