//! Whoever is taken out of a group has its role no more, at the next login and after the next run, whatever else of
//! their entry they changed themselves.

use anyhow::{Context, Result};
use rollcall_proto::v1;
use rollcall_proto::v1::authenticate_response::Outcome;
use rollcall_proto::v1::{IssueType, SyncRunMode};
use rollcall_testkit::{Ldif, Slapd};
use system_tests::{Backend, System, directory_of, sync_of};

use crate::company::{BASE, company, people_dn};

const TENANT: &str = "tenants/acme";
const STAFF: &str = "tenants/acme/userSyncs/staff";
const PEOPLE: [(&str, &str, &str); 2] = [
    ("bob", "bob@example.test", "right of bob"),
    ("ada", "ada@example.test", "right of ada"),
];

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn whoever_asks_for_another_s_address_is_no_admin_any_more_on_sqlite() -> Result<()> {
    is_no_admin_any_more(Backend::Sqlite).await
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn whoever_asks_for_another_s_address_is_no_admin_any_more_on_postgresql() -> Result<()> {
    is_no_admin_any_more(Backend::Postgres).await
}

async fn is_no_admin_any_more(backend: Backend) -> Result<()> {
    let (ca, slapd) = company(&PEOPLE).await?;
    let admins = format!("cn=admins,{BASE}");
    let mut group = Ldif::new();
    group
        .entry(&admins)
        .attribute("objectClass", "groupOfNames")
        .attribute("cn", "admins")
        .attribute("member", people_dn())
        .attribute("member", format!("uid=ada,{}", people_dn()));
    slapd.add(group.as_str())?;
    let system = System::start(backend, &[slapd.tls_address().port()]).await?;
    let mut sync = sync_of(&format!("{TENANT}/directories/hq"), &people_dn());
    sync.role_rules = vec![v1::RoleRule {
        role: "admin".to_owned(),
        condition: Some(v1::role_rule::Condition::GroupDn(admins.clone())),
    }];
    system
        .connect_with(TENANT, directory_of(&slapd, &ca), sync)
        .await?;
    system.run(STAFF, SyncRunMode::Apply).await?;
    assert_eq!(login(&system).await?.role, "admin");

    // She has changed her address herself, and an administrator takes her out of the group: first a run sees it.
    modify(
        &slapd,
        &format!("uid=ada,{}", people_dn()),
        "replace: mail\nmail: bob@example.test",
    )?;
    let ada = format!("uid=ada,{}", people_dn());
    modify(&slapd, &admins, &format!("delete: member\nmember: {ada}"))?;
    let run = system.run(STAFF, SyncRunMode::Apply).await?;
    let issues: Vec<IssueType> = run.issue_counts.iter().map(v1::IssueCount::r#type).collect();
    assert_eq!(issues, [IssueType::DuplicateInDirectory], "{run:#?}");
    let users = system.all_users(TENANT).await?;
    let stored = users.iter().find(|user| user.login == "ada").context("no ada")?;
    assert_eq!((stored.role.as_str(), stored.email.as_str()), ("user", ""));
    assert_eq!(login(&system).await?.role, "user");

    // The same once more, and the login comes before the run.
    modify(&slapd, &admins, &format!("add: member\nmember: {ada}"))?;
    assert_eq!(
        login(&system).await?.role,
        "admin",
        "and her address is still bob's"
    );
    modify(&slapd, &admins, &format!("delete: member\nmember: {ada}"))?;
    assert_eq!(login(&system).await?.role, "user");
    Ok(())
}

fn modify(slapd: &Slapd, dn: &str, change: &str) -> Result<()> {
    slapd.modify(&format!("dn: {dn}\nchangetype: modify\n{change}\n"))?;
    Ok(())
}

/// Who Ada is with her password.
async fn login(system: &System) -> Result<v1::User> {
    let request = v1::AuthenticateRequest {
        tenant: TENANT.to_owned(),
        login: "ada".to_owned(),
        password: PEOPLE[1].2.to_owned(),
        ..v1::AuthenticateRequest::default()
    };
    let answer = system.auth().await?.authenticate(request).await?.into_inner();
    match answer.outcome.context("no outcome")? {
        Outcome::Authenticated(authenticated) => authenticated.user.context("no user"),
        Outcome::Denial(denial) => anyhow::bail!("denied: {:?}", denial.reason()),
    }
}
