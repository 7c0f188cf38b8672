//! When the password of the bind account expires, as a directory tells it: a check reads it, and GetDirectory shows it.

use chrono::{NaiveDateTime, TimeDelta};
use rollcall_proto::v1;
use rollcall_testkit::{Slapd, SlapdBuilder};

use crate::company::{DIRECTORY, TENANT, staff};
use crate::harness::ok;
use crate::run_world::{BASE, World, units};

const DAY: i64 = 86_400;

async fn world(builder: SlapdBuilder) -> World {
    World::start(builder.ldif(units().as_str()), staff()).await
}

/// Changes the bind account's entry, checks, and returns what is then known of the directory.
async fn known_after(world: &mut World, changes: &str) -> Option<i64> {
    let service = world.slapd.service_dn();
    let change = format!("dn: {service}\nchangetype: modify\n{changes}");
    world.slapd.modify(&change).unwrap();
    let check = v1::CheckConnectionRequest {
        parent: TENANT.into(),
        target: Some(v1::check_connection_request::Target::Directory(DIRECTORY.into())),
    };
    ok(world.clients.directories.check_connection(check)).await;
    let request = v1::GetDirectoryRequest {
        name: DIRECTORY.into(),
    };
    let directory = ok(world.clients.directories.get_directory(request)).await;
    directory.bind_password_expire_time.map(|time| time.seconds)
}

#[tokio::test(flavor = "multi_thread")]
async fn the_days_of_shadow_are_counted() {
    let builder = Slapd::builder().global_config("include /etc/ldap/schema/nis.schema");
    let mut world = world(builder).await;
    let changes = "add: objectClass\nobjectClass: shadowAccount\n-\nadd: uid\nuid: rollcall\n-\n\
         add: shadowLastChange\nshadowLastChange: 30000\n-\nadd: shadowMax\nshadowMax: 90\n";
    assert_eq!(known_after(&mut world, changes).await, Some(30_090 * DAY));
    let never = "replace: shadowMax\nshadowMax: 99999\n";
    assert_eq!(known_after(&mut world, never).await, None);
}

#[tokio::test(flavor = "multi_thread")]
async fn the_age_of_a_password_policy_is_counted_from_the_last_change() {
    let policy = SlapdBuilder::default_policy_dn(BASE);
    let ldif = format!(
        "dn: ou=Policies,{BASE}\nobjectClass: organizationalUnit\nou: Policies\n\n\
         dn: {policy}\nobjectClass: device\nobjectClass: pwdPolicy\ncn: default\npwdAttribute: userPassword\n\
         pwdMaxAge: {}\n\n",
        10 * DAY
    );
    let mut world = world(Slapd::builder().ppolicy().ldif(&ldif)).await;
    let changes = format!(
        "replace: userPassword\nuserPassword: {}\n-\nadd: pwdPolicySubentry\npwdPolicySubentry: {policy}\n",
        world.slapd.service_password()
    );
    let known = known_after(&mut world, &changes).await;
    let service = world.slapd.service_dn();
    let found = world
        .slapd
        .search(&["-b", &service, "-s", "base", "pwdChangedTime"])
        .unwrap();
    let changed = found
        .lines()
        .find_map(|line| line.strip_prefix("pwdChangedTime: "))
        .unwrap();
    let changed = NaiveDateTime::parse_from_str(changed, "%Y%m%d%H%M%SZ").unwrap();
    let end = changed.and_utc() + TimeDelta::days(10);
    assert_eq!(known, Some(end.timestamp()));
}
