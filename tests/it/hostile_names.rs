//! People whose names try every escape there is.

use std::collections::BTreeMap;

use anyhow::Result;
use base64::Engine;
use rollcall_proto::v1;
use rollcall_proto::v1::authenticate_response::Outcome;
use rollcall_testkit::{HostilePerson, Slapd, TestCa, hostile_people, people_ldif};
use system_tests::{Backend, System, number};

/// How many people; 1,500 if it is not set.
const PEOPLE: &str = "ROLLCALL_HOSTILE_NAMES";
/// Logins at a time.
const CALLERS: usize = 16;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn hostile_names_arrive_exactly_and_everybody_logs_in_by_login_and_by_email() -> Result<()> {
    let ca = TestCa::new()?;
    let count = usize::try_from(number(PEOPLE)?.unwrap_or(1_500))?;
    let people = hostile_people(count);
    let base = "dc=rollcall,dc=test";
    let base_dn = format!("ou=People,{base}");
    let ldif = format!(
        "dn: {base_dn}\nobjectClass: organizationalUnit\nou: People\n\n{}",
        people_ldif(&people, &base_dn)
    );
    let builder = Slapd::builder()
        .base_dn(base)
        .certificate(ca.loopback_server()?)
        .size_limit(20_000)
        .ldif(&ldif);
    let slapd = tokio::task::spawn_blocking(move || builder.start()).await??;
    let system = System::start(Backend::Sqlite, &[slapd.tls_address().port()]).await?;
    let tenant = system.connect("acme", &slapd, &ca, &base_dn).await?;
    let sync = format!("{tenant}/userSyncs/staff");

    let run = system.run(&sync, v1::SyncRunMode::Apply).await?;
    assert_eq!(run.state(), v1::SyncRunState::Succeeded, "{run:?}");
    assert_eq!(run.counts.unwrap().created, count as i64);
    let entries = directory(&slapd, &base_dn)?;
    assert_eq!(entries.len(), count);
    assert_eq!(stored(&system, &tenant).await?, entries);

    let before = system.all_users(&tenant).await?;
    let events = event_count(&system, &tenant).await?;
    let second = system.run(&sync, v1::SyncRunMode::Apply).await?;
    assert_eq!(second.state(), v1::SyncRunState::Succeeded, "{second:?}");
    let counts = second.counts.unwrap();
    assert_eq!(
        (counts.unchanged, counts.applied),
        (count as i64, 0),
        "{counts:?}"
    );
    assert_eq!(
        system.all_users(&tenant).await?,
        before,
        "a second run writes no user"
    );
    assert_eq!(
        event_count(&system, &tenant).await?,
        events,
        "a second run writes no event"
    );

    log_everybody_in(&system, &tenant, people).await
}

/// What a user is compared by.
type Fields = BTreeMap<&'static str, String>;

async fn stored(system: &System, tenant: &str) -> Result<BTreeMap<String, Fields>> {
    let users = system.all_users(tenant).await?;
    Ok(users
        .into_iter()
        .map(|user| {
            let fields = BTreeMap::from([
                ("login", user.login),
                ("email", user.email),
                ("display_name", user.display_name),
                ("given_name", user.given_name),
                ("family_name", user.family_name),
                ("dn", user.dn),
            ]);
            (user.external_id, fields)
        })
        .collect())
}

/// The same people as `ldapsearch` prints them, with the trimming that a mapping does.
fn directory(slapd: &Slapd, base_dn: &str) -> Result<BTreeMap<String, Fields>> {
    let attributes = ["entryUUID", "uid", "mail", "displayName", "givenName", "sn"];
    let arguments = ["-o", "ldif-wrap=no", "-LLL", "-b", base_dn, "(uid=*)"];
    let printed = slapd.search(&[&arguments[..], &attributes].concat())?;
    let mut entries = BTreeMap::new();
    for block in printed.split("\n\n").filter(|block| !block.trim().is_empty()) {
        let values: BTreeMap<&str, String> = block.lines().filter_map(line).collect();
        let value = |name: &str| values.get(name).cloned().unwrap_or_default();
        // A tab within a name becomes a space.
        let trimmed = |name: &str| value(name).trim().replace('\t', " ");
        let fields = BTreeMap::from([
            ("login", value("uid")),
            ("email", value("mail")),
            ("display_name", trimmed("displayName")),
            ("given_name", trimmed("givenName")),
            ("family_name", trimmed("sn")),
            ("dn", value("dn")),
        ]);
        entries.insert(value("entryUUID"), fields);
    }
    Ok(entries)
}

fn line(text: &str) -> Option<(&str, String)> {
    let (name, value) = text.split_once(':')?;
    let value = match value.strip_prefix(':') {
        Some(encoded) => {
            let decoded = base64::engine::general_purpose::STANDARD
                .decode(encoded.trim())
                .ok()?;
            String::from_utf8(decoded).ok()?
        }
        None => value.strip_prefix(' ').unwrap_or(value).to_owned(),
    };
    Some((name, value))
}

async fn event_count(system: &System, tenant: &str) -> Result<usize> {
    let mut client = system.users().await?;
    let mut count = 0;
    let mut cursor = String::new();
    loop {
        let request = v1::ListUserEventsRequest {
            parent: tenant.to_owned(),
            page_size: 1000,
            after: cursor.clone(),
            ..v1::ListUserEventsRequest::default()
        };
        let page = client.list_user_events(request).await?.into_inner();
        if page.events.is_empty() {
            return Ok(count);
        }
        count += page.events.len();
        cursor = page.next_cursor;
    }
}

async fn log_everybody_in(system: &System, tenant: &str, people: Vec<HostilePerson>) -> Result<()> {
    let people = std::sync::Arc::new(people);
    let mut callers = tokio::task::JoinSet::new();
    for caller in 0..CALLERS {
        let mut client = system.auth().await?;
        let (people, tenant) = (people.clone(), tenant.to_owned());
        callers.spawn(async move {
            for person in people.iter().skip(caller).step_by(CALLERS) {
                for login in [&person.uid, &person.mail] {
                    let request = v1::AuthenticateRequest {
                        tenant: tenant.clone(),
                        login: login.clone(),
                        password: person.password.clone(),
                        ..v1::AuthenticateRequest::default()
                    };
                    let outcome = client.authenticate(request).await?.into_inner().outcome;
                    let Some(Outcome::Authenticated(authenticated)) = outcome else {
                        anyhow::bail!("{login} was denied: {outcome:?}");
                    };
                    assert_eq!(authenticated.user.unwrap().login, person.uid);
                }
            }
            Ok(())
        });
    }
    while let Some(caller) = callers.join_next().await {
        caller??;
    }
    Ok(())
}
