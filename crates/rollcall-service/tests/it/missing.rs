//! Groups that are gone, hidden or of another kind, on OpenLDAP.

use rollcall_service::role::RuleProblemKind;
use rollcall_testkit::{Ldif, Slapd, SlapdBuilder};

use crate::agreement::{Access, by_filter, by_group, roles_of};

const BASE: &str = "dc=example,dc=org";
const STAFF: &str = "ou=Staff,dc=example,dc=org";

fn unit(ldif: &mut Ldif, name: &str) {
    ldif.entry(&format!("ou={name},{BASE}"))
        .attribute("objectClass", "organizationalUnit")
        .attribute("ou", name);
}

fn person(ldif: &mut Ldif, uid: &str) {
    ldif.entry(&dn(uid))
        .attribute("objectClass", "inetOrgPerson")
        .attribute("uid", uid)
        .attribute("cn", uid)
        .attribute("sn", uid);
}

fn dn(uid: &str) -> String {
    format!("uid={uid},{STAFF}")
}

fn group_dn(name: &str) -> String {
    format!("cn={name},ou=Groups,{BASE}")
}

fn group(ldif: &mut Ldif, class: &str, name: &str, values: &[(&str, &str)]) {
    ldif.entry(&group_dn(name))
        .attribute("objectClass", class)
        .attribute("cn", name);
    for (attribute, value) in values {
        ldif.attribute(attribute, value);
    }
}

fn people() -> Ldif {
    let mut ldif = Ldif::new();
    unit(&mut ldif, "Staff");
    unit(&mut ldif, "Groups");
    for uid in ["ada", "ben", "cem", "dan"] {
        person(&mut ldif, uid);
    }
    ldif
}

fn start(builder: SlapdBuilder, ldif: &Ldif) -> Slapd {
    builder
        .global_config("include /etc/ldap/schema/nis.schema\ninclude /etc/ldap/schema/dyngroup.schema")
        .ldif(ldif.as_str())
        .start()
        .unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn groups_in_groups_and_groups_by_uid_count_alike_in_a_run_and_at_a_login() {
    let mut ldif = people();
    let (outer, inner, posix) = (group_dn("outer"), group_dn("inner"), group_dn("posix"));
    group(
        &mut ldif,
        "groupOfNames",
        "outer",
        &[("member", &inner), ("member", &posix)],
    );
    // In a circle.
    group(
        &mut ldif,
        "groupOfUniqueNames",
        "inner",
        &[
            ("uniqueMember", &dn("ben").to_uppercase()),
            ("uniqueMember", &outer),
        ],
    );
    group(
        &mut ldif,
        "posixGroup",
        "posix",
        &[("gidNumber", "1"), ("memberUid", "ada"), ("memberUid", "nobody")],
    );
    let slapd = start(Slapd::builder(), &ldif);
    let access = Access::of_slapd(&slapd);
    let rules = vec![by_group(&posix, "posix"), by_group(&outer, "outer")];
    let (findings, problems) = access.sync(STAFF, "uid", rules).await.agreed().await;
    let expected = [
        ("ada", "posix"),
        ("ben", "outer"),
        ("cem", "user"),
        ("dan", "user"),
    ];
    assert_eq!(roles_of(&findings), expected);
    assert_eq!(problems, []);
    let rules = vec![by_group(&outer, "outer")];
    let (findings, _) = access.sync(STAFF, "uid", rules).await.agreed().await;
    let expected = [
        ("ada", "outer"),
        ("ben", "outer"),
        ("cem", "user"),
        ("dan", "user"),
    ];
    assert_eq!(roles_of(&findings), expected);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_group_that_is_gone_is_empty_and_said_to_be_gone() {
    let slapd = start(Slapd::builder(), &people());
    let access = Access::of_slapd(&slapd);
    for gone in [group_dn("gone"), format!("cn=gone,ou=Gone,{BASE}")] {
        let rules = vec![by_group(&gone, "admin"), by_filter("(uid=ada)", "boss")];
        let (findings, problems) = access.sync(STAFF, "uid", rules).await.agreed().await;
        let expected = [("ada", "boss"), ("ben", "user"), ("cem", "user"), ("dan", "user")];
        assert_eq!(roles_of(&findings), expected);
        let [problem] = problems.as_slice() else {
            panic!("{problems:?}")
        };
        assert_eq!((problem.rule, problem.kind), (0, RuleProblemKind::GroupMissing));
        assert!(
            problem.message.contains("role rule 1") && problem.message.contains(&gone),
            "{problem:?}"
        );
    }
}

/// Nobody can tell whether such a group is gone. Who is matched before such a rule does not wait for it.
#[tokio::test(flavor = "multi_thread")]
async fn a_group_that_is_hidden_is_a_rule_without_an_answer() {
    let mut ldif = people();
    group(&mut ldif, "groupOfNames", "hidden", &[("member", &dn("ben"))]);
    let slapd = start(Slapd::builder(), &ldif);
    let access = Access::of_slapd(&slapd);
    // A tree that the server does not have.
    let elsewhere = "cn=hidden,dc=elsewhere";
    let rules = vec![by_filter("(uid=ada)", "boss"), by_group(elsewhere, "admin")];
    let (findings, problems) = access.sync(STAFF, "uid", rules).await.agreed().await;
    assert_eq!(
        roles_of(&findings),
        [("ada", "boss"), ("ben", "?"), ("cem", "?"), ("dan", "?")]
    );
    let [problem] = problems.as_slice() else {
        panic!("{problems:?}")
    };
    assert_eq!((problem.rule, problem.kind), (1, RuleProblemKind::Unevaluated));
    assert!(problem.message.contains(elsewhere), "{problem:?}");
    let ben = &findings["ben"];
    assert_eq!(
        (
            ben.for_known("admin"),
            ben.for_known("user"),
            ben.for_known("boss")
        ),
        ("admin", "user", "user")
    );
}

/// slapd has no group without members, so the members that it does not show may not be read.
#[tokio::test(flavor = "multi_thread")]
async fn members_that_may_not_be_read_are_no_empty_group() {
    let mut ldif = people();
    group(&mut ldif, "groupOfNames", "secret", &[("member", &dn("ben"))]);
    let rules = format!(
        "access to dn.exact=\"{}\" attrs=member by * none",
        group_dn("secret")
    );
    let slapd = start(Slapd::builder().first_access(&rules), &ldif);
    let rules = vec![by_group(&group_dn("secret"), "admin")];
    let (findings, problems) = Access::of_slapd(&slapd)
        .sync(STAFF, "uid", rules)
        .await
        .agreed()
        .await;
    assert_eq!(
        roles_of(&findings),
        [("ada", "?"), ("ben", "?"), ("cem", "?"), ("dan", "?")]
    );
    assert_eq!(problems[0].kind, RuleProblemKind::Unevaluated);
}

/// One with a database that holds nothing at all, and answers 32.
#[tokio::test(flavor = "multi_thread")]
async fn a_tree_without_a_root_entry_is_no_failure() {
    let mut ldif = people();
    group(
        &mut ldif,
        "groupOfNames",
        "admins",
        &[("member", &group_dn("inner"))],
    );
    group(&mut ldif, "groupOfNames", "inner", &[("member", &dn("ben"))]);
    let slapd = start(Slapd::builder().empty_tree("dc=empty"), &ldif);
    let rules = vec![by_group(&group_dn("admins"), "admin")];
    let sync = Access::of_slapd(&slapd).sync(STAFF, "uid", rules).await;
    assert!(
        sync.naming_contexts.contains(&"dc=empty".to_owned()),
        "{:?}",
        sync.naming_contexts
    );
    let (findings, problems) = sync.agreed().await;
    let expected = [
        ("ada", "user"),
        ("ben", "admin"),
        ("cem", "user"),
        ("dan", "user"),
    ];
    assert_eq!((roles_of(&findings), problems), (expected.to_vec(), vec![]));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_dynamic_group_counts_where_the_server_shows_its_members() {
    let mut ldif = people();
    let url = format!("ldap:///{STAFF}??sub?(|(uid=ada)(uid=ben))");
    group(&mut ldif, "groupOfURLs", "dynamic", &[("memberURL", &url)]);
    let rules = || vec![by_group(&group_dn("dynamic"), "dynamic")];
    let plain = start(Slapd::builder(), &ldif);
    let (findings, problems) = Access::of_slapd(&plain)
        .sync(STAFF, "uid", rules())
        .await
        .agreed()
        .await;
    assert_eq!(
        roles_of(&findings),
        [("ada", "?"), ("ben", "?"), ("cem", "?"), ("dan", "?")]
    );
    assert_eq!(problems[0].kind, RuleProblemKind::Unevaluated);

    let expanding = start(Slapd::builder().dynlist(), &ldif);
    let (findings, problems) = Access::of_slapd(&expanding)
        .sync(STAFF, "uid", rules())
        .await
        .agreed()
        .await;
    let expected = [
        ("ada", "dynamic"),
        ("ben", "dynamic"),
        ("cem", "user"),
        ("dan", "user"),
    ];
    assert_eq!((roles_of(&findings), problems), (expected.to_vec(), vec![]));
}

/// `cases/ldif/08`, on a real server.
#[tokio::test(flavor = "multi_thread")]
async fn a_rule_by_uid_comes_before_one_by_dn() {
    let mut ldif = people();
    group(
        &mut ldif,
        "posixGroup",
        "admins",
        &[("gidNumber", "500"), ("memberUid", "ada")],
    );
    group(&mut ldif, "groupOfNames", "staff", &[("member", &dn("ben"))]);
    let slapd = start(Slapd::builder(), &ldif);
    let rules = vec![
        by_group(&group_dn("admins"), "admin"),
        by_group(&group_dn("staff"), "staff"),
    ];
    let (findings, problems) = Access::of_slapd(&slapd)
        .sync(STAFF, "uid", rules)
        .await
        .agreed()
        .await;
    let expected = [
        ("ada", "admin"),
        ("ben", "staff"),
        ("cem", "user"),
        ("dan", "user"),
    ];
    assert_eq!((roles_of(&findings), problems), (expected.to_vec(), vec![]));
}
