//! Paged searches.

use std::collections::BTreeSet;

use rollcall_core::external_id::{ExternalId, IdKind};
use rollcall_core::user_sync::SearchScope;
use rollcall_ldap::{LdapError, Misconfiguration, PartialReason, ResultCode, SearchOutcome};
use rollcall_testkit::{Ldif, Slapd, hostile_people, people_ldif};

use crate::setup::*;

/// DNs as `ldapsearch` prints them, unfolded and decoded.
fn ldapsearch_dns(ldif: &str) -> BTreeSet<String> {
    let unfolded = ldif.replace("\n ", "");
    let lines = unfolded.lines();
    let decode = |text: &str| {
        let bytes = base64(text);
        String::from_utf8(bytes).unwrap()
    };
    lines
        .filter_map(|line| match line.strip_prefix("dn:: ") {
            Some(encoded) => Some(decode(encoded)),
            None => line.strip_prefix("dn: ").map(str::to_owned),
        })
        .collect()
}

fn base64(text: &str) -> Vec<u8> {
    let alphabet = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    let mut bytes = Vec::new();
    let (mut bits, mut count) = (0_u32, 0);
    for symbol in text.bytes().filter(|byte| *byte != b'=') {
        let value = alphabet.iter().position(|letter| *letter == symbol).unwrap();
        bits = bits << 6 | value as u32;
        count += 6;
        if count >= 8 {
            count -= 8;
            bytes.push((bits >> count) as u8);
        }
    }
    bytes
}

#[tokio::test]
async fn thousands_of_hostile_names_come_as_ldapsearch_has_them() {
    let base = "dc=example,dc=org";
    let people = hostile_people(3000);
    let slapd = Slapd::builder()
        .ldif(&people_ldif(&people, base))
        .start()
        .unwrap();
    let mut settings = slapd_settings(&slapd);
    settings.page_size = 700;
    let directory = directory(settings, slapd.service_password());
    let (entries, outcome) = pull(&directory, everything(base, &["uid", "cn", "entryUUID"])).await;
    let SearchOutcome::Complete(stats) = outcome else {
        panic!("{outcome:?}")
    };
    assert_eq!(
        (stats.pages, stats.restarts, stats.search_result_references),
        (5, 0, 0)
    );
    let ours: BTreeSet<String> = entries.iter().map(|entry| entry.dn.clone()).collect();
    let theirs = slapd
        .search(&["-LLL", "-b", base, "(objectClass=*)", "1.1"])
        .unwrap();
    assert_eq!(ours, ldapsearch_dns(&theirs));
    assert_eq!(entries.len(), 3003);
    let uids: BTreeSet<&str> = entries.iter().filter_map(|entry| entry.text("uid")).collect();
    assert_eq!(uids, people.iter().map(|person| person.uid.as_str()).collect());
    assert!(entries.iter().all(|entry| !entry.tainted));
}

#[tokio::test]
async fn an_external_id_finds_its_entry() {
    let base = "dc=example,dc=org";
    let people = hostile_people(5);
    let slapd = Slapd::builder()
        .ldif(&people_ldif(&people, base))
        .start()
        .unwrap();
    let directory = on_slapd(&slapd);
    let dn = people[3].dn(base);
    let attributes = ["uid".to_owned(), "entryUUID".to_owned()];
    let entry = directory
        .read_entry(&read(&dn, &["uid", "entryUUID"]), in_seconds(10))
        .await
        .unwrap()
        .unwrap();
    let id = ExternalId::from_values(IdKind::EntryUuid, entry.values("entryuuid")).unwrap();
    let bases = ["ou=absent,dc=example,dc=org".to_owned(), base.to_owned()];
    let found = directory
        .find_by_external_id(&id, &bases, &attributes, in_seconds(10))
        .await
        .unwrap();
    assert_eq!(found.unwrap().text("uid"), Some(people[3].uid.as_str()));
    let other = ExternalId::from_bytes(IdKind::EntryUuid, &[7; 16]).unwrap();
    let found = directory
        .find_by_external_id(&other, &bases, &attributes, in_seconds(10))
        .await
        .unwrap();
    assert_eq!(found, None);
}

#[tokio::test]
async fn an_external_id_that_several_entries_have_finds_none_of_them() {
    let base = "dc=example,dc=org";
    let mut ldif = Ldif::new();
    for unit in ["a", "b"] {
        ldif.entry(&format!("ou={unit},{base}"))
            .attribute("objectClass", "organizationalUnit")
            .attribute("ou", unit);
        ldif.entry(&format!("uid=ada,ou={unit},{base}"))
            .attribute("objectClass", "inetOrgPerson")
            .attribute("uid", "ada")
            .attribute("cn", "ada")
            .attribute("sn", "ada")
            .attribute("employeeNumber", "7");
    }
    let slapd = Slapd::builder().ldif(ldif.as_str()).start().unwrap();
    let directory = on_slapd(&slapd);
    let kind = IdKind::of_attribute("employeeNumber").unwrap();
    let id = ExternalId::from_bytes(kind, b"7").unwrap();
    let units = ["ou=a", "ou=b"].map(|unit| format!("{unit},{base}"));
    let shared = Err(LdapError::Misconfigured(Misconfiguration::SharedId));
    let attributes = ["employeeNumber".to_owned()];
    for bases in [&[base.to_owned()], &units[..]] {
        let found = directory
            .find_by_external_id(&id, bases, &attributes, in_seconds(10))
            .await;
        assert_eq!(found, shared, "under {bases:?}");
    }
    let once = [units[0].clone(), format!("uid=ada,{}", units[0])];
    let found = directory
        .find_by_external_id(&id, &once, &attributes, in_seconds(10))
        .await;
    assert_eq!(found.unwrap().unwrap().dn, once[1]);
}

/// A run passes aliases over, so nobody is mistaken for one elsewhere either.
#[tokio::test]
async fn an_alias_with_the_external_id_of_a_person_is_nobody() {
    let base = "dc=example,dc=org";
    let mut ldif = Ldif::new();
    ldif.entry(&format!("uid=ada,{base}"))
        .attribute("objectClass", "inetOrgPerson")
        .attribute("uid", "ada")
        .attribute("cn", "ada")
        .attribute("sn", "ada")
        .attribute("employeeNumber", "7");
    for (name, number) in [("one", "7"), ("two", "7"), ("three", "8")] {
        ldif.entry(&format!("cn={name},{base}"))
            .attribute("objectClass", "alias")
            .attribute("objectClass", "extensibleObject")
            .attribute("cn", name)
            .attribute("aliasedObjectName", format!("uid=ada,{base}"))
            .attribute("employeeNumber", number);
    }
    let slapd = Slapd::builder().ldif(ldif.as_str()).start().unwrap();
    let directory = on_slapd(&slapd);
    let kind = IdKind::of_attribute("employeeNumber").unwrap();
    let attributes = ["employeeNumber".to_owned()];
    for (number, person) in [(b"7", Some(format!("uid=ada,{base}"))), (b"8", None)] {
        let id = ExternalId::from_bytes(kind.clone(), number).unwrap();
        let found = directory
            .find_by_external_id(&id, &[base.to_owned()], &attributes, in_seconds(10))
            .await;
        assert_eq!(found.unwrap().map(|entry| entry.dn), person);
    }
}

/// Matrix case 53: OpenLDAP answers a page size above its limit with code 11 and no entry.
#[tokio::test]
async fn a_refused_page_size_is_halved_until_it_fits() {
    let base = "dc=example,dc=org";
    let slapd = Slapd::builder()
        .database_config("limits * size.pr=100 size.prtotal=unlimited time=600")
        .ldif(&people_ldif(&hostile_people(300), base))
        .start()
        .unwrap();
    let (entries, outcome) = pull(&on_slapd(&slapd), everything(base, &["uid"])).await;
    let SearchOutcome::Complete(stats) = outcome else {
        panic!("{outcome:?}")
    };
    assert_eq!(entries.len(), 303);
    assert_eq!(stats.restarts, 4, "1000, 500, 250, 125, 62");
}

/// Matrix case 51 with a real server: its size limit holds for all pages together.
#[tokio::test]
async fn a_server_s_size_limit_makes_the_search_partial() {
    let base = "dc=example,dc=org";
    let slapd = Slapd::builder()
        .size_limit(250)
        .ldif(&people_ldif(&hostile_people(400), base))
        .start()
        .unwrap();
    let mut settings = slapd_settings(&slapd);
    settings.page_size = 100;
    let directory = directory(settings, slapd.service_password());
    let (entries, outcome) = pull(&directory, everything(base, &["uid"])).await;
    let SearchOutcome::Partial { reason, stats } = outcome else {
        panic!("{outcome:?}")
    };
    assert_eq!(
        reason,
        PartialReason::ServerLimit(ResultCode::SIZE_LIMIT_EXCEEDED)
    );
    assert_eq!(stats.entries as usize, entries.len());
    assert!((200..=250).contains(&entries.len()), "{}", entries.len());
}

/// Matrix case 57.
#[tokio::test]
async fn a_base_that_is_gone_fails_the_search() {
    let slapd = Slapd::builder().start().unwrap();
    let (entries, outcome) = pull(
        &on_slapd(&slapd),
        everything("ou=gone,dc=example,dc=org", &["uid"]),
    )
    .await;
    let error = LdapError::SearchRefused(ResultCode::NO_SUCH_OBJECT);
    assert_eq!((entries.len(), outcome), (0, SearchOutcome::Failed { error }));
}

#[tokio::test]
async fn a_small_search_says_that_there_is_more() {
    let base = "dc=example,dc=org";
    let slapd = Slapd::builder()
        .ldif(&people_ldif(&hostile_people(20), base))
        .start()
        .unwrap();
    let directory = on_slapd(&slapd);
    let attributes = ["uid".to_owned()];
    let find = |filter: &'static str, max| {
        let (directory, attributes) = (&directory, &attributes);
        async move {
            directory
                .find(
                    base,
                    SearchScope::Subtree,
                    filter,
                    attributes,
                    max,
                    in_seconds(10),
                )
                .await
        }
    };
    let some = find("(uid=*)", 5).await.unwrap();
    assert_eq!((some.entries.len(), some.more), (5, true));
    let all = find("(uid=*)", 20).await.unwrap();
    assert_eq!((all.entries.len(), all.more), (20, false));
    let none = find("(undefinedAttribute=x)", 5).await.unwrap();
    assert_eq!((none.entries.len(), none.more), (0, false));
}

#[tokio::test]
async fn a_search_that_is_left_early_is_abandoned() {
    let base = "dc=example,dc=org";
    let slapd = Slapd::builder()
        .ldif(&people_ldif(&hostile_people(50), base))
        .start()
        .unwrap();
    let directory = on_slapd(&slapd);
    let mut search = directory.search(everything(base, &["uid"])).await.unwrap();
    assert!(search.next().await.is_some());
    let SearchOutcome::Partial { reason, .. } = search.finish() else {
        panic!()
    };
    assert_eq!(reason, PartialReason::Abandoned);
    let (entries, outcome) = pull(&directory, everything(base, &["uid"])).await;
    assert!(matches!(outcome, SearchOutcome::Complete(_)));
    assert_eq!(entries.len(), 53);
}

/// A configuration that was stored before such attributes were refused asks for nothing either.
#[tokio::test]
async fn an_attribute_that_holds_secrets_is_never_asked_for() {
    let base = "dc=example,dc=org";
    let slapd = Slapd::builder()
        .ldif(&people_ldif(&hostile_people(3), base))
        .start()
        .unwrap();
    let directory = on_slapd(&slapd);
    let refused = LdapError::Misconfigured(Misconfiguration::SecretAttribute);
    let uid = ["uid".to_owned()];
    for filter in [
        "(userPassword>=M)",
        "(&(uid=*)(!(2.5.4.35=*)))",
        "(:2.5.13.17:=M)",
    ] {
        let mut request = everything(base, &["uid"]);
        request.filter = filter.into();
        let error = directory.search(request).await.err();
        assert_eq!(error, Some(refused.clone()), "{filter}");
        let mut request = read(base, &["uid"]);
        request.filter = filter.into();
        let error = directory.read_entry(&request, in_seconds(5)).await.err();
        assert_eq!(error, Some(refused.clone()), "{filter}");
        let found = directory.find(base, SearchScope::Subtree, filter, &uid, 1, in_seconds(5));
        assert_eq!(found.await.err(), Some(refused.clone()), "{filter}");
    }
    let error = directory
        .search(everything(base, &["uid", "userPassword;x-y"]))
        .await
        .err();
    assert_eq!(error, Some(refused.clone()));
    let password = password("right");
    let request = read(base, &["UNICODEPWD"]);
    let checked = directory
        .verify_and_read("uid=a", &password, &request, in_seconds(5))
        .await;
    assert!(
        checked
            .bind
            .is_err_and(|error| error.unsent && error.error == refused)
    );
}

/// A server may have other names for such an attribute, and others that come from it: only its schema tells.
#[tokio::test]
async fn a_secret_is_not_asked_for_by_a_name_that_only_the_schema_knows() {
    let base = "dc=example,dc=org";
    let syntax =
        "EQUALITY caseExactMatch ORDERING caseExactOrderingMatch SYNTAX 1.3.6.1.4.1.1466.115.121.1.15";
    let types = [
        format!("( 1.3.6.1.4.1.55555.1 NAME 'corpText' {syntax} )"),
        "( 1.3.6.1.4.1.55555.2 NAME ( 'corpPin' 'clearPassword' ) SUP corpText )".to_owned(),
        "( 1.3.6.1.4.1.55555.3 NAME 'corpOldPin' SUP corpPin )".to_owned(),
        format!("( 1.3.6.1.4.1.55555.4 NAME 'corpFloor' {syntax} )"),
    ];
    let lines: Vec<String> = types.iter().map(|one| format!("attributetype {one}\n")).collect();
    let slapd = Slapd::builder()
        .global_config(&lines.concat())
        .ldif(&people_ldif(&hostile_people(3), base))
        .start()
        .unwrap();
    let directory = on_slapd(&slapd);
    let refused = LdapError::Misconfigured(Misconfiguration::SecretAttribute);
    for name in ["corpPin", "CORPOLDPIN", "corpText;x-y", "1.3.6.1.4.1.55555.2"] {
        let filter = format!("(|(uid=*)({name}>=M))");
        let mut request = everything(base, &["uid"]);
        request.filter.clone_from(&filter);
        assert_eq!(
            directory.search(request).await.err(),
            Some(refused.clone()),
            "{name}"
        );
        let mut request = read(base, &["uid"]);
        request.filter.clone_from(&filter);
        let error = directory.read_entry(&request, in_seconds(5)).await.err();
        assert_eq!(error, Some(refused.clone()), "{name}");
        let request = read(base, &[name]);
        let verified = directory
            .verify_and_read(base, &password("right"), &request, in_seconds(5))
            .await;
        assert_eq!(verified.read, Err(refused.clone()), "{name}");
        assert!(verified.bind.is_err_and(|error| error.unsent), "{name}");
    }
    let mut open = everything(base, &["uid", "corpFloor"]);
    open.filter = "(|(uid=*)(corpFloor>=M)(unheardOf=x))".into();
    let (_, outcome) = pull(&directory, open).await;
    assert!(matches!(outcome, SearchOutcome::Complete(_)));
}
