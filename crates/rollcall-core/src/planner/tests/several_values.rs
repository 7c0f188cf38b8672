//! Entries with several values for one field.

use super::*;

fn with_logins(logins: &[&str], in_rdn: Option<&str>) -> ReadEntry {
    let mut entry = entry(1, "jdoe", None);
    entry.0.offers.login.values = logins.iter().map(ToString::to_string).collect();
    entry.0.offers.naming_login = in_rdn.map(str::to_owned);
    entry
}

fn keeping(logins: LoginChanges) -> UserSyncSettings {
    UserSyncSettings {
        login_changes: logins,
        ..settings()
    }
}

#[test]
fn the_login_in_use_stays_for_as_long_as_the_entry_has_it() {
    for changes in [LoginChanges::Reject, LoginChanges::Allow] {
        let settings = keeping(changes);
        let mut world = World::default();
        world.run("all", &settings, vec![with_logins(&["jdoe"], None)]);
        for more in [["aa.doe", "jdoe"], ["jdoe", "zz.doe"]] {
            let told = world.run("all", &settings, vec![with_logins(&more, None)]);
            assert_eq!(told, (vec![], vec![]), "{changes:?} {more:?}");
            assert_eq!(world.user(1).profile.login, "jdoe");
        }
    }
}

#[test]
fn the_login_in_the_rdn_comes_first_where_logins_follow_the_directory_and_only_there() {
    let both = || vec![with_logins(&["aa.doe", "bb.doe", "jdoe"], Some("bb.doe"))];
    let mut world = World::default();
    world.run(
        "all",
        &keeping(LoginChanges::Reject),
        vec![with_logins(&["jdoe"], None)],
    );
    let kept = world.run("all", &keeping(LoginChanges::Reject), both());
    assert_eq!(kept, (vec![], vec![]));
    let (kinds, issues) = world.run("all", &keeping(LoginChanges::Allow), both());
    assert_eq!((kinds, issues), (vec![ChangeKind::Update], vec![]));
    assert_eq!(world.user(1).profile.login, "bb.doe");

    // Once it is gone, the one in the RDN is what the entry asks for instead.
    let gone = vec![with_logins(&["aa.doe", "cc.doe"], Some("cc.doe"))];
    let (kinds, issues) = world.run("all", &keeping(LoginChanges::Reject), gone);
    assert_eq!(kinds, vec![]);
    assert_eq!(kinds_of(&issues), [IssueKind::LoginChangeRejected]);
    assert_eq!(issues[0].value.as_deref(), Some("cc.doe"));
}
