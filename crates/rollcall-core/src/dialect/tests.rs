#![allow(clippy::unwrap_used)]
use std::collections::BTreeMap;

use proptest::prelude::*;

use super::time::generalized_time;
use super::*;
use AccountStatus::*;
use Dialect::*;

fn state(dialect: Dialect, attributes: &[(&str, &str)]) -> AccountState {
    let values = attributes
        .iter()
        .map(|(name, value)| (name.to_lowercase(), vec![value.as_bytes().to_vec()]));
    let entry = Entry {
        attributes: values.collect::<BTreeMap<_, _>>(),
        ..Entry::default()
    };
    dialect.account_state(&entry, "2026-06-01T12:00:00Z".parse().unwrap())
}

#[test]
fn the_status_of_an_account_is_read_per_dialect() {
    let computed = "msDS-User-Account-Control-Computed";
    // FILETIMEs of 2026-01-01 and 2027-01-01.
    let (past, future) = ("134116992000000000", "134432352000000000");
    for (dialect, attributes, status) in [
        (ActiveDirectory, &[("userAccountControl", "512")][..], Enabled),
        (ActiveDirectory, &[("userAccountControl", "514")], Disabled),
        (ActiveDirectory, &[("userAccountControl", "528")], Enabled),
        (
            ActiveDirectory,
            &[("userAccountControl", "-2147483134")],
            Disabled,
        ),
        (ActiveDirectory, &[("userAccountControl", "x")], Unreadable),
        (ActiveDirectory, &[], Unreadable),
        // A gateway that only looks like Active Directory.
        (
            ActiveDirectory,
            &[("objectGUID", "7c9e6679-7425-40de-944b-e07fc1f90ae7")],
            NotSet,
        ),
        (
            ActiveDirectory,
            &[("userAccountControl", "512"), (computed, "16")],
            Locked,
        ),
        (
            ActiveDirectory,
            &[("userAccountControl", "514"), (computed, "16")],
            Disabled,
        ),
        (
            ActiveDirectory,
            &[("userAccountControl", "512"), ("accountExpires", past)],
            Expired,
        ),
        (
            ActiveDirectory,
            &[("userAccountControl", "512"), ("accountExpires", future)],
            Enabled,
        ),
        (
            ActiveDirectory,
            &[("userAccountControl", "512"), ("accountExpires", "0")],
            Enabled,
        ),
        (
            ActiveDirectory,
            &[
                ("userAccountControl", "512"),
                ("accountExpires", "9223372036854775807"),
            ],
            Enabled,
        ),
        (
            ActiveDirectory,
            &[("userAccountControl", "512"), ("accountExpires", "-1")],
            Expired,
        ),
        (
            ActiveDirectory,
            &[("userAccountControl", "512"), ("accountExpires", "")],
            Unreadable,
        ),
        (ActiveDirectory, &[("nsAccountLock", "TRUE")], Unreadable),
        (OpenLdap, &[], NotSet),
        (OpenLdap, &[("pwdAccountLockedTime", "000001010000Z")], Disabled),
        (OpenLdap, &[("pwdAccountLockedTime", "20260601115900Z")], Locked),
        (OpenLdap, &[("pwdAccountLockedTime", "soon")], Unreadable),
        (OpenLdap, &[("pwdEndTime", "20260101000000Z")], Expired),
        (OpenLdap, &[("pwdEndTime", "20270101000000Z")], NotSet),
        (OpenLdap, &[("pwdStartTime", "20270101000000Z")], Expired),
        (OpenLdap, &[("pwdStartTime", "20260101000000Z")], NotSet),
        (Dirsrv389, &[("nsAccountLock", "TRUE")], Disabled),
        (Dirsrv389, &[("nsAccountLock", "true")], Disabled),
        (Dirsrv389, &[("nsAccountLock", "False")], Enabled),
        (Dirsrv389, &[("nsAccountLock", "")], Unreadable),
        (Dirsrv389, &[], NotSet),
        (Dirsrv389, &[("accountUnlockTime", "19700101000000Z")], Locked),
        (Dirsrv389, &[("accountUnlockTime", "20260601120100Z")], Locked),
        (Dirsrv389, &[("accountUnlockTime", "20260601115900Z")], NotSet),
        (
            Dirsrv389,
            &[("krbPrincipalExpiration", "20260101000000Z")],
            Expired,
        ),
        (Generic, &[("ds-pwp-account-disabled", "true")], Disabled),
        (
            Generic,
            &[("loginDisabled", "TRUE"), ("nsAccountLock", "FALSE")],
            Disabled,
        ),
        (
            Generic,
            &[("nsAccountLock", "TRUE"), ("loginDisabled", "FALSE")],
            Disabled,
        ),
        (Generic, &[("loginDisabled", "FALSE")], Enabled),
        (Generic, &[("lockedByIntruder", "TRUE")], Locked),
        (Generic, &[("loginExpirationTime", "20260101000000Z")], Expired),
        (Generic, &[("orclIsEnabled", "DISABLED")], Disabled),
        (Generic, &[("orclIsEnabled", "ENABLED")], Enabled),
        (Generic, &[], NotSet),
    ] {
        assert_eq!(
            state(dialect, attributes).status,
            status,
            "{dialect:?} {attributes:?}"
        );
    }
}

#[test]
fn an_attribute_with_two_values_or_of_another_form_is_unreadable_and_not_absent() {
    let with = |dialect: Dialect, name: &str, values: &[&[u8]]| {
        let values = values.iter().map(|value| value.to_vec()).collect();
        let entry = Entry {
            attributes: BTreeMap::from([(name.to_lowercase(), values)]),
            ..Entry::default()
        };
        dialect.account_state(&entry, DateTime::UNIX_EPOCH).status
    };
    for (dialect, name) in [
        (ActiveDirectory, "userAccountControl"),
        (OpenLdap, "pwdAccountLockedTime"),
        (OpenLdap, "pwdEndTime"),
        (Dirsrv389, "nsAccountLock"),
        (Dirsrv389, "krbPrincipalExpiration"),
        (Generic, "loginDisabled"),
        (Generic, "orclIsEnabled"),
    ] {
        for values in [
            &[&b"FALSE"[..], b"TRUE"][..],
            &[b"512", b"514"],
            &[b"\xff"],
            &[b"?"],
        ] {
            assert_eq!(with(dialect, name, values), Unreadable, "{name} {values:?}");
        }
    }
    assert_eq!(
        with(OpenLdap, "pwdReset", &[b"TRUE", b"FALSE"]),
        NotSet,
        "of the password"
    );
}

/// It is there, and says so, or nobody knows.
#[test]
fn an_attribute_that_may_not_be_read_is_unreadable_where_it_is_absent() {
    let read = |attributes: &[(&str, &[u8])], hidden: &[&str]| {
        let values = attributes
            .iter()
            .map(|(name, value)| (name.to_lowercase(), vec![value.to_vec()]));
        let entry = Entry {
            attributes: values.collect(),
            ..Entry::default()
        };
        let (state, unreadable) = Dirsrv389.read_state(&entry, DateTime::UNIX_EPOCH, hidden);
        (state.status, unreadable)
    };
    let locked: &[(&str, &[u8])] = &[("nsAccountLock", b"TRUE")];
    let ended: &[(&str, &[u8])] = &[("krbPrincipalExpiration", b"19690101000000Z")];
    assert_eq!(read(&[], &[]), (NotSet, None));
    assert_eq!(read(&[], &["nsAccountLock"]), (Unreadable, Some("nsAccountLock")));
    assert_eq!(read(locked, &["nsAccountLock"]), (Disabled, None));
    // What is known to end access ends it.
    assert_eq!(read(ended, &["nsAccountLock"]), (Expired, Some("nsAccountLock")));
    assert_eq!(
        read(&[], &["accountUnlockTime"]),
        (NotSet, None),
        "a lock that ends by itself"
    );
    let deciding: Vec<&str> = Dirsrv389.deciding_attributes().collect();
    assert_eq!(deciding, ["nsAccountLock", "krbPrincipalExpiration"]);
}

#[test]
fn the_state_of_a_password_is_read_per_dialect() {
    for (dialect, attributes, expired, must_change) in [
        (ActiveDirectory, &[("pwdLastSet", "0")][..], false, true),
        (
            ActiveDirectory,
            &[("pwdLastSet", "134116992000000000")],
            false,
            false,
        ),
        (
            ActiveDirectory,
            &[("pwdLastSet", "0"), ("userAccountControl", "66048")],
            false,
            false,
        ),
        (
            ActiveDirectory,
            &[("msDS-User-Account-Control-Computed", "8388608")],
            true,
            false,
        ),
        (OpenLdap, &[("pwdReset", "TRUE")], false, true),
        (OpenLdap, &[("pwdReset", "FALSE")], false, false),
        (
            Dirsrv389,
            &[("passwordExpirationTime", "19700101000000Z")],
            false,
            true,
        ),
        (
            Dirsrv389,
            &[("passwordExpirationTime", "20260101000000Z")],
            true,
            false,
        ),
        (
            Dirsrv389,
            &[("krbPasswordExpiration", "20270101000000Z")],
            false,
            false,
        ),
        (
            Generic,
            &[("passwordExpirationTime", "20260101000000Z")],
            true,
            false,
        ),
    ] {
        let state = state(dialect, attributes);
        assert_eq!(
            (state.password_expired, state.must_change_password),
            (expired, must_change),
            "{attributes:?}"
        );
    }
}

#[test]
fn every_dialect_names_ids_and_asks_for_what_it_reads() {
    let words: std::collections::BTreeSet<&str> =
        Dialect::ALL.iter().map(|dialect| dialect.row().word).collect();
    assert_eq!(words.len(), Dialect::ALL.len());
    let turns: std::collections::BTreeSet<u8> =
        Dialect::ALL.iter().map(|dialect| dialect.row().turn).collect();
    assert_eq!(turns.len(), Dialect::ALL.len(), "two kinds have one turn");
    for &dialect in Dialect::ALL {
        assert!(!dialect.external_id_kinds().is_empty());
        assert!(dialect.state_attributes().count() >= 4);
    }
    assert_eq!(ActiveDirectory.external_id_kinds(), [IdKind::ObjectGuid]);
    assert_eq!(Dirsrv389.external_id_kinds()[0], IdKind::IpaUniqueId);
}

#[test]
fn generalized_times_come_in_many_forms() {
    let noon = Some(1_780_315_200);
    for (text, seconds) in [
        ("20260601120000Z", noon),
        ("202606011200Z", noon),
        ("2026060112Z", noon),
        ("20260601120000.5Z", noon),
        ("20260601120000,123Z", noon),
        ("20260601140000+0200", noon),
        ("20260601070000-05", noon),
        ("20260601120060Z", Some(1_780_315_259)),
        ("19700101000000Z", Some(0)),
        ("20260601120000", None),
        ("20260631120000Z", None),
        ("20260601250000Z", None),
        ("2026060112000Z", None),
        ("20260601120000.Z", None),
        ("20260601120000Z0", None),
        ("20260601120000+2", None),
        ("", None),
        ("never", None),
    ] {
        assert_eq!(generalized_time(text), seconds, "{text}");
    }
}

proptest! {
    #[test]
    fn any_value_gets_an_answer(value in any::<String>(), number in "-?[0-9]{0,20}(Z|[+-][0-9\u{e9}]{0,5})?") {
        for &dialect in Dialect::ALL {
            for value in [&value, &number] {
                let all: Vec<_> = dialect.state_attributes().map(|name| (name, value.as_str())).collect();
                let _ = state(dialect, &all);
            }
        }
    }
}
