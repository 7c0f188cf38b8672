//! A group larger than any message that the guard lets through.

use std::fmt::Write as _;
use std::time::{Duration, Instant};

use rollcall_testkit::{Dirsrv, Ldif, SambaDc, Slapd, TestCa, is_root_for};

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

/// Active Directory gives 1,500 values of an attribute at a time. Samba takes long to make more than 5,000 people.
#[tokio::test(flavor = "multi_thread")]
async fn a_group_of_active_directory_beyond_a_range_has_its_members_in_a_run_and_at_a_login() {
    if !is_root_for("a Samba domain controller").unwrap() {
        return;
    }
    const OF_TEMPLATE: usize = 1_600;
    let members = members(OF_TEMPLATE).clamp(OF_TEMPLATE, 5_000);
    let ca = TestCa::new().unwrap();
    let dc = SambaDc::start(&ca).unwrap();
    let (people, groups) = (
        format!("OU=Crowd,{}", dc.base_dn()),
        format!("OU=Groups,{}", dc.base_dn()),
    );
    let crowd = format!("CN=crowd,{groups}");
    let mut ldif = String::new();
    let more: Vec<String> = (OF_TEMPLATE..members)
        .map(|number| format!("crowd{number:04}"))
        .collect();
    for login in more.iter().map(String::as_str).chain(["stranger"]) {
        let class = "objectClass: user\nuserAccountControl: 544";
        write!(
            ldif,
            "dn: CN={login},{people}\nchangetype: add\n{class}\nsAMAccountName: {login}\n\n"
        )
        .unwrap();
    }
    for some in more.chunks(500) {
        write!(ldif, "dn: {crowd}\nchangetype: modify\nadd: member\n").unwrap();
        for login in some {
            writeln!(ldif, "member: CN={login},{people}").unwrap();
        }
        ldif.push('\n');
    }
    for (name, member) in [("around", "crowd"), ("outermost", "around")] {
        let class = format!("objectClass: group\nsAMAccountName: {name}");
        write!(
            ldif,
            "dn: CN={name},{groups}\nchangetype: add\n{class}\nmember: CN={member},{groups}\n\n"
        )
        .unwrap();
    }
    let service = dc.service();
    let access = Access {
        url: dc.tls_url(),
        ca: Some(ca),
        bind_dn: service.dn,
        bind_password: service.password,
    };
    // In parts: `ldapmodify` tells of each entry, and nobody reads that before all of them were sent.
    let records: Vec<&str> = ldif.split_inclusive("\n\n").collect();
    let parts: Vec<String> = records.chunks(500).map(<[&str]>::concat).collect();
    let make = move || {
        parts
            .iter()
            .try_for_each(|part| dc.modify(part).map(|_| ()))
            .map(|()| dc)
    };
    let dc = tokio::task::spawn_blocking(make).await.unwrap().unwrap();
    // The first and the last value of the first range and of the last one.
    let asked = [0, 1_499, 1_500, members - 1].map(|place| {
        let range = format!("member;range={place}-{place}");
        let found = dc.search(&["-b", &crowd, "-s", "base", "(objectClass=*)", &range]);
        let found = found.unwrap();
        let mut values = found.lines().filter(|line| line.starts_with("member;range="));
        let value = values.find_map(|line| line.split_once(": CN="));
        let (_, rest) = value.unwrap_or_else(|| panic!("no value at {place}: {found}"));
        rest.split_once(',').unwrap().0.to_owned()
    });
    for name in ["crowd", "around", "outermost"] {
        let rules = vec![by_group(&format!("CN={name},{groups}"), "in it")];
        let sync = access.sync(&people, "sAMAccountName", rules).await;
        let begun = Instant::now();
        let (run, problems) = sync.in_a_run().await;
        eprintln!(
            "{members} members of {name} on Active Directory: a run takes {:?}",
            begun.elapsed()
        );
        assert_eq!(problems, []);
        let in_it = run.values().filter(|finding| finding.for_new() == Some("in it"));
        assert_eq!((in_it.count(), run.len()), (members, members + 1), "{name}");
        for login in asked.iter().map(String::as_str).chain(["stranger"]) {
            let (finding, problems) = sync.at_a_login(&format!("CN={login},{people}")).await;
            assert_eq!(problems, []);
            assert_eq!(run.get(login), Some(&finding), "{login} in {name}");
        }
    }
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
