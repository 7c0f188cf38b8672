//! A group larger than any message that the guard lets through.

use std::fmt::Write as _;
use std::time::{Duration, Instant};

use rollcall_testkit::{Dirsrv, Ldif, Slapd, TestCa, is_root_for};

use crate::agreement::{Access, Sync, by_group};

const BASE: &str = "dc=example,dc=org";

/// Members of the group: so many, or as many as an environment variable says.
#[allow(
    clippy::disallowed_methods,
    reason = "how large the test is, and nothing that is tested"
)]
fn members(usually: usize) -> usize {
    let wanted = std::env::var_os("ROLLCALL_TEST_GROUP_MEMBERS").and_then(|text| text.into_string().ok());
    wanted.and_then(|count| count.parse().ok()).unwrap_or(usually)
}

/// The DN of one of the group's people.
fn dn(number: usize) -> String {
    format!("uid=p{number:07},ou=Staff,{BASE}")
}

#[tokio::test(flavor = "multi_thread")]
async fn a_group_of_any_size_has_its_members_in_a_run_and_at_a_login() {
    let members = members(80_000);
    let mut ldif = Ldif::new();
    for unit in ["Staff", "Groups"] {
        ldif.entry(&format!("ou={unit},{BASE}"))
            .attribute("objectClass", "organizationalUnit")
            .attribute("ou", unit);
    }
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
    agree(&sync, members, 100).await;
}

/// Values come to 389 Directory Server in portions, each of which is one message.
#[tokio::test(flavor = "multi_thread")]
async fn a_large_group_of_389_ds_has_its_members_in_a_run_and_at_a_login() {
    if !is_root_for("389 Directory Server").unwrap() {
        return;
    }
    let members = members(10_000);
    let ca = TestCa::new().unwrap();
    let server = Dirsrv::start(&ca).unwrap();
    assert_eq!(server.base_dn(), BASE);
    let group = format!("cn=crowd,ou=Groups,{BASE}");
    let mut ldif =
        format!("dn: ou=Staff,{BASE}\nchangetype: add\nobjectClass: organizationalUnit\nou: Staff\n\n");
    for number in (0..members * 2).step_by(members / 50) {
        let uid = format!("p{number:07}");
        let class = "objectClass: inetOrgPerson";
        write!(
            ldif,
            "dn: {}\nchangetype: add\n{class}\nuid: {uid}\ncn: {uid}\nsn: {uid}\n\n",
            dn(number)
        )
        .unwrap();
    }
    write!(
        ldif,
        "dn: {group}\nchangetype: add\nobjectClass: groupOfNames\ncn: crowd\n\n"
    )
    .unwrap();
    for portion in (0..members).step_by(10_000) {
        write!(ldif, "dn: {group}\nchangetype: modify\nadd: member\n").unwrap();
        for number in portion..members.min(portion + 10_000) {
            writeln!(ldif, "member: {}", dn(number)).unwrap();
        }
        ldif.push('\n');
    }
    let service = server.service();
    let access = Access {
        url: server.tls_url(),
        ca: Some(ca),
        bind_dn: service.dn,
        bind_password: service.password,
    };
    let _server = tokio::task::spawn_blocking(move || server.modify(&ldif).map(|_| server))
        .await
        .unwrap()
        .unwrap();
    let rules = vec![by_group(&group, "crowd")];
    let sync = access.sync(&format!("ou=Staff,{BASE}"), "uid", rules).await;
    agree(&sync, members, members / 50).await;
}

/// Half of the people, of whom there is one for each `step` of the numbers, are in the group.
async fn agree(sync: &Sync, members: usize, step: usize) {
    let before = memory("VmRSS");
    std::fs::write("/proc/self/clear_refs", "5").unwrap();
    let begun = Instant::now();
    let (run, problems) = sync.in_a_run().await;
    let in_a_run = begun.elapsed();
    let grown = memory("VmHWM").saturating_sub(before);
    assert_eq!(problems, []);
    assert_eq!(run.len(), members * 2 / step);
    let in_it = run.values().filter(|finding| finding.for_new() == Some("crowd"));
    assert_eq!(in_it.count(), members / step);
    assert!(
        grown < (64 << 10) + members / 16,
        "{grown} KiB more for {members} members"
    );
    let (mut slowest_in, mut slowest_out) = (Duration::ZERO, Duration::ZERO);
    for number in (0..members * 2).step_by(members / 10) {
        let begun = Instant::now();
        let (finding, _) = sync.at_a_login(&dn(number)).await;
        let (slowest, role) = match number < members {
            true => (&mut slowest_in, "crowd"),
            false => (&mut slowest_out, "user"),
        };
        *slowest = begun.elapsed().max(*slowest);
        assert_eq!(finding.for_new(), Some(role), "{number}");
        assert_eq!(run.get(&format!("p{number:07}")), Some(&finding), "{number}");
    }
    eprintln!(
        "{members} members: a run takes {in_a_run:?} and {grown} KiB, a member's login at most {slowest_in:?}, \
         anybody else's {slowest_out:?}"
    );
}

/// What this process takes of memory, in KiB.
fn memory(which: &str) -> usize {
    let status = std::fs::read_to_string("/proc/self/status").unwrap();
    let line = status.lines().find(|line| line.starts_with(which)).unwrap();
    line.split_whitespace().nth(1).unwrap().parse().unwrap()
}
