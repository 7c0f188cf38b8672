//! What cannot be read is not absent: a scripted server shows what real ones do not accept or show on demand.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};

use rollcall_core::user::{StateReason, UserState};
use rollcall_proto::v1::{self, IssueType, RefreshOutcome};
use rollcall_runtime::clock::Clock;
use rollcall_testkit::{Operation, ScriptedLdap, ber};

use crate::company::sync_of;
use crate::run_world::{World, scripted_directory};

const BASE: &str = "dc=scripted";
const ACTIVE: (UserState, Option<StateReason>) = (UserState::Active, None);
const DISABLED: (UserState, Option<StateReason>) =
    (UserState::Deactivated, Some(StateReason::DisabledInDirectory));

/// What the server shows of each person, by the last byte of the id: an Active Directory.
type People = Arc<Mutex<BTreeMap<u8, Person>>>;

#[derive(Clone, Default)]
struct Person {
    /// The first byte of the name in the DN is one of Latin-1.
    latin_dn: bool,
    values: BTreeMap<&'static str, Vec<Vec<u8>>>,
}

impl Person {
    fn of(login: &str, control: &str) -> Self {
        let mut person = Self::default();
        person.set("uid", &[login.as_bytes()]);
        person.set("mail", &[format!("{login}@example.org").as_bytes()]);
        person.set("sn", &[b"Lovelace"]);
        person.set("displayName", &[b"Somebody"]);
        person.set("userAccountControl", &[control.as_bytes()]);
        person.set("accountExpires", &[b"0"]);
        person
    }

    fn set(&mut self, name: &'static str, values: &[&[u8]]) {
        let values = values.iter().map(|value| value.to_vec()).collect();
        self.values.insert(name, values);
    }

    fn entry(&self, message: i64, id: u8) -> Vec<u8> {
        let guid = [id; 16];
        let mut attributes: Vec<(&str, Vec<&[u8]>)> =
            vec![("objectGUID", vec![&guid]), ("objectClass", vec![b"user"])];
        let values = self.values.iter();
        attributes.extend(values.map(|(name, values)| (*name, values.iter().map(Vec::as_slice).collect())));
        let attributes: Vec<(&str, &[&[u8]])> = attributes
            .iter()
            .map(|(name, values)| (*name, values.as_slice()))
            .collect();
        let mut bytes = ber::search_entry(message, &format!("cn=person{id},{BASE}"), &attributes);
        if self.latin_dn {
            let at = bytes.windows(6).position(|part| part == b"person").unwrap();
            bytes[at] = 0xe4;
        }
        bytes
    }
}

/// True if the base of a search is this person's entry, by its DN or by its id.
fn is_named(base: &str, id: u8) -> bool {
    base.starts_with(&format!("cn=person{id},")) || base.starts_with(&format!("<GUID={id:02x}{id:02x}"))
}

fn shown(people: &People, change: impl FnOnce(&mut BTreeMap<u8, Person>)) {
    change(&mut people.lock().unwrap());
}

/// Ada is enabled, ben is disabled, and so many more people are enabled.
async fn world() -> (World<ScriptedLdap>, People) {
    let people: People = Arc::default();
    shown(&people, |people| {
        people.insert(1, Person::of("ada", "512"));
        people.insert(2, Person::of("ben", "514"));
        for id in 3..9 {
            people.insert(id, Person::of(&format!("person{id}"), "512"));
        }
    });
    let shared = people.clone();
    let server = ScriptedLdap::plain(move |mut peer| {
        let people = shared.clone();
        async move {
            while let Some(request) = peer.receive().await? {
                let id = request.id;
                let answer = match &request.operation {
                    Operation::Bind { .. } => ber::bind_response(id, 0, "", ""),
                    Operation::Search { base, .. } if base.is_empty() => {
                        let root: [(&str, &[&[u8]]); 3] = [
                            ("namingContexts", &[BASE.as_bytes()]),
                            ("defaultNamingContext", &[BASE.as_bytes()]),
                            ("supportedCapabilities", &[b"1.2.840.113556.1.4.800"]),
                        ];
                        [ber::search_entry(id, "", &root), ber::search_done(id, 0, "")].concat()
                    }
                    Operation::Search {
                        base, scope, page, ..
                    } => {
                        let people = people.lock().unwrap();
                        let wanted = people
                            .iter()
                            .filter(|(id, _)| *scope != 0 || is_named(base, **id));
                        let mut bytes: Vec<u8> =
                            wanted.flat_map(|(of, person)| person.entry(id, *of)).collect();
                        bytes.extend(match page {
                            Some(_) => ber::page_done(id, b""),
                            None => ber::search_done(id, 0, ""),
                        });
                        bytes
                    }
                    _ => break,
                };
                peer.send(&answer).await?;
            }
            Ok(())
        }
    })
    .await
    .unwrap();
    let directory = scripted_directory(&server, BASE);
    let mut sync = sync_of(BASE, "(uid=*)");
    sync.field_mappings = Some(v1::FieldMappings {
        login: vec!["uid".into()],
        email: vec!["mail".into(), "otherMailbox".into()],
        display_name: vec!["displayName".into()],
        family_name: vec!["sn".into()],
        ..v1::FieldMappings::default()
    });
    let port = server.address().port();
    let mut world = World::around(server, port, directory, sync, Clock::System).await;
    world.succeed().await;
    assert_eq!(world.state("ben").await, DISABLED);
    (world, people)
}

/// Field and kind of a run's issues.
async fn told(world: &mut World<ScriptedLdap>, run: &v1::SyncRun) -> Vec<(String, IssueType)> {
    let issues = world.issues(run).await.into_iter();
    let mut told: Vec<_> = issues
        .map(|issue| (issue.field.clone(), issue.r#type()))
        .collect();
    told.sort();
    told
}

/// Fault 5: the service account may not read userAccountControl any more. Nobody comes back by that, and nobody goes.
#[tokio::test(flavor = "multi_thread")]
async fn nobody_comes_back_by_a_state_that_cannot_be_read() {
    let (mut world, people) = world().await;
    let before = world.users().await;
    shown(&people, |people| {
        for person in people.values_mut() {
            person.values.remove("userAccountControl");
        }
        let mut new = Person::of("new", "512");
        new.values.remove("userAccountControl");
        people.insert(9, new);
    });
    for _ in 0..2 {
        let run = world.apply().await;
        assert_eq!(
            world.issue_types(&run).await,
            [IssueType::StateUnreadable; 9],
            "{run:#?}"
        );
        assert_eq!(world.users().await, before, "and who is new waits");
    }
    let refreshed = world.refresh("ben").await;
    assert_ne!(refreshed.outcome(), RefreshOutcome::Reactivated, "{refreshed:#?}");
    assert_eq!(world.state("ben").await, DISABLED);
    // A password change leaves 512 and 514 in a broken replica.
    shown(&people, |people| {
        for person in people.values_mut() {
            person.set("userAccountControl", &[b"512"]);
        }
        for id in [1, 2] {
            people
                .get_mut(&id)
                .unwrap()
                .set("userAccountControl", &[b"512", b"514"]);
        }
    });
    let run = world.apply().await;
    assert_eq!(world.issue_types(&run).await, [IssueType::StateUnreadable; 2]);
    assert_eq!(world.state("ada").await, ACTIVE);
    assert_eq!(world.state("ben").await, DISABLED);
    assert_eq!(world.state("new").await, ACTIVE);
    shown(&people, |people| {
        people.get_mut(&2).unwrap().set("userAccountControl", &[b"512"]);
    });
    world.apply().await;
    assert_eq!(world.state("ben").await, ACTIVE);
}

/// Fault 3: an account that is disabled is so under a DN that is not UTF-8 too. The known DN stays, which servers know.
#[tokio::test(flavor = "multi_thread")]
async fn whoever_is_disabled_loses_access_under_a_dn_that_is_not_utf_8() {
    let (mut world, people) = world().await;
    let before = world.users().await["ada"].clone();
    shown(&people, |people| {
        let ada = people.get_mut(&1).unwrap();
        ada.latin_dn = true;
        ada.set("userAccountControl", &[b"514"]);
    });
    let run = world.apply().await;
    assert!(
        world
            .issue_types(&run)
            .await
            .contains(&IssueType::UndecodableEntry)
    );
    assert_eq!(world.state("ada").await, DISABLED);
    assert_eq!(world.users().await["ada"].origin, before.origin);
    assert_eq!(world.active().await, 6);
}

/// Fault 8: what became Latin-1 stays as it was, and the next candidate is taken for somebody new.
#[tokio::test(flavor = "multi_thread")]
async fn values_that_are_not_utf_8_take_nothing_away() {
    let (mut world, people) = world().await;
    let before = world.users().await;
    shown(&people, |people| {
        let ada = people.get_mut(&1).unwrap();
        for name in ["uid", "sn", "displayName", "mail"] {
            ada.set(name, &[b"M\xfcller@example.org"]);
        }
        let mut new = Person::of("new", "512");
        new.set("mail", &[b"m\xfcller@example.org"]);
        new.set("otherMailbox", &[b"mueller@example.org"]);
        people.insert(9, new);
        let mut nameless = Person::of("nameless", "512");
        nameless.set("uid", &[b"m\xfcller"]);
        people.insert(10, nameless);
    });
    for night in 0..2 {
        let run = world.apply().await;
        let of = |field: &str| (field.to_owned(), IssueType::UndecodableEntry);
        let expected = [
            of("display_name"),
            of("email"),
            of("email"),
            of("family_name"),
            of("login"),
            of("login"),
        ];
        assert_eq!(told(&mut world, &run).await, expected, "night {night}");
        let users = world.users().await;
        assert_eq!(users["ada"], before["ada"]);
        assert_eq!(users["new"].profile.email.as_deref(), Some("mueller@example.org"));
        assert_eq!(users.len(), before.len() + 1);
    }
}
