use rollcall_testkit::{Slapd, hostile_people, people_ldif};
use std::collections::HashSet;

#[test]
fn ten_thousand_people_are_unique_allowed_and_always_the_same() {
    let people = hostile_people(10_000);
    assert_eq!(people, hostile_people(10_000));
    let logins: HashSet<String> = people.iter().map(|person| person.uid.to_lowercase()).collect();
    let mails: HashSet<&str> = people.iter().map(|person| person.mail.as_str()).collect();
    assert_eq!((logins.len(), mails.len()), (10_000, 10_000));
    for login in &logins {
        assert!((3..=128).contains(&login.len()), "{login}");
        assert!(
            login
                .chars()
                .all(|c| c.is_ascii_alphanumeric() || "._-".contains(c)),
            "{login}"
        );
    }
    assert!(logins.iter().any(|login| login.len() == 3) && logins.iter().any(|login| login.len() == 128));
    for character in [',', '+', '#', '"', '\\', '<', '>', ';', '=', '王', 'م', '😀'] {
        assert!(
            people.iter().any(|person| person.common_name.contains(character)),
            "{character}"
        );
    }
    for edge in [' ', '#'] {
        assert!(
            people.iter().any(|person| person.common_name.starts_with(edge)),
            "{edge:?} first"
        );
    }
    assert!(
        people.iter().any(|person| person.common_name.ends_with(' ')),
        "space last"
    );
}

#[test]
fn a_real_server_takes_them_all_and_gives_every_name_back() {
    let people = hostile_people(1_200);
    let slapd = Slapd::builder()
        .ldif(&people_ldif(&people, "dc=example,dc=org"))
        .start()
        .unwrap();
    let ldif = slapd
        .search(&["-b", slapd.base_dn(), "(objectClass=inetOrgPerson)", "cn"])
        .unwrap();
    let expected: HashSet<String> = people
        .iter()
        .map(|person| {
            let mut ldif = rollcall_testkit::Ldif::new();
            ldif.attribute("cn", &person.common_name)
                .as_str()
                .trim_end_matches('\n')
                .to_owned()
        })
        .collect();
    let found: HashSet<String> = ldif
        .lines()
        .filter(|line| line.starts_with("cn:"))
        .map(str::to_owned)
        .collect();
    assert_eq!(found, expected);
    for person in people.iter().step_by(37) {
        let own = person.dn(slapd.base_dn());
        slapd
            .search_as(&own, &person.password, &["-b", "", "-s", "base"])
            .unwrap();
    }
}
