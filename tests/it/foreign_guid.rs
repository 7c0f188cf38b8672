//! Ids under the name that Active Directory has for them, on a server that is another one: whoever moved is still found
//! at a login, before and after a run, and an entry without an id costs nobody else the login.

use anyhow::{Context, Result};
use rollcall_proto::v1;
use rollcall_proto::v1::authenticate_response::Outcome;
use rollcall_proto::v1::{SyncRunMode, SyncRunState};
use rollcall_testkit::{Ldif, Slapd, TestCa};
use system_tests::{Backend, System, directory_of, sync_of};

use crate::company::{BASE, people_dn};

const TENANT: &str = "tenants/acme";
const STAFF: &str = "tenants/acme/userSyncs/staff";
const OBJECT_GUID: &str = "attributetype ( 1.2.840.113556.1.4.2 NAME 'objectGUID' EQUALITY octetStringMatch
  SYNTAX 1.3.6.1.4.1.1466.115.121.1.40 SINGLE-VALUE )";

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn people_with_an_object_guid_on_openldap_log_in_wherever_they_move() -> Result<()> {
    let ca = TestCa::new()?;
    let mut ldif = Ldif::new();
    for unit in ["People", "Moved"] {
        ldif.entry(&format!("ou={unit},{BASE}"))
            .attribute("objectClass", "organizationalUnit")
            .attribute("ou", unit);
    }
    for (uid, guid) in [("ada", 1), ("bob", 2)] {
        person(&mut ldif, uid).attribute("objectGUID", [guid; 16]);
    }
    let builder = Slapd::builder()
        .base_dn(BASE)
        .global_config(OBJECT_GUID)
        .certificate(ca.loopback_server()?)
        .ldif(ldif.as_str());
    let slapd = tokio::task::spawn_blocking(move || builder.start()).await??;
    let system = System::start(Backend::Sqlite, &[slapd.tls_address().port()]).await?;
    let directory = v1::Directory {
        external_id_attribute: "objectGUID".to_owned(),
        ..directory_of(&slapd, &ca)
    };
    let sync = sync_of(&format!("{TENANT}/directories/hq"), BASE);
    system.connect_with(TENANT, directory, sync).await?;
    let run = system.run(STAFF, SyncRunMode::Apply).await?;
    assert_eq!(run.state(), SyncRunState::Succeeded, "{run:#?}");
    let ada = login(&system, "ada").await?;

    move_to(&slapd, "ada", "People", "Moved")?;
    assert_eq!(login(&system, "ada").await?.name, ada.name);
    let mut nameless = Ldif::new();
    person(&mut nameless, "nameless");
    slapd.add(nameless.as_str())?;
    let run = system.run(STAFF, SyncRunMode::Apply).await?;
    assert_eq!(run.state(), SyncRunState::SucceededWithIssues, "{run:#?}");
    move_to(&slapd, "ada", "Moved", "People")?;
    assert_eq!(login(&system, "ada").await?.name, ada.name);
    login(&system, "bob").await?;
    Ok(())
}

fn person<'a>(ldif: &'a mut Ldif, uid: &str) -> &'a mut Ldif {
    ldif.entry(&format!("uid={uid},{}", people_dn()))
        .attribute("objectClass", "inetOrgPerson")
        .attribute("objectClass", "extensibleObject")
        .attribute("uid", uid)
        .attribute("cn", uid)
        .attribute("sn", uid)
        .attribute("userPassword", format!("right of {uid}"))
}

fn move_to(slapd: &Slapd, uid: &str, from: &str, to: &str) -> Result<()> {
    slapd.modify(&format!(
        "dn: uid={uid},ou={from},{BASE}\nchangetype: modrdn\nnewrdn: uid={uid}\ndeleteoldrdn: 0\n\
         newsuperior: ou={to},{BASE}\n"
    ))?;
    Ok(())
}

/// Who this is with the right password.
async fn login(system: &System, uid: &str) -> Result<v1::User> {
    let request = v1::AuthenticateRequest {
        tenant: TENANT.to_owned(),
        login: uid.to_owned(),
        password: format!("right of {uid}"),
        ..v1::AuthenticateRequest::default()
    };
    let answer = system.auth().await?.authenticate(request).await?.into_inner();
    match answer.outcome.context("no outcome")? {
        Outcome::Authenticated(authenticated) => authenticated.user.context("no user"),
        Outcome::Denial(denial) => anyhow::bail!("{uid} is denied: {:?}", denial.reason()),
    }
}
