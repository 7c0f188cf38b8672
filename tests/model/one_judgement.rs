//! One row of what is known about a kind of server decides alike wherever an entry is judged: at a login, in a preview, a
//! refresh, a check and a run. The server itself does not enforce it, so that nothing but the row is seen. A row that is
//! added in one place is followed by all five.

use anyhow::{Context, Result};
use chrono::DateTime;
use rollcall_proto::v1;
use rollcall_proto::v1::authenticate_response::Outcome;
use rollcall_proto::v1::check_user_sync_request::Target;
use rollcall_proto::v1::{ChangeType, DenialReason, RefreshOutcome, SyncRunMode, UserState, UserStateReason};
use rollcall_testkit::{Tree, TreeLdap};
use system_tests::sync_of;

use crate::rollcall::{Backend, Rollcall, TENANT};

pub(crate) const BASE: &str = "dc=example,dc=org";
pub(crate) const SYNC: &str = "tenants/acme/userSyncs/staff";
pub(crate) const PASSWORD: &str = "countess of lovelace";
/// What says that an account of OpenLDAP has ended: a row of the dialect.
const ENDED: (&str, &str) = ("pwdEndTime", "20200101000000Z");
/// Each is asked about in another way, since who has lost access is not asked about again.
const PEOPLE: [&str; 3] = ["ada", "bob", "eve"];

/// What each of those who judge says of somebody.
#[derive(Debug, PartialEq, Eq)]
struct Answers {
    login: Option<DenialReason>,
    preview: Option<UserStateReason>,
    refresh: (RefreshOutcome, UserState),
    check: UserState,
    run: (UserState, UserStateReason),
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_a_dialect_says_of_an_account_is_so_for_everybody_who_asks() -> Result<()> {
    let (server, rollcall) = synced_company().await?;
    mark(&server, ENDED);
    let ended = Answers {
        login: Some(DenialReason::AccountExpired),
        preview: Some(UserStateReason::ExpiredInDirectory),
        refresh: (RefreshOutcome::Removed, UserState::Deactivated),
        check: UserState::Deactivated,
        run: (UserState::Deactivated, UserStateReason::ExpiredInDirectory),
    };
    assert_eq!(ask_everybody(&rollcall).await?, ended);
    Ok(())
}

/// A user who was archived has no login any more, so who is archived away does not come back as anything else while nobody can
/// read whether the account is enabled.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn whoever_is_archived_stays_so_while_the_state_cannot_be_read() -> Result<()> {
    const UNREADABLE: (&str, &str) = ("pwdEndTime", "next summer");

    let (server, rollcall) = synced_company().await?;
    let mut names = Vec::new();
    for uid in PEOPLE {
        names.push(user(&rollcall, uid).await?.name);
    }
    let show = |shown| server.edit(|tree| PEOPLE.iter().for_each(|uid| tree.show_entry(&dn(uid), shown)));
    let states = async || -> Result<Vec<(UserState, UserStateReason)>> {
        let mut states = Vec::new();
        for name in &names {
            let user = get(&rollcall, name).await?;
            states.push((user.state(), user.state_reason()));
        }
        Ok(states)
    };
    show(false);
    rollcall.run(SYNC, SyncRunMode::Apply).await?;
    let archived = [(UserState::Archived, UserStateReason::Gone); 3];
    assert_eq!(states().await?, archived);

    show(true);
    mark(&server, UNREADABLE);
    for (uid, name) in PEOPLE.iter().zip(&names) {
        let denied = Some(DenialReason::InvalidCredentials);
        assert_eq!(login(&rollcall, uid).await?, denied);
        let request = v1::ExplainUserRequest {
            parent: TENANT.to_owned(),
            target: Some(v1::explain_user_request::Target::UserSync(SYNC.to_owned())),
            person: Some(v1::explain_user_request::Person::User(name.clone())),
        };
        let explained = rollcall.user_syncs().explain_user(request).await?.into_inner();
        let explained = explained.explanations.first().context("no explanation")?;
        let (next_run, forecast) = (explained.next_run.as_ref(), explained.login.as_ref());
        assert_eq!(
            next_run.map(v1::RunForecast::action),
            Some(v1::RunAction::Keep),
            "{explained:#?}"
        );
        let answer = forecast.and_then(|forecast| forecast.answer.clone());
        let refused = v1::login_forecast::Answer::DenialReason(DenialReason::InvalidCredentials.into());
        assert_eq!(answer, Some(refused), "{explained:#?}");
        let request = v1::RefreshUserRequest { name: name.clone() };
        let refreshed = rollcall.user_syncs().refresh_user(request).await?.into_inner();
        assert_eq!(refreshed.outcome(), RefreshOutcome::Rejected, "{refreshed:#?}");
    }
    for mode in [SyncRunMode::Preview, SyncRunMode::Apply] {
        let run = rollcall.run(SYNC, mode).await?;
        let counts = run.issue_counts.iter();
        let counts: Vec<_> = counts.map(|count| (count.r#type(), count.count)).collect();
        assert_eq!(counts, [(v1::IssueType::StateUnreadable, 3)]);
        let changes = rollcall.changes(&run.name).await?;
        assert_eq!(changes, [], "{mode:?}");
        assert_eq!(states().await?, archived);
    }

    mark(&server, ("pwdEndTime", "20990101000000Z"));
    rollcall.run(SYNC, SyncRunMode::Apply).await?;
    assert_eq!(
        states().await?,
        [(UserState::Active, UserStateReason::Unspecified); 3]
    );
    assert_eq!(login(&rollcall, PEOPLE[0]).await?, None);
    Ok(())
}

#[cfg(debug_assertions)]
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_row_that_is_added_in_one_place_changes_the_answers_of_everybody_who_judges() -> Result<()> {
    use rollcall_core::dialect::Dialect;
    const ADDED: (&str, &str) = ("accountIsSuspended", "TRUE");

    let (server, rollcall) = synced_company().await?;
    mark(&server, ADDED);
    let enabled = Answers {
        login: None,
        preview: None,
        refresh: (RefreshOutcome::Unchanged, UserState::Active),
        check: UserState::Active,
        run: (UserState::Active, UserStateReason::Unspecified),
    };
    assert_eq!(ask_everybody(&rollcall).await?, enabled);

    // Both services ask for what was a row when they first met the directory, so another pair of them is asked.
    assert!(Dialect::OpenLdap.add_disabling_attribute(ADDED.0));
    let (server, rollcall) = synced_company().await?;
    mark(&server, ADDED);
    let disabled = Answers {
        login: Some(DenialReason::AccountDisabled),
        preview: Some(UserStateReason::DisabledInDirectory),
        refresh: (RefreshOutcome::Removed, UserState::Deactivated),
        check: UserState::Deactivated,
        run: (UserState::Deactivated, UserStateReason::DisabledInDirectory),
    };
    assert_eq!(ask_everybody(&rollcall).await?, disabled);
    Ok(())
}

/// A company whose people are users, and who may all log in.
async fn synced_company() -> Result<(TreeLdap, Rollcall)> {
    let server = TreeLdap::start(company()).await?;
    let now = DateTime::from_timestamp(1_790_000_000, 0).context("no time")?;
    let rollcall = Rollcall::start(Backend::Sqlite, server.address().port(), now).await?;
    let user_sync = sync_of(&format!("{TENANT}/directories/hq"), BASE);
    rollcall.create(directory(&server), user_sync).await?;
    rollcall.run(SYNC, SyncRunMode::Apply).await?;
    Ok((server, rollcall))
}

/// Gives the entries of those who are asked about this value.
fn mark(server: &TreeLdap, (attribute, value): (&str, &str)) {
    server.edit(|tree| {
        for uid in PEOPLE {
            let entry = tree.entry_mut(&dn(uid)).unwrap();
            entry.set(attribute, &[value]);
        }
    });
}

async fn ask_everybody(rollcall: &Rollcall) -> Result<Answers> {
    let [ada, bob, eve] = PEOPLE;
    Ok(Answers {
        login: login(rollcall, ada).await?,
        preview: preview(rollcall, eve).await?,
        refresh: refresh(rollcall, bob).await?,
        check: check(rollcall, eve).await?,
        run: {
            rollcall.run(SYNC, SyncRunMode::Apply).await?;
            let eve = user(rollcall, eve).await?;
            (eve.state(), eve.state_reason())
        },
    })
}

/// Why the right password does not let somebody in.
async fn login(rollcall: &Rollcall, uid: &str) -> Result<Option<DenialReason>> {
    let request = v1::AuthenticateRequest {
        tenant: TENANT.to_owned(),
        login: uid.to_owned(),
        password: PASSWORD.to_owned(),
        ..v1::AuthenticateRequest::default()
    };
    let answer = rollcall.auth().authenticate(request).await?.into_inner();
    Ok(match answer.outcome.context("no outcome")? {
        Outcome::Authenticated(_) => None,
        Outcome::Denial(denial) => Some(denial.reason()),
    })
}

/// Why a run would take somebody's access away.
async fn preview(rollcall: &Rollcall, uid: &str) -> Result<Option<UserStateReason>> {
    let plan = rollcall.run(SYNC, SyncRunMode::Preview).await?;
    let request = v1::ListSyncRunChangesRequest {
        parent: plan.name,
        types: vec![ChangeType::Deactivate.into()],
        ..v1::ListSyncRunChangesRequest::default()
    };
    let changes = rollcall.runs().list_sync_run_changes(request).await?;
    let mut changes = changes.into_inner().changes.into_iter();
    let change = changes.find(|change| change.dn == dn(uid));
    Ok(change.map(|change| change.state_reason()))
}

async fn refresh(rollcall: &Rollcall, uid: &str) -> Result<(RefreshOutcome, UserState)> {
    let request = v1::RefreshUserRequest {
        name: user(rollcall, uid).await?.name,
    };
    let refreshed = rollcall.user_syncs().refresh_user(request).await?;
    let refreshed = refreshed.into_inner();
    let state = refreshed.user.as_ref().context("no user")?.state();
    Ok((refreshed.outcome(), state))
}

/// The state that a check shows for somebody.
async fn check(rollcall: &Rollcall, uid: &str) -> Result<UserState> {
    let request = v1::CheckUserSyncRequest {
        parent: TENANT.to_owned(),
        target: Some(Target::UserSync(SYNC.to_owned())),
        sample_size: 100,
    };
    let checked = rollcall.user_syncs().check_user_sync(request).await?;
    let checked = checked.into_inner();
    let sample = checked.samples.iter().find(|sample| sample.dn == dn(uid));
    let sample = sample.with_context(|| format!("{uid} is not among the samples: {checked:?}"))?;
    Ok(sample.user.as_ref().context("would not be taken")?.state())
}

async fn user(rollcall: &Rollcall, uid: &str) -> Result<v1::User> {
    let request = v1::LookupUserRequest {
        parent: TENANT.to_owned(),
        identifier: uid.to_owned(),
    };
    Ok(rollcall.users().lookup_user(request).await?.into_inner())
}

async fn get(rollcall: &Rollcall, name: &str) -> Result<v1::User> {
    let request = v1::GetUserRequest {
        name: name.to_owned(),
    };
    Ok(rollcall.users().get_user(request).await?.into_inner())
}

/// The server as its directory.
pub(crate) fn directory(server: &TreeLdap) -> v1::Directory {
    v1::Directory {
        display_name: "Headquarters".to_owned(),
        hosts: vec![server.url()],
        transport_security: v1::TransportSecurity::Plaintext.into(),
        allow_plaintext: true,
        bind_dn: format!("cn=reader,{BASE}"),
        bind_password: PASSWORD.to_owned(),
        ..v1::Directory::default()
    }
}

fn company() -> Tree {
    let mut tree = Tree::default();
    let mut add = |dn: String, attributes: &[(&str, &str)]| tree.add_numbered(dn, attributes, PASSWORD);
    add(BASE.to_owned(), &[("objectClass", "domain")]);
    add(format!("cn=reader,{BASE}"), &[("objectClass", "device")]);
    // Many more than lose access, or the run would wait for a person.
    let others: Vec<String> = (0..30).map(|number| format!("number-{number}")).collect();
    for uid in PEOPLE.into_iter().chain(others.iter().map(String::as_str)) {
        let mail = format!("{uid}@example.test");
        let attributes = [
            ("objectClass", "inetOrgPerson"),
            ("uid", uid),
            ("cn", uid),
            ("sn", uid),
            ("mail", &mail),
        ];
        add(dn(uid), &attributes);
    }
    tree
}

fn dn(uid: &str) -> String {
    format!("uid={uid},{BASE}")
}
