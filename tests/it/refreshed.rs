//! What changed in the directory since the last night is seen to by the worker before a login is answered.

use anyhow::{Context, Result};
use rollcall_proto::v1;
use rollcall_proto::v1::authenticate_response::Outcome;
use rollcall_proto::v1::{SyncRunMode, SyncRunState};
use rollcall_testkit::Slapd;
use system_tests::{Backend, System, directory_of, sync_of};
use tonic::Code;

use crate::company::{company, people_dn};

const PEOPLE: [(&str, &str, &str); 1] = [("ada", "ada@example.test", "countess of lovelace")];
const TENANT: &str = "tenants/acme";

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_login_answers_with_what_the_directory_says_now_on_sqlite() -> Result<()> {
    answers_with_what_is_there(Backend::Sqlite).await
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_login_answers_with_what_the_directory_says_now_on_postgresql() -> Result<()> {
    answers_with_what_is_there(Backend::Postgres).await
}

async fn answers_with_what_is_there(backend: Backend) -> Result<()> {
    let (ca, slapd) = company(&PEOPLE).await?;
    let system = System::start(backend, &[slapd.tls_address().port()]).await?;
    let mut sync = sync_of(&format!("{TENANT}/directories/hq"), &people_dn());
    sync.role_rules = vec![v1::RoleRule {
        role: "boss".to_owned(),
        condition: Some(v1::role_rule::Condition::Filter("(title=boss)".to_owned())),
    }];
    system
        .connect_with(TENANT, directory_of(&slapd, &ca), sync)
        .await?;
    let run = system
        .run(&format!("{TENANT}/userSyncs/staff"), SyncRunMode::Apply)
        .await?;
    assert_eq!(run.state(), SyncRunState::Succeeded, "{run:?}");
    let was = login(&system).await?.expect("nothing has changed");
    assert_eq!(
        (was.role.as_str(), was.display_name.as_str()),
        ("user", "ada of the company")
    );

    modify(
        &slapd,
        "replace: displayName\ndisplayName: Ada L.\n-\nadd: title\ntitle: boss",
    )?;
    let is = login(&system).await?.expect("the worker is there");
    assert_eq!((is.role.as_str(), is.display_name.as_str()), ("boss", "Ada L."));
    assert_eq!(is.name, was.name);
    assert_eq!(stored(&system).await?, is);
    let events = events(&system).await?;
    let [created, updated] = events.as_slice() else {
        panic!("two events were expected: {events:?}");
    };
    assert_eq!(created.r#type(), v1::UserEventType::Created);
    assert_eq!(updated.r#type(), v1::UserEventType::Updated);
    // A login is no event, so no event tells of one.
    let without_login = v1::User {
        last_login_time: None,
        ..is.clone()
    };
    assert_eq!(updated.user.as_ref(), Some(&without_login));
    let mut fields: Vec<&str> = updated
        .field_changes
        .iter()
        .map(|change| change.field.as_str())
        .collect();
    fields.sort_unstable();
    assert_eq!(fields, ["display_name", "role"]);

    // While the worker does not answer, an old name is good enough, an old role is not.
    system.worker.pause()?;
    modify(&slapd, "replace: displayName\ndisplayName: Lady Lovelace")?;
    assert_eq!(login(&system).await?, Ok(is.clone()));
    modify(&slapd, "delete: title")?;
    assert_eq!(login(&system).await?, Err(Code::Aborted));
    assert_eq!(stored(&system).await?, is);
    system.worker.resume()?;
    let renewed = login(&system).await?.expect("the worker is there again");
    assert_eq!(
        (renewed.role.as_str(), renewed.display_name.as_str()),
        ("user", "Lady Lovelace")
    );
    assert_eq!(stored(&system).await?, renewed);
    Ok(())
}

fn modify(slapd: &Slapd, change: &str) -> Result<()> {
    slapd.modify(&format!(
        "dn: uid=ada,{}\nchangetype: modify\n{change}\n",
        people_dn()
    ))?;
    Ok(())
}

/// Who Ada is with her password.
async fn login(system: &System) -> Result<Result<v1::User, Code>> {
    let request = v1::AuthenticateRequest {
        tenant: TENANT.to_owned(),
        login: "ada".to_owned(),
        password: PEOPLE[0].2.to_owned(),
        ..v1::AuthenticateRequest::default()
    };
    let answer = match system.auth().await?.authenticate(request).await {
        Ok(answer) => answer.into_inner(),
        Err(status) => return Ok(Err(status.code())),
    };
    match answer.outcome.context("no outcome")? {
        Outcome::Authenticated(authenticated) => Ok(Ok(authenticated.user.context("no user")?)),
        Outcome::Denial(denial) => anyhow::bail!("denied: {:?}", denial.reason()),
    }
}

async fn stored(system: &System) -> Result<v1::User> {
    let request = v1::LookupUserRequest {
        parent: TENANT.to_owned(),
        identifier: "ada".to_owned(),
    };
    Ok(system.users().await?.lookup_user(request).await?.into_inner())
}

async fn events(system: &System) -> Result<Vec<v1::UserEvent>> {
    let request = v1::ListUserEventsRequest {
        parent: TENANT.to_owned(),
        ..v1::ListUserEventsRequest::default()
    };
    Ok(system
        .users()
        .await?
        .list_user_events(request)
        .await?
        .into_inner()
        .events)
}
