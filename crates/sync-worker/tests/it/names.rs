//! Names of attributes, kinds of ids, and entries that are nobody.

use std::sync::{Arc, Mutex};

use rollcall_core::user::{StateReason, User, UserState};
use rollcall_proto::v1::{self, IssueType, RefreshOutcome, SyncRunState};
use rollcall_runtime::clock::Clock;
use rollcall_testkit::{Ldif, Operation, ScriptedLdap, Slapd, SlapdBuilder, ber};

use crate::company::sync_of;
use crate::run_world::{BASE, World, person, scripted_directory, units};

fn amy() -> SlapdBuilder {
    let mut ldif = Ldif::new();
    ldif.entry(&format!("uid=amy1,{BASE}"))
        .attribute("objectClass", "inetOrgPerson")
        .attribute("uid", "amy1")
        .attribute("cn", "Amy One")
        .attribute("cn;lang-ja;phonetic", "Ei-mi")
        .attribute("sn", "One")
        .attribute("givenName", "Amy")
        .attribute("mail", "amy@example.com")
        .attribute("street", "Main 1");
    let options = Slapd::builder().global_config("attributeoptions lang- phonetic");
    options.ldif(ldif.as_str())
}

fn mapped(names: [&str; 7]) -> v1::UserSync {
    let [login, email, display, given, family, street, phonetic] = names.map(|name| vec![name.to_owned()]);
    let candidates = |candidates| v1::FieldCandidates { candidates };
    v1::UserSync {
        field_mappings: Some(v1::FieldMappings {
            login,
            email,
            display_name: display,
            given_name: given,
            family_name: family,
            custom: [("street", street), ("phonetic", phonetic)]
                .map(|(field, names)| (field.to_owned(), candidates(names)))
                .into(),
            ..v1::FieldMappings::default()
        }),
        ..sync_of(BASE, "(objectClass=inetOrgPerson)")
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn every_name_of_an_attribute_fills_the_field_in_runs_and_refreshes() {
    let usual = [
        "uid",
        "mail",
        "cn",
        "givenName",
        "sn",
        "street",
        "cn;lang-ja;phonetic",
    ];
    let others = [
        "userid",
        "rfc822Mailbox",
        "commonName",
        "gn",
        "surname",
        "streetAddress",
        "CN;Phonetic;lang-JA",
    ];
    let oids = [
        "0.9.2342.19200300.100.1.1",
        "0.9.2342.19200300.100.1.3",
        "2.5.4.3",
        "2.5.4.42",
        "2.5.4.4",
        "2.5.4.9",
        "2.5.4.3;lang-ja;phonetic",
    ];
    let mut expected: Option<User> = None;
    for names in [usual, others, oids] {
        let mut world = World::start(amy(), mapped(names)).await;
        world.succeed().await;
        let user = world.users().await.remove("amy1").unwrap();
        let profile = &user.profile;
        assert_eq!(profile.email.as_deref(), Some("amy@example.com"), "{names:?}");
        assert_eq!(profile.custom.len(), 2, "{names:?}");
        let same = expected.get_or_insert_with(|| user.clone());
        assert_eq!(*profile, same.profile, "{names:?}");
        let refreshed = world.refresh("amy1").await;
        assert_eq!(refreshed.outcome(), RefreshOutcome::Unchanged, "{refreshed:#?}");
        assert_eq!(world.succeed().await.counts.unwrap().unchanged, 1);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn an_alias_is_nobody_and_stands_in_nobody_s_way() {
    let mut ldif = units();
    // It comes first, and asks for ada's login and address.
    ldif.entry(&format!("uid=ada,ou=Guests,{BASE}"))
        .attribute("objectClass", "alias")
        .attribute("objectClass", "extensibleObject")
        .attribute("aliasedObjectName", format!("uid=ada,ou=Staff,{BASE}"))
        .attribute("uid", "ada")
        .attribute("mail", "ada@example.org");
    person(&mut ldif, "Staff", "ada");
    let builder = Slapd::builder().ldif(ldif.as_str());
    let mut world = World::start(builder, sync_of(BASE, "(uid=*)")).await;
    for night in 0..2 {
        let run = world.apply().await;
        assert_eq!(run.state(), SyncRunState::SucceededWithIssues, "{run:#?}");
        let issues = world.issues(&run).await;
        assert_eq!(issues.len(), 1, "night {night}: {issues:#?}");
        assert_eq!(issues[0].r#type(), IssueType::NotAPerson);
        assert!(issues[0].message.contains("alias") && issues[0].hint.contains("objectClass=alias"));
        let users = world.users().await;
        let ada = &users["ada"].origin.as_ref().unwrap().dn;
        assert_eq!((users.len(), ada.contains("ou=Staff")), (1, true));
    }
}

/// People of a server of no known kind: login, and what it shows of each.
type People = Arc<Mutex<Vec<(&'static str, Vec<&'static str>)>>>;

const UUIDS: [(&str, &str); 2] = [
    ("ada", "6a1f7c1e-29d5-4a7c-b17b-6a0d3a0e8f11"),
    ("ben", "7c9e6679-7425-40de-944b-e07fc1f90ae7"),
];
const NS_IDS: [(&str, &str); 2] = [
    ("ada", "6a1f7c1e-29d54a7c-b17b6a0d-3a0e8f11"),
    ("ben", "7c9e6679-742540de-944be07f-c1f90ae7"),
];

async fn world_of(people: &People) -> World<ScriptedLdap> {
    let people = people.clone();
    let server = ScriptedLdap::plain(move |mut peer| {
        let people = people.clone();
        async move {
            while let Some(request) = peer.receive().await? {
                let id = request.id;
                let mut answer = Vec::new();
                match &request.operation {
                    Operation::Bind { .. } => answer.extend(ber::bind_response(id, 0, "", "")),
                    Operation::Search { base, .. } if base.is_empty() => {
                        answer.extend(ber::search_entry(
                            id,
                            "",
                            &[("namingContexts", &[BASE.as_bytes()])],
                        ));
                        answer.extend(ber::search_done(id, 0, ""));
                    }
                    Operation::Search { .. } => {
                        for (login, shown) in people.lock().unwrap().iter() {
                            let of = |ids: [(&str, &'static str); 2]| {
                                ids.into_iter().find(|(own, _)| own == login).unwrap().1
                            };
                            let uid: &[&[u8]] = &[login.as_bytes()];
                            let (uuid, ns): (&[&[u8]], &[&[u8]]) =
                                (&[of(UUIDS).as_bytes()], &[of(NS_IDS).as_bytes()]);
                            let mut attributes = vec![("uid", uid), ("objectClass", &[b"person" as &[u8]])];
                            attributes.extend(shown.iter().map(|name| match *name {
                                "entryUUID" => ("entryUUID", uuid),
                                _ => ("nsUniqueId", ns),
                            }));
                            answer.extend(ber::search_entry(id, &format!("uid={login},{BASE}"), &attributes));
                        }
                        answer.extend(ber::page_done(id, b""));
                    }
                    _ => break,
                }
                peer.send(&answer).await?;
            }
            Ok(())
        }
    })
    .await
    .unwrap();
    let directory = scripted_directory(&server, BASE);
    let port = server.address().port();
    World::around(server, port, directory, sync_of(BASE, "(uid=*)"), Clock::System).await
}

async fn kinds(world: &World<ScriptedLdap>) -> Vec<(String, String)> {
    let users = world.users().await.into_iter();
    users
        .map(|(login, user)| {
            let kind = user.origin.unwrap().external_id.kind().attribute().to_owned();
            (login, kind)
        })
        .collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn whoever_loses_the_attribute_of_the_id_is_not_somebody_else_by_another() {
    let both = || vec!["entryUUID", "nsUniqueId"];
    let people: People = Arc::new(Mutex::new(vec![("ada", both()), ("ben", both())]));
    let mut world = world_of(&people).await;
    world.succeed().await;
    let before = world.users().await;
    people.lock().unwrap()[0].1 = vec!["nsUniqueId"];
    let run = world.apply().await;
    assert_eq!(
        world.issue_types(&run).await,
        [IssueType::MissingExternalId],
        "{run:#?}"
    );
    assert_eq!(world.users().await, before);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_sync_takes_the_kind_of_id_that_everybody_has_and_keeps_it() {
    let people: People = Arc::new(Mutex::new(vec![
        ("ada", vec!["entryUUID", "nsUniqueId"]),
        ("ben", vec!["nsUniqueId"]),
    ]));
    let mut world = world_of(&people).await;
    world.succeed().await;
    let ns = |login: &str| (login.to_owned(), "nsUniqueId".to_owned());
    assert_eq!(kinds(&world).await, [ns("ada"), ns("ben")]);
    // Now the better one could be read of everybody.
    people.lock().unwrap()[1].1 = vec!["entryUUID", "nsUniqueId"];
    assert_eq!(world.succeed().await.counts.unwrap().unchanged, 2);
    assert_eq!(kinds(&world).await, [ns("ada"), ns("ben")]);
    let ada = &world.users().await["ada"];
    assert_eq!(
        (ada.state, ada.state_reason),
        (UserState::Active, None::<StateReason>)
    );
}
