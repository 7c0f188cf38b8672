//! A group larger than any message that the guard lets through.

use std::fmt::Write as _;
use std::time::Instant;

use rollcall_testkit::{Ldif, Slapd};

use crate::agreement::{Access, by_group};

const BASE: &str = "dc=example,dc=org";

/// Members of the group. More can be asked for by an environment variable.
#[allow(
    clippy::disallowed_methods,
    reason = "how large the test is, and nothing that is tested"
)]
fn members() -> usize {
    let wanted = std::env::var_os("ROLLCALL_TEST_GROUP_MEMBERS").and_then(|text| text.into_string().ok());
    wanted.and_then(|count| count.parse().ok()).unwrap_or(80_000)
}

#[tokio::test(flavor = "multi_thread")]
async fn a_group_of_any_size_has_its_members_in_a_run_and_at_a_login() {
    let members = members();
    let mut ldif = Ldif::new();
    for unit in ["Staff", "Groups"] {
        ldif.entry(&format!("ou={unit},{BASE}"))
            .attribute("objectClass", "organizationalUnit")
            .attribute("ou", unit);
    }
    let dn = |number: usize| format!("uid=p{number:07},ou=Staff,{BASE}");
    let mut text = ldif.as_str().to_owned();
    // One in a hundred of the members exists, and as many others.
    for number in (0..members * 2).step_by(100) {
        let uid = format!("p{number:07}");
        let mut person = Ldif::new();
        person
            .entry(&dn(number))
            .attribute("objectClass", "inetOrgPerson")
            .attribute("uid", &uid)
            .attribute("cn", &uid)
            .attribute("sn", &uid);
        write!(text, "\n{}", person.as_str()).unwrap();
    }
    let mut group = Ldif::new();
    group
        .entry(&format!("cn=crowd,ou=Groups,{BASE}"))
        .attribute("objectClass", "groupOfNames")
        .attribute("cn", "crowd");
    for number in 0..members {
        group.attribute("member", dn(number));
    }
    write!(text, "\n{}", group.as_str()).unwrap();
    let builder = Slapd::builder().quiet().ldif(&text);
    let slapd = tokio::task::spawn_blocking(move || builder.start().unwrap())
        .await
        .unwrap();
    let rules = vec![by_group(&format!("cn=crowd,ou=Groups,{BASE}"), "crowd")];
    let sync = Access::of_slapd(&slapd)
        .sync(&format!("ou=Staff,{BASE}"), "uid", rules)
        .await;
    let begun = Instant::now();
    let (run, problems) = sync.in_a_run().await;
    let in_a_run = begun.elapsed();
    assert_eq!(problems, []);
    assert_eq!(run.len(), members * 2 / 100);
    let in_it = run.values().filter(|finding| finding.for_new() == Some("crowd"));
    assert_eq!(in_it.count(), members / 100);
    let begun = Instant::now();
    let (logins, _) = sync.at_logins(20).await;
    let each = begun.elapsed() / u32::try_from(logins.len()).unwrap();
    for (login, finding) in &logins {
        assert_eq!(run.get(login), Some(finding), "{login}");
    }
    eprintln!("{members} members: a run takes {in_a_run:?}, a login {each:?}");
}
